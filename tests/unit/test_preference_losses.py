"""The losses of DPO and MWER by hand on tables of logits, and which texts become pairs."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn

from orature.engines.characters import Characters
from orature.engines.seq2seq_vocabulary import Seq2SeqVocabulary
from orature.train.batches import Item
from orature.train.config import TrainConfig
from orature.train.ctc import CtcLearner
from orature.train.loader import Batch, Example
from orature.train.preference import DpoLearner, MwerLearner, expected_errors
from orature.train.preference_config import Candidate, Choice, PreferenceConfig, Preferences
from orature.train.preference_pairs import (
    ALL_EQUAL,
    NO_ALTERNATIVE,
    TOO_LONG,
    ctc_n_best,
    errors_of,
    listed,
    paired,
    sequence_log_p,
)
from orature.train.seq2seq import Seq2SeqLearner

SAID = Example("x", "", 0.0, 1.0, "abba", (1, 2, 2, 1))


def texts(*rows: tuple[str, int]) -> list[Candidate]:
    return [Candidate(text, tuple(map(ord, text)), errors, -1.0) for text, errors in rows]


def batch_of(*targets: tuple[int, ...], steps: int = 3) -> Batch:
    return Batch(
        items=[Item(number, 1.0, None, 1.0) for number in range(len(targets))],
        samples_BS=torch.zeros(len(targets), steps),
        lengths_B=torch.full((len(targets),), steps),
        targets=torch.tensor([token for row in targets for token in row]),
        target_lengths_B=torch.tensor([len(row) for row in targets]),
        languages=["und"] * len(targets),
    )


class Table(nn.Module):
    """Stands for a network: the same logits for every utterance."""

    width, max_tokens = 1, None

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))


class TableWriter(Table):
    """A decoder whose next token depends on its place alone."""

    def forward(self, samples_BS: Any, lengths_B: Any, labels_BL: torch.Tensor, spans: Any = None) -> torch.Tensor:
        assert not self.training, "the anchor holds without dropout only"
        return self.logits[: labels_BL.shape[1]].expand(len(labels_BL), -1, -1)


class Tokens:
    """Tokens 1 and 2, the end is 0; the prompt has no second token."""

    end = 0

    def prompt(self, language: str | None = None) -> list[int]:
        return [9]


def writer(logits: list[list[float]]) -> tuple[TableWriter, Seq2SeqLearner]:
    network = TableWriter(logits)
    return network, Seq2SeqLearner(cast(Any, network), cast(Seq2SeqVocabulary, Tokens()), label_smoothing=0.1)


LOGITS = [[0.1, 0.5, -0.3], [0.2, -0.4, 0.6], [0.3, 0.0, 0.0]]


def test_the_loss_of_a_pair_is_that_of_the_paper() -> None:
    """ln p by hand; the start gave -2.0 to the better text (1, 2) and -1.5 to the worse one (2)."""
    network, inner = writer(LOGITS)
    choice = Choice((Candidate("w", (1, 2), 0, -2.0), Candidate("l", (2,), 3, -1.5)), ((0, 1),))
    for weight in (0.0, 0.5):
        learner = DpoLearner(inner, Preferences(PreferenceConfig(beta=0.7, nll_weight=weight), (choice,)))
        network.train()
        losses = learner.loss(batch_of((1, 2)))
        assert network.training and losses.weight == 1.0
        log = [[value - math.log(sum(map(math.exp, row))) for value in row] for row in LOGITS]
        better, worse = log[0][1] + log[1][2] + log[2][0], log[0][2] + log[1][0]
        margin = 0.7 * ((better + 2.0) - (worse + 1.5))
        expected = -math.log(1 / (1 + math.exp(-margin))) - weight * better / 3
        assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5)
        assert losses.figures["reward_margin"] == pytest.approx(margin, rel=1e-5)
        if weight == 0.0:
            losses.total.backward()  # type: ignore[no-untyped-call]
            share = 1 / (1 + math.exp(margin))
            # at the first place the two texts differ in tokens 1 and 2; the softmax terms cancel
            assert network.logits.grad is not None
            row = network.logits.grad[0].tolist()
            assert row == pytest.approx([0.0, -0.7 * share, 0.7 * share], abs=1e-6)


def test_pairs_are_summed_and_counted_and_a_text_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, inner = writer(LOGITS)
    three = (Candidate("w", (1, 2), 0, -2.0), Candidate("l", (2,), 3, -1.5), Candidate("m", (1,), 2, -1.0))
    config = PreferenceConfig()
    both = DpoLearner(inner, Preferences(config, (Choice(three, ((0, 1), (0, 2))), Choice(three, ((0, 2),)))))
    alone = [
        float(DpoLearner(inner, Preferences(config, (Choice(three, (pair,)),))).loss(batch_of((1,))).total.detach())
        for pair in ((0, 1), (0, 2), (0, 2))
    ]
    losses = both.loss(batch_of((1,), (1,)))
    assert losses.weight == 3.0 and float(losses.total.detach()) == pytest.approx(sum(alone), rel=1e-5)
    rows: list[int] = []
    monkeypatch.setattr(
        "orature.train.preference.sequence_log_p",
        lambda learner, batch, module: (rows.append(len(batch.items)), sequence_log_p(learner, batch, module))[1],
    )
    both.loss(batch_of((1,), (1,)))
    assert rows == [3 + 2]


def test_better_and_worse_texts_are_what_the_settings_say() -> None:
    found = texts(("abbb", 1), ("abb", 1), ("ab", 2), ("b", 3), ("aa", 2))
    assert paired(found, SAID, PreferenceConfig(pairs=9)).pairs == ((0, 2), (0, 3), (0, 4)), "as the search ranks them"
    assert paired(found, SAID, PreferenceConfig(pairs=9, margin=2)).pairs == ((0, 3),)
    assert paired(found, SAID, PreferenceConfig(pairs=1)).pairs == ((0, 2),)
    late = texts(("ab", 2), ("abb", 1))
    assert paired(late, SAID, PreferenceConfig()).pairs == ((1, 0),), "fewest errors, wherever the search ranks it"
    own = paired([*found[:2], *texts(("abba", 0))], SAID, PreferenceConfig(better="transcript"))
    assert own.candidates[0] == Candidate("abba", (1, 2, 2, 1), 0, 0.0) and len(own.candidates) == 3
    assert own.pairs == ((0, 1), (0, 2))


def test_utterances_without_a_pair_say_why() -> None:
    config = PreferenceConfig()
    assert paired(texts(("abb", 1), ("bba", 1)), SAID, config).reason == ALL_EQUAL
    assert paired(texts(("abb", 1), ("bb", 2)), SAID, PreferenceConfig(margin=2)).reason == ALL_EQUAL
    assert paired(texts(("abb", 1)), SAID, config).reason == NO_ALTERNATIVE
    assert paired(texts(("abb", 1)), SAID, config, cut_off=2).reason == TOO_LONG
    assert paired(texts(("abba", 0)), SAID, PreferenceConfig(better="transcript")).reason == NO_ALTERNATIVE
    assert listed(texts(("abb", 1), ("bba", 1)), config).reason == ALL_EQUAL
    assert listed(texts(("abb", 1)), config).reason == NO_ALTERNATIVE
    assert listed(texts(("abb", 1), ("b", 3)), config).reason is None
    row = paired(texts(("abb", 1), ("b", 3)), SAID, config)
    assert Choice.from_json(row.to_json()) == row
    assert errors_of("wasi yaku", "wasi yuku", str.split) == 1 == errors_of("yaku", "yuku", str)


class TableHearer(Table):
    """CTC over blank, a and b whose logits are the same for every utterance."""

    def encode(self, samples_BS: torch.Tensor, lengths_B: Any, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return self.logits.expand(len(samples_BS), -1, -1), torch.full((len(samples_BS),), len(self.logits))

    head = nn.Identity()


AB = Characters.of(["ab"])
A, B = AB.encode("a")[0], AB.encode("b")[0]


def hearer(config: PreferenceConfig, *choices: Choice, seed: int = 3, steps: int = 3) -> tuple[Table, MwerLearner]:
    torch.manual_seed(seed)
    network = TableHearer(torch.randn(steps, len(AB)).tolist())
    inner = CtcLearner(cast(Any, network), AB, TrainConfig())
    return network, MwerLearner(inner, Preferences(config, choices))


def summed(network: Table, tokens: tuple[int, ...], silent: tuple[int, ...] = ()) -> float:
    """p(tokens | x) over all paths, written out; `silent` tokens count as blank."""
    shares = network.logits.detach().softmax(dim=-1).numpy().astype(float)
    total = 0.0
    for path in itertools.product(range(shares.shape[1]), repeat=len(shares)):
        written = [AB.blank if token in silent else token for token in path]
        kept = [token for token, _ in itertools.groupby(written) if token != AB.blank]
        if tuple(kept) == tokens:
            total += float(np.prod([shares[step, token] for step, token in enumerate(path)]))
    return total


LISTED = Choice(
    (Candidate("a", (A,), 0, 0.0), Candidate("ab", (A, B), 1, 0.0), Candidate("bb", (B, B), 2, 0.0)),
)


def test_expected_errors_and_their_gradient_are_those_of_the_paper() -> None:
    network, learner = hearer(PreferenceConfig(ctc_weight=0.25), LISTED)
    losses = learner.loss(batch_of((A,)))
    masses = np.array([summed(network, one.tokens) for one in LISTED.candidates])
    shares, errors = masses / masses.sum(), np.array([0.0, 1.0, 2.0])
    expected = float((shares * (errors - 1.0)).sum()) - 0.25 * math.log(masses[0])
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-5) and losses.weight == 1.0
    assert losses.figures["expected_errors"] == pytest.approx(float((shares * errors).sum()), rel=1e-5)
    log_N = torch.tensor(np.log(masses), dtype=torch.float32, requires_grad=True)
    expected_errors(log_N, torch.tensor([0.0, 1.0, 2.0])).backward()
    assert log_N.grad is not None
    assert log_N.grad.tolist() == pytest.approx(list(shares * (errors - (shares * errors).sum())), rel=1e-4)


def test_texts_that_do_not_fit_the_steps_count_nothing() -> None:
    network, learner = hearer(PreferenceConfig(ctc_weight=0.0), LISTED, steps=2)
    losses = learner.loss(batch_of((A,), steps=2))
    masses = np.array([summed(network, one.tokens) for one in LISTED.candidates])
    assert masses[2] == 0.0, "two equal neighbours need three steps"
    shares = masses[:2] / masses[:2].sum()
    assert float(losses.total.detach()) == pytest.approx(float((shares * (np.array([0.0, 1.0]) - 0.5)).sum()), rel=1e-5)


@pytest.mark.parametrize("whose", ["start", "current"])
def test_expected_errors_fall(whose: str) -> None:
    config = PreferenceConfig.model_validate({"n_best": 4, "n_best_of": whose, "unit": "characters"})
    network, learner = hearer(config, *([LISTED] * 2))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    seen = []
    for _ in range(30):
        optimiser.zero_grad()
        losses = learner.loss(batch_of((A,), (A,)))
        losses.total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        seen.append(losses.figures["expected_errors"] / 2)
    assert seen[-1] < 0.5 * seen[0]
    if whose == "start":  # other lists change as the model does
        assert all(after < before for before, after in itertools.pairwise(seen))


def test_lists_are_searched_without_a_language_model_and_summed_over_paths() -> None:
    network, _ = hearer(PreferenceConfig())
    log_TV = network.logits.detach().log_softmax(dim=-1)
    found = ctc_n_best(log_TV, AB, PreferenceConfig(n_best=4, beams=64), len)
    silent = tuple(token for token in range(len(AB)) if not AB.piece(token))
    assert len(found) == 4 and [one.log_p for one in found] == sorted((one.log_p for one in found), reverse=True)
    for one in found:
        assert one.log_p == pytest.approx(math.log(summed(network, one.tokens, silent)), rel=1e-4)
        assert one.errors == len(one.text)
