"""Features and the Conformer: against Kaldi's definition, and padded batches against single utterances."""

from __future__ import annotations

import kaldi_native_fbank
import numpy as np
import pytest
import torch

from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.features import UNWARPED, WARPS, LogMel, filterbank, frames_of, mask_spans


def chirp(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    times = np.arange(int(seconds * 16_000)) / 16_000
    return (0.3 * np.sin(2 * np.pi * (200 + 900 * times) * times) + 0.02 * rng.standard_normal(times.size)).astype("f4")


def test_log_mel_is_kaldis() -> None:
    samples = chirp(1.3)
    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = 80
    options.mel_opts.low_freq = 20.0
    options.mel_opts.high_freq = 7600.0
    reference = kaldi_native_fbank.OnlineFbank(options)
    reference.accept_waveform(16_000, (samples * 32768).tolist())
    reference.input_finished()
    expected = np.stack([reference.get_frame(i) for i in range(reference.num_frames_ready)])
    found, counts = LogMel()(torch.from_numpy(samples)[None], torch.tensor([samples.size]))
    assert int(counts[0]) == expected.shape[0] == frames_of(samples.size)
    np.testing.assert_allclose(found[0].numpy(), expected, atol=2e-3)


def test_no_warp_is_the_plain_bank_and_warps_move_the_filters() -> None:
    assert WARPS[UNWARPED] == 1.0
    plain = filterbank()
    bins = torch.arange(plain.shape[0], dtype=torch.float32)
    centre = (plain * bins[:, None]).sum(0) / plain.sum(0)
    warped = filterbank(warp=1.2)
    warped_centre = (warped * bins[:, None]).sum(0) / warped.sum(0).clamp(min=1e-6)
    assert (warped_centre[5:60] < centre[5:60]).all()
    assert (filterbank(warp=0.8).sum(0) > 0).all()


def test_shorter_than_a_frame_gives_no_frames() -> None:
    features, counts = LogMel()(torch.zeros(1, 100), torch.tensor([100]))
    assert int(counts[0]) == 0
    assert torch.isfinite(features).all()


def test_mask_spans_mask_exactly_the_spans() -> None:
    features = torch.ones(1, 10, 8)
    masked = mask_spans(features, torch.tensor([[[2, 4], [9, 9]]]), torch.tensor([[[0, 1]]]))
    assert masked[0, 2:4].sum() == 0
    assert masked[0, :, 0].sum() == 0
    assert masked[0, 4:, 1:].sum() == 6 * 7


@pytest.mark.parametrize("normalisation", ["mean-variance", "mean"])
@pytest.mark.parametrize("subsampling", [2, 4])
def test_padded_batch_equals_single(subsampling: int, normalisation: str) -> None:
    torch.manual_seed(0)
    config = ConformerConfig.of_size("micro", vocabulary=11, subsampling=subsampling, normalisation=normalisation)
    model = ConformerCtc(config).eval()
    recordings = [torch.from_numpy(chirp(s, n)) for n, s in enumerate((0.21, 0.9, 1.7, 0.433))]
    lengths = torch.tensor([len(r) for r in recordings])
    padded = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True)
    with torch.inference_mode():
        together, counts = model(padded, lengths)
        for recording, row, count in zip(recordings, together, counts.tolist(), strict=True):
            alone, steps = model(recording[None], torch.tensor([len(recording)]))
            assert int(steps[0]) == count == model.steps(len(recording))
            torch.testing.assert_close(row[:count], alone[0, :count], atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize(("size", "low", "high"), [("tiny", 1e6, 3e6), ("small", 10e6, 15e6), ("base", 30e6, 110e6)])
def test_sizes(size: str, low: float, high: float) -> None:
    with torch.device("meta"):
        model = ConformerCtc(ConformerConfig.of_size(size, vocabulary=60))  # type: ignore[arg-type]
    assert low <= sum(p.numel() for p in model.parameters()) <= high
