"""One shard of synthetic speech: read, checked, heard through the target's acoustics, packed as Lhotse Shar.

Runs in a worker process, on any machine. The voice is opened once a process and kept.

Example::

    shard = ShardWork(voice=voice, language="sw", manner=manner, ...)
    shard(plan_lines, folder)       # writes cuts.jsonl.gz, recording.tar, rejects.jsonl; returns the counts
"""

from __future__ import annotations

import atexit
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.files import write_json_lines
from orature.core.types import RATE_HZ, AudioSpan, Origin, Refusal, Reject, Split, Utterance
from orature.data.acoustics import Profile
from orature.data.acoustics_match import match
from orature.data.audio import Limits, audio_digest, decode, encode, load, quality, resampled, save_flac, to_int16
from orature.data.corpus import reject_json
from orature.data.rows import fold
from orature.data.shar import SharWriter
from orature.data.speech_checks import DurationBounds, fault_of
from orature.data.tarspan import tar_span
from orature.engines.voice import Speech, SpeechRequest, Voice
from orature.engines.voice_pipe import PipeVoice
from orature.engines.voices import open_voice
from orature.stages.inputs import VoiceRef
from orature.stages.synthesis_plan import Manner, Prompt, Row, checked_speakers, generator, read_prompts

REJECTS = "rejects.jsonl"
_ONE_BY_ONE = 32
"""Requests given at a time to a voice that reads them one by one: enough to keep its processes busy."""
_SYNTHETIC: Origin = "synthetic"
_ANY = Limits(min_seconds=0.0, silence_dbfs=-1000.0)


@dataclass(frozen=True)
class ShardWork:
    """All that a shard depends on beside its rows (device and threads are how, not what)."""

    voice: VoiceRef
    language: str
    manner: Manner
    speakers: tuple[str, ...]
    prompts: str
    """Folder of a corpus, "" for none."""
    profile: Profile | None
    bounds: DurationBounds
    audio_format: str
    split: Split
    unchecked: tuple[str, ...] = ()
    device: str = "cpu"
    threads: int | None = None

    def __call__(self, lines: Sequence[str], folder: Path) -> dict[str, Any]:
        """Reads the rows aloud into `folder`; the counts and seconds of the shard."""
        rows = [Row.of(line) for line in lines]
        voice = the_voice(self.voice, self.device, self.threads)
        prompts = _prompts(self.prompts) if self.prompts else {}
        speakers = [] if prompts else checked_speakers(self.speakers, voice.speakers(self.language))
        asked = [self.manner.request(row, self.language, voice.traits, speakers, prompts) for row in rows]
        made: dict[int, tuple[Utterance, bytes, dict[str, Any]] | Reject] = {}
        for places, outcomes in _spoken(asked, voice):
            for place, outcome in zip(places, outcomes, strict=True):
                made[place] = self._finished(rows[place], *asked[place], outcome, voice)
        return _written([made[place] for place in range(len(rows))], self.audio_format, folder)

    def _finished(
        self, row: Row, request: SpeechRequest, prompt: Prompt | None, outcome: Speech | Refusal, voice: Voice
    ) -> tuple[Utterance, bytes, dict[str, Any]] | Reject:
        if isinstance(outcome, Refusal):
            return _reject(row, outcome.reason, outcome.detail)
        how = {"rate": request.rate, "most_s": voice.traits.most_seconds}
        fault = fault_of(outcome, voice.rate_hz, row.spoken, self.bounds, unchecked=self.unchecked, **how)
        if fault is not None:
            return _reject(row, fault.reason, fault.detail)
        samples = resampled(outcome, voice.rate_hz)
        realism: dict[str, Any] = {}
        if self.profile is not None:
            rng = generator(self.manner.seed, row.sentence_id, "acoustics", row.reading)
            samples, realism = match(samples, self.profile, rng)
        if self.audio_format == "flac":
            heard, stored = samples, to_int16(samples)
            sound = encode(stored, "flac")
        else:
            sound = encode(samples, self.audio_format)
            heard = decode(sound, row.id, limits=_ANY)
            stored = to_int16(heard)
        who = prompt.speaker if prompt is not None else request.speaker
        utterance = Utterance(
            id=row.id,
            audio=AudioSpan("", 0.0, len(heard) / RATE_HZ, audio_digest(stored)),
            text=fold(row.text),
            language=self.language,
            speaker=f"{self.voice.engine}:{who or 'default'}",
            origin=_SYNTHETIC,
            source=row.source,
            licence=row.licence or None,
            split=self.split,
        )
        return utterance, sound, self._extra(row, request, prompt, voice, realism) | {"quality": quality(heard)}

    def _extra(
        self, row: Row, request: SpeechRequest, prompt: Prompt | None, voice: Voice, realism: dict[str, Any]
    ) -> dict[str, Any]:
        """How an utterance was made, for its row: enough to make it again."""
        return {
            "voice": self.voice.public_name,
            "speaker": request.speaker if prompt is None else prompt.speaker,
            "prompt": "" if prompt is None else prompt.id,
            "seed": request.seed,
            "rate": request.rate,
            "pitch": request.pitch,
            "expression": request.expression,
            "engine": voice.card.revision,
            "engine_licence": voice.card.licence,
            "sentence_id": row.sentence_id,
            "realism": realism,
            **_reading(voice, self.language),
        }


