"""Labelling untranscribed speech as steps of a run: decode it, with a second model too, and keep the labels worth it.

Example::

    labels = labelled(run, corpus, model, second=other, filters={"most_disagreement": 0.1}, on=resources)
    account = read_account(run.path_of(labels))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from orature.core.errors import ConfigError, ModelError
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.data.label_judge import LabelBounds
from orature.engines.families import family_of
from orature.engines.phone_tokens import writes_phones
from orature.engines.recognisers import load_recogniser
from orature.flow import Ref, Resources, Run
from orature.recipes.judging import Listening, heard_by, refuse_empty
from orature.recipes.scoring import spoken
from orature.recipes.settings import nearest, override
from orature.recipes.training import only_language
from orature.stages.backend_probe import PLAIN, measure, probe_clips
from orature.stages.filter_labels import DOUBTED, FilterLabels
from orature.stages.label_account import read_account
from orature.stages.label_quotas import Quotas
from orature.stages.transcribe import Transcribe
from orature.train.devices import prepare_device

__all__ = ["filters_of", "label_lines", "label_plan", "labelled", "read_account"]
LabelledSplit = Literal["unlabelled", "train"]
_PARTS: dict[str, type[LabelBounds] | type[Quotas]] = {"bounds": LabelBounds, "quotas": Quotas}
_GIVEN = ("corpus", "hypotheses", "second", "split", *_PARTS)
_DISK_BYTES = 1500
"""Of one line of hypotheses.jsonl, which is there twice."""


def labelled(
    run: Run,
    corpus: Ref,
    model: Ref,
    *,
    second: Ref | None = None,
    split: LabelledSplit = "unlabelled",
    listening: Listening | None = None,
    filters: Mapping[str, Any] | None = None,
    on: Resources | None = None,
) -> Ref:
    """The corpus with the labels of `model` that pass the filters (see `FilterLabels`, and `filters_of` for `filters`).

    `listening` says how both models decode; its decoder is that of `model` alone. ConfigError, ModelError or
    CorpusError for what cannot be labelled.
    """
    listening = listening or Listening()
    stage = filters_of(corpus, split, filters or {})
    _check(run, corpus, model, second, split, listening.language)
    heard = heard_by(run, model, corpus, split, listening, on)
    other = None
    if second is not None:
        plain = Listening(language=listening.language, backend=listening.backend, fast=listening.fast)
        other = heard_by(run, second, corpus, split, plain, on)
    return run.do(stage.model_copy(update={"hypotheses": heard, "second": other}), on=on)


def filters_of(corpus: Ref, split: LabelledSplit, values: Mapping[str, Any], where: str = "") -> FilterLabels:
    """The stage (not yet with its hypotheses) with options by their bare names, "none" for None (`override`).

    `{"most_unseen": 0.1, "speaker_hours": 2, "min_score": None}`; ConfigError for unknown ones and values out of range,
    which are named as they were given, after `where` ("filters.").
    """
    stage = FilterLabels(corpus=corpus, hypotheses=corpus, split=split)
    own = [name for name in FilterLabels.model_fields if name not in _GIVEN]
    places = {name: part for part, kind in _PARTS.items() for name in kind.model_fields}
    tree: dict[str, Any] = {}
    for name, value in values.items():
        if name not in own and name not in places:
            raise ConfigError(f"there is no option {where + name!r}", next_step=nearest(name, [*own, *places]))
        (tree.setdefault(places[name], {}) if name in places else tree)[name] = value
    parts = {part: override(kind(), tree[part], where) for part, kind in _PARTS.items() if part in tree}
    return override(stage, tree | parts, where)


def _check(run: Run, corpus: Ref, model: Ref, second: Ref | None, split: str, language: str) -> None:
    """What cannot be labelled, before the first model has worked for hours."""
    rows = Corpus.open(run.path_of(corpus))
    refuse_empty(rows, split)
    lacking = [name for name in ("dev", "test") if not len(rows.split(name))]
    if lacking:
        say(
            f"label: the corpus has no {' and no '.join(lacking)}, and labels are no measure of anything: "
            "make splits first, with `orature split CORPUS --to NEW`"
        )
    for one in (model, second):
        if one is not None and writes_phones(run.path_of(one)):
            raise ModelError(
                "this model writes phones, and labels are letters",
                where=str(run.path_of(one)),
                next_step="train one that writes letters from it: orature train CORPUS --start MODEL",
            )
    if second is None:
        return
    if second.digest == model.digest:
        raise ConfigError(
            "the second model is the first one: they would always agree",
            next_step="name a model of another family, or leave the second out",
        )
    load_recogniser(run.path_of(second), language=language or None)
    families = [family_of(run.path_of(one)).name for one in (model, second)]
    if families[0] == families[1]:
        say(f"label: both models are {families[0]}: models of one family make the same errors, so agreement says less")


def label_plan(
    run: Run,
    corpus: Ref,
    model: Ref,
    *,
    second: Ref | None = None,
    split: LabelledSplit = "unlabelled",
    listening: Listening | None = None,
    filters: Mapping[str, Any] | None = None,
    on: Resources | None = None,
) -> dict[str, Any]:
    """What labelling would do and cost; a few recordings are decoded (plainly, by one process) to measure it."""
    listening, on = listening or Listening(), on or Resources()
    stage = filters_of(corpus, split, filters or {})
    _check(run, corpus, model, second, split, listening.language)
    rows = Corpus.open(run.path_of(corpus))
    size = rows.split(split).summary()["splits"][split]
    decodings = []
    for one, decoder in ((model, listening.decoder), (second, None)):
        if one is None:
            continue
        language = listening.language or spoken(run.path_of(one), only_language(rows)) or ""
        decode = Transcribe(model=one, corpus=corpus, split=split, decoder=decoder, language=language)
        state = run.planned(decode)
        cost = 0.0 if state == "done" else _seconds(run.path_of(one), rows, split, language, on) * size["hours"]
        decodings.append({"model": str(run.path_of(one)), "decode": state, "seconds": round(cost, 3)})
    settings = stage.model_dump(mode="json", exclude={"corpus", "hypotheses", "second"})
    return {
        "split": split,
        "utterances": size["utterances"],
        "hours": size["hours"],
        "speakers": size["speakers"],
        "decodings": decodings,
        "seconds": round(sum(float(one["seconds"]) for one in decodings), 3),
        "workers": on.workers,
        "disk_bytes": _DISK_BYTES * size["utterances"] * len(decodings),
        "filters": settings,
    }


def _seconds(model: Path, rows: Corpus, split: str, language: str, on: Resources) -> float:
    """Seconds of work an hour of speech, shared by the workers."""
    device = prepare_device(on.device, on.threads)
    clips = probe_clips(rows, split)
    way = measure({PLAIN: lambda: load_recogniser(model, device=device, language=language or None)}, clips)[0]
    return 3600 * way.rtf / on.workers


def label_lines(account: Mapping[str, Any]) -> list[str]:
    """What became of the labels, for a terminal: counts, and an example for each reason."""
    lost = cast(dict[str, int], account["rejected"])
    silent = f", {account['silent_kept']} of them as silence" if account["silent_kept"] else ""
    lines = [
        f"labels: {account['kept']:,} of {account['rows']:,} rows kept{silent} "
        f"({account['kept_hours']:.2f} of {account['hours']:.2f} h)"
    ]
    for reason, count in sorted(lost.items(), key=lambda pair: (-pair[1], pair[0])):
        lines.append(f"  {count:>8,} {reason}")
        for one in account["examples"].get(reason, [])[:1]:
            lines.append(f"           {one['id']} “{one['text']}”: {one['detail']}")
    if 2 * lost.get(DOUBTED, 0) > account["rows"]:
        lines.append(
            "  that is most of them: min_confidence is, with a tuned decoder, the share of words that are right; "
            "--set min_confidence=0.2 (or none) keeps more"
        )
    if len(account["languages"]) > 1:
        lines += [f"  {tag}: {one['kept']:,} of {one['rows']:,}" for tag, one in account["languages"].items()]
    return lines
