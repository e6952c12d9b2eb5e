"""Weights and confidences chosen on dev from log-probabilities that mistake letters; the folder that comes of it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import WORDS, corpus_of

from orature.core.errors import ConfigError, CorpusError, Interrupted, ModelError
from orature.core.types import Refusal
from orature.engines.characters import Characters
from orature.engines.ctc_decode import Floats
from orature.engines.decoder import BeamDecoder, BestPath, DecoderConfig, load_decoder
from orature.flow import Ref, Run, open_store
from orature.stages import tune_decoder
from orature.stages.language_model import language_model_stage
from orature.stages.tune_decoder import TuneDecoder, lm_ref

MODEL = Ref(key="external", stage="model", digest="m", path=".")
_RNG = random.Random(4)
TEXTS = [" ".join(_RNG.choices(WORDS, k=_RNG.randint(2, 4))) for _ in range(36)]
CHARACTERS = Characters.of(TEXTS)


def mumbled(text: str, seed: int, wrong: float = 0.18) -> Floats:
    """Two steps a letter and a blank between; every fifth letter or so is taken for another one, narrowly."""
    rng = random.Random(seed)
    rows = []
    for token in CHARACTERS.encode(text):
        chances = np.full(len(CHARACTERS), 0.0005)
        chances[token] = 0.9
        if rng.random() < wrong:
            other = rng.randrange(2, len(CHARACTERS))
            chances[token] = 0.35
            chances[other] = 0.55
        for _ in range(2):
            rows.append(chances)
        silent = np.full(len(CHARACTERS), 0.0005)
        silent[0] = 0.95
        rows.append(silent)
    table = np.array(rows)
    logs: Floats = np.log(table / table.sum(axis=1, keepdims=True)).astype(np.float32)
    return logs


class Mumbler:
    """Stands in for a CtcRecogniser: gives what `mumbled` makes of the dev texts in the order of their ids."""

    vocabulary = CHARACTERS
    step_s = 0.02
    wrong = 0.18

    def __init__(self, texts: Sequence[str]) -> None:
        self._left = list(enumerate(texts))

    def log_probabilities(self, recordings: Sequence[Any]) -> list[Floats | Refusal]:
        taken, self._left = self._left[: len(recordings)], self._left[len(recordings) :]
        return [mumbled(text, seed, self.wrong) for seed, text in taken]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, and a recogniser that mumbles."""
    corpus_of(tmp_path / "corpus", TEXTS, seconds=0.2)
    monkeypatch.setattr(tune_decoder, "load_ctc", lambda *_, **__: Mumbler(TEXTS[1::3]))
    return tmp_path


def lm_in(folder: Path, lines: Sequence[str], **options: Any) -> Ref:
    run = Run(open_store(folder / "store"), recipe="test", command="test")
    (folder / "text.txt").write_text("\n".join(lines), encoding="utf-8")
    return run.do(language_model_stage([folder / "text.txt"], **options))


