"""Numbers and symbols written out as they are read aloud, or the reason why they cannot be.

num2words (LGPL, extra `text`) gives the words of numbers for some fifty languages. It is asked with care:

- by language code, never by the first two letters of one (num2words would read Cebuano, `ceb`, as Chechen, `ce`);
- an ordinal only where the language has a converter of its own: several inherit one that returns the cardinal, and that
  of Czech raises; ordinals that change with gender and case (German, Slavic) are refused;
- what comes back must be words in the script of the sentence.

Years in languages that read them as ordinals, times, dates in figures, scores, fractions, telephone numbers, roman
numerals and numbers glued to letters have no one reading: `digits-unreadable`, `roman-numeral`. In languages with case
(Slavic, Baltic, Finnish) a number is given in its citation form, which can be wrong inside a sentence.

Example::

    Reader("en").spoken("In 1958 it cost $2.50.") == "In nineteen fifty-eight it cost two dollars fifty cents."
    Reader("yo").spoken("Ọdún 1958.")              # Refusal("digits-unreadable", ...)
"""

from __future__ import annotations

import re
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal
from unicodedata import category, decimal, normalize

from orature.core.errors import MissingExtra
from orature.core.types import Refusal
from orature.text.language import is_spaceless, script_of
from orature.text.split_sentences import DOT_ORDINALS
from orature.text.spoken_tables import (
    CODES,
    CURRENCIES,
    CURRENCY_LANGUAGES,
    DECIMAL_POINT,
    DECIMALS,
    MASCULINE_ONLY,
    ONE_AGREES,
    PERCENT,
    PERCENT_FIRST,
    PERCENT_NO_DECIMALS,
    RANGE,
    REGIONS,
    SYMBOLS,
    UNIT_SIGNS,
    UNITS,
    YEARS,
)

DIGITS, SYMBOL, ROMAN = "digits-unreadable", "symbol-unreadable", "roman-numeral"
Kind = Literal["cardinal", "ordinal", "year"]
_TROUBLE = (
    RuntimeError,
    OverflowError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
)
_MOST_DIGITS = 15
_PREFIX = "|".join(sorted((re.escape(sign) for sign in CURRENCIES if not sign.isalpha()), key=len, reverse=True))
_EXPRESSION = re.compile(
    rf"(?P<sign>(?<![\w.,])[-−])?(?:(?P<currency>{_PREFIX})\s?)?(?P<number>\d+(?:[.,'’ ]\d{{3}}(?!\d))+(?:[.,]\d+)?|"
    r"\d+[.,]\d+|\d+)"
)
_CURRENCY_AFTER = re.compile(r"\s?(" + "|".join(sorted(map(re.escape, CURRENCIES), key=len, reverse=True)) + r")(?!\w)")
_UNIT = re.compile(r"\s?(" + "|".join(sorted(map(re.escape, UNIT_SIGNS), key=len, reverse=True)) + r")(?![\w/²³])")
_PERCENT = re.compile(r"\s?%")
_ORDINAL = {
    "en": re.compile(r"(?:st|nd|rd|th)\b", re.IGNORECASE),
    "fr": re.compile(r"(?:er|e|è|ème|eme|ième|nd)\b"),
    "es": re.compile(r"\.?º"),
    "pt": re.compile(r"\.?º"),
    "it": re.compile(r"\.?º"),
}
_RANGE = re.compile(r"\s?[-–—]\s?(\d+)(?![\d.,:/]*\d)")
_ROMAN = re.compile(r"(?<![\w'’-])(?=[IVX]{2,})X{0,3}(?:IX|IV|V?I{0,3})(?![\w'’-])")
_REFUSED_SIGNS = frozenset("/\\@#*%_§¶")
_INFLECTED = frozenset("be ce cs fi is kz lt lv pl ru sk sl sr uk".split())


def has_num2words() -> bool:
    """True where num2words is installed."""
    return find_spec("num2words") is not None


def number_code(language: str) -> str:
    """The code under which num2words knows a BCP-47 language; "" when it does not."""
    parts = language.split("-")
    region = next((part for part in parts[1:] if len(part) == 2), "")
    base = CODES.get(parts[0].lower(), "")
    return REGIONS.get(f"{base}-{region.upper()}", base)


