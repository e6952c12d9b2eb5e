"""What fine-tuning of XTTS works on: rows under the embargo, handed to the training worker as files.

Example::

    material = gather_xtts(corpus, [], config, language="", known={"en", "cs"})
    handed = hand_over(material, Path("state/material"), config)

A folder of the hand-over holds `audio/NNNNNN.flac` (22.05 kHz, mono, 16 bits) and `rows.jsonl`, which is written last:
with it the folder is whole.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orature.core.errors import AudioError, ConfigError
from orature.core.files import fsync_tree, write_beside, write_json_lines
from orature.core.progress import Progress
from orature.core.types import RATE_HZ, Reject, Utterance
from orature.data import audio
from orature.data.corpus import Corpus, reject_json
from orature.engines.language_codes import codes_of
from orature.stages.voice_material import HELD_OUT, screened, spread
from orature.train.voice.xtts_config import RATE_HZ as XTTS_HZ
from orature.train.voice.xtts_config import XttsTuning

ROWS, AUDIO = "rows.jsonl", "audio"
_SPARE = 3
_MOST_HELD_OUT = 0.1
_REJECTS, _DEV_REJECTS = "rejects.jsonl", "dev_rejects.jsonl"
_SILENCE = 1e-3


@dataclass(frozen=True, slots=True)
class XttsMaterial:
    """Rows of train and candidates of dev; the tag of each row's language by utterance id."""

    train: list[Utterance]
    dev: list[Utterance]
    tags: dict[str, str]
    languages: list[str]
    licences: list[str]

    @property
    def hours(self) -> float:
        return sum(row.audio.duration_s for row in self.train) / 3600


@dataclass(frozen=True, slots=True)
class Handed:
    """What the worker is given: recordings of train and dev by id, why other rows of both are left out, and where dev
    comes from."""

    train: dict[str, Path]
    dev: dict[str, Path]
    rejects: list[Reject]
    dev_rejects: list[Reject]
    dev_from: str


def gather_xtts(
    corpus: Corpus, embargo: Sequence[Corpus], config: XttsTuning, *, language: str, known: Collection[str]
) -> XttsMaterial:
    """Rows of train and dev; test is only looked at for the embargo (law 5).

    `language` stands for that of every row, `known` are the tags of the start. CorpusError without a train split,
    ConfigError where a language is not named, LeakFound where train breaches the embargo.
    """
    train, dev = screened(corpus, embargo)
    dev = spread(sorted(dev, key=lambda row: row.id), _SPARE * config.dev_rows)
    spoken = {row.id: language or row.language for row in (*train, *dev)}
    if "und" in spoken.values():
        raise ConfigError(
            "the corpus does not say which language it is in, and XTTS needs a token for it",
            where=str(corpus.root),
            next_step="name it with --lang, for example --lang sw",
        )
    return XttsMaterial(
        train=sorted(train, key=lambda row: row.id),
        dev=dev,
        tags={name: tag_for(one, known) for name, one in spoken.items()},
        languages=sorted({spoken[row.id] for row in train}),
        licences=sorted({row.licence for row in train if row.licence}),
    )


def tag_for(language: str, known: Collection[str]) -> str:
    """The tag of a language (BCP-47) in a vocabulary: one that it has, in any spelling, else the bare language."""
    for code in codes_of(language):
        if code in known:
            return code
        for tag in sorted(known):
            if tag.split("-")[0] == code:
                return tag
    return language.replace("_", "-").lower().split("-")[0]


