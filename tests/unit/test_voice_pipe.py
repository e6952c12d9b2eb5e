"""The client and the server of the voice worker protocol: order, refusals, deaths, breaches, nothing left behind."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from orature.core.errors import BadInput, ConfigError, MissingExtra, ModelError, WorkFailed
from orature.core.types import Refusal
from orature.engines.pipe_pool import _Round
from orature.engines.voice import SpeechRequest, Voice
from orature.engines.voice_pipe import PipeVoice
from orature.engines.voices import open_voice, voice_files
from tests.voice_workers import raw_worker, worker_command


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


def _said(*texts: str) -> list[SpeechRequest]:
    return [SpeechRequest(text, language="sw", speaker="low") for text in texts]


def test_what_the_worker_says_is_what_the_voice_says(tmp_path: Path) -> None:
    with PipeVoice(worker_command(tmp_path)) as voice:
        assert isinstance(voice, Voice)
        assert (voice.rate_hz, voice.card.revision, voice.card.licence) == (8000, "tones 3", "CC0-1.0")
        assert voice.traits.batch == 4 and voice.traits.rate and not voice.traits.prompts
        assert voice.speakers("sw-TZ") == ["low", "high"] and voice.speakers("fr-fr") == ["mo"]
        with pytest.raises(ConfigError, match="tones cannot read 'yo'"):
            voice.speakers("yo")
        assert voice.pool.ask("shout", text="hm")["loud"] == "HM"


def test_refusals_and_neighbours(tmp_path: Path) -> None:
    requests = [
        SpeechRequest(" ", language="sw"),
        SpeechRequest("a" * 301, language="sw"),
        SpeechRequest("a\ud800", language="sw"),
        SpeechRequest("abc", language="yo"),
        SpeechRequest("abc", language="sw", speaker="mo"),
        SpeechRequest("abc", language="sw", rate=0.0),
        SpeechRequest("abc", language="sw", prompt="clip.wav"),
        SpeechRequest("please refuse", language="sw"),
        SpeechRequest("abc", language="fr-FR", speaker="mo"),
    ]
    with PipeVoice(worker_command(tmp_path), workers=2) as voice:
        outcomes = voice.speak(requests)
    reasons = [outcome.reason if isinstance(outcome, Refusal) else "" for outcome in outcomes]
    assert reasons == [
        *("empty-text", "too-long", "bad-text", "unknown-language", "unknown-speaker"),
        *("bad-request", "cannot-vary", "voice-failed", ""),
    ]


def test_only_the_guilty_request_of_a_batch_is_refused(tmp_path: Path) -> None:
    with PipeVoice(worker_command(tmp_path)) as voice:
        plain = voice.speak(_said("a", "bb", "ccc", "dddd", "ee", "f"))
        mixed = voice.speak(_said("a", "bb", "die", "ccc", "dddd", "die-once", "ee", "f"))
    guilty = mixed.pop(2)
    assert isinstance(guilty, Refusal) and guilty.reason == "voice-failed"
    assert "ended with code 7" in guilty.detail and "the engine fell over" in guilty.detail
    assert isinstance(mixed.pop(4), np.ndarray), "what dies once is tried again"
    assert [np.asarray(one).tobytes() for one in mixed] == [np.asarray(one).tobytes() for one in plain]


def test_a_worker_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    with PipeVoice(worker_command(tmp_path), timeout_s=0.7) as voice:
        hung, spoken = voice.speak(_said("orphan hang", "abc"))
        assert isinstance(hung, Refusal) and "did not answer in time" in hung.detail
        assert isinstance(spoken, np.ndarray)
    assert _gone(int((tmp_path / "orphan").read_text()))


def test_what_the_engine_prints_disturbs_nothing(tmp_path: Path) -> None:
    with PipeVoice(worker_command(tmp_path), timeout_s=10) as voice:
        assert all(isinstance(outcome, np.ndarray) for outcome in voice.speak(_said("chatter", "abc", "chatter on")))


def test_a_worker_that_only_dies_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.engines.pipe_pool._DEATHS", 4)
    with PipeVoice(worker_command(tmp_path)) as voice, pytest.raises(WorkFailed, match=r"died 4 times .*fell over"):
        voice.speak(_said("die", "die", "die", "die"))


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_killed_between_two_calls_is_replaced(tmp_path: Path, kill: signal.Signals) -> None:
    with PipeVoice(worker_command(tmp_path), timeout_s=1.0) as voice:
        before = voice.speak(_said("abc"))[0]
        os.kill(voice.pids[0], kill)
        after = voice.speak(_said("abc"))[0]
    assert np.array_equal(np.asarray(before), np.asarray(after))


def test_nothing_is_left_behind_and_closing_twice_is_well(tmp_path: Path) -> None:
    voice = PipeVoice(worker_command(tmp_path), workers=3)
    assert len(voice.speak(_said(*"abcdefghijklmnop"))) == 16
    pids = voice.pids
    assert len(pids) == 3
    voice.close()
    voice.close()
    assert all(_gone(pid) for pid in pids)


def test_a_client_that_is_killed_leaves_no_worker(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom orature.engines.voice_pipe import PipeVoice\n"
        f"voice = PipeVoice({worker_command(tmp_path)!r})\nprint(voice.pids[0], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert _gone(int(done.stdout))


def test_ctrl_c_comes_through_and_ends_the_busy_worker(tmp_path: Path) -> None:
    with PipeVoice(worker_command(tmp_path)) as voice:
        pid = voice.pids[0]
        threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            voice.speak(_said("hang"))
        assert _gone(pid)
        assert isinstance(voice.speak(_said("abc"))[0], np.ndarray), "and the voice can be used on"


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (("broken",), ModelError, "the model is broken"),
        (("lacking",), MissingExtra, "no_such_package"),
        (("quit",), WorkFailed, r"ended with code 3 \(no room\)"),
    ],
)
def test_an_engine_that_cannot_start_says_why(
    tmp_path: Path, arguments: tuple[str, ...], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        PipeVoice(worker_command(tmp_path, *arguments))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("say({'error': {'reason': 'unsupported-protocol', 'detail': 'it speaks 9'}})", "it speaks 9"),
        ("say({'protocol': 9, 'engine': 'x'})", "speaks protocol 9"),
        ("say({'greetings': 1})", "no voice worker"),
        ("say({**HELLO, 'rate_hz': 'fast'})", "rate_hz is 'fast'"),
        ("say({**HELLO, 'traits': {'batch': 'many'}})", "trait batch"),
        ("say({**HELLO, 'languages': 'sw'})", "languages"),
        ("say({**HELLO, 'engine': ''})", "does not name its engine"),
    ],
)
def test_a_worker_with_a_wrong_hello_is_not_taken(tmp_path: Path, body: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        PipeVoice(raw_worker(tmp_path, body))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("say({'id': 99, 'samples': 0})", "not given"),
        ("say({'id': request['id'], 'samples': 10**9})", "at most"),
        ("say({'id': request['id'], 'samples': -1})", "announced -1"),
        ("os.write(1, b'hello\\n')", "no line of the protocol"),
        ("os.write(1, b'x' * (5 << 20))", "a line of more than"),
        ("say({'id': request['id'], 'samples': 100}, b'abc'); sys.exit(0)", "ended with code 0"),
    ],
)
def test_a_breach_of_the_protocol_is_a_refusal(tmp_path: Path, answer: str, says: str) -> None:
    body = f"say(HELLO)\nfor line in sys.stdin:\n    request = json.loads(line)['requests'][0]\n    {answer}\n"
    with PipeVoice(raw_worker(tmp_path, body), timeout_s=5) as voice:
        outcome = voice.speak([SpeechRequest("abc")])[0]
    assert isinstance(outcome, Refusal) and outcome.reason == "voice-failed" and says in outcome.detail


def test_silence_is_no_audio(tmp_path: Path) -> None:
    answer = "say({'id': json.loads(line)['requests'][0]['id'], 'samples': 4}, bytes(8))"
    body = f"say(HELLO)\nfor line in sys.stdin:\n    {answer}\n"
    with PipeVoice(raw_worker(tmp_path, body)) as voice:
        outcome = voice.speak([SpeechRequest("abc")])[0]
    assert isinstance(outcome, Refusal) and outcome.reason == "no-audio"


def test_a_worker_without_standard_error_is_waited_for_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = []
    move = _Round._move
    monkeypatch.setattr(_Round, "_move", lambda self: (turns.append(1), move(self))[1])
    answer = "time.sleep(0.5); say({'id': json.loads(line)['requests'][0]['id'], 'samples': 2}, b'abcd')"
    body = f"os.close(2)\nsay(HELLO)\nfor line in sys.stdin:\n    {answer}\n"
    with PipeVoice(raw_worker(tmp_path, body)) as voice:
        assert isinstance(voice.speak([SpeechRequest("abc")])[0], np.ndarray)
    assert len(turns) < 20, "it turns round and round on the closed pipe"


def test_a_worker_is_named_by_its_command_line(tmp_path: Path) -> None:
    command = worker_command(tmp_path)
    spec = "worker:" + shlex.join(command)
    assert tmp_path / "tone_engine.py" in voice_files(spec)
    with open_voice(spec, workers=2) as voice:
        assert voice.card.name == "tones"
    for wrong in ("worker:", "worker:'half", "worker:no-such-program-here", "worker:true", "worker:cat"):
        with pytest.raises((BadInput, WorkFailed)):
            open_voice(wrong).close()
