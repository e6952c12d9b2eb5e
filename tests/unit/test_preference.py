"""DPO and MWER: their losses by hand, the anchor to the start, which texts become pairs, resuming bit for bit."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tone_job import tone_job
from torch import nn

from orature.core.errors import ConfigError
from orature.engines.characters import Characters
from orature.engines.recognisers import save_model
from orature.engines.seq2seq_vocabulary import Seq2SeqVocabulary
from orature.testing.checkpoints_seq2seq import speech2text_folder
from orature.train import loop
from orature.train.batches import Item
from orature.train.config import TrainConfig
from orature.train.ctc import CtcLearner
from orature.train.job import Job
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Batch, Example, Loader
from orature.train.preference import DpoLearner, MwerLearner, expected_errors, preferring
from orature.train.preference_config import Candidate, Choice, PreferenceConfig, Preferences
from orature.train.preference_pairs import (
    ALL_EQUAL,
    NO_ALTERNATIVE,
    TOO_LONG,
    Lister,
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


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A writer of letters that has learned nothing, tones to hear, and its own preferences."""
    folder = tmp_path_factory.mktemp("attention")
    start = speech2text_folder(folder / "start", texts=["abc cab bca"], dropout=0.1, activation_dropout=0.1)
    job = tone_job(folder)
    config = PreferenceConfig(n_best=4, beams=8)
    job = replace(
        job,
        start=str(start),
        config=config.applied(job.config.model_copy(update={"updates": 6, "evaluate_every": 2}), attention=True),
    )
    made = job.make()
    train = [replace(one, tokens=tuple(made.vocabulary.encode(one.text))) for one in job.train]
    dev = [replace(one, tokens=tuple(made.vocabulary.encode(one.text))) for one in job.dev]
    job = job.with_examples(train, dev)
    found = Lister(made.learner, config).choices(job.loaders(made)[0], range(len(train)))
    usable = [place for place, choice in enumerate(found) if choice.reason is None]
    assert len(usable) > 10
    job = job.with_examples([train[place] for place in usable], dev)
    return replace(job, preference=Preferences(config, tuple(found[place] for place in usable)))


def test_at_the_start_the_loss_is_ln_2_a_pair(attention: Job) -> None:
    made = attention.make()
    assert isinstance(made.learner, DpoLearner)
    made.learner.module.train()
    for batch in itertools.islice(attention.loaders(made)[0].epoch(0), 3):
        for _, piece in batch.pieces:
            losses = made.learner.loss(piece)
            assert float(losses.total / losses.weight) == pytest.approx(math.log(2.0), abs=1e-5)
    assert attention.preference is not None
    for choice, example in zip(attention.preference.choices, attention.train, strict=True):
        better, worse = (choice.candidates[place] for place in choice.pairs[0])
        assert better.errors < worse.errors == errors_of(worse.text, example.text, str)


def test_it_learns_what_is_preferred(attention: Job, tmp_path: Path) -> None:
    config = attention.config.model_copy(update={"updates": 20, "evaluate_every": 10, "average": 1, "warmup_share": 0})
    job = replace(attention, config=config)
    made = job.make()
    log = train_job(job, made, Spread(threads=1), Place(tmp_path, progress=False)).outcome.log
    assert float(str(log[-1]["loss"])) < 0.6 < math.log(2.0) and float(str(log[-1]["preferred"])) > 0.8
    assert float(str(log[-1]["reward_margin"])) > 0


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


def ctc_job(folder: Path, config: PreferenceConfig, **fields: Any) -> Job:
    """A micro model that has learned nothing, written as a start, with its preferences."""
    job = tone_job(folder, **{"updates": 6, "evaluate_every": 2, "dropout": 0.1, **fields})
    made = job.make()
    with torch.no_grad():
        cast(Any, made.network).head.weight *= 3
    facts = {"name": "tried", "family": "conformer", "languages": "und"}
    save_model(folder / "start", made.family, cast(Any, made.network), made.vocabulary, facts)
    job = replace(job, start=str(folder / "start"), config=config.applied(job.config, attention=False))
    if config.n_best_of == "current":
        return replace(job, preference=Preferences(config))
    made = job.make()
    found = Lister(made.learner, config).choices(job.loaders(made)[0], range(len(job.train)))
    usable = [place for place, choice in enumerate(found) if choice.reason is None]
    job = job.with_examples([job.train[place] for place in usable], list(job.dev))
    return replace(job, preference=Preferences(config, tuple(found[place] for place in usable)))


