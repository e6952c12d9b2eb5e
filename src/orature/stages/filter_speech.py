"""The stage that drops utterances which a judge does not understand, never more than a capped share of them.

Filtering by a judge removes just the rare words and accents that are wanted most, so the share that may go is capped:
where more would be rejected only the worst are, and what the rejects hold that the kept rows lack is written down.

Example::

    kept = run.do(FilterSpeech(corpus=made, heard=heard, most_cer=0.5, most_rejected=0.1))
    json.loads((run.path_of(kept) / "filter.json").read_text())["lost_words"]

The artefact is a corpus; besides `rejects.jsonl` (reasons) it holds `rejected_texts.jsonl` with the whole text of every
reject, what was heard instead, and its speaker, and `filter.json` with the account.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from orature.core.errors import BadInput, ConfigError, CorpusError, RowsVanished
from orature.core.files import write_json, write_json_lines
from orature.core.types import Reject, Utterance
from orature.data.corpus import CUTS, Corpus, save_corpus
from orature.data.rows import utterance_of
from orature.evaluate.alignment import align_characters, align_words, plain
from orature.evaluate.folder import HYPOTHESES_FILE
from orature.evaluate.rows import row_of
from orature.flow import Ref, Stage, StageContext
from orature.stages.split import OWN_FIELDS, place_in_store
from orature.text import normalise
from orature.text.normalise import NORMALISER

FILTER_FILE, TEXTS_FILE = "filter.json", "rejected_texts.jsonl"
UNINTELLIGIBLE, WRONG_LENGTH, ODD_DURATION, REFUSED = "unintelligible", "wrong-length", "odd-duration", "judge-refused"
MOST_LISTED = 1000
_MIN_DURATIONS = 20
_MAD_TO_DEVIATION = 1.4826
_LEAST_DEVIATION = 0.05
"""Of the logarithm of seconds a character: speech that varies less than 5 % has no outliers for that."""


class FilterSpeech(Stage):
    """The rows of `corpus`, without those of `split` that are worse than the bounds; other splits stay as they are.

    Bounds (None: not looked at): `most_cer` and `most_wer`, error rates of the judge; `length_ratio`, the least and the
    most characters heard for each one said; `duration_deviations`, robust standard deviations of log seconds a
    character from the median (needs no judge). `heard` is what `Transcribe` made of `split` with the judge. At most
    `most_rejected` (a share) of the rows of the split go, the worst first: how far over its bound, bounds alike.
    """

    name: ClassVar[str] = "filter-speech"
    version: ClassVar[int] = 1
    corpus: Ref
    heard: Ref | None = None
    split: str = "train"
    most_cer: float | None = Field(default=0.5, gt=0)
    most_wer: float | None = Field(default=None, gt=0)
    length_ratio: tuple[float, float] | None = None
    duration_deviations: float | None = Field(default=None, gt=0)
    most_rejected: float = Field(default=0.1, ge=0, lt=1)
    normaliser: str = NORMALISER

    def run(self, ctx: StageContext) -> None:
        """Judges all rows first, then writes the kept ones, their audio where it is; digest = that of the corpus."""
        self._refuse_nothing_to_do()
        corpus = Corpus.open(ctx.path_of(self.corpus))
        verdicts = self._verdicts(corpus, None if self.heard is None else ctx.path_of(self.heard))
        over = sorted((one for one in verdicts.values() if one.excess > 1), key=lambda one: (-one.excess, one.id))
        allowed = math.floor(self.most_rejected * len(verdicts))
        out = {one.id: one for one in over[:allowed]}
        store = "" if self.corpus.is_external else str(corpus.root.parent)
        sieve = _Sieve(corpus, out, verdicts, store, self.split)
        summary = save_corpus(ctx.writing, sieve.kept(), sieve.rejects(), root=ctx.out)
        with ctx.writing(TEXTS_FILE) as part:
            write_json_lines(part, sieve.texts)
        facts = self._facts(sieve, len(verdicts), over, out)
        with ctx.writing(FILTER_FILE) as part:
            write_json(part, facts)
        ctx.note(judged=len(verdicts), rejected=facts["rejected"], spared=facts["spared"])
        rejected = Counter(one.reason for one in out.values())
        ctx.conserve(total=len(corpus), kept=summary["utterances"], rejected=rejected, reject_limit=1.0)
        ctx.declare_digest(summary["digest"])

    def _refuse_nothing_to_do(self) -> None:
        by_judge = (self.most_cer, self.most_wer, self.length_ratio)
        if self.length_ratio is not None and not 0 <= self.length_ratio[0] < self.length_ratio[1]:
            raise ConfigError("length_ratio must be two rising numbers", next_step="as in 0.5,2.0")
        if self.heard is None and any(bound is not None for bound in by_judge):
            raise ConfigError(
                "bounds on what a judge heard need what it heard", next_step="name a judge, or bound durations alone"
            )
        if self.duration_deviations is None and all(bound is None for bound in by_judge):
            raise ConfigError("no bound is set, so nothing would be filtered", next_step="set most_cer, for one")

    def _verdicts(self, corpus: Corpus, heard: Path | None) -> dict[str, _Verdict]:
        """One for every row of the split that has a transcript; RowsVanished where the judge heard fewer rows."""
        clean = normalise.get(self.normaliser)
        said: dict[str, tuple[str, float]] = {}
        for row in corpus.split(self.split):
            text = plain(clean(row.text or ""))
            if text:
                said[row.id] = (text, row.audio.duration_s)
        if not said:
            raise CorpusError(
                f"the corpus has no transcripts in split {self.split!r}",
                where=str(corpus.root),
                next_step="name the split of the synthetic speech",
            )
        verdicts = {name: _Verdict(name) for name in said}
        if heard is not None:
            self._by_judge(said, verdicts, heard / HYPOTHESES_FILE)
        if self.duration_deviations is not None:
            self._by_duration(said, verdicts, self.duration_deviations)
        return verdicts

    def _by_judge(self, said: Mapping[str, tuple[str, float]], verdicts: dict[str, _Verdict], path: Path) -> None:
        clean = normalise.get(self.normaliser)
        left = set(said)
        for line, record in _records(path):
            row = row_of(record, f"{path}:{line}")
            if row.id not in left:
                continue
            left.discard(row.id)
            text, heard = said[row.id][0], plain(clean(row.hypothesis))
            one = verdicts[row.id]
            one.heard = row.hypothesis
            counts = align_characters(text, heard).counts
            one.cer = counts.errors / counts.reference
            if row.refusal:
                one.over(math.inf, REFUSED, str(row.refusal.get("detail") or row.refusal.get("reason") or ""))
                continue
            if self.most_cer is not None:
                one.over(one.cer / self.most_cer, UNINTELLIGIBLE, f"CER {one.cer:.2f}, allowed {self.most_cer:g}")
            if self.most_wer is not None:
                words = align_words(text, heard).counts
                rate = words.errors / words.reference
                one.over(rate / self.most_wer, UNINTELLIGIBLE, f"WER {rate:.2f}, allowed {self.most_wer:g}")
            if self.length_ratio is not None:
                one.over(*_length(len(heard) / len(text), self.length_ratio))
        if left:
            raise RowsVanished(
                f"{len(left)} of {len(said)} utterances were never heard by the judge ({min(left)} ...)",
                where=str(path),
                next_step="let the judge decode the whole split again",
            )

    def _by_duration(self, said: Mapping[str, tuple[str, float]], verdicts: dict[str, _Verdict], bound: float) -> None:
        pace = {name: math.log(max(seconds, 1e-3) / len(text)) for name, (text, seconds) in said.items()}
        if len(pace) < _MIN_DURATIONS:
            return
        values = np.array(list(pace.values()))
        middle = float(np.median(values))
        spread = max(_MAD_TO_DEVIATION * float(np.median(np.abs(values - middle))), _LEAST_DEVIATION)
        for name, value in pace.items():
            away = abs(value - middle) / spread
            detail = (
                f"{1000 * math.exp(value):.0f} ms a character, {away:.1f} deviations from the usual "
                f"{1000 * math.exp(middle):.0f} ms, allowed {bound:g}"
            )
            verdicts[name].over(away / bound, ODD_DURATION, detail)

    def _facts(self, sieve: _Sieve, judged: int, over: list[_Verdict], out: Mapping[str, _Verdict]) -> dict[str, Any]:
        return {
            "format": 1,
            "split": self.split,
            "bounds": {
                "cer": self.most_cer,
                "wer": self.most_wer,
                "length_ratio": self.length_ratio,
                "duration_deviations": self.duration_deviations,
                "share": self.most_rejected,
            },
            "normaliser": self.normaliser,
            "judged": judged,
            "without_transcript": sieve.unjudged,
            "over_bound": len(over),
            "rejected": len(out),
            "spared": len(over) - len(out),
            "rejected_share": round(len(out) / judged, 6),
            "reasons": dict(sorted(Counter(one.reason for one in out.values()).items())),
            **sieve.lost(normalise.get(self.normaliser)),
        }


@dataclass(slots=True)
class _Verdict:
    """How far an utterance is over its bounds: the largest ratio of a measure to its bound, and which that was."""

    id: str
    excess: float = 0.0
    reason: str = ""
    detail: str = ""
    heard: str = ""
    cer: float | None = None

    def over(self, excess: float, reason: str, detail: str) -> None:
        if excess > self.excess:
            self.excess, self.reason, self.detail = excess, reason, detail


def _length(ratio: float, bounds: tuple[float, float]) -> tuple[float, str, str]:
    low, high = bounds
    excess = ratio / high if ratio > high else low / max(ratio, 1e-6) if ratio < low else 0.0
    return excess, WRONG_LENGTH, f"{ratio:.2f} characters heard for each one said, allowed {low:g} to {high:g}"


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of hypotheses.jsonl one by one: a corpus of synthetic speech can be long."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield number, json.loads(line)
    except (OSError, ValueError) as error:
        raise BadInput(f"what the judge heard cannot be read: {error}", where=str(path)) from error


@dataclass(slots=True)
class _Sieve:
    """Passes the kept rows on and remembers the rejected ones with their texts."""

    corpus: Corpus
    out: Mapping[str, _Verdict]
    verdicts: Mapping[str, _Verdict]
    store: str
    split: str
    texts: list[dict[str, Any]] = field(default_factory=list)
    unjudged: int = 0
    """Rows of the split that are kept because they say nothing to judge by."""
    _rejects: list[Reject] = field(default_factory=list)
    _kept_texts: Counter[str] = field(default_factory=Counter)

    def kept(self) -> Iterator[tuple[Utterance, dict[str, Any]]]:
        root = str(self.corpus.root)
        for number, cut in enumerate(self.corpus.cuts()):
            row = utterance_of(cut, root, f"{CUTS}:{number + 1}")
            verdict = self.out.get(row.id)
            if verdict is not None:
                self._rejects.append(Reject(row.id, verdict.reason, verdict.detail, f"{CUTS}:{number + 1}"))
                self.texts.append(_told(row, verdict))
                continue
            if row.split == self.split:
                self.unjudged += row.id not in self.verdicts
                self._kept_texts[row.text or ""] += 1
            custom = {name: value for name, value in cut["custom"].items() if name not in OWN_FIELDS}
            found = self.verdicts.get(row.id)
            if found is not None and found.cer is not None:
                custom["judge_cer"] = round(found.cer, 4)
            audio = replace(row.audio, path=place_in_store(row.audio.path, self.store))
            yield replace(row, audio=audio), custom

    def rejects(self) -> Iterator[Reject]:
        """Read only after all rows were written: by then the list is full."""
        yield from self._rejects

    def lost(self, clean: Any) -> dict[str, Any]:
        """Words, characters and sentences that only rejects hold, the most frequent first (at most 1000 of each)."""
        kept = {clean(text) for text in self._kept_texts}
        words = {word for text in kept for word in text.split()}
        signs = {sign for text in kept for sign in text}
        gone = [clean(str(one["text"])) for one in self.texts]
        lost_words = Counter(word for text in gone for word in text.split() if word not in words)
        lost_signs = Counter(sign for text in gone for sign in text if sign not in signs and not sign.isspace())
        return {
            "lost_words": _listed(lost_words),
            "lost_words_count": len(lost_words),
            "lost_characters": _listed(lost_signs),
            "lost_sentences": sum(text not in kept for text in set(gone)),
        }


def _told(row: Utterance, verdict: _Verdict) -> dict[str, Any]:
    return {
        "id": row.id,
        "text": row.text,
        "heard": verdict.heard,
        "cer": None if verdict.cer is None else round(verdict.cer, 4),
        "reason": verdict.reason,
        "detail": verdict.detail,
        "speaker": row.speaker,
        "duration_s": round(row.audio.duration_s, 3),
    }


def _listed(counts: Counter[str]) -> list[list[Any]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [[name, times] for name, times in ordered[:MOST_LISTED]]
