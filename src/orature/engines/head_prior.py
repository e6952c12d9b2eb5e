"""An output layer for letters made from one for phones, by how likely each phone is behind each letter.

The row of a letter c is the sum over phones p of P(p | c) times the row of p, and so is its bias. The bias also gets
log C(c) / C(p) in the mean over the same phones, C being how often letter and phone occur: by Jensen's inequality the
logit is then a lower bound of the logarithm of sum_p P(c | p) exp(logit of p), which is what the phones say of the
letter. Three letters of one phone so share its probability instead of tripling it. The phone rows are centred first
(their mean over tokens taken off), which changes no probability of a phone and puts letters without evidence, whose
rows are drawn as ever, at the height of the mean phone. All rows from phones are scaled by one factor, a temperature
(Guo et al. 2017, "On calibration of modern neural networks", section 4.2).

Shapes: V tokens, D hidden width, L letters.

Example::

    prior = HeadPrior((LetterPrior("a", (("a", 0.9), ("ɑ", 0.1)), 0.0),))
    plant(new_head, phone_head, phones, characters, prior)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from orature.engines.characters import BLANK, UNKNOWN, Characters
from orature.engines.phone_tokens import PhoneTokens

BLANK_PHONE = ""
"""Stands for the blank among the phones of a letter: one that is written while nothing is spoken."""


@dataclass(frozen=True, slots=True)
class LetterPrior:
    """P(phone | letter) in parts that sum to 1, and what is added to the bias."""

    letter: str
    shares: tuple[tuple[str, float], ...]
    offset: float


@dataclass(frozen=True, slots=True)
class HeadPrior:
    """The letters with evidence, and the factor for rows that come from phones."""

    letters: tuple[LetterPrior, ...]
    scale: float = 1.0

    def to_json(self) -> dict[str, Any]:
        return {
            "scale": self.scale,
            "letters": [[one.letter, [list(share) for share in one.shares], one.offset] for one in self.letters],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> HeadPrior:
        """The prior that `to_json` wrote, bit for bit."""
        letters = (
            LetterPrior(letter, tuple((phone, share) for phone, share in shares), offset)
            for letter, shares, offset in values["letters"]
        )
        return cls(tuple(letters), values["scale"])


@torch.no_grad()
def plant(head: nn.Linear, old: nn.Linear, phones: PhoneTokens, characters: Characters, prior: HeadPrior) -> None:
    """Puts rows for `characters` into `head` (V, D) from those of `phones` in `old`; ValueError for a phone it lacks.

    Blank and unknown take the rows of blank and unknown. Letters that `prior` lacks keep their rows.
    """
    weight = prior.scale * (old.weight - old.weight.mean(dim=0))
    bias = prior.scale * (old.bias - old.bias.mean())
    for token in (BLANK, UNKNOWN):
        head.weight[token], head.bias[token] = weight[token], bias[token]
    place = {letter: number + 2 for number, letter in enumerate(characters.letters)}
    known = {BLANK_PHONE: BLANK} | {phone: number + 2 for number, phone in enumerate(phones.phones)}
    for one in prior.letters:
        missing = [phone for phone, _ in one.shares if phone not in known]
        if missing:
            raise ValueError(f"the model of phones has no {missing[0]!r}")
        if one.letter not in place:
            continue
        tokens = torch.tensor([known[phone] for phone, _ in one.shares], device=weight.device)
        shares = torch.tensor([share for _, share in one.shares], dtype=weight.dtype, device=weight.device)
        head.weight[place[one.letter]] = shares @ weight[tokens]
        head.bias[place[one.letter]] = shares @ bias[tokens] + one.offset
