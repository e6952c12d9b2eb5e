"""`orature transcribe`: recordings of any length and format to text, captions or JSON with word times.

Example::

    orature transcribe my_model/model talk.m4a interview.wav --as srt --to captions/
    orature transcribe talk.wav --phones --as TextGrid --to praat/
    ffmpeg -i film.mkv -f wav - | orature transcribe my_model/model - --as txt
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from orature.cli.common import BackendOption, FastOption, JsonOption, complain, emit, example, run_command
from orature.cli.search_options import BeamsOption, CtcWeightOption, LengthPenaltyOption, search_of

if TYPE_CHECKING:
    from orature.data.transcripts import Transcript
    from orature.engines.protocol import Recogniser

_STDIN = "-"
_LONGEST_S = 24 * 3600.0


def register(app: typer.Typer) -> None:
    """Adds `transcribe` to the command line."""
    lines = (
        "orature transcribe my_model/model talk.wav",
        "orature transcribe my_model/model *.mp3 --as srt --to captions/",
        "orature transcribe talk.wav --phones",
    )
    app.command(epilog=example(*lines))(transcribe)


@run_command
def transcribe(
    model: Annotated[Path, typer.Argument(help="A model folder, or base; with --phones it may be left out.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Recordings; - reads standard input.", show_default=False),
    ] = None,
    phones: Annotated[
        bool, typer.Option("--phones", help="IPA phones with their times, of any language.", show_default=False)
    ] = False,
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", help="txt, json, srt, vtt, tsv or TextGrid (default: txt, phones tsv).", show_default=False
        ),
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder for one file a recording (default: print).", show_default=False)
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language, where the model asks for one.", show_default=False)
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(help="Folder made by `orature tune`: beam search with a language model.", show_default=False),
    ] = None,
    beams: BeamsOption = None,
    length_penalty: LengthPenaltyOption = None,
    ctc_weight: CtcWeightOption = None,
    backend: BackendOption = "auto",
    fast: FastOption = False,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: one a core).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write down what is said in recordings, with word times; long ones are decoded in overlapping windows.

    With --phones they are written in IPA, whatever the language, by the model of phones that comes with Orature.
    A recording that cannot be used is named with its reason, the others are still done, and the exit code is 2.
    """
    from orature.core.files import refuse_unwritable
    from orature.engines.recognisers import load_recogniser
    from orature.stages.transcribe import decoder_in
    from orature.train.devices import prepare_device

    wanted = _format(kind, phones)
    kind = "json" if as_json else wanted
    model, files = _asked(model, files or [], phones)
    if to is not None:
        refuse_unwritable(to)
    device = prepare_device(device, threads)
    given: dict[str, Any] = {"device": device, "language": lang, "decoder": decoder_in(str(decoder or ""))}
    given["precision"] = _precision(model, files, backend, fast, lang, device)
    recogniser = load_recogniser(model, search=search_of(beams, length_penalty, ctc_weight), **given)
    done = _all(recogniser, files, _unit(model, phones), kind, to, quiet=as_json)
    _end(files, done, print_all=as_json and to is None)


def _end(files: list[Path], done: list[Transcript | str], *, print_all: bool) -> None:
    """One JSON document where that is asked for, and exit code 2 where a recording was refused."""
    if print_all:
        emit(_documents(files, done), True)
    refused = sum(isinstance(outcome, str) for outcome in done)
    if refused:
        complain(f"{refused} of {len(files)} recordings could not be transcribed")
        raise typer.Exit(2)


def _format(kind: str | None, phones: bool) -> str:
    from orature.core.errors import ConfigError
    from orature.data.transcripts import FORMATS

    kind = kind or ("tsv" if phones else "txt")
    if kind not in FORMATS:
        raise ConfigError(f"there is no transcript format {kind!r}", next_step=f"choose one of {', '.join(FORMATS)}")
    return kind


def _all(
    recogniser: Recogniser,
    files: list[Path],
    unit: Literal["words", "phones"],
    kind: str,
    to: Path | None,
    *,
    quiet: bool,
) -> list[Transcript | str]:
    """The outcome of each recording, printed or written as soon as it is there."""
    done: list[Transcript | str] = []
    names = _output_names(files, kind)
    for path in files:
        outcome = _one(recogniser, path, unit)
        done.append(outcome)
        if isinstance(outcome, str):
            complain(outcome)
        elif to is not None:
            _write(to / names[path], outcome, kind)
        elif not quiet:
            _print(outcome, kind, several=len(files) > 1)
    return done


