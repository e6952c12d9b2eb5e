"""The command `orature synthesise`: a text corpus read aloud by a voice becomes a corpus of synthetic speech.

Example::

    orature synthesise text/ --voice espeak --to speech --like real/ --workers 2
    orature synthesise text/ --voice vits:my-voice/ --to speech --executor ray --address auto --workers 64
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
from orature.cli.train import DeviceOption, LangOption

if TYPE_CHECKING:
    from orature.flow import Ref, Resources, Run
    from orature.stages.synthesise import Synthesise

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Any other option: rate, pitch, expression (ranges, e.g. rate=[0.9,1.1]), speakers, split, per_shard.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    lines = (
        "orature synthesise text/ --voice espeak --to speech --like real/ --workers 2",
        "orature synthesise text/ --voice vits:my-voice/ --to speech --executor ray --address auto --workers 64",
    )
    app.command(epilog=example(*lines))(synthesise)


@run_command
def synthesise(
    text: Annotated[Path, typer.Argument(help="A text corpus made by `orature text`, or a text to make one of.")],
    voice: Annotated[str, typer.Option(help="ENGINE or ENGINE:MODEL, e.g. espeak, vits:FOLDER, worker:COMMAND.")],
    to: Annotated[Path, typer.Option("--to", help="Folder for the corpus of speech.")],
    lang: LangOption = None,
    like: Annotated[
        Path | None,
        typer.Option(
            help="Corpus with splits: the speech sounds like its train recordings, its dev and test stay out.",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Corpus whose train speakers are imitated, for voices that do so.", show_default=False),
    ] = None,
    readings: Annotated[int, typer.Option(min=1, help="Times each sentence is read, by different speakers.")] = 1,
    realism: Annotated[
        str, typer.Option(help="match (rooms, noise, band, codec, level as in --like) or none.")
    ] = "match",
    audio: Annotated[str, typer.Option("--audio", help="flac (lossless) or opus (a fifth of the disk).")] = "flac",
    seed: Annotated[int, typer.Option(help="Seed of everything that is drawn.")] = 1,
    reject_limit: Annotated[float, typer.Option("--reject-limit", help="Share of rejects at which to stop.")] = 0.2,
    assign: SetOption = None,
    executor: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster that is up (auto: this machine's).", show_default="one of its own")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read (with Ray: tasks at a time).")] = 1,
    device: DeviceOption = "auto",
    store: StoreOption = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Read a text corpus aloud: every sentence becomes an utterance, or is rejected with a reason."""
    from orature.flow import Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.recipes.settings import parse_assignments

    refuse_foreign(to)
    home = open_store(store)
    run = Run(home, recipe="synthesise", command=command_line())
    on = resources_for(executor, address, workers, device, as_json)
    given: dict[str, Any] = {"readings": readings, "realism": realism, "audio_format": audio, "seed": seed}
    given |= {"reject_limit": reject_limit, **parse_assignments(assign or [])}
    source, language = _text(run, text, lang, like, on, dry_run)
    stage = _stage(source, voice, language, like, prompts, given, device)
    if dry_run:
        from orature.stages.synthesis_cost import estimate

        cost = estimate(stage, run.path_of, on)
        data = {"text": str(text), "to": str(to), "synthesise": run.planned(stage), "cost": cost}
        return emit(data, as_json, lambda: _cost_lines(data))
    ref = run.do(stage, on=on)
    home.publish(ref, to)
    info = home.info(ref.key)
    report = _report(to, info.rows.model_dump() if info.rows else {}, info.notes)
    emit(report, as_json, lambda: _lines(report))


