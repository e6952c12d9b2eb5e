"""Phones as tokens, and the loss of their features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.engines.ctc_align import align, timed_words
from orature.engines.phone_tokens import PhoneTokens, writes_phones
from orature.train.dev import Tally
from orature.train.feature_loss import FeatureLoss
from orature.train.loader import Batch, Example

PHONES = PhoneTokens.of(["p a", "b aː tʰ", "t"])


def test_phones_go_to_tokens_and_back_and_rare_ones_lose_their_modifiers() -> None:
    assert PHONES.phones == tuple(sorted(["p", "a", "b", "aː", "tʰ", "t"]))
    assert PHONES.decode(PHONES.encode("b aː tʰ p")) == "b aː tʰ p"
    assert PHONES.decode(PHONES.encode("bʲ ãː ɡ")) == "b a"
    assert PHONES.unknown("bʲ ɡ") == {"ɡ"} and PHONES.encode("ɡ") == [1] and PHONES.piece(PHONES.encode("p")[0]) == "p "
    with pytest.raises(ValueError, match="different ones"):
        PhoneTokens(("☺",))


def test_each_phone_has_times_of_its_own() -> None:
    phones = PhoneTokens(("a", "b", "tʰ"))
    log_TV = np.full((8, 5), -9.0, np.float32)
    log_TV[range(8), [0, 2, 2, 0, 4, 0, 3, 0]] = 0.0
    found = align(log_TV, phones.encode("a tʰ b"), phones.blank)
    assert found is not None
    timed = [(word.text, word.start_s, word.end_s) for word in timed_words(log_TV, found, phones, step_s=0.04)]
    assert timed == [("a", 0.04, 0.12), ("tʰ", 0.16, 0.2), ("b", 0.24, 0.28)]


def test_a_folder_of_phones_is_known_and_read(tmp_path: Path) -> None:
    for name, write in PHONES.files().items():
        write(tmp_path / name)
    assert writes_phones(tmp_path) and PhoneTokens.load(tmp_path) == PHONES
    (tmp_path / "vocab.json").write_text('{"<pad>": 0, "<unk>": 1, "xx": 2}', encoding="utf-8")
    with pytest.raises(ModelError, match="phones cannot be read"):
        PhoneTokens.load(tmp_path)
    assert not writes_phones(tmp_path / "none")


def test_the_error_rate_counts_phones_not_code_points() -> None:
    tally = Tally()
    tally.add(Example("x", "", 0.0, 1.0, "b aː tʰ", ()), "b aː t", PHONES.units)
    assert tally.report().cer == pytest.approx(1 / 3)


def _batch(*texts: str) -> Batch:
    tokens = [PHONES.encode(text) for text in texts]
    lengths = torch.tensor([len(one) for one in tokens])
    joined = torch.tensor([token for one in tokens for token in one])
    return Batch([], torch.zeros(len(texts), 1), lengths, joined, lengths, [])


def _logits(path: list[int], sharp: float = 8.0) -> torch.Tensor:
    logits = torch.zeros(1, len(path), len(PHONES))
    logits[0, torch.arange(len(path)), torch.tensor(path)] = sharp
    return logits


def test_features_are_asked_for_where_the_best_path_writes_and_likeness_costs_less() -> None:
    loss = FeatureLoss(PHONES)
    p, b, a = (PHONES.encode(phone)[0] for phone in "pba")
    places, tokens = loss.targets(_logits([0, b, b, 0, a, 0]), torch.tensor([6]), _batch("p a"))
    assert places == [(0, 1), (0, 4)] and tokens == [p, a]
    found = {}
    for name, said in (("right", p), ("near", b), ("far", a)):
        total, count = loss(_logits([0, said, 0]), torch.tensor([3]), _batch("p"))
        assert count == 1.0
        found[name] = float(total)
    assert 0 <= found["right"] < found["near"] < found["far"]
    empty, none = loss(_logits([0, 0]), torch.tensor([2]), _batch("p"))
    assert float(empty) == 0.0 and none == 0.0


def test_gradients_pull_towards_the_right_features() -> None:
    logits = _logits([0, PHONES.encode("b")[0], 0], 0.1).requires_grad_()
    total, _ = FeatureLoss(PHONES)(logits, torch.tensor([3]), _batch("p"))
    total.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    p, b, a = (float(logits.grad[0, 1, PHONES.encode(phone)[0]]) for phone in "pba")
    assert p < b < a and p < 0 < a


def test_the_loss_of_features_stays_a_number_in_half_precision() -> None:
    """1 - 1e-5 is 1 in bfloat16, and the logarithm of nothing is no number."""
    path = [PHONES.encode("p")[0], 0, PHONES.encode("a")[0]]
    logits = _logits(path, sharp=60.0).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, steps = FeatureLoss(PHONES)(logits, torch.tensor([3]), _batch("p a"))
    total.backward()
    assert steps == 2 and torch.isfinite(total) and logits.grad is not None and bool(torch.isfinite(logits.grad).all())
