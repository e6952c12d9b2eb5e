"""Is this sentence in the language that it is said to be in?

Three ways, chosen before the work:

- `langid`: py3langid (naive Bayes over byte n-grams, Lui and Baldwin 2012; 139 languages). A sentence is refused when
  another language that is not a close relative has nearly all the probability and the own one next to none.
- `ngrams`: for a language that py3langid does not know, a character 4-gram model of the corpus's training transcripts.
  Its bound is what held-out training transcripts cost (five folds), widened; so it finds text that does not look like
  the language at all (another language, a list of names), not a close relative, and text of another spelling or genre
  may fail it. `expected_loss` is the share of good sentences it should cost; the report says what it did cost.
- `both`: refused by py3langid, or by the n-grams while py3langid gives the own language less than half.

Short sentences are not judged.

Example::

    check = NgramCheck.trained(transcripts)
    check.refusal("this is an English sentence among Kichwa ones")     # a Refusal, or None
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from orature.core.errors import MissingExtra
from orature.core.identity import digest_bytes
from orature.core.types import Refusal
from orature.text.leaks import sentence_key
from orature.text.ngrams import CharacterModel

OTHER_LANGUAGE = "other-language"
Method = Literal["langid", "ngrams", "both", "none"]
LEAST_LETTERS = 20
MOST_OWN, LEAST_OTHER = 0.05, 0.8
"""Refused: the own language has less than the one, another language more than the other probability."""
LEAST_TRAINING = 2000
"""Characters of training transcripts below which no n-gram model is trusted."""
MOST_SENTENCES = 20_000
FOLDS = 5
EXPECTED_LOSS = 0.005
WIDER = 1.15
ALARM_SHARE = 0.3
"""Above this share of refused sentences a person is told, and how to switch the check off."""

_RELATIVES = (
    {"no", "nb", "nn", "da"},
    {"hr", "sr", "bs"},
    {"id", "ms", "jv", "ace"},
    {"cs", "sk"},
    {"af", "nl"},
    {"gl", "pt"},
    {"an", "es", "ext", "ca", "oc"},
    {"it", "lij", "vec"},
    {"fr", "wa", "gcf", "gcr", "ht"},
    {"az", "tr", "crh"},
    {"tt", "ba", "kk"},
    {"ku", "sdh"},
    {"ar", "ary", "arz"},
    {"he", "hbo"},
    {"el", "grc"},
    {"zh", "wuu", "yue", "ja"},
    {"ru", "uk", "be", "bg", "mk", "sr"},
    {"hi", "mr", "ne", "gom"},
    {"rw", "lg"},
    {"nso", "st", "tn", "sn"},
    {"xh", "zu"},
    {"fi", "et"},
    {"lo", "th"},
    {"as", "bn"},
    {"tl", "bcl"},
    {"yo", "guw"},
    {"ltg", "lv"},
    {"en", "pcm"},
    {"gd", "ga"},
    {"so", "om"},
    {"gn", "gug"},
)
"""Close relatives are never held against a sentence: naive Bayes over byte n-grams cannot tell them apart in one."""
_CODES = {
    "swh": "sw", "swa": "sw", "yor": "yo", "hau": "ha", "ibo": "ig", "amh": "am", "som": "so", "zul": "zu", "xho": "xh",
    "que": "qu", "quz": "qu", "quy": "qu", "eng": "en", "fra": "fr", "deu": "de", "spa": "es", "por": "pt", "ita": "it",
    "rus": "ru", "ukr": "uk", "ces": "cs", "pol": "pl", "hun": "hu", "tur": "tr", "arb": "ar", "ara": "ar", "fas": "fa",
    "hin": "hi", "ben": "bn", "tam": "ta", "tel": "te", "mar": "mr", "guj": "gu", "pan": "pa", "mya": "my", "tha": "th",
    "lao": "lo", "khm": "km", "vie": "vi", "ind": "id", "msa": "ms", "zlm": "ms", "jav": "jv", "tgl": "tl", "fil": "tl",
    "kin": "rw", "lug": "lg", "lin": "ln", "sna": "sn", "sot": "st", "tsn": "tn", "nld": "nl", "swe": "sv", "dan": "da",
    "nor": "no", "nob": "no", "nb": "no", "nno": "nn", "fin": "fi", "est": "et", "ell": "el", "heb": "he", "kat": "ka",
    "hye": "hy", "kaz": "kk", "uzb": "uz", "uzn": "uz", "kir": "ky", "mon": "mn", "khk": "mn", "npi": "ne", "nep": "ne",
    "sin": "si", "mal": "ml", "kan": "kn", "ory": "or", "urd": "ur", "pus": "ps", "kor": "ko", "jpn": "ja", "zho": "zh",
    "cmn": "zh", "bul": "bg", "ron": "ro", "srp": "sr", "hrv": "hr", "bos": "bs", "slk": "sk", "slv": "sl", "mkd": "mk",
    "lit": "lt", "lav": "lv", "cat": "ca", "eus": "eu", "glg": "gl", "gle": "ga", "cym": "cy", "isl": "is", "mlt": "mt",
    "sqi": "sq", "als": "sq", "afr": "af", "orm": "om", "gaz": "om", "mlg": "mg", "plt": "mg", "kmr": "ku", "azj": "az",
    "gn": "gug", "grn": "gug", "fuv": "fuv", "ki": "kik", "bo": "dz",
}  # fmt: skip


class LanguageCheck(Protocol):
    """Judges one sentence at a time."""

    def refusal(self, text: str) -> Refusal | None:
        """Why the sentence is not in the language; None when it may be."""
        ...

    def to_json(self) -> dict[str, Any]:
        """What was done, for the report."""
        ...


def has_langid() -> bool:
    """True where py3langid is installed."""
    return find_spec("py3langid") is not None


@lru_cache(maxsize=1)
def _identifier() -> Any:
    try:
        langid = import_module("py3langid.langid")
    except ImportError as error:
        raise MissingExtra(
            "the language check uses py3langid, which is not installed",
            next_step='pip install "orature[text]", or leave the check out with --language-check none',
        ) from error
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def short_code(language: str) -> str:
    """The shortest code of a language where it has several: sw for sw, swh and swa-Latn."""
    base = language.split("-")[0].lower()
    return _CODES.get(base, base)


def langid_code(language: str) -> str:
    """py3langid's code of a BCP-47 language, "" when it does not know it. MissingExtra where it is not installed."""
    code = short_code(language)
    return code if code in _identifier().labels else ""


