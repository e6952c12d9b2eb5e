"""Our own encoder-decoder holds the contract of its kind, by itself: there is no reference for it elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.core.types import Hypothesis
from orature.engines.encoder_decoder import END, EncoderDecoder
from orature.engines.encoder_decoder_family import begin, fresh, load
from orature.engines.families import Start
from orature.engines.protocol import Samples
from orature.engines.recognisers import load_recogniser
from orature.testing.checkpoints_seq2seq import encoder_decoder_folder
from orature.testing.recogniser_contract import padded
from orature.testing.seq2seq_contract import batch_of, check_batch, check_overfits, check_round_trip, labels_of
from orature.train.joint import JointLearner
from orature.train.lid import ctc_losses
from orature.train.seq2seq import Seq2SeqLearner


def hiss(samples: int, seed: int) -> Samples:
    envelope = 0.02 + 0.2 * np.abs(np.sin(np.arange(samples) / 2500.0))
    return (envelope * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def glide(pitch_hz: float, samples: int) -> Samples:
    seconds = np.arange(samples) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch_hz * seconds * (1 + 0.3 * seconds))).astype(np.float32)


CLIPS = [hiss(30_000, 0), hiss(12_345, 1), hiss(50_001, 2)]
GLIDES = [glide(300, 24_000), glide(900, 16_000)]
TEXTS = ["shuk wasi", "ẹ káàárọ̀"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_decoder_folder(tmp_path_factory.mktemp("own") / "one")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_decoder_folder(tmp_path_factory.mktemp("own") / "two", languages=("que-EC", "yor"))


def test_a_batch_equals_each_alone_whatever_lies_in_the_padding(folder: Path) -> None:
    check_batch(folder, CLIPS, "one two")
    network, _ = load(folder)
    with torch.no_grad():
        both = network.both(*padded(CLIPS, 999), torch.full((3, 4), 5))
        for row, clip in enumerate(CLIPS):
            alone = network.both(*padded([clip]), torch.full((1, 4), 5))
            steps = int(alone[2])
            assert int(both[2][row]) == steps
            assert (both[1][row, :steps] - alone[1][0, :steps]).abs().max() < 2e-5


def test_learns_two_utterances_by_heart_and_comes_back(several: Path, tmp_path: Path) -> None:
    start = Start(language="que-EC,yor")
    network, tokens = check_overfits(several, GLIDES, TEXTS, start, languages=["que-EC", "yor"])
    check_round_trip(several, network, tokens, GLIDES[0], TEXTS[0], tmp_path / "saved", "que-EC")
    heard = load_recogniser(tmp_path / "saved", language="yor").transcribe([GLIDES[1]])[0]
    assert isinstance(heard, Hypothesis) and heard.text == TEXTS[1]


def slow_scores(network: EncoderDecoder, clip: Samples, prompt: list[int], tokens: list[int]) -> list[float]:
    """Log-probabilities of `tokens` after `prompt` by teacher forcing, without a cache."""
    labels_1L = torch.tensor([[*prompt[1:], *tokens]])
    with torch.no_grad():
        logs_LV = network(*padded([clip]), labels_1L)[0].log_softmax(dim=-1)[len(prompt) - 1 :]
    return [float(logs_LV[place, token]) for place, token in enumerate(tokens)]


@pytest.mark.parametrize("beams", [1, 4])
def test_the_search_scores_as_teacher_forcing_does_alone_and_in_a_batch(several: Path, beams: int) -> None:
    network, tokens = load(several)
    prompt = tokens.prompt("yor")
    how = {"beams": beams, "n_best": beams, "max_tokens": 12}
    together = network.generate(*padded(CLIPS, 500), prompt, **how)
    for clip, written in zip(CLIPS, together, strict=True):
        alone = network.generate(*padded([clip]), prompt, **how)[0]
        assert [one.tokens for one in alone] == [one.tokens for one in written]
        for one in alone:
            wanted = slow_scores(network, clip, prompt, list(one.tokens))
            assert np.allclose(one.log_probabilities, wanted, atol=1e-4)
            assert not {*one.tokens} & {0, 1, 2, *tokens.language_tokens().values()}


def test_a_beam_that_holds_everything_finds_the_best_of_all_texts(tmp_path: Path) -> None:
    """Three letters, at most three tokens: every text is scored by hand."""
    network, tokens = load(encoder_decoder_folder(tmp_path / "few", texts=["ab"], seed=3))
    letters = [number for number in range(len(tokens)) if tokens.piece(number)]
    ranked: list[tuple[float, tuple[int, ...]]] = []
    for length in range(3):
        for text in itertools.product(letters, repeat=length):
            total = sum(slow_scores(network, CLIPS[1], tokens.prompt(), [*text, END]))
            ranked.append((total / (length + 1) ** 0.6, text))
    for text in itertools.product(letters, repeat=3):
        ranked.append((sum(slow_scores(network, CLIPS[1], tokens.prompt(), [*text])) / 3**0.6, text))
    how = {"beams": 40, "n_best": 1, "max_tokens": 3, "length_penalty": 0.6}
    best = network.generate(*padded([CLIPS[1]]), tokens.prompt(), **how)[0][0]
    score, text = max(ranked)
    assert best.tokens == text and abs(best.score - score) < 1e-4


def test_the_joint_loss_is_the_weighted_sum_of_both_and_reaches_both_heads(folder: Path) -> None:
    network, tokens = load(folder)
    network.eval()
    batch = batch_of(tokens, GLIDES, ["one two", "fox"], ["und", "und"])
    attention = Seq2SeqLearner(network, tokens, label_smoothing=0.1).loss(batch)
    with torch.no_grad():
        _, ctc_BTV, steps_B = network.both(batch.samples_BS, batch.lengths_B, torch.tensor([[5], [5]]))
    ctc = float(ctc_losses(ctc_BTV, steps_B, batch, tokens.blank).sum())
    assert ctc > 0
    for weight in (0.0, 0.3, 1.0):
        learner = JointLearner(network, tokens, ctc_weight=weight, label_smoothing=0.1)
        losses = learner.loss(batch)
        wanted = (1 - weight) * float(attention.total.detach()) + weight * ctc
        assert abs(float(losses.total.detach()) - wanted) < 1e-2 and losses.weight == attention.weight
        network.zero_grad()
        torch.autograd.backward(losses.total)
        moved = network.encoder.head.weight.grad
        assert (moved is not None and bool(moved.abs().sum() > 0)) == (weight > 0)


def test_parts_hold_every_parameter_once(folder: Path) -> None:
    network, _ = load(folder)
    listed = [id(parameter) for part in network.parts().values() for parameter in part]
    assert sorted(listed) == sorted(id(parameter) for parameter in network.parameters())
    assert set(network.parts()) == {"features", "encoder", "decoder", "head"}


def test_masks_come_from_the_caller_alone(folder: Path) -> None:
    network, tokens = load(folder)
    labels_1L = labels_of(tokens, "one", None)
    spans = (torch.tensor([[[20, 90]]]), torch.tensor([[[0, 40]]]))
    empty = (torch.tensor([[[0, 0]]]), torch.tensor([[[3, 3]]]))
    with torch.no_grad():
        plain, masked, again, none = (
            network(*padded([CLIPS[0]]), labels_1L, each) for each in (None, spans, spans, empty)
        )
    assert torch.equal(masked, again) and torch.equal(plain, none) and not torch.equal(plain, masked)


def test_a_language_token_chooses_what_is_written(several: Path, folder: Path) -> None:
    network, tokens = load(several)
    assert tokens.prompt("que-EC") != tokens.prompt("yor") and len(tokens.prompt("yor")) == 2
    assert tokens.prompt("yo-NG") == tokens.prompt("yor"), "any spelling of the tag will do"
    with torch.no_grad():
        one, other = (network(*padded([CLIPS[0]]), labels_of(tokens, "fox", tag)) for tag in ("que-EC", "yor"))
    assert (one[0, 1:] - other[0, 1:]).abs().max() > 1e-3
    with pytest.raises(ModelError, match="no token for the language 'sw'") as caught:
        load(several, language="sw")
    assert "yor" in caught.value.next_step
    with pytest.raises(ModelError, match="none was named"):
        tokens.prompt()
    assert load(folder, language="sw")[1].prompt("sw") == load(folder)[1].prompt(), "one language needs no token"


def test_wishes_and_folders_that_cannot_be_are_refused(folder: Path, tmp_path: Path) -> None:
    for start, said in (
        (Start(adapters=True), "no adapters"),
        (Start(overrides={"dropot": 0.0}), "no dropot to override"),
        (Start(overrides={"decoder_layers": 3}), "has 1 layers"),
        (Start(head="keep", language="que-EC,yor"), "writes one language"),
    ):
        with pytest.raises(ModelError, match=said) as caught:
            begin(folder, TEXTS, start)
        assert caught.value.next_step
    broken = encoder_decoder_folder(tmp_path / "broken")
    (broken / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ModelError, match="begin with <pad>"):
        load(broken)
    (broken / "vocab.json").unlink()
    with pytest.raises(ModelError, match="vocabulary cannot be read"):
        load(broken)


def test_equal_seeds_draw_equal_networks() -> None:
    made = []
    for _ in range(2):
        torch.manual_seed(4)
        made.append(fresh(["ab"], "micro")[0].state_dict())
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
