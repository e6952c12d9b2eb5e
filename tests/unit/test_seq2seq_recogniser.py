"""The recogniser of encoder-decoders: windows, silence, loops, languages; and what the learner counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from orature.core.errors import TrainingFailed
from orature.core.types import Hypothesis, Refusal
from orature.engines import speech2text, whisper
from orature.engines.protocol import Recogniser, Samples
from orature.engines.recognisers import load_recogniser
from orature.engines.seq2seq_recogniser import LOOPING, Seq2SeqRecogniser, cut_at_quiet, joined, repeats
from orature.testing.checkpoints_seq2seq import speech2text_folder, whisper_folder
from orature.testing.seq2seq_contract import batch_of
from orature.train.loader import Batch, Example, Loader
from orature.train.seq2seq import IGNORED, Seq2SeqLearner


def hiss(samples: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper_folder(tmp_path_factory.mktemp("whisper") / "micro")


def texts(outcomes: list[Hypothesis | Refusal]) -> list[str]:
    return [outcome.text if isinstance(outcome, Hypothesis) else outcome.reason for outcome in outcomes]


def test_long_recordings_are_cut_where_it_is_quiet() -> None:
    samples = hiss(16_000 * 70)
    for quiet_s in (24.0, 50.0):
        samples[int(quiet_s * 16_000) - 2_000 : int(quiet_s * 16_000) + 2_000] *= 0.01
    pieces = cut_at_quiet(samples, 30.0)
    assert np.array_equal(np.concatenate(pieces), samples)
    assert abs(len(pieces[0]) / 16_000 - 24.0) < 0.1
    assert abs((len(pieces[0]) + len(pieces[1])) / 16_000 - 50.0) < 0.1
    assert all(len(piece) <= 30 * 16_000 for piece in pieces)
    assert [len(piece) for piece in cut_at_quiet(samples, None)] == [len(samples)]
    assert len(cut_at_quiet(samples[: 30 * 16_000], 30.0)) == 1
    shorter = cut_at_quiet(hiss(20_000), 0.1)
    assert sum(map(len, shorter)) == 20_000 and max(map(len, shorter)) <= 1_600


def test_windows_are_joined_and_batches_change_nothing(folder: Path) -> None:
    recogniser = load_recogniser(folder, language="yo")
    assert isinstance(recogniser, Recogniser)
    recordings = [hiss(100_000), hiss(9_000, 1), hiss(150_000, 2), hiss(40_000, 3)]
    together = recogniser.transcribe(recordings)
    alone = [recogniser.transcribe([samples])[0] for samples in recordings]
    assert texts(together) == texts(alone)
    parts = texts(recogniser.transcribe(cut_at_quiet(recordings[0], 4.0)))
    assert len(parts) == 2 and texts(together)[0] == " ".join(parts)


def test_silence_is_empty_and_what_is_no_audio_is_refused(folder: Path) -> None:
    recogniser = load_recogniser(folder, language="en")
    silence = np.zeros(100_000, dtype=np.float32)
    odd = [silence, np.zeros(0, np.float32), np.full(400, np.nan, np.float32), np.zeros((4, 2), np.float32), hiss(3)]
    outcomes = recogniser.transcribe(odd)
    assert texts(outcomes)[:4] == ["", "audio-empty", "audio-nan", "audio-shape"]
    assert isinstance(outcomes[4], Hypothesis)
    assert recogniser.transcribe([]) == []


def test_silence_is_never_given_to_the_decoder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary = whisper.load(folder, language="en")
    given: list[int] = []
    generate = network.generate

    def counted(samples_BS: torch.Tensor, lengths_B: torch.Tensor, prompt: list[int], **how: Any) -> Any:
        given.extend(lengths_B.tolist())
        return generate(samples_BS, lengths_B, prompt, **how)

    monkeypatch.setattr(network, "generate", counted)
    silence = np.zeros(20_000, dtype=np.float32)
    faint = np.where(np.arange(20_000) % 2, 1.0, -1.0).astype(np.float32) / np.float32(32768.0)
    half = np.concatenate([hiss(30_000), np.zeros(70_000, dtype=np.float32)])
    Seq2SeqRecogniser(network, vocabulary, {}).transcribe([silence, faint, half, hiss(9_000)])
    assert len(given) == 2 and min(given) == 9_000


def test_loops_are_marked() -> None:
    assert repeats("a b " * 40, [])
    assert repeats("x", [7] * 6) and repeats("x", [9, 9, 4, 5, 6] + [1, 2, 3] * 4)
    assert not repeats("the quick brown fox jumps over the lazy dog and then sleeps all day", list(range(20)))
    assert not repeats("no no no", [5, 5, 5])
    loop = joined([[Hypothesis("fine", score=-0.1)], [Hypothesis("la la", score=LOOPING)]])[0]
    assert loop.text == "fine la la" and loop.score == LOOPING
    assert joined([]) == [Hypothesis("")]


def test_n_best_is_ranked(folder: Path) -> None:
    network, vocabulary = whisper.load(folder, language="sw")
    recogniser = Seq2SeqRecogniser(network, vocabulary, {"licence": "mit"}, beams=4, alternatives=3)
    best = recogniser.n_best([hiss(20_000), hiss(100_000)], 3)
    assert [len(rank) for rank in best if isinstance(rank, list)] == [3, 3]
    first = recogniser.transcribe([hiss(20_000)])[0]
    assert isinstance(best[0], list) and isinstance(first, Hypothesis)
    assert best[0][0].text == first.text == first.alternatives[0].text and len(first.alternatives) == 3
    assert recogniser.card.licence == "mit" and first.words == ()


def test_without_a_language_whisper_listens_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, vocabulary = whisper.load(folder)
    with torch.no_grad():  # make this network hear Swahili
        swahili = vocabulary.language_tokens()["sw"]
        network.model.get_input_embeddings().weight[swahili] *= 0
        hidden = _first_hidden(network, vocabulary)
        network.model.get_input_embeddings().weight[swahili] = 10 * hidden
    prompts: list[list[int]] = []
    generate = network.generate

    def recorded(samples_BS: torch.Tensor, lengths_B: torch.Tensor, prompt: list[int], **how: Any) -> Any:
        prompts.extend([prompt] * len(samples_BS))
        return generate(samples_BS, lengths_B, prompt, **how)

    monkeypatch.setattr(network, "generate", recorded)
    recordings = [hiss(20_000), hiss(100_000, 1)]
    Seq2SeqRecogniser(network, vocabulary, {}).transcribe(recordings)
    assert prompts == [vocabulary.prompt("sw")] * 3
    Seq2SeqRecogniser(network, vocabulary, {}, language="eng").transcribe(recordings)
    assert prompts[3:] == [vocabulary.prompt("en")] * 3


def _first_hidden(network: whisper.WhisperNet, vocabulary: object) -> torch.Tensor:
    samples_BS = torch.from_numpy(hiss(20_000))[None]
    encoder_BTD, _ = network.encode(samples_BS, torch.tensor([20_000]))
    start = torch.tensor([[network.model.config.decoder_start_token_id]])
    out = network.model.model.decoder(input_ids=start, encoder_hidden_states=encoder_BTD)
    hidden: torch.Tensor = out.last_hidden_state[0, -1]
    return hidden


CLIPS = [hiss(20_000), hiss(9_000, 1)]
SAID = ["one two", "ñuka"]


def test_the_learner_counts_texts_and_ends_only(folder: Path) -> None:
    network, vocabulary = whisper.load(folder)
    learner = Seq2SeqLearner(network, vocabulary, label_smoothing=0.0, language="yo")
    batch = batch_of(vocabulary, CLIPS, SAID, ["und", "swh"])
    labels_BL, learned_BL = learner.labels(batch)
    assert labels_BL[0, :3].tolist() == vocabulary.prompt("yo")[1:]
    assert labels_BL[1, :3].tolist() == vocabulary.prompt("sw")[1:]
    assert (learned_BL[:, :3] == IGNORED).all()
    tokens = [*vocabulary.encode("ñuka"), vocabulary.end]
    assert [token for token in learned_BL[1].tolist() if token != IGNORED] == tokens
    with torch.no_grad():
        losses = learner.loss(batch)
        assert losses.weight == int(batch.target_lengths_B.sum()) + 2
        halves = [
            learner.loss(batch_of(vocabulary, [clip], [text], [code]))
            for clip, text, code in zip(CLIPS, SAID, ["yo", "sw"], strict=True)
        ]
        assert float(losses.total) == pytest.approx(sum(float(half.total) for half in halves), rel=1e-5)
        smooth = Seq2SeqLearner(network, vocabulary, label_smoothing=0.1, language="yo").loss(batch)
        logits_BLV = network(batch.samples_BS, batch.lengths_B, labels_BL).log_softmax(dim=-1)
        spread = -logits_BLV.mean(dim=-1)[learned_BL != IGNORED].sum()
        assert float(smooth.total) == pytest.approx(float(0.9 * losses.total + 0.1 * spread), rel=1e-5)
    alone = [
        network.generate(torch.from_numpy(clip)[None], torch.tensor([len(clip)]), vocabulary.prompt(code))[0][0]
        for clip, code in zip(CLIPS, ["yo", "sw"], strict=True)
    ]
    assert learner.heard(batch) == [vocabulary.decode(best.tokens) for best in alone]


def test_assessment_is_of_targets_without_smoothing_and_leaves_the_mode(folder: Path) -> None:
    network, vocabulary = whisper.load(folder)
    learner = Seq2SeqLearner(network, vocabulary, label_smoothing=0.3)
    batch = batch_of(vocabulary, CLIPS, SAID, ["yo", "sw"])

    class FewExamples:
        """A loader of one batch."""

        examples = [
            Example("a", "", 0.0, 1.25, SAID[0], (), language="yo"),
            Example("b", "", 0.0, 0.6, SAID[1], (), language="sw", role="rehearsal"),
        ]

        def plain(self, batch_seconds: float, part: tuple[int, int]) -> list[Batch]:
            return [batch]

    network.train()
    tally = learner.assess(cast(Loader, FewExamples()), batch_seconds=10.0)
    assert network.training
    network.eval()
    with torch.no_grad():
        first = Seq2SeqLearner(network, vocabulary, label_smoothing=0.0).loss(
            batch_of(vocabulary, CLIPS[:1], SAID[:1], ["yo"])
        )
    assert tally.losses == pytest.approx(float(first.total), rel=1e-5) and tally.weights == first.weight
    report = tally.report()
    assert set(report.languages) == {"yo", "sw"} and report.guards == ("sw",)


def test_texts_that_the_decoder_has_no_room_for_are_named(folder: Path) -> None:
    network, vocabulary = whisper.load(folder, language="en")
    batch = batch_of(vocabulary, [hiss(9_000)], ["zx " * 60], ["en"])
    with pytest.raises(TrainingFailed, match="room for 95"):
        Seq2SeqLearner(network, vocabulary).loss(batch)


def test_a_recording_of_one_frame_and_of_too_much(tmp_path: Path) -> None:
    network, vocabulary = speech2text.load(speech2text_folder(tmp_path / "s2t", max_source_positions=200))
    assert network.max_seconds == 2.0
    outcomes = Seq2SeqRecogniser(network, vocabulary, {}).transcribe([hiss(1), hiss(300), hiss(100_000)])
    assert all(isinstance(outcome, Hypothesis) for outcome in outcomes)