def best_method(language: str, transcripts: Sequence[str]) -> tuple[Method, str]:
    """The check that can be made here, and a sentence about it (why none, or what it is worth)."""
    enough = sum(map(len, transcripts)) >= LEAST_TRAINING
    if has_langid() and language != "und" and langid_code(language):
        return ("both" if enough else "langid"), "py3langid knows the language"
    why = "py3langid is not installed" if not has_langid() else f"py3langid does not know {language}"
    if enough:
        return "ngrams", f"{why}: sentences are compared with the training transcripts by their spelling"
    return "none", f"{why}, and there are too few training transcripts to compare with: languages are not checked"


class LangidCheck:
    """The check by py3langid."""

    def __init__(self, language: str) -> None:
        self.code = langid_code(language)
        self._near = {self.code}.union(*(group for group in _RELATIVES if self.code in group))

    def refusal(self, text: str) -> Refusal | None:
        if sum(map(str.isalpha, text)) < LEAST_LETTERS:
            return None
        best, ranking, own = self._ranked(text)
        if best in self._near or own >= MOST_OWN or ranking[best] < LEAST_OTHER:
            return None
        return Refusal(OTHER_LANGUAGE, f"{best} by {ranking[best]:.2f}, {self.code} by {own:.3f} (py3langid)")

    def own_probability(self, text: str) -> float:
        """Of the language and its close relatives."""
        return self._ranked(text)[2]

    def _ranked(self, text: str) -> tuple[str, dict[str, float], float]:
        ranking: dict[str, float] = dict(_identifier().rank(text))
        best = max(ranking, key=lambda code: (ranking[code], code))
        return best, ranking, sum(ranking.get(code, 0.0) for code in self._near)

    def to_json(self) -> dict[str, Any]:
        return {"method": "langid", "code": self.code, "never_held_against": sorted(self._near - {self.code})}