def _precision(
    model: Path, files: list[Path], backend: str, fast: bool, lang: str | None, device: str
) -> Literal["fp32", "bf16"]:
    """bfloat16 where it was asked for, or allowed and faster on the first recording; ModelError for what needs an
    export."""
    from orature.core.errors import AudioError, ModelError
    from orature.data.audio import Limits, decode
    from orature.engines.backends import is_exported
    from orature.engines.hub import model_folder
    from orature.recipes.backends import BF16, choose_precision, refuse_unknown

    folder = model_folder(model)
    refuse_unknown(folder, backend)
    if not is_exported(folder) and backend not in ("auto", "torch", BF16):
        raise ModelError(
            f"this folder holds no model for {backend}",
            where=str(model),
            next_step=f"orature export {model} --as {backend} --to FOLDER, and name that folder",
        )
    if backend != "auto" or not fast or str(files[0]) == _STDIN:
        return "bf16" if backend == BF16 or (fast and backend == "auto") else "fp32"
    try:
        limits = Limits(min_seconds=0.0, max_seconds=_LONGEST_S, silence_dbfs=-1000.0)
        heard = decode(files[0], str(files[0]), limits=limits)[: 30 * 16_000]
    except AudioError:
        return "fp32"
    precision, why = choose_precision(folder, [heard], language=lang, device=device)
    complain(why)
    return precision


def _asked(model: Path, files: list[Path], phones: bool) -> tuple[Path, list[Path]]:
    """The model and the recordings; with `phones` and no model first, that of the package; ConfigError for none."""
    from orature.core.errors import ConfigError
    from orature.engines.shipped import BASE, is_shipped

    if phones and not model.is_dir() and not is_shipped(str(model)) and (not files or _is_recording(model)):
        return Path(BASE), [model, *files]
    if not files:
        raise ConfigError(
            "no recording is named",
            where=f"orature transcribe {model}",
            next_step="orature transcribe MODEL FILE..., or orature transcribe FILE... --phones",
        )
    return model, files


def _is_recording(path: Path) -> bool:
    return str(path) == _STDIN or path.is_file()


def _unit(model: Path, phones: bool) -> Literal["words", "phones"]:
    """What the model writes; ModelError where phones were asked of one that writes letters."""
    from orature.core.errors import ModelError
    from orature.engines.hub import model_folder
    from orature.engines.phone_tokens import writes_phones

    if writes_phones(model_folder(model)):
        return "phones"
    if phones:
        raise ModelError(
            "this model writes letters, not phones",
            where=str(model),
            next_step="leave the model out to use the one that comes with Orature: orature transcribe FILE --phones",
        )
    return "words"


def _one(recogniser: Recogniser, path: Path, unit: Literal["words", "phones"]) -> Transcript | str:
    """The transcript of one recording, or a sentence that says why there is none."""
    from orature.core.errors import AudioError
    from orature.core.types import RATE_HZ, Refusal
    from orature.data.audio import Limits, decode
    from orature.data.transcripts import Transcript

    stdin = str(path) == _STDIN
    name = "standard input" if stdin else str(path)
    limits = Limits(min_seconds=0.0, max_seconds=_LONGEST_S, silence_dbfs=-1000.0)
    try:
        samples = decode(sys.stdin.buffer.read() if stdin else path, name, limits=limits)
    except AudioError as error:
        return str(error)
    outcome = recogniser.transcribe([samples])[0]
    if isinstance(outcome, Refusal):
        return f"{outcome.detail}\n  where: {name}"
    card = recogniser.card
    language = card.languages[0] if len(card.languages) == 1 else "und"
    return Transcript(outcome, name, len(samples) / RATE_HZ, language, card.name, unit)


def _output_names(files: list[Path], kind: str) -> dict[Path, str]:
    """A file name a recording; ConfigError where two would be the same."""
    from orature.core.errors import ConfigError

    names = {path: f"{'stdin' if str(path) == _STDIN else path.stem}.{kind}" for path in files}
    taken = list(names.values())
    for path, name in names.items():
        if taken.count(name) > 1:
            names[path] = f"{path.name}.{kind}"
    if len(set(names.values())) < len(names):
        raise ConfigError("two recordings have the same name", next_step="transcribe them into folders of their own")
    return names


def _write(path: Path, transcript: Transcript, kind: str) -> None:
    from orature.core.errors import WorkFailed
    from orature.data.transcripts import write

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, transcript, kind)
    except OSError as error:
        raise WorkFailed(
            f"the transcript cannot be written: {error.strerror or error}",
            where=str(path),
            next_step="name another folder with --to",
        ) from error


def _print(transcript: Transcript, kind: str, *, several: bool) -> None:
    from orature.data.transcripts import render

    text = render(transcript, kind).rstrip("\n")
    prefix = f"{transcript.name}\t" if several and kind == "txt" else ""
    if several and kind != "txt":
        print(f"== {transcript.name}", file=sys.stderr)
    print(f"{prefix}{text}", flush=True)


def _documents(files: list[Path], done: list[Transcript | str]) -> Any:
    """One document for one recording, a list for several; a refused recording has `error` instead of text."""
    from orature.data.transcripts import as_dict

    documents = [
        {"file": str(path), "error": outcome} if isinstance(outcome, str) else as_dict(outcome)
        for path, outcome in zip(files, done, strict=True)
    ]
    return documents[0] if len(documents) == 1 else documents
