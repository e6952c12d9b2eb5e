"""CTC prefix beam search with a language model over words (vocabulary open or closed) or over characters.

It sums over all alignments of a prefix (Graves and Jaitly 2014; Hannun et al. 2014, "First-pass large vocabulary
continuous speech recognition using bi-directional recurrent DNNs", algorithm 1). The score of a text is

    ln P(text | audio) + alpha ln P_LM(text) + beta length

where the length counts words (characters under a character model). Under a word model a word outside of its vocabulary
may still be written: it costs P(<unk>), the penalty `unseen`, and its spelling under a character model where there is
one. Flashlight's lexicon decoder cannot do that: it follows the spellings of known words only.

Example::

    best = PrefixSearch(Scoring(words=KenLm(path), alpha=0.6, beta=1.0)).search(log_TV, vocabulary)[0]
    best.text
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.engines.arpa import LanguageScorer
from orature.engines.vocabulary import CtcVocabulary

Floats = npt.NDArray[np.float32]
SPACE, BAR = "|", "\u2502"
"""In a character model the space is the token "|" and a bar stands for itself as "│" (as in `vocab.json`)."""
_IMPOSSIBLE = -math.inf
_WIDER = 3
"""So many times the width of new prefixes are given a language model score a step."""


class Lexicon:
    """A set of words that also knows their beginnings."""

    def __init__(self, words: Iterable[str]) -> None:
        self._sorted = sorted(set(words))
        self._words = frozenset(self._sorted)

    def __contains__(self, word: object) -> bool:
        return word in self._words

    def begins(self, part: str) -> bool:
        """True when a word begins with `part`."""
        place = bisect_left(self._sorted, part)
        return place < len(self._sorted) and self._sorted[place].startswith(part)


@dataclass(frozen=True)
class Scoring:
    """What a text is worth beside its acoustic probability; weights are for natural logarithms.

    `words` and `characters` alone: that model fused. Both: the word model, with spellings of unseen words by the
    character model. `closed`: only words of this lexicon may be written.
    """

    words: LanguageScorer | None = None
    characters: LanguageScorer | None = None
    alpha: float = 0.0
    beta: float = 0.0
    unseen: float = 0.0
    closed: Lexicon | None = None
    known: Lexicon | None = None
    """Words of the word model, to doubt early a prefix that begins none of them (a matter of pruning alone)."""
    _spelled: dict[str, float] = field(default_factory=dict, compare=False)

    def word(self, state: Any, word: str) -> tuple[Any, float]:
        """State and score after a whole word."""
        if self.closed is not None and word not in self.closed:
            return state, _IMPOSSIBLE
        if self.words is None:
            return state, 0.0 if self.characters is not None else self.beta
        after, log_probability = self.words.score(state, word)
        total = self.alpha * log_probability + self.beta
        if not self.words.knows(word):
            total += self.unseen + self._spelling(word)
        return after, total

    def _spelling(self, word: str) -> float:
        if self.characters is None:
            return 0.0
        if word not in self._spelled:
            state, total = self.characters.begin(), 0.0
            for letter in (*word, " "):
                state, log_probability = self.characters.score(state, symbol(letter))
                total += log_probability
            self._spelled[word] = self.alpha * total
        return self._spelled[word]

    def doubt(self, part: str) -> float:
        """What a word in the making already costs for sure; used to compare prefixes."""
        if not part:
            return 0.0
        if self.closed is not None and not self.closed.begins(part):
            return _IMPOSSIBLE
        if self.known is not None and self.words is not None and not self.known.begins(part):
            return min(self.unseen, 0.0)
        return 0.0


def symbol(letter: str) -> str:
    """A character as a character model names it."""
    return SPACE if letter == " " else BAR if letter == SPACE else letter


def _first(candidate: tuple[float, Any, int, float]) -> float:
    return candidate[0]


class _Prefix:
    """A sequence of tokens with what it writes: whole words, a word in the making, and its language model score."""

    __slots__ = ("children", "doubt", "gap", "lm", "parent", "part", "state", "token", "written")

    def __init__(self, parent: _Prefix | None, token: int) -> None:
        self.parent, self.token = parent, token
        self.children: dict[int, _Prefix | None] = {}
        self.part, self.written, self.gap = "", False, False
        self.state: Any = None
        self.lm = self.doubt = 0.0

    def tokens(self) -> tuple[int, ...]:
        found: list[int] = []
        node: _Prefix | None = self
        while node is not None and node.parent is not None:
            found.append(node.token)
            node = node.parent
        return tuple(found[::-1])


@dataclass(frozen=True, slots=True)
class Found:
    """A text of the search: its total score, the acoustic part of it, and its most probable token sequence."""

    text: str
    score: float
    acoustic: float
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class PrefixSearch:
    """The search: prefixes kept and tokens looked at a step, and how far below the best of them others may be."""

    scoring: Scoring
    width: int = 64
    token_beam: int = 24
    threshold: float = 12.0
    token_threshold: float = 6.0

    def search(self, log_TV: Floats, vocabulary: CtcVocabulary, n_best: int = 1) -> list[Found]:
        """The best texts, best first; one empty text at least. `log_TV` holds natural logarithms.

        With a wide enough beam it finds exactly the best texts under the score of this module.
        """
        pieces = [vocabulary.piece(token) for token in range(log_TV.shape[1])]
        root = _Prefix(None, -1)
        root.state = self._begin()
        beam: list[tuple[_Prefix, float, float]] = [(root, 1.0, 0.0)]
        offset = 0.0
        probabilities_TV = np.exp(log_TV.astype(np.float64))
        writing = np.array([bool(piece) for piece in pieces])
        for step in range(len(log_TV)):
            chosen = self._tokens(log_TV[step], writing, vocabulary.blank)
            beam = self._advance(beam, probabilities_TV[step], chosen, pieces, vocabulary.blank)
            scale = max((blank + label for _, blank, label in beam), default=0.0)
            if scale <= 0.0:
                return [Found("", _IMPOSSIBLE, _IMPOSSIBLE, ())]
            beam = [(node, blank / scale, label / scale) for node, blank, label in beam]
            offset += math.log(scale)
        return self._finish(beam, offset, vocabulary)[:n_best]

    def _begin(self) -> Any:
        scorer = self.scoring.words or self.scoring.characters
        return scorer.begin() if scorer is not None else None

    def _tokens(self, log_V: Floats, writing: npt.NDArray[np.bool_], blank: int) -> list[tuple[int, float]]:
        """Tokens worth a look at this step with their log-probabilities, the most probable first."""
        likely = np.flatnonzero(writing & (log_V >= log_V.max() - self.token_threshold))
        likely = likely[likely != blank]
        order = likely[np.argsort(-log_V[likely], kind="stable")][: self.token_beam]
        return [(int(token), float(log_V[token])) for token in order]

    def _advance(
        self,
        beam: list[tuple[_Prefix, float, float]],
        p_V: npt.NDArray[np.float64],
        chosen: list[tuple[int, float]],
        pieces: Sequence[str],
        blank: int,
    ) -> list[tuple[_Prefix, float, float]]:
        sums: dict[_Prefix, list[float]] = {}
        p_blank = float(p_V[blank])
        wider: list[tuple[float, _Prefix, int, float]] = []
        best = _IMPOSSIBLE
        for node, ended, open_ in beam:
            total = ended + open_
            sums[node] = [total * p_blank, open_ * float(p_V[node.token]) if open_ else 0.0]
            score = math.log(total) + node.lm + node.doubt
            best = max(best, score)
            for token, log_p in chosen:
                if score + log_p < best - self.threshold:
                    break
                mass = ended if token == node.token else total
                if mass:
                    wider.append((score + log_p, node, token, mass))
        if len(wider) > _WIDER * self.width:
            wider = heapq.nlargest(_WIDER * self.width, wider, key=_first)
        for _, node, token, mass in wider:
            child = self._child(node, token, pieces[token])
            if child is None:
                continue
            held = sums.get(child)
            if held is None:
                sums[child] = [0.0, mass * float(p_V[token])]
            else:
                held[1] += mass * float(p_V[token])
        return self._pruned(sums)

    def _pruned(self, sums: dict[_Prefix, list[float]]) -> list[tuple[_Prefix, float, float]]:
        ranked = [
            (math.log(total) + node.lm + node.doubt, node, held[0], held[1])
            for node, held in sums.items()
            if (total := held[0] + held[1]) > 0.0
        ]
        if not ranked:
            return []
        ranked.sort(key=lambda one: -one[0])
        floor = ranked[0][0] - self.threshold
        return [(node, ended, open_) for score, node, ended, open_ in ranked[: self.width] if score >= floor]

    def _child(self, node: _Prefix, token: int, piece: str) -> _Prefix | None:
        """`node` with one token more, made once; None where a closed vocabulary forbids it."""
        if token in node.children:
            return node.children[token]
        child = _Prefix(node, token)
        child.part, child.state, child.lm = node.part, node.state, node.lm
        child.written, child.gap = node.written, node.gap
        for letter in piece:
            self._write(child, " " if letter.isspace() else letter)
        child.doubt = self.scoring.doubt(child.part)
        kept = child if child.lm + child.doubt > _IMPOSSIBLE else None
        node.children[token] = kept
        return kept

    def _write(self, child: _Prefix, letter: str) -> None:
        scoring = self.scoring
        if letter == " ":
            child.gap = child.written
            if child.part:
                child.state, gain = scoring.word(child.state, child.part)
                child.lm += gain
                child.part = ""
            return
        if scoring.words is None and scoring.characters is not None:
            for name in (SPACE, symbol(letter)) if child.gap else (symbol(letter),):
                child.state, log_probability = scoring.characters.score(child.state, name)
                child.lm += scoring.alpha * log_probability + scoring.beta
        child.part += letter
        child.written, child.gap = True, False

    def _finish(
        self, beam: list[tuple[_Prefix, float, float]], offset: float, vocabulary: CtcVocabulary
    ) -> list[Found]:
        """Last words and sentence ends scored; token sequences of one text added up."""
        texts: dict[str, tuple[float, float, float, tuple[int, ...]]] = {}
        scorer = self.scoring.words or self.scoring.characters
        for node, ended, open_ in beam:
            lm, state = node.lm, node.state
            if node.part:
                state, gain = self.scoring.word(state, node.part)
                lm += gain
            if scorer is not None:
                lm += self.scoring.alpha * scorer.end(state)
            if lm == _IMPOSSIBLE:
                continue
            tokens, mass = node.tokens(), ended + open_
            text = "".join(vocabulary.piece(token) for token in tokens)
            text = " ".join(text.split())
            before = texts.get(text, (0.0, lm, 0.0, tokens))
            best = (mass, tokens) if mass > before[2] else (before[2], before[3])
            texts[text] = (before[0] + mass, lm, *best)
        found = [
            Found(text, math.log(mass) + offset + lm, math.log(mass) + offset, tokens)
            for text, (mass, lm, _, tokens) in texts.items()
        ]
        found.sort(key=lambda one: (-one.score, one.text))
        return found or [Found("", _IMPOSSIBLE, _IMPOSSIBLE, ())]
