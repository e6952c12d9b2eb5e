"""`orature voices`: which voices there are, the environments of those that need one, and a listening test.

Example::

    orature voices --lang yo
    orature voices add xtts --accept-licence
    orature voices say vits:mms-tts-yor "ọmọ náà ń sùn" --lang yo --to listen.wav
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import DryRunOption, JsonOption, complain, emit, example, run_command

if TYPE_CHECKING:
    from orature.engines.voice import SpeechRequest, Voice
    from orature.engines.voice_catalogue import Entry
    from orature.engines.worker_environments import Environment

_PAUSE_S = 0.5
_MOST_SHOWN = 12


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    lines = (
        "orature voices --lang yo",
        "orature voices add xtts --accept-licence",
        "orature voices --voice vits:folder",
    )
    group = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    group.callback(invoke_without_command=True, epilog=example(*lines))(voices)
    group.command(
        epilog=example("orature voices add xtts --accept-licence", "orature voices add xtts --dry-run --env my_env")
    )(add)
    group.command(
        epilog=example(
            'orature voices say espeak "habari za asubuhi" --lang sw --to listen.wav --speakers 3',
            'orature voices say xtts:XTTS-v2 "dobrý den" --lang cs --prompt ana.flac --to listen.wav',
        )
    )(say)
    app.add_typer(group, name="voices")


LangOption = Annotated[str, typer.Option("--lang", help="Language (BCP-47).", show_default=False)]


@run_command
def voices(
    ctx: typer.Context,
    lang: LangOption = "",
    voice: Annotated[
        str, typer.Option(metavar="VOICE", help="Open this one and tell all about it.", show_default=False)
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """List the voices: what is installed, what they read, their licences, and the next step where something lacks."""
    if ctx.invoked_subcommand is not None:
        return
    from dataclasses import asdict

    from orature.engines.voice_catalogue import catalogue, entry_of
    from orature.text.language import canonical_tag

    if lang:
        lang = canonical_tag(lang)
    entries = [entry_of(voice, lang)] if voice else list(catalogue(lang))
    emit(
        {"voices": [asdict(entry) for entry in entries]},
        as_json,
        lambda: "\n".join(_told(entry, lang) for entry in entries),
    )


def _told(entry: Entry, lang: str) -> str:
    """A few lines on one voice."""
    lines = [f"{entry.engine} ({entry.state}): {entry.about}"]
    use = {True: "commercial use allowed", False: "NON-COMMERCIAL use only", None: "see there whether commercially"}
    lines.append(f"  licence: {entry.licence}" + ("" if entry.commercial is None else f" [{use[entry.commercial]}]"))
    if lang:
        reads = {True: "yes", False: "no", None: "it depends on the model"}
        neighbour = f", with the voice of {entry.reads_with}" if entry.reads_with else ""
        lines.append(f"  reads {lang}: {reads[entry.reads]}{neighbour}")
    elif entry.languages:
        more = f" ... ({len(entry.languages)})" if len(entry.languages) > _MOST_SHOWN else ""
        lines.append(f"  languages: {' '.join(entry.languages[:_MOST_SHOWN])}{more}")
    named = [name or "(without a name)" for name in entry.speakers]
    if named:
        more = f" ... ({len(named)})" if len(named) > _MOST_SHOWN else ""
        lines.append(f"  speakers: {', '.join(named[:_MOST_SHOWN])}{more}")
    if entry.next_step:
        lines.append(f"  next: {entry.next_step}")
    return "\n".join(lines)


@run_command
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Engine with an environment of its own: xtts ...")],
    env: Annotated[
        Path | None, typer.Option(help="Folder for the environment.", show_default="in the user's data folder")
    ] = None,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You accept the licence shown.")] = False,
    python: Annotated[str, typer.Option(help="Python to make it with.", show_default="this one")] = "",
    convert: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Then write its model.pth again as safetensors.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    dry_run: DryRunOption = False,
) -> None:
    """Make the environment of a voice that cannot share ours; run it again to go on where it stopped."""
    from orature.core.errors import ConfigError
    from orature.engines.worker_environments import Environment, environment_folder, recipe_of, remember_folder

    recipe = recipe_of(name)
    if convert is not None and name != "xtts":
        raise ConfigError(f"{name} has nothing to convert", next_step="leave out --convert")
    if python and shutil.which(python) is None:
        raise ConfigError(f"there is no program {python!r}", next_step="name a Python, for example python3.11")
    folder = (env or environment_folder(name)).absolute()
    environment = Environment(recipe, folder, base=python or sys.executable)
    environment.refuse_wrong()
    facts: dict[str, Any] = {
        "name": name,
        "folder": str(folder),
        "python": str(environment.python),
        "size_mb": recipe.size_mb,
        "licence": recipe.licence,
        "commercial": recipe.commercial,
        "commands": [str(step) for step in environment.missing()],
    }
    if dry_run:
        emit({**facts, "made": False}, as_json)
        return
    if recipe.must_accept and not accept_licence:
        raise ConfigError(
            f"{name} has a licence that you must accept: {recipe.licence}",
            next_step=f"read it; if you accept it: orature voices add {name} --accept-licence",
        )
    _make(environment, quiet=as_json)
    remember_folder(name, folder)
    if convert is not None:
        _convert(environment, convert)
    done = f"{name} is ready in {folder}; licence: {recipe.licence}\nuse it: --voice {name}:FOLDER"
    emit({**facts, "made": True, "commands": []}, as_json, done)


def _make(environment: Environment, *, quiet: bool) -> None:
    missing = environment.missing()
    if missing and not quiet:
        complain(f"{environment.recipe.name}: about {environment.recipe.size_mb} MB in {environment.folder}")
    with environment.alone():
        for step in environment.missing():
            environment.do(step, say=(lambda text: None) if quiet else complain)


def _convert(environment: Environment, folder: Path) -> None:
    """Writes pickled weights again as safetensors, in the engine's environment, by its restricted reader."""
    import subprocess

    from orature.core.errors import ModelError
    from orature.engines.environment_voice import WORKERS

    if not (folder / "model.pth").is_file():
        raise ModelError("there is no model.pth to convert", where=str(folder), next_step="name a folder of XTTS-v2")
    if (folder / "model.safetensors").is_file():
        return
    command = [str(environment.python), str(WORKERS / "xtts_worker.py"), "convert", str(folder.absolute())]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise ModelError(f"model.pth cannot be converted: {last[:300]}", where=str(folder), next_step="copy it again")