def hand_over(material: XttsMaterial, folder: Path, config: XttsTuning, progress: Progress | None = None) -> Handed:
    """Writes the recordings and `rows.jsonl`; a folder that is whole already is taken as it is.

    Reasons for a reject: text-empty, audio-*, silent, too-short (under the least prompt), too-long, held-out (it
    chooses the checkpoint where dev has no row).
    """
    if not (folder / ROWS).is_file():
        _write(material, folder, config, progress)
    given: dict[str, dict[str, Path]] = {"train": {}, "dev": {}}
    for row in map(json.loads, (folder / ROWS).read_text(encoding="utf-8").splitlines()):
        given[row["split"]][row["id"]] = folder / row["audio"]
    rejects, dev_rejects = (_read(folder / name) for name in (_REJECTS, _DEV_REJECTS))
    held = any(reject.reason == HELD_OUT for reject in rejects)
    dev_from = "rows held out of train, since dev has none that can be used" if held else "the dev split"
    return Handed(given["train"], given["dev"], rejects, dev_rejects, dev_from)


def _read(path: Path) -> list[Reject]:
    return [Reject(**row) for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())]


def _write(material: XttsMaterial, folder: Path, config: XttsTuning, progress: Progress | None) -> None:
    (folder / AUDIO).mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, object]]] = {"train": [], "dev": []}
    rejects: list[Reject] = []
    dev_rejects: list[Reject] = []
    number = 0
    for split, rows in (("train", material.train), ("dev", material.dev)):
        for row in rows:
            name = f"{AUDIO}/{number:06d}.flac"
            number += 1
            samples = _recording(row, folder / name, config)
            if progress is not None:
                progress.advance(1)
            if isinstance(samples, Reject):
                (rejects if split == "train" else dev_rejects).append(samples)
                continue
            found[split].append(
                {
                    "id": row.id,
                    "split": split,
                    "audio": name,
                    "samples": samples,
                    "text": row.text or "",
                    "tag": material.tags[row.id],
                    "speaker": row.speaker or "",
                }
            )
    found["dev"] = spread(found["dev"], config.dev_rows)
    if not found["dev"] and len(found["train"]) > 1:
        count = min(config.dev_rows, max(1, int(_MOST_HELD_OUT * len(found["train"]))))
        found["dev"] = [{**row, "split": "dev"} for row in spread(found["train"], count)]
        out = {str(row["id"]) for row in found["dev"]}
        found["train"] = [row for row in found["train"] if row["id"] not in out]
        why = "no recording of dev can be used, so this one chooses the checkpoint instead of training"
        rejects += [Reject(one, HELD_OUT, why) for one in sorted(out)]
    fsync_tree(folder / AUDIO)
    for name, left_out in ((_REJECTS, rejects), (_DEV_REJECTS, dev_rejects)):
        with write_beside(folder / name) as part:
            write_json_lines(part, [reject_json(reject) for reject in left_out])
    with write_beside(folder / ROWS) as part:
        write_json_lines(part, [*found["train"], *found["dev"]])


def _recording(row: Utterance, path: Path, config: XttsTuning) -> int | Reject:
    """Writes one recording at the rate of XTTS; how many samples it has."""
    if not (row.text or "").strip():
        return Reject(row.id, "text-empty", "no transcript")
    longest_s = config.longest_samples / XTTS_HZ
    if row.audio.duration_s > longest_s:
        return Reject(row.id, "too-long", f"{row.audio.duration_s:.1f} s; longest_samples is {longest_s:.1f} s")
    if row.audio.duration_s < config.prompt_least_s:
        return Reject(row.id, "too-short", f"{row.audio.duration_s:.2f} s; prompt_least_s is {config.prompt_least_s:g}")
    try:
        samples = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
    except AudioError as error:
        return Reject(row.id, error.reason, error.what, row.audio.path)
    if not len(samples) or float(np.abs(samples).max()) < _SILENCE:
        return Reject(row.id, "silent", "nothing in the recording is loud enough to be speech")
    if len(samples) < config.prompt_least_s * RATE_HZ:
        return Reject(row.id, "too-short", f"{len(samples) / RATE_HZ:.2f} s can be read of it")
    sound = audio.at_rate(samples, XTTS_HZ)[: config.longest_samples]
    audio.save_flac(path, sound, rate_hz=XTTS_HZ)
    return len(sound)
