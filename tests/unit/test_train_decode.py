"""Best-path decoding, characters, model folders and long recordings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.core.types import Hypothesis, Refusal
from orature.engines import ctc_recogniser
from orature.engines.characters import BLANK, UNKNOWN, Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.ctc_decode import collapse, decode, steps_needed
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.families import families
from orature.engines.recognisers import load_ctc, save_model

LETTERS = Characters.of(["ab c"])  # tokens: " " 2, a 3, b 4, c 5


def logs(path: list[int], size: int = 6, p: float = 0.9) -> np.ndarray:
    table = np.full((len(path), size), np.log((1 - p) / (size - 1)), dtype="f4")
    table[np.arange(len(path)), path] = np.log(p)
    return table


def make_model(size: str = "micro") -> CtcRecogniser:
    torch.manual_seed(3)
    model = ConformerCtc(ConformerConfig.of_size(size, vocabulary=len(LETTERS)))  # type: ignore[arg-type]
    return CtcRecogniser(model, LETTERS, {"name": "toy", "languages": "und"})


def save(model: CtcRecogniser, folder: Path) -> None:
    save_model(folder, families()["orature-conformer-ctc"], model.network, model.vocabulary, model.facts)


def test_collapse_merges_repeats_and_keeps_doubles_across_blanks() -> None:
    assert collapse(np.array([0, 3, 3, 0, 3, 4, 4, 0])) == [3, 3, 4]
    assert collapse(np.array([], dtype=np.int64)) == []
    assert steps_needed([3, 3, 4]) == 4


def test_words_times_and_confidence() -> None:
    heard = decode(logs([0, 3, 3, 4, 0, 2, 5, 0]), LETTERS, step_s=0.04, end_s=0.31)
    assert heard.text == "ab c"
    first, second = heard.words
    assert (first.text, first.start_s, first.end_s) == ("ab", 0.04, 0.16)
    assert (second.text, second.start_s, second.end_s) == ("c", 0.24, 0.28)
    assert first.confidence == pytest.approx(0.9, abs=1e-3)


def test_unknown_and_blank_write_nothing() -> None:
    assert decode(logs([UNKNOWN, BLANK, 3]), LETTERS, step_s=0.04).text == "a"
    assert decode(np.zeros((0, 6), dtype="f4"), LETTERS, step_s=0.04) == Hypothesis(text="")


def test_characters_on_disk_as_hugging_face_has_them(tmp_path: Path) -> None:
    characters = Characters.of(["a|b e\u0301", "ñ"])
    characters.save(tmp_path / "vocab.json")
    table = json.loads((tmp_path / "vocab.json").read_text("utf-8"))
    assert table["<pad>"] == 0 and table["<unk>"] == 1 and "|" in table and " " not in table
    again = Characters.load(tmp_path / "vocab.json")
    assert again == characters
    assert again.decode(again.encode("a|b é")) == "a|b é"
    assert again.encode("x") == [UNKNOWN] and again.unknown("xa") == {"x"}


def test_a_model_folder_comes_back_the_same(tmp_path: Path) -> None:
    model = make_model()
    save(model, tmp_path / "one")
    again = load_ctc(tmp_path / "one")
    save(again, tmp_path / "two")
    for name in ("model.safetensors", "config.json", "vocab.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    samples = np.random.default_rng(0).standard_normal(20_000).astype("f4") * 0.1
    assert model.transcribe([samples]) == again.transcribe([samples])


def test_broken_model_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="config"):
        load_ctc(tmp_path)
    save(make_model(), tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="weights"):
        load_ctc(tmp_path / "m")
    weights.write_bytes(whole)
    (tmp_path / "m" / "vocab.json").write_text('{"<pad>": 1, "<unk>": 0}')
    with pytest.raises(ModelError, match="blank"):
        load_ctc(tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text('{"model_type": "whisper"}')
    with pytest.raises(ModelError, match="whisper"):
        load_ctc(tmp_path / "m")


def test_batched_equals_one_by_one_and_order_is_kept() -> None:
    model = make_model()
    rng = np.random.default_rng(1)
    recordings = [rng.standard_normal(n).astype("f4") * 0.1 for n in (30_000, 4_000, 90_000, 16_000)]
    together = model.log_probabilities(recordings)
    for recording, log in zip(recordings, together, strict=True):
        alone = model.log_probabilities([recording])[0]
        assert isinstance(log, np.ndarray) and isinstance(alone, np.ndarray)
        np.testing.assert_allclose(log, alone, atol=2e-3)


def test_trouble_with_one_recording_is_its_refusal() -> None:
    good = np.zeros(16_000, dtype="f4")
    bad = [np.zeros(0, dtype="f4"), np.full(16_000, np.nan, dtype="f4"), np.zeros((2, 16_000), dtype="f4")]
    outcomes = make_model().transcribe([bad[0], good, bad[1], bad[2]])
    assert [isinstance(o, Refusal) for o in outcomes] == [True, False, True, True]


def test_long_recordings_are_stitched_without_gap_or_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a "model" that looks at one step only, windows must give exactly what the whole gives."""
    monkeypatch.setattr(ctc_recogniser, "WINDOW_S", 2.0)
    monkeypatch.setattr(ctc_recogniser, "OVERLAP_S", 0.6)
    model = make_model()

    def by_step(recordings: list[np.ndarray]) -> list[np.ndarray]:
        steps = [r[: len(r) // 640 * 640].reshape(-1, 640).mean(axis=1) for r in recordings]
        return [
            np.repeat(s[: model.network.steps(len(r)), None], 6, axis=1) for s, r in zip(steps, recordings, strict=True)
        ]

    monkeypatch.setattr(model, "_forward", by_step)
    for count in (31_999, 32_000, 32_001, 100_000, 123_457):
        samples = np.random.default_rng(count).standard_normal(count).astype("f4")
        stitched = model.log_probabilities([samples])[0]
        whole = by_step([samples])[0]
        assert isinstance(stitched, np.ndarray)
        kept = min(len(stitched), len(whole))
        assert abs(len(stitched) - model.network.steps(count)) <= 1
        np.testing.assert_array_equal(stitched[:kept], whole[:kept])