class Reader:
    """Writes out the numbers and symbols of sentences in one language; without num2words digits are refused.

    MissingExtra when `numbers` is asked for, the language has them and num2words is not installed.
    """

    def __init__(self, language: str, *, numbers: bool = True) -> None:
        self.language = language
        full = number_code(language) if numbers else ""
        self.code = full.split("_")[0] or language.split("-")[0].lower()
        self._converter: Any = _converter(full) if full else None
        self._point, self._group = (".", ",") if self.code in DECIMAL_POINT else (",", ".")

    @property
    def reads_numbers(self) -> bool:
        """True when digits can become words."""
        return self._converter is not None

    @property
    def inflected(self) -> bool:
        """True where the words of numbers change with their place in the sentence, which is not followed."""
        return self.reads_numbers and self.code in _INFLECTED

    def spoken(self, sentence: str) -> str | Refusal:
        """The sentence with numbers and symbols in words, NFC.

        Refusals: digits-unreadable, roman-numeral, symbol-unreadable.
        """
        roman = _ROMAN.search(sentence)
        if roman and roman.group():
            return Refusal(ROMAN, f"{roman.group()} may be read as a number, an ordinal or letters")
        text = _ascii_digits(sentence)
        if any(letter.isdigit() for letter in text):
            if self._converter is None:
                return Refusal(DIGITS, f"the numbers of {self.language} are not known")
            done = self._numbers(text)
            if isinstance(done, Refusal):
                return done
            text = done
        return self._symbols(text)

    def _numbers(self, text: str) -> str | Refusal:
        parts: list[str] = []
        at = 0
        while found := _EXPRESSION.search(text, at):
            number = found.group("number")
            words, end = self._expression(text, found)
            if not words:
                return Refusal(
                    DIGITS, f"{text[max(0, found.start() - 6) : end + 8].strip()!r}: {number} has no one reading"
                )
            if not same_script(words, text):
                return Refusal(DIGITS, f"the words of {number} are known in another script only")
            parts += [_unhyphened(text[at : found.start()]), words]
            at = end
            if at < len(text) and text[at].isalpha() and not is_spaceless(text[at]):
                return Refusal(DIGITS, f"{text[found.start() : at + 6]!r} is glued to letters")
        parts.append(text[at:])
        done = " ".join("".join(parts).split())
        if any(letter.isdigit() or category(letter) == "No" for letter in done):
            return Refusal(DIGITS, "a figure is left that has no one reading")
        return done

    def _expression(self, text: str, found: re.Match[str]) -> tuple[str, int]:
        """The words of one number with its sign, currency, unit ..., and where it ends; "" when it cannot be read."""
        number, end = found.group("number"), found.end()
        if _is_glued(text, found.start()):
            return "", end
        value = self._value(number)
        if value is None:
            return "", end
        minus = "" if not found.group("sign") else str(getattr(self._converter, "negword", "")).strip()
        if found.group("sign") and not minus:
            return "", end
        words, end = self._with_tail(text, end, value, number, found.group("currency") or "")
        return (f"{minus} {words}".strip() if words else ""), end

    def _with_tail(self, text: str, end: int, value: Decimal, number: str, currency: str) -> tuple[str, int]:
        rest = text[end:]
        if re.match(r"[.,:/]\d|/", rest):
            return "", end
        if currency:
            return self._money(value, currency), end
        if tail := _PERCENT.match(rest):
            return self._percent(value), end + tail.end()
        ordinal = _ORDINAL.get(self.code)
        if ordinal is not None and (tail := ordinal.match(rest)):
            return self._words(value, "ordinal"), end + tail.end()
        if tail := _CURRENCY_AFTER.match(rest):
            return self._money(value, tail.group(1)), end + tail.end()
        if tail := _UNIT.match(rest):
            return self._unit(value, tail.group(1)), end + tail.end()
        if tail := _RANGE.match(rest):
            return self._range(number, tail.group(1)), end + tail.end()
        if rest.startswith(".") and rest[1:].strip() and self.code in DOT_ORDINALS:
            return "", end
        if re.match(r"[-–]\w", rest) and self.code != "en":
            return "", end
        return self._plain(value, number), end

    def _value(self, number: str) -> Decimal | None:
        """The number that figures stand for in this language; None when they may stand for several."""
        group = f"{self._group}" if self._point == "." else f"{self._group}'’ "
        whole, mark, part = number.rpartition(self._point)
        if not mark:
            whole, part = number, ""
        elif not part.isdigit() or self.code not in DECIMALS:
            return None
        if not whole.isdigit():
            groups = re.split(f"[{re.escape(group)}]", whole)
            if any(sign not in group for sign in whole if not sign.isdigit()):
                return None
            if not 0 < len(groups[0]) <= 3 or any(len(one) != 3 for one in groups[1:]):
                return None
            whole = "".join(groups)
        if len(whole) + len(part) > _MOST_DIGITS or (len(whole) > 1 and whole[0] == "0"):
            return None
        return Decimal(f"{whole}.{part}") if part else Decimal(whole)

    def _plain(self, value: Decimal, number: str) -> str:
        year = len(number) == 4 and number.isdigit() and 1100 <= value <= 2099
        if year and self.code not in YEARS:
            return ""
        eras = self.code == "ja"  # to_year names the emperor's era
        return self._words(value, "year" if year and not eras else "cardinal")

    def _range(self, first: str, last: str) -> str:
        word = RANGE.get(self.code)
        if not word or len(last) - len(first) not in (0, 1) or int(last) <= int(first) or first[0] == "0":
            return ""
        pair = [self._plain(Decimal(one), one) for one in (first, last)]
        return f"{pair[0]} {word} {pair[1]}" if all(pair) else ""

    def _percent(self, value: Decimal) -> str:
        word, words = PERCENT.get(self.code, ""), self._words(value, "cardinal")
        if not word or not words or (self.code in PERCENT_NO_DECIMALS and value % 1):
            return ""
        return f"{word} {words}" if self.code in PERCENT_FIRST else f"{words} {word}"

    def _money(self, value: Decimal, sign: str) -> str:
        """The words of an amount; cents after a decimal mark with two figures."""
        code = CURRENCIES[sign]
        own = getattr(self._converter, "CURRENCY_FORMS", {})
        if self.code not in CURRENCY_LANGUAGES or code not in own or not _is_own(self._converter, self.code):
            return ""
        if self.code in MASCULINE_ONLY and code not in ("EUR", "USD"):
            return ""
        whole, cents = int(value), round((value - int(value)) * 100)
        if value * 100 % 1 or (cents and value.as_tuple().exponent != -2):
            return ""
        parts = [(whole, own[code][0]), (cents, own[code][1])] if cents else [(whole, own[code][0])]
        said = [self._counted(count, str(forms[0]), str(forms[1])) for count, forms in parts]
        return " ".join(said) if all(said) else ""

    def _unit(self, value: Decimal, sign: str) -> str:
        forms = UNITS.get(self.code, {}).get(sign)
        return self._counted(value, *forms) if forms else ""

    def _counted(self, count: Decimal | int, one: str, many: str) -> str:
        if self.code in ONE_AGREES and count % 10 == 1 and count % 100 != 11:
            return ""
        words = self._words(Decimal(count), "cardinal")
        single = count == 1 or (self.code == "fr" and count < 2)
        return f"{words} {one if single else many}" if words else ""

    def _words(self, value: Decimal, kind: Kind) -> str:
        """What num2words says, checked; "" where it fails or says something that is no words."""
        whole = value.as_tuple().exponent == 0
        if not whole and value.as_tuple().digits[-1] == 0:
            return ""  # 5.0 and 2.50 are read with their zeros, which num2words drops
        number: Any = int(value) if whole else float(value)
        try:
            said = str(getattr(self._converter, f"to_{kind}")(number))
        except _TROUBLE:
            return ""
        said = normalize("NFC", " ".join(said.replace(",", " ").replace("،", " ").split()))
        plain = all(category(letter)[0] in "LM" or letter in " -'’\u200c\u200d" for letter in said)
        return said if plain and any(map(str.isalpha, said)) else ""

    def _symbols(self, text: str) -> str | Refusal:
        table = SYMBOLS.get(self.code, {})
        parts: list[str] = []
        for place, sign in enumerate(text):
            if sign in table:
                parts.append(f" {table[sign]} ")
            elif _is_symbol(text, place):
                return Refusal(SYMBOL, f"{sign} has no one reading in {self.language}")
            else:
                parts.append(sign)
        return normalize("NFC", " ".join("".join(parts).split()))


