"""Which phones the letters of a language stand for, learned from pairs of letters and phones without a dictionary.

Each letter is written by one phone, or by none (NULL); phones may be left without a letter. The phone of the next
letter is the same one (letters share it, as in "sh"), the next one, or one a little further on. This is the alignment
by hidden Markov model of Vogel, Ney and Tillmann (1996, "HMM-based word alignment", section 3) with jumps that only go
forward, because spelling goes the way of speech; with the NULL word of Och and Ney (2003, section 2.1.2); and with a
chance to stay of each phone's own (after Toutanova, Ilhan, Manning 2002, "Extensions to HMM-based statistical word
alignment models"). Ours is that a phone's first letter and the letters after it have tables of their own, without which
the second letter of a digraph would pass for silent. The first rounds, which find out roughly what belongs together,
are IBM model 1 with a prior on the diagonal (Dyer, Chahuneau, Smith 2013, section 2). Both are fitted by EM; nothing is
drawn, so that equal pairs give equal tables. What it cannot say is that a letter stands for two phones at once (x for
k and s): it takes the one or the other.

Shapes: B pairs of a batch, N letters of a pair, M phones of a pair, C letters, P phones; the last column of tables of
P + 1 columns is NULL.

Example::

    learned = learn([(("s", "h", "u"), ("ʃ", "u")), (("u", "s"), ("u", "s"))])
    learned.shares("u")                 # [("u", 1.0)]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Pair = tuple[Sequence[str], Sequence[str]]
"""Letters (N) and phones (M)."""

TENSION = 20.0
"""How strongly the first rounds hold to the diagonal: by 1/e a twentieth of the length away from it."""
JUMPS = (0.74, 0.16, 0.06, 0.03, 0.01)
"""Where EM begins: the chance that the letter after a phone's last one lies 1, 2 ... phones further on."""
_STAY, _STAY_COUNT = 0.1, 2.0
"""Where EM begins: the chance that a phone writes one letter more; how many observations that counts as later."""
_NULL, _NULL_BOUNDS = 0.05, (0.01, 0.3)
_SKIPPED = 0.3
"""Weight of each phone behind the last letter's."""
_SMOOTH = 1e-3
"""Added to each cell of the tables of letters by phone: no pair may become impossible."""
_BATCH, _CELLS = 64, 300_000
"""Pairs computed at once, and letters times phones of them."""


@dataclass(frozen=True)
class Learned:
    """Expected counts (C, P + 1) of each letter written by each phone, and how often each phone was there (P,)."""

    letters: tuple[str, ...]
    phones: tuple[str, ...]
    counts: Floats
    phone_counts: Floats
    log_likelihood: float
    """Of a letter, in nats, under the parameters of the last round but one."""

    @classmethod
    def nothing(cls) -> Learned:
        """The table of no pairs."""
        return cls((), (), np.zeros((0, 1)), np.zeros(0), 0.0)

    def letter_count(self, letter: str) -> float:
        """Expected occurrences of `letter` that some phone wrote; 0 for a letter that no pair has."""
        return float(self.counts[self.letters.index(letter), :-1].sum()) if letter in self.letters else 0.0

    def silent_share(self, letter: str) -> float:
        """The share of the occurrences of `letter` that no phone wrote; 1 for a letter that no pair has."""
        if letter not in self.letters:
            return 1.0
        row = self.counts[self.letters.index(letter)]
        return float(row[-1] / row.sum())

    def shares(self, letter: str, least: float = 0.01) -> list[tuple[str, float]]:
        """P(phone | letter, not silent), the largest first; those below `least` are left out and the rest sums to 1."""
        if self.letter_count(letter) == 0.0:
            return []
        row = self.counts[self.letters.index(letter), :-1]
        row = row / row.sum()
        kept = [(phone, float(share)) for phone, share in zip(self.phones, row, strict=True) if share >= least]
        total = sum(share for _, share in kept)
        return sorted(((phone, share / total) for phone, share in kept), key=lambda pair: (-pair[1], pair[0]))


def learn(pairs: Sequence[Pair], *, diagonal_rounds: int = 5, rounds: int = 10) -> Learned:
    """The table of `pairs` after so many rounds of both models; ValueError for none, or for an empty side.

    Time goes with the letters times the phones of each pair: half a minute for a thousand of 100 letters on one core.
    """
    if not pairs or any(not letters or not phones for letters, phones in pairs):
        raise ValueError("pairs are needed, each with letters and phones")
    names = tuple(sorted({letter for letters, _ in pairs for letter in letters}))
    phones = tuple(sorted({phone for _, heard in pairs for phone in heard}))
    batches = _batches(pairs, names, phones)
    first = np.full((len(names), len(phones) + 1), 1.0 / len(names))
    for _ in range(diagonal_rounds):
        first = _normalised(sum((_diagonal(batch, first) for batch in batches), np.zeros_like(first)))
    model = _Model(first, first[:, :-1], np.full(len(phones), _STAY), np.array(JUMPS), _NULL)
    found = _Counts.none(model)
    for _ in range(rounds):
        found = _Counts.none(model)
        for batch in batches:
            _forward_backward(batch, model, found)
        model = found.model()
    spoken = np.bincount(np.concatenate([_numbers(heard, phones) for _, heard in pairs]), minlength=len(phones))
    size = sum(len(letters) for letters, _ in pairs)
    return Learned(names, phones, found.both, spoken.astype(np.float64), found.log_likelihood / size)


