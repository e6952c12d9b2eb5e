"""What XTTS learns by: the loss against plain arithmetic, padded against single, grown tables, batches and prompts."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from xtts_double import START_AUDIO, START_TEXT, STOP_AUDIO, STOP_TEXT, TUNING, condition, make_gpt, some_rows

from orature.engines.workers import xtts_learning as learning
from orature.engines.workers import xtts_sampling as sampling
from orature.train.voice.xtts_config import XttsTuning

TEXTS = [[1, 2, 3, 4, 5, 6, 7, 8, 9], [4], [7, 7, 2], [2, 5, 3, 9, 1]]
CODES = [[3, 4, 5], [7, 7, 7, 7, 1, 2, 3, 4], [9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]


@pytest.fixture(scope="module")
def gpt() -> Any:
    return make_gpt()


def test_the_loss_is_that_of_each_next_token(gpt: Any) -> None:
    """One row, token for token: text given latents, codes given latents and text."""
    text, codes = TEXTS[3], CODES[0]
    found = learning.next_token_loss(gpt, [condition(0)], [text], [codes])
    prefix = [START_TEXT, *text, STOP_TEXT]
    inputs = torch.cat(
        [
            condition(0),
            (gpt.text_embedding(torch.tensor([prefix])) + gpt.text_pos_embedding.emb.weight[: len(prefix)]),
            gpt.mel_embedding(torch.tensor([[START_AUDIO, *codes]]))
            + gpt.mel_pos_embedding.emb.weight[: len(codes) + 1],
        ],
        dim=1,
    )
    hidden = gpt.final_norm(gpt.gpt(inputs_embeds=inputs).last_hidden_state)[0]
    odds = functional.log_softmax(gpt.text_head(hidden), dim=-1)
    expected = -sum(float(odds[4 + place, token].detach()) for place, token in enumerate(prefix[1:]))
    assert float(found.text_sum.detach()) == pytest.approx(expected, rel=1e-5) and found.text_count == len(text) + 1
    odds = functional.log_softmax(gpt.mel_head(hidden), dim=-1)
    first = 4 + len(prefix)
    expected = -sum(float(odds[first + place, code].detach()) for place, code in enumerate([*codes, STOP_AUDIO]))
    assert float(found.audio_sum.detach()) == pytest.approx(expected, rel=1e-5) and found.audio_count == len(codes) + 1


def test_a_padded_row_has_the_loss_and_the_gradient_of_the_row_alone(gpt: Any) -> None:
    def measured(groups: list[list[int]]) -> tuple[float, float, torch.Tensor]:
        gpt.zero_grad(set_to_none=True)
        text = audio = 0.0
        for rows in groups:
            found = learning.next_token_loss(
                gpt, [condition(row) for row in rows], [TEXTS[row] for row in rows], [CODES[row] for row in rows]
            )
            found.weighted(1.0).backward()  # type: ignore[no-untyped-call]
            text, audio = text + float(found.text_sum.detach()), audio + float(found.audio_sum.detach())
        return (
            text,
            audio,
            torch.cat([gpt.mel_embedding.weight.grad.flatten(), gpt.gpt.h[0].mlp.c_fc.weight.grad.flatten()]),
        )

    alone, together = measured([[0], [1], [2], [3]]), measured([[0, 1, 2, 3]])
    assert together[:2] == pytest.approx(alone[:2], rel=1e-5)
    assert torch.allclose(alone[2], together[2], rtol=1e-3, atol=1e-4 * float(alone[2].abs().max()))


class _Remembering(sampling.Chooser):
    """Keeps the probability of each code that was drawn."""

    def __init__(self) -> None:
        super().__init__(7, temperature=1.0, top_k=0, top_p=1.0, repetition_penalty=1.0)
        self.codes: list[int] = []
        self.total = 0.0

    def next(self, logits_V: np.ndarray) -> int:
        code = super().next(logits_V)
        self.codes.append(code)
        self.total -= float(functional.log_softmax(torch.tensor(logits_V), dim=-1)[code])
        return code


def test_the_loss_is_the_probability_of_what_sampling_draws(gpt: Any) -> None:
    drawn = _Remembering()
    ended = sampling.sample_codes(gpt, [condition(2)], [TEXTS[0]], [drawn], 40)
    assert ended == [drawn.codes] and len(set(drawn.codes)) > 3  # it ended, and codes differ
    found = learning.next_token_loss(gpt, [condition(2)], [TEXTS[0]], [drawn.codes[:-1]])
    assert float(found.audio_sum.detach()) == pytest.approx(drawn.total, rel=1e-5)


def test_grown_tables_keep_their_rows_bit_for_bit() -> None:
    table = torch.randn(6, 5)
    grown = learning.grown(table, [(6, (1, 2)), (7, (6, 0)), (8, ())], seed=1)
    assert grown.shape == (9, 5) and torch.equal(grown[:6], table)
    noise = 0.5 * float(table.std())
    assert (grown[6] - table[1:3].mean(dim=0)).abs().max() < noise
    assert (grown[7] - torch.stack([grown[6], table[0]]).mean(dim=0)).abs().max() < noise
    assert not torch.equal(grown[6], table[1:3].mean(dim=0))
    assert torch.equal(grown, learning.grown(table, [(6, (1, 2)), (7, (6, 0)), (8, ())], seed=1))
    bias = torch.randn(6)
    assert torch.equal(learning.grown(bias, [(6, (1, 2))], seed=1), torch.cat([bias, bias[1:3].mean()[None]]))
    with pytest.raises(ValueError, match="does not follow"):
        learning.grown(table, [(7, ())], seed=1)


def test_an_epoch_has_each_row_once_and_follows_from_its_seed() -> None:
    lengths = [100 * (place % 7) for place in range(30)]
    tuning = replace(TUNING, batch=3, accumulation=4)
    plan = learning.updates_of_epoch(lengths, 2, tuning)
    assert [len(update) for update in plan] == [4, 4, 2] and learning.total_updates(30, tuning) == 3 * tuning.epochs
    assert sorted(place for update in plan for part in update for place in part) == list(range(30))
    assert all(len(part) == 3 for update in plan for part in update)
    for update in plan:
        ordered = [lengths[place] for part in update for place in part]
        assert ordered == sorted(ordered)
    assert plan == learning.updates_of_epoch(lengths, 2, tuning)
    assert plan != learning.updates_of_epoch(lengths, 3, tuning)
    smaller = learning.updates_of_epoch(lengths, 2, replace(TUNING, batch=6, accumulation=2))
    assert [{*chain(*update)} for update in plan] == [{*chain(*update)} for update in smaller]
    assert learning.total_updates(30, replace(tuning, updates=5)) == 5


def test_prompts_are_drawn_by_seed_epoch_and_row() -> None:
    rows = some_rows(12)
    drawn = [learning.prompt_of(rows, place, epoch, TUNING) for place in range(12) for epoch in range(20)]
    assert drawn == [learning.prompt_of(rows, place, epoch, TUNING) for place in range(12) for epoch in range(20)]
    assert len({(one.start, one.length) for one in drawn}) > 200
    for number, one in enumerate(drawn):
        row = rows[number // 20]
        assert one.place == number // 20 and one.length >= min(row.samples, 11_025)
        assert one.start >= 0 and one.start + one.length <= row.samples
    other = replace(TUNING, prompt_from="speaker")
    sources = {learning.prompt_of(rows, 3, epoch, other).place for epoch in range(60)}
    assert sources == {1, 5, 7, 9, 11}  # the same speaker's other rows
    alone = [replace(row, speaker=row.id) for row in rows]
    assert learning.prompt_of(alone, 3, 0, other).place == 3
    assert learning.dev_prompt(rows, 3, TUNING) == learning.Prompt(3, 0, rows[3].samples)


def test_what_is_trained_and_what_decays(gpt: Any) -> None:
    names = learning.trained_names(gpt)
    assert "text_embedding.weight" in names and not any("conditioning" in name for name in names)
    decayed, rest = learning.parameter_groups(gpt, names, 0.01)
    assert "mel_head.weight" in decayed["names"] and "gpt.h.0.attn.c_attn.weight" in decayed["names"]
    for name in ("mel_head.bias", "final_norm.weight", "text_embedding.weight", "mel_pos_embedding.emb.weight"):
        assert name in rest["names"]
    assert sorted(decayed["names"] + rest["names"]) == sorted(names) and rest["weight_decay"] == 0.0


def test_the_worker_knows_the_fields_of_the_settings() -> None:
    config = XttsTuning()
    assert {one.name for one in fields(learning.Tuning)} <= set(XttsTuning.model_fields)
    assert (config.betas, config.weight_decay, config.lr) == ((0.9, 0.96), 1e-2, 5e-6)
    assert (config.batch, config.accumulation, config.epochs) == (8, 4, 5)
    assert (config.most_text_tokens, config.longest_samples, config.new_pieces) == (400, 330_750, 2000)
    assert (config.prompt_least_s, config.prompt_most_s) == (0.5, 6.0)
    assert XttsTuning.for_scale("full").updates is None and XttsTuning.for_scale("smoke").updates == 10
