"""From BCP-47 tags to the codes of Whisper, which are ISO 639-1 where there is one, with its own exceptions.

Example::

    codes_of("yor-NG")       # ["yor-ng", "yor", "yo"]
"""

from __future__ import annotations

_SHORT = (
    "eng en|zho zh|cmn zh|deu de|spa es|rus ru|kor ko|fra fr|jpn ja|por pt|tur tr|pol pl|cat ca|nld nl|ara ar|arb ar|"
    "swe sv|ita it|ind id|hin hi|fin fi|vie vi|heb he|iw he|ukr uk|ell el|msa ms|zsm ms|ces cs|ron ro|dan da|hun hu|"
    "tam ta|nor no|nob no|nb no|tha th|urd ur|hrv hr|bul bg|lit lt|lat la|mri mi|mal ml|cym cy|slk sk|tel te|fas fa|"
    "pes fa|lav lv|lvs lv|ben bn|srp sr|aze az|azj az|slv sl|kan kn|est et|ekk et|mkd mk|bre br|eus eu|isl is|hye hy|"
    "nep ne|npi ne|mon mn|khk mn|bos bs|kaz kk|sqi sq|als sq|swa sw|swh sw|glg gl|mar mr|pan pa|sin si|khm km|sna sn|"
    "yor yo|som so|afr af|oci oc|kat ka|bel be|tgk tg|snd sd|guj gu|amh am|yid yi|ydd yi|lao lo|uzb uz|uzn uz|fao fo|"
    "hat ht|pus ps|pbu ps|tuk tk|nno nn|mlt mt|san sa|ltz lb|mya my|bod bo|tgl tl|fil tl|mlg mg|plt mg|asm as|tat tt|"
    "lin ln|hau ha|bak ba|jav jw|jv jw|sun su|in id|que qu|xho xh|zul zu|ibo ig|wol wo|lug lg|kin rw|nya ny|aka ak|"
    "bam bm|ful ff|grn gn|aym ay|tsn tn|sot st|tso ts|ven ve|orm om|tir ti|kir ky|uig ug|gle ga|gla gd|roh rm|fry fy"
)
_CODES = dict(pair.split(" ") for pair in _SHORT.split("|"))


def codes_of(tag: str) -> list[str]:
    """Spellings of the language of `tag` from the most to the least exact, lower case."""
    whole = tag.strip().replace("_", "-").lower()
    language = whole.split("-")[0]
    found = [whole, language, _CODES.get(language, language)]
    found += [long for long, short in _CODES.items() if short == language]
    return list(dict.fromkeys(found))
