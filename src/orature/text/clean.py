"""Cleaning of raw text before it is read aloud: what carries no sound goes, what cannot be read gets a reason.

`tidy` works on a whole line (markup, control characters, entities), `clean` on one sentence (bullets, notes in
brackets, repeated punctuation, symbols without sound). Both are idempotent and change no letter.

Example::

    clean("• Kichwa shimi [3] (quechua) shimi!!!  ") == "Kichwa shimi shimi!"
    clean("see https://example.org")                 # Refusal("url", ...)
"""

from __future__ import annotations

import html
import re
from unicodedata import category, normalize

from orature.core.types import Refusal
from orature.text.split_sentences import DOT_ORDINALS

EMPTY, FEW_LETTERS, MARKUP, URL, EMAIL, BRACKETS = (
    "text-empty",
    "few-letters",
    "markup",
    "url",
    "e-mail",
    "brackets-unbalanced",
)
BROKEN = "text-undecodable"
HEADING = "heading"
_MIN_LETTERS = 0.6
"""Of the characters of a sentence that are no spaces, at least this share must be letters, marks or digits."""

_INVISIBLE = dict.fromkeys(
    [0x00AD, 0x061C, 0x0640, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, *range(0x2066, 0x206A), 0xFEFF]
)
_ZERO_WIDTH_SPACE = "\u200b"
_SILENT = dict.fromkeys(map(ord, "©®™†‡¶❧■□▪▫●○◆◇★☆✓✔✗✘❖➤►▶◄♦♥♠♣♪♫\ufe0e\ufe0f"), " ")
_MOJIBAKE = re.compile("\ufffd|Ã[\x80-\xbf©¨ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿]|â€[\x80-\xbf™œ“”˜¦]|Ð[\x80-\xbf]{1}Ñ")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9:-]*(?:\s[^<>]{0,400})?/?>")
_DROPPED = re.compile(
    r"<!--.*?-->|<(ref|math|gallery|timeline|nowiki|code|pre|syntaxhighlight)\b[^<>]*?(?:/>|>.*?</\1\s*>)",
    re.IGNORECASE | re.DOTALL,
)
_TEMPLATE = re.compile(r"\{\{[^{}]*\}\}")
_FILE_LINK = re.compile(r"\[\[[^\[\]|:]{1,20}:[^\[\]]*\]\]")
_LINK = re.compile(r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]")
_OUTER_LINK = re.compile(r"\[(?:https?:|ftp:)?//\S+(?:\s+([^\]]*))?\]")
_EMPHASIS = re.compile(r"'{2,5}|__[A-Z]+__")
_HEADING = re.compile(r"\s*(={1,6})\s*(.+?)\s*\1\s*\Z|\s*#{1,6}\s+\S")
_TABLE = re.compile(r"\s*(?:\{\||\|\}|\|-|\|\+|\|\s|!\s.*!!|\|.*\|\Z)")
_LEFT_OVER = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|&[a-z]{2,8};|</?[a-z]+[ >]|\bstyle=\"|\balign=", re.IGNORECASE)

