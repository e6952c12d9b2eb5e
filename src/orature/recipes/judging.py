"""Judging and filtering synthetic speech as steps of a run; other recipes and `orature judge` call these.

Example::

    judgement = judged(run, made, real, judge, synthetic_split="train", reference_split="dev", on=resources)
    found = read_judgement(run.path_of(judgement))
    kept = filtered(run, made, judge, most_cer=0.5, most_rejected=0.1, on=resources)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import write_beside, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.evaluate.html.intelligibility import judge_page
from orature.evaluate.intelligibility import METRICS
from orature.flow import Ref, Resources, Run
from orature.recipes.backends import Chosen, choose_backend
from orature.recipes.scoring import spoken
from orature.recipes.settings import override
from orature.recipes.training import only_language
from orature.stages.backend_probe import PLAIN
from orature.stages.evaluate import recordings
from orature.stages.filter_speech import FILTER_FILE, FilterSpeech
from orature.stages.judge import JUDGE_FILE, Judge, read_judgement, read_sides
from orature.stages.transcribe import Transcribe
from orature.text.normalise import NORMALISER, get

__all__ = ["Listening", "filtered", "heard_by", "judged", "publish_judgement", "read_judgement"]
PAGE = "judge.html"


@dataclass(frozen=True, slots=True)
class Listening:
    """How the judge decodes: both sides in the same way. `backend` and `fast` are those of `orature evaluate`."""

    language: str = ""
    decoder: Ref | None = None
    backend: str = "torch"
    fast: bool = False
    chosen: Chosen | None = None
    """What `backend` came to, once it was chosen."""


def judged(
    run: Run,
    synthetic: Ref,
    reference: Ref,
    judge: Ref,
    *,
    synthetic_split: str = "train",
    reference_split: str = "dev",
    metric: str = "auto",
    normaliser: str = NORMALISER,
    trained: Ref | None = None,
    trained_family: str = "",
    judge_name: str = "",
    listening: Listening | None = None,
    on: Resources | None = None,
) -> Ref:
    """The judgement of `synthetic` beside real speech (`stages.judge.read_judgement` reads it); both are decoded.

    ConfigError for an unknown metric or normaliser, CorpusError where a split is empty.
    """
    check_options(metric, normaliser)
    listening = _settled(run, judge, reference, reference_split, listening or Listening(), on)
    heard_real = heard_by(run, judge, reference, reference_split, listening, on)
    heard_synthetic = heard_by(run, judge, synthetic, synthetic_split, listening, on)
    stage = Judge(
        synthetic=synthetic,
        synthetic_heard=heard_synthetic,
        reference=reference,
        reference_heard=heard_real,
        judge=judge,
        synthetic_split=synthetic_split,
        reference_split=reference_split,
        judge_name=judge_name,
        trained=trained,
        trained_family=trained_family,
        metric=cast(Literal["auto", "wer", "cer"], metric),
        normaliser=normaliser,
    )
    return run.do(stage, on=on)


def filtered(
    run: Run,
    synthetic: Ref,
    judge: Ref | None,
    *,
    split: str = "train",
    most_cer: float | None = 0.5,
    most_rejected: float = 0.1,
    normaliser: str = NORMALISER,
    listening: Listening | None = None,
    on: Resources | None = None,
    **bounds: Any,
) -> Ref:
    """The corpus without the utterances that the judge does not understand; see `FilterSpeech` for all `bounds`.

    Without a judge only `duration_deviations` can be bounded (give `most_cer=None`).
    """
    heard = None if judge is None else heard_by(run, judge, synthetic, split, listening or Listening(), on)
    stage = FilterSpeech(corpus=synthetic, heard=heard, split=split, normaliser=normaliser)
    wanted = {"most_cer": most_cer, "most_rejected": most_rejected, **bounds}
    return run.do(override(stage, wanted, "filter."), on=on)


def heard_by(run: Run, judge: Ref, corpus: Ref, split: str, listening: Listening, on: Resources | None = None) -> Ref:
    """What the judge hears in one split, in the language of the corpus where it asks for one."""
    rows = Corpus.open(run.path_of(corpus))
    refuse_empty(rows, split)
    chosen = _settled(run, judge, corpus, split, listening, on).chosen or Chosen(PLAIN, judge)
    stage = Transcribe(
        model=chosen.model,
        corpus=corpus,
        split=split,
        decoder=listening.decoder,
        language=listening.language or _language(run.path_of(judge), only_language(rows)),
        precision=chosen.precision,
    )
    return run.do(stage, on=on)


def _settled(run: Run, judge: Ref, corpus: Ref, split: str, listening: Listening, on: Resources | None) -> Listening:
    """With the backend chosen on this split, so that other splits are decoded in the same way."""
    if listening.chosen is not None:
        return listening
    if listening.backend == PLAIN and not listening.fast:
        return replace(listening, chosen=Chosen(PLAIN, judge))
    how = {"backend": listening.backend, "fast": listening.fast, "language": listening.language}
    chosen = choose_backend(run, judge, corpus, split, on=on, **how)  # type: ignore[arg-type]
    if chosen.told:
        say(chosen.told)
    return replace(listening, chosen=chosen)


def _language(judge: Path, tag: str) -> str:
    """What to tell the judge: the language of the corpus where it knows it, "" where it reads without."""
    return (spoken(judge, tag) or "") if tag else ""


def check_options(metric: str, normaliser: str) -> None:
    """ConfigError for a metric or a normaliser that there is not."""
    if metric not in (*METRICS, "auto"):
        raise ConfigError(f"there is no metric {metric!r}", next_step="choose wer, cer or auto")
    get(normaliser)


def refuse_empty(corpus: Corpus, split: str) -> None:
    """CorpusError for a split without utterances."""
    if not len(corpus.split(split)):
        known = ", ".join(corpus.summary()["splits"]) or "none"
        raise CorpusError(
            f"the corpus has no utterances in split {split!r}", where=str(corpus.root), next_step=f"it has: {known}"
        )


def split_of(corpus: Corpus, wanted: str | None) -> str:
    """The split to judge: the one that was named, else the only one there is; ConfigError where there are several."""
    if wanted is not None:
        corpus.split(wanted)
        return wanted
    found = [name for name, one in corpus.summary()["splits"].items() if one["utterances"]]
    if len(found) == 1:
        return str(found[0])
    raise ConfigError(
        f"which split of {corpus.root}? it has {', '.join(found) or 'none'}", next_step="name it with --synthetic-split"
    )


def publish_judgement(run: Run, judgement: Ref, to: Path, *, title: str = "") -> dict[str, Any]:
    """Writes judge.json and judge.html (with examples to listen to) into `to` and returns the judgement."""
    folder = run.path_of(judgement)
    found = read_judgement(folder)
    sides = dict(read_sides(folder))
    shown = judge_page(
        found, sides["real"], sides["synthetic"], audio=recordings(Path("/")), title=title, command=run.record.command
    )
    with write_beside(to / PAGE) as part:
        part.write_text(shown, encoding="utf-8", newline="\n")
    write_json(to / JUDGE_FILE, found | {"artefact": judgement.key})
    return found


def judgement_lines(found: Mapping[str, Any], *, groups: bool = False) -> list[str]:
    """A judgement for a terminal: both sides, Norm_I, variety, and what to be careful about."""
    one, metric = found["norm_i"], found["metric"]
    lines = ["", f"{'':<10} {'WER':>7} {'CER':>7} {'utterances':>11} {'words':>8} {'speakers':>9} {'pitch':>16}"]
    for name, side in (("real", "real"), ("synthetic", "syn")):
        size, pitch = found[f"size_{side}"], found["diversity"][name]["pitch"]
        voice = "not measured" if pitch is None else f"{pitch['low_hz']:.0f} to {pitch['high_hz']:.0f} Hz"
        rates = " ".join(f"{100 * found[f'{unit}_{side}']['value']:6.1f}%" for unit in METRICS)
        lines.append(
            f"{name:<10} {rates} {size['utterances']:>11,} {size['words']:>8,} {size['speakers']:>9,} {voice:>16}"
        )
    paired = "the same sentences" if found["probe"]["paired"] else "not paired by sentence"
    lines += [
        "",
        f"Norm_I {one['value']:.3f} ({_within(one)}) by {metric.upper()}, judged by {found['judge']} "
        f"({found['family']}), {paired}; {metric.upper()} because {found['metric_because']}",
    ]
    for kind in ("voices", "speakers") if groups else ():
        lines += [f"  {_group(kind[:-1], row, metric)}" for row in found[kind]]
    return [*lines, *(f"  note: {warning}" for warning in found["warnings"])]


def _within(value: Mapping[str, Any]) -> str:
    if value["low"] is None:
        return "too few for an interval"
    return f"95 % interval {value['low']:.3f} to {value['high']:.3f}, by {value['by']}"


def _group(kind: str, row: Mapping[str, Any], metric: str) -> str:
    rate = 100 * row[f"{metric}_syn"]["value"]
    norm = row["norm_i"]
    name = row["name"] or "unknown"
    return f"{kind} {name}: Norm_I {norm['value']:.3f} ({_within(norm)}), {metric.upper()} {rate:.1f} %"


def read_filter(folder: Path) -> dict[str, Any]:
    """filter.json of a filtered corpus; CorpusError where it has none."""
    try:
        found: dict[str, Any] = json.loads((folder / FILTER_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError("this corpus was not filtered (no filter.json)", where=str(folder)) from error
    return found


def filter_lines(account: Mapping[str, Any]) -> list[str]:
    """What a filter took away, for a terminal."""
    lost = ", ".join(word for word, _ in account["lost_words"][:8])
    more = f": {lost}" + (" ..." if account["lost_words_count"] > 8 else "") if lost else ""
    kept = account["judged"] - account["rejected"]
    return [
        f"filter: {kept:,} of {account['judged']:,} kept; {account['over_bound']:,} over a bound, "
        f"{account['spared']:,} of them spared by the cap of {100 * account['bounds']['share']:g} %",
        f"  words that only rejects hold: {account['lost_words_count']:,}{more}",
    ]