def _unhyphened(before: str) -> str:
    """A space in place of the hyphen between a word and its number (COVID-19)."""
    return f"{before[:-1]} " if len(before) > 1 and before[-1] == "-" and before[-2].isalpha() else before


def _is_glued(text: str, start: int) -> bool:
    """Letters right before a number, or a figure with a mark before it: A4, 1.2.3, 10:30."""
    before = text[start - 1] if start else " "
    if before.isalpha() or category(before)[0] == "M":
        return not is_spaceless(before) and category(before)[0] != "M"
    return before in ".,:/" and start > 1 and text[start - 2].isdigit()


def _is_symbol(text: str, place: int) -> bool:
    sign = text[place]
    if category(sign) in ("No", "Nl"):
        return True
    if sign.isalnum() or sign == " ":
        return False
    if sign in "|^~`´":
        near = text[place - 1 : place] + text[place + 1 : place + 2]
        return not any(map(str.isalpha, near))
    return sign in _REFUSED_SIGNS or category(sign) in ("Sm", "Sc", "So", "No")


def _ascii_digits(text: str) -> str:
    if text.isascii():
        return text
    return "".join(str(decimal(letter)) if category(letter) == "Nd" else letter for letter in text)


def _is_own(converter: Any, code: str) -> bool:
    """False where the names of currencies are the English ones, inherited."""
    if code == "en":
        return True
    owner = next((kind for kind in type(converter).__mro__ if "CURRENCY_FORMS" in vars(kind)), None)
    return owner is not None and not owner.__module__.endswith(("lang_EU", "base", "lang_EN"))


def _converter(code: str) -> Any:
    try:
        return import_module("num2words").CONVERTER_CLASSES.get(code)
    except ImportError as error:
        raise MissingExtra(
            "numbers are written out by num2words, which is not installed",
            next_step='pip install "orature[text]", or leave sentences with digits out with --numbers none',
        ) from error


def same_script(words: str, sentence: str) -> bool:
    """True when the words of a number are written in the script of the sentence (Serbian has two)."""
    ours, theirs = script_of(words), script_of(sentence)
    east = {"Han", "Hiragana", "Katakana", "Hangul"}
    return theirs == "Common" or ours == theirs or {ours, theirs} <= east