@run_command
def say(
    voice: Annotated[str, typer.Argument(metavar="VOICE", help="espeak, vits:FOLDER, xtts:FOLDER ...")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What is to be said.")],
    lang: Annotated[str, typer.Option("--lang", help="Language (BCP-47).")] = "und",
    to: Annotated[Path | None, typer.Option(help="Sound file (.wav).", show_default=False)] = None,
    speaker: Annotated[
        list[str] | None, typer.Option(help="A speaker; may be given again.", show_default=False)
    ] = None,
    speakers: Annotated[int, typer.Option(min=1, help="So many of the speakers, one after another.")] = 1,
    seed: Annotated[int, typer.Option(help="Of what is drawn at random.")] = 0,
    rate: Annotated[float, typer.Option(min=0.1, max=5.0, help="Factor of tempo.")] = 1.0,
    prompt: Annotated[Path | None, typer.Option(help="Recording to be imitated.", show_default=False)] = None,
    prompt_text: Annotated[str, typer.Option(help="What is said in the prompt.", show_default=False)] = "",
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    as_json: JsonOption = False,
) -> None:
    """Say a text into a sound file, by one speaker or by several one after another: a listening test."""
    from orature.core.errors import ConfigError
    from orature.engines.voice import SpeechRequest
    from orature.engines.voices import open_voice

    if to is None or to.suffix.lower() != ".wav":
        raise ConfigError("where to?", next_step=f'orature voices say {voice} "..." --to listen.wav')
    if prompt is not None and not prompt.is_file():
        raise ConfigError("there is no such prompt", where=str(prompt), next_step="name a recording")
    with open_voice(voice, device=device) as opened:
        known = opened.speakers(lang)
        names = speaker or known[:speakers]
        given = str(prompt.absolute()) if prompt else ""
        requests = [SpeechRequest(text, lang, one, seed, rate, prompt=given, prompt_text=prompt_text) for one in names]
        rows = _written(opened, requests, to)
        licence = opened.card.licence
    report = {"file": str(to), "voice": voice, "licence": licence, "rows": rows}
    emit(report, as_json, lambda: "\n".join([*map(_row_line, rows), f"{to}; licence of the voice: {licence}"]))


def _row_line(row: dict[str, Any]) -> str:
    name = row["speaker"] or "(without a name)"
    if "refused" in row:
        return f"{name}: {row['refused']}: {row['detail']}"
    return f"{row['start_s']:7.2f} - {row['end_s']:.2f} s  {name}"


def _written(voice: Voice, requests: list[SpeechRequest], to: Path) -> list[dict[str, Any]]:
    """Speaks and writes one file with pauses between; WorkFailed where nothing could be said."""
    import wave

    import numpy as np

    from orature.core.errors import WorkFailed
    from orature.core.types import Refusal
    from orature.data.audio import to_int16

    rows: list[dict[str, Any]] = []
    parts: list[Any] = []
    at = 0
    for request, spoken in zip(requests, voice.speak(requests), strict=True):
        if isinstance(spoken, Refusal):
            rows.append({"speaker": request.speaker, "refused": spoken.reason, "detail": spoken.detail})
            continue
        start = at / voice.rate_hz
        rows.append({"speaker": request.speaker, "start_s": start, "end_s": start + len(spoken) / voice.rate_hz})
        pause = np.zeros(round(_PAUSE_S * voice.rate_hz), np.float32)
        parts += [spoken, pause]
        at += len(spoken) + len(pause)
    if not parts:
        first = rows[0]
        raise WorkFailed(
            f"the voice refuses this text: {first['refused']}: {first['detail']}",
            next_step="change the text or the voice",
        )
    to.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(to), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(voice.rate_hz)
        sound.writeframes(to_int16(np.concatenate(parts)).astype("<i2").tobytes())
    return rows
