"""Scoring normalisers for any script, by name and version; a score names the one it was made with (law 6).

Example::

    normalise("Don’t  stop!") == "don't stop"
    get("orature-none@1")("Don’t  stop!") == "Don’t stop!"

What `orature-basic@1` does, in this order:

1. NFC, not NFKC: NFKC makes different letters equal (ſ and s, ² and 2, ﬁ and f+i).
2. Removes what is invisible and carries no spelling: byte order marks, soft hyphens, zero-width spaces, direction
   marks, emoji selectors after a symbol, and ZWJ and ZWNJ unless they follow a letter, mark or number (as in Indic
   scripts and Persian, where they are spelling).
3. Lower case by Unicode's context rules (final sigma) and no locale. Not `casefold`, which makes Maße and Masse equal.
   `orature-turkic@1` differs here only: I becomes ı and İ becomes i.
4. Punctuation (P*) and symbols (S*) become a space, or nothing between two letters of a script that is written without
   spaces. What is spelling in some language stays:
   - inside a word: apostrophes, hyphens, colon (length, ``go:la``), middle dot (``col·legi``), ``! | ^ ´ ` ``;
     ``. ,`` between digits;
   - at the edge of a word: one apostrophe that is not half of a pair of quotation marks (``tzoq'``, ``‘okina``),
     and ``!`` or ``|`` before a word (click letters on a plain keyboard);
   - everywhere: tone letters and other modifier symbols, geresh and gershayim, Burmese ၌ ၍ ၎ ၏ (they are words).
   One spelling for look-alikes on keyboards: ’ and ＇ become ', ‐ and ‑ become -. ‘ stays: Uzbek o‘ is not o’.
5. White space is folded. Combining marks (Mn, Mc, Me) are never removed, so two words over the letters of one alphabet
   never become equal except by case.

All of it is idempotent. Classes come from Python's own Unicode tables (`unicodedata.unidata_version`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from unicodedata import category, normalize

from orature.core.errors import ConfigError
from orature.text.language import is_spaceless

NORMALISER = "orature-basic@1"
RAW = "orature-none@1"
TURKIC = "orature-turkic@1"
_TURKIC_LANGUAGES = frozenset(
    ["az", "aze", "azb", "azj", "crh", "gag", "kk-latn", "kdr", "lzz", "tr", "tur", "tt-latn", "tat-latn"]
)

_GAP = "\x00"
"""Stands for removed punctuation until it is known whether a space belongs there (controls are gone by then)."""
_INVISIBLE = (0x00AD, 0x061C, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF)
_IN_WORD_ACCENT = (0x055B, 0x055C, 0x055E)  # Armenian emphasis, exclamation and question marks stand on a vowel
_JOINERS = "\u200c\u200d"
_SELECTORS = "\ufe0e\ufe0f"
_TONE_LETTERS = (
    (0x02C2, 0x02DF),
    (0x02E5, 0x02FF),
    (0xA700, 0xA721),
    (0xA789, 0xA78A),
    (0xAB5B, 0xAB5B),
    (0xAB6A, 0xAB6B),
)
_SPELLING = frozenset("\u05f3\u05f4\u104c\u104d\u104e\u104f")
_OPENING = "'‘"
_EDGE = "'‘!|"
_INNER = "'‘-!|:·^´`\u1400\u058a\u05be\u2e17"
"""Characters that are spelling inside a word, punctuation elsewhere."""


def _is_kept(character: str) -> bool:
    kind = category(character)
    if kind[0] not in "PS" or character in _SPELLING or character in _INNER or character in ".,٫٬‚":
        return True
    return kind == "Sk" and any(low <= ord(character) <= high for low, high in _TONE_LETTERS)


class _Plain(dict[int, str | None]):
    """Step 2: what is invisible goes, every kind of white space and control becomes a space."""

    def __missing__(self, point: int) -> str | None:
        character = chr(point)
        value: str | None = character
        if point in _INVISIBLE or point in _IN_WORD_ACCENT:
            value = None
        elif category(character) in ("Zs", "Zl", "Zp", "Cc"):
            value = " "
        elif character in "’＇\u055a":
            value = "'"
        elif character in "\u2010\u2011":
            value = "-"
        self[point] = value
        return value


class _Gaps(dict[int, str]):
    """Step 4: punctuation and symbols become a gap."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        self[point] = character if _is_kept(character) else _GAP
        return self[point]


