"""A small transformer of the geometry of coqui's XTTS: GPT-2 without positions of its own, with two tables of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from orature.engines.workers.xtts_learning import Prompt, Row, Tuning

START_AUDIO, STOP_AUDIO = 18, 19
START_TEXT, STOP_TEXT = 10, 0
TEXT_TOKENS, WIDTH, LATENTS = 12, 32, 4
TUNING = Tuning(
    epochs=8,
    updates=None,
    batch=2,
    accumulation=2,
    lr=3e-3,
    betas=(0.9, 0.96),
    weight_decay=1e-2,
    clip_norm=1.0,
    text_weight=1.0,
    prompt_least_s=0.5,
    prompt_most_s=6.0,
    prompt_from="own",
    evaluate_every=4,
    patience=100,
    seed=1,
)


class Positions(nn.Module):
    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.emb = nn.Embedding(length, width)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.emb.weight[: tokens.shape[1]]


def _no_positions(places: Tensor, width: int) -> Tensor:
    return torch.zeros((places.shape[0], places.shape[1], width))


class Gpt(nn.Module):
    """Modules and numbers under the names of coqui's class."""

    start_text_token, stop_text_token = START_TEXT, STOP_TEXT
    start_audio_token = START_AUDIO

    def __init__(self, dropout: float, tokens: int) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2Model

        self.stop_audio_token = STOP_AUDIO
        rates = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
        shape: dict[str, Any] = {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "n_positions": 200, "vocab_size": 8}
        self.gpt: Any = GPT2Model(GPT2Config(**shape, **rates, initializer_range=0.4))
        del self.gpt.wpe, self.gpt.wte
        self.gpt.wpe = functools.partial(_no_positions, width=WIDTH)
        self.text_embedding = nn.Embedding(tokens, WIDTH)
        self.text_pos_embedding = Positions(30, WIDTH)
        self.mel_embedding = nn.Embedding(20, WIDTH)
        self.mel_pos_embedding = Positions(60, WIDTH)
        self.final_norm = nn.LayerNorm(WIDTH)
        self.text_head = nn.Linear(WIDTH, tokens)
        self.mel_head = nn.Linear(WIDTH, 20)
        self.conditioning_encoder = nn.Linear(1, WIDTH * LATENTS)


def make_gpt(*, seed: int = 3, dropout: float = 0.1, tokens: int = TEXT_TOKENS) -> Any:
    """In evaluation mode, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    return Gpt(dropout, tokens).eval()


def condition(row: int) -> Tensor:
    """Latents of a prompt, (1, n, C)."""
    return torch.randn(1, LATENTS, WIDTH, generator=torch.Generator().manual_seed(row))


def latents_by(gpt: Any) -> Any:
    """Reads prompts as the real model does, with frozen weights: which row, where, how long decides the latents."""

    def latents(rows: Sequence[Row], prompt: Prompt) -> Tensor:
        number = torch.tensor([[prompt.start / 1e5 + prompt.length / 1e5 + len(rows[prompt.place].text)]])
        return torch.tanh(gpt.conditioning_encoder(number)).reshape(1, LATENTS, WIDTH)

    return latents


def some_rows(count: int, *, seed: int = 5, first: int = 0) -> list[Row]:
    """Rows whose codes follow from their text, so that there is something to learn."""
    drawn = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(first, first + count):
        length = int(torch.randint(2, 8, (), generator=drawn))
        text = [int(one) for one in torch.randint(1, 9, (length,), generator=drawn)]
        codes = [2 * one % 17 for one in text for _ in range(2)]
        rows.append(Row(f"u{number}", tuple(text), tuple(codes), 1024 * len(codes) + 11_025, f"s{number % 2}"))
    return rows
