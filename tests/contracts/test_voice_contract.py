"""The contract of voices on the double, on espeak-ng and on a worker; and planted defects that it must find."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orature.core.types import Refusal
from orature.engines.fake_voice import FakeVoice
from orature.engines.voice import Speech, SpeechRequest
from orature.engines.voice_pipe import PipeVoice
from orature.engines.voices import open_voice
from orature.testing.voice_contract import ContractBroken, check_voice
from tests.voice_workers import worker_command

TEXTS = ["habari", "watoto wanne wanasoma", "mama anapika chakula cha jioni", "ng'ombe saba", "leo"]


def test_the_double() -> None:
    check_voice(lambda workers: open_voice("fake", workers=workers), "sw", TEXTS)


@pytest.mark.parametrize("language", ["sw", "yo"])
def test_espeak(language: str) -> None:
    check_voice(lambda workers: open_voice("espeak", workers=workers), language, TEXTS, workers=3)


def test_a_worker(tmp_path: Path) -> None:
    command = worker_command(tmp_path)
    check_voice(lambda workers: PipeVoice(command, workers=workers), "sw", TEXTS, workers=2)


Speak = Callable[[FakeVoice, Sequence[SpeechRequest]], "list[Speech | Refusal]"]
_plain = FakeVoice.speak
_calls = itertools.count()


def _forgets_the_last(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, requests)[: max(1, len(requests) - 1)] if requests else []


def _sorts(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, sorted(requests, key=lambda request: -len(request.text)))


def _pads(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    outcomes = _plain(voice, requests)
    longest = max((len(outcome) for outcome in outcomes if not isinstance(outcome, Refusal)), default=0)
    return [
        outcome if isinstance(outcome, Refusal) else np.pad(outcome, (0, longest - len(outcome)))
        for outcome in outcomes
    ]


def _drifts(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, [replace(request, seed=next(_calls)) for request in requests])


def _is_loud(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return [outcome if isinstance(outcome, Refusal) else outcome * 4 for outcome in _plain(voice, requests)]


def _has_one_tempo(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, [replace(request, rate=1.0) for request in requests])


def _has_one_pitch(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, [replace(request, pitch=0.0) for request in requests])


def _takes_any_speaker(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, [replace(request, speaker="") for request in requests])


def _is_deaf_to_seeds(voice: FakeVoice, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
    return _plain(voice, [replace(request, seed=0) for request in requests])


@pytest.mark.parametrize(
    ("speak", "says"),
    [
        (_forgets_the_last, "requests gave"),
        (_sorts, "other samples"),
        (_pads, "alone"),
        (_drifts, "said again"),
        (_is_loud, "peak"),
        (_has_one_tempo, "rate of 1.25"),
        (_has_one_pitch, "promises pitch"),
        (_takes_any_speaker, "unknown-speaker"),
        (_is_deaf_to_seeds, "seed changes nothing"),
    ],
)
def test_a_planted_defect_is_found(speak: Speak, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeVoice, "speak", speak)
    with pytest.raises(ContractBroken, match=says):
        check_voice(lambda workers: FakeVoice(), "sw", TEXTS)


def test_a_process_that_stays_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = worker_command(tmp_path)
    voices: list[PipeVoice] = []
    real = PipeVoice.close

    def opened(workers: int) -> PipeVoice:
        voices.append(PipeVoice(command, workers=workers))
        return voices[-1]

    monkeypatch.setattr(PipeVoice, "close", lambda self: None)
    with pytest.raises(ContractBroken, match="leaves processes behind"):
        check_voice(opened, "sw", TEXTS)
    for voice in voices:
        real(voice)