_URL = re.compile(r"(?:https?|ftp)://\S|\bwww\.\w|\b[\w-]{2,}\.(?:com|org|net|info|gov|edu)\b", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+\.\w{2,}|(?<!\w)[@#](?=\w*[^\W\d])\w{2,}")
_BULLET = re.compile(r"\A\s*(?:[-–—•*·●▪◦‣►»>+~]+\s+|\(?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})\)\s*|\[\d{1,3}\]\s*)")
_NUMBERED = re.compile(r"\A\s*\d{1,3}\.\s+(?=\D)")
_NOTE = re.compile(r"\s*\[[^\[\]]*\]|\s*［[^［］]*］")
_ASIDE = re.compile(r"\s*\([^()]*\)|\s*（[^（）]*）|\s*\{[^{}]*\}")
_REPEATED = re.compile(r"([!?,;:،؛。！？।॥።·])(?:\s*\1)+")
_DOTS = re.compile(r"\.{2,}|(?:\.\s){2,}\.|…{2,}|\.…|…\.")
_DASHES = re.compile(r"[-–—]{2,}")
_BEFORE = re.compile(r"\s+([,.;:!?…。！？।॥።،؛؟])(?!\w)")
_DOUBLE = re.compile(r"([,;:،])(?=\s*[.!?…])")
_BRACKETS = {"(": ")", "[": "]", "{": "}", "（": "）", "［": "］"}


def tidy(line: str) -> str | Refusal:
    """One line without entities, tags, wiki markup, control and direction characters; NFC, single spaces.

    Refusals: text-empty, text-undecodable (replacement characters, UTF-8 read as Latin-1), markup (tables, templates
    that are not closed), heading (== like this ==).
    """
    text = _spaced(line)
    if not text:
        return Refusal(EMPTY, "an empty line")
    if _MOJIBAKE.search(text):
        return Refusal(BROKEN, "characters were lost when the text was stored or decoded")
    if _HEADING.match(text):
        return Refusal(HEADING, "a heading of wiki or Markdown text")
    if _TABLE.match(text):
        return Refusal(MARKUP, "a row of a wiki table")
    if any(sign in text for sign in "<&{[_'"):
        text = _unmarked(text)
    return _spaced(text) or Refusal(MARKUP, "nothing but markup")


def _spaced(text: str) -> str:
    if not text.isascii():
        text = normalize("NFC", text.translate(_INVISIBLE))
    text = text.replace("፡፡", "።")  # two word spaces are typed for a full stop
    if not text.isprintable() or _ZERO_WIDTH_SPACE in text:
        text = "".join(" " if category(letter) in ("Cc", "Zl", "Zp", "Cs", "Co") else letter for letter in text)
        text = text.replace(_ZERO_WIDTH_SPACE, "")
    return " ".join(text.split())


def _unmarked(text: str) -> str:
    text = _DROPPED.sub(" ", html.unescape(text)) if "<" in text or "&" in text else text
    before = ""
    while before != text and "{{" in text:
        before, text = text, _TEMPLATE.sub(" ", text)
    while before != text and "[[" in text:
        before, text = text, _LINK.sub(r"\1", _FILE_LINK.sub(" ", text))
    return _EMPHASIS.sub("", _OUTER_LINK.sub(lambda link: link.group(1) or "", _TAG.sub(" ", text)))


def clean(sentence: str, language: str = "und") -> str | Refusal:
    """One sentence as it can be read: NFC, no bullet, no notes in brackets, no repeated punctuation, single spaces.

    A number with a full stop that opens it is the mark of a list, but for languages that write ordinals so.
    Refusals: text-empty, markup, url, e-mail (also @names and #tags), brackets-unbalanced, few-letters.
    """
    if _LEFT_OVER.search(sentence):
        return Refusal(MARKUP, "markup is left in it")
    if "@" in sentence or "#" in sentence:
        found = _EMAIL.search(sentence)
        if found:
            return Refusal(EMAIL, f"{found.group()} has no one reading")
    if _URL.search(sentence):
        return Refusal(URL, "a web address has no one reading")
    text = sentence.translate(_SILENT).replace("፡", " ")
    text = "".join(" " if _is_picture(letter) else letter for letter in text) if not text.isascii() else text
    text = _BULLET.sub("", text, count=1)
    if language.split("-")[0].lower() not in DOT_ORDINALS:
        text = _NUMBERED.sub("", text, count=1)
    text = _without_notes(text)
    if any(sign in text for pair in _BRACKETS.items() for sign in pair):
        return Refusal(BRACKETS, "a bracket is opened or closed without its other half")
    text = _DOTS.sub("…", text)
    text = _DASHES.sub("–", _REPEATED.sub(r"\1", text))
    text = _DOUBLE.sub("", _BEFORE.sub(r"\1", " ".join(text.split()))).lstrip(",;:.،؛ ")
    return _worth_reading(text)


def _is_picture(letter: str) -> bool:
    """Emoji and dingbats; letters in circles and the like, and tone letters, are no pictures."""
    return category(letter) == "So" and ord(letter) >= 0x2600


def _without_notes(text: str) -> str:
    """Without [notes] and (asides); a sentence that stands in brackets as a whole loses only the brackets."""
    whole = text.strip()
    if len(whole) > 2 and _BRACKETS.get(whole[0]) == whole[-1] and not any(sign in whole[1:-1] for sign in _BRACKETS):
        return whole[1:-1]
    before = ""
    while before != text:
        before, text = text, _ASIDE.sub("", _NOTE.sub("", text))
    return text


def _worth_reading(text: str) -> str | Refusal:
    spoken = sum(category(letter)[0] in "LMN" for letter in text)
    if not any(category(letter)[0] == "L" for letter in text) and not any(letter.isdigit() for letter in text):
        return Refusal(EMPTY if not text else FEW_LETTERS, "no letter is in it")
    seen = len(text) - text.count(" ")
    if spoken < _MIN_LETTERS * seen:
        return Refusal(FEW_LETTERS, f"only {spoken} of {seen} characters are letters or digits")
    return text