@dataclass
class NgramCheck:
    """The check by a character model of transcripts; refused above `mean + width / sqrt(characters)` bits."""

    model: CharacterModel
    mean: float
    width: float
    sentences: int

    @classmethod
    def trained(cls, transcripts: Iterable[str]) -> NgramCheck:
        """Trains on transcripts and sets the bound on held-out folds of them."""
        texts = sample(transcripts, MOST_SENTENCES)
        costs: list[tuple[int, float]] = []
        for fold in range(FOLDS):
            model = CharacterModel(text for number, text in enumerate(texts) if number % FOLDS != fold)
            held = [text for number, text in enumerate(texts) if number % FOLDS == fold]
            costs += [(len(sentence_key(text)) + 1, model.bits(text)) for text in held]
        mean = sum(length * bits for length, bits in costs) / max(1, sum(length for length, _ in costs))
        spread = sorted((bits - mean) * length**0.5 for length, bits in costs)
        width = spread[min(len(spread) - 1, int((1 - EXPECTED_LOSS) * len(spread)))] if spread else 0.0
        return cls(CharacterModel(texts), mean, max(0.0, width), len(texts))

    def refusal(self, text: str) -> Refusal | None:
        length = len(sentence_key(text)) + 1
        if length <= LEAST_LETTERS:
            return None
        bits, bound = self.model.bits(text), WIDER * (self.mean + self.width / length**0.5)
        if bits <= bound:
            return None
        return Refusal(OTHER_LANGUAGE, f"{bits:.2f} bits a character, above {bound:.2f} by the training transcripts")

    def to_json(self) -> dict[str, Any]:
        return {
            "method": "ngrams",
            "sentences": self.sentences,
            "held_out_bits": round(self.mean, 4),
            "expected_loss": EXPECTED_LOSS,
            "sure_of": "text unlike the transcripts; not of close relatives of the language",
        }


@dataclass
class BothChecks:
    """py3langid and n-grams together."""

    langid: LangidCheck
    ngrams: NgramCheck

    def refusal(self, text: str) -> Refusal | None:
        found = self.langid.refusal(text)
        if found is None:
            found = self.ngrams.refusal(text)
            if found is not None and self.langid.own_probability(text) >= 0.5:
                return None
        return found

    def to_json(self) -> dict[str, Any]:
        return {**self.ngrams.to_json(), **self.langid.to_json(), "method": "both"}


def usable_check(transcripts: Sequence[str], language: str, method: Method) -> LanguageCheck | None:
    """The check that can be made of those that `method` asks for; None where none can.

    MissingExtra where py3langid is asked for and not installed.
    """
    ngrams = method in ("ngrams", "both") and sum(map(len, transcripts)) >= LEAST_TRAINING
    known = method in ("langid", "both") and language != "und" and bool(langid_code(language))
    if ngrams and known:
        return BothChecks(LangidCheck(language), NgramCheck.trained(transcripts))
    if ngrams:
        return NgramCheck.trained(transcripts)
    return LangidCheck(language) if known else None


def sample(texts: Iterable[str], most: int) -> list[str]:
    """At most so many different texts, chosen by their hashes: the same from the same texts in any order."""
    marked = sorted({(digest_bytes(text.encode("utf-8")), text) for text in texts})
    return [text for _, text in marked[:most]]
