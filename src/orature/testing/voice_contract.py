"""What every voice must hold; authors of a voice of their own run the same checks on it.

Each check opens the voice itself, by a function that is given the number of workers, and raises `ContractBroken` with
the law that is broken and the request that shows it.

Example::

    def test_my_voice():
        check_voice(lambda workers: open_voice("my-voice:model", workers=workers), "sw", ["habari", "za asubuhi njema"])
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from orature.core.errors import ConfigError
from orature.core.types import Card, Refusal
from orature.engines.voice import Speech, SpeechRequest, Voice

Opener = Callable[[int], Voice]
_RATES_HZ = (8_000, 48_000)
_TEMPO = 1.25
_SEMITONES = 3.0
_EXPRESSION = 0.5


class ContractBroken(AssertionError):
    """A voice does not hold what every voice promises."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A voice, and what it can be asked."""

    begin: Opener
    language: str
    texts: tuple[str, ...]
    prompt: str

    def requests(self, voice: Voice) -> list[SpeechRequest]:
        """Each text by a speaker and with a seed of its own."""
        names = voice.speakers(self.language)
        return [
            SpeechRequest(
                text,
                self.language,
                speaker="" if self.prompt else names[place % len(names)],
                seed=place,
                prompt=self.prompt,
            )
            for place, text in enumerate(self.texts)
        ]


def check_voice(begin: Opener, language: str, texts: Sequence[str], *, prompt: str = "", workers: int = 2) -> None:
    """All checks. `texts`: at least two that it can speak, of different lengths; `prompt`: for a voice that needs one.

    `begin(workers)` opens the voice; it is closed here.
    """
    case = _Case(begin, language, tuple(texts), prompt)
    hold(len(set(map(len, texts))) > 1, "give the check texts of different lengths")
    before = children()
    with begin(1) as voice:
        check_facts(voice, language)
        spoken = check_speech(voice, case.requests(voice))
        check_repeats(voice, case.requests(voice), spoken)
        check_refusals(voice, case.requests(voice)[0])
        check_traits(voice, case.requests(voice))
        check_seed(voice, case.requests(voice)[-1])
    check_workers(case, spoken, workers)
    check_closing(case)
    left = children() - before
    hold(not left, f"closed, it leaves processes behind: {sorted(left)}")


def hold(law: bool, what: str) -> None:
    """ContractBroken with `what` unless `law` holds."""
    if not law:
        raise ContractBroken(what)


def check_facts(voice: Voice, language: str) -> None:
    """A card that names licence and revision, a sample rate, speakers in a fixed order, a refusal for no language."""
    hold(isinstance(voice, Voice), f"{type(voice).__name__} lacks a part of the protocol engines/voice.py")
    low, high = _RATES_HZ
    hold(low <= voice.rate_hz <= high, f"rate_hz {voice.rate_hz} is not between {low} and {high}")
    card = voice.card
    hold(
        isinstance(card, Card) and bool(card.name and card.licence and card.revision), f"the card lacks a part: {card}"
    )
    traits = voice.traits
    hold(min(traits.batch, traits.most_characters, traits.most_seconds) > 0, f"a trait is not positive: {traits}")
    speakers = voice.speakers(language)
    hold(bool(speakers), f"it has no speakers for {language}; one without a name is ['']")
    hold(len(set(speakers)) == len(speakers), "a speaker is named twice")
    hold(voice.speakers(language) == speakers, "the order of its speakers changes")


def check_speech(voice: Voice, requests: Sequence[SpeechRequest]) -> list[Speech]:
    """Each request gives float32 samples in [-1, 1], audible, no longer than the traits say; nothing for nothing."""
    hold(voice.speak([]) == [], "no requests do not give an empty list")
    outcomes = voice.speak(requests)
    hold(len(outcomes) == len(requests), f"{len(requests)} requests gave {len(outcomes)} outcomes")
    spoken = []
    for request, outcome in zip(requests, outcomes, strict=True):
        if isinstance(outcome, Refusal):
            raise ContractBroken(f"{request.text!r} is refused ({outcome.reason}): {outcome.detail}")
        hold(outcome.dtype == np.float32 and outcome.ndim == 1, f"samples are {outcome.dtype} of shape {outcome.shape}")
        hold(bool(np.isfinite(outcome).all()), f"{request.text!r} gives samples that are no numbers")
        peak = float(np.abs(outcome).max(initial=0.0))
        hold(0.001 < peak <= 1.0, f"{request.text!r} has a peak of {peak}, not in (0.001, 1]")
        seconds = len(outcome) / voice.rate_hz
        hold(seconds < voice.traits.most_seconds, f"{request.text!r} takes {seconds:.1f} s, more than the traits say")
        spoken.append(outcome)
    return spoken


def check_repeats(voice: Voice, requests: Sequence[SpeechRequest], spoken: Sequence[Speech]) -> None:
    """Law 7: alone, in another order, again, and after others, every request gives the same samples."""
    _same(voice.speak(requests), spoken, requests, "said again")
    _same(voice.speak(list(requests)[::-1])[::-1], spoken, requests, "in another order")
    _same([voice.speak([request])[0] for request in requests], spoken, requests, "alone")
    doubled = voice.speak([request for request in requests for _ in range(2)])
    _same(doubled[::2], spoken, requests, "beside its like")
    _same(doubled[1::2], spoken, requests, "beside its like")


