"""Which espeak-ng voice reads a language: its own, or the nearest one, with the reason and a spelling that it can read.

`espeak_fallback.json` names, for languages without a voice, a neighbour by family, region and spelling. espeak-ng says
the names of letters that it does not know ("e with dot below"), which would put words into the audio that no transcript
holds. So a neighbour is shown a spelling of its own letters, and a text with others, or with digits (it would read them
in its own language), is refused.

Example::

    reading = Readings(rows).of("yo")
    print(reading.voice, reading.because)            # roa/it, Yoruba has seven vowels; ...
    print(reading.shown("ọmọ ẹgbẹ́"))                 # òmò ègbè
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import category, normalize

from orature.core.errors import ConfigError
from orature.engines.language_codes import codes_of
from orature.text.language import script_of_character

_TABLE = Path(__file__).with_name("espeak_fallback.json")
_SCRIPT = 4
"""Letters of a subtag that names a script (RFC 5646, section 2.2.3)."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The voice (`voice`: espeak's identifier, `tag`: its language) for a `language`.

    `because` is "" for a voice of that very language.
    """

    language: str
    tag: str
    voice: str
    because: str = ""
    tones: bool = False
    spelling: Mapping[str, str] = field(default_factory=dict)
    letters: frozenset[str] = frozenset()
    script: str = ""

    @property
    def told(self) -> str:
        """One sentence for a person; "" for a voice of that very language."""
        if not self.because:
            return ""
        because = self.because[0].upper() + self.because[1:]
        return f"espeak-ng has no voice for {self.language}: reading with {self.tag}. {because}"

    def shown(self, text: str) -> str:
        """The text as the voice is given it; ValueError with the letters or digits that it would misread."""
        if not self.because:
            return text
        clusters = [self._cluster(cluster) for cluster in _clusters(text.lower())]
        spelled = "".join(clusters)
        if self.spelling:
            keys = sorted(self.spelling, key=lambda key: (-len(key), key))
            pattern = "|".join(map(re.escape, keys))
            spelled = re.sub(pattern, lambda found: self.spelling[found[0]], f" {spelled} ").strip()
        wrong = sorted({letter for letter in spelled if not self._reads(letter)})
        if wrong:
            raise ValueError(f"the voice {self.tag} would misread {' '.join(wrong)}")
        return spelled

    def _cluster(self, cluster: str) -> str:
        """A letter with its marks, less those that neither the spelling nor the voice knows."""
        if self.script or cluster in self.spelling or (not self.tones and cluster in self.letters):
            return cluster
        base, marks = normalize("NFD", cluster)[0], normalize("NFD", cluster)[1:]
        for mark in marks:
            one = normalize("NFC", base + mark)
            if one in self.spelling or (not self.tones and one in self.letters):
                return one
        return base

    def _reads(self, letter: str) -> bool:
        kind = category(letter)[0]
        if self.script and kind in "LM":
            return script_of_character(letter) in (self.script, "Common", "Inherited", "Zyyy", "Zinh")
        return letter in self.letters if kind in "LM" else kind != "N"


class Readings:
    """The voices of espeak-ng (rows with `id`, `language` and `tags`), looked up by BCP-47 tag or identifier.

    `forced` is a tag or identifier that reads everything, as a person may choose.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, silent: Iterable[str] = (), forced: str = "") -> None:
        dumb = set(silent)
        self._tags: dict[str, str] = {}
        known = [row for row in rows if row["id"] not in dumb]
        self._rows = known
        for row in known:
            self._tags.setdefault(str(row["id"]).lower(), str(row["id"]))
        for row in known:
            self._tags.setdefault(str(row["language"]).lower(), str(row["id"]))
        for tag, voice in ((tag, row["id"]) for row in known for tag in row["tags"]):
            self._tags.setdefault(str(tag).lower(), str(voice))
        self._names = sorted({str(row["language"]) for row in known} | set(_table()["languages"]))
        self._found: dict[str, Reading] = {}
        self._forced = self.of(forced) if forced else None

    def of(self, language: str) -> Reading:
        """The reading of a language; ConfigError names the nearest tags where none fits."""
        if language not in self._found:
            self._found[language] = self._look_up(language)
        return self._found[language]

    def varieties(self, language: str) -> dict[str, str]:
        """Other voices of a language by their tags: those of its regions, in its own script ("en": en-us, en-029 ...).

        {} for a tag that names a region itself, for a language that a neighbour reads, and where one voice reads all.
        """
        reading = self.of(language)
        if self._forced or reading.because or "-" in language:
            return {}
        found: dict[str, str] = {}
        for row in self._rows:
            parts = str(row["language"]).lower().split("-")
            place = str(row["id"]).split("/")[-1].lower().split("-")
            scripts = [part for part in {*parts[1:], *place[1:]} if len(part) == _SCRIPT and part.isalpha()]
            if parts[0] == reading.tag.lower().split("-")[0] and not scripts and row["id"] != reading.voice:
                found.setdefault(str(row["language"]), str(row["id"]))
        return found

    def _look_up(self, language: str) -> Reading:
        if forced := getattr(self, "_forced", None):
            return Reading(language, forced.tag, forced.voice)
        if voice := self._tags.get(language.lower()):
            return Reading(language, language, voice)
        parts = language.strip().replace("_", "-").split("-")
        while parts:
            for tag in _spellings(parts):
                if found := self._named(language, tag):
                    return found
            parts.pop()
        base = language.split("-")[0].lower()
        relatives = sorted(tag for tag in self._tags if tag.split("-")[0] == base)
        if base and relatives:
            return Reading(language, relatives[0], self._tags[relatives[0]])
        near = difflib.get_close_matches(language, self._names, n=3, cutoff=0.0)
        raise ConfigError(
            f"espeak-ng has no voice for {language!r}, and no neighbour of it is known",
            next_step=f"nearest tags: {', '.join(near)}; or choose one that reads everything, as in espeak:sw",
        )

    def _named(self, language: str, tag: str) -> Reading | None:
        if voice := self._tags.get(tag.lower()):
            return Reading(language, tag, voice)
        table = _table()
        row = table["languages"].get(tag) or table["languages"].get(tag.lower())
        if row is None or row["reads_with"].lower() not in self._tags:
            return None
        reader = str(row["reads_with"])
        voice = table["voices"][reader]
        return Reading(
            language,
            reader,
            self._tags[reader.lower()],
            str(row["because"]),
            bool(row.get("tones")),
            table["spellings"].get(row.get("spelling"), {}),
            frozenset(voice.get("letters", "")),
            str(voice.get("script", "")),
        )


def _spellings(parts: Sequence[str]) -> list[str]:
    """A tag, and where it is a language alone its other codes too."""
    tag = "-".join(parts)
    return [tag] if len(parts) > 1 else [tag, *(code for code in codes_of(tag) if code != tag)]


def _clusters(text: str) -> list[str]:
    """Letters with the marks that follow them, composed."""
    return [normalize("NFC", found) for found in re.findall(r".[\u0300-\u036f]*", normalize("NFD", text), re.DOTALL)]


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return table
