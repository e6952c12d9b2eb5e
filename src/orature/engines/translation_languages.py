"""Which of a translator's own language codes a BCP-47 tag means, and the other way round.

Translators name languages in ways of their own: `quy_Latn` (FLORES-200, NLLB), `__qu__` (M2M-100), `<2qu>`
(MADLAD-400), `>>que<<` (OPUS-MT). The codes are read off a model's own special tokens; here is the rule from a tag to
one of them: the same code, else the same language (ISO 639-1 and 639-3 alike), else the macrolanguage that it belongs
to, else, for a macrolanguage, the member that translators usually mean by it. A script in the tag must be that of the
code.

Example::

    code_for("qu-EC", ["eng_Latn", "quy_Latn"])          # quy_Latn
    tag_of("zho_Hans")                                   # zho-Hans
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from orature.core.errors import ConfigError
from orature.text.language import UNKNOWN

_SHORT = dict(
    pair.split(":")
    for pair in (
        "aa:aar ab:abk af:afr ak:aka am:amh an:arg ar:ara as:asm av:ava ay:aym az:aze ba:bak be:bel bg:bul bi:bis "
        "bm:bam bn:ben bo:bod br:bre bs:bos ca:cat ce:che ch:cha co:cos cr:cre cs:ces cu:chu cv:chv cy:cym da:dan "
        "de:deu dv:div dz:dzo ee:ewe el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful fi:fin fj:fij fo:fao "
        "fr:fra fy:fry ga:gle gd:gla gl:glg gn:grn gu:guj gv:glv ha:hau he:heb hi:hin ho:hmo hr:hrv ht:hat hu:hun "
        "hy:hye hz:her ia:ina id:ind ie:ile ig:ibo ii:iii ik:ipk io:ido is:isl it:ita iu:iku ja:jpn jv:jav ka:kat "
        "kg:kon ki:kik kj:kua kk:kaz kl:kal km:khm kn:kan ko:kor kr:kau ks:kas ku:kur kv:kom kw:cor ky:kir la:lat "
        "lb:ltz lg:lug li:lim ln:lin lo:lao lt:lit lu:lub lv:lav mg:mlg mh:mah mi:mri mk:mkd ml:mal mn:mon mr:mar "
        "ms:msa mt:mlt my:mya na:nau nb:nob nd:nde ne:nep ng:ndo nl:nld nn:nno no:nor nr:nbl nv:nav ny:nya oc:oci "
        "oj:oji om:orm or:ori os:oss pa:pan pi:pli pl:pol ps:pus pt:por qu:que rm:roh rn:run ro:ron ru:rus rw:kin "
        "sa:san sc:srd sd:snd se:sme sg:sag si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp ss:ssw st:sot "
        "su:sun sv:swe sw:swa ta:tam te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn to:ton tr:tur ts:tso tt:tat "
        "tw:twi ty:tah ug:uig uk:ukr ur:urd uz:uzb ve:ven vi:vie vo:vol wa:wln wo:wol xh:xho yi:yid yo:yor za:zha "
        "zh:zho zu:zul iw:heb in:ind ji:yid jw:jav mo:ron ns:nso fil:tgl"
    ).split(" ")
)
"""ISO 639-1 (and older or private codes that translators use) with ISO 639-3."""
_MEMBERS = dict(
    pair.split(":")
    for pair in (
        "aka:twi ara:arb aym:ayr aze:azj bik:bcl chm:mhr din:dik est:ekk fas:pes ful:fuv grn:gug kau:knc kok:gom "
        "kom:kpv kon:kng kur:kmr lah:pnb lav:lvs mlg:plt mon:khk msa:zsm nep:npi nor:nob oji:ojb ori:ory orm:gaz "
        "pus:pbt que:quy,quz,qvi,quh,qxp sqi:als srd:src swa:swh syr:aii tmh:taq uzb:uzn yid:ydd zha:zyb zho:cmn "
        "zza:diq"
    ).split(" ")
)
"""Macrolanguages and the members that translators have, the usual one first."""
_SCRIPTS = ("hans", "arab", "latn")
"""Which script is meant where a model has several of a language and the tag names none (Arabic before Latin: `arb`)."""
_TRADITIONAL = frozenset({"tw", "hk", "mo"})


@dataclass(frozen=True, slots=True)
class _Parts:
    language: str
    script: str
    region: str


def _parts(code: str) -> _Parts:
    language, *rest = code.strip().replace("_", "-").lower().split("-")
    script = next((part for part in rest if len(part) == 4 and part.isalpha()), "")
    region = next((part for part in rest if len(part) == 2 and part.isalpha()), "")
    return _Parts(language, script, region)


def _alike(language: str) -> list[str]:
    """The codes of exactly this language."""
    long = _SHORT.get(language, language)
    return list(dict.fromkeys([language, long, *(short for short, other in _SHORT.items() if other == long)]))


def _circles(language: str) -> list[list[str]]:
    """Codes that may be meant by `language`, the nearest first: itself, its macrolanguage, its members one by one."""
    same = _alike(language)
    above = [big for big, members in _MEMBERS.items() if set(same) & set(members.split(","))]
    below = [member for code in same for member in _MEMBERS.get(code, "").split(",") if member]
    return [same, *(_alike(code) for code in above), *(_alike(code) for code in below)]


def code_for(tag: str, codes: Collection[str]) -> str | None:
    """The one of a model's `codes` that the BCP-47 `tag` means; None where it has none."""
    given = tag.strip().replace("_", "-").lower()
    for code in sorted(codes):
        if code.replace("_", "-").lower() == given:
            return code
    wanted = _parts(tag)
    for circle in _circles(wanted.language):
        found = [(_rank(wanted, _parts(code)), code) for code in codes if _parts(code).language in circle]
        fitting = sorted((rank, code) for rank, code in found if rank is not None)
        if fitting:
            return fitting[0][1]
    return None


