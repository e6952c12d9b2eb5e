"""Make or keep the splits of a corpus, hold the embargo (law 5), and say what it costs.

Example::

    ref = run.do(MakeSplits(corpus=corpus_ref, strategy="auto"))
    index = EmbargoIndex.load(run.path_of(ref) / "embargo.json")
    print("\\n".join(describe(read_splits(run.path_of(ref)))))

The artefact is a corpus with the same audio, `embargo.json` (dev and test sentences and recordings, which every stage
that makes training rows must be given) and `splits.json`.

Strategies: `given` keeps the official splits; `rebuild` keeps the official dev and test and makes train of ALL labelled
clips that share no speaker, sentence or recording with them; `random` makes dev and test disjoint by speaker and
sentence; `auto` rebuilds where the official train holds less than half of what it could, makes splits where there is
neither dev nor test, and keeps them otherwise. A split that is missing is carved from train by speaker. Train rows (and
recordings of unlabelled rows) that breach the embargo are rejected and counted, never kept silently.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field

from orature.core.errors import CorpusError
from orature.core.identity import canonical_json
from orature.core.types import SPLITS, Reject, Split, Utterance
from orature.data.corpus import CUTS, UNASSIGNED, Corpus, save_corpus
from orature.data.rows import utterance_of
from orature.data.splits import LightRow, Options, Plan, Strategy, make_plan
from orature.flow.context import StageContext
from orature.flow.ref import Ref
from orature.flow.stage import Stage
from orature.text.leaks import EmbargoIndex, is_exempt, reject_of, sentence_key

EMBARGO, SPLITS_FILE = "embargo.json", "splits.json"
OWN_FIELDS = frozenset({"origin", "source", "licence", "split", "audio_digest"})
"""Values under `custom` of a cut that an `Utterance` carries itself."""


class MakeSplits(Stage):
    """Splits for `corpus`; shares are of the labelled seconds; `folds` > 0 makes fold number `fold` instead."""

    name: ClassVar[str] = "split"
    version: ClassVar[int] = 1

    corpus: Ref
    strategy: Strategy = "auto"
    dev_share: float = Field(default=0.1, ge=0, lt=0.5)
    test_share: float = Field(default=0.1, ge=0, lt=0.5)
    seed: int = 0
    folds: int = Field(default=0, ge=0)
    fold: int = Field(default=0, ge=0)
    reject_limit: float = Field(default=0.95, ge=0, le=1)

    def run(self, ctx: StageContext) -> None:
        """Writes cuts.jsonl.gz, rejects.jsonl, corpus.json, embargo.json, splits.json; digest = that of the corpus."""
        corpus = Corpus.open(ctx.path_of(self.corpus))
        rows = [_light(utterance) for utterance in corpus]
        options = Options(self.strategy, self.dev_share, self.test_share, self.seed, self.folds, self.fold)
        plan = make_plan(rows, options)
        test = EmbargoIndex.of(_assigned(corpus, plan, "test"))
        both = EmbargoIndex.of(_assigned(corpus, plan, "test"), _settled_dev(corpus, plan, test))
        sieve = _Sieve(corpus, plan, test, both, "" if self.corpus.is_external else str(corpus.root.parent))
        rejects: list[Reject] = []
        with ctx.progress("split", len(rows), "rows") as bar:
            summary = save_corpus(ctx.writing, sieve.rows(rejects, bar.advance), rejects, root=ctx.out)
        with ctx.writing(EMBARGO) as path:
            both.save(path)
        facts = self._facts(plan, summary, sieve, both, _seconds(rows))
        with ctx.writing(SPLITS_FILE) as path:
            path.write_text(canonical_json(facts) + "\n", encoding="utf-8")
        ctx.note(strategy=plan.strategy, warnings=plan.warnings, train=facts["train"])
        ctx.conserve(
            total=len(rows), kept=summary["utterances"], rejected=sieve.rejected, reject_limit=self.reject_limit
        )
        ctx.declare_digest(summary["digest"])

    def _facts(
        self, plan: Plan, summary: dict[str, Any], sieve: _Sieve, index: EmbargoIndex, official_s: float
    ) -> dict[str, Any]:
        made = summary["splits"].get("train", {"utterances": 0, "hours": 0.0})
        return {
            "format": 1,
            "asked": self.strategy,
            "strategy": plan.strategy,
            "disjoint_by": plan.unit,
            "seed": self.seed,
            "splits": summary["splits"],
            "fingerprints": summary["fingerprints"],
            "train": {
                "official": {"utterances": plan.official, "hours": round(official_s / 3600, 6)},
                "could_hold": plan.usable,
                "made": {"utterances": made["utterances"], "hours": made["hours"]},
            },
            "rejected": dict(sorted(sieve.rejected.items())),
            "embargo": {"sentences": len(index), "recordings": index.recordings, "one_word_exempt": index.exempt},
            "warnings": plan.warnings,
        }


def _light(utterance: Utterance) -> LightRow:
    key = sentence_key(utterance.text) if utterance.text else ""
    held_out = utterance.split in ("dev", "test")
    split = utterance.split if utterance.text is not None or held_out else "unlabelled"
    prompt = "" if not key or is_exempt(key) else key
    return LightRow(utterance.id, split, sys.intern(utterance.speaker or ""), prompt, utterance.audio.duration_s)


def _seconds(rows: list[LightRow]) -> float:
    return sum(row.seconds for row in rows if row.split == "train")


def _assigned(corpus: Corpus, plan: Plan, split: str) -> Iterator[Utterance]:
    """The rows that `plan` puts into `split`, with it."""
    wanted = set(plan.rows_of(split))
    for number, utterance in enumerate(corpus):
        if number in wanted:
            yield replace(utterance, split=cast(Split, split))


def _settled_dev(corpus: Corpus, plan: Plan, test: EmbargoIndex) -> Iterator[Utterance]:
    """Dev rows that stay; a dev split made here loses what is in test, an official one is kept whole."""
    for utterance in _assigned(corpus, plan, "dev"):
        if "dev" not in plan.made or test.breach(utterance) is None:
            yield utterance


class _Sieve:
    """Streams the corpus once more: rows with their split to keep, rejects aside."""

    def __init__(self, corpus: Corpus, plan: Plan, test: EmbargoIndex, both: EmbargoIndex, store: str) -> None:
        self._corpus, self._plan, self._test, self._both = corpus, plan, test, both
        self._store = store
        self.rejected: Counter[str] = Counter()

    def rows(self, rejects: list[Reject], advance: Any) -> Iterator[tuple[Utterance, dict[str, Any]]]:
        root = str(self._corpus.root)
        overlaps = 0
        for number, cut in enumerate(self._corpus.cuts()):
            utterance = utterance_of(cut, root, f"{CUTS}:{number + 1}")
            split = cast("Split | None", self._plan.splits[number])
            utterance = replace(
                utterance,
                split=split,
                audio=replace(utterance.audio, path=place_in_store(utterance.audio.path, self._store)),
            )
            reject = self._reject(number, utterance)
            advance(1)
            if reject is not None:
                self.rejected[reject.reason] += 1
                rejects.append(reject)
                continue
            if split == "dev" and "dev" not in self._plan.made and self._test.breach(utterance):
                overlaps += 1
            yield utterance, {name: value for name, value in cut["custom"].items() if name not in OWN_FIELDS}
        if overlaps:
            self._plan.warnings.append(
                f"{overlaps} rows of the official dev are, or nearly are, sentences or recordings of test: "
                "choosing a checkpoint on dev looks at test a little"
            )

    def _reject(self, number: int, utterance: Utterance) -> Reject | None:
        reason = self._plan.drops.get(number)
        if reason is not None:
            detail = f"speaker {utterance.speaker}" if utterance.speaker else (utterance.text or "")
            return Reject(utterance.id, reason, detail, f"{CUTS}:{number + 1}")
        if utterance.split in ("train", "unlabelled"):
            found = self._both.breach(utterance)
        elif utterance.split == "dev" and "dev" in self._plan.made:
            found = self._test.breach(utterance)
        else:
            return None
        return replace(reject_of(utterance, found), where=f"{CUTS}:{number + 1}") if found else None


def place_in_store(path: str, store: str) -> str:
    """Audio of an artefact of the same store is named relative to the new one, so that the store can be moved.

    `store` is the folder of artefacts, "" for a corpus outside.
    """
    path = os.path.normpath(path)
    folder = store.rstrip("/") + "/" if store else ""
    return "../" + path.removeprefix(folder) if folder and path.startswith(folder) else path


def read_splits(folder: Path) -> dict[str, Any]:
    """splits.json of a corpus made by `MakeSplits`; CorpusError where it has none."""
    try:
        data = json.loads((folder / SPLITS_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorpusError(
            "this corpus has no splits.json",
            where=str(folder),
            next_step="make splits with: orature split CORPUS --to CORPUS",
        ) from error
    return cast("dict[str, Any]", data)


def describe(facts: dict[str, Any]) -> list[str]:
    """Lines for a person: strategy, both train counts, every split with its fingerprint, rejects, warnings."""
    train = facts["train"]
    official, made = train["official"], train["made"]
    lines = [
        f"strategy {facts['strategy']} (asked: {facts['asked']}), disjoint by: {facts['disjoint_by']}",
        f"train: {official['utterances']} clips ({official['hours']:.2f} h) as given, "
        f"{train['could_hold']} could be used, {made['utterances']} clips ({made['hours']:.2f} h) now",
    ]
    for name in (name for name in (*SPLITS, UNASSIGNED) if name in facts["splits"]):
        part = facts["splits"][name]
        counts = f"{part['utterances']:>8} utterances  {part['hours']:8.2f} h  {part['speakers']:>5} speakers"
        lines.append(f"  {name:<12} {counts}  {facts['fingerprints'][name][:12]}")
    lines += [f"  rejected     {count:>8} {reason}" for reason, count in facts["rejected"].items()]
    held = facts["embargo"]
    lines.append(
        f"embargo: {held['sentences']} sentences and {held['recordings']} recordings of dev and test; "
        f"{held['one_word_exempt']} one-word sentences exempt"
    )
    return lines + [f"warning: {sentence}" for sentence in facts["warnings"]]
