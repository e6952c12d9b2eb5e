"""What a voice worker says of itself in its first line, checked: nothing of it is believed unread.

Example::

    hello = read_hello({"protocol": 2, "engine": "my-voice", "revision": "my-voice 1.0", "rate_hz": 22050})
    print(hello.languages, hello.speakers_of("sw"), hello.traits.rate)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from orature.core.errors import ConfigError
from orature.engines.voice import Traits

PROTOCOLS = (2,)
"""Versions of the protocol that this client speaks."""
ANY = "*"
_TRAITS: dict[str, type] = {spot.name: type(spot.default) for spot in fields(Traits)}
_NEXT = "see docs/voice_worker.md for what a voice worker must say"
_MOST_RATE_HZ = 192_000
_MOST_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Hello:
    """The first line of a worker. `languages` () means that it does not say; `speakers` by language, "*" for all."""

    engine: str
    revision: str
    rate_hz: int
    licence: str
    languages: tuple[str, ...]
    speakers: Mapping[str, tuple[str, ...]]
    traits: Traits
    deterministic: bool
    operations: tuple[str, ...]
    protocol: int

    def language_of(self, language: str) -> str:
        """The tag of the worker's own list that serves `language` (RFC 4647 lookup); ConfigError names the nearest."""
        if not self.languages:
            return language
        folded = {tag.lower(): tag for tag in self.languages}
        parts = language.strip().replace("_", "-").lower().split("-")
        while parts:
            if found := folded.get("-".join(parts)):
                return found
            parts.pop()
        near = difflib.get_close_matches(language, self.languages, n=3, cutoff=0.0)
        raise ConfigError(f"{self.engine} cannot read {language!r}", next_step=f"nearest known: {', '.join(near)}")

    def speakers_of(self, language: str) -> list[str]:
        """Names of the speakers for `language`, [""] where it has one without a name."""
        tag = self.language_of(language)
        return list(self.speakers.get(tag) or self.speakers.get(ANY) or ("",))


def read_hello(line: Mapping[str, Any]) -> Hello:
    """A hello line as a record; ConfigError with the first thing that is wrong with it."""
    protocol = line.get("protocol")
    if protocol not in PROTOCOLS:
        spoken = ", ".join(map(str, PROTOCOLS))
        if protocol is None:
            raise _wrong(f"the command is no voice worker: its first line is {str(dict(line))[:120]!r}")
        raise _wrong(f"the voice worker speaks protocol {protocol!r}, this version of Orature speaks {spoken}")
    rate_hz = line.get("rate_hz")
    if not isinstance(rate_hz, int) or isinstance(rate_hz, bool) or not 1000 <= rate_hz <= _MOST_RATE_HZ:
        raise _wrong(f"rate_hz is {rate_hz!r}, not a whole number from 1000 to {_MOST_RATE_HZ}")
    engine = _text(line, "engine", "")
    if not engine:
        raise _wrong("the voice worker does not name its engine")
    return Hello(
        engine=engine,
        revision=_text(line, "revision", engine),
        rate_hz=rate_hz,
        licence=_text(line, "licence", "not stated"),
        languages=_texts(line.get("languages", []), "languages"),
        speakers=_speakers(line.get("speakers", {})),
        traits=_traits(line.get("traits", {})),
        deterministic=line.get("deterministic") is True,
        operations=_texts(line.get("operations", []), "operations"),
        protocol=int(protocol),
    )


def _text(line: Mapping[str, Any], name: str, plain: str) -> str:
    value = line.get(name, plain)
    if not isinstance(value, str):
        raise _wrong(f"{name} is {value!r}, not a text")
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _wrong(f"{name} is not a list of texts")
    return tuple(value)


def _speakers(value: object) -> dict[str, tuple[str, ...]]:
    if isinstance(value, list):
        value = {ANY: value}
    if not isinstance(value, dict):
        raise _wrong("speakers is neither a list nor lists by language")
    return {str(tag): _texts(names, f"speakers of {tag}") for tag, names in value.items()}


def _traits(value: object) -> Traits:
    if not isinstance(value, dict):
        raise _wrong("traits is not an object")
    chosen: dict[str, Any] = {}
    for name, kind in _TRAITS.items():
        if name not in value:
            continue
        given = value[name]
        fits = type(given) is kind or (kind is float and type(given) is int)
        if not fits:
            raise _wrong(f"the trait {name} is {given!r}, not of type {kind.__name__}")
        chosen[name] = kind(given)
    traits = Traits(**chosen)
    if traits.batch < 1 or traits.most_characters < 1 or not 0 < traits.most_seconds <= _MOST_SECONDS:
        raise _wrong(f"the traits batch, most_characters and most_seconds (at most {_MOST_SECONDS:g}) must be positive")
    return traits


def _wrong(what: str) -> ConfigError:
    return ConfigError(what, next_step=_NEXT)
