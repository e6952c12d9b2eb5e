"""Equal budgets, ratios and choices of back-translation, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.engines.fake_voice import FakeVoice
from orature.flow import Ref, Resources, Run
from orature.recipes import arms
from orature.recipes.arms import Arm, Budget, best_on_dev, equal_budget, unequal
from orature.recipes.back_settings import BackTranslateConfig, by_scale
from orature.recipes.speech_steps import SpeechWork, readings_for, reads_itself, voice_facts
from orature.recipes.training import UpOptions
from orature.recipes.up import extras_of
from orature.train.config import TrainConfig
from orature.train.mixing import (
    Group,
    MixConfig,
    draw_epoch,
    expected_counts,
    origin_weights_for_ratio,
    shares_of_origins,
)
from orature.train.schedule import learning_rate
from tests.tiny import LATIN, corpus_of

_RNG = np.random.default_rng(3)
GROUPS = [*[Group("qu", "k", "real")] * 40, *[Group("qu", "k", "pseudo")] * 10, *[Group("qu", "t", "synthetic")] * 300]
DURATIONS = [float(value) for value in _RNG.uniform(1, 9, len(GROUPS))]
MADE = np.array([group.origin == "synthetic" for group in GROUPS])
REF = Ref(key="external", stage="corpus", digest="0" * 64)


def made_and_real() -> tuple[float, float]:
    seconds = np.array(DURATIONS)
    return float(seconds[MADE].sum()), float(seconds[~MADE].sum())


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 10.0, 37.0])
@pytest.mark.parametrize("epoch_s", [0.0, 250.0, 40_000.0])
def test_an_epoch_holds_the_ratio_and_the_seconds_asked_for(ratio: float, epoch_s: float) -> None:
    synthetic_s, real_s = made_and_real()
    config = MixConfig(origin_weights=origin_weights_for_ratio(real_s, synthetic_s, ratio), epoch_s=epoch_s)
    counts = expected_counts(DURATIONS, GROUPS, config) * np.array(DURATIONS)
    assert counts[MADE].sum() / counts[~MADE].sum() == pytest.approx(ratio, rel=1e-5)
    assert counts.sum() == pytest.approx(epoch_s or synthetic_s + real_s, rel=1e-5)
    shares = shares_of_origins({"real": 0.8 * real_s, "pseudo": 0.2 * real_s, "synthetic": synthetic_s}, config)
    assert shares["synthetic"] == pytest.approx(ratio / (1 + ratio)) and sum(shares.values()) == pytest.approx(1)


def test_short_epochs_pass_over_all_of_a_large_corpus() -> None:
    synthetic_s, real_s = made_and_real()
    config = MixConfig(origin_weights=origin_weights_for_ratio(real_s, synthetic_s, 1.0), epoch_s=2 * real_s)
    seen: set[int] = set()
    epochs = int(np.ceil(synthetic_s / real_s)) + 1
    for epoch in range(epochs):
        drawn = draw_epoch(DURATIONS, GROUPS, config, 1, epoch)
        assert set(np.flatnonzero(~MADE)) <= set(drawn)
        seen |= set(drawn)
    assert seen == set(range(len(GROUPS)))


@pytest.mark.parametrize(("real_s", "synthetic_s", "ratio"), [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, float("inf"))])
def test_there_is_no_ratio_of_nothing(real_s: float, synthetic_s: float, ratio: float) -> None:
    with pytest.raises(ValueError, match=r"nothing to mix|above 0"):
        origin_weights_for_ratio(real_s, synthetic_s, ratio)


def test_both_phases_together_are_one_budget_and_one_schedule() -> None:
    config = TrainConfig(updates=1000, batch_seconds=40, peak_lr=1e-3, evaluate_every=100, freeze_encoder_updates=100)
    config = config.model_copy(update={"augment": config.augment.model_copy(update={"masks_from_update": 50})})
    budget = equal_budget(config, real_s=200.0, last_share=0.2)
    assert budget.last is not None
    assert (budget.first.updates, budget.last.updates, budget.updates) == (800, 200, 1000)
    assert budget.hours == pytest.approx(1000 * 40 / 3600)
    end, begin = learning_rate(799, budget.first), budget.last.peak_lr
    assert end == pytest.approx(begin, rel=0.01) and begin == pytest.approx(0.3e-3)
    assert learning_rate(199, budget.last) == pytest.approx(learning_rate(999, config), rel=0.05)
    assert budget.first.mix.epoch_s == budget.last.mix.epoch_s == 800.0
    assert budget.first.patience == budget.last.patience > 1000
    assert (budget.last.head, budget.last.freeze_encoder_updates, budget.first.freeze_encoder_updates) == (
        "keep",
        0,
        80,
    )
    assert (budget.first.augment.masks_from_update, budget.last.augment.masks_from_update) == (40, 0)


def test_a_large_corpus_keeps_its_own_epoch_and_one_phase_is_the_config_itself() -> None:
    config = TrainConfig(updates=10, batch_seconds=40)
    assert equal_budget(config, real_s=5000.0, last_share=0.0) == Budget(
        config.model_copy(update={"mix": MixConfig(epoch_s=5000.0), "patience": arms.NEVER}), None
    )


def test_what_cannot_be_mixed_by_ratio_is_refused() -> None:
    for mix in (MixConfig(origin_weights={"synthetic": 2.0}), MixConfig(corpus_exponent=0.5)):
        with pytest.raises(ConfigError, match="settles the mixing"):
            equal_budget(TrainConfig(mix=mix), real_s=1.0)
    with pytest.raises(ConfigError, match="too few"):
        equal_budget(TrainConfig(updates=1), real_s=1.0)


class Scores:
    """Stands for a run: the score file of each reference."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, cer: float, wer: float, ratio: float = 0.0, **facts: Any) -> Arm:
        place = self.folder / name
        place.mkdir()
        (place / "score.json").write_text(json.dumps({"cer": {"value": cer}, "wer": {"value": wer}}), encoding="utf-8")
        ref = Ref(key="external", stage="evaluate", digest=name, path=str(place))
        return Arm(name, name, ref, ref, ratio, facts=facts or None)

    def path_of(self, ref: Ref) -> Path:
        return Path(ref.path)


