"""CTC beam search in C++ by flashlight-text: a closed vocabulary with a word model, or characters with theirs.

Flashlight keeps the best alignment of a hypothesis instead of summing over all (`log_add` is off: with it on it adds
what it merges). Its language model scores are base-10 logarithms; `alpha` is for natural ones here as everywhere.

Example::

    search = LexiconSearch(KenLm(path), words, vocabulary, alpha=0.6, beta=1.0)
    search.search(log_TV)[0].text
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from orature.core.errors import ModelError
from orature.engines.arpa import LN10
from orature.engines.beam import Found, symbol
from orature.engines.kenlm import KenLm, require_flashlight
from orature.engines.vocabulary import CtcVocabulary

Floats = npt.NDArray[np.float32]
_NEVER = -1e4
"""Log-probability that no beam keeps (flashlight compares differences: no infinities)."""


def space_of(vocabulary: CtcVocabulary, size: int) -> int | None:
    """The token that writes a space and nothing else; None for word pieces."""
    return next((token for token in range(size) if vocabulary.piece(token) == " "), None)


def is_character_level(vocabulary: CtcVocabulary) -> bool:
    """True when every token writes at most one character and a space has a token of its own."""
    size = len(vocabulary)
    return space_of(vocabulary, size) is not None and all(len(vocabulary.piece(token)) <= 1 for token in range(size))


class LexiconSearch:
    """Only words of `words` are written, each spelled by the vocabulary's characters and ended by its space."""

    def __init__(
        self,
        lm: KenLm,
        words: Iterable[str],
        vocabulary: CtcVocabulary,
        *,
        alpha: float,
        beta: float,
        width: int = 500,
        token_beam: int = 32,
        threshold: float = 25.0,
    ) -> None:
        require_flashlight()
        from flashlight.lib.text.decoder import CriterionType, LexiconDecoder, LexiconDecoderOptions, SmearingMode, Trie

        self._vocabulary, self._space = vocabulary, _needed_space(vocabulary)
        self._words: list[str] = []
        self._trie = Trie(len(vocabulary), self._space)
        begin = lm.begin()
        for word in sorted(set(words)):
            spelling = vocabulary.encode(word)
            if not spelling or vocabulary.unknown(word) or not lm.knows(word):
                continue
            self._words.append(word)
            self._trie.insert([*spelling, self._space], lm.number(word), lm.score(begin, word)[1] / LN10)
        if not self._words:
            raise ModelError(
                "no word of the lexicon can be spelled with the characters of the model",
                next_step="estimate the language model with --model MODEL, so that its text is prepared alike",
            )
        self._trie.smear(SmearingMode.MAX)
        self._lm = lm
        options = LexiconDecoderOptions(
            beam_size=width,
            beam_size_token=token_beam,
            beam_threshold=threshold,
            lm_weight=alpha * LN10,
            word_score=beta,
            unk_score=float("-inf"),
            sil_score=0.0,
            log_add=False,
            criterion_type=CriterionType.CTC,
        )
        self._decoder = LexiconDecoder(
            options, self._trie, lm.native, self._space, vocabulary.blank, lm.number("<unk>"), [], False
        )

    def search(self, log_TV: Floats, n_best: int = 1) -> list[Found]:
        """The best texts, best first; one empty text at least."""
        padded = _with_last_space(log_TV, self._space, self._vocabulary.blank)
        results = _decode(self._decoder, padded)
        found = []
        for result in results:
            words = [self._lm.names[word] for word in result.words if word >= 0]
            found.append(_found(" ".join(words), result, self._vocabulary))
        return _best(found, n_best)


class CharacterSearch:
    """Any text may be written; `lm` (or none) scores its characters, `beta` is earned by each space."""

    def __init__(
        self,
        lm: KenLm | None,
        vocabulary: CtcVocabulary,
        *,
        alpha: float,
        beta: float,
        width: int = 500,
        token_beam: int = 32,
        threshold: float = 25.0,
    ) -> None:
        require_flashlight()
        from flashlight.lib.text.decoder import CriterionType, LexiconFreeDecoder, LexiconFreeDecoderOptions, ZeroLM

        self._vocabulary, self._space = vocabulary, _needed_space(vocabulary)
        self._lm = lm
        options = LexiconFreeDecoderOptions(
            beam_size=width,
            beam_size_token=token_beam,
            beam_threshold=threshold,
            lm_weight=alpha * LN10,
            sil_score=beta,
            log_add=False,
            criterion_type=CriterionType.CTC,
        )
        self._native = self._lm.native if self._lm is not None else ZeroLM()
        self._decoder = LexiconFreeDecoder(options, self._native, self._space, vocabulary.blank, [])

    def search(self, log_TV: Floats, n_best: int = 1) -> list[Found]:
        """The best texts, best first; one empty text at least."""
        found = []
        for result in _decode(self._decoder, log_TV):
            tokens = collapsed(result.tokens, self._vocabulary.blank)
            found.append(_found(self._vocabulary.decode(tokens), result, self._vocabulary))
        return _best(found, n_best)


def token_names(vocabulary: CtcVocabulary) -> list[str]:
    """What a character model calls each token; special tokens get names that no model holds."""
    return [
        symbol(piece) if (piece := vocabulary.piece(token)) else f"<special {token}>"
        for token in range(len(vocabulary))
    ]


def collapsed(tokens: Sequence[int], blank: int) -> list[int]:
    """Labels of a path: repeats merged, blanks and flashlight's padding (-1) dropped."""
    labels = [token for place, token in enumerate(tokens) if place == 0 or token != tokens[place - 1]]
    return [token for token in labels if token not in (blank, -1)]


def _needed_space(vocabulary: CtcVocabulary) -> int:
    space = space_of(vocabulary, len(vocabulary))
    if space is None:
        raise ModelError(
            "the vocabulary has no token for the space between words",
            next_step="decode with an open vocabulary instead (leave --lexicon out)",
        )
    return space


def _with_last_space(log_TV: Floats, space: int, blank: int) -> Floats:
    """One step more, in which only the space or a blank is free, so that the last word can end."""
    last_V = np.full((1, log_TV.shape[1]), _NEVER, dtype=np.float32)
    last_V[0, [space, blank]] = 0.0
    return np.concatenate([log_TV, last_V])


def _decode(decoder: Any, log_TV: Floats) -> list[Any]:
    emissions_TV = np.ascontiguousarray(np.maximum(log_TV, _NEVER), dtype=np.float32)
    if not len(emissions_TV):
        return []
    return list(decoder.decode(emissions_TV.ctypes.data, *emissions_TV.shape))


def _found(text: str, result: Any, vocabulary: CtcVocabulary) -> Found:
    tokens = tuple(collapsed(result.tokens, vocabulary.blank))
    return Found(text, float(result.score), float(result.emittingModelScore), tokens)


def _best(found: list[Found], n_best: int) -> list[Found]:
    """Each text once, best first."""
    kept: dict[str, Found] = {}
    for one in sorted(found, key=lambda one: (-one.score, one.text)):
        kept.setdefault(one.text, one)
    return list(kept.values())[:n_best] or [Found("", float("-inf"), float("-inf"), ())]
