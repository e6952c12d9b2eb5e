"""The loop on a toy task (tones as letters): it learns, and interrupted + resumed = uninterrupted, bit for bit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ConfigError, TrainingFailed
from orature.data import audio
from orature.engines.characters import Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.train import checkpoint, guards, loop
from orature.train.checkpoint import Progressed
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.ctc import CtcLearner
from orature.train.dev import DevReport
from orature.train.freezing import Freezing
from orature.train.learner import Losses
from orature.train.loader import Example, Loader
from orature.train.loop import Outcome, fit
from orature.train.schedule import learning_rate
from orature.train.watch import Watcher, check_collapse

TONES = {"a": 400.0, "b": 1100.0, "c": 2600.0}
LETTERS = Characters.of([" abc"])
SHAPE = ConformerConfig.of_size("micro", vocabulary=len(LETTERS))


def tones(text: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    parts = [np.zeros(1600)]
    for letter in text:
        times = np.arange(2400) / 16_000
        parts += [0.2 * np.sin(2 * np.pi * TONES[letter] * times), np.zeros(800)]
    samples = np.concatenate(parts)
    return (samples + 0.005 * rng.standard_normal(samples.size)).astype("f4")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(5)
    made = []
    for number in range(40):
        text = "".join(rng.choice(list(TONES), size=rng.integers(1, 5)))
        samples = tones(text, number)
        path = folder / f"{number:02d}.flac"
        audio.save_flac(path, samples)
        made.append(Example(f"{number:02d}", str(path), 0.0, len(samples) / 16_000, text, tuple(LETTERS.encode(text))))
    return made


CONFIG = TrainConfig(
    size="micro",
    updates=12,
    batch_seconds=6.0,
    evaluate_every=4,
    average=2,
    peak_lr=1e-3,
    augment=AugmentConfig(warp=0.02, noise_probability=0.5),
)


def train(
    examples: list[Example],
    state: Path,
    config: TrainConfig = CONFIG,
    micro_seconds: float | None = None,
    dropout: float = 0.1,
) -> tuple[dict[str, torch.Tensor], Outcome]:
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    state.mkdir(exist_ok=True)
    model = ConformerCtc(SHAPE.model_copy(update={"dropout": dropout}))
    learner = CtcLearner(model, LETTERS, config)
    train_loader = Loader(examples[:30], config, steps=model.steps, space=(2,), micro_seconds=micro_seconds)
    dev = Loader(examples[30:], config, steps=model.steps)
    freezing = Freezing.of(model, learner.module, config)
    outcome = fit(learner, train_loader, dev, config, freezing, state=state, watcher=Watcher())
    return checkpoint.weights_of(model), outcome


class PulledThePlug(BaseException):
    pass


@pytest.fixture(scope="module")
def undisturbed(
    examples: list[Example], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, torch.Tensor], Outcome]:
    return train(examples, tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("stop_after", [1, 4, 7, 11])
def test_interrupted_and_resumed_equals_uninterrupted(
    examples: list[Example],
    undisturbed: tuple[dict[str, torch.Tensor], Outcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_after: int,
) -> None:
    expected, outcome = undisturbed
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    original = loop.Trainer._update

    def stopping(self: loop.Trainer, batches: list[object]) -> None:
        if self.progressed.update >= stop_after:
            raise PulledThePlug
        original(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(PulledThePlug):
        train(examples, tmp_path / "cut")
    monkeypatch.setattr(loop.Trainer, "_update", original)
    found, again = train(examples, tmp_path / "cut")
    assert again.log == outcome.log
    assert again.chosen == outcome.chosen
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_masks_that_begin_later_begin_at_the_same_epoch_after_a_resume(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    augment = CONFIG.augment.model_copy(update={"masks_from_update": 2, "time_mask_share": 0.5, "mel_mask_bins": 40})
    config = CONFIG.model_copy(update={"augment": augment})
    expected, _ = train(examples, tmp_path / "whole", config)
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", 0.0)
    original = loop.Trainer._update

    def stopping(self: loop.Trainer, batches: list[object]) -> None:
        if self.progressed.update >= 3:
            raise PulledThePlug
        original(self, batches)  # type: ignore[arg-type]

    monkeypatch.setattr(loop.Trainer, "_update", stopping)
    with pytest.raises(PulledThePlug):
        train(examples, tmp_path / "cut", config)
    monkeypatch.setattr(loop.Trainer, "_update", original)
    found, _ = train(examples, tmp_path / "cut", config)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_another_seed_gives_other_weights(
    examples: list[Example], undisturbed: tuple[dict[str, torch.Tensor], Outcome], tmp_path: Path
) -> None:
    other, _ = train(examples, tmp_path / "other", CONFIG.model_copy(update={"seed": 2}))
    assert not torch.equal(undisturbed[0]["head.weight"], other["head.weight"])


@pytest.mark.slow
def test_it_learns(examples: list[Example], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"updates": 300, "evaluate_every": 75, "peak_lr": 3e-3, "batch_seconds": 10.0})
    _, outcome = train(examples, tmp_path / "learn", config)
    assert outcome.dev.cer < 0.2
    assert [row["update"] for row in outcome.log] == [75, 150, 225, 300]


def test_a_checkpoint_that_was_being_written_is_ignored(examples: list[Example], tmp_path: Path) -> None:
    _, outcome = train(examples, tmp_path / "state")
    half = tmp_path / "state" / "checkpoint.writing"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    _, again = train(examples, tmp_path / "state")
    assert again.log == outcome.log


def test_gradients_that_are_no_numbers_stop_the_run(
    examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(self: CtcLearner, batch: object, module: object) -> Losses:
        return Losses(self.network.head.bias.sum() * float("nan"), 1.0)  # type: ignore[union-attr, operator]

    monkeypatch.setattr(CtcLearner, "loss", nothing)
    with pytest.raises(TrainingFailed, match="not a number"):
        train(examples, tmp_path / "nan")


def test_learning_rate_warms_up_and_falls() -> None:
    config = TrainConfig(updates=100, warmup_share=0.1, peak_lr=1.0)
    rates = [learning_rate(update, config) for update in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0)
    assert rates[9:] == sorted(rates[9:], reverse=True) and rates[-1] < 0.03


def test_blank_collapse_is_told_from_a_slow_start() -> None:
    collapsed = DevReport(loss=3.0, cer=1.0, wer=1.0, blank_share=1.0, empty_share=1.0)
    config = TrainConfig(updates=1000)
    check_collapse(collapsed, Progressed(update=400), config)
    with pytest.raises(TrainingFailed, match=r"blanks.*") as caught:
        check_collapse(collapsed, Progressed(update=500), config)
    assert "peak_lr" in caught.value.next_step
    check_collapse(DevReport(1.0, 0.5, 0.9, 0.8, 0.5), Progressed(update=900), config)
    check_collapse(collapsed, Progressed(update=500), config.model_copy(update={"stop_on_blanks": False}))


def test_the_average_is_the_mean_of_the_kept(tmp_path: Path) -> None:
    progressed = Progressed()
    model = torch.nn.Linear(2, 1, bias=False)
    for update, (value, cer) in enumerate([(1.0, 0.5), (2.0, 0.3), (4.0, 0.4), (9.0, 0.9)], start=1):
        torch.nn.init.constant_(model.weight, value)
        progressed.update = update
        checkpoint.keep_candidate(tmp_path, lambda: checkpoint.weights_of(model), progressed, cer, most=2)
    assert [b.update for b in progressed.best] == [2, 3]
    assert sorted(p.name for p in tmp_path.glob("candidate-*")) == [
        "candidate-00000002.safetensors",
        "candidate-00000003.safetensors",
    ]
    assert checkpoint.average(tmp_path, [2, 3])["weight"].tolist() == [[3.0, 3.0]]


def test_utterances_without_room_for_their_labels_are_named() -> None:
    def example(name: str, seconds: float, labels: int) -> Example:
        return Example(name, "", 0.0, seconds, "x" * labels, tuple([3, 4] * labels)[:labels])

    coarse = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=6))
    fine = ConformerCtc(ConformerConfig.of_size("micro", vocabulary=6, subsampling=2))
    easy, tight = example("e", 2.0, 10), example("t", 0.4, 12)
    assert guards.infeasible([easy], coarse.steps, 40.0) == []
    assert [r.id for r in guards.infeasible([easy, tight], coarse.steps, 40.0)] == ["t"]
    rejects = guards.infeasible([easy, tight, example("x", 0.1, 30)], fine.steps, 20.0)
    assert [(r.id, r.reason) for r in rejects] == [("x", "ctc-infeasible")]
    assert "of 20 ms" in rejects[0].detail
    guards.hopeless(rejects, total=3)
    with pytest.raises(TrainingFailed, match="too short"):
        guards.hopeless(rejects, total=1)
    assert [r.id for r in guards.too_long([easy, tight], 1.0)] == ["e"] and not guards.too_long([easy], None)
    assert not guards.too_long([easy], 2.1) and guards.too_long([easy], 2.1, slowest=0.9)
    assert [r.reason for r in guards.too_long([easy, tight], None, 11)] == ["text-too-long-for-model"]


def test_another_script_in_dev_is_refused() -> None:
    def example(text: str) -> Example:
        return Example("x", "", 0.0, 1.0, text, tuple(LETTERS.encode(text)))

    assert guards.check_alphabet([example("abcabcabcabx")], LETTERS) == {"x": 1}
    with pytest.raises(TrainingFailed, match="not in the training"):
        guards.check_alphabet([example("где")], LETTERS)


def test_overfitting_guard_passes_on_tones_and_fails_on_silence(examples: list[Example], tmp_path: Path) -> None:
    def make() -> CtcLearner:
        return CtcLearner(ConformerCtc(SHAPE), LETTERS, CONFIG)

    steps = ConformerCtc(SHAPE).steps
    config = CONFIG.model_copy(update={"overfit_clips": 8, "peak_lr": 2e-3})
    reached = guards.overfit(make, examples, config, steps=steps, device="cpu")
    assert reached <= 0.5
    audio.save_flac(tmp_path / "s.flac", np.full(16_000, 1e-5, dtype="f4"))
    texts = ["abc", "cab", "bca", "aab", "ccb", "bac", "a", "b"]
    silent = [
        Example(str(n), str(tmp_path / "s.flac"), 0.0, 1.0, t, tuple(LETTERS.encode(t))) for n, t in enumerate(texts)
    ]
    with pytest.raises(TrainingFailed, match="by heart"):
        guards.overfit(make, silent, config, steps=steps, device="cpu")


def test_an_update_in_pieces_is_the_update_as_a_whole(examples: list[Example], tmp_path: Path) -> None:
    """Micro-batches bound memory and nothing else (dropout is off: its draws differ with the shape)."""
    config = CONFIG.model_copy(update={"updates": 4, "average": 1})
    whole, one = train(examples, tmp_path / "whole", config, dropout=0.0)
    pieces, other = train(examples, tmp_path / "pieces", config, micro_seconds=2.0, dropout=0.0)
    assert float(str(other.log[0]["loss"])) == pytest.approx(float(str(one.log[0]["loss"])), rel=1e-4)
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, atol=2e-4, rtol=0.0)


@pytest.mark.parametrize("schedule", ["cosine", "tri-stage", "linear", "inverse-sqrt", "constant"])
def test_every_schedule_warms_up_and_never_rises_again(schedule: str) -> None:
    config = TrainConfig.model_validate({"updates": 200, "schedule": schedule, "peak_lr": 1.0, "final_lr_share": 0.05})
    rates = [learning_rate(update, config) for update in range(200)]
    assert rates[:20] == sorted(rates[:20]) and rates[19] == pytest.approx(1.0)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    ends = {"cosine": 0.05, "tri-stage": 0.05, "linear": 0.05, "inverse-sqrt": 0.316, "constant": 1.0}
    assert rates[-1] == pytest.approx(ends[schedule], rel=0.15)
    if schedule == "tri-stage":
        assert rates[99] == 1.0 > rates[101]


def test_frozen_parts_stay_and_waiting_ones_join(examples: list[Example], tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"freeze": ("features",), "freeze_encoder_updates": 4, "evaluate_every": 12})
    torch.manual_seed(config.seed)
    before = checkpoint.weights_of(ConformerCtc(SHAPE))
    early, _ = train(examples, tmp_path / "early", config.model_copy(update={"updates": 4}))
    late, _ = train(examples, tmp_path / "late", config)
    moved = {name for name in before if not torch.equal(before[name], early[name])}
    assert moved == {"head.weight", "head.bias"}
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], late[name])}
    assert moved == {"blocks", "head"}
    kept = sorted(tmp_path.glob("late/candidate-*"))[0]
    assert kept.stat().st_size < 4 * sum(value.numel() for value in before.values())


def test_wrong_parts_to_freeze_are_named() -> None:
    network = ConformerCtc(SHAPE)
    with pytest.raises(ConfigError, match="no part 'decoder'"):
        Freezing.of(network, network, CONFIG.model_copy(update={"freeze": ("decoder",)}))
    with pytest.raises(ConfigError, match="no adapters"):
        Freezing.of(network, network, CONFIG.model_copy(update={"train_only": "adapters"}))
    with pytest.raises(ConfigError, match="language:xx"):
        DevReport(1.0, 0.5, 0.9, 0.8, 0.5, {"qu": 0.5}).selection("best")
    assert DevReport(1.0, 0.5, 0.9, 0.8, 0.5, {"qu": 0.4}).selection("language:qu") == 0.4


def test_a_run_that_stands_where_the_loss_is_no_number_can_be_read_back() -> None:
    stands = Progressed(update=3, figures={"loss": float("nan"), "features": float("inf")})
    again = Progressed.model_validate_json(stands.model_dump_json())
    assert math.isnan(again.figures["loss"]) and math.isinf(again.figures["features"]) and again.update == 3