def test_dev_chooses_and_of_equals_the_one_with_less_synthetic_speech(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    run = cast(Run, scores)
    found = [scores.add("a", 0.4, 0.9, 10), scores.add("b", 0.3, 0.9, 5), scores.add("c", 0.3, 0.9, 2)]
    found.append(scores.add("d", 0.31, 0.5, 1))
    assert best_on_dev(run, found, "cer").name == "c"
    assert best_on_dev(run, found, "wer").name == "d"


def test_unequal_compute_is_found(tmp_path: Path) -> None:
    scores = Scores(tmp_path)
    first = scores.add("real", 0.4, 0.9, updates=100, audio_hours=10.0)
    near = scores.add("near", 0.4, 0.9, updates=100, audio_hours=10.4)
    short = scores.add("short", 0.4, 0.9, updates=90, audio_hours=9.0)
    merged = scores.add("merged", 0.4, 0.9)
    assert unequal([first, near, merged]) == []
    assert len(unequal([first, near, short])) == 2


def speech_work(ratios: tuple[float, ...], readings: Any, real_s: float, wanted_s: float) -> SpeechWork:
    settings = BackTranslateConfig(ratios=ratios, readings=readings)
    return SpeechWork(
        run=cast(Run, None),
        settings=settings,
        splits=REF,
        language="en",
        seed=1,
        real_s=real_s,
        wanted_s=wanted_s,
        trained=REF,
        on=cast(Any, None),
        said=print,
    )


def test_a_short_text_is_read_until_the_largest_ratio_has_speech_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.recipes.speech_steps.characters_a_second", lambda run, splits: 10.0)
    text: Any = SimpleNamespace(summary=lambda: {"characters": 50})
    assert readings_for(speech_work((1.0, 10.0), "auto", 200.0, 1e9), text) == 400
    assert readings_for(speech_work((1.0, 10.0), "auto", 200.0, 100.0), text) == 20
    assert readings_for(speech_work((1.0,), 3, 200.0, 1e9), text) == 3
    assert readings_for(speech_work((1000.0,), "auto", 1e6, 1e9), text) == 500


@pytest.mark.parametrize(
    ("language", "voice", "asked", "wanted"),
    [
        ("sw", "fake", None, ("lm", "back_translation")),
        ("xx", "fake", None, ("lm",)),
        ("und", "fake", None, ("lm",)),
        ("xx", "fake", ("lm", "back_translation"), ("lm", "back_translation")),
        ("sw", "fake", (), ()),
        ("sw", "vits:nowhere", None, ("lm",)),
    ],
)
def test_up_back_translates_where_the_voice_reads_the_language_itself(
    tmp_path: Path, language: str, voice: str, asked: tuple[str, ...] | None, wanted: tuple[str, ...]
) -> None:
    (tmp_path / "text.txt").write_text("habari\n", encoding="utf-8")
    corpus = Corpus.open(corpus_of(tmp_path / "corpus", LATIN[:3], seconds=0.1, language=language))
    options = UpOptions(texts=(str(tmp_path / "text.txt"),), extras=asked, voice=voice)
    assert extras_of(corpus, options, Resources()) == wanted


def test_a_neighbour_is_no_voice_of_the_language_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reads_itself("fake", "sw", Resources()) == ""
    told = SimpleNamespace(told="reading with es", tag="es")
    monkeypatch.setattr(FakeVoice, "reading", lambda self, language: told, raising=False)
    assert "es" in reads_itself("fake", "sw", Resources())
    assert voice_facts("fake", "sw", Resources())["fallback"] == "es"


def test_smoke_tries_one_ratio_unless_told_otherwise() -> None:
    assert by_scale("smoke", {})["ratios"] == (1.0,)
    assert by_scale("smoke", {"ratios": (2.0, 3.0)})["ratios"] == (2.0, 3.0)
    assert BackTranslateConfig().ratios == (1.0, 2.0, 5.0, 10.0)
    one = BackTranslateConfig.model_validate({"text": "a.txt", "ratios": 3})
    assert one.text == ("a.txt",) and one.ratios == (3.0,)
