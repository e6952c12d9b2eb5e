"""Which adapter of an MMS checkpoint a language tag means.

MMS names its adapters by ISO 639-3, some with a script or a dialect: `quz`, `uzb-script_cyrillic`.

Example::

    adapter_for("uz-Cyrl", ["eng", "uzb-script_cyrillic", "uzb-script_latin"]) == "uzb-script_cyrillic"
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_THREE = dict(
    pair.split(":")
    for pair in (
        "af:afr am:amh ar:ara as:asm ay:ayr az:azj ba:bak be:bel bg:bul bm:bam bn:ben bo:bod br:bre bs:bos ca:cat "
        "cs:ces cv:chv cy:cym da:dan de:deu dv:div ee:ewe el:ell en:eng eo:epo es:spa et:est eu:eus fa:fas ff:ful "
        "fi:fin fo:fao fr:fra ga:gle gl:glg gn:grn gu:guj ha:hau he:heb hi:hin hr:hrv ht:hat hu:hun hy:hye ia:ina "
        "id:ind ig:ibo is:isl it:ita ja:jpn jv:jav ka:kat kk:kaz km:khm kn:kan ko:kor ku:kmr ky:kir lb:ltz lg:lug "
        "ln:lin lo:lao lt:lit lv:lav mg:mlg mi:mri mk:mkd ml:mal mn:mon mr:mar ms:zlm mt:mlt my:mya nb:nob ne:npi "
        "nl:nld nn:nno no:nob ny:nya oc:oci om:orm or:ory pa:pan pl:pol ps:pus pt:por qu:que ro:ron ru:rus rw:kin "
        "sa:san sc:srd sd:snd si:sin sk:slk sl:slv sm:smo sn:sna so:som sq:sqi sr:srp su:sun sv:swe sw:swh ta:tam "
        "te:tel tg:tgk th:tha ti:tir tk:tuk tl:tgl tn:tsn tr:tur ts:tso tt:tat ug:uig uk:ukr ur:urd uz:uzb vi:vie "
        "wo:wol xh:xho yi:yid yo:yor za:zha zh:cmn zu:zul"
    ).split(" ")
)
_SAME = dict(
    pair.split(":")
    for pair in (
        "swa:swh est:ekk mon:khk msa:zlm nep:npi ori:ory zho:cmn aym:ayr aze:azj kur:kmr nor:nob orm:gaz".split(" ")
    )
)
"""A macrolanguage or older code and the member that MMS has."""
_SCRIPTS = {
    "arab": "arabic",
    "beng": "bengali",
    "cyrl": "cyrillic",
    "deva": "devanagari",
    "hans": "simplified",
    "hant": "traditional",
    "khmr": "khmer",
    "latn": "latin",
    "mymr": "myanmar",
    "telu": "telugu",
    "thai": "thai",
}


def adapter_for(tag: str, names: Collection[str]) -> str | None:
    """The one of `names` that the BCP-47 `tag` means: the same code, else its language alone; None where unclear."""
    by_small = {name.lower(): name for name in names}
    given = tag.replace("_", "-").lower()
    if tag in names:
        return tag
    if given in by_small:
        return by_small[given]
    subtags = given.split("-")
    script = next((_SCRIPTS[part] for part in subtags[1:] if part in _SCRIPTS), None)
    for code in codes(subtags[0]):
        if script is not None and f"{code}-script_{script}" in by_small:
            return by_small[f"{code}-script_{script}"]
        if code in by_small:
            return by_small[code]
        members = [name for small, name in by_small.items() if small.startswith(code + "-")]
        if len(members) == 1:
            return members[0]
    return None


def codes(language: str) -> list[str]:
    """The ISO 639-3 codes that a primary subtag may go by, the given one first."""
    three = _THREE.get(language, language)
    other = _SAME.get(three) or next((old for old, new in _SAME.items() if new == three), None)
    return list(dict.fromkeys([language, three, *([other] if other else [])]))


def near(tag: str, names: Collection[str], count: int = 5) -> list[str]:
    """Names that look like `tag`: of the same language first, then spelled alike."""
    subtag = tag.replace("_", "-").lower().split("-")[0]
    same = [name for name in sorted(names) if any(name.lower().startswith(code + "-") for code in codes(subtag))]
    alike = get_close_matches(codes(subtag)[-1], sorted(names), n=count, cutoff=0.5)
    return list(dict.fromkeys([*same, *alike]))[:count]
