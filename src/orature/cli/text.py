"""The command `orature text`: text of any kind becomes a text corpus, sentences fit to be read aloud.

Example::

    orature text news.txt --to text --lang yo --corpus corpus
    orature text extracted/ --to text --lang sw --corpus corpus --most 50000 --json
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command

if TYPE_CHECKING:
    from orature.stages.text_corpus import MakeText


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    lines = (
        "orature text news.txt --to text --lang yo --corpus corpus",
        'orature text extracted/ "books/*.jsonl" --to text --lang sw --corpus corpus --most 50000',
    )
    app.command(epilog=example(*lines))(text)


SourcesArgument = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SOURCE",
        help="Files, folders or patterns: .txt, .tsv (column sentence), .jsonl (text), .parquet (text), WikiExtractor"
        "'s folders, Common Voice sentence files; also .gz, .bz2, .xz.",
        show_default=False,
    ),
]
CorpusOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--corpus",
        help="Corpus whose training transcripts say what is usual; its dev and test stay out.",
        show_default=False,
    ),
]
ExcludeOption = Annotated[
    list[Path] | None, typer.Option(help="Corpus whose dev and test stay out, too.", show_default=False)
]
KindOption = Annotated[str, typer.Option("--format", help="auto, lines, tsv, jsonl, parquet or wiki.")]
ColumnOption = Annotated[
    str, typer.Option(help="Column or field of the text.", show_default="sentence in .tsv, text elsewhere")
]
LicenceOption = Annotated[
    list[str] | None, typer.Option(help="Licence of the text: one for all sources or one for each.")
]
NumbersOption = Annotated[str, typer.Option(help="auto, num2words, or none: sentences with figures are then left out.")]
TranscriptOption = Annotated[
    str, typer.Option(help="spoken: transcripts hold the words read; written: they keep figures and symbols.")
]
CheckOption = Annotated[
    str, typer.Option(help="auto, langid (py3langid), ngrams (like the training transcripts), both or none.")
]
NearOption = Annotated[
    float | None, typer.Option(help="Overlap of letters from which two are one; 0 keeps both.", show_default="0.8")
]
UnseenOption = Annotated[float, typer.Option(help="Most of a sentence's letters that no transcript has shown.")]
RangeOption = Annotated[
    str, typer.Option(metavar="FEWEST:MOST", help="Of a sentence.", show_default="as in the training transcripts")
]
MostOption = Annotated[int | None, typer.Option(min=1, help="Choose so many sentences.", show_default="all")]
HoursOption = Annotated[
    float | None,
    typer.Option(help="Choose so many hours of speech, at the speaking rate of the corpus.", show_default="all"),
]
DomainOption = Annotated[float, typer.Option(help="Choose among this share, nearest to the transcripts; 1: among all.")]
DenseOption = Annotated[float, typer.Option(help="Share of the choice with numbers or names in it.")]
PhonesOption = Annotated[
    str, typer.Option(help="Voice whose phones are to be covered: espeak.", show_default="letters instead")
]
AbbreviationsOption = Annotated[
    list[str] | None, typer.Option("--abbreviation", help="Abbreviation after which no sentence ends.")
]
SplitOption = Annotated[bool, typer.Option("--split/--no-split", help="Whether lines are cut into sentences.")]
LimitOption = Annotated[float, typer.Option(help="Share of rejected sentences at which to stop.")]


@run_command
def text(
    sources: SourcesArgument = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the text corpus.", show_default=False)] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language (BCP-47) of the text.")] = "",
    corpus: CorpusOption = None,
    exclude: ExcludeOption = None,
    format: KindOption = "auto",
    column: ColumnOption = "",
    licence: LicenceOption = None,
    split: SplitOption = True,
    abbreviation: AbbreviationsOption = None,
    numbers: NumbersOption = "auto",
    transcript: TranscriptOption = "spoken",
    language_check: CheckOption = "auto",
    near_duplicates: NearOption = None,
    max_unseen_share: UnseenOption = 0.02,
    characters: RangeOption = "",
    words: RangeOption = "",
    most: MostOption = None,
    most_hours: HoursOption = None,
    domain_share: DomainOption = 0.5,
    dense_share: DenseOption = 0.1,
    phones: PhonesOption = "",
    seed: Annotated[int, typer.Option(help="Decides what is drawn at random.")] = 0,
    reject_limit: LimitOption = 0.99,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that read.")] = 1,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Make a text corpus: every sentence is kept, or rejected with a reason in TEXT/rejects.jsonl."""
    from orature.core.errors import ConfigError
    from orature.stages.text_corpus import text_stage

    if to is None or not lang:
        raise ConfigError("where to, and in which language?", next_step="orature text SOURCE --to TEXT --lang xx")
    checks = _checks(transcript, max_unseen_share, reject_limit, characters, words)
    choice = _choice(most, most_hours, domain_share, dense_share, seed)
    reading = {"kind": format, "column": column, "split": split, "abbreviations": tuple(abbreviation or ())}
    tools = {"numbers": numbers, "language_check": language_check, "near_duplicates": near_duplicates, "phones": phones}
    corpora = {"corpora": corpus or [], "exclude": exclude or [], "licences": licence or []}
    stage = text_stage(sources or [], language=lang, **corpora, **reading, **tools, **checks, **choice)  # type: ignore[arg-type]
    _make(stage, to, store, workers, as_json=as_json, dry_run=dry_run)


