"""Voices in processes of their own, reached through pipes: the client of the worker protocol (docs/voice_worker.md).

A worker is any command that speaks the protocol, from any environment. It may be GPL, thread-unsafe or bound to other
versions of packages: nothing of it is loaded here.

Example::

    with PipeVoice([sys.executable, "my_worker.py", "model"], workers=2) as voice:
        speech = voice.speak([SpeechRequest("habari", language="sw")])[0]

A worker that dies or does not answer is started again and what it had been given is tried once more, each request
alone; a request that fails twice is a `Refusal` with the last words of the worker. Ctrl-C reaches only this process.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import TracebackType
from typing import Any, Self

import numpy as np

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.pipe_hello import Hello
from orature.engines.pipe_pool import WorkerPool
from orature.engines.pipe_process import Reply
from orature.engines.voice import Speech, SpeechRequest, Traits, Voice


class PipeVoice:
    """A voice (`engines/voice.py`) behind the protocol; see `WorkerPool` for what the arguments mean and raise."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        workers: int = 1,
        family: str = "voice worker",
        timeout_s: float = 60.0,
        start_timeout_s: float = 180.0,
        environment: Mapping[str, str] | None = None,
        setup: str = "see docs/voice_worker.md for what a voice worker must do",
    ) -> None:
        self._family = family
        self.pool = WorkerPool(
            command,
            workers=workers,
            timeout_s=timeout_s,
            start_timeout_s=start_timeout_s,
            environment=environment,
            setup=setup,
        )

    @property
    def hello(self) -> Hello:
        """What the worker said of itself."""
        return self.pool.hello

    @property
    def rate_hz(self) -> int:
        """Sample rate of what `speak` returns."""
        return self.hello.rate_hz

    @property
    def card(self) -> Card:
        """What the worker declares of itself."""
        hello = self.hello
        return Card(hello.engine, self._family, hello.languages, hello.licence, hello.revision, hello.deterministic)

    @property
    def traits(self) -> Traits:
        """What can be varied."""
        return self.hello.traits

    @property
    def pids(self) -> tuple[int, ...]:
        """Process numbers of the workers that run now."""
        return self.pool.pids

    def speakers(self, language: str) -> list[str]:
        """The speakers for a language (BCP-47); ConfigError, with the nearest it has, when it cannot read that one."""
        return self.hello.speakers_of(language)

    def speak(self, requests: Sequence[SpeechRequest]) -> list[Speech | Refusal]:
        """One outcome a request, in order: samples at `rate_hz`, shape (samples,), or a Refusal."""
        outcomes: list[Speech | Refusal] = []
        places, messages = [], []
        for place, request in enumerate(requests):
            refused = self.refusal(request)
            outcomes.append(refused or _NOT_DONE)
            if refused is None:
                places.append(place)
                messages.append(self.message(request))
        for place, reply in zip(places, self.pool.exchange(messages, batch=self.traits.batch), strict=True):
            outcomes[place] = reply if isinstance(reply, Refusal) else outcome_of(reply)
        return outcomes

    def close(self) -> None:
        """Ends the workers and all that they started; it can be called twice."""
        self.pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def message(self, request: SpeechRequest) -> dict[str, Any]:
        """The fields that the worker is sent for a request; engines change them for a worker of their own."""
        return {name: getattr(request, name) for name in _FIELDS}

    def refusal(self, request: SpeechRequest) -> Refusal | None:
        """What is refused before the worker is asked: see `refusal_by`."""
        return refusal_by(self, request)


_NOT_DONE = Refusal("not-done", "stopped before this row")
_FIELDS = tuple(field.name for field in fields(SpeechRequest))
_PLAIN = {"rate": 1.0, "pitch": 0.0, "expression": 1.0}


def refusal_of(request: SpeechRequest, traits: Traits) -> Refusal | None:
    """What no voice of these traits can speak: an empty or endless text, a wish that it cannot vary; None for all else.

    Reasons: empty-text, too-long, bad-text, bad-request, cannot-vary.
    """
    if not request.text.strip():
        return Refusal("empty-text", "there is nothing to say")
    if len(request.text) > traits.most_characters:
        return Refusal("too-long", f"{len(request.text)} characters; at most {traits.most_characters} at a time")
    try:
        request.text.encode("utf-8")
    except UnicodeEncodeError:
        return Refusal("bad-text", f"the text holds half a character: {ascii(request.text)[:80]}")
    for name, plain in _PLAIN.items():
        value = getattr(request, name)
        if not math.isfinite(value) or (name != "pitch" and value <= 0):
            return Refusal("bad-request", f"{name} cannot be {value}")
        if value != plain and not getattr(traits, name):
            return Refusal("cannot-vary", f"this voice cannot vary {name}")
    if request.prompt and not traits.prompts:
        return Refusal("cannot-vary", "this voice cannot imitate the speaker of a prompt")
    return None


def refusal_by(voice: Voice, request: SpeechRequest) -> Refusal | None:
    """What `refusal_of` refuses, and a language or a speaker that the voice does not have.

    Further reasons: unknown-language, unknown-speaker.
    """
    if refused := refusal_of(request, voice.traits):
        return refused
    try:
        known = voice.speakers(request.language)
    except ConfigError as error:
        return Refusal("unknown-language", f"{error.what}; {error.next_step}")
    if request.speaker and request.speaker not in known:
        return Refusal("unknown-speaker", f"{request.speaker!r} is none of {', '.join(known[:20])}")
    return None


def outcome_of(reply: Reply) -> Speech | Refusal:
    """Samples as float32 in [-1, 1], or the refusal of the worker; `no-audio` for silence."""
    error = reply.header.get("error")
    if isinstance(error, dict):
        return Refusal(str(error.get("reason", "voice-failed")), str(error.get("detail", ""))[:2000])
    samples = np.frombuffer(reply.samples, dtype="<i2").astype(np.float32) / np.float32(32768.0)
    if not samples.any():
        return Refusal("no-audio", "the voice gave no sound for this text")
    return samples