class _Spaces(dict[int, str]):
    """All white space and controls become a space; nothing else changes."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        self[point] = " " if category(character) in ("Zs", "Zl", "Zp", "Cc") else character
        return self[point]


_PLAIN, _GAPS, _SPACES = _Plain(), _Gaps(), _Spaces()
_POINT_OUTSIDE_NUMBER = re.compile(r"(?<!\d)[.,٫٬]|[.,٫٬](?!\d)")
_DOUBLED = re.compile(r"([-:!|·])\1+")
_HEBREW_QUOTE = re.compile('(?<=[\u05d0-\u05ea])"(?=[\u05d0-\u05ea])')
_LOW_QUOTE_INSIDE = re.compile(f"(?<!^)(?<![{_GAP} ])‚")
_GAP_RUN = re.compile(f"[{_GAP} ]*{_GAP}[{_GAP} ]*")
_EDGES = re.compile(f"([‚{re.escape(_INNER)}]*)(.*?)([{re.escape(_INNER)}]*)", re.DOTALL)


def lower(text: str) -> str:
    """Lower case without a locale."""
    return text.lower()


def lower_turkic(text: str) -> str:
    """Lower case for languages with dotted and dotless i; `text` must be NFC."""
    return text.replace("İ", "i").replace("I", "ı").lower()


def _drop_functionless(text: str) -> str:
    """Joiners that follow no letter, mark or number, and emoji selectors after a symbol."""
    if not any(sign in text for sign in _JOINERS + _SELECTORS):
        return text
    kept: list[str] = []
    for character in text:
        before = category(kept[-1])[0] if kept else "Z"
        if character in _JOINERS and not (before in "LMN" or (kept and kept[-1] in _JOINERS)):
            continue
        if character in _SELECTORS and before == "S":
            continue
        kept.append(character)
    return "".join(kept)


def _close_gap(run: re.Match[str]) -> str:
    if " " not in run.group() and run.start() > 0 and run.end() < len(run.string):
        before, after = run.string[run.start() - 1], run.string[run.end()]
        if is_spaceless(before) and is_spaceless(after):
            return ""
    return " "


def _edge_sign(signs: str, allowed: str) -> str:
    """The one sign of an edge run that can be spelling, or nothing."""
    own = [sign for sign in signs if sign in allowed]
    return own[0] if len(own) == 1 else ""


def _strip_edges(text: str) -> str:
    """Drops punctuation at the edges of words; apostrophes there go only when they pair as quotation marks."""
    words: list[list[str]] = []
    single: list[int] = []
    low: list[int] = []
    for token in text.split():
        parts = _EDGES.fullmatch(token)
        head, body, tail = parts.groups() if parts else ("", token, "")
        if not body:
            if "'" in head and single:
                words[single.pop()][0] = ""
            continue
        words.append([_edge_sign(head, _EDGE + "‚"), body, _edge_sign(tail, _OPENING)])
        here = words[-1]
        if here[0] in ("'", "‘"):
            single.append(len(words) - 1)
        elif here[0] == "‚":
            here[0] = ""
            low.append(len(words) - 1)
        stack = {"'": single, "‘": low}.get(here[2])
        if stack:
            words[stack.pop()][0] = ""
            here[2] = ""
    return " ".join("".join(parts) for parts in words)


def _fold(text: str, lower_case: Callable[[str], str]) -> str:
    text = normalize("NFC", _drop_functionless(normalize("NFC", text).translate(_PLAIN)))
    text = normalize("NFC", lower_case(text))
    text = _HEBREW_QUOTE.sub("\u05f4", text)
    text = _POINT_OUTSIDE_NUMBER.sub(_GAP, text.translate(_GAPS))
    text = _LOW_QUOTE_INSIDE.sub(_GAP, _DOUBLED.sub(_GAP, text))
    return _strip_edges(_GAP_RUN.sub(_close_gap, " ".join(text.split())))


def _basic(text: str) -> str:
    return _fold(text, lower)


def _turkic(text: str) -> str:
    return _fold(text, lower_turkic)


def strip_punctuation(text: str) -> str:
    """What the scoring normalisers do, with case kept."""
    return _fold(text, str)


def _none(text: str) -> str:
    return " ".join(normalize("NFC", text).translate(_SPACES).split())


NORMALISERS: Mapping[str, Callable[[str], str]] = MappingProxyType({NORMALISER: _basic, RAW: _none, TURKIC: _turkic})
"""All scoring normalisers; a published one never changes: a change is a new version beside it."""


def get(name: str = NORMALISER) -> Callable[[str], str]:
    """The normaliser called `name`; ConfigError with the nearest known name."""
    try:
        return NORMALISERS[name]
    except KeyError:
        near = difflib.get_close_matches(name, NORMALISERS, n=1, cutoff=0.0)
        raise ConfigError(
            f"there is no scoring normaliser {name!r}", next_step=f"nearest: {near[0]}; all: {', '.join(NORMALISERS)}"
        ) from None


def normalise(text: str, name: str = NORMALISER) -> str:
    """`text` as it is scored: words with single spaces between them."""
    return get(name)(text)


def normaliser_for(language: str) -> str:
    """The normaliser that fits a BCP-47 tag: the Turkic one for languages with dotless i, else the basic one."""
    tag = language.lower()
    parts = tag.split("-")
    known = parts[0] in _TURKIC_LANGUAGES or "-".join(parts[:2]) in _TURKIC_LANGUAGES
    return TURKIC if known and "cyrl" not in parts and "arab" not in parts else NORMALISER
