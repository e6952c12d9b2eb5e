"""Escaping, numbers, and the direction and clusters of letters in any script.

Example::

    escape("<b>"), percent(0.3124), direction("שלום"), clusters("नमस्ते")
"""

from __future__ import annotations

import html
import unicodedata
from typing import Any

ONE_TRAINING = (
    "Each arm is one training: its interval says what other utterances might give, not what another seed might. "
    "Train again with other seeds, and <code>orature compare A1 B1 A2 B2</code> gives both."
)
_JOINERS = ("\u200c", "\u200d")
_VIRAMA = 9
_DOTTED_CIRCLE = "\u25cc"
_NAMED = {" ": "\u2423", "": "\u2205", "\u00a0": "\u2423", "\u200c": "ZWNJ", "\u200d": "ZWJ"}
_CONTROL = dict.fromkeys((*range(0x00, 0x09), 0x0B, *range(0x0E, 0x20), *range(0x7F, 0xA0)), "\ufffd")
_LONE = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def escape(value: object) -> str:
    """`value` as text that no browser takes for markup, in an element or in a quoted attribute."""
    return html.escape(str(value).translate(_CONTROL | _LONE), quote=True)


def percent(value: float | None) -> str:
    """A fraction in percent with one decimal: 0.3124 is 31.2 %; a narrow no-break space before the sign."""
    return "–" if value is None else f"{100 * value:.1f}\u202f%"


def span(rate: dict[str, Any]) -> str:
    """The interval of a rate, "29.0 to 33.1 %", or why there is none."""
    if rate.get("low") is None or rate.get("high") is None:
        return "too few to give an interval"
    return f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}\u202f%"


def whole(value: float) -> str:
    """A count with thousands separated."""
    return f"{value:,.0f}"


def duration(hours: float) -> str:
    """Hours with two decimals from one hour on, minutes below, seconds below two minutes."""
    if hours >= 1:
        return f"{hours:.2f}\u202fh"
    return f"{hours * 60:.1f}\u202fmin" if hours * 60 >= 2 else f"{hours * 3600:.0f}\u202fs"


def direction(text: str) -> str:
    """ "rtl" when the first strong character is written from right to left, else "ltr"."""
    for sign in text:
        kind = unicodedata.bidirectional(sign)
        if kind in ("R", "AL"):
            return "rtl"
        if kind == "L":
            return "ltr"
    return "ltr"


def clusters(text: str) -> list[str]:
    """`text` in letters as they are drawn: marks, joiners and conjuncts stay with the letter before them."""
    found: list[str] = []
    for sign in text:
        joins = unicodedata.category(sign).startswith("M") or sign in _JOINERS
        after = found and (found[-1][-1] == _JOINERS[1] or unicodedata.combining(found[-1][-1]) == _VIRAMA)
        if found and (joins or after) and not found[-1].isspace():
            found[-1] += sign
        else:
            found.append(sign)
    return found


def visible(sign: str) -> str:
    """One code point so that it can be seen: spaces and nothing by a sign, marks on a dotted circle."""
    if sign in _NAMED:
        return _NAMED[sign]
    return _DOTTED_CIRCLE + sign if unicodedata.category(sign[0]).startswith("M") else sign


def sign_name(sign: str) -> str:
    """The Unicode name of one code point, "nothing" for the empty string."""
    return "nothing" if sign == "" else unicodedata.name(sign[0], f"U+{ord(sign[0]):04X}").lower()
