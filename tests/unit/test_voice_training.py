"""The loop: it learns, a run cut at any place ends as an undisturbed one, and its parts do what their names say."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orature.core.errors import TrainingFailed
from orature.testing.checkpoints_voices import vits_folder
from orature.testing.faults import in_child
from orature.train.voice import dev as dev_module
from orature.train.voice import loop
from orature.train.voice.architecture import MadeVoice, from_checkpoint
from orature.train.voice.config import PARTS, VoiceConfig
from orature.train.voice.data import VoiceExample, VoiceLoader, prepare
from orature.train.voice.folder import plain_weights
from orature.train.voice.generator import align, duration_loss, training_pass
from orature.train.voice.loop import VoiceOutcome, fit_voice
from orature.train.voice.watch import VoiceWatcher
from tests import voice_data

MICRO = voice_data.MICRO


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vits_folder(tmp_path_factory.mktemp("start"), " abcdefgh", seed=1)


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("speech")
    return [voice_data.utterance(folder, f"u{n}", text) for n, text in enumerate(voice_data.texts_of(8))]


def examples(made: MadeVoice, speech: list[Any], config: VoiceConfig) -> list[VoiceExample]:
    found = prepare(speech, made.text, made.speakers, made.shape, config)
    assert not found.rejects, found.rejects
    return found.examples


def train(
    start: Path, speech: list[Any], state: Path, config: VoiceConfig = MICRO, **more: Any
) -> tuple[MadeVoice, VoiceOutcome]:
    torch.set_num_threads(1)
    made = from_checkpoint(start, config, [])
    rows = examples(made, speech, config)
    sides = [VoiceLoader(side, made.shape, config, several=False) for side in (rows[2:], rows[:2])]
    return made, fit_voice(made, *sides, config, state=state, watcher=VoiceWatcher(), **more)


def test_two_utterances_are_learned_by_heart(start: Path, speech: list[Any], tmp_path: Path) -> None:
    config = MICRO.model_copy(update={"updates": 50, "evaluate_every": 50, "lr": 3e-3, "adversarial_from": 45})
    made = from_checkpoint(start, config, [])
    both = VoiceLoader(examples(made, speech[:2], config), made.shape, config, several=False)
    outcome = fit_voice(made, both, both, config, state=tmp_path, watcher=VoiceWatcher())
    assert outcome.dev.mel < 0.8 * outcome.start.mel
    assert outcome.dev.divergence < outcome.start.divergence
    assert outcome.log[-1]["discriminator"] > 0 and outcome.log[-1]["feature"] > 0
    assert outcome.chosen == 50 and outcome.dev.figure == pytest.approx(outcome.log[-1]["dev_figure"], abs=1e-4)


def digest(made: MadeVoice, outcome: VoiceOutcome, state: Path) -> tuple[Any, ...]:
    """Weights chosen, log, samples, and the last checkpoint with both networks and both optimisers, byte by byte."""
    files = [*sorted((state / loop.SAMPLES).glob("*.flac")), *sorted(state.glob("checkpoint-*/*"))]
    weights = {name: value.numpy().tobytes() for name, value in plain_weights(made.model).items()}
    return [path.name for path in files], [path.read_bytes() for path in files], outcome.log, outcome.chosen, weights


@pytest.fixture(scope="module")
def whole(start: Path, speech: list[Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """An undisturbed run."""
    state = tmp_path_factory.mktemp("whole")
    return digest(*train(start, speech, state), state)


def killed_at(update: int, action: Callable[[], None]) -> Callable[[], None]:
    real = loop.VoiceTrainer.update

    def cut(self: loop.VoiceTrainer, batch: Any) -> None:
        if self.progressed.update == update:
            action()
        real(self, batch)

    return lambda: setattr(loop.VoiceTrainer, "update", cut)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_and_resumed_is_as_undisturbed(
    start: Path, speech: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", -1.0)  # a checkpoint after each update
    plant = killed_at(4, die)

    def run() -> None:
        plant()
        train(start, speech, tmp_path / "cut")

    assert in_child(run) == -signal.SIGKILL
    assert list((tmp_path / "cut").glob("checkpoint-*"))
    assert digest(*train(start, speech, tmp_path / "cut"), tmp_path / "cut") == whole
    other = digest(*train(start, speech, tmp_path / "other", MICRO.model_copy(update={"seed": 2})), tmp_path / "other")
    assert other[0] == whole[0] and other[1] != whole[1], "the seed matters"


def test_interrupted_between_checkpoints_it_goes_on_from_the_last_one(
    start: Path, speech: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.VoiceTrainer, "update", loop.VoiceTrainer.update)
        killed_at(5, interrupt)()
        with pytest.raises(KeyboardInterrupt):
            train(start, speech, tmp_path / "cut")
    assert digest(*train(start, speech, tmp_path / "cut"), tmp_path / "cut") == whole


def test_a_batch_of_two_gives_what_each_gives_alone(start: Path, speech: list[Any]) -> None:
    made = from_checkpoint(start, MICRO, [])
    model = made.model.eval()
    rows = examples(made, speech, MICRO)[:3]
    loader = VoiceLoader(rows, made.shape, MICRO, several=False)
    with torch.no_grad():
        together = align(model, loader.batch(rows))
        for number, example in enumerate(rows):
            alone = align(model, loader.batch([example]))
            frames, tokens = alone.means_BCF.shape[2], alone.durations_BT.shape[1]
            assert torch.allclose(together.means_BCF[number, :, :frames], alone.means_BCF[0], atol=1e-5)
            assert torch.allclose(together.hidden_BHT[number, :, :tokens], alone.hidden_BHT[0], atol=1e-5)
            assert float(together.durations_BT[number].sum()) == frames


@pytest.mark.parametrize("stochastic", [True, False])
def test_durations_are_learned_and_do_not_move_the_text_encoder(
    tmp_path: Path, speech: list[Any], stochastic: bool
) -> None:
    start = vits_folder(tmp_path / "start", " abcdefgh", use_stochastic_duration_prediction=stochastic)
    made = from_checkpoint(start, MICRO, [])
    batch = VoiceLoader([], made.shape, MICRO, several=False).batch(examples(made, speech, MICRO)[:2])
    aligned = align(made.model, batch)
    loss = duration_loss(made.model, aligned)
    loss.backward()
    assert loss.shape == () and torch.isfinite(loss)
    assert all(p.grad is None for p in made.model.text_encoder.parameters())
    learns = [p.grad for p in made.model.duration_predictor.parameters() if p.grad is not None]
    assert learns and any(float(grad.abs().max()) > 0 for grad in learns)
    if not stochastic:
        predicted = made.model.eval().duration_predictor(aligned.hidden_BHT, aligned.token_mask_B1T)[:, 0].detach()
        wanted = [
            (float(torch.log(aligned.durations_BT[b, t])) - float(predicted[b, t])) ** 2
            for b in range(2)
            for t in range(int(batch.tokens_B[b]))
        ]
        assert float(duration_loss(made.model, aligned).detach()) == pytest.approx(np.mean(wanted), rel=1e-3)


def test_windows_are_the_same_stretch_of_both_sounds(start: Path, speech: list[Any]) -> None:
    made = from_checkpoint(start, MICRO, [])
    rows = examples(made, speech, MICRO)[:2]
    loader = VoiceLoader(rows, made.shape, MICRO, several=False)
    found = training_pass(made.model, loader.batch(rows), torch.tensor([3, 0]), window=8)
    hop = made.shape.hop
    assert found.sound_BS.shape == found.real_BS.shape == (2, 8 * hop)
    wanted = loader.samples(rows[0])[3 * hop : 11 * hop]
    assert np.array_equal(found.real_BS[0].numpy(), wanted)
    beyond = training_pass(made.model, loader.batch(rows[:1]), torch.tensor([0]), window=200)
    whole = loader.samples(rows[0])
    inside = len(whole) // hop * hop
    assert beyond.real_BS.shape == beyond.sound_BS.shape == (1, 200 * hop)
    assert np.array_equal(beyond.real_BS[0, :inside].numpy(), whole[:inside]) and not beyond.real_BS[0, inside:].any()


def after(start: Path, speech: list[Any], state: Path, **fields: Any) -> tuple[dict[str, bool], VoiceOutcome]:
    """Which parts moved in a run with these settings."""
    config = MICRO.model_copy(update={"updates": 2, "evaluate_every": 2, "patience": 9, "weight_decay": 0.0, **fields})
    before = plain_weights(from_checkpoint(start, config, []).model)
    made, outcome = train(start, speech, state, config)
    weights = plain_weights(made.model)
    if outcome.chosen == 0:
        weights = {n: v for n, v in before.items()}
        held = load_file(next(state.glob("checkpoint-*")) / "model.safetensors")
        weights |= {n: held[f"voice.{n}"] for n in weights if f"voice.{n}" in held}
    return {
        part: any(not torch.equal(weights[n], before[n]) for n in before if n.startswith(part + ".")) for part in PARTS
    }, outcome


def test_frozen_parts_stay(start: Path, speech: list[Any], tmp_path: Path) -> None:
    moved, _ = after(start, speech, tmp_path, freeze=("text_encoder", "flow"))
    assert moved["posterior_encoder"] and moved["duration_predictor"]
    assert not moved["text_encoder"] and not moved["flow"]


def test_a_missing_posterior_encoder_learns_alone_first(
    start: Path, speech: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = MadeVoice.__init__

    def lacking(self: MadeVoice, *args: Any, **values: Any) -> None:
        real(self, *args, **{**values, "lacks_posterior": True})

    monkeypatch.setattr(MadeVoice, "__init__", lacking)
    moved, outcome = after(start, speech, tmp_path / "alone", posterior_warmup=2)
    assert moved == {part: part == "posterior_encoder" for part in PARTS}
    assert "discriminator" not in outcome.log[-1]
    moved, _ = after(start, speech, tmp_path / "then", posterior_warmup=1)
    assert moved["flow"] and moved["duration_predictor"]


def test_discriminators_come_in_when_they_are_told_to(start: Path, speech: list[Any], tmp_path: Path) -> None:
    _, never = after(start, speech, tmp_path / "never", scales="none", periods=())
    _, late = after(start, speech, tmp_path / "late", adversarial_from=1)
    _, unheard = after(start, speech, tmp_path / "unheard", discriminator_warmup=5)
    assert "discriminator" not in never.log[-1]
    assert {"discriminator", "adversarial", "feature"} <= set(late.log[-1])
    assert "discriminator" in unheard.log[-1] and "adversarial" not in unheard.log[-1]


def test_a_run_that_gets_no_better_stops_and_keeps_the_best(
    start: Path, speech: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([3.0, 2.0, 5.0, 6.0, 2.0])

    def drawn(*_: Any, **__: Any) -> dev_module.VoiceReport:
        return dev_module.VoiceReport(1.0, 1.0, 1.0, 2, next(figures))

    monkeypatch.setattr(loop, "assess", drawn)
    config = MICRO.model_copy(update={"updates": 50, "evaluate_every": 1, "patience": 2})
    _, outcome = train(start, speech, tmp_path, config)
    assert outcome.updates == 3 and outcome.chosen == 1
    assert [row["dev_figure"] for row in outcome.log] == [3.0, 2.0, 5.0, 6.0]


def test_a_judge_chooses_by_what_it_hears(start: Path, speech: list[Any], tmp_path: Path) -> None:
    heard: list[int] = []

    def judge(recordings: Any) -> list[str]:
        heard.append(len(recordings))
        return ["abc"] * len(recordings) if len(heard) == 2 else [""] * len(recordings)

    _, outcome = train(start, speech, tmp_path, judge=judge)
    assert set(heard) == {2} and outcome.chosen == 3
    assert outcome.log[0]["dev_judge_cer"] == 1.0 > outcome.log[1]["dev_judge_cer"] == outcome.log[1]["dev_figure"]


def test_a_network_that_ran_away_gives_figures_that_can_be_stored(start: Path, speech: list[Any]) -> None:
    made = from_checkpoint(start, MICRO, [])
    loader = VoiceLoader(examples(made, speech, MICRO)[:1], made.shape, MICRO, several=False)
    with torch.no_grad():
        made.model.decoder.conv_post.weight.fill_(float("nan"))
    report = dev_module.assess(made.model, loader, MICRO)
    assert report.mel == 1e6 and np.isfinite(report.figure)
    spoken = dev_module.speak(made.model, loader, loader.examples[0], MICRO)
    assert np.isfinite(spoken).all() and len(spoken) > 0


def test_gradients_that_stay_infinite_end_the_run(
    start: Path, speech: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "log_mel", lambda sound, shape: sound * float("nan"))
    config = MICRO.model_copy(update={"updates": 30, "evaluate_every": 30})
    with pytest.raises(TrainingFailed, match="lr="):
        train(start, speech, tmp_path, config)
