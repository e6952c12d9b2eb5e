"""One utterance as a Lhotse cut, and as the canonical row from which digests are made.

Example::

    cut = cut_of(utterance)                       # a dict: one JSON line of cuts.jsonl.gz
    assert utterance_of(cut, root="") == utterance
    canonical_row(utterance)                      # bytes; no path in it
"""

from __future__ import annotations

import json
import math
import os
import unicodedata
from collections.abc import Mapping
from typing import Any, cast

from orature.core.errors import CorpusError
from orature.core.types import ORIGINS, RATE_HZ, SPLITS, AudioSpan, Origin, Split, Utterance

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_ROW = "orature-row@1"
_NO_SUPERVISION: dict[str, Any] = {}


def fold(text: str) -> str:
    """Text as it is stored: Unicode NFC, every run of white space one space, none at the ends; nothing else changes."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def encode_line(value: Any, where: str = "") -> bytes:
    """`value` as one line of compact UTF-8 JSON with its newline; CorpusError where a string is no valid Unicode."""
    try:
        return _ENCODE(value).encode("utf-8") + b"\n"
    except (UnicodeEncodeError, ValueError) as error:
        raise CorpusError(
            "a row holds text that cannot be written as UTF-8 JSON (a lone surrogate or a NaN)",
            where=where,
            next_step=f"repair that row of the source ({error.__class__.__name__})",
        ) from error


def canonical_row(utterance: Utterance) -> bytes:
    """What makes two utterances the same: every field but the path, times rounded to milliseconds (UTF-8 JSON)."""
    audio = utterance.audio
    row = [
        _ROW,
        utterance.id,
        utterance.text,
        utterance.language,
        utterance.speaker,
        utterance.origin,
        utterance.source,
        utterance.licence,
        utterance.split,
        audio.digest,
        round(audio.start_s * 1000),
        round(audio.duration_s * 1000),
    ]
    return _ENCODE(row).encode("utf-8")


def fingerprint_row(utterance: Utterance) -> bytes:
    """What makes two test sets the same: id, text and audio digest."""
    return _ENCODE([utterance.id, utterance.text, utterance.audio.digest]).encode("utf-8")


def cut_of(utterance: Utterance, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The utterance as a Lhotse MonoCut; `extra` goes to `custom` beside origin, source, licence, split and digest."""
    audio = utterance.audio
    end_samples = round((audio.start_s + audio.duration_s) * RATE_HZ)
    supervision: dict[str, Any] = {
        "id": utterance.id,
        "recording_id": utterance.id,
        "start": 0.0,
        "duration": audio.duration_s,
        "channel": 0,
    }
    if utterance.text is not None:
        supervision["text"] = utterance.text
    supervision["language"] = utterance.language
    if utterance.speaker is not None:
        supervision["speaker"] = utterance.speaker
    custom: dict[str, Any] = dict(extra) if extra else {}
    custom["origin"] = utterance.origin
    custom["source"] = utterance.source
    if utterance.licence is not None:
        custom["licence"] = utterance.licence
    if utterance.split is not None:
        custom["split"] = utterance.split
    custom["audio_digest"] = audio.digest
    return {
        "id": utterance.id,
        "start": audio.start_s,
        "duration": audio.duration_s,
        "channel": 0,
        "supervisions": [supervision],
        "recording": {
            "id": utterance.id,
            "sources": [{"type": "file", "channels": [0], "source": audio.path}],
            "sampling_rate": RATE_HZ,
            "num_samples": end_samples,
            "duration": end_samples / RATE_HZ,
            "channel_ids": [0],
        },
        "custom": custom,
        "type": "MonoCut",
    }


def utterance_of(cut: Any, root: str, where: str = "") -> Utterance:
    """The utterance of one cut of a corpus folder; its audio path is joined to `root`. CorpusError for a wrong row."""
    try:
        supervisions = cut["supervisions"]
        said = supervisions[0] if supervisions else _NO_SUPERVISION
        custom = cut["custom"]
        source_path = cut["recording"]["sources"][0]["source"]
        split = custom.get("split")
        utterance = Utterance(
            id=cut["id"],
            audio=AudioSpan(
                path=os.path.join(root, source_path),  # noqa: PTH118  (a million times: pathlib is ten times slower)
                start_s=cut["start"],
                duration_s=cut["duration"],
                digest=custom["audio_digest"],
            ),
            text=said.get("text"),
            language=said.get("language") or "und",
            speaker=said.get("speaker"),
            origin=cast(Origin, custom["origin"]),
            source=custom["source"],
            licence=custom.get("licence"),
            split=cast("Split | None", split),
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"a row of the corpus is not a cut of the expected shape ({error.__class__.__name__}: {error})",
            where=where,
            next_step="make the corpus again with: orature ingest SOURCE --to CORPUS",
        ) from error
    problem = wrong_field(utterance)
    if problem:
        raise CorpusError(
            problem, where=where, next_step="make the corpus again with: orature ingest SOURCE --to CORPUS"
        )
    return utterance


def wrong_field(utterance: Utterance) -> str:
    """A sentence on the first field whose value is not allowed, or ""."""
    audio = utterance.audio
    if type(utterance.id) is not str or not utterance.id:
        return f"an id must be a text that is not empty, not {utterance.id!r}"
    for name, value in (("text", utterance.text), ("speaker", utterance.speaker), ("licence", utterance.licence)):
        if value is not None and type(value) is not str:
            return f"{name} of {utterance.id!r} must be a text or nothing, not {value!r}"
    if type(utterance.language) is not str or type(utterance.source) is not str or type(audio.digest) is not str:
        return f"language, source and audio digest of {utterance.id!r} must be texts"
    if utterance.origin not in ORIGINS:
        return f"origin of {utterance.id!r} is {utterance.origin!r}, not one of {', '.join(ORIGINS)}"
    if utterance.split is not None and utterance.split not in SPLITS:
        return f"split of {utterance.id!r} is {utterance.split!r}, not one of {', '.join(SPLITS)}"
    try:
        sound = math.isfinite(audio.start_s) and audio.start_s >= 0 and 0 < audio.duration_s < math.inf
    except TypeError:
        sound = False
    if not sound:
        return f"times of {utterance.id!r} are wrong: start {audio.start_s!r} s, length {audio.duration_s!r} s"
    return ""
