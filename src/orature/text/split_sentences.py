"""Sentences of running text in any script.

Three kinds of ends are told apart:

- marks that end a sentence in their script whether or not a space follows (。！？ । ॥ ። ፧ ։ ។ ۔ ؟ ...);
- marks that also stand inside words and numbers (. ! ? …), which end a sentence only before white space and only when
  no abbreviation, initial, decimal number or ordinal stands before them and no small letter follows;
- in scripts that end sentences with a space or the end of the line (Thai, Lao, Tibetan, and Khmer and Burmese
  where no mark is written), pieces between spaces are joined until they are long enough to be a sentence.

Example::

    split_sentences("Dr. Achebe wrote it in 1958. It sold 2.5 million.", "en") == [
        "Dr. Achebe wrote it in 1958.", "It sold 2.5 million."]
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from unicodedata import category

from orature.text.language import script_of, script_of_character

HARD = "。！？｡।॥።፧፨։។៕៚۔؟܀܁܂߹꘎꘏꧉᭞᭟᱾᱿꯫꩝꩞꩟᙮᠃᠉᥄᥅꓿꛳꛷᪨᪩᪪᪫᜶᰻᰼෴𑅁𑅂𑅃𑇅𑇆𑑋𑑌𑗂𑗃𑙁𑙂𑜼𑜽။‼⁇⁈⁉"
"""Ends of sentences of one script, which need no space after them."""
SOFT = ".!?…"
CLOSING = "\"'”’»›)]}」』）】》〉］｝〕"
OPENING = "\"'“‘«‹„‚([{「『（【《〈¿¡"
_AT_SPACES = frozenset({"Thai", "Lao", "Tibetan", "Tai", "New Tai Lue"})
_OFTEN_AT_SPACES = frozenset({"Khmer", "Myanmar", "Javanese", "Balinese"})
_NO_CAPITALS_AT_START = frozenset({"Georgian", "Cherokee"})
"""Their small letters begin sentences, too."""
_ENOUGH, _TOO_LONG = 40, 200
"""Letters from which a piece between spaces is a sentence, and letters above which one without marks is cut."""
_END = re.compile(
    f"(?:[{re.escape(HARD)}]|[{re.escape(SOFT)}]|(?<=\\S)[:;]|[།༎༏༐༑༔])+[{re.escape(CLOSING)}]*(?:\\s»(?=\\s|\\Z))?"
)
_LAST_WORD = re.compile(r"\S+\Z")
_SPACED_LETTERS = re.compile(r"\s[^\W\d_]\.(?:\s|\Z)")
_ENUMERATION = re.compile(r"[\s(\[]*(?:\d{1,3}|[^\W\d_])[.)]?\Z")

GENERAL = frozenset("dr prof mr mrs ms st no nr vs vol pp fig art cf etc ed eds jr sr tel ca op cit approx".split())
ABBREVIATIONS: dict[str, frozenset[str]] = {
    code: frozenset(words.split())
    for code, words in {
        "en": "inc ltd co corp dept univ gen col capt lt sgt rev hon gov sen rep pres jan feb mar apr jun jul aug sep "
        "sept oct nov dec mon tue wed thu fri sat sun ave blvd rd est al ibid vols viz",
        "de": "bzw usw ca evtl ggf inkl exkl str abs bd hl hrsg jh jhd mio mrd sog u.a z.b d.h geb gest vgl zzgl bspw "
        "chr allg ehem frz engl dt lat griech kath ev nördl südl östl westl jan feb aug sept okt nov dez",
        "fr": "m mm mme mlle me av boul env ex hab janv févr avr juil sept oct nov déc p.ex chap éd t",
        "es": "sr sra srta ud uds d dña av avda pág págs núm tel ej aprox izq dcha gral lic ing dra sto sta ee "
        "uu a.c d.c",
        "pt": "sr sra dra av pág págs núm ex aprox exmo exma lic eng d tel séc a.c d.c",
        "it": "sig sigg dott ing avv arch geom pag pagg sec ecc cap tel s.p.a a.c d.c es",
        "nl": "dhr mevr mw ir ing drs bv bijv enz blz jl o.a d.w.z t.o.v i.p.v ong nl",
        "sv": "bl.a t.ex d.v.s m.m osv kl ca fr.o.m t.o.m s.k st dvs",
        "da": "bl.a f.eks d.v.s osv kl ca m.m nr hhv mht",
        "no": "bl.a f.eks d.v.s osv kl ca m.m nr hhv mht",
        "fi": "esim mm ym jne klo n ns s synt vrt ks tri",
        "cs": "např tzv tj atd apod mj str čl č odst např sv ul nám roč stol zn ing mgr bc judr mudr phdr rndr doc",
        "sk": "napr tzv tj atď apod str čl č ods sv ul nám roč stor ing mgr bc judr mudr phdr rndr doc",
        "pl": "np tzn tzw m.in itd itp ok ul al os r w im św ks godz mln mld tys zł por ur zm inż mgr hab wg red",
        "ru": "т т.е т.к т.д т.п др пр г гг в вв н э ул д кв стр рис см ср напр им акад проф тыс млн млрд руб коп гл",
        "uk": "т тобто ін р рр ст вул буд кв с рис див напр ім акад проф тис млн млрд грн коп гл м",
        "hu": "pl kb stb ill ún vö ld dr id ifj özv sz szerk u.n szt",
        "tr": "vb vd vs örn yy s sf bkz çev doç yrd prof dr sok cad mah apt no",
        "el": "π.χ δηλ κ κα κτλ κ.λπ σελ βλ αρ τηλ μ.χ π.μ μ.μ",
        "sw": "bw bi dkt mh n.k k.m k.v taz uk",
        "ro": "dl dna dvs nr str ex etc pag vol jud mun sf prof ing art alin lit",
        "ca": "sr sra dr dra núm pàg av pl tel aprox",
        "id": "dr drs ir jl no hlm dll dsb dst tgl yth sdr bpk",
        "vi": "tp ths ts gs pgs v.v tr",
        "yo": "ọgb dkt alh",
    }.items()
}
_ISO3 = {
    "eng": "en", "deu": "de", "fra": "fr", "spa": "es", "por": "pt", "ita": "it", "nld": "nl", "swe": "sv", "dan": "da",
    "nor": "no", "nob": "no", "nno": "no", "nb": "no", "nn": "no", "fin": "fi", "ces": "cs", "slk": "sk", "pol": "pl",
    "rus": "ru", "ukr": "uk", "hun": "hu", "tur": "tr", "ell": "el", "swa": "sw", "swh": "sw", "ron": "ro", "cat": "ca",
    "ind": "id", "vie": "vi", "yor": "yo",
}  # fmt: skip
DOT_ORDINALS = frozenset("de cs sk sl hr sr bs fi et lv hu tr da no is fo lb pl hsb dsb eu az".split())
"""Languages that write an ordinal as a number with a full stop."""


def split_sentences(text: str, language: str = "und", abbreviations: Iterable[str] = ()) -> list[str]:
    """The sentences of one line or paragraph, white space at their ends removed; their letters together are the text's.

    `abbreviations` (without the last full stop, any case) are added to those known for the language.
    """
    base = language.lower().split("-")[0]
    base = _ISO3.get(base, base)
    known = GENERAL | ABBREVIATIONS.get(base, frozenset()) | {word.lower().rstrip(".") for word in abbreviations}
    script = script_of(text)
    found: list[str] = []
    for piece in _at_marks(text, script, base, known):
        for part in _at_spaces(piece, script):
            if found and not any(map(str.isalnum, part)):
                found[-1] = f"{found[-1]} {part}"  # marks alone belong to what they follow
            else:
                found.append(part)
    return found


def _at_marks(text: str, script: str, language: str, known: frozenset[str]) -> Iterator[str]:
    begin = 0
    for end in _END.finditer(text):
        if end.start() < begin or not _is_end(text, end, begin, script, language, known):
            continue
        piece = _trimmed(text[begin : end.end()])
        if piece:
            yield piece
        begin = end.end()
    piece = _trimmed(text[begin:])
    if piece:
        yield piece


def _trimmed(piece: str) -> str:
    """Without white space and zero-width spaces at its ends."""
    before = ""
    while before != piece:
        before, piece = piece, piece.strip().strip("\u200b\ufeff")
    return piece


def _is_end(text: str, end: re.Match[str], begin: int, script: str, language: str, known: frozenset[str]) -> bool:
    marks = end.group()
    after = text[end.end() :]
    if _shuts_without_opening(text[begin : end.start()], marks) and not after[:1].isspace():
        return False
    if any(mark in HARD for mark in marks):
        quoted = marks[-1] in "」』" and script_of_character(after[:1] or " ") == "Hiragana"
        return not quoted and not _goes_on(after)
    if any(mark in "།༎༏༐༑༔" for mark in marks):
        return False  # a shad closes clauses as well: pieces are joined at spaces
    if after and not after[0].isspace():
        return False
    if any(mark in ":;" for mark in marks) and not any(mark in SOFT for mark in marks):
        return (";" in marks and script == "Greek") or (":" in marks and script in ("Armenian", "Ethiopic"))
    if _goes_on(after):
        return False
    if "!" in marks or "?" in marks or ".." in marks or "…" in marks or not marks.startswith("."):
        return True
    return not _is_inner_stop(text[begin : end.start()], after, language, known)


def _shuts_without_opening(before: str, marks: str) -> bool:
    """A straight quotation mark glued to the next word opens what follows."""
    return marks[-1] in "\"'" and before.count(marks[-1]) % 2 == 0


def _goes_on(after: str) -> bool:
    """A small letter, or a comma, after the mark: the sentence is not over (as after direct speech)."""
    rest = after.lstrip().lstrip(OPENING + "-–— ")
    if not rest:
        return False
    small = category(rest[0]) == "Ll" and script_of_character(rest[0]) not in _NO_CAPITALS_AT_START
    return small or rest[0] in ",;:、，؛،"


def _is_inner_stop(before: str, after: str, language: str, known: frozenset[str]) -> bool:
    """A full stop that belongs to an abbreviation, an initial, an ordinal or the number of a list item."""
    if not after.strip():
        return False
    if _ENUMERATION.match(before):
        return True
    found = _LAST_WORD.search(before)
    word = found.group().lstrip(OPENING) if found else ""
    if word.isdigit() and len(word) <= 2 and language in DOT_ORDINALS:
        return True
    if _SPACED_LETTERS.match(after) and len(word) == 1:
        return True
    if len([letter for letter in word if category(letter)[0] != "M"]) == 1 and category(word[0])[0] == "L":
        return category(word[0]) in ("Lu", "Lt") or word.lower() in known
    bare = word.lower()
    return bare in known or bare.rsplit("-", 1)[-1] in known or _is_dotted(word)


def _is_dotted(word: str) -> bool:
    """e.g, U.S, т.е: letters with full stops between them."""
    parts = word.split(".")
    return len(parts) > 1 and all(0 < len(part) <= 2 and part.isalpha() for part in parts)


def _letters(text: str) -> int:
    return sum(category(letter)[0] == "L" for letter in text)


def _at_spaces(piece: str, script: str) -> Iterator[str]:
    """Cuts at spaces where the script ends sentences so: pieces are joined until they are long enough."""
    at_spaces = script in _AT_SPACES or (script in _OFTEN_AT_SPACES and _letters(piece) > _TOO_LONG)
    if not at_spaces or _letters(piece) <= _ENOUGH:
        yield piece
        return
    held = ""
    for part in piece.split():
        held = f"{held} {part}" if held else part
        if _letters(held) >= _ENOUGH and (script != "Tibetan" or held[-1] in "།༎༏༐༑༔"):
            yield held
            held = ""
    if held:
        yield held
