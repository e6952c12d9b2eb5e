"""DPO and MWER on tones as letters: the anchor to the start, learning, resuming bit for bit, wrong settings."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from pydantic import ValidationError
from tone_job import tone_job

from orature.core.errors import ConfigError
from orature.engines.recognisers import save_model
from orature.testing.checkpoints_seq2seq import speech2text_folder
from orature.train import loop
from orature.train.config import TrainConfig
from orature.train.job import Job
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Loader
from orature.train.preference import DpoLearner, preferring
from orature.train.preference_config import PreferenceConfig, Preferences
from orature.train.preference_pairs import (
    Lister,
    errors_of,
)


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
            assert float(losses.total.detach()) / losses.weight == pytest.approx(math.log(2.0), abs=1e-5)
    assert attention.preference is not None
    for choice, example in zip(attention.preference.choices, attention.train, strict=True):
        better, worse = (choice.candidates[place] for place in choice.pairs[0])
        assert better.errors < worse.errors == errors_of(worse.text, example.text, str)


def test_it_learns_what_is_preferred(attention: Job, tmp_path: Path) -> None:
    config = attention.config.model_copy(update={"updates": 20, "evaluate_every": 10, "average": 1, "peak_lr": 3e-4})
    job = replace(attention, config=config)
    made = job.make()
    log = train_job(job, made, Spread(threads=1), Place(tmp_path, progress=False)).outcome.log
    assert float(str(log[-1]["loss"])) < 0.67 < math.log(2.0) and float(str(log[-1]["preferred"])) > 0.8
    assert float(str(log[-1]["reward_margin"])) > 0


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


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dpo", "mwer"])
def test_two_processes_learn_what_one_learns(kind: str, attention: Job, tmp_path: Path) -> None:
    config = PreferenceConfig(n_best=3, beams=4, unit="characters")
    job = attention if kind == "dpo" else ctc_job(tmp_path, config, dropout=0.0)
    alone, log = trained(job, tmp_path / "alone")
    made = job.make()
    ended = train_job(job, made, Spread(threads=2, processes=2), Place(tmp_path / "two", progress=False))
    for name, value in made.network.state_dict().items():
        assert torch.allclose(alone[name], value, atol=2e-4), name
    assert [row["loss"] for row in ended.outcome.log] == pytest.approx([row["loss"] for row in log], abs=1e-3)
