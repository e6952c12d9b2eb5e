"""The quick front end of wav2vec 2.0 gives what transformers' own layers give; decoding by best path what decoding by
log-probabilities gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from orature.engines import torch_fast
from orature.engines.ctc_decode import decode
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.recognisers import load_ctc, load_recogniser
from orature.engines.torch_fast import QuickFront, quicken
from orature.testing.checkpoints import make_checkpoint
from orature.testing.checkpoints_seq2seq import whisper_folder

LAYOUTS = ("wav2vec2", "xls-r", "data2vec-audio", "hubert")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CtcRecogniser]:
    folder = tmp_path_factory.mktemp("checkpoints")
    found = {name: load_ctc(make_checkpoint(folder / name, name)) for name in LAYOUTS}
    for model in found.values():
        with torch.no_grad():  # norms begin as 1 and 0, which hides mistakes
            for number, parameter in enumerate(model.network.base.feature_extractor.parameters()):
                parameter += 0.1 * torch.sin(torch.arange(parameter.numel()) + number).view(parameter.shape)
        quicken(model.network)
    return found


def speech(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [(0.1 * rng.standard_normal(n) + 0.05).astype("f4") for n in lengths]


def slow_and_quick(model: CtcRecogniser, recordings: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    quick = model.log_probabilities(recordings)
    front, model.network.quick_front = model.network.quick_front, None
    slow = model.log_probabilities(recordings)
    model.network.quick_front = front
    return slow, quick  # type: ignore[return-value]


@pytest.mark.parametrize("name", LAYOUTS)
def test_quick_front_equals_the_slow_one(name: str, models: dict[str, CtcRecogniser]) -> None:
    """Alone, padded, in one piece, in several (50 steps are 16,000 samples), and shorter than one step."""
    model = models[name]
    assert isinstance(model.network.quick_front, QuickFront)
    for recordings in (speech(5_000), speech(16_080, 16_400, 40_000, 399, 400, 9_999)):
        slow, quick = slow_and_quick(model, recordings)
        assert [len(one) for one in slow] == [len(one) for one in quick]
        for one, other in zip(slow, quick, strict=True):
            np.testing.assert_allclose(other, one, atol=2e-4)


def test_the_size_of_the_pieces_changes_nothing(
    models: dict[str, CtcRecogniser], monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings = speech(30_000)
    whole = models["wav2vec2"].log_probabilities(recordings)[0]
    monkeypatch.setattr(torch_fast, "TILE_STEPS", 7)
    np.testing.assert_allclose(models["wav2vec2"].log_probabilities(recordings)[0], whole, atol=1e-5)


def test_training_never_takes_the_quick_way(models: dict[str, CtcRecogniser]) -> None:
    """Its weights are copies: a gradient would not reach the network's own."""
    network = models["xls-r"].network
    logits, _ = network(torch.from_numpy(speech(8_000)[0])[None], torch.tensor([8_000]))
    logits.sum().backward()
    weight = network.base.feature_extractor.conv_layers[0].conv.weight  # type: ignore[attr-defined]
    assert weight.grad is not None and bool(weight.grad.abs().max() > 0)


def test_bfloat16_is_near(tmp_path: Path) -> None:
    exact = load_ctc(make_checkpoint(tmp_path / "m", "xls-r"))
    rough = load_ctc(tmp_path / "m")
    quicken(rough.network, precision="bf16")
    rough.precision = "bf16"
    recordings = speech(30_000, 20_000)
    for one, other in zip(exact.log_probabilities(recordings), rough.log_probabilities(recordings), strict=True):
        assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
        assert 0 < np.abs(one - other).max() < 0.25


def test_best_path_alone_equals_decoding_of_all(models: dict[str, CtcRecogniser]) -> None:
    model = models["xls-r"]
    recordings = speech(30_000, 20_000, 35 * 16_000)
    for heard, log_TV, samples in zip(
        model.transcribe(recordings), model.log_probabilities(recordings), recordings, strict=True
    ):
        assert isinstance(log_TV, np.ndarray)
        assert heard == decode(log_TV, model.vocabulary, step_s=model.step_s, end_s=len(samples) / 16_000)


def test_whisper_encodes_in_bfloat16_where_asked(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "whisper")
    exact, rounded = (load_recogniser(folder, language="en", precision=one).network for one in ("fp32", "bf16"))  # type: ignore[attr-defined]
    given = torch.from_numpy(np.stack(speech(20_000, 20_000))), torch.tensor([20_000, 15_000])
    with torch.no_grad():
        one, other = exact.encode(*given)[0], rounded.encode(*given)[0]
    assert other.dtype == torch.float32 and 0 < float((one - other).abs().max()) < 0.2
    tokens = [network.generate(*given, [277, 278, 280, 284]) for network in (exact, rounded)]
    assert [len(one) for one in tokens] == [2, 2]
