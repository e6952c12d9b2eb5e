"""Labelling speed, files on disk to text: Orature's Transcribe stage against the ASR pipeline of transformers.

Example::

    python benchmarks/decode_throughput/run.py --models xls-r-24m,xls-r-95m,whisper-tiny --minutes 60 --rounds 3
    python benchmarks/decode_throughput/run.py --model my_model/model --minutes 10 --json
    python benchmarks/decode_throughput/run.py --smoke

Same model, same recordings (train clips of two corpora as 16 kHz FLAC, repeated up to `--minutes`), same machine, one
run of each arm in alternation. The peers: `pipeline` (its defaults, one recording at a time) and `pipeline-8`
(`batch_size=8, chunk_length_s=30`; for Whisper without chunks, and both with greedy search, as ours: their default is
five beams, several times slower). Ours: `orature` (the fastest exact way, as `orature evaluate` chooses it),
`orature-fast` (the same with --fast) and `orature-bf16` (bfloat16 whatever its texts).

Both sides read the files inside the measured time, the pipeline through soundfile from memory, which spares it the
ffmpeg process that it would start for each file. Loading a model and choosing a backend are left out on both sides (the
choice is made once for a model and machine; its seconds are shown). Texts are compared with those of `pipeline`: how
many are equal, and the character error rate between both.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import NAMES, make
from pipeline import Pipeline
from speech import Speech, Texts, equality, ratio, speech

from orature.core.types import RATE_HZ
from orature.data.audio import decode
from orature.flow import Resources, Run, open_store
from orature.recipes import backends
from orature.stages import transcribe
from orature.stages.inputs import corpus_ref, model_ref

OURS, PEERS = ("orature", "orature-fast", "orature-bf16"), ("pipeline", "pipeline-8")


class Ours:
    """The Transcribe stage with a backend chosen once; each run has a store of its own."""

    def __init__(self, model: Path, given: Speech, backend: str, fast: bool, options: Any, scratch: Path) -> None:
        self.on = Resources(device="cpu", threads=options.threads, progress=False)
        language = language_of(model, options)
        self.corpus, self.language, self.scratch = corpus_ref(given.folder), language, scratch
        run = Run(open_store(scratch / "choices"), recipe="benchmark", command="")
        began = time.perf_counter()
        how: dict[str, Any] = {"backend": backend, "fast": fast, "language": language, "on": self.on}
        self.chosen = backends.choose_backend(run, model_ref(model), self.corpus, "test", **how)
        self.choosing_s = time.perf_counter() - began
        self.model = run.path_of(self.chosen.model)

    def __call__(self) -> Texts:
        with tempfile.TemporaryDirectory(dir=self.scratch) as store:
            run = Run(open_store(Path(store)), recipe="benchmark", command="")
            stage = transcribe.Transcribe(
                model=model_ref(self.model),
                corpus=self.corpus,
                split="test",
                language=self.language,
                precision=self.chosen.precision,
            )
            lines = (run.path_of(run.do(stage, on=self.on)) / transcribe.HYPOTHESES).read_text(encoding="utf-8")
        return [" ".join(json.loads(line)["hypothesis"].split()) for line in lines.splitlines()]

    def warm(self) -> None:
        """Loads the model: that is not measured."""
        transcribe._model(str(self.model), "cpu", self.language, "", self.chosen.precision)


def measure(model: Path, given: Speech, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All arms in alternation: seconds of each round, ratios, and how equal the texts are."""
    language = language_of(model, options)
    arms: dict[str, Any] = {
        "pipeline": Pipeline(model, given.paths, language),
        "pipeline-8": Pipeline(model, given.paths, language, batch_size=8, chunk_length_s=30),
        "orature": Ours(model, given, "auto", False, options, scratch),
        "orature-fast": Ours(model, given, "auto", True, options, scratch),
        "orature-bf16": Ours(model, given, "torch-bf16", True, options, scratch),
    }
    spent: dict[str, list[float]] = {name: [] for name in arms}
    texts: dict[str, Texts] = {}
    for _ in range(options.rounds):
        for name, arm in arms.items():
            arm.warm()
            began = time.perf_counter()
            texts[name] = arm()
            spent[name].append(time.perf_counter() - began)
    return {
        "model": model.name,
        "audio_minutes": round(given.seconds / 60, 2),
        "recordings": len(given.paths),
        "audio_s_per_s": {name: round(given.seconds / statistics.median(one), 1) for name, one in spent.items()},
        "seconds": {name: [round(s, 2) for s in one] for name, one in spent.items()},
        "ratio": {f"{a} / {b}": ratio(spent[b], spent[a]) for a in OURS for b in PEERS},
        "texts": {name: equality(texts["pipeline"], texts[name]) for name in arms},
        "distinct_texts": len(set(texts["pipeline"])),
        "backend": {name: arms[name].chosen.told or arms[name].chosen.name for name in OURS},
        "choosing_s": {name: round(arms[name].choosing_s, 1) for name in OURS},
    }


