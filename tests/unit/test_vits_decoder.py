"""The quick decoder of VITS: the sound of transformers' decoder, from the latents of one row alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import VitsConfig, VitsModel

from orature.core.types import Refusal
from orature.engines import vits_decoder
from orature.engines.crew import twin_of
from orature.engines.vits_decoder import FastDecoder, fits
from orature.engines.vits_network import VitsNetwork, VitsRow
from orature.engines.vits_voice import begin
from orature.engines.voice import SpeechRequest
from orature.testing.checkpoints_voices import vits_folder

WIDE: dict[str, Any] = {  # 64, 32 and 16 channels: short filters of all taps, and torch's own
    "hidden_size": 16,
    "flow_size": 8,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "ffn_dim": 16,
    "upsample_initial_channel": 128,
    "upsample_rates": [4, 3, 2],
    "upsample_kernel_sizes": [8, 7, 4],
    "resblock_kernel_sizes": [3, 5, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5], [1, 2], [1, 3, 5], [1, 3, 5]],
}


def _decoder(**fields: Any) -> Any:
    torch.manual_seed(0)
    model = VitsModel(VitsConfig(**{**WIDE, "speaker_embedding_size": 4, "num_speakers": 2, **fields})).eval()
    for layer in model.decoder.modules():
        if isinstance(layer, torch.nn.Conv1d | torch.nn.ConvTranspose1d):
            layer.reset_parameters()
            layer.weight.data *= 1.5
    return model.decoder


@torch.inference_mode()
def _snr_db(decoder: Any, quick: FastDecoder, frames: int, *, speaker: bool = True) -> float:
    """Of what varies in the samples, against transformers' decoder in float64."""
    latent, who = torch.randn(8, frames), torch.randn(4, 1) if speaker else None
    wave = quick(latent, who)
    exact = copy.deepcopy(decoder).double()
    wanted = exact(latent.double()[None], None if who is None else who.double()[None])[0, 0]
    assert wave.shape == wanted.shape == (24 * frames,) and wave.dtype == torch.float32
    return float(10 * torch.log10(wanted.var() / (wave - wanted).square().mean()))


@pytest.mark.parametrize("frames", [1, 2, 7, 61])
def test_it_sounds_as_the_decoder_of_transformers(frames: int) -> None:
    decoder = _decoder()
    assert fits(decoder)
    kinds = {type(layer).__name__ for layer in FastDecoder(decoder).modules()}
    assert {"_ShortConvolution", "_PlainConvolution"} <= kinds
    assert _snr_db(decoder, FastDecoder(decoder), frames) > 90
    assert _snr_db(decoder, FastDecoder(decoder), frames, speaker=False) > 90


def test_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = _decoder()
    quick = FastDecoder(decoder)
    monkeypatch.setattr(vits_decoder, "_SCRATCH", 1)
    monkeypatch.setattr(vits_decoder, "_FEWEST_ROWS", 10)
    assert _snr_db(decoder, quick, 50) > 90


def test_a_row_is_the_same_bits_whatever_was_decoded_before() -> None:
    quick = FastDecoder(_decoder())
    latents = [torch.randn(8, frames) for frames in (33, 5, 90)]
    first = [quick(latent) for latent in latents]
    again = [quick(latent) for latent in latents[::-1]][::-1]
    other = [twin_of(quick)(latent) for latent in latents]  # type: ignore[type-var]
    for one, two, three in zip(first, again, other, strict=True):
        assert torch.equal(one, two) and torch.equal(one, three)


def test_what_does_not_fit_is_left_to_transformers(tmp_path: Path) -> None:
    assert not fits(_decoder(upsample_kernel_sizes=[9, 7, 4]))
    assert not fits(_decoder().double())
    odd = VitsNetwork(begin(str(vits_folder(tmp_path / "v")))._network.model.double())  # type: ignore[union-attr]
    assert odd.quick is None


def test_a_voice_with_channels_enough_gives_the_same_bits_side_by_side(tmp_path: Path) -> None:
    """As `test_vits_voice` holds for a voice that is too narrow for short filters."""
    sizes: dict[str, Any] = {"resblock_kernel_sizes": [3, 7, 11], "resblock_dilation_sizes": [[1, 3, 5]] * 3}
    folder = vits_folder(tmp_path / "wide", upsample_initial_channel=128, **sizes)
    texts = ["habari za asubuhi", "moja", "mbili tatu nne", "karibu sana"]
    requests = [SpeechRequest(text, language="sw", seed=seed) for seed, text in enumerate(texts)]
    with begin(str(folder), threads=2) as two, begin(str(folder), threads=1) as one:
        together, backwards = two.speak(requests), two.speak(requests[::-1])[::-1]
        alone = [one.speak([request])[0] for request in requests]
        rows = [row for request in requests if isinstance(row := one._row(request), VitsRow)]
        assert one._network is not None and one._network.quick is not None
        as_batch = one._network.speak(rows, most_frames=4000)
    for first, second, third, fourth in zip(together, backwards, alone, as_batch, strict=True):
        assert not isinstance(first, Refusal) and not isinstance(second, Refusal) and not isinstance(third, Refusal)
        assert np.array_equal(first, second) and np.array_equal(first, third)
        assert not isinstance(fourth, int) and np.abs(first - fourth).max() < 1e-5
