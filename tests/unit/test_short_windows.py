"""Whisper with windows that are little longer than each recording: what is computed is what a checkpoint with that
window gives, batches give what each recording gives alone, and the folder says how it was trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from orature.core.errors import ConfigError
from orature.core.types import RATE_HZ, Hypothesis
from orature.engines import whisper
from orature.engines.export import export_folder
from orature.engines.families import Start
from orature.engines.recognisers import load_recogniser
from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser
from orature.engines.windows import Windows
from orature.testing.checkpoints_seq2seq import whisper_folder
from orature.testing.recogniser_contract import padded
from orature.testing.seq2seq_contract import check_batch, check_overfits, check_round_trip, check_search
from tests.contracts.test_seq2seq_families import TEXTS, glide, hiss

CLIPS = [hiss(60_000, 0), hiss(24_000, 1), hiss(7_000, 2), hiss(23_500, 3)]
LABELS_1L = torch.tensor([[3, 5, 7, 2]])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper_folder(tmp_path_factory.mktemp("windows") / "whisper")


@pytest.fixture(scope="module")
def short(whole: Path) -> Path:
    return with_config(whole, whole.with_name("short"), short_windows=True)


def with_config(source: Path, to: Path, **fields: Any) -> Path:
    shutil.copytree(source, to)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps(config | fields))
    return to


def cut_to(source: Path, to: Path, seconds: int) -> Path:
    """The same checkpoint with a window of `seconds`."""
    with_config(source, to, max_source_positions=50 * seconds)
    extractor = json.loads((to / "preprocessor_config.json").read_text())
    (to / "preprocessor_config.json").write_text(json.dumps(extractor | {"chunk_length": seconds}))
    weights = load_file(to / "model.safetensors")
    name = "model.encoder.embed_positions.weight"
    save_file(weights | {name: weights[name][: 50 * seconds].clone()}, to / "model.safetensors", {"format": "pt"})
    return to


def test_a_window_is_whole_seconds_with_half_a_second_of_silence() -> None:
    windows = Windows(30.0, short=True)
    second = RATE_HZ
    lengths = [1, second // 2, second // 2 + 1, 3 * second, 29 * second + 1, 30 * second, 31 * second]
    assert [windows.of(length) / second for length in lengths] == [1, 1, 2, 4, 30, 30, 30]
    assert windows.grouped([40_000, 100, 39_000, 7_000]) == {second: [1, 3], 3 * second: [0, 2]}
    assert {Windows(30.0).of(length) for length in lengths} == {30 * second}
    assert Windows(30.0).grouped([5, 400_000]) == {30 * second: [0, 1]}


@torch.no_grad()
def test_a_short_window_gives_what_a_checkpoint_with_that_window_gives(
    whole: Path, short: Path, tmp_path: Path
) -> None:
    network, vocabulary = whisper.load(short)
    for clip, seconds in zip(CLIPS, (4, 2, 1, 2), strict=True):
        reference, _ = whisper.load(cut_to(whole, tmp_path / f"{len(clip)}", seconds))
        assert reference.max_seconds == seconds and not reference.windows.short
        given = padded([clip])
        assert (network(*given, LABELS_1L) - reference(*given, LABELS_1L)).abs().max() < 1e-5
        how: dict[str, Any] = {"beams": 3, "n_best": 3, "max_tokens": 12}
        ours, theirs = (one.generate(*given, vocabulary.prompt("yo"), **how)[0] for one in (network, reference))
        assert [one.tokens for one in ours] == [one.tokens for one in theirs]


def test_the_cut_checkpoint_itself_equals_transformers(whole: Path, tmp_path: Path) -> None:
    check_search(cut_to(whole, tmp_path / "two", 2), [CLIPS[1], CLIPS[3]], beams=3, language="yo")


@torch.no_grad()
def test_a_batch_of_several_windows_gives_what_each_recording_gives_alone(short: Path) -> None:
    check_batch(short, CLIPS, "one two", language="yo")
    network, vocabulary = whisper.load(short)
    assert len(network.windows.grouped([len(clip) for clip in CLIPS])) == 3
    start, choices = vocabulary.prompt("yo")[0], list(vocabulary.language_tokens().values())
    together = network.generate(*padded(CLIPS), vocabulary.prompt("yo"), max_tokens=12)
    found = network.detect(*padded(CLIPS), start, choices)
    spans = tuple(torch.randint(5, 50, (len(CLIPS), 1, 1)) + torch.tensor([[0, 9]]) for _ in range(2))
    masked_BLV = network(*padded(CLIPS), LABELS_1L.repeat(4, 1), spans)
    for row, clip in enumerate(CLIPS):
        alone = network.generate(*padded([clip]), vocabulary.prompt("yo"), max_tokens=12)[0][0]
        assert alone.tokens == together[row][0].tokens and abs(alone.score - together[row][0].score) < 1e-5
        assert network.detect(*padded([clip]), start, choices) == [found[row]]
        own = (spans[0][row : row + 1], spans[1][row : row + 1])
        assert (network(*padded([clip]), LABELS_1L, own)[0] - masked_BLV[row]).abs().max() < 1e-5


def test_the_folder_says_that_windows_are_short_and_only_then(whole: Path, tmp_path: Path) -> None:
    for wanted in (False, True):
        start = Start(head="keep", overrides={"short_windows": wanted})
        network, vocabulary = whisper.begin(whole, ["one"], start)
        check_round_trip(whole, network, vocabulary, CLIPS[0], "one", tmp_path / str(wanted), "yo")
        config = json.loads((tmp_path / str(wanted) / "config.json").read_text())
        assert config.get("short_windows") is (True if wanted else None)
        assert whisper.load(tmp_path / str(wanted))[0].windows.short is wanted
    back = whisper.begin(tmp_path / "True", ["one"], Start(head="keep", overrides={"short_windows": False}))[0]
    assert not back.windows.short
    kept = whisper.begin(tmp_path / "True", ["one"], Start(head="keep"))[0]
    assert kept.windows.short, "a model goes on as it was trained"
    with pytest.raises(ConfigError, match="short_windows"):
        whisper.begin(whole, ["one"], Start(overrides={"short_windows": 1}))


def test_it_learns_in_short_windows_and_exports(whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2")
    start = Start(language="que-EC,yor", overrides={"short_windows": True})
    recordings = [glide(300, 24_000), glide(900, 40_000)]
    network, vocabulary = check_overfits(whole, recordings, TEXTS, start, languages=["que-EC", "yor"])
    check_round_trip(whole, network, vocabulary, recordings[0], TEXTS[0], tmp_path / "m", "que-EC")
    export_folder(tmp_path / "m", tmp_path / "fast", "ctranslate2", language="yor")
    for folder in ("m", "fast"):
        heard = load_recogniser(tmp_path / folder, language="yor").transcribe(recordings[::-1])
        assert isinstance(heard[0], Hypothesis) and heard[0].text == TEXTS[1], folder
    ours, theirs = (load_recogniser(tmp_path / one, language="yor").network for one in ("m", "fast"))
    assert theirs.windows == ours.windows == Windows(4.0, short=True)
    prompt = load_recogniser(tmp_path / "m", language="yor").vocabulary.prompt("yor")
    clips = [*recordings, glide(900, 23_000), *CLIPS]
    tokens = [[best[0].tokens for best in one.generate(*padded(clips), prompt)] for one in (ours, theirs)]
    assert tokens[0] == tokens[1] and tokens[0][0] != tokens[0][2], "two texts from one window"


def test_many_short_clips_share_a_batch(whole: Path, short: Path) -> None:
    clips = [(0, hiss(RATE_HZ, number)) for number in range(60)]
    for folder, batches in ((whole, 2), (short, 1)):
        recogniser = load_recogniser(folder, language="yo")
        assert isinstance(recogniser, Seq2SeqRecogniser)
        assert len(recogniser._batches(range(60), clips)) == batches