def language_of(model: Path, options: argparse.Namespace) -> str:
    """What the model is told to write; a model made here knows English only."""
    return options.lang or ("en" if model.name.startswith("whisper-tiny") else "")


def table(found: dict[str, Any]) -> str:
    """One model's figures for a person."""
    lines = [f"{found['model']}: {found['recordings']} recordings, {found['audio_minutes']:g} min of speech"]
    for name, speed in found["audio_s_per_s"].items():
        same = found["texts"][name]
        lines.append(
            f"  {name:<15} {speed:8.1f} audio-s/s   texts as the pipeline's: {same['equal']} of {same['of']}, "
            f"CER between {100 * same['cer_between']:.2f} %   {found['seconds'][name]} s"
        )
    for name, one in found["ratio"].items():
        lines.append(f"  {name:<28} {one['median']:.2f}x  ({one['low']:.2f} to {one['high']:.2f})")
    lines += [f"  {name}: {told} [{found['choosing_s'][name]:g} s]" for name, told in found["backend"].items()]
    return "\n".join([*lines, f"  distinct texts: {found['distinct_texts']}"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--corpora", type=Path, default=Path(os.environ.get("ORATURE_CORPORA", "../shared/corpora")))
    parser.add_argument("--models", default="xls-r-24m,xls-r-95m,whisper-tiny", help="of " + ", ".join(NAMES))
    parser.add_argument("--model", type=Path, help="a model folder in the layout of transformers, instead")
    parser.add_argument("--lang", default="", help="language, where the model asks for one")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--no-exports", action="store_true", help="choose among torch's ways only")
    parser.add_argument("--smoke", action="store_true", help="1 minute, one round, the smallest model, no exports")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.smoke:
        given.models, given.minutes, given.rounds, given.no_exports = "xls-r-24m", 1.0, 1, True
    return given


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    backends.MEASURE_FROM_S = 0.0
    backends.EXPORT_FROM_S = 1e9 if given.no_exports else 0.0
    results = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        heard = speech(given.corpora, given.minutes, scratch / "speech", split="test")
        sample = np.concatenate([decode(Path(path), path) for path in heard.paths[:12]])[: 30 * RATE_HZ]
        names = given.models.split(",")
        folders = [given.model] if given.model else [make(name, scratch / "models", sample) for name in names]
        for model in folders:
            results.append(measure(model, heard, given, scratch))
            if not given.json:
                print(table(results[-1]), flush=True)
    facts = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, {given.threads} threads",
        "processor": processor(),
        "rounds": given.rounds,
        "results": results,
    }
    print(json.dumps(facts, indent=1, ensure_ascii=False))


def processor() -> str:
    from orature.stages.evaluate import describe_machine

    return describe_machine()


if __name__ == "__main__":
    main()
