"""The command `orature translate`: transcripts of a rich language, or text, in the language that is to be learned.

Example::

    orature translate common_voice_es/ --into que-EC --translator marian:opus-mt-es-qu/ --like kichwa/ --to translated
    orature translate news.txt --from es --into que-EC --translator marian:opus-mt-es-qu/ --to news.qu.txt
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import (
    DryRunOption,
    JsonOption,
    StoreOption,
    command_line,
    emit,
    example,
    resources_for,
    run_command,
)
from orature.cli.train import DeviceOption, ThreadsOption

if TYPE_CHECKING:
    from orature.recipes.translating import Translating

_LINES = (
    "orature translate spanish/ --into que-EC --translator marian:opus-mt-es-qu/ --like kichwa/ --to translated",
    "orature translate spanish/ --into que-EC --translator nllb/ --round-trip nllb/ --n-best 4 --like kichwa/ --to out",
    "orature translate spanish/ --into que-EC --human translations.tsv --embargo kichwa/ --to by_hand",
    "orature translate news.txt --from es --into que-EC --translator marian:opus-mt-es-qu/ --to news.qu.txt",
)
TranslatorOption = Annotated[
    str, typer.Option(help="ENGINE:MODEL or a model folder, e.g. marian:FOLDER.", show_default=False)
]
EmbargoOption = Annotated[
    list[Path] | None,
    typer.Option(help="Corpus whose dev and test stay out of the translations; may be repeated.", show_default=False),
]
LikeOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Corpus or text corpus of the language: what its training texts look like; its dev and test stay out.",
        show_default=False,
    ),
]
FromOption = Annotated[
    str, typer.Option("--from", help="Language (BCP-47) of the source.", show_default="as the corpus says")
]
HumanOption = Annotated[
    Path | None,
    typer.Option(help="Translations by persons: .tsv with `translation` and `sentence` or `id`.", show_default=False),
]
RoundTripOption = Annotated[
    str, typer.Option(help="Translator back into the source: what does not come back is left out.")
]
NBestOption = Annotated[
    int | None, typer.Option(min=1, help="Translations of a text: the first good one is kept.", show_default="1")
]
AddressOption = Annotated[
    str | None, typer.Option(help="A Ray cluster that is up (auto: this machine's).", show_default="one of its own")
]
SourceArgument = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="Corpus with transcripts, text corpus, or a .txt or .tsv file.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A check (none: off), e.g. most_ratio=3, min_round_trip=40; or of the search: temperature, top_k.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command(epilog=example(*_LINES))(translate)


@run_command
def translate(
    source: SourceArgument,
    to: Annotated[Path, typer.Option("--to", help="Folder for the result; a .txt or .tsv file for a file.")],
    into: Annotated[str, typer.Option(help="Language (BCP-47) to translate into.")],
    translator: TranslatorOption = "",
    from_: FromOption = "",
    human: HumanOption = None,
    round_trip: RoundTripOption = "",
    embargo: EmbargoOption = None,
    like: LikeOption = None,
    beams: Annotated[int | None, typer.Option(min=1, help="Of the search.", show_default="5")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw translations instead of searching.")] = False,
    n_best: NBestOption = None,
    variants: Annotated[int, typer.Option(min=1, help="Rows made of one: so many translations are kept.")] = 1,
    dev: Annotated[bool, typer.Option("--dev", help="Translate dev as well (test never).")] = False,
    assign: SetOption = None,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn.")] = 1,
    backend: Annotated[str, typer.Option(help="auto, torch, ctranslate2 or ctranslate2-int8.")] = "auto",
    executor: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: AddressOption = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that translate (with Ray: tasks at a time).")] = 1,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Translate the transcripts of a corpus (or text) into another language; what is not worth it has a reason.

    The result is a corpus of the same speech with translated texts (origin translated), to train speech translation on.
    """
    from orature.core.errors import BadInput
    from orature.recipes.settings import parse_assignments
    from orature.recipes.translating import Translating
    from orature.train.devices import prepare_device

    if not source.exists():
        raise BadInput(f"no such file or folder: {source}", next_step="name a corpus, a text corpus or a file of text")
    given: dict[str, Any] = {"beams": beams, "n_best": n_best, "sample": sample or None}
    options = {name: value for name, value in given.items() if value is not None} | parse_assignments(assign or [])
    asked = Translating(
        into=into,
        translator=translator,
        source=from_,
        round_trip=round_trip,
        backend=backend,
        human=human,
        embargo=tuple(embargo or ()),
        like=tuple(like or ()),
        dev=dev,
        variants=variants,
        seed=seed,
        options=options,
    )
    on = resources_for(executor, address, workers, device, as_json)
    if executor == "local":
        prepare_device(device, threads)
    on = on.model_copy(update={"threads": threads})
    _translate(source, to, asked, on, store, as_json=as_json, dry_run=dry_run)


def _translate(
    source: Path, to: Path, asked: Translating, on: Any, store: Path | None, *, as_json: bool, dry_run: bool
) -> None:
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.translating import account_lines, read_translation_account, translated, translation_plan
    from orature.recipes.translating_text import check_file, translated_file

    if source.is_file():
        check_file(source, to, asked)
    else:
        refuse_foreign(to)
    home = open_store(store)
    run = Run(home, recipe="translate", command=command_line())
    if dry_run:
        plan = translation_plan(run, source, asked, on=on) | {"to": str(to)}
        return emit(plan, as_json, lambda: _cost_lines(plan))
    if source.is_file():
        done = translated_file(run, source, to, asked, on=on)
        return emit(done, as_json, lambda: _file_lines(done))
    home.publish(translated(run, source, asked, on=on), to)
    account = read_translation_account(to)
    report = {"corpus": str(to), "rejects": str(to / "rejects.jsonl"), "translations": account}
    emit(
        report, as_json, lambda: "\n".join([*account_lines(account), f"corpus: {to}", f"rejects: {report['rejects']}"])
    )


def _file_lines(done: dict[str, Any]) -> str:
    lines = [f"{done['to']}: {done['translated']:,} of {done['lines']:,} lines translated"]
    lines += [f"  {count:>8,} {reason}" for reason, count in sorted(done["reasons"].items(), key=lambda one: -one[1])]
    return "\n".join(lines)


def _cost_lines(plan: dict[str, Any]) -> str:
    from orature.core.progress import clock

    if plan["translate"] == "by persons":
        return "translate: persons have done it; nothing is to be computed but the checks"
    return "\n".join(
        [
            f"translate: {plan['translate']} ({plan['texts']:,} different texts, {plan['characters']:,} characters, "
            f"from {plan['source']} into {plan['target']} by {plan['translator']})",
            f"  time: about {clock(plan['seconds'])} with {plan['workers']} workers (measured on a few of them)",
        ]
    )
