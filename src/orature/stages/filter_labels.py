"""The stage that keeps those labels of a recogniser that are worth training on, and says of each other row why not.

Example::

    heard = run.do(Transcribe(model=model, corpus=corpus, split="unlabelled"))
    other = run.do(Transcribe(model=of_another_family, corpus=corpus, split="unlabelled"))
    kept = run.do(FilterLabels(corpus=corpus, hypotheses=heard, second=other))
    read_account(run.path_of(kept))["rejected"]

The artefact is a corpus; beside `rejects.jsonl` it holds `labels.json`: counts by reason, language and speaker, the
bounds as they came out, and examples for each reason.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from orature.core.errors import AudioError, CorpusError, RowsVanished
from orature.core.files import write_json
from orature.core.spool import Spool
from orature.core.types import Refusal, Reject, Utterance
from orature.data import audio
from orature.data.corpus import Corpus, save_corpus
from orature.data.label_judge import LabelBounds, LabelJudge
from orature.engines.ctc_decode import steps_needed
from orature.flow import Ref, Stage, StageContext
from orature.stages.corpus_rows import draw_order, rows_of
from orature.stages.label_account import LABELS, Account, Label, Labels, read_labels
from orature.stages.label_quotas import Candidate, Quotas, over_quota
from orature.stages.label_speech import EMPTY, OTHER, REFUSED, UNSURE
from orature.stages.transcribe import HYPOTHESES
from orature.text.label_checks import SameLabels, disagreement
from orature.text.leaks import EmbargoIndex, reject_of

INFEASIBLE, DOUBTED, DISAGREED, SILENCE_QUOTA = "ctc-infeasible", "low-confidence", "models-disagree", "silence-quota"
TOO_LONG = "too-long"
_QUIETER_DB = 6.0
_LEAST_LEVELS = 20

Row = tuple[str, Utterance, dict[str, Any]]


class FilterLabels(Stage):
    """Train rows whose text is what `hypotheses` heard (origin "pseudo"), with the corpus's own rows of train and dev.

    `split` is "unlabelled", or "train", whose own transcripts are then neither kept nor looked at. `keep_train` keeps
    the train rows with transcripts, `keep_test` those of test: without them `orature split` would make a new test of
    labels. A row is rejected by the first of these that speaks against it (None: not looked at):

    - the recogniser refused it; its recording or label breaches the embargo on dev and test; its label is empty;
    - `longest_s`: its recording is longer than what trainings can take at once (slimIPL leaves the same ones out);
    - `step_ms`: its label needs more CTC steps (one a character, one more between equal neighbours) than there are of
      this length; 20 ms is the finest step of the families here, so that no network could learn what is rejected;
    - `bounds`: rate, script, alphabet, repeats, known phrases, language (`LabelBounds`), by the train rows with
      transcripts of its language;
    - `most_same`: so many recordings, and more than transcripts would explain, have the same label (`SameLabels`);
    - `min_score`: mean log-probability a frame, a weak sign (-1 is also the bound of Whisper's own decoding);
      `min_confidence`: the expected share of right words where calibrated, else the mean confidence of its words;
    - `most_disagreement`: character edits between its label and that of `second` by the length of the longer;
    - `quotas` by speaker and language.

    Recordings whose label is empty and that are silent (RMS below `silence_dbfs`, and 6 dB below all but the quietest
    hundredth of labelled speech) are kept with the text "" up to `silence_share` of the labelled rows. What is drawn
    depends on `seed` and the ids alone.
    """

    name: ClassVar[str] = "filter-labels"
    version: ClassVar[int] = 2
    corpus: Ref
    hypotheses: Ref
    second: Ref | None = None
    split: Literal["unlabelled", "train"] = "unlabelled"
    keep_train: bool = True
    keep_test: bool = True
    bounds: LabelBounds = LabelBounds()
    quotas: Quotas = Quotas()
    longest_s: float | None = Field(default=60.0, gt=0)
    step_ms: float | None = Field(default=20.0, gt=0)
    most_same: int | None = Field(default=5, ge=1)
    min_score: float | None = Field(default=-1.0, le=0)
    min_confidence: float | None = Field(default=0.5, ge=0, le=1)
    most_disagreement: float | None = Field(default=0.2, ge=0, le=1)
    silence_share: float = Field(default=0.02, ge=0, lt=1)
    silence_dbfs: float = Field(default=-50.0, lt=0)
    seed: int = 1
    examples: int = Field(default=5, ge=0)
    reject_limit: float = Field(default=1.0, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes the files of a corpus and labels.json; RowsVanished where a row was never decoded."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        with ExitStack() as held:
            labels = held.enter_context(read_labels(ctx.path_of(self.hypotheses) / HYPOTHESES))
            second = None
            if self.second is not None:
                second = held.enter_context(read_labels(ctx.path_of(self.second) / HYPOTHESES))
            heard, verdicts, rejects = (held.enter_context(Spool(ctx.state)) for _ in range(3))
            sieve = _Sieve(self, corpus, labels, second)
            with ctx.progress(self.name, len(corpus), "rows") as bar:
                over = sieve.judge(heard, verdicts, bar.advance)
            account, outcome = Account(self.seed, self.examples), _Outcome(iter(verdicts), over, rejects)
            store = "" if self.corpus.is_external else str(corpus.root.parent)
            rows = self._rows(corpus, labels, outcome, account, store)
            summary = save_corpus(ctx.writing, rows, (Reject(*one) for one in rejects), root=ctx.out)
            facts = account.to_json() | {"split": self.split, "bounds": sieve.facts()}
        counts = outcome.counts
        with ctx.writing(LABELS) as part:
            write_json(part, facts)
        ctx.conserve(total=len(corpus), kept=summary["utterances"], rejected=counts, reject_limit=self.reject_limit)
        if facts["kept"] == facts["silent_kept"]:
            raise CorpusError(
                f"not one of {facts['rows']} labels can be used ({_told(counts)})",
                where=str(corpus.root),
                next_step="use a better model, or loosen what rejects the most (none switches a filter off)",
            )
        ctx.note(kept=facts["kept"], kept_hours=facts["kept_hours"], rejected=dict(counts))
        ctx.declare_digest(summary["digest"])

    def _rows(
        self, corpus: Corpus, labels: Labels, outcome: _Outcome, account: Account, store: str
    ) -> Iterator[tuple[Utterance, dict[str, Any]]]:
        for where, row, custom in rows_of(corpus, store):
            if row.split != self.split:
                if self._is_kept(row):
                    yield row, custom
                else:
                    outcome.reject(Reject(row.id, OTHER, f"it is in {row.split or 'no split'}", where))
                continue
            label, refusal = labels[row.id], outcome.next(row.id)
            account.add(row.id, row.language, row.speaker, row.audio.duration_s, label, refusal)
            if refusal is not None:
                outcome.reject(Reject(row.id, refusal.reason, refusal.detail, where))
                continue
            custom["label_score"] = label.score
            if label.confidence is not None:
                custom["label_confidence"] = round(label.confidence, 4)
            yield labelled(row, label.text), custom

    def _is_kept(self, row: Utterance) -> bool:
        """Of a row of another split than the labelled one."""
        if row.split == "train":
            return self.keep_train and row.text is not None
        return row.split == "dev" or (row.split == "test" and self.keep_test)


def labelled(row: Utterance, text: str) -> Utterance:
    """`row` as a row of train with a label for its text."""
    return replace(row, text=text, split="train", origin="pseudo")


@dataclass
class _Outcome:
    """What became of the rows of the labelled split, in the order of the corpus, and all rejected rows."""

    verdicts: Iterator[Any]
    over: dict[str, Refusal]
    rejects: Spool
    counts: Counter[str] = field(default_factory=Counter)

    def next(self, row_id: str) -> Refusal | None:
        """Why the next row is rejected; None where it is kept."""
        verdict = next(self.verdicts)
        return self.over.get(row_id) or (None if verdict is None else Refusal(*verdict))

    def reject(self, reject: Reject) -> None:
        self.counts[reject.reason] += 1
        self.rejects.add([reject.id, reject.reason, reject.detail, reject.where])


@dataclass
class _Sieve:
    """Why each row of the labelled split is rejected; looks at the rows twice: for its bounds, then one by one."""

    stage: FilterLabels
    corpus: Corpus
    labels: Labels
    second: Labels | None
    index: EmbargoIndex = field(init=False)
    same: SameLabels | None = None
    judges: dict[str, LabelJudge] = field(default_factory=dict)
    silence_dbfs: float = 0.0

    def judge(self, heard: Spool, verdicts: Spool, advance: Callable[[float], None]) -> dict[str, Refusal]:
        """Writes a verdict on each row into `verdicts` (None: kept); returns those of the quotas, by row.

        `heard` takes labels for a while. Neither verdicts nor labels are held, so that memory does not grow with them.
        """
        self._learn(heard)
        candidates: list[Candidate] = []
        silent: list[str] = []
        kept, limited = 0, self.stage.quotas != Quotas()
        for _, row, custom in rows_of(self.corpus, ""):
            advance(1)
            if row.split != self.stage.split:
                continue
            label, other = self._label(self.labels, row), None if self.second is None else self._label(self.second, row)
            refusal = self._refusal(row, label, other)
            if refusal is None:
                kept += 1
                if limited:
                    candidates.append(Candidate(row.id, row.language, row.speaker, row.audio.duration_s))
            elif refusal.reason == EMPTY and self._is_silent(row, other, custom):
                silent.append(row.id)
                refusal = None
            verdicts.add(None if refusal is None else [refusal.reason, refusal.detail])
        over = over_quota(candidates, self.stage.quotas, self.stage.seed) if limited else {}
        return over | self._over_silence(silent, kept - len(over))

    def _learn(self, heard: Spool) -> None:
        """The embargo, a judge for each language, what labels are too frequent, and how quiet silence is."""
        stage = self.stage
        self.index = EmbargoIndex.of(self.corpus.split("dev"), self.corpus.split("test"))
        spoken: dict[str, list[Utterance]] = defaultdict(list)
        levels: list[float] = []
        wanted: set[str] = set()
        for _, row, custom in rows_of(self.corpus, ""):
            if row.split == stage.split:
                wanted.add(row.language)
                heard.add([self._label(self.labels, row).text, row.audio.digest or row.id])
            elif row.split == "train" and row.text and row.origin != "pseudo":
                spoken[row.language].append(row)
                if "rms_dbfs" in custom.get("quality", {}):
                    levels.append(custom["quality"]["rms_dbfs"])
        self.judges = {tag: LabelJudge.of(spoken[tag], tag, stage.bounds) for tag in sorted(wanted)}
        if stage.most_same is not None:
            said = [row.text or "" for rows in spoken.values() for row in rows]
            self.same = SameLabels.of(heard, said, stage.most_same)
        quiet = sorted(levels)[len(levels) // 100] - _QUIETER_DB if len(levels) >= _LEAST_LEVELS else math.inf
        self.silence_dbfs = min(stage.silence_dbfs, quiet)

    def _label(self, labels: Labels, row: Utterance) -> Label:
        label = labels.get(row.id)
        if label is None:
            raise RowsVanished(f"{row.id} was never decoded", where=HYPOTHESES, next_step="run the whole command again")
        return label

    def _refusal(self, row: Utterance, label: Label, other: Label | None) -> Refusal | None:
        if label.refusal is not None:
            return Refusal(REFUSED, label.refusal)
        breach = self.index.breach(labelled(row, label.text))
        if breach is not None:
            reject = reject_of(labelled(row, label.text), breach)
            return Refusal(reject.reason, reject.detail)
        if not label.text:
            return Refusal(EMPTY, "the recogniser heard nothing")
        return (
            self._too_long(row)
            or self._infeasible(row, label.text)
            or self.judges[row.language].refusal(label.text, row.audio.duration_s)
            or (None if self.same is None else self.same.refusal(label.text))
            or self._doubt(label)
            or self._disagreement(label, other)
        )

    def _too_long(self, row: Utterance) -> Refusal | None:
        most, length_s = self.stage.longest_s, row.audio.duration_s
        if most is None or length_s <= most:
            return None
        return Refusal(TOO_LONG, f"{length_s:.1f} s; at most {most:g} s can be trained on at once: cut it up")

    def _infeasible(self, row: Utterance, text: str) -> Refusal | None:
        if self.stage.step_ms is None:
            return None
        have, need = int(1000 * row.audio.duration_s / self.stage.step_ms), steps_needed([ord(sign) for sign in text])
        if have >= need:
            return None
        steps = f"{have} output steps of {self.stage.step_ms:g} ms"
        return Refusal(INFEASIBLE, f"{row.audio.duration_s:.2f} s give {steps}, its label needs {need}")

    def _doubt(self, label: Label) -> Refusal | None:
        least, least_sure = self.stage.min_score, self.stage.min_confidence
        if least is not None and label.score < least:
            return Refusal(UNSURE, f"{label.score:.2f} a frame; at least {least:g} is asked")
        if least_sure is not None and label.confidence is not None and label.confidence < least_sure:
            return Refusal(DOUBTED, f"confidence {label.confidence:.4g}; at least {least_sure:g} is asked")
        return None

    def _disagreement(self, label: Label, other: Label | None) -> Refusal | None:
        most = self.stage.most_disagreement
        if other is None or most is None:
            return None
        if other.refusal is not None:
            return Refusal(DISAGREED, f"the second model refused the recording: {other.refusal}")
        apart = disagreement(label.text, other.text)
        if apart <= most:
            return None
        return Refusal(DISAGREED, f"{100 * apart:.0f} % of the characters differ from the second's “{other.text}”")

    def _is_silent(self, row: Utterance, other: Label | None, custom: dict[str, Any]) -> bool:
        if self.stage.silence_share == 0 or (other is not None and (other.text or other.refusal)):
            return False
        level = custom.get("quality", {}).get("rms_dbfs")
        if level is None:
            try:
                heard = audio.load(row.audio.path, row.audio.start_s, row.audio.duration_s)
            except AudioError:
                return False
            level = audio.quality(heard)["rms_dbfs"]
        return float(level) < self.silence_dbfs

    def _over_silence(self, silent: list[str], speech: int) -> dict[str, Refusal]:
        share = self.stage.silence_share
        allowed = math.floor(share * speech / (1 - share) + 1e-9)
        over = sorted(silent, key=lambda name: (draw_order(self.stage.seed, name), name))[allowed:]
        return {name: Refusal(SILENCE_QUOTA, f"{100 * share:g} % of silence are enough") for name in over}

    def facts(self) -> dict[str, Any]:
        """The bounds as they came out."""
        return {
            "languages": {tag: judge.to_json() for tag, judge in self.judges.items()},
            "silence_dbfs": round(self.silence_dbfs, 2),
            "too_frequent": [] if self.same is None else [list(pair) for pair in self.same.frequent()],
            "settings": self.stage.model_dump(mode="json", exclude={"corpus", "hypotheses", "second"}),
        }


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.most_common(4)) or "none was there"