@dataclass(frozen=True)
class _Model:
    """First letters by phone and NULL (C, P + 1), further letters by phone (C, P), stay (P,), jumps, chance of NULL."""

    first: Floats
    further: Floats
    stay: Floats
    jumps: Floats
    null: float


@dataclass
class _Counts:
    """What a round expects, in the shapes of `_Model`; `left` counts by phone how often it wrote no further letter."""

    first: Floats
    further: Floats
    left: Floats
    jumps: Floats
    log_likelihood: float = 0.0

    @classmethod
    def none(cls, model: _Model) -> _Counts:
        first, further, left, jumps = map(np.zeros_like, (model.first, model.further, model.stay, model.jumps))
        return cls(first, further, left, jumps)

    @property
    def both(self) -> Floats:
        """Letters by phone, be they its first or not, and by NULL."""
        found = self.first.copy()
        found[:, :-1] += self.further
        return found

    def model(self) -> _Model:
        """The parameters that make these counts most likely, smoothed."""
        stayed = self.further.sum(axis=0)
        stay = (stayed + _STAY * _STAY_COUNT) / (stayed + self.left + _STAY_COUNT)
        jumps = (self.jumps + _SMOOTH) / (self.jumps + _SMOOTH).sum()
        null = float(np.clip(self.first[:, -1].sum() / self.both.sum(), *_NULL_BOUNDS))
        return _Model(_normalised(self.first), _normalised(self.further), stay, jumps, null)


@dataclass(frozen=True)
class _Batch:
    """Pairs as numbers: letters (B, N), phones (B, M), how many of each (B,); 0 pads."""

    letters_BN: Numbers
    phones_BM: Numbers
    n_B: Numbers
    m_B: Numbers

    @property
    def spoken_BM(self) -> npt.NDArray[np.bool_]:
        """True for phones, False for padding."""
        found: npt.NDArray[np.bool_] = np.arange(self.phones_BM.shape[1]) < self.m_B[:, None]
        return found

    def by_phone(self, table: Floats) -> Floats:
        """The chance of each letter by each phone (B, N, M), 0 past the end."""
        found: Floats = table[self.letters_BN[:, :, None], self.phones_BM[:, None, :]] * self.spoken_BM[:, None, :]
        return found

    def add(self, counts: Floats, by_phone_BNM: Floats) -> None:
        """Sums posteriors into a table of letters by phone."""
        places = self.letters_BN[:, :, None] * counts.shape[1] + self.phones_BM[:, None, :]
        summed = np.bincount(places.ravel(), weights=by_phone_BNM.ravel(), minlength=counts.size)
        counts += summed.reshape(counts.shape)


def _numbers(names: Sequence[str], known: Sequence[str]) -> Numbers:
    place = {name: number for number, name in enumerate(known)}
    return np.array([place[name] for name in names], dtype=np.int64)


