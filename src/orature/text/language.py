"""Language tags (BCP-47) and scripts, from the standard library's Unicode tables.

Example::

    canonical_tag("ENG-latn-gb") == "eng-Latn-GB"
    script_of("नमस्ते") == "Devanagari"
"""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from unicodedata import category, name

from orature.core.errors import ConfigError

UNKNOWN = "und"
_TAG = re.compile(
    r"(?:(?P<language>[a-z]{2,3}(?:-[a-z]{3}){0,3}|[a-z]{4,8})"
    r"(?:-(?P<script>[a-z]{4}))?(?:-(?P<region>[a-z]{2}|[0-9]{3}))?"
    r"(?P<variants>(?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)(?P<extensions>(?:-[a-wyz0-9](?:-[a-z0-9]{2,8})+)*)"
    r"(?P<private>-x(?:-[a-z0-9]{1,8})+)?|(?P<only_private>x(?:-[a-z0-9]{1,8})+))\Z"
)
_WORDS = ("COMBINING", "MODIFIER", "FULLWIDTH", "HALFWIDTH", "CIRCLED", "SQUARED", "PARENTHESIZED", "DOUBLE-STRUCK")
_LONG = {
    "CANADIAN": "Canadian Aboriginal",
    "CJK": "Han",
    "OL": "Ol Chiki",
    "NKO": "N'Ko",
    "MEETEI": "Meetei Mayek",
    "TAI": "Tai",
    "SYLOTI": "Syloti Nagri",
    "OLD": "Old",
    "PHAGS-PA": "Phags-pa",
    "NYIAKENG": "Nyiakeng Puachue Hmong",
    "PAHAWH": "Pahawh Hmong",
    "IDEOGRAPHIC": "Han",
    "MASARAM": "Masaram Gondi",
    "GUNJALA": "Gunjala Gondi",
    "HANIFI": "Hanifi Rohingya",
    "WARANG": "Warang Citi",
    "MRO": "Mro",
    "KANGXI": "Han",
    "KATAKANA-HIRAGANA": "Katakana",
    "NEW": "New Tai Lue",
    "MICRO": "Greek",
    "OHM": "Greek",
    "KELVIN": "Latin",
    "ANGSTROM": "Latin",
    "FEMININE": "Latin",
    "MASCULINE": "Latin",
}
COMMON = "Common"
_SPACELESS = frozenset(
    {"Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tai", "Javanese", "Balinese"}
)


def canonical_tag(tag: str) -> str:
    """`tag` in canonical spelling (eng-Latn-GB), meaning unchanged: ISO 639-3 codes stay as given; "" becomes "und".

    ConfigError for what is not a well-formed BCP-47 tag. Underscores (``fa_IR``) are read as hyphens.
    """
    given = tag.strip().replace("_", "-").lower()
    if not given:
        return UNKNOWN
    parts = _TAG.match(given)
    if parts is None:
        raise ConfigError(
            f"{tag!r} is not a language tag",
            next_step="write a BCP-47 tag: sw, swh, que-EC, uz-Cyrl; und where the language is unknown",
        )
    if parts["only_private"]:
        return given
    script = f"-{parts['script'].title()}" if parts["script"] else ""
    region = f"-{parts['region'].upper()}" if parts["region"] else ""
    return f"{parts['language']}{script}{region}{parts['variants']}{parts['extensions']}{parts['private'] or ''}"


def is_tag(tag: str) -> bool:
    """True for a well-formed BCP-47 tag."""
    try:
        return bool(canonical_tag(tag)) and bool(tag.strip())
    except ConfigError:
        return False


@lru_cache(maxsize=65536)
def script_of_character(character: str) -> str:
    """Name of a letter's script ("Latin", "Devanagari", "Han"), "Common" for what belongs to none.

    Read from the character's Unicode name, whose first words name the script; not the full Script property, but equal
    to it for letters of living scripts.
    """
    if category(character)[0] not in "LM":
        return COMMON
    words = name(character, "").split(" ")
    while words and words[0] in _WORDS:
        if words[0] in ("COMBINING", "MODIFIER"):
            return COMMON
        words = words[1:]
    if not words or not words[0]:
        return COMMON
    first = words[0].split("-")[0] if words[0].startswith("CJK") else words[0]
    return _LONG.get(first, first.title())


def scripts(text: str) -> Counter[str]:
    """How many letters and marks of each script `text` holds, without "Common"."""
    found = Counter(script_of_character(character) for character in text)
    del found[COMMON]
    return found


def script_of(text: str) -> str:
    """The script of most letters of `text`, "Common" when it holds none; ties go to the first in the alphabet."""
    found = scripts(text)
    return min(found, key=lambda script: (-found[script], script)) if found else COMMON


@lru_cache(maxsize=65536)
def is_spaceless(character: str) -> bool:
    """True for a letter of a script that is written without spaces between words."""
    return category(character)[0] == "L" and script_of_character(character) in _SPACELESS
