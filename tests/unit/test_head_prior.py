"""An output layer for letters made from one for phones: the rows, and what they say of letters."""

from __future__ import annotations

import json
from math import log

import pytest
import torch
from torch import nn

from orature.engines.characters import Characters
from orature.engines.head_prior import BLANK_PHONE, HeadPrior, LetterPrior, plant
from orature.engines.phone_tokens import PhoneTokens

PHONES, LETTERS = PhoneTokens(("a", "k", "s")), Characters((" ", "c", "q", "u", "z"))
PRIOR = HeadPrior(
    (
        LetterPrior(" ", ((BLANK_PHONE, 1.0),), log(0.1)),
        LetterPrior("c", (("k", 0.75), ("s", 0.25)), -0.5),
        LetterPrior("u", (("a", 1.0),), 0.0),
        LetterPrior("ñ", (("a", 1.0),), 0.0),
    )
)


def _heads() -> tuple[nn.Linear, nn.Linear, nn.Linear]:
    """The phones', the letters' before, and the letters' after."""
    torch.manual_seed(1)
    old, drawn, head = nn.Linear(8, len(PHONES)), nn.Linear(8, len(LETTERS)), nn.Linear(8, len(LETTERS))
    old.bias.data += 3.0
    head.load_state_dict(drawn.state_dict())
    return old, drawn, head


@torch.no_grad()
def test_rows_are_the_expected_rows_of_phones_and_others_stay() -> None:
    old, drawn, head = _heads()
    plant(head, old, PHONES, LETTERS, HeadPrior(PRIOR.letters, scale=0.5))
    weight, bias = 0.5 * (old.weight - old.weight.mean(0)), 0.5 * (old.bias - old.bias.mean())
    blank, unknown, a, k, s = range(5)
    for token, wanted in ((0, blank), (1, unknown), (2, blank), (5, a)):
        assert torch.allclose(head.weight[token], weight[wanted])
    assert torch.allclose(head.weight[3], 0.75 * weight[k] + 0.25 * weight[s])
    assert float(head.bias[3]) == pytest.approx(float(0.75 * bias[k] + 0.25 * bias[s]) - 0.5, abs=1e-6)
    assert float(head.bias[2]) == pytest.approx(float(bias[blank]) + log(0.1), abs=1e-6)
    for token in (4, 6):
        assert torch.equal(head.weight[token], drawn.weight[token]) and head.bias[token] == drawn.bias[token]


@torch.no_grad()
def test_letters_of_a_cipher_are_as_likely_as_their_phones() -> None:
    old, _, _ = _heads()
    letters = Characters(("x", "y", "z"))
    head = nn.Linear(8, len(letters))
    cipher = zip("xyz", PHONES.phones, strict=True)
    plant(head, old, PHONES, letters, HeadPrior(tuple(LetterPrior(a, ((b, 1.0),), 0.0) for a, b in cipher)))
    hidden = torch.randn(20, 8)
    assert torch.allclose(head(hidden).softmax(-1), old(hidden).softmax(-1), atol=1e-6)


@torch.no_grad()
def test_letters_of_one_phone_share_its_probability() -> None:
    old, _, _ = _heads()
    letters = Characters(("c", "k", "o", "z"))
    head = nn.Linear(8, len(letters))
    parts = {"c": ("k", 0.8), "k": ("k", 0.2), "o": ("a", 1.0), "z": ("s", 1.0)}
    prior = HeadPrior(tuple(LetterPrior(name, ((p, 1.0),), log(share)) for name, (p, share) in parts.items()))
    plant(head, old, PHONES, letters, prior)
    hidden = torch.randn(20, 8)
    by_letter, by_phone = head(hidden).softmax(-1), old(hidden).softmax(-1)
    assert torch.allclose(by_letter[:, 2] + by_letter[:, 3], by_phone[:, 3], atol=1e-6)
    assert torch.allclose(by_letter[:, 2], 0.8 * by_phone[:, 3], atol=1e-6)


def test_it_is_written_and_read_bit_for_bit() -> None:
    odd = HeadPrior((LetterPrior("a", (("k", 1 / 3), ("s", 2 / 3)), log(0.1)),), 0.7)
    assert HeadPrior.from_json(json.loads(json.dumps(odd.to_json()))) == odd


def test_a_phone_that_the_model_lacks_is_refused() -> None:
    old, _, head = _heads()
    with pytest.raises(ValueError, match="no 'ɢ'"):
        plant(head, old, PHONES, LETTERS, HeadPrior((LetterPrior("c", (("ɢ", 1.0),), 0.0),)))
