"""espeak-ng in worker processes: determinism, refusals, dead workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from orature.core.errors import ConfigError, MissingExtra
from orature.core.types import Refusal
from orature.engines.espeak import EspeakVoice, SpeakRequest

TEXTS = ("habari", "watoto wanne wanasoma", "mama anapika chakula", "ng'ombe saba")
REQUESTS = [
    SpeakRequest(text, voice, rate_wpm=rate, pitch=pitch)
    for text in TEXTS
    for voice, rate, pitch in (("sw", 160, 50), ("bnt/sw+f2", 190, 70))
]


@pytest.fixture(scope="module")
def voice() -> Iterator[EspeakVoice]:
    with EspeakVoice(workers=1, timeout_s=20) as speaker:
        yield speaker


def _bytes(outcomes: list[object]) -> list[bytes]:
    for outcome in outcomes:
        assert isinstance(outcome, np.ndarray), outcome
    return [outcome.tobytes() for outcome in outcomes if isinstance(outcome, np.ndarray)]


def test_same_request_same_samples_whatever_the_order_and_the_number_of_workers(voice: EspeakVoice) -> None:
    once = _bytes(list(voice.speak(REQUESTS)))
    again = _bytes(list(voice.speak(REQUESTS)))
    backwards = _bytes(list(voice.speak(REQUESTS[::-1])))[::-1]
    time.sleep(1.1)  # the library seeds breathy voices (f2) from the clock, in whole seconds
    with EspeakVoice(workers=3) as many:
        spread = _bytes(list(many.speak(REQUESTS)))
        assert len(many.pids) == 3
    assert once == again == backwards == spread
    assert len(set(once)) == len(once)


def test_samples_are_float_and_audible(voice: EspeakVoice) -> None:
    speech = voice.speak([SpeakRequest("habari za asubuhi", "sw")])[0]
    assert isinstance(speech, np.ndarray)
    assert speech.dtype == np.float32 and speech.ndim == 1
    assert 0.5 < len(speech) / voice.rate_hz < 5
    assert 0.05 < np.abs(speech).max() <= 1.0


@pytest.mark.parametrize(
    ("request_", "reason", "says"),
    [
        (SpeakRequest("", "sw"), "empty-text", "nothing to say"),
        (SpeakRequest("  \n", "sw"), "empty-text", "nothing to say"),
        (SpeakRequest("a", "swa"), "unknown-voice", "nearest known: sw"),
        (SpeakRequest("a", "sw+f22"), "unknown-voice", "f2"),
        (SpeakRequest("a" * 6000, "sw"), "too-long", "6000 characters"),
        (SpeakRequest("abc", "fo"), "no-audio", "gave no sound"),
    ],
)
def test_a_row_that_cannot_be_spoken_is_refused(
    voice: EspeakVoice, request_: SpeakRequest, reason: str, says: str
) -> None:
    refused, spoken = voice.speak([request_, REQUESTS[0]])
    assert isinstance(refused, Refusal)
    assert refused.reason == reason
    assert says in refused.detail
    assert isinstance(spoken, np.ndarray), "its neighbour is spoken all the same"


def test_tags_are_resolved_to_identifiers(voice: EspeakVoice) -> None:
    assert voice.resolve("fr-FR") == "roa/fr"
    assert voice.resolve("sw+f2") == "bnt/sw+f2"
    with pytest.raises(ConfigError, match="no voice 'klingonese'"):
        voice.resolve("klingonese")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSTOP])
def test_a_killed_or_stuck_worker_is_replaced(kill: signal.Signals) -> None:
    with EspeakVoice(timeout_s=1.5) as speaker:
        before = _bytes(list(speaker.speak(REQUESTS[:2])))
        os.kill(speaker.pids[0], kill)
        assert _bytes(list(speaker.speak(REQUESTS[:2]))) == before


def test_without_the_wheel_the_extra_is_named(tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    with pytest.raises(MissingExtra, match=r"pip install 'orature\[voices\]'"):
        EspeakVoice(python=str(tmp_path / "bare" / "bin" / "python")).voices()


def test_no_process_is_left_behind() -> None:
    with EspeakVoice(workers=2) as speaker:
        speaker.speak(REQUESTS[:4])
        pids = speaker.pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_worker_imports_nothing_else_of_orature() -> None:
    code = (
        "import sys, orature.engines.espeak_worker;"
        "print([m for m in sys.modules if m.startswith('orature') or m in ('numpy', 'torch', 'espeakng_loader')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['orature', 'orature.engines', 'orature.engines.espeak_worker']"


def test_card_names_the_licence(voice: EspeakVoice) -> None:
    card = voice.card
    assert "GPL-3.0-or-later" in card.licence and "separate program" in card.licence
    assert "sw" in card.languages and card.revision.startswith("espeak-ng ")
