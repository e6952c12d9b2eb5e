"""One way of labelling in a process of its own: what it wrote, how long it took, and the most memory it held.

Arms: `orature` and `orature-fast`, what `orature label` does (its second with --fast), and the peers `pipeline-N`
(transformers' pipeline with batch_size=N), `loop` and `loop-bf16`. The loop is that of distil-whisper's
`run_pseudo_labelling.py` (huggingface/distil-whisper, commit 1b4f9e8): a feature extractor a recording, a DataLoader
over the data set in its own order with padded batches and workers, the model prepared by accelerate, `generate` (or for
CTC the argmax of its logits) and `batch_decode`; float32 is its default, bf16 its `--dtype bfloat16`.

Example::

    python arms.py loop job.json > result.json     # run.py writes the job and reads the result
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "decode_throughput"))

LOADER_WORKERS = 1
UNMET = ("min_score", "min_confidence", "most_same", "most_repeated", "rate_deviations", "step_ms")
"""Bounds on labels that a model with drawn weights cannot meet; all others stay."""
Arm = Callable[[], list[str]]


class Loop:
    """A pseudo-labelling loop over files in their order."""

    def __init__(self, job: dict[str, Any], precision: str) -> None:
        from accelerate import Accelerator
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForCTC, AutoProcessor
        from transformers import AutoModelForSpeechSeq2Seq as Seq2Seq

        from orature.engines.hf_folder import quiet

        self.attends = AutoConfig.from_pretrained(job["model"]).is_encoder_decoder
        with quiet():
            self.extractor = AutoFeatureExtractor.from_pretrained(job["model"])
            self.processor = AutoProcessor.from_pretrained(job["model"])
            model = (Seq2Seq if self.attends else AutoModelForCTC).from_pretrained(job["model"]).eval()
        self.accelerator = Accelerator(cpu=True, mixed_precision=precision)
        self.how: dict[str, Any] = {"num_beams": 1}
        if self.attends:
            self.how |= {"language": job["language"], "task": "transcribe"}
        self.model, self.job = self.accelerator.prepare(model), job

    def __call__(self) -> list[str]:
        loader = torch.utils.data.DataLoader(
            Files(self.job["paths"], self.extractor),
            batch_size=self.job["batch"],
            collate_fn=self._padded,
            num_workers=LOADER_WORKERS,
        )
        texts: list[str] = []
        for batch in self.accelerator.prepare(loader):  # features are computed outside, in float32
            with torch.no_grad(), self.accelerator.autocast():
                texts += self._labels(batch)
        return [" ".join(text.split()) for text in texts]

    def _padded(self, rows: Sequence[Any]) -> Any:
        return self.extractor.pad(list(rows), padding="longest", return_tensors="pt")

    def _labels(self, batch: Any) -> list[str]:
        if self.attends:
            model = self.accelerator.unwrap_model(self.model)
            tokens = model.generate(batch[self.extractor.model_input_names[0]], **self.how)
            return list(self.processor.tokenizer.batch_decode(tokens, skip_special_tokens=True))
        path = self.model(**batch).logits.argmax(dim=-1)
        return list(self.processor.tokenizer.batch_decode(path))


class Files(torch.utils.data.Dataset[Any]):
    """Features of one recording after another, as `datasets.map` computes them."""

    def __init__(self, paths: Sequence[str], extractor: Any) -> None:
        self.paths, self.extractor = paths, extractor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, place: int) -> Any:
        import soundfile

        samples, rate_hz = soundfile.read(self.paths[place], dtype="float32")
        found = self.extractor(samples, sampling_rate=rate_hz)
        return {name: values[0] for name, values in found.items()}


class Ours:
    """`orature.recipes.labelling.labelled`, as the command `orature label` calls it, into a fresh store."""

    def __init__(self, job: dict[str, Any], fast: bool) -> None:
        from orature.flow import Resources, Run, open_store
        from orature.recipes import backends
        from orature.recipes.judging import Listening
        from orature.stages.inputs import corpus_ref, model_ref

        backends.MEASURE_FROM_S = 0.0
        backends.EXPORT_FROM_S = 0.0 if job["exports"] else 1e9
        self.job = job
        self.on = Resources(workers=job["workers"], device="cpu", threads=job["threads"], progress=False)
        self.corpus, self.model = corpus_ref(Path(job["corpus"])), model_ref(Path(job["model"]))
        run = Run(open_store(Path(job["choices"])), recipe="benchmark", command="")
        how: dict[str, Any] = {"fast": fast, "language": job["language"], "on": self.on}
        chosen = backends.choose_backend(run, self.model, self.corpus, "unlabelled", **how)
        self.chosen = replace(chosen, model=model_ref(run.path_of(chosen.model)))  # an export lies in another store
        self.listening = Listening(language=job["language"], chosen=self.chosen)

    def __call__(self) -> list[str]:
        from orature.flow import Run, open_store
        from orature.recipes.labelling import labelled
        from orature.stages.transcribe import HYPOTHESES

        with tempfile.TemporaryDirectory(dir=self.job["scratch"]) as place:
            run = Run(open_store(Path(place)), recipe="benchmark", command="")
            filters = dict.fromkeys(UNMET, "none")
            labelled(run, self.corpus, self.model, listening=self.listening, filters=filters, on=self.on)
            heard = next(step.key for step in run.record.steps if step.stage == "transcribe")
            with (run.store.folder(heard) / HYPOTHESES).open(encoding="utf-8") as lines:
                return [" ".join(record["hypothesis"].split()) for record in map(json.loads, lines)]

    def warm(self) -> None:
        """Loads the model where this process decodes: loading is not measured on any side."""
        from orature.stages import transcribe

        if self.on.workers == 1:
            folder, language, precision = self.chosen.model.path, self.listening.language, self.chosen.precision
            how = transcribe._How(str(folder), "cpu", self.job["threads"], language, "", precision, search=None)
            transcribe._model(how)


def arm_of(name: str, job: dict[str, Any]) -> Arm:
    """The arm with its model loaded."""
    if name.startswith("pipeline"):
        from pipeline import Pipeline

        size = int(name.partition("-")[2] or 1)
        return Pipeline(Path(job["model"]), job["paths"], job["language"], **({"batch_size": size} if size > 1 else {}))
    if name.startswith("loop"):
        return Loop(job, "bf16" if name == "loop-bf16" else "no")
    ours = Ours(job, fast=name == "orature-fast")
    ours.warm()
    return ours


def main() -> None:
    name, path = sys.argv[1:]
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    arm = arm_of(name, job)
    before, began = _cpu_s(), time.perf_counter()
    texts = arm()
    found = {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": _cpu_s() - before,
        "peak_mb": peak_mb(),
        "told": arm.chosen.told or arm.chosen.name if isinstance(arm, Ours) else "",
        "texts": texts,
    }
    print(json.dumps(found, ensure_ascii=False))


def _cpu_s() -> float:
    """Of this process and of those of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in usages)


def peak_mb() -> dict[str, float]:
    """The most resident memory of this process, and of the largest of its children that have ended."""
    own, child = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"process": round(own, 1), "worker": round(child, 1)}


if __name__ == "__main__":
    main()