def check_workers(case: _Case, spoken: Sequence[Speech], workers: int) -> None:
    """Law 7: opened anew, with one worker and with several, it gives the same samples."""
    for count in dict.fromkeys((1, workers)):
        with case.begin(count) as voice:
            requests = case.requests(voice)
            _same(voice.speak(requests), spoken, requests, f"opened anew with {count} workers")


def check_refusals(voice: Voice, plain: SpeechRequest) -> None:
    """What cannot be spoken is a Refusal with a reason and a detail, its neighbours are spoken, nothing is raised."""
    traits = voice.traits
    wrong = {
        "empty-text": replace(plain, text=""),
        "empty-text of blanks": replace(plain, text=" \n\t"),
        "too-long": replace(plain, text=(plain.text + " ") * (traits.most_characters // len(plain.text) + 2)),
        "unknown-speaker": replace(plain, speaker="no such speaker", prompt=""),
    }
    outcomes = voice.speak([request for bad in wrong.values() for request in (bad, plain)])
    hold(len(outcomes) == 2 * len(wrong), "a refusal changes the number of outcomes")
    for (name, _), refused, spoken in zip(wrong.items(), outcomes[::2], outcomes[1::2], strict=True):
        hold(not isinstance(spoken, Refusal), f"beside a request that is refused ({name}) its neighbour is refused too")
        reason = name.split(" ")[0]
        if not isinstance(refused, Refusal):
            raise ContractBroken(f"it does not refuse what is {name}")
        hold(refused.reason == reason, f"the reason for {name} is {refused.reason!r}, not {reason!r}")
        hold(bool(refused.detail), f"the refusal of {name} says nothing")
    try:
        voice.speakers("x-no-such-language")
    except ConfigError as error:
        hold(bool(error.what and error.next_step), "an unknown language does not say what to do next")


def check_traits(voice: Voice, requests: Sequence[SpeechRequest]) -> None:
    """What the traits promise changes the samples, and a tempo of 1.25 is shorter by about a fifth."""
    traits, request = voice.traits, max(requests, key=lambda request: len(request.text))
    plain = _speech(voice, request)
    if traits.rate:
        ratio = len(plain) / len(_speech(voice, replace(request, rate=_TEMPO)))
        hold(1.1 < ratio < 1.45, f"a rate of {_TEMPO} makes it shorter by a factor of {ratio:.2f}")
    for name, wish in (("pitch", _SEMITONES), ("expression", _EXPRESSION)):
        if not getattr(traits, name):
            continue
        other = voice.speak([replace(request, **{name: wish})])[0]  # type: ignore[arg-type]
        if isinstance(other, Refusal):
            raise ContractBroken(f"it promises {name} and refuses {wish}: {other.detail}")
        hold(not np.array_equal(other, plain), f"it promises {name}, but {wish} changes nothing")
    speakers = voice.speakers(request.language)
    if len(speakers) > 1 and not request.prompt:
        one, other = (_speech(voice, replace(request, speaker=name)) for name in speakers[:2])
        hold(not np.array_equal(one, other), f"the speakers {speakers[0]!r} and {speakers[1]!r} sound alike")


def check_seed(voice: Voice, request: SpeechRequest) -> None:
    """Another seed gives other samples exactly when the traits say that the voice draws at random."""
    changed = not np.array_equal(_speech(voice, request), _speech(voice, replace(request, seed=request.seed + 1)))
    hold(changed or not voice.traits.random, "the traits say that it draws at random, but the seed changes nothing")
    hold(not changed or voice.traits.random, "the traits say that it draws nothing, but the seed changes the samples")


def check_closing(case: _Case) -> None:
    """It can be closed twice, and closed at once."""
    voice = case.begin(1)
    voice.close()
    voice.close()


def children() -> set[int]:
    """Processes that this one has started and that still run; empty where the system does not tell."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = place.read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if int(parent) == os.getpid() and state != "Z":
            found.add(int(place.parent.name))
    return found


def _speech(voice: Voice, request: SpeechRequest) -> Speech:
    outcome = voice.speak([request])[0]
    if isinstance(outcome, Refusal):
        raise ContractBroken(f"{request} is refused ({outcome.reason}): {outcome.detail}")
    return outcome


def _same(
    outcomes: Sequence[Speech | Refusal], spoken: Sequence[Speech], requests: Sequence[SpeechRequest], how: str
) -> None:
    hold(len(outcomes) == len(spoken), f"{how}, {len(spoken)} requests gave {len(outcomes)} outcomes")
    for request, outcome, first in zip(requests, outcomes, spoken, strict=True):
        if isinstance(outcome, Refusal):
            raise ContractBroken(f"{how}, {request.text!r} is refused: {outcome.detail}")
        same = outcome.shape == first.shape and np.array_equal(outcome, first)
        hold(same, f"{how}, {request.text!r} gives other samples ({len(outcome)} of them, first {len(first)})")
