"""Which backend decodes a split: the one that was named, or the fastest here that writes the same.

Results may differ in the last digits between backends, so none is a mere resource: an exported model is another model
with a digest of its own, and bfloat16 is a field of the decoding. `auto` chooses among exact ways only (texts on the
probe equal, letter for letter), unless approximations are allowed with `fast`.

Example::

    chosen = choose_backend(run, model_ref(Path("model")), corpus, "test", backend="auto", fast=True)
    run.do(Transcribe(model=chosen.model, precision=chosen.precision, corpus=corpus, split="test"))
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from orature.core.errors import ConfigError, ModelError, WorkFailed
from orature.core.files import write_json
from orature.core.identity import digest_json
from orature.core.provenance import versions
from orature.data.corpus import Corpus
from orature.engines.backends import APPROXIMATE, FORMATS, Format, is_exported, missing, need, read_backend
from orature.engines.export import possible, read_model
from orature.engines.families import family_of
from orature.engines.protocol import Recogniser
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Resources, Run
from orature.stages.backend_probe import PLAIN, Way, as_dict, fastest, measure, probe_clips, told
from orature.stages.evaluate import describe_machine
from orature.stages.export import Export
from orature.train.devices import prepare_device

BF16 = "torch-bf16"
NAMES = ("auto", PLAIN, BF16, *(one for one in FORMATS if one != "safetensors"))
MEASURE_FROM_S = 600.0
"""Less audio than this is decoded without measuring: there is little to gain."""
EXPORT_FROM_S = 1200.0
"""Exports are made and measured where decoding with torch would take longer than this."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What decodes: a model (exported or as given) and its precision, and how that was decided."""

    name: str
    model: Ref
    precision: Literal["fp32", "bf16"] = "fp32"
    told: str = ""


def choose_backend(
    run: Run,
    model: Ref,
    corpus: Ref,
    split: str,
    *,
    backend: str = "auto",
    fast: bool = False,
    language: str = "",
    on: Resources | None = None,
) -> Chosen:
    """The backend to decode `split` with; ConfigError, ModelError or MissingExtra for one that cannot be had.

    A choice by measurement is kept in the store for the model, the machine and the number of threads.
    """
    on = on or Resources()
    folder = run.path_of(model)
    refuse_unknown(folder, backend)
    if is_exported(folder):
        return Chosen(read_backend(folder).backend, model)
    if backend != "auto":
        return _named(run, model, backend, language, on)
    audio_s = sum(row.audio.duration_s for row in Corpus.open(run.path_of(corpus)).split(split))
    if family_of(folder).kind == "recogniser" or prepare_device(on.device, on.threads) != "cpu":
        return Chosen(PLAIN, model)
    if audio_s < MEASURE_FROM_S and not fast:
        return Chosen(PLAIN, model, told=f"backend: {PLAIN} (too little speech to measure others on)")
    kept = _kept_path(run, model, fast, language, on)
    if kept.is_file():
        found = json.loads(kept.read_text(encoding="utf-8"))
        again = _named(run, model, found["chosen"], language, on)
        return Chosen(again.name, again.model, again.precision, found["told"] + ", earlier")
    table = _measured(run, model, corpus, split, audio_s, fast, language, on)
    name = fastest(table, fast=fast)
    sentence = told(table, name)
    write_json(kept, {"chosen": name, "told": sentence, "table": as_dict(table)})
    again = _named(run, model, name, language, on)
    return Chosen(again.name, again.model, again.precision, sentence)


def refuse_unknown(folder: Path, backend: str) -> None:
    """ConfigError for a name that is no backend; ModelError for another backend than an exported folder's own."""
    if backend not in NAMES:
        raise ConfigError(f"there is no backend {backend!r}", next_step="choose from " + ", ".join(NAMES))
    if is_exported(folder) and backend not in ("auto", read_backend(folder).backend):
        raise ModelError(
            f"this folder was exported for {read_backend(folder).backend}, not {backend}",
            where=str(folder),
            next_step="leave --backend out, or name the model that it was exported from",
        )


def _named(run: Run, model: Ref, backend: str, language: str, on: Resources) -> Chosen:
    if backend == PLAIN:
        return Chosen(PLAIN, model)
    if backend == BF16:
        family = family_of(run.path_of(model))
        if family.kind == "recogniser":
            raise ModelError(
                f"{family.name} models run in float32 only",
                where=str(run.path_of(model)),
                next_step="leave --backend out",
            )
        return Chosen(BF16, model, "bf16")
    need(backend)
    ref = run.do(Export(model=model, format=cast(Format, backend), language=language), on=on)
    return Chosen(backend, ref)


def _measured(
    run: Run, model: Ref, corpus: Ref, split: str, audio_s: float, fast: bool, language: str, on: Resources
) -> list[Way]:
    """Torch's ways first; exports too where the work is long enough to pay for making them."""
    folder = run.path_of(model)
    clips = probe_clips(Corpus.open(run.path_of(corpus)), split)
    opened = partial(load_recogniser, folder, language=language or None)
    ways: dict[str, Callable[[], Recogniser]] = {PLAIN: opened}
    if fast:
        ways[BF16] = partial(opened, precision="bf16")
    table = measure(ways, clips)
    if table[0].rtf * audio_s < EXPORT_FROM_S:
        return table
    _, network, _ = read_model(folder, language or None)
    left_out: list[Way] = []
    for wanted in possible(folder, network):
        if wanted == "safetensors" or missing(wanted) or (wanted in APPROXIMATE and not fast):
            continue
        try:
            exported = run.path_of(_named(run, model, wanted, language, on).model)
        except (ModelError, WorkFailed) as error:
            left_out.append(Way(wanted, 0.0, 0.0, error.what))
            continue
        ways[wanted] = partial(load_recogniser, exported, language=language or None)
    return measure(ways, clips) + left_out


def _kept_path(run: Run, model: Ref, fast: bool, language: str, on: Resources) -> Path:
    facts: dict[str, Any] = {"model": model.digest, "fast": fast, "language": language}
    facts |= {"machine": describe_machine(), "threads": on.threads, "versions": versions()}
    return run.store.root / "backends" / f"{digest_json(facts)[:24]}.json"


def choose_precision(
    model: Path, recordings: list[Any], *, language: str | None, device: str
) -> tuple[Literal["fp32", "bf16"], str]:
    """For recordings without a corpus: bfloat16 where it is faster on them and nearly equal; and why, in words."""
    if is_exported(model) or family_of(model).kind == "recogniser" or device != "cpu":
        return "fp32", f"backend: {PLAIN} (nothing faster is known for this model)"
    opened = partial(load_recogniser, model, language=language)
    table = measure({PLAIN: opened, BF16: partial(opened, precision="bf16")}, recordings)
    name = fastest(table, fast=True)
    return ("bf16" if name == BF16 else "fp32"), told(table, name)