def tuned(folder: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    run = Run(open_store(folder / "store"), recipe="test", command="test")
    ref = run.do(TuneDecoder(model=MODEL, corpus=_corpus(folder), width=8, **options))
    path = run.path_of(ref)
    return path, json.loads((path / "decoder.json").read_text(encoding="utf-8"))


def _corpus(folder: Path) -> Ref:
    from orature.stages.inputs import corpus_ref

    return corpus_ref(folder / "corpus")


def test_a_word_model_makes_fewer_errors_and_the_folder_works_elsewhere(place: Path) -> None:
    path, facts = tuned(place, lm=lm_in(place, TEXTS[0::3] + WORDS), n_best=3, alphas=(0.3, 0.7), betas=(0.0, 1.5))
    about = facts["tuned"]
    best = min(point["wer"] for point in about["points"])
    assert best < 0.5 * about["best_path"]["wer"]
    decoder = load_decoder(path)
    assert isinstance(decoder, BeamDecoder) and decoder.config.lm == "lm.arpa.gz"
    heard = decoder.decode(mumbled("shuk wasi", 3), CHARACTERS, step_s=0.02, end_s=0.5)
    assert heard.text == "shuk wasi" and heard.confidence is not None
    assert [word.text for word in heard.words] == ["shuk", "wasi"] and heard.words[1].end_s <= 0.5
    assert len(heard.alternatives) == 3 and heard.alternatives[0].text == heard.text
    assert heard.alternatives[0].score >= heard.alternatives[1].score
    chosen = next(p for p in about["points"] if p["wer"] == best)
    assert {"lm", "alpha", "beta", "unseen", "wer", "cer"} == set(chosen)
    assert facts["confidence"]["ece_after"] < facts["confidence"]["ece_before"]


def test_a_character_model_and_spellings_and_a_lexicon(place: Path) -> None:
    words = lm_in(place, TEXTS[0::3])
    characters = lm_in(place, TEXTS[0::3], unit="character", order=4)
    _, plain = tuned(place, lm=characters, alphas=(0.4,), betas=(0.2, 0.6))
    assert min(p["wer"] for p in plain["tuned"]["points"]) < plain["tuned"]["best_path"]["wer"]
    path, _ = tuned(place, lm=words, spelling=characters, alphas=(0.6,), betas=(1.0,))
    assert sorted(p.name for p in path.glob("*.gz")) == ["lm.arpa.gz", "spelling.arpa.gz"]
    _, closed = tuned(place, lm=words, lexicon=True, alphas=(0.6,), betas=(1.0,))
    assert closed["decoder"]["lexicon"] and len(closed["tuned"]["points"]) == 1


def test_of_several_models_the_best_on_dev_is_taken_and_tried_points_are_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor, good = lm_in(place, ["zzz zz", "zz z"], order=2), lm_in(place, TEXTS[0::3], unit="character", order=4)
    counted: list[object] = []
    real = tune_decoder._Tuner.rates

    def rates(self: Any, decoder: Any) -> tuple[float, float]:
        counted.append(decoder)
        if len(counted) == 4:
            raise KeyboardInterrupt
        return real(self, decoder)

    monkeypatch.setattr(tune_decoder._Tuner, "rates", rates)
    options: dict[str, Any] = {"lm": poor, "others": (good,), "alphas": (0.6,), "betas": (0.4,)}
    with pytest.raises(Interrupted):
        tuned(place, **options)
    monkeypatch.setattr(tune_decoder, "load_ctc", lambda *_, **__: Mumbler(TEXTS[1::3]))
    path, facts = tuned(place, **options)
    assert [one["unit"] for one in facts["tuned"]["language_models"]] == ["word", "character"]
    assert facts["decoder"]["unit"] == "character" and [p.name for p in path.glob("*.gz")] == ["lm.arpa.gz"]
    points = facts["tuned"]["points"]
    assert {point["lm"] for point in points} == {0, 1}
    assert len(counted) == 2 + len(points) + 1  # best path twice, the point that was interrupted, no other twice


def test_without_a_model_or_help_from_one_the_best_path_is_written(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, facts = tuned(place)
    assert facts["decoder"]["kind"] == "best-path" and facts["tuned"]["points"] == []
    decoder = load_decoder(path / "decoder.json")
    assert isinstance(decoder, BestPath)
    assert decoder.decode(mumbled("shuk", 1), CHARACTERS, step_s=0.02).confidence is not None
    monkeypatch.setattr(Mumbler, "wrong", 0.0)
    foreign = lm_in(place, ["zzz zz", "zz z"], order=2)
    path, facts = tuned(place, lm=foreign, alphas=(1.0,), betas=(-3.0,))
    assert facts["decoder"]["kind"] == "best-path" and not list(path.glob("*.gz"))


def test_the_same_inputs_give_the_same_bytes(place: Path, tmp_path: Path) -> None:
    lm = lm_in(place, TEXTS[0::3])
    first = (tuned(place, lm=lm, alphas=(0.5,), betas=(1.0,))[0] / "decoder.json").read_bytes()
    other = Run(open_store(tmp_path / "other"), recipe="test", command="test")
    copy = lm_ref(open_store(place / "store").path_of(lm))
    ref = other.do(TuneDecoder(model=MODEL, corpus=_corpus(place), lm=copy, alphas=(0.5,), betas=(1.0,), width=8))
    assert (other.path_of(ref) / "decoder.json").read_bytes() == first


def test_test_is_never_tuned_on(place: Path) -> None:
    with pytest.raises(ConfigError, match="never chosen on test"):
        TuneDecoder(model=MODEL, corpus=_corpus(place), split="test")


def test_what_does_not_fit_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    characters = lm_in(place, TEXTS[0::3], unit="character", order=3)
    with monkeypatch.context() as patched:
        patched.setattr(TuneDecoder, "_clips", lambda *_: pytest.fail("dev was decoded before the refusal"))
        with pytest.raises(ConfigError, match="spellings need"):
            tuned(place, lm=characters, spelling=characters)
        with pytest.raises(ConfigError, match="lexicon needs"):
            tuned(place, lm=characters, lexicon=True)
    with pytest.raises(ModelError, match="no language model"):
        lm_ref(place)
    monkeypatch.setattr(Mumbler, "log_probabilities", lambda self, clips: [Refusal("x", "y")] * len(clips))
    with pytest.raises(CorpusError, match="can be decoded"):
        tuned(place, lm=characters)


def test_a_decoder_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    for content in ("{", "[]", '{"kind": "beam", "unit": "word"}', '{"decoder": {"width": 0}}', '{"surprise": 1}'):
        (tmp_path / "decoder.json").write_text(content, encoding="utf-8")
        with pytest.raises(ModelError):
            load_decoder(tmp_path)
    config = DecoderConfig(kind="beam", unit="word", lm="gone.arpa")
    with pytest.raises(ModelError, match=r"gone\.arpa"):
        BeamDecoder(config, tmp_path)


def test_an_empty_recording_is_an_empty_hypothesis() -> None:
    nothing = np.zeros((0, len(CHARACTERS)), dtype=np.float32)
    for decoder in (BestPath(), BeamDecoder(DecoderConfig(kind="beam"))):
        assert decoder.decode(nothing, CHARACTERS, step_s=0.02).text == ""
        assert decoder.n_best(nothing, CHARACTERS, step_s=0.02)[0].words == ()