def _batches(pairs: Sequence[Pair], letters: Sequence[str], phones: Sequence[str]) -> list[_Batch]:
    """Pairs of like length together: the order of sums follows from the pairs alone."""
    order = sorted(range(len(pairs)), key=lambda at: (len(pairs[at][0]), len(pairs[at][1]), at))
    found = []
    while order:
        cells = max(len(pairs[at][0]) * len(pairs[at][1]) for at in order[:_BATCH])
        size = max(1, min(_BATCH, _CELLS // cells))
        some, order = [pairs[at] for at in order[:size]], order[size:]
        n_B, m_B = (np.array([len(pair[side]) for pair in some]) for side in (0, 1))
        written = np.zeros((len(some), int(n_B.max())), dtype=np.int64)
        spoken = np.zeros((len(some), int(m_B.max())), dtype=np.int64)
        for row, (one, heard) in enumerate(some):
            written[row, : len(one)] = _numbers(one, letters)
            spoken[row, : len(heard)] = _numbers(heard, phones)
        found.append(_Batch(written, spoken, n_B, m_B))
    return found


def _normalised(counts: Floats) -> Floats:
    smoothed = counts + _SMOOTH
    result: Floats = smoothed / smoothed.sum(axis=0, keepdims=True)
    return result


def _diagonal(batch: _Batch, table: Floats) -> Floats:
    """Expected counts of IBM model 1 whose prior falls off with the distance from the diagonal."""
    at_N = np.minimum((np.arange(batch.letters_BN.shape[1]) + 0.5) / batch.n_B[:, None], 1.0)
    at_M = np.minimum((np.arange(batch.phones_BM.shape[1]) + 0.5) / batch.m_B[:, None], 1.0)
    prior = np.exp(-TENSION * np.abs(at_N[:, :, None] - at_M[:, None, :])) * batch.spoken_BM[:, None, :]
    prior *= (1.0 - _NULL) / prior.sum(axis=2, keepdims=True)
    by_phone, by_null = batch.by_phone(table) * prior, table[batch.letters_BN, -1] * _NULL
    total = by_phone.sum(axis=2) + by_null
    real = np.arange(batch.letters_BN.shape[1]) < batch.n_B[:, None]
    weight = np.where(real, 1.0 / total, 0.0)
    counts = np.zeros_like(table)
    batch.add(counts, by_phone * weight[:, :, None])
    np.add.at(counts[:, -1], batch.letters_BN, by_null * weight)
    return counts


class _Steps:
    """The steps from letter to letter of a batch. The state is the last phone that wrote a letter, 0 before the first.

    A letter by NULL leaves the state as it is.
    """

    def __init__(self, batch: _Batch, model: _Model) -> None:
        self.first_BNM = (1 - model.null) * batch.by_phone(model.first)
        self.further_BNM = (1 - model.null) * batch.by_phone(model.further)
        self.null_BN = model.null * model.first[batch.letters_BN, -1]
        self.stay_BM = model.stay[batch.phones_BM]
        self.leave_BM = np.concatenate([np.ones((len(self.stay_BM), 1)), 1.0 - self.stay_BM], axis=1)
        self.jumps = [(jump, chance) for jump, chance in enumerate(model.jumps, 1) if jump <= self.stay_BM.shape[1]]
        left = batch.m_B[:, None] - np.arange(self.leave_BM.shape[1])
        self.ends_BM = np.where(left >= 0, _SKIPPED ** np.maximum(left, 0), 0.0) * self.leave_BM

    def jumped(self, reach: Floats) -> Floats:
        """The chance to come to each phone (B, M) from where the letter before was, over all jumps."""
        gone = reach * self.leave_BM
        found: Floats = np.zeros_like(self.stay_BM)
        for jump, chance in self.jumps:
            found[:, jump - 1 :] += chance * gone[:, : gone.shape[1] - jump]
        return found

    def forward(self, i: int, reach: Floats) -> Floats:
        """The chance of each state (B, M + 1) with letter `i` written, from that without."""
        found: Floats = self.null_BN[:, i, None] * reach
        found[:, 1:] += self.further_BNM[:, i] * self.stay_BM * reach[:, 1:]
        found[:, 1:] += self.first_BNM[:, i] * self.jumped(reach)
        return found


def _forward_backward(batch: _Batch, model: _Model, counts: _Counts) -> None:
    """Adds what a batch is expected to hold, and its log-likelihood, to `counts`."""
    steps = _Steps(batch, model)
    rows, longest, width = steps.first_BNM.shape
    reach = np.zeros((longest + 1, rows, width + 1))
    reach[0, :, 0] = 1.0
    scales = np.ones((longest, rows))
    for i in range(longest):
        forward = steps.forward(i, reach[i])
        running = i < batch.n_B
        scales[i] = np.where(running, forward.sum(axis=1), 1.0)
        reach[i + 1] = np.where(running[:, None], forward / scales[i][:, None], reach[i])
    sums = (reach[-1] * steps.ends_BM).sum(axis=1)
    counts.log_likelihood += float((np.log(scales).sum(axis=0) + np.log(sums)).sum())
    to_come = steps.ends_BM / sums[:, None]
    left = reach[-1] * to_come
    first, further, silent = (np.zeros_like(part) for part in (steps.first_BNM, steps.further_BNM, steps.null_BN))
    for i in reversed(range(longest)):
        running = (i < batch.n_B)[:, None] / scales[i][:, None]
        arriving = steps.first_BNM[:, i] * to_come[:, 1:] * running
        staying = steps.further_BNM[:, i] * steps.stay_BM * to_come[:, 1:] * running
        before = steps.null_BN[:, i, None] * to_come * running
        silent[:, i] = (reach[i] * before).sum(axis=1)
        first[:, i] = steps.jumped(reach[i]) * arriving
        further[:, i] = reach[i][:, 1:] * staying
        before[:, 1:] += staying
        for at, (jump, chance) in enumerate(steps.jumps):
            taken = chance * steps.leave_BM[:, : width + 1 - jump] * arriving[:, jump - 1 :]
            before[:, : width + 1 - jump] += taken
            gone = reach[i][:, : width + 1 - jump] * taken
            left[:, : width + 1 - jump] += gone
            counts.jumps[at] += float(gone.sum())
        to_come = np.where(running > 0, before, to_come)
    batch.add(counts.first, first)
    batch.add(counts.further, further)
    np.add.at(counts.first[:, -1], batch.letters_BN, silent)
    np.add.at(counts.left, batch.phones_BM, left[:, 1:])