def _text(run: Run, text: Path, lang: str | None, like: Path | None, on: Resources, dry_run: bool) -> tuple[Ref, str]:
    """The text corpus and its language; a text file is made into one first."""
    from orature.core.errors import BadInput, ConfigError
    from orature.stages.inputs import text_corpus_ref
    from orature.text.language import canonical_tag
    from orature.text.text_corpus import SUMMARY, TextCorpus

    if not text.exists():
        raise BadInput(f"no such file or folder: {text}", next_step="name a text corpus made by `orature text`")
    if (text / SUMMARY).is_file() or text.is_dir():
        return text_corpus_ref(text), canonical_tag(lang) if lang else TextCorpus.open(text).language
    if lang is None:
        raise ConfigError(f"which language is {text} in?", next_step="name it with --lang (BCP-47)")
    if dry_run:
        raise ConfigError(
            "the cost of reading a text file is known once it is a text corpus",
            next_step=f"orature text {text} --lang {lang} --to TEXT, then name TEXT here",
        )
    from orature.stages.text_corpus import text_stage

    made = run.do(text_stage([text], language=canonical_tag(lang), corpora=[like] if like else []), on=on)
    return made, canonical_tag(lang)


def _stage(
    text: Ref, voice: str, language: str, like: Path | None, prompts: Path | None, given: dict[str, Any], device: str
) -> Synthesise:
    from pydantic import ValidationError

    from orature.core.errors import ConfigError
    from orature.engines.voices import open_voice
    from orature.stages.inputs import corpus_ref, voice_ref
    from orature.stages.synthesise import Synthesise

    target = None if like is None else corpus_ref(like)
    pool = None if prompts is None else corpus_ref(prompts)
    with open_voice(voice, device=device) as opened:
        opened.speakers(language)
        if pool is not None and not opened.traits.prompts:
            raise ConfigError(f"the voice {voice} imitates nobody", next_step="leave --prompts out")
        ref = voice_ref(voice, opened)
    fields = {"target": target, "embargo": target, "prompts": pool, **given}
    try:
        return Synthesise(text=text, voice=ref, language=language, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"])) or "an option"
        raise ConfigError(
            f"{name}: {first['msg']}", next_step="options are: " + ", ".join(sorted(Synthesise.model_fields))
        ) from error


def _report(to: Path, rows: dict[str, Any], notes: dict[str, Any]) -> dict[str, Any]:
    from orature.data.corpus import REJECTS, Corpus

    summary = Corpus.open(to).summary()
    facts = {name: summary[name] for name in ("digest", "utterances", "hours", "languages", "licences")}
    return {"corpus": str(to), "rows": rows, "rejects": str(to / REJECTS), "notes": notes, **facts}


def _lines(report: dict[str, Any]) -> str:
    rows, notes = report["rows"], report["notes"]
    lines = [
        f"{report['corpus']}: {rows['kept']} of {rows['total']} rows read by {notes['voice']}, {report['hours']:.2f} h "
        f"(digest {report['digest'][:12]})"
    ]
    if not notes.get("matched"):
        lines.append("  note: the speech is clean; --like CORPUS makes it sound like that corpus's recordings")
    if notes.get("shards_lost_with_a_worker"):
        lines.append(f"  note: {notes['shards_lost_with_a_worker']} shards were made anew after a worker had died")
    if rows["rejected"]:
        lines.append(f"  rejected {sum(rows['rejected'].values()):>8} (each with its reason in {report['rejects']})")
        lines += [f"    {n:>8} {reason}" for reason, n in sorted(rows["rejected"].items(), key=lambda item: -item[1])]
    return "\n".join(lines)


def _cost_lines(data: dict[str, Any]) -> str:
    from orature.core.progress import clock

    cost = data["cost"]
    return "\n".join(
        [
            f"synthesise: {data['synthesise']} ({cost['rows']} readings of {cost['sentences']} sentences)",
            f"  speech: about {cost['hours']:.1f} h, disk: about {cost['disk_bytes'] / 1e9:.2f} GB",
            f"  time:   about {clock(cost['seconds'])} with {cost['workers']} workers "
            f"({cost['measured']} sentences measured here in {cost['measured_s']:.1f} s)",
        ]
    )
