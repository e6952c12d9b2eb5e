"""Decoders for CTC log-probabilities, described by a small JSON file: best path, or a beam with a language model.

A decoder folder holds `decoder.json` and the language models that it names, so that it can be copied as a whole.

Example::

    decoder = load_decoder(Path("decoder"))                    # a folder or its decoder.json
    recogniser = load_recogniser("model", decoder=decoder)
    decoder.decode(log_TV, vocabulary, step_s=0.02).text
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field, ValidationError

from orature.core.errors import ModelError
from orature.core.types import Alternative, Hypothesis
from orature.engines import ctc_decode
from orature.engines.beam import Found, Lexicon, PrefixSearch, Scoring
from orature.engines.confidence import Calibration
from orature.engines.ctc_align import align, fold_silent, timed_words
from orature.engines.flashlight_search import CharacterSearch, LexiconSearch, is_character_level, token_names
from orature.engines.kenlm import KenLm
from orature.engines.vocabulary import CtcVocabulary

DECODER = "decoder.json"
FORMAT = 1
Floats = npt.NDArray[np.float32]
Unit = Literal["none", "word", "character"]


class DecoderConfig(BaseModel, frozen=True, extra="forbid"):
    """How to decode. Files are named relative to the folder of `decoder.json`.

    `alpha` weighs the language model (natural logarithms), `beta` is earned by each word (each character under a
    character model), `unseen` by a word that the word model lacks (mostly below 0; above it where many words are new
    and spelled by `spelling`, a character model: <unk> is then foreseen too rarely). `lexicon`: write words of the
    word model only. `search`: "own" sums over alignments and writes
    any word; "flashlight" (C++) serves a closed vocabulary or a character model; "auto" takes it for a closed one.
    `width` prefixes and `token_beam` tokens are kept a step, none further below the best than `threshold` and
    `token_threshold` (natural logarithms).
    """

    format: Literal[1] = 1
    kind: Literal["best-path", "beam"] = "best-path"
    unit: Unit = "none"
    lm: str | None = None
    spelling: str | None = None
    lexicon: bool = False
    search: Literal["auto", "own", "flashlight"] = "auto"
    alpha: float = Field(default=0.5, ge=0)
    beta: float = 0.0
    unseen: float = -4.0
    width: int = Field(default=64, ge=1)
    token_beam: int = Field(default=24, ge=1)
    threshold: float = Field(default=12.0, gt=0)
    token_threshold: float = Field(default=6.0, gt=0)
    n_best: int = Field(default=1, ge=1)
    calibration: Calibration | None = None


class BestPath:
    """The most probable token a step, repeats merged, blanks dropped."""

    def __init__(self, config: DecoderConfig | None = None) -> None:
        self.config = config or DecoderConfig()

    def decode(
        self, log_TV: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
    ) -> Hypothesis:
        """One hypothesis with word times; calibrated where the config says how."""
        found = ctc_decode.decode(log_TV, vocabulary, step_s=step_s, end_s=end_s)
        calibration = self.config.calibration
        return calibration.apply(found) if calibration is not None else found

    def n_best(
        self,
        log_TV: Floats,
        vocabulary: CtcVocabulary,
        *,
        step_s: float,
        end_s: float | None = None,
        n_best: int | None = None,
    ) -> list[Hypothesis]:
        """A list of one: the best path knows no second."""
        return [self.decode(log_TV, vocabulary, step_s=step_s, end_s=end_s)]


class BeamDecoder:
    """Beam search by `config`; language models are read once. ModelError, MissingExtra for what cannot be read."""

    def __init__(self, config: DecoderConfig, folder: Path = Path()) -> None:
        self.config, self._folder = config, folder
        self._scoring: Scoring | None = None
        self._native: tuple[CtcVocabulary, Any] | None = None
        self._models: dict[str, KenLm] = {}
        self._lexicons: dict[str, Lexicon] = {}
        if config.unit != "none":
            if config.lm is None:
                raise ModelError("the decoder names no language model", where=str(folder / DECODER))
            self._model(config.lm)
        if config.spelling is not None:
            self._model(config.spelling)

    def with_weights(self, alpha: float, beta: float, unseen: float | None = None) -> BeamDecoder:
        """The same decoder with other weights; the language models are shared."""
        changed = {"alpha": alpha, "beta": beta, **({} if unseen is None else {"unseen": unseen})}
        other = BeamDecoder.__new__(BeamDecoder)
        other.config, other._folder, other._models = self.config.model_copy(update=changed), self._folder, self._models
        other._lexicons, other._scoring, other._native = self._lexicons, None, None
        return other

    def decode(
        self, log_TV: Floats, vocabulary: CtcVocabulary, *, step_s: float, end_s: float | None = None
    ) -> Hypothesis:
        """The best hypothesis, words timed by alignment; `alternatives` holds `config.n_best` texts when over 1."""
        return self.n_best(log_TV, vocabulary, step_s=step_s, end_s=end_s)[0]

    def n_best(
        self,
        log_TV: Floats,
        vocabulary: CtcVocabulary,
        *,
        step_s: float,
        end_s: float | None = None,
        n_best: int | None = None,
    ) -> list[Hypothesis]:
        """The best hypotheses, best first; at least one, and never more than there are different texts."""
        wanted = n_best or self.config.n_best
        if not len(log_TV):
            return [Hypothesis("")]
        folded_TV = fold_silent(log_TV, vocabulary)
        found = self.texts(folded_TV, vocabulary, wanted)
        alternatives = tuple(Alternative(one.text, round(one.score, 4)) for one in found) if wanted > 1 else ()
        return [
            self._hypothesis(one, folded_TV, vocabulary, step_s, end_s, alternatives if rank == 0 else ())
            for rank, one in enumerate(found)
        ]

    def texts(self, folded_TV: Floats, vocabulary: CtcVocabulary, n_best: int = 1) -> list[Found]:
        """Texts alone, without alignment (`folded_TV` as `fold_silent` gives it)."""
        if self._uses_flashlight(vocabulary):
            return list(self._flashlight(vocabulary).search(folded_TV, n_best))
        config = self.config
        search = PrefixSearch(self._own(), config.width, config.token_beam, config.threshold, config.token_threshold)
        return search.search(folded_TV, vocabulary, n_best)

    def _hypothesis(
        self,
        found: Found,
        log_TV: Floats,
        vocabulary: CtcVocabulary,
        step_s: float,
        end_s: float | None,
        alternatives: tuple[Alternative, ...],
    ) -> Hypothesis:
        aligned = align(log_TV, found.tokens, vocabulary.blank)
        if aligned is None:
            return Hypothesis(found.text, alternatives=alternatives)
        words = timed_words(log_TV, aligned, vocabulary, step_s=step_s, end_s=end_s)
        made = Hypothesis(found.text, words, aligned.score / len(log_TV), alternatives)
        return self.config.calibration.apply(made) if self.config.calibration is not None else made

    def _uses_flashlight(self, vocabulary: CtcVocabulary) -> bool:
        config = self.config
        if config.search == "own" or not is_character_level(vocabulary):
            return False
        if config.search == "auto":
            return config.lexicon and config.unit == "word"
        if config.unit == "word" and not config.lexicon:
            raise ModelError(
                "flashlight's search with a word model writes words of a lexicon only",
                next_step="set search to own, or lexicon to true",
            )
        return True

    def _model(self, name: str, tokens: list[str] | None = None) -> KenLm:
        key = name if tokens is None else f"{name} by token"
        if key not in self._models:
            self._models[key] = KenLm(self._folder / name, tokens)
        return self._models[key]

    def _lexicon(self, name: str, words: KenLm) -> Lexicon:
        if name not in self._lexicons:
            self._lexicons[name] = Lexicon(word for word in words.words if words.knows(word))
        return self._lexicons[name]

    def _own(self) -> Scoring:
        if self._scoring is not None:
            return self._scoring
        config = self.config
        words = self._model(config.lm) if config.unit == "word" and config.lm else None
        characters = self._model(config.lm) if config.unit == "character" and config.lm else None
        if words is not None and config.spelling:
            characters = self._model(config.spelling)
        known = self._lexicon(str(config.lm), words) if words is not None else None
        self._scoring = Scoring(
            words=words,
            characters=characters,
            alpha=config.alpha,
            beta=config.beta,
            unseen=config.unseen,
            closed=known if config.lexicon else None,
            known=known,
        )
        return self._scoring

    def _flashlight(self, vocabulary: CtcVocabulary) -> Any:
        if self._native is not None and self._native[0] is vocabulary:
            return self._native[1]
        config = self.config
        options: dict[str, Any] = {"alpha": config.alpha, "beta": config.beta, "width": config.width * 4}
        options |= {"token_beam": config.token_beam, "threshold": config.threshold + 10.0}
        search: Any
        if config.unit == "word":
            lm = self._model(str(config.lm))
            search = LexiconSearch(lm, lm.words, vocabulary, **options)
        else:
            named = self._model(str(config.lm), token_names(vocabulary)) if config.unit == "character" else None
            search = CharacterSearch(named, vocabulary, **options)
        self._native = (vocabulary, search)
        return search


def make_decoder(config: DecoderConfig, folder: Path = Path()) -> BestPath | BeamDecoder:
    """The decoder that `config` describes; its files lie in `folder`."""
    return BestPath(config) if config.kind == "best-path" else BeamDecoder(config, folder)


def load_decoder(source: Path) -> BestPath | BeamDecoder:
    """The decoder of a folder (or of its `decoder.json`); ModelError says what is wrong with it."""
    path = source / DECODER if source.is_dir() else source
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("it is no JSON object")
        config = DecoderConfig.model_validate(data.get("decoder", data))
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise ModelError(
            f"the decoder cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            next_step="make one with: orature tune MODEL CORPUS --lm LM --to DECODER",
        ) from error
    return make_decoder(config, path.parent)