def trained(job: Job, state: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    torch.set_num_threads(1)
    made = job.make()
    ended = train_job(job, made, Spread(threads=1), Place(state, progress=False))
    return {name: value.clone() for name, value in made.network.state_dict().items()}, list(ended.outcome.log)


@pytest.mark.parametrize("kind", ["dpo", "mwer", "mwer-current"])
def test_interrupted_and_resumed_equals_uninterrupted(
    kind: str, attention: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = PreferenceConfig(
        n_best=3, beams=4, unit="characters", n_best_of="current" if kind == "mwer-current" else "start"
    )
    job = attention if kind == "dpo" else ctc_job(tmp_path, config)
    whole, log = trained(job, tmp_path / "whole")
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    original = loop.Trainer._update

    def stopping(self: Any, batches: Any) -> Any:
        if self.progressed.update >= 3:
            raise KeyboardInterrupt
        return original(self, batches)

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(KeyboardInterrupt):
        trained(job, tmp_path / "cut")
    monkeypatch.setattr(loop.Trainer, "_update", original)
    cut, cut_log = trained(job, tmp_path / "cut")
    assert log == cut_log and all(torch.equal(whole[name], cut[name]) for name in whole)
    begun = replace(job, preference=None).make().network.state_dict()
    assert any(not torch.equal(begun[name], whole[name]) for name in whole), "it learned something"


def test_what_a_list_holds_does_not_depend_on_what_is_searched_with_it(attention: Job) -> None:
    assert attention.preference is not None
    made = replace(attention, preference=None).make()
    train = attention.loaders(made)[0]
    lister = Lister(made.learner, attention.preference.config)
    for place in (0, 5):
        (alone,) = lister.choices(train, [place])
        together = attention.preference.choices[place]
        assert [one.text for one in alone.candidates] == [one.text for one in together.candidates]
        assert alone.pairs == together.pairs
        for one, other in zip(alone.candidates, together.candidates, strict=True):
            assert one.log_p == pytest.approx(other.log_p, abs=1e-4)


def test_wrong_settings_are_refused_with_a_sentence(attention: Job) -> None:
    with pytest.raises(ValidationError, match="a search of 4 beams cannot give 8 texts; raise beams"):
        PreferenceConfig(beams=4)
    for wrong in ({"n_best": 1}, {"margin": 0}, {"beta": 0.0}, {"better": "best"}, {"bta": 1}):
        with pytest.raises(ValidationError):
            PreferenceConfig.model_validate(wrong)
    assert attention.preference is not None
    made = attention.make()
    learner = cast(DpoLearner, made.learner)
    (_, piece), *_ = next(attention.loaders(made)[0].epoch(0)).pieces
    joined = replace(piece, items=[replace(item, then=0) for item in piece.items])
    for batch, choices in ((joined, attention.preference.choices), (piece, ())):
        learner.choices = choices
        with pytest.raises(ConfigError, match="no n-best list of its own") as error:
            learner.loss(batch)
        assert "PreferenceConfig.applied" in error.value.next_step
    with pytest.raises(ConfigError, match="CTC models and by attention models only"):
        preferring(cast(Any, object()), attention.preference)


def test_recordings_are_heard_as_they_are_in_dpo_and_never_joined() -> None:
    config = TrainConfig.model_validate({"augment": {"join_probability": 0.5}, "head": "new"})
    bare, kept = (PreferenceConfig().applied(config, attention=attention) for attention in (True, False))
    assert bare.augment.speeds == (1.0,) and bare.augment.noise_probability == bare.augment.gain_db == 0.0
    assert bare.augment.join_probability == kept.augment.join_probability == 0.0
    assert kept.augment.speeds == config.augment.speeds and bare.head == kept.head == "keep"


def test_the_loader_gives_every_update_the_choices_of_its_utterances(tmp_path: Path) -> None:
    """The list of an utterance is found by its place in the loader, also in halves of a batch."""
    job = ctc_job(tmp_path, PreferenceConfig(n_best=3, beams=4, unit="characters"))
    assert job.preference is not None and len(job.preference.choices) == len(job.train)
    made = job.make()
    train: Loader = job.loaders(made)[0]
    for planned in train.epoch(1):
        for _, piece in planned.pieces:
            for item in piece.items:
                wanted = train.examples[item.index].text
                for one in job.preference.choices[item.index].candidates:
                    assert one.errors == errors_of(one.text, wanted, str)