def _rank(wanted: _Parts, has: _Parts) -> tuple[bool, int, bool, str] | None:
    """How well a code of the right language fits (the least is best); None where its script is another."""
    if wanted.script and has.script and wanted.script != has.script:
        return None
    script = wanted.script or ("hant" if wanted.region in _TRADITIONAL else "")
    usual = _SCRIPTS.index(has.script) if has.script in _SCRIPTS else len(_SCRIPTS)
    return (bool(script) and has.script != script, usual, has.region not in ("", wanted.region), has.region)


def nearest(tag: str, codes: Collection[str], count: int = 3) -> list[str]:
    """Codes near to `tag`: the same language in another script or variety first, then those spelled alike."""
    wanted = _parts(tag)
    same = _alike(wanted.language)
    kin = {code for circle in _circles(wanted.language) for code in circle}
    for big, members in _MEMBERS.items():
        if {big, *members.split(",")} & set(same):
            kin |= {big, *members.split(","), *_alike(big)}
    close = [code for code in sorted(codes) if _parts(code).language in kin]
    languages: dict[str, str] = {}
    for code in sorted(codes):
        languages.setdefault(_parts(code).language, code)
    alike = get_close_matches(wanted.language, sorted(languages), n=count, cutoff=0.0)
    alike += get_close_matches(same[-1], sorted(languages), n=count, cutoff=0.6)
    return list(dict.fromkeys([*close, *(languages[one] for one in alike)]))[:count]


def tag_of(code: str) -> str:
    """The BCP-47 tag of a model's code."""
    parts = _parts(code)
    return "-".join(filter(None, (parts.language, parts.script.title(), parts.region.upper())))


class LanguageCodes:
    """The codes of one translator; what a tag means is looked up once."""

    def __init__(self, name: str, codes: Collection[str]) -> None:
        self._name, self._codes = name, sorted(codes)
        self._known: dict[str, str | None] = {}

    @property
    def tags(self) -> tuple[str, ...]:
        """All languages by their BCP-47 tags, in order."""
        return tuple(dict.fromkeys(map(tag_of, self._codes)))

    def of(self, tag: str, what: str = "know") -> str:
        """The code that `tag` means; ConfigError, with the nearest languages, where there is none."""
        if tag not in self._known:
            self._known[tag] = code_for(tag, self._codes)
        code = self._known[tag]
        if code is None:
            near = ", ".join(map(tag_of, nearest(tag, self._codes)))
            raise ConfigError(
                f"the translator {self._name} does not {what} the language {tag!r}",
                where="language",
                next_step=f"the nearest that it has: {near}; or take another translator",
            )
        return code


def same_language(one: str, other: str) -> bool:
    """Whether two tags can mean one language (a macrolanguage and its member do); `und` means any."""
    if UNKNOWN in (one, other):
        return True
    return code_for(one, [other]) is not None or code_for(other, [one]) is not None