def _checks(
    transcript: str, max_unseen_share: float, reject_limit: float, characters: str, words: str
) -> dict[str, Any]:
    from orature.core.errors import ConfigError

    if transcript not in ("spoken", "written"):
        raise ConfigError(f"--transcript {transcript!r} is not known", next_step="choose spoken or written")
    _hold_share("--max-unseen-share", max_unseen_share)
    _hold_share("--reject-limit", reject_limit)
    fewest_characters, most_characters = _range("--characters", characters)
    fewest_words, most_words = _range("--words", words)
    return {
        "transcript": transcript,
        "max_unseen_share": max_unseen_share,
        "reject_limit": reject_limit,
        "min_characters": fewest_characters,
        "max_characters": most_characters,
        "min_words": fewest_words,
        "max_words": most_words,
    }


def _choice(
    most: int | None, most_hours: float | None, domain_share: float, dense_share: float, seed: int
) -> dict[str, Any]:
    from orature.core.errors import ConfigError

    _hold_share("--dense-share", dense_share)
    if not 0 < domain_share <= 1:
        raise ConfigError("--domain-share is above 0 and at most 1", next_step="leave it out for 0.5")
    if most_hours is not None and most_hours <= 0:
        raise ConfigError("--most-hours must be above 0", next_step="leave it out for all")
    return {
        "most": most,
        "most_hours": most_hours,
        "domain_share": domain_share,
        "dense_share": dense_share,
        "seed": seed,
    }


def _hold_share(name: str, value: float) -> None:
    from orature.core.errors import ConfigError

    if not 0 <= value <= 1:
        raise ConfigError(f"{name} is a share from 0 to 1", next_step="leave it out for the default")


def _range(name: str, given: str) -> tuple[int | None, int | None]:
    """Two bounds of 5:300, 5:, :300 or nothing."""
    from orature.core.errors import ConfigError

    low, colon, high = given.partition(":")
    wrong = given and (not colon or any(part and not part.isdecimal() for part in (low, high)))
    if wrong or (low and high and int(low) > int(high)):
        raise ConfigError(f"{name} {given!r} is no range", next_step=f"write {name} FEWEST:MOST, as 2:40")
    return (int(low) if low else None), (int(high) if high else None)


def _make(stage: MakeText, to: Path, store: Path | None, workers: int, *, as_json: bool, dry_run: bool) -> None:
    from orature.flow import Resources, Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.text.text_corpus import REJECTS, TextCorpus

    home = open_store(store)
    run = Run(home, recipe="text", command=command_line())
    if dry_run:
        data = _plan(stage, to, run.planned(stage))
        emit(data, as_json)
        return
    refuse_foreign(to)
    ref = run.do(stage, on=Resources(workers=workers, progress=not as_json))
    home.publish(ref, to)
    report = {"text": str(to), "rejects": str(to / REJECTS), **TextCorpus.open(to).summary()}
    emit(report, as_json, lambda: _lines(report))


def _plan(stage: MakeText, to: Path, state: str) -> dict[str, Any]:
    from orature.text.text_sources import find_files

    kinds: dict[str, int] = {}
    for source in stage.sources:
        for file in find_files(Path(source.ref.path), source.kind, source.column):
            kinds[file.kind] = kinds.get(file.kind, 0) + 1
    return {
        "to": str(to),
        "files": kinds,
        "language": stage.language,
        "numbers": stage.numbers,
        "language_check": stage.language_check,
        "near_duplicates": stage.near_duplicates,
        "text": state,
    }


def _lines(report: dict[str, Any]) -> str:
    rows = report["rows"]
    lost = sum(rows["rejected"].values())
    hours = f", about {report['hours_estimated']:.1f} h of speech" if "hours_estimated" in report else ""
    lines = [
        f"{report['text']}: {rows['kept']} of {rows['total']} sentences kept ({report['language']}, "
        f"{report['words']} words{hours}, digest {report['digest'][:12]})"
    ]
    if lost:
        lines.append(f"  rejected     {lost:>8} (each with its reason in {report['rejects']})")
        lines += [f"    {n:>8} {reason}" for reason, n in sorted(rows["rejected"].items(), key=lambda item: -item[1])]
    if report["selection"]:
        chosen = report["selection"]
        lines.append(
            f"  chosen       {chosen['chosen']:>8} of {chosen['pool']}, {chosen['dense']} with numbers or names"
        )
        lines += [
            f"    {part['chosen']:>8} of {part['candidates']} different {kind}s"
            for kind, part in chosen["coverage"].items()
        ]
    lines += [f"  note: {warning}" for warning in report["warnings"]]
    return "\n".join(lines)
