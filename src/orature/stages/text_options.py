"""What a person says of a text corpus, made definite: sources with digests and names, checks by what is installed.

Example::

    sources = with_names([source_of(path, "auto", "") for path in expand([Path("news/*.txt")])], ["CC BY 4.0"])
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast, get_args

from orature.core.errors import BadInput, ConfigError
from orature.core.identity import digest_file, digest_json
from orature.core.progress import say
from orature.core.types import Utterance
from orature.data.corpus import Corpus
from orature.engines.voices import open_voice, parse_voice
from orature.flow import Ref
from orature.stages.text_shards import TextSource
from orature.text.language_check import LEAST_TRAINING, Method, best_method, langid_code, short_code
from orature.text.near_duplicates import has_datasketch, need_datasketch
from orature.text.select import Phones, phones_of_ipa
from orature.text.spoken import Reader, has_num2words, number_code
from orature.text.text_sources import CV_LICENCE, CV_SENTENCES, SourceFile, SourceKind, find_files

NEAR_DUPLICATES = 0.8
_WIKI_LICENCE = "CC BY-SA 4.0"


def expand(sources: Sequence[Path]) -> list[Path]:
    """The sources with patterns (`*`, `?`, `**`) replaced by what they match; BadInput for one that matches nothing."""
    found: list[Path] = []
    for source in sources:
        if source.exists() or not set("*?[") & set(str(source)):
            found.append(source)
            continue
        plain = next(place for place, part in enumerate(source.parts) if set("*?[") & set(part))
        pattern = str(Path(*source.parts[plain:]))
        matches = sorted(path for path in Path(*source.parts[:plain]).glob(pattern) if path.is_file())
        if not matches:
            raise BadInput("nothing matches this pattern", where=str(source), next_step="name files or folders of text")
        found += matches
    if not found:
        raise BadInput("there is no text", next_step="name a file or folder: orature text SOURCE --to TEXT --lang xx")
    doubled = [path for path, count in Counter(path.absolute() for path in found).items() if count > 1]
    if doubled:
        raise ConfigError("a source is named twice", where=str(doubled[0]), next_step="name each source once")
    return found


def source_of(path: Path, kind: str, column: str) -> TextSource:
    """One source with the digest of all its files; BadInput where there is none."""
    files = find_files(path, kind, column)
    digest = digest_file(path) if path.is_file() else digest_json({one.name: digest_file(one.path) for one in files})
    _say_left_out(path, files)
    ref = Ref(key="external", stage="text-source", digest=digest, path=str(path.absolute()))
    return TextSource(
        ref=ref,
        name=path.absolute().name,
        kind=cast("SourceKind", kind),
        column=column,
        licence=_known_licence(files),
    )


def _say_left_out(path: Path, files: Sequence[SourceFile]) -> None:
    if path.is_file():
        return
    others = sum(one.is_file() for one in path.rglob("*")) - len(files)
    if others and files[0].name == CV_SENTENCES:
        say(f"text: of {path.name} only {CV_SENTENCES} is read: the other tables hold dev and test")
    elif others:
        say(f"text: {others} files in {path.name} are no text, or say something about it, and are not read")


def _known_licence(files: Sequence[SourceFile]) -> str:
    """Where the kind of text says it: Common Voice's sentences are in the public domain, Wikipedia's are CC BY-SA."""
    if all(one.name == CV_SENTENCES for one in files):
        return CV_LICENCE
    return _WIKI_LICENCE if all(one.kind == "wiki" for one in files) else ""


def with_names(sources: Sequence[TextSource], licences: Sequence[str]) -> tuple[TextSource, ...]:
    """Sources with names of their own (news.txt, news.txt~2) and with the licences that a person stated."""
    if len(licences) not in (0, 1, len(sources)):
        raise ConfigError(
            f"{len(licences)} licences for {len(sources)} sources",
            next_step="state one for all, or one for each source",
        )
    named: list[TextSource] = []
    seen: Counter[str] = Counter()
    for number, source in enumerate(sources):
        seen[source.name] += 1
        name = source.name if seen[source.name] == 1 else f"{source.name}~{seen[source.name]}"
        licence = licences[number if len(licences) > 1 else 0] if licences else source.licence
        named.append(source.model_copy(update={"name": name, "licence": licence}))
    return tuple(named)


def tools(
    language: str, corpora: Sequence[Ref], numbers: str, language_check: str, near_duplicates: float | None
) -> dict[str, Any]:
    """The fields numbers, language_check, near_duplicates and tools of the stage, decided once."""
    by = _numbers(language, numbers)
    method = _language_check(language, corpora, language_check)
    near = _near(near_duplicates)
    packages = {
        "num2words": by == "num2words",
        "py3langid": method in ("langid", "both"),
        "datasketch": near > 0,
    }
    return {
        "numbers": by,
        "language_check": method,
        "near_duplicates": near,
        "tools": tuple(f"{name} {_version(name)}" for name, used in packages.items() if used),
    }


def phone_reader(spec: str, language: str) -> tuple[Phones, str, Callable[[], None]]:
    """What turns texts into phones by a voice (`espeak`), the voice with its revision, and what closes it.

    ConfigError for a voice that tells no phones, or that cannot read the language; MissingExtra where it is not
    installed.
    """
    voice = open_voice(spec)
    phonemes = getattr(voice, "phonemes", None)
    if phonemes is None:
        voice.close()
        raise ConfigError(f"the voice {spec!r} tells no phones", next_step="choose --phones espeak, or leave it out")
    try:
        voice.speakers(language)
    except ConfigError:
        voice.close()
        raise
    return (
        lambda texts: [phones_of_ipa(ipa) for ipa in phonemes(list(texts), language)],
        f"{parse_voice(spec).engine} {voice.card.revision}",
        voice.close,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of unknown version"


def _numbers(language: str, asked: str) -> str:
    if asked not in ("auto", "num2words", "none"):
        raise ConfigError(f"--numbers {asked!r} is not known", next_step="choose auto, num2words or none")
    if asked == "none":
        return "none"
    if asked == "num2words":
        if not number_code(language):
            raise ConfigError(
                f"num2words does not know the numbers of {language}",
                next_step="leave --numbers out: sentences with figures are then rejected and listed",
            )
        Reader(language)
        return "num2words"
    if not number_code(language):
        say(f"text: nobody here knows the numbers of {language}: sentences with figures will be rejected")
        return "none"
    if not has_num2words():
        say('text: num2words is not installed (pip install "orature[text]"): sentences with figures will be rejected')
        return "none"
    return "num2words"


def _language_check(language: str, corpora: Sequence[Ref], asked: str) -> str:
    if asked not in ("auto", *get_args(Method)):
        raise ConfigError(
            f"--language-check {asked!r} is not known", next_step="choose auto, langid, ngrams, both or none"
        )
    if asked in ("langid", "both") and not langid_code(language):
        raise ConfigError(
            f"py3langid does not know {language}", next_step="choose --language-check ngrams with a --corpus, or none"
        )
    if asked in ("langid", "none"):
        return asked
    transcripts = _transcripts(corpora, language)
    if asked in ("ngrams", "both"):
        if sum(map(len, transcripts)) < LEAST_TRAINING:
            raise ConfigError(
                f"a language check by n-grams needs {LEAST_TRAINING} characters of training transcripts",
                next_step="name a corpus with --corpus, or choose --language-check none",
            )
        return asked
    method, why = best_method(language, transcripts)
    if method in ("ngrams", "none"):
        say(f"text: {why}")
    return method


def _transcripts(corpora: Sequence[Ref], language: str) -> list[str]:
    """Enough training transcripts to know whether there are enough."""
    found: list[str] = []
    total = 0
    for ref in corpora:
        for row in train_rows(Corpus.open(Path(ref.path)), language):
            if total >= LEAST_TRAINING:
                return found
            found.append(row.text or "")
            total += len(found[-1])
    return found


def train_rows(corpus: Corpus, language: str) -> Iterator[Utterance]:
    """Training rows in `language`; all of them where no row says that it is (a corpus may use another tag for it)."""
    own = {tag for tag in corpus.summary()["languages"] if short_code(tag) == short_code(language)}
    return (row for row in corpus.split("train") if not own or row.language in own)


def _near(asked: float | None) -> float:
    if asked is not None and not 0 <= asked <= 1:
        raise ConfigError("--near-duplicates is an overlap from 0 (off) to 1", next_step="leave it out for 0.8")
    if asked:
        need_datasketch()
        return asked
    if asked == 0:
        return 0.0
    if not has_datasketch():
        say('text: datasketch is not installed (pip install "orature[text]"): near duplicates are not looked for')
        return 0.0
    return NEAR_DUPLICATES
