"""What continued training on untranscribed speech hears: recordings of train and unlabelled rows, never those of test.

Example::

    material = gather([radio, kichwa], embargo=[yoruba], config=MaskedConfig(), seed=1)
    material.train, material.dev, material.rejects
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from orature.core.errors import CorpusError, RejectLimitExceeded
from orature.core.types import Reject, Utterance
from orature.data.corpus import Corpus
from orature.text.leaks import EmbargoIndex, reject_of
from orature.train.loader import Example
from orature.train.masked_config import MaskedConfig

HEARD = ("train", "unlabelled")
ASIDE = {
    "test": ("test-never-heard", "rows of test are never heard in training"),
    "dev": ("dev-only-measured", "rows of dev are only measured"),
    None: ("split-unassigned", "the row is in no split yet, and might be test one day (`orature split` assigns one)"),
}
HELD_OUT, SHORT, TWICE = "held-out-for-dev", "too-short-to-mask", "recording-twice"
_BY_DESIGN = {HELD_OUT, TWICE, *(reason for reason, _ in ASIDE.values())}
"""Not heard, and nothing is wrong with the row."""
_POOL = 31
"""Sets these draws apart from the others of a run."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Examples without text; `rows` of the corpora are kept for training, the others are in `rejects` (law 1)."""

    train: list[Example]
    dev: list[Example]
    rows: int
    rejects: list[Reject]
    languages: list[str]
    licences: list[str]
    held_out: bool
    """Dev was taken from train, because no corpus has one."""

    @property
    def total(self) -> int:
        return self.rows + len(self.rejects)

    @property
    def hours(self) -> float:
        return sum(example.duration_s for example in self.train) / 3600

    @property
    def reasons(self) -> dict[str, int]:
        """How many rows were left out, by reason."""
        return dict(sorted(Counter(reject.reason for reject in self.rejects).items()))


@dataclass(frozen=True, slots=True)
class _Row:
    place: int
    utterance: Utterance

    @property
    def group(self) -> str:
        """Who speaks, else which recording: what dev and train must not share."""
        return f"{self.place} {self.utterance.speaker or self.utterance.audio.path}"


def gather(
    corpora: Sequence[Corpus], embargo: Sequence[Corpus], config: MaskedConfig, seed: int, reject_limit: float = 1.0
) -> Heard:
    """Every row is heard, measured, or left out with a reason; text is not looked at.

    A recording whose samples are those of a dev or test row of any corpus (also of `embargo`, of which nothing else is
    read) is left out. CorpusError where nothing is left, RejectLimitExceeded where more than `reject_limit` of the rows
    that were meant to be heard are not.
    """
    rows, dev, rejects = _sorted_out(corpora, embargo, config)
    meant = len(rows) + sum(reject.reason not in _BY_DESIGN for reject in rejects)
    if meant - len(rows) > reject_limit * meant:
        reasons = Counter(reject.reason for reject in rejects if reject.reason not in _BY_DESIGN)
        raise RejectLimitExceeded(
            f"{meant - len(rows)} of {meant} rows that were to be heard cannot be: "
            + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())),
            next_step="mend the corpus, or give another one",
        )
    held_out = not dev
    if held_out:
        rows, dev = _held_out(rows, config.held_out, seed)
        rejects += [Reject(row.utterance.id, HELD_OUT, "measured in place of dev", row.utterance.source) for row in dev]
    if not rows or not dev:
        raise _nothing(corpora, rejects)
    return Heard(
        train=[example for row in rows for example in _pieces(row, config.longest_s)],
        dev=_at_most([example for row in dev for example in _pieces(row, config.longest_s)], config.dev_s, seed),
        rows=len(rows),
        rejects=rejects,
        languages=sorted({row.utterance.language for row in rows} - {"und"}),
        licences=sorted({row.utterance.licence for row in rows if row.utterance.licence}),
        held_out=held_out,
    )


