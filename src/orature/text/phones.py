"""From espeak-ng's IPA to the phones of one inventory for all languages, or a named reason why not.

A phone is a letter of the IPA chart (`phone_letters.tsv`) with the modifiers that tell phones apart, in NFD and in one
order. The rules, in the order in which they are applied:

1. NFD. Marks of another language's voice, as in ``(en)``, go: what is spoken between them stays, it is in the audio.
2. Symbols that are no IPA, or the second spelling of one sound, by `phone_symbols.json` (each with its reason), first
   those of the voice: tone 3 of Chinese, Thai and Vietnamese voices comes out of the engine as the letter of a vowel.
3. Stress, syllable breaks, tie bars, tone letters, tone digits and tone diacritics go. An affricate is two phones.
4. Kept modifiers: long ː, aspirated ʰ, ejective ʼ, palatalised ʲ, labialised ʷ, velarised ˠ, pharyngealised ˤ,
   nasalised, syllabic, voiceless. The finer ones (dental, apical, raised, centralised, non-syllabic ...) go.

Whatever is then neither a letter nor a modifier is refused by its code point: nothing is dropped silently.

Example::

    phones_of("hˈæləʊ(fr)ʒˈuː")            # ("h", "æ", "l", "ə", "ʊ", "ʒ", "uː")
    phones_of("tsˈi̪5", "sit/cmn")          # ("t", "s", "ɨ")
    phones_of("a☺")                        # Refusal("unknown-symbol", "U+263A ...")

Source of the letters: the chart of the International Phonetic Association (revised to 2020).
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unicodedata import name, normalize

from orature.core.types import Refusal

UNKNOWN_SYMBOL, NO_PHONES = "unknown-symbol", "no-phones"
KEPT = "ʰʼʲʷˠˤ\u0303\u0329\u0325ː"
"""Modifiers of a phone in their order: aspirated, ejective, palatalised, labialised, velarised, pharyngealised,
nasalised, syllabic, voiceless, long."""
_SAME = {"\u030a": "\u0325", "\u030d": "\u0329", "ʱ": "ʰ"}
"""Other places or spellings of a kept modifier: ring above, line above, breathy release."""
_DROPPED = frozenset(
    "ˈˌˑ͜͡|‖‿"  # stress, half length, ties, breaks
    "˥˦˧˨˩↑↓↗↘ꜛꜜ¹²³⁴⁵⁶⁷⁸⁹0123456789"  # tones
    "\u0300\u0301\u0302\u0304\u030b\u030c\u030f\u1dc4\u1dc5\u1dc6\u1dc7\u1dc8\u1dc9"  # tones as accents
    "\u0306\u0308\u0318\u0319\u031a\u031c\u031d\u031e\u031f\u0320\u0324\u032a\u032c\u032f\u0330\u0334\u0339\u033a\u033b\u033c\u033d"
    "ᵝ˞\u200d\u200c\u2060"
)
_SWITCH = re.compile(r"\((?P<tag>[a-z]{2,4}(?:-[A-Za-z0-9]+)*)\)")
_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Letter:
    """A base letter: a consonant by place, manner and voice, or a vowel by height, backness and rounding."""

    phone: str
    vowel: bool
    place: str
    manner: str
    mark: bool
    """Of a consonant: voiced; of a vowel: rounded."""


@cache
def letters() -> dict[str, Letter]:
    """The letters of the inventory by their NFD spelling, which may have two code points (ç)."""
    with (_HERE / "phone_letters.tsv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return {row[0]: Letter(row[0], row[1] == "vowel", row[2], row[3], row[4] == "1") for row in rows}


def is_phone(phone: str) -> bool:
    """True for a letter with kept modifiers in their order, each at most once."""
    letter = next((phone[:size] for size in (2, 1) if phone[:size] in letters()), "")
    places = [KEPT.find(mark) for mark in phone[len(letter) :]]
    return bool(letter) and -1 not in places and places == sorted(set(places))


def phones_of(ipa: str, voice: str = "") -> tuple[str, ...] | Refusal:
    """The phones of espeak-ng's IPA for a text, read by the voice of that identifier ("sit/cmn").

    Refusal "unknown-symbol" with the code point and its place, or "no-phones" where nothing is spoken.
    """
    found: list[str] = []
    for word in _SWITCH.sub(" ", ipa).split():
        phones = _segmented(_respelled(normalize("NFD", word), voice))
        if isinstance(phones, Refusal):
            return phones
        found += phones
    return tuple(found) if found else Refusal(NO_PHONES, "nothing is spoken")


def foreign_share(ipa: str, language: str) -> float:
    """Of the symbols of `ipa`, the share that the engine speaks with the voice of another language than `language`.

    A voice spells letters that it does not know in English: "(en)tʃˈaɪniːz(ja)lˈetə".
    """
    pieces = _SWITCH.split(ipa)
    own = language.split("-")[0].lower()
    total = sum(len(piece) for piece in pieces[::2])
    foreign = sum(len(piece) for tag, piece in zip(pieces[1::2], pieces[2::2], strict=True) if tag.split("-")[0] != own)
    return foreign / total if total else 0.0


def simplified(phone: str) -> str:
    """A phone without its last modifier; a bare letter stays. For a vocabulary that lacks a rare phone."""
    letter = next((phone[:size] for size in (2, 1) if phone[:size] in letters()), phone)
    return phone[:-1] if len(phone) > len(letter) else phone


def _segmented(symbols: str) -> list[str] | Refusal:
    known = letters()
    found: list[tuple[str, set[str]]] = []
    at = 0
    while at < len(symbols):
        size = next((size for size in (2, 1) if symbols[at : at + size] in known), 0)
        mark = _SAME.get(symbols[at], symbols[at])
        if size:
            found.append((symbols[at : at + size], set()))
        elif mark in KEPT and found:
            found[-1][1].add(mark)
        elif mark not in _DROPPED:
            return Refusal(UNKNOWN_SYMBOL, f"U+{ord(mark):04X} {name(mark, '(no name)')} in {symbols!r}")
        at += size or 1
    return [letter + "".join(sorted(marks, key=KEPT.index)) for letter, marks in found]


def _respelled(word: str, voice: str) -> str:
    for prefix, rules in _symbols():
        if voice.startswith(prefix):
            pattern, table = rules
            word = pattern.sub(lambda hit, table=table: table[_plain(hit[0])] + _stress(hit[0]), word)  # type: ignore[misc]
    return word


def _plain(symbols: str) -> str:
    return symbols.translate(_STRESS)


def _stress(symbols: str) -> str:
    return "".join(mark for mark in symbols if mark in "ˈˌ")


_STRESS = {ord("ˈ"): None, ord("ˌ"): None}
_Rules = tuple[re.Pattern[str], dict[str, str]]


@cache
def _symbols() -> list[tuple[str, _Rules]]:
    """Rules by the beginning of a voice's identifier, the longest beginnings first, "" (all voices) last."""
    raw = json.loads((_HERE / "phone_symbols.json").read_text(encoding="utf-8"))
    groups = {**raw["voices"], "": raw["all"]}
    found = []
    for prefix in sorted(groups, key=lambda prefix: (-len(prefix), prefix)):
        table = {normalize("NFD", row["from"]): normalize("NFD", row["to"]) for row in groups[prefix]}
        keys = sorted(table, key=lambda key: (-len(key), key))
        pattern = "|".join("[ˈˌ]?".join(map(re.escape, key)) for key in keys)
        found.append((prefix, (re.compile(pattern), table)))
    return found
