"""What a reader must know before believing a score, in sentences; computed from the score alone.

Example::

    warnings_for({"words": 120, "speakers": 1, ...})     # ["The test set has only 120 words: ...", ...]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orature.evaluate.statistics import MIN_SPEAKERS, MIN_UNITS

FEW_WORDS = 1000
_HOPELESS = 0.95
_SAME_LETTERS_WORD = 14
"""Characters a word above which a text is taken to be written without spaces between its words."""


def warnings_for(score: Mapping[str, Any]) -> list[str]:
    """Every reason for caution that the figures themselves show."""
    return [
        *_about_speakers(score),
        *_about_size(score),
        *_about_left_out(score),
        *_about_level(score),
    ]


def _about_speakers(score: Mapping[str, Any]) -> list[str]:
    speakers, by = score["speakers"], score["wer"]["by"]
    if speakers == 0:
        return ["No speaker is named: intervals are by utterance and too narrow if few people speak."]
    if speakers == 1:
        return ["One speaker only: the score says how well this person is recognised, and little of anybody else."]
    if by == "utterance" and speakers < MIN_SPEAKERS:
        return [
            f"Only {speakers} speakers: intervals are by utterance and hold for these voices. "
            "Expect more spread with new ones."
        ]
    if by == "utterance":
        return ["Some speakers are unknown: intervals are by utterance and may be too narrow."]
    return []


def _about_size(score: Mapping[str, Any]) -> list[str]:
    if score["wer"]["low"] is None:
        return [f"Fewer than {MIN_UNITS} utterances or speakers to draw from: no interval can be given."]
    if score["words"] < FEW_WORDS:
        return [f"Only {score['words']:,} words: small differences between systems cannot be told from chance."]
    return []


def _about_left_out(score: Mapping[str, Any]) -> list[str]:
    said = [
        f"{times:,} {_utterances(times)} left out: {reason}." for reason, times in score["refused"].items() if times
    ]
    refusals = sum(score["refusals"].values())
    if refusals:
        reasons = ", ".join(f"{reason} {times}" for reason, times in score["refusals"].items())
        said.append(
            f"The recogniser refused {refusals:,} {'recording' if refusals == 1 else 'recordings'} "
            f"({reasons}): every word in them counts as missed."
        )
    return said


def _about_level(score: Mapping[str, Any]) -> list[str]:
    said = []
    if score["characters"] > _SAME_LETTERS_WORD * score["words"]:
        said.append("This text is written with few spaces: the character error rate is the one to read.")
    if score["wer"]["value"] >= _HOPELESS:
        errors = score["errors"]["characters"]
        if errors["deletions"] > 0.8 * score["characters"]:
            said.append("Almost nothing was written down: the model answers with silence. Train longer.")
        elif score["cer"]["value"] >= 0.6:
            said.append("The model is not usable yet: almost every word is wrong.")
    return said


def _utterances(times: int) -> str:
    return "utterance was" if times == 1 else "utterances were"
