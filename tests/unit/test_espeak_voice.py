"""espeak-ng as a voice: languages and their neighbours, speakers that differ, and what rate, pitch and range do."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from speech_samples import reading, sentences, text_corpus

import orature.engines as engines
from orature.core.errors import ConfigError
from orature.core.types import Refusal
from orature.data.audio import resampled
from orature.data.corpus import Corpus
from orature.engines.espeak_languages import Readings
from orature.engines.espeak_pipe import SILENT
from orature.engines.espeak_voice import EspeakSpeech, excluded_speakers
from orature.engines.voice import Speech, SpeechRequest, Voice
from orature.engines.voices import open_voice
from orature.evaluate.pitch import pitch_of
from orature.flow import Resources, Run, Store
from orature.stages.inputs import voice_ref
from orature.text.text_corpus import Sentence

TEXT = "habari za asubuhi watoto wanasoma kitabu nyumbani"
FOLDER = Path(str(engines.__file__)).parent


@pytest.fixture(scope="module")
def voice() -> Iterator[EspeakSpeech]:
    with EspeakSpeech() as opened:
        yield opened


def _spoken(voice: EspeakSpeech, **wishes: float | str) -> Speech:
    outcome = voice.speak([SpeechRequest(TEXT, language="sw", **wishes)])[0]  # type: ignore[arg-type]
    assert isinstance(outcome, np.ndarray), outcome
    return outcome


def _median_hz(voice: EspeakSpeech, speech: Speech) -> tuple[float, float]:
    pitch = pitch_of(resampled(speech, voice.rate_hz))
    assert pitch is not None
    return pitch.median_hz, pitch.range_semitones


def test_it_is_a_voice_with_over_a_hundred_languages_and_many_speakers(voice: EspeakSpeech) -> None:
    assert isinstance(voice, Voice)
    assert len(voice.card.languages) > 100 and "sw" in voice.card.languages and "fo" not in voice.card.languages
    speakers = voice.speakers("sw")
    assert len(speakers) >= 60 and len(set(speakers)) == len(speakers) and not set(speakers) & set(excluded_speakers())
    assert voice.speakers("fr-CA") == speakers


def test_each_speaker_also_has_the_accents_of_the_language(voice: EspeakSpeech) -> None:
    plain, english = voice.speakers("sw"), voice.speakers("en")
    accents = {name.partition("@")[2] for name in english}
    assert accents >= {"", "en-us", "en-029", "en-gb-scotland"} and not accents & {"en-shaw", "en-gb"}
    assert english == [f"{name}@{accent}".strip("@") for accent in dict.fromkeys(a.partition("@")[2] for a in english)
                       for name in plain]  # fmt: skip
    assert voice.speakers("en-US") == plain and voice.speakers("yo") == plain and voice.speakers("cmn") == plain
    spoken = {}
    for name in ("f2", "f2@en-us", "f2@en-gb-scotland", "m3@en-us"):
        request = SpeechRequest("three brothers heard the water", language="en", speaker=name)
        outcome = voice.speak([request])[0]
        assert isinstance(outcome, np.ndarray), outcome
        assert np.array_equal(outcome, voice.speak([request])[0])
        spoken[name] = outcome.tobytes()
    assert len(set(spoken.values())) == 4
    american = voice.speak([SpeechRequest("three brothers heard the water", language="en-US", speaker="f2")])[0]
    assert isinstance(american, np.ndarray) and american.tobytes() == spoken["f2@en-us"]
    refused = voice.speak([SpeechRequest("three", language="en", speaker="f2@en-xx")])[0]
    assert isinstance(refused, Refusal) and refused.reason == "unknown-speaker"


def test_with_one_voice_for_everything_there_are_no_accents() -> None:
    with EspeakSpeech(forced="en-us") as forced:
        assert not [name for name in forced.speakers("en") if "@" in name]


def test_the_table_of_neighbours_holds_what_it_promises(voice: EspeakSpeech) -> None:
    table = json.loads((FOLDER / "espeak_fallback.json").read_text("utf-8"))
    assert len(table["languages"]) >= 60
    readings = Readings(voice.rows(), silent=SILENT)
    for tag, row in table["languages"].items():
        found = readings.of(tag)
        assert found.because and len(row["because"]) > 12, f"{tag} has a voice of its own, or no reason"
        assert found.letters or found.script
        for letter in "".join(found.spelling.values()).replace(" ", ""):
            assert not letter.isalpha() or found.script or letter in found.letters, f"{tag}: {letter} for {found.tag}"


@pytest.mark.parametrize(
    ("language", "text", "voice_id", "shown"),
    [
        ("swa-KE", "Habari", "bnt/sw", "Habari"),
        ("eng", "Hello", "gmw/en", "Hello"),
        ("yo", "Ọmọ náà ń jẹ ẹ̀wà", "roa/it", "òmò naa en gè èua"),
        ("que-EC", "Ñuka wasi", "qu", "ñuka wasi"),
        ("ha", "ƙasa ɗaya", "bnt/sw", "kasa daya"),
        ("ckb", "ڕۆژ", "ira/ku", "roj"),
        ("chr", "ᏣᎳᎩ", "iro/chr", "tsalagi"),
    ],
)
def test_languages_find_their_voice_and_a_spelling_that_it_reads(
    voice: EspeakSpeech, language: str, text: str, voice_id: str, shown: str
) -> None:
    reading = voice.reading(language)
    assert (reading.voice, reading.shown(text)) == (voice_id, shown)
    outcome = voice.speak([SpeechRequest(text, language=language)])[0]
    assert isinstance(outcome, np.ndarray) and np.abs(outcome).max() > 0.05


def test_a_neighbour_is_named_aloud_once(
    voice: EspeakSpeech, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORATURE_ESPEAK_SAID", "")
    monkeypatch.delenv("ORATURE_QUIET", raising=False)
    for _ in range(3):
        voice.speakers("que-EC")
    said = capsys.readouterr().err
    assert said.count("espeak-ng has no voice for que-EC: reading with qu") == 1


def test_what_a_neighbour_would_misread_is_refused(voice: EspeakSpeech) -> None:
    requests = [SpeechRequest(text, language="yo") for text in ("mo ní 12", "привет", "ọmọ")]
    digits, letters, plain = voice.speak(requests)
    assert isinstance(digits, Refusal) and digits.reason == "unreadable" and "1 2" in digits.detail
    assert isinstance(letters, Refusal) and letters.reason == "unreadable"
    assert isinstance(plain, np.ndarray)
    assert voice.phonemes(["mo ní 12", "ọmọ"], "yo")[0] == ""


def test_an_unknown_language_names_the_nearest_and_one_may_be_forced(voice: EspeakSpeech) -> None:
    with pytest.raises(ConfigError, match="no voice for 'qqq'") as caught:
        voice.speakers("qqq")
    assert "nearest tags" in caught.value.next_step and "espeak:sw" in caught.value.next_step
    assert isinstance(voice.speak([SpeechRequest("a", language="qqq")])[0], Refusal)
    with open_voice("espeak:qu") as forced:
        assert isinstance(forced.speak([SpeechRequest("ñuka", language="qqq")])[0], np.ndarray)
    with pytest.raises(ConfigError, match="no voice for 'klingonese'"):
        open_voice("espeak:klingonese")


@pytest.mark.parametrize("rate", [0.5, 0.75, 1.25, 1.6, 2.0])
def test_the_rate_is_a_factor_of_tempo(voice: EspeakSpeech, rate: float) -> None:
    ratio = len(_spoken(voice)) / len(_spoken(voice, rate=rate))
    assert ratio == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("speaker", ["f1", "m3", "Andy"])
@pytest.mark.parametrize("semitones", [-6.0, -2.0, 3.0, 8.0])
def test_the_pitch_moves_by_semitones(voice: EspeakSpeech, semitones: float, speaker: str) -> None:
    plain, _ = _median_hz(voice, _spoken(voice, speaker=speaker))
    moved, _ = _median_hz(voice, _spoken(voice, speaker=speaker, pitch=semitones))
    assert 12 * np.log2(moved / plain) == pytest.approx(semitones, abs=0.7)


def test_the_expression_widens_the_range_of_pitch(voice: EspeakSpeech) -> None:
    found = [_median_hz(voice, _spoken(voice, speaker="f5", expression=factor)) for factor in (0.3, 1.0, 1.9)]
    (low, narrow), (middle, plain), (high, wide) = found
    assert narrow < 0.6 * plain and wide > 1.3 * plain
    assert abs(12 * np.log2(low / middle)) < 1 and abs(12 * np.log2(high / middle)) < 1, "the middle stays"


def test_wishes_beyond_espeak_are_refused(voice: EspeakSpeech) -> None:
    far = [{"pitch": 13.0}, {"rate": 3.0}, {"expression": 2.5}, {"speaker": "whisper"}]
    outcomes = voice.speak([SpeechRequest(TEXT, language="sw", **wish) for wish in far])  # type: ignore[arg-type]
    reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, Refusal)]
    assert reasons == ["out-of-range", "out-of-range", "out-of-range", "unknown-speaker"]


def _likeness(voice: EspeakSpeech, speech: Speech) -> npt.NDArray[np.float64]:
    """Mean spectrum in 24 bands (a third of its decibels) and pitch (half semitones)."""
    samples = resampled(speech, voice.rate_hz)
    power = np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(samples, 512)[::160] * np.hanning(512))) ** 2
    energy = power.sum(axis=1)
    power = power[energy > 1e-4 * energy.max()]
    edges = (np.linspace(0, 1, 25) ** 1.6 * 220 + 2).astype(int)
    bands = [10 * np.log10(power[:, low : high + 1].mean() + 1e-12) for low, high in itertools.pairwise(edges)]
    pitch = 6 * np.log2(_median_hz(voice, speech)[0] / 100)
    return np.append((np.array(bands) - np.mean(bands)) / 3, pitch)


def test_speakers_sound_apart(voice: EspeakSpeech) -> None:
    apart = json.loads((FOLDER / "espeak_speakers.json").read_text("utf-8"))["apart"]
    speakers = voice.speakers("sw")
    outcomes = voice.speak([SpeechRequest(TEXT, language="sw", speaker=name) for name in speakers])
    marks = np.stack([_likeness(voice, np.asarray(outcome)) for outcome in outcomes])
    away = np.sqrt(((marks[:, None] - marks[None]) ** 2).mean(axis=-1)) + 9 * np.eye(len(speakers))
    one, other = np.unravel_index(int(away.argmin()), away.shape)
    assert away[one, other] > apart, f"{speakers[int(one)]} and {speakers[int(other)]} sound alike"


def test_synthetic_rows_say_which_neighbour_read_them(tmp_path: Path) -> None:
    stage = reading(text_corpus(tmp_path / "text", sentences(3)), voice=voice_ref("espeak"))
    store = Store(tmp_path / "store")
    folder = store.path_of(Run(store, "test", "test").do(stage, on=Resources(progress=False)))
    made = [cut["custom"] for cut in Corpus.open(folder).cuts()]
    assert made and all(custom["reads_with"] == "qu" and "Quechuan" in custom["reads_because"] for custom in made)


def test_each_row_keeps_its_own_sound_while_the_next_are_spoken(tmp_path: Path) -> None:
    short, long = "wasi", "wasi " * 9
    rows = [Sentence(f"s/{n:03d}", f"{short} {n % 7 * 'ka'}" if n % 2 else f"{long}{n % 5 * 'ri'}") for n in range(70)]
    unchecked = ("too-fast", "too-slow", "cut-off")
    stage = reading(text_corpus(tmp_path / "text", rows), voice=voice_ref("espeak"), per_shard=70, unchecked=unchecked)
    store = Store(tmp_path / "store")
    made = list(Corpus.open(store.path_of(Run(store, "test", "test").do(stage, on=Resources(progress=False)))))
    lasting = {row.id: row.audio.duration_s for row in made}
    assert len(made) == 70
    assert max(lasting[f"s/{n:03d}"] for n in range(1, 70, 2)) < min(lasting[f"s/{n:03d}"] for n in range(0, 70, 2))
