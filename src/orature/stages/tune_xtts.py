"""The stage that fine-tunes XTTS-v2's transformer on the train split of a corpus, in an environment of its own.

Example::

    voice = run.do(TuneXtts(corpus=corpus, start=xtts_start(Path("XTTS-v2")), config=XttsTuning.for_scale("dev")))
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from orature.core.errors import ModelError, TrainingFailed
from orature.core.files import write_json
from orature.core.identity import digest_file, digest_json
from orature.core.progress import Progress, say
from orature.core.types import Refusal, Reject
from orature.data import audio
from orature.data.corpus import Corpus
from orature.engines.environment_voice import WORKERS
from orature.engines.hf_folder import facts_of
from orature.engines.training_worker import PROTOCOL, train_in_worker
from orature.engines.voice import SpeechRequest, Voice
from orature.engines.voices import open_voice
from orature.engines.worker_environments import needed_python
from orature.evaluate.html.voice_samples import Spoken
from orature.evaluate.voice_report import voice_page
from orature.flow import Ref, Stage, StageContext
from orature.stages.evaluate import clip_of
from orature.stages.model_folder import write_records, write_texts
from orature.stages.voice_material import HELD_OUT
from orature.stages.xtts_card import xtts_card
from orature.stages.xtts_material import Handed, XttsMaterial, gather_xtts, hand_over
from orature.train.devices import usable_cores
from orature.train.voice.xtts_config import XttsTuning
from orature.train.watch import LiveLine

LICENCE = "CPML 1.0 (Coqui Public Model License): non-commercial use only"
"""Of XTTS-v2 and of all that is trained from it."""
CONVERT = "orature voices add xtts --accept-licence --convert FOLDER"
_NEEDED = ("config.json", "vocab.json", "model.safetensors")
_CODEC = ("dvae.safetensors", "dvae.pth", "mel_stats.pth")
_MORE = ("speakers.safetensors", "orature.json")
_VOICE, _OUTCOME = "voice", "outcome.json"


def xtts_start(folder: Path) -> Ref:
    """A folder of XTTS-v2 with its codec as an input; ModelError says what is missing and where it comes from."""
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise ModelError(f"the folder of XTTS has no {name}", where=str(folder), next_step=CONVERT)
    if not (folder / _CODEC[0]).is_file() and not all((folder / name).is_file() for name in _CODEC[1:]):
        raise ModelError(
            "the folder of XTTS has no codec (dvae.pth with mel_stats.pth, or dvae.safetensors): training needs it, "
            "speaking does not",
            where=str(folder),
            next_step="fetch dvae.pth and mel_stats.pth from where the model came from into that folder",
        )
    files = [folder / name for name in (*_NEEDED, *_CODEC, *_MORE) if (folder / name).is_file()]
    digest = digest_json({path.name: digest_file(path) for path in files})
    return Ref(key="external", stage="voice", digest=digest, path=str(folder.absolute()))


def tags_of_folder(folder: Path) -> set[str]:
    """The language tags in the vocabulary of a folder of XTTS; ModelError where it cannot be read."""
    from orature.engines.workers.xtts_vocabulary import tags_of

    try:
        return tags_of(json.loads((folder / "vocab.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"vocab.json cannot be read: {error}", where=str(folder), next_step="copy it again") from error


def worker_command() -> list[str]:
    """The training worker of XTTS; MissingExtra with the command that makes its environment."""
    return [str(needed_python("xtts")), "-I", str(WORKERS / "xtts_train_worker.py")]


def worker_environment(threads: int) -> dict[str, str]:
    """One number of threads for a whole run: the last bits of a sum depend on how it is split."""
    return {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


class TuneXtts(Stage):
    """A folder of XTTS-v2 that speaks the corpus's language, with `report.html`, card, `training.json`, log, rejects.

    New tokens come from the train split alone, dev (or rows held out of train) chooses the checkpoint, test is only
    opened for the embargo, which also covers the dev and test splits of the corpora in `embargo`.
    """

    name: ClassVar[str] = "tune_xtts"
    version: ClassVar[int] = 1
    corpus: Ref
    config: XttsTuning
    start: Ref
    embargo: tuple[Ref, ...] = ()
    language: str = ""
    """Of every row, instead of its own."""
    voice_name: str = ""
    environment: str = ""
    """Digest of the recipe of the environment: other packages may compute otherwise."""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Rows as files, the worker (which goes on where it was cut), the folder."""
        command = worker_command()
        start = ctx.path_of(self.start)
        held = [Corpus.open(ctx.path_of(ref)) for ref in self.embargo]
        corpus = Corpus.open(ctx.path_of(self.corpus))
        known = tags_of_folder(start)
        material = gather_xtts(corpus, held, self.config, language=self.language, known=known)
        with ctx.progress("train-voice: recordings", len(material.train) + len(material.dev), "clips") as bar:
            handed = hand_over(material, ctx.state / "material", self.config, bar)
        outcome = self._outcome(ctx, command, start, handed)
        said = ctx.state / "training" / "rejects.jsonl"
        rejects = [*handed.rejects, *_rejected(said, "train")]
        dev_rejects = Counter(reject.reason for reject in (*handed.dev_rejects, *_rejected(said, "dev")))
        counts = dict(sorted(Counter(reject.reason for reject in rejects).items()))
        total, unwanted = len(material.train), counts.get(HELD_OUT, 0)
        limit = (unwanted + self.reject_limit * (total - unwanted)) / total
        ctx.conserve(total=total, kept=outcome["train_rows"], rejected=counts, reject_limit=limit)
        facts = self._facts(ctx, material, handed, outcome, counts)
        facts["dev_rejected"] = dict(sorted(dev_rejects.items()))
        spoken = self._spoken(ctx, material, handed, outcome, known)
        self._write(ctx, facts, outcome, spoken, rejects)
        ctx.note(dev_loss=facts["dev"]["dev_audio"], updates=outcome["updates"], chosen=outcome["chosen"])

    def _outcome(self, ctx: StageContext, command: list[str], start: Path, handed: Handed) -> dict[str, Any]:
        """What the worker ended with; it is not asked again once it is done."""
        place = ctx.state / _OUTCOME
        if place.is_file():
            done: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
            return done
        if not handed.train or not handed.dev:
            why = ", ".join(f"{n} {name}" for name, n in sorted(Counter(r.reason for r in handed.rejects).items()))
            raise TrainingFailed(
                f"{len(handed.train)} utterances to train on and {len(handed.dev)} to choose by are left: {why}",
                next_step="see the reasons; longest_samples and prompt_least_s are options of --set",
            )
        threads = ctx.resources.threads or usable_cores()
        job = {
            "protocol": PROTOCOL,
            "op": "train",
            "start": str(start),
            "rows": str(ctx.state / "material" / "rows.jsonl"),
            "state": str(ctx.state / "training"),
            "out": str(ctx.state / _VOICE),
            "device": ctx.resources.device,
            "threads": threads,
            "config": self.config.model_dump(mode="json"),
        }
        write_json(ctx.state / "job.json", job)
        with (
            ctx.progress("train-voice: audio codes", None, "clips") as reading,
            ctx.progress("train-voice", None, "updates") as bar,
        ):
            hear = _Told(reading, bar, ctx.logs)
            outcome = train_in_worker(
                command, ctx.state / "job.json", hear=hear, environment=worker_environment(threads)
            )
        write_json(place, outcome)
        return outcome

    def _facts(
        self,
        ctx: StageContext,
        material: XttsMaterial,
        handed: Handed,
        outcome: Mapping[str, Any],
        rejected: dict[str, int],
    ) -> dict[str, Any]:
        started = facts_of(ctx.path_of(self.start))
        chosen = next(row for row in outcome["log"] if row["update"] == outcome["chosen"])
        licences = {*material.licences, *([started["licence"]] if "licence" in started else []), LICENCE}
        return {
            "name": self.voice_name or f"xtts-{'-'.join(material.languages)}",
            "languages": material.languages,
            "licences": sorted(licences),
            "corpus_digest": self.corpus.digest,
            "start": {"name": started["name"], "digest": self.start.digest},
            "speakers": outcome["speakers"],
            "train_utterances": outcome["train_rows"],
            "train_hours": round(outcome["train_s"] / 3600, 6),
            "rejected": rejected,
            "dev_from": handed.dev_from,
            "dev_utterances": outcome["dev_rows"],
            "parameters": outcome["parameters"],
            "trained_parameters": outcome["trained"],
            "text_tokens": outcome["text_tokens"],
            "new_tokens": outcome["new_tokens"],
            "character_limits": outcome["character_limits"],
            "rate_hz": outcome["rate_hz"],
            "config": self.config.model_dump(mode="json"),
            "updates": outcome["updates"],
            "chosen": outcome["chosen"],
            "audio_hours_seen": round(outcome["audio_h"], 6),
            "dev_at_start": _dev(outcome["log"][0]),
            "dev": _dev(chosen),
        }

    def _spoken(
        self,
        ctx: StageContext,
        material: XttsMaterial,
        handed: Handed,
        outcome: Mapping[str, Any],
        known: set[str],
    ) -> list[Spoken]:
        """Dev sentences for the report: the recording, the start (where it knows the language), and this voice."""
        rows = {row.id: row for row in (*material.train, *material.dev)}
        wanted = [rows[name] for name in list(handed.dev)[: self.config.samples]]
        requests = [
            SpeechRequest(
                row.text or "", language=material.tags[row.id], seed=self.config.seed, prompt=str(handed.dev[row.id])
            )
            for row in wanted
        ]
        if not requests:
            return []
        sources = [(f"read aloud, update {outcome['chosen']} (chosen)", ctx.state / _VOICE)]
        if all(request.language in known for request in requests):
            sources.insert(0, ("read aloud by the start", ctx.path_of(self.start)))
        versions: list[list[tuple[str, Any, float]]] = [[] for _ in wanted]
        for row, shown in zip(wanted, versions, strict=True):
            samples = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
            _show(shown, "the recording", samples)
        for label, folder in sources:
            with open_voice(f"xtts:{folder}", device=ctx.resources.device, threads=ctx.resources.threads) as voice:
                for shown, samples in zip(versions, _heard(voice, requests), strict=True):
                    _show(shown, label, samples)
        return [Spoken(row.id, row.text or "", shown) for row, shown in zip(wanted, versions, strict=True)]

    def _write(
        self,
        ctx: StageContext,
        facts: dict[str, Any],
        outcome: Mapping[str, Any],
        spoken: list[Spoken],
        rejects: list[Reject],
    ) -> None:
        made = ctx.state / _VOICE
        labels = {
            "name": str(facts["name"]),
            "family": "xtts",
            "languages": ",".join(facts["languages"]),
            "licence": "; ".join(facts["licences"]),
            "character_limits": json.loads((made / "orature.json").read_text(encoding="utf-8"))["character_limits"],
        }
        for path in sorted(made.iterdir()):
            if path.name != "orature.json":
                with ctx.writing(path.name) as part:
                    os.link(path, part)
        texts = {
            "README.md": xtts_card(facts),
            "report.html": voice_page(facts, train_log=outcome["log"], spoken=spoken),
            "orature.json": json.dumps(labels, ensure_ascii=False, indent=2) + "\n",
        }
        write_texts(ctx, texts)
        write_records(ctx, facts, outcome["log"], rejects)