def _sorted_out(
    corpora: Sequence[Corpus], embargo: Sequence[Corpus], config: MaskedConfig
) -> tuple[list[_Row], list[_Row], list[Reject]]:
    """Rows to hear, rows to measure, and a reject for every row that is not heard."""
    index = EmbargoIndex.of(*(one.split(name) for one in (*corpora, *embargo) for name in ("dev", "test")))
    rows: list[_Row] = []
    dev: list[_Row] = []
    rejects: list[Reject] = []
    seen: set[str] = set()
    for place, corpus in enumerate(corpora):
        for utterance in corpus:
            row, span = _Row(place, utterance), utterance.audio
            if utterance.split not in HEARD:
                rejects.append(Reject(utterance.id, *ASIDE[utterance.split], utterance.source))
                if utterance.split == "dev" and span.duration_s >= config.shortest_s:
                    dev.append(row)
            elif (breach := index.audio_breach(span.digest)) is not None:
                rejects.append(reject_of(utterance, breach))
            elif span.duration_s < config.shortest_s:
                detail = f"{span.duration_s:.2f} s; masking needs {config.shortest_s:.2f} s"
                rejects.append(Reject(utterance.id, SHORT, detail, utterance.source))
            elif span.digest and span.digest in seen:
                rejects.append(Reject(utterance.id, TWICE, "another row has the same recording", utterance.source))
            else:
                seen.add(span.digest)
                rows.append(row)
    return rows, dev, rejects


def _held_out(rows: Sequence[_Row], share: float, seed: int) -> tuple[list[_Row], list[_Row]]:
    """Train, and `share` of the rows for dev: whole speakers (recordings where they are unknown) as long as they fit.

    Where one speaker has more than that, single rows are taken.
    """
    wanted = max(1, round(share * len(rows)))
    groups: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        groups.setdefault(row.group, []).append(number)
    rng = np.random.default_rng([seed, _POOL])
    taken: set[int] = set()
    for place in rng.permutation(len(groups)).tolist():
        members = list(groups.values())[place]
        if len(taken) + len(members) <= wanted:
            taken.update(members)
    if not taken:
        taken.update(rng.permutation(len(rows))[:wanted].tolist())
    kept = [row for number, row in enumerate(rows) if number not in taken]
    return kept, [row for number, row in enumerate(rows) if number in taken]


def _pieces(row: _Row, longest_s: float) -> list[Example]:
    """The recording in equal parts of at most `longest_s` seconds."""
    utterance, span = row.utterance, row.utterance.audio
    parts = max(1, math.ceil(span.duration_s / longest_s))
    long_s = span.duration_s / parts
    return [
        Example(
            id=f"{row.place}:{utterance.id}" + (f"#{part}" if parts > 1 else ""),
            path=span.path,
            start_s=span.start_s + part * long_s,
            duration_s=long_s,
            text="",
            tokens=(),
            language=utterance.language,
            source=utterance.source,
            origin=utterance.origin,
        )
        for part in range(parts)
    ]


def _at_most(examples: list[Example], seconds: float, seed: int) -> list[Example]:
    """A sample of so many seconds (at least one example), in the order of the list."""
    chosen: list[int] = []
    left_s = seconds
    for place in np.random.default_rng([seed, _POOL, 1]).permutation(len(examples)).tolist():
        if chosen and examples[place].duration_s > left_s:
            continue
        chosen.append(place)
        left_s -= examples[place].duration_s
    return [examples[place] for place in sorted(chosen)]


def _nothing(corpora: Sequence[Corpus], rejects: Sequence[Reject]) -> CorpusError:
    reasons = Counter(reject.reason for reject in rejects)
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "the corpora hold no rows"
    return CorpusError(
        f"there is no speech to learn from: {why}",
        where=", ".join(str(corpus.root) for corpus in corpora),
        next_step="give corpora with two train or unlabelled rows; `orature ingest` makes one of recordings alone",
    )