def _reading(voice: Voice, language: str) -> dict[str, str]:
    """Which other language's voice reads this one, where espeak-ng has none of its own; {} for all others."""
    reading = getattr(voice, "reading", None)
    found = reading(language) if callable(reading) else None
    return {"reads_with": found.tag, "reads_because": found.because} if found is not None and found.because else {}


def _reject(row: Row, reason: str, detail: str) -> Reject:
    return Reject(row.id, reason, f"{detail}: “{row.spoken}”", row.source)


def _spoken(
    asked: Sequence[tuple[SpeechRequest, Prompt | None]], voice: Voice
) -> Iterator[tuple[list[int], list[Speech | Refusal]]]:
    """The groups with their outcomes; a voice with processes of its own reads the next group in the meantime."""

    def speak(places: Sequence[int]) -> list[Speech | Refusal]:
        return voice.speak([_with_prompt_file(*asked[place]) for place in places])

    groups = list(_groups(asked, voice))
    if not isinstance(voice, PipeVoice):
        yield from ((places, speak(places)) for places in groups)
        return
    with ThreadPoolExecutor(1) as aside:
        ahead = [aside.submit(speak, places) for places in groups[:1]]
        for number, places in enumerate(groups):
            outcomes = ahead.pop().result()
            ahead += [aside.submit(speak, after) for after in groups[number + 1 : number + 2]]
            yield places, outcomes


def _groups(asked: Sequence[tuple[SpeechRequest, Prompt | None]], voice: Voice) -> Iterator[list[int]]:
    """Places of the requests that are given to the voice together: of similar predicted length where it batches."""
    places = list(range(len(asked)))
    size = voice.traits.batch
    if size > 1:
        places.sort(key=lambda place: (len(asked[place][0].text) / asked[place][0].rate, place))
    size = size if size > 1 else _ONE_BY_ONE
    for start in range(0, len(places), size):
        yield places[start : start + size]


def _written(
    made: Sequence[tuple[Utterance, bytes, dict[str, Any]] | Reject], ending: str, folder: Path
) -> dict[str, Any]:
    rejects = [item for item in made if isinstance(item, Reject)]
    samples = characters = 0
    with SharWriter(folder) as writer:
        for item in made:
            if not isinstance(item, Reject):
                utterance, sound, extra = item
                writer.add(utterance, sound, ending, extra)
                samples += round(utterance.audio.duration_s * RATE_HZ)
                characters += len(utterance.text or "")
    write_json_lines(folder / REJECTS, map(reject_json, rejects))
    return {
        "kept": len(made) - len(rejects),
        "rejected": dict(sorted(Counter(reject.reason for reject in rejects).items())),
        "samples": samples,
        "characters": characters,
    }


_OPEN: dict[tuple[str, str, int | None], Voice] = {}


def the_voice(choice: VoiceRef, device: str, threads: int | None) -> Voice:
    """The voice, opened at its first use in this process; ConfigError where it is not the one that was asked for."""
    key = (choice.spec, device, threads)
    if key not in _OPEN:
        voice = open_voice(choice.spec, device=device, threads=threads)
        if voice.card.revision != choice.revision:
            voice.close()
            raise ConfigError(
                f"the voice {choice.public_name} has revision {voice.card.revision!r} here, {choice.revision!r} was "
                "asked for: it would sound otherwise",
                next_step="install the same engine and model on every machine, and run the command again",
            )
        if not _OPEN:
            atexit.register(close_voices)
        _OPEN[key] = voice
    return _OPEN[key]


def close_voices() -> None:
    """Lets go of all voices of this process."""
    while _OPEN:
        _OPEN.popitem()[1].close()


@cache
def _prompts(folder: str) -> dict[str, list[Prompt]]:
    return read_prompts(Path(folder))


@cache
def _prompt_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="orature-prompts-")


def _with_prompt_file(request: SpeechRequest, prompt: Prompt | None) -> SpeechRequest:
    """A prompt that is only a part of a file, or lies in a tar, is laid into a file of its own."""
    if prompt is None or (prompt.start_s == 0 and tar_span(prompt.path) is None):
        return request
    samples = load(prompt.path, prompt.start_s, prompt.duration_s)
    path = Path(_prompt_folder().name, f"{audio_digest(samples)}.flac")
    if not path.exists():
        save_flac(path, samples)
    return replace(request, prompt=str(path))