class _Told(LiveLine):
    """Shows what the worker tells: recordings as they become codes, then updates with the time left, and the curves."""

    def __init__(self, reading: Progress, bar: Progress, logs: Path) -> None:
        super().__init__(progress=bar, logs=logs)
        self._reading, self._bar = reading, bar

    def __call__(self, line: Mapping[str, Any]) -> None:
        event = line["event"]
        if event == "reading":
            self._reading.total = line["total"]
            self._reading.advance(line["done"] - self._reading.done)
        elif event == "begin":
            self.begin(line["update"], line["updates"])
        elif event == "step":
            self._bar.advance(line["update"] - self._bar.done, note=f"loss {line['loss']:.3f} a code{self._dev}")
        elif event == "evaluated":
            self._dev = f" · dev {line['dev_audio']:.3f}"
            self._draw(line)
        elif event == "facts":
            say(
                f"train-voice: {line['trained'] / 1e6:.1f} M of {line['parameters'] / 1e6:.1f} M parameters are "
                f"trained, {line['train_rows']} utterances ({line['train_s'] / 3600:.2f} h), "
                f"{len(line['new_tokens'])} new text tokens of {line['text_tokens']}; dev: {line['dev_rows']} rows"
            )


def _rejected(path: Path, split: str) -> list[Reject]:
    """Rows of a split that the worker left out."""
    rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [Reject(row["id"], row["reason"], row["detail"]) for row in rows if row["split"] == split]


def _dev(row: Mapping[str, Any]) -> dict[str, float]:
    return {name: row[name] for name in ("dev_audio", "dev_text")}


def _heard(voice: Voice, requests: list[SpeechRequest]) -> list[audio.Samples]:
    """What a voice speaks, at 16 kHz; nothing for a text that it refuses (an untrained model may never end)."""
    nothing: audio.Samples = np.zeros(0, np.float32)
    return [
        nothing if isinstance(one, Refusal) else audio.resampled(one, voice.rate_hz) for one in voice.speak(requests)
    ]


def _show(shown: list[tuple[str, Any, float]], label: str, samples: audio.Samples) -> None:
    clip = clip_of(samples)
    if clip is not None:
        shown.append((label, clip, len(samples) / 16_000))
