"""Masked prediction: codes, masks, what enters the loss, what is kept of the start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F
from untranscribed import PHONES, phone_model, turns

from orature.core.errors import ConfigError
from orature.core.types import RATE_HZ
from orature.data.audio import save_flac
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.train.config import AugmentConfig, TrainConfig
from orature.train.job import Job
from orature.train.loader import Batch, Example, Loader, halves
from orature.train.masked import MaskedLearner, MaskedReport, Quantiser, divergence, stacked
from orature.train.masked_config import MaskedConfig

CONFIG = MaskedConfig(codes=32)
BARE = TrainConfig(augment=AugmentConfig(speeds=(1.0,), warp=0.0, noise_probability=0.0, gain_db=0.0))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[Example]:
    folder, made = tmp_path_factory.mktemp("turns"), []
    for number in range(6):
        samples = turns(number, 2.0 + 0.15 * number)
        save_flac(folder / f"{number}.flac", samples)
        made.append(Example(str(number), str(folder / f"{number}.flac"), 0.0, len(samples) / RATE_HZ, "", ()))
    return made


def loader(examples: list[Example], config: MaskedConfig = CONFIG) -> Loader:
    return Loader(examples, config.applied(BARE))


def learner(config: MaskedConfig = CONFIG, *, seed: int = 1, **shape: object) -> MaskedLearner:
    torch.manual_seed(3)
    fields = {"dropout": 0.0, **shape}
    network, teacher = (
        ConformerCtc(ConformerConfig.of_size("micro", vocabulary=len(PHONES), **fields))  # type: ignore[arg-type]
        for _ in range(2)
    )
    return MaskedLearner(network, PHONES, teacher, config, seed)


def batch_of(examples: list[Example], epoch: int = 0) -> Batch:
    found = loader(examples)
    return found.build(found.plan(epoch)[0], epoch, augment=True, masks=True)


def test_the_quantiser_takes_the_nearest_code_by_direction_and_is_never_trained() -> None:
    quantiser = Quantiser(320, MaskedConfig(codes=50), seed=4)
    rows = torch.randn(200, 320)
    projected = F.normalize(rows @ quantiser.matrix_XW, dim=-1)
    apart = (projected[:, None] - quantiser.codes_CW[None]).square().sum(dim=-1)
    assert torch.equal(quantiser(rows), apart.argmin(dim=-1))
    assert torch.equal(quantiser(5.0 * rows), quantiser(rows)), "only the direction counts"
    assert torch.allclose(quantiser.codes_CW.norm(dim=-1), torch.ones(50))
    assert float(quantiser.matrix_XW.abs().max()) <= (6 / 336) ** 0.5
    assert not list(quantiser.parameters()) and not quantiser.state_dict(), "it follows from the seed"
    same, other = Quantiser(320, MaskedConfig(codes=50), seed=4), Quantiser(320, MaskedConfig(codes=50), seed=5)
    assert torch.equal(same(rows), quantiser(rows)) and not torch.equal(other(rows), quantiser(rows))
    assert len(set(quantiser(rows).tolist())) > 25, "random rows spread over the codes"
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quantiser(rows), same(rows)), "the same targets in every precision"


def test_frames_are_stacked_as_the_steps_of_the_network_lie() -> None:
    frames = torch.arange(7.0)[None, :, None]
    assert stacked(frames, 4).flatten(2).tolist() == [[[0, 1, 2, 3], [4, 5, 6, 0]]]


@pytest.mark.parametrize("subsampling", [2, 4])
def test_only_steps_of_which_nothing_was_heard_are_predicted(examples: list[Example], subsampling: int) -> None:
    found, batch = learner(subsampling=subsampling), batch_of(examples)
    said = found.task(*found.arguments(batch), True)
    assert batch.spans is not None
    for row, (spans, length) in enumerate(zip(batch.spans[0].tolist(), batch.lengths_B.tolist(), strict=True)):
        masked = np.zeros(1 + (length - 400) // 160, bool)
        for first, past in spans:
            masked[first:past] = True
        whole = len(masked) // subsampling
        wanted = masked[: whole * subsampling].reshape(whole, subsampling).all(axis=1)
        assert said.masked_BU[row, :whole].tolist() == wanted.tolist()
        assert not said.masked_BU[row, whole:].any(), "no step beyond the recording, nor one that is cut off"
        assert 0.1 < wanted.mean() < 0.7
    assert len(said.codes_N) == len(said.logits_NC) == int(said.masked_BU.sum())


def test_targets_are_the_codes_of_the_clean_normalised_features(examples: list[Example]) -> None:
    found, batch = learner(normalisation="mean"), batch_of(examples)
    said = found.task(*found.arguments(batch), False)
    features, frames = found.network.log_mel(batch.samples_BS, batch.lengths_B)
    row = 0
    own = features[row, : int(frames[row])]
    own = (own - own.mean(dim=0)) / (own.std(dim=0, correction=0) + 0.1)
    steps = len(own) // 4
    codes = found.task.quantiser(own[: 4 * steps].reshape(steps, -1))
    expected = codes[said.masked_BU[row, :steps]]
    assert torch.equal(said.codes_N[: len(expected)], expected)


def test_what_was_masked_is_not_heard_and_all_else_is(examples: list[Example]) -> None:
    found, batch = learner(replace_noise(CONFIG)), batch_of(examples)
    found.module.eval()
    samples, lengths, _, spans, noise = found.arguments(batch)
    logits = found.task(samples, lengths, None, spans, noise, False).logits_NC
    own = [tuple(span) for span in spans[0].tolist() if span[1] > span[0]]
    first, past = own[0]
    middle = slice(160 * (first + 3), 160 * (past - 5))
    louder = samples.clone()
    louder[0, middle] += 0.3 * torch.randn(louder[0, middle].shape)
    features = found.network.log_mel(louder, lengths)[0]
    network_features = found.network.features
    before = network_features(samples, lengths)
    changed = before[0].clone()
    changed[0, first:past] = features[0, first:past]
    found.network.features = lambda *_: (changed, before[1])  # type: ignore[method-assign]
    assert torch.allclose(found.task(samples, lengths, None, spans, noise, False).logits_NC, logits, atol=1e-5)
    outside = min(place for place in range(own[0][0]) if all(not a <= place < b for a, b in own))
    changed[0, outside] += 3.0
    assert not torch.allclose(found.task(samples, lengths, None, spans, noise, False).logits_NC, logits, atol=1e-3)


def replace_noise(config: MaskedConfig) -> MaskedConfig:
    return config.model_copy(update={"noise": 0.5})


def test_noise_has_the_deviation_that_is_asked_for_and_lies_in_the_masks_alone(examples: list[Example]) -> None:
    found, batch = learner(), batch_of(examples)
    *_, spans, noise = found.arguments(batch)
    inside = torch.cat([noise[row, a:b].flatten() for row, own in enumerate(spans.tolist()) for a, b in own])
    assert abs(float(inside.std()) - 0.1) < 0.002 and abs(float(inside.mean())) < 0.002
    frames = torch.arange(noise.shape[1])
    masked = ((frames >= spans[..., :1]) & (frames < spans[..., 1:])).any(dim=1)
    assert float(noise[~masked].abs().max()) == 0.0


def test_draws_follow_from_seed_epoch_and_utterance_alone(examples: list[Example]) -> None:
    found, items = learner(), loader(examples).plan(0)[0]

    def drawn(order: list[int], epoch: int, seed: int = 1) -> dict[int, tuple[list[list[int]], float]]:
        config = CONFIG.applied(BARE).model_copy(update={"seed": seed})
        batch = Loader(examples, config).build([items[place] for place in order], epoch, augment=True, masks=True)
        *_, spans, noise = found.arguments(batch)
        return {
            item.index: ([span for span in own.tolist() if span[1]], float(row.sum()))
            for item, own, row in zip(batch.items, spans, noise, strict=True)
        }

    whole = drawn([0, 1, 2, 3, 4, 5], 0)
    for index, (spans, total) in drawn([4, 1], 0).items():
        assert whole[index][0] == spans and whole[index][1] == pytest.approx(total, abs=1e-3)
    assert all(drawn([0, 1], 1)[index][0] != whole[index][0] for index in drawn([0, 1], 1))
    assert all(drawn([0, 1], 0, seed=2)[index][0] != whole[index][0] for index in drawn([0, 1], 0))
    torch.manual_seed(1)
    np.random.seed(1)
    assert drawn([0, 1, 2, 3, 4, 5], 0) == whole, "no global generator takes part"


def test_dev_is_masked_alike_each_time(examples: list[Example]) -> None:
    found, dev = learner(), loader(examples)
    first = found.assess(dev, batch_seconds=20.0).report()
    again = found.assess(dev, batch_seconds=20.0).report()
    one_by_one = found.assess(dev, batch_seconds=0.1).report()
    assert isinstance(first, MaskedReport) and isinstance(one_by_one, MaskedReport)
    assert first == again
    assert first.loss == pytest.approx(one_by_one.loss, abs=1e-4) and first.chance == one_by_one.chance
    parts = [found.assess(dev, batch_seconds=4.0, part=(part, 2)) for part in range(2)]
    parts[0].merge(parts[1])
    assert parts[0].report().loss == pytest.approx(first.loss, abs=1e-4)
    assert 0 < first.chance < 0.7 and 1 < first.codes_used <= 32
    assert first.selection("cer") == first.loss


def test_the_gradient_is_the_same_whatever_is_computed_at_once(examples: list[Example]) -> None:
    found, batch = learner(), batch_of(examples)

    def gradient(batches: list[Batch]) -> tuple[torch.Tensor, float]:
        found.module.zero_grad()
        weight = 0.0
        for one in batches:
            losses = found.loss(one)
            losses.total.backward()
            weight += losses.weight
        return torch.cat([p.grad.flatten() for p in found.module.parameters() if p.grad is not None]), weight

    whole, weight = gradient([batch])
    parts, other = gradient(halves(batch))
    assert weight == other > 0
    assert torch.allclose(whole, parts, atol=1e-3 * float(whole.abs().max()))


def test_divergence_is_zero_for_the_start_itself_and_counts_valid_steps_only() -> None:
    wanted, steps = torch.randn(2, 5, 4), torch.tensor([5, 2])
    assert float(divergence(wanted, wanted, steps).abs().max()) < 1e-6
    said = wanted.clone()
    said[1, 3] += torch.tensor([3.0, 0.0, 0.0, 0.0])
    assert float(divergence(said, wanted, steps).abs().max()) < 1e-6
    said[1, 1] += torch.tensor([3.0, 0.0, 0.0, 0.0])
    found = divergence(said, wanted, steps)
    p, q = wanted[1, 1].log_softmax(-1), said[1, 1].log_softmax(-1)
    assert float(found[0]) < 1e-6 and float(found[1]) == pytest.approx(float((p.exp() * (p - q)).sum() / 2), rel=1e-4)


def test_what_is_kept_weighs_as_asked(examples: list[Example]) -> None:
    batch = batch_of(examples)
    totals = {}
    for weight in (0.0, 1.0, 3.0):
        losses = learner(CONFIG.model_copy(update={"keep_weight": weight})).loss(batch)
        totals[weight] = float(losses.total.detach())
        assert ("divergence" in losses.figures) == (weight > 0)
        assert losses.figures["masked_loss"] == pytest.approx(totals[0.0], rel=1e-5)
    assert totals[3.0] - totals[0.0] == pytest.approx(3 * (totals[1.0] - totals[0.0]), rel=1e-3)
    assert totals[1.0] > totals[0.0]


def test_the_head_learns_only_where_it_is_held_to_the_start_and_the_teacher_never(tmp_path: Path) -> None:
    start = phone_model(tmp_path / "start")
    for weight in (0.0, 1.0):
        masked = CONFIG.model_copy(update={"keep_weight": weight})
        job = Job(masked.applied(BARE), (), (), start=str(start), masked=masked)
        made = job.make()
        assert isinstance(made.learner, MaskedLearner)
        trained = {id(p) for p in job.freezing(made).trained}
        heads = {id(p) for p in made.network.parts()["head"]}
        assert (heads <= trained) == (weight > 0) and heads.isdisjoint(trained) == (weight == 0)
        assert trained.isdisjoint(id(p) for p in made.learner.teacher.parameters())
        assert not made.learner.teacher.training
        assert not any("quantiser" in name or "teacher" in name for name in made.learner.module.state_dict())


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValidationError, match="would cover all"):
        MaskedConfig(mask_start=0.1)
    with pytest.raises(ConfigError, match="goes on from a Conformer"):
        Job(CONFIG.applied(replace_size(BARE)), ("ab",), (), masked=CONFIG).make()


def replace_size(config: TrainConfig) -> TrainConfig:
    return config.model_copy(update={"size": "micro"})


def test_a_batch_in_halves_keeps_its_draws(examples: list[Example]) -> None:
    batch = batch_of(examples)
    first, second = halves(batch)
    assert first.draws + second.draws == batch.draws and len(batch.draws) == len(batch.items)
    assert not replace(batch, draws=[]).draws
