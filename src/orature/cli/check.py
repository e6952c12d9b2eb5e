"""The commands `orature check` (leaks, alphabet, audio quality) and `orature split` (disjoint splits, folds).

Example::

    orature check corpus --against more_speech --text lm.txt
    orature split corpus --to split_corpus --strategy auto
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, StoreOption, command_line, emit, example, run_command

if TYPE_CHECKING:
    from orature.data.doctor import AlphabetReport, Examination
    from orature.flow.run import Run
    from orature.stages.split import MakeSplits

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    lines = ("orature check corpus", "orature check corpus --against more_speech --text lm.txt --json")
    app.command(epilog=example(*lines))(check)
    lines = ("orature split corpus --to split_corpus", "orature split corpus --to folds --kfold 5")
    app.command(epilog=example(*lines))(split)


@run_command
def check(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    against: Annotated[list[Path] | None, typer.Option("--against", help="Another corpus; may be repeated.")] = None,
    text: Annotated[
        list[Path] | None, typer.Option("--text", help="Text meant for training (.txt, .tsv); may be repeated.")
    ] = None,
    audio: Annotated[int, typer.Option("--audio", min=0, help="Clips to listen to for silence and bandwidth.")] = 100,
    as_json: JsonOption = False,
) -> None:
    """Look for leaks (speaker, sentence, near-duplicate, audio, text), odd letters, bad audio; exit 1 on a leak."""
    from orature.core.errors import LeakFound
    from orature.data.audio_quality import read_quality
    from orature.data.corpus import Corpus
    from orature.data.doctor import examine, read_alphabet

    own = Corpus.open(corpus)
    found = examine(own, [Corpus.open(path) for path in against or ()], text or ())
    alphabet = read_alphabet(own)
    quality = read_quality(own, audio)
    report = {
        "corpus": str(corpus),
        "digest": own.digest,
        "leaks": [leak.to_json() for leak in found.leaks],
        "warnings": found.warnings,
        "looked_at": found.looked_at,
        "alphabet": alphabet.to_json(),
        "audio": quality,
    }
    emit(report, as_json, lambda: "\n".join(_check_lines(str(corpus), found, alphabet, quality)))
    if found.leaks:
        raise LeakFound(
            f"{len(found.leaks)} leaks in {corpus}",
            next_step="make clean splits with: orature split CORPUS --to CORPUS (or take these rows or lines out)",
        )


def _check_lines(name: str, found: Examination, alphabet: AlphabetReport, quality: dict[str, Any]) -> list[str]:
    looked = ", ".join(f"{count} {what}" for what, count in found.looked_at.items())
    lines = [f"{name}: looked at {looked}"]
    kinds = sorted({leak.kind for leak in found.leaks})
    if not kinds:
        lines.append("leaks: none")
    for kind in kinds:
        own = [leak.sentence for leak in found.leaks if leak.kind == kind]
        lines.append(f"leaks, {kind}: {len(own)}")
        lines += [f"  {sentence}" for sentence in own[:_SHOWN]]
        lines += [f"  ... and {len(own) - _SHOWN} more (--json lists all)"] if len(own) > _SHOWN else []
    lines.append(f"alphabet of train: {len(alphabet.alphabet)} characters: {''.join(alphabet.alphabet.characters)}")
    for one in alphabet.outside[:_SHOWN]:
        lines.append(
            f"  not in train: {one.character} ({one.name}), {one.count} times in dev and test: {one.examples[0]}"
        )
    for word in alphabet.mixed[:_SHOWN]:
        looks = f", looks like “{word.plain}”" if word.plain else ""
        lines.append(f"  mixed scripts: “{word.word}” ({', '.join(word.scripts)}){looks}: {word.examples[0]}")
    if alphabet.controls:
        lines.append(
            f"  {len(alphabet.controls)} texts hold control characters: a wrong encoding? {alphabet.controls[0]}"
        )
    band = quality["bandwidth"]["median_hz"]
    heard = f", speech up to {band} Hz, {100 * quality['silence_share']:.0f} % silence" if band else ""
    lines.append(f"audio: {quality['clips']} clips{heard}")
    lines += [f"  {sentence}" for sentence in quality["sentences"]]
    return lines + [f"warning: {sentence}" for sentence in found.warnings]


@run_command
def split(
    corpus: Annotated[Path, typer.Argument(help="A corpus folder.")],
    to: Annotated[Path, typer.Option("--to", help="Folder to make the corpus in (with --kfold: one folder a fold).")],
    strategy: Annotated[
        str, typer.Option("--strategy", help="auto, given, rebuild (all validated clips) or random (new splits).")
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other random splits.")] = 0,
    dev_share: Annotated[float, typer.Option("--dev-share", help="Share of the seconds for a dev made here.")] = 0.1,
    test_share: Annotated[float, typer.Option("--test-share", help="The same for a test made here.")] = 0.1,
    kfold: Annotated[int, typer.Option("--kfold", min=0, help="Make this many folds (tiny corpora).")] = 0,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Make speaker- and sentence-disjoint splits with fingerprints; train loses what dev and test hold."""
    from orature.data.corpus import Corpus
    from orature.flow.run import Run
    from orature.flow.store import open_store, refuse_foreign
    from orature.stages.split import describe, read_splits

    own = Corpus.open(corpus)
    home = open_store(store)
    source = home.external(corpus.absolute(), "corpus", own.digest)
    options: dict[str, Any] = {"strategy": strategy, "seed": seed, "dev_share": dev_share, "test_share": test_share}
    stages = [_stage(corpus=source, **options, folds=kfold, fold=fold) for fold in range(max(1, kfold))]
    folders = [to / f"fold-{fold}" for fold in range(kfold)] or [to]
    run = Run(home, recipe="split", command=command_line())
    if dry_run:
        planned = {str(folder): run.planned(stage) for folder, stage in zip(folders, stages, strict=True)}
        emit(planned, as_json)
        return
    for folder in folders:
        refuse_foreign(folder)
    made = [_make(run, stage, folder) for stage, folder in zip(stages, folders, strict=True)]
    reports = [{"corpus": str(folder), **read_splits(folder)} for folder in made]
    lines = [f"{report['corpus']}: {line}" for report in reports for line in describe(report)]
    emit(reports[0] if not kfold else {"folds": reports}, as_json, "\n".join(lines))


def _stage(**options: Any) -> MakeSplits:
    """The stage, with wrong options as one sentence."""
    from pydantic import ValidationError

    from orature.core.errors import ConfigError
    from orature.stages.split import MakeSplits

    try:
        return MakeSplits(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"{name}: {first['msg']}", next_step="see: orature split --help") from None


def _make(run: Run, stage: MakeSplits, folder: Path) -> Path:
    run.store.publish(run.do(stage), folder)
    return folder
