"""Batches side by side give what they give one after another, over one set of weights."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orature.engines import ctc_recogniser, seq2seq_recogniser
from orature.engines.crew import Crew, twin_of
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.recognisers import load_ctc, load_recogniser
from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser
from orature.engines.torch_fast import Precision
from orature.testing.checkpoints import make_checkpoint
from orature.testing.checkpoints_seq2seq import whisper_folder


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def speech(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(11)
    return [(0.1 * rng.standard_normal(n)).astype("f4") for n in lengths]


@pytest.mark.parametrize("family", ["wav2vec2", "wav2vec2-conformer", "wav2vec2-bert"])
def test_side_by_side_equals_one_after_another(
    family: str, tmp_path: Path, three_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These families hang masks on their modules while they run: shared modules would mix them up."""
    model = load_ctc(make_checkpoint(tmp_path / "m", family))
    monkeypatch.setattr(ctc_recogniser, "CPU_BATCH_S", 2.0)
    recordings = speech(*(8_000 + 1_111 * n for n in range(14)), 33 * 16_000)
    together = model.log_probabilities(recordings)
    assert len(model._crew._networks) == torch.get_num_threads() == 3
    torch.set_num_threads(1)
    for one, other in zip(together, model.log_probabilities(recordings), strict=True):
        assert isinstance(one, np.ndarray) and isinstance(other, np.ndarray)
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["ctc", "seq2seq"])
def test_few_recordings_are_work_for_every_thread(
    kind: str, tmp_path: Path, three_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a short measurement tells a model to be slower than it is, and short jobs wait for one thread."""
    model = (
        load_ctc(make_checkpoint(tmp_path / "m", "xls-r"))
        if kind == "ctc"
        else load_recogniser(whisper_folder(tmp_path / "w"))
    )
    assert isinstance(model, CtcRecogniser | Seq2SeqRecogniser)
    sizes: list[int] = []
    made = model._crew.map

    def watched(work: Any, jobs: Any) -> Any:
        sizes.extend(len(job[1] if isinstance(job, tuple) else job) for job in jobs)
        return made(work, jobs)

    monkeypatch.setattr(model._crew, "map", watched)
    model.transcribe(speech(*[16_000] * 6))
    assert sizes == [2, 2, 2]
    sizes.clear()
    model.transcribe(speech(16_000))
    assert sizes == [1]


def test_twins_share_every_weight(tmp_path: Path) -> None:
    network = load_ctc(make_checkpoint(tmp_path / "m", "xls-r")).network
    twin = twin_of(network)
    places = {one.data_ptr() for one in network.parameters()}
    assert {one.data_ptr() for one in twin.parameters()} == places
    assert not set(map(id, network.modules())) & set(map(id, twin.modules()))


def test_each_worker_has_one_thread_and_trouble_comes_through(tmp_path: Path, three_threads: None) -> None:
    crew = Crew(load_ctc(make_checkpoint(tmp_path / "m", "hubert")).network)

    def count(network: object, batch: int) -> tuple[int, int]:
        torch.ones(100_000).add(1.0)  # torch reads the common number at a thread's first work
        return batch, torch.get_num_threads()

    assert list(crew.map(count, range(7))) == [(number, 1) for number in range(7)]
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3

    def fail(network: object, batch: int) -> int:
        raise ValueError(f"batch {batch}")

    with pytest.raises(ValueError, match="batch"):
        list(crew.map(fail, range(7)))
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_encoder_decoders_side_by_side(
    precision: Precision, tmp_path: Path, three_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seq2seq_recogniser, "CPU_BATCH_S", 8.0)
    model = load_recogniser(whisper_folder(tmp_path / "m"), language="en", precision=precision)
    recordings = speech(*(8_000 + 1_111 * n for n in range(7)))
    together = model.transcribe(recordings)
    assert isinstance(model, Seq2SeqRecogniser) and len(model._crew._networks) == 3
    assert ("encode" in vars(model._crew._networks[2])) == (precision == "bf16")
    torch.set_num_threads(1)
    assert together == model.transcribe(recordings)
