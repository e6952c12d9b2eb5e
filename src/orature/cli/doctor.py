"""`orature doctor`: what this machine, a model or a corpus lacks, and what to do where something is wrong.

Example::

    orature doctor
    orature doctor my_model/model corpus
    orature doctor corpus --json
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer

from orature.cli.common import JsonOption, emit, example, run_command
from orature.core.errors import BadInput, OratureError
from orature.core.finding import Finding
from orature.core.types import Refusal

_MARK = {"ok": "ok", "note": "--", "problem": "!!"}

LICENCE_NOTES = {
    "soxr": "LGPL-2.1-or-later: used as a shared library that you may replace",
    "espeakng-loader": "espeak-ng is GPL-3.0-or-later: optional, run as a separate program, never linked",
}


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    lines = ("orature doctor", "orature doctor my_model/model corpus", "orature doctor --estimate xls-r-300m --hours 2")
    app.command(epilog=example(*lines))(doctor)


@run_command
def doctor(
    model: Annotated[
        Path | None, typer.Argument(help="A model folder (or a corpus folder alone).", show_default=False)
    ] = None,
    corpus: Annotated[Path | None, typer.Argument(help="A corpus folder.", show_default=False)] = None,
    clips: Annotated[int, typer.Option("--clips", min=1, help="Utterances to decode with the model.")] = 16,
    estimate: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL|SIZE",
            help="What training this model (or tiny, small, base, transformer-base ... from nothing) will take here.",
            show_default=False,
        ),
    ] = None,
    hours: Annotated[float, typer.Option(min=0.01, help="For --estimate: hours of transcribed speech.")] = 1.0,
    scale: Annotated[str, typer.Option(help="For --estimate: smoke, dev or full.")] = "full",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check this machine and its packages; or ask of a model, a corpus or both: why is my WER 100 %?

    With --estimate: time, memory and disk that a training will take on this machine.
    """
    if estimate is not None:
        _estimate(estimate, hours, scale, device, as_json)
        return
    if model is None:
        show([*machine(), *packages(), *voices(), *licences()], as_json)
        return
    given = _sorted_out([model] if corpus is None else [model, corpus])
    from orature.recipes.diagnose import diagnose
    from orature.train.devices import prepare_device

    on = prepare_device(device, None) if "model" in given else "cpu"
    show(list(diagnose(given.get("model"), given.get("corpus"), clips=clips, device=on)), as_json)


def _estimate(model: str, hours: float, scale: str, device: str, as_json: bool) -> None:
    from orature.flow import Resources
    from orature.recipes.estimate import estimate

    found = estimate(model, hours=hours, scale=scale, on=Resources(device=device))  # type: ignore[arg-type]
    emit(found.to_json(), as_json, "\n".join(found.lines()))


def _sorted_out(folders: list[Path]) -> dict[str, Path]:
    """The folders by what they are, in whichever order they were named."""
    given: dict[str, Path] = {}
    for folder in folders:
        kind = "corpus" if (folder / "corpus.json").is_file() else "model"
        if kind == "model" and not (folder / "config.json").is_file():
            raise BadInput(_neither(folder), next_step=_hint(folder))
        if kind in given:
            raise BadInput(f"two {kind} folders are named", next_step="orature doctor MODEL CORPUS")
        given[kind] = folder
    return given


def _neither(folder: Path) -> str:
    if not folder.exists():
        return f"there is no folder {folder}"
    return f"{folder} is neither a model folder (config.json) nor a corpus folder (corpus.json)"


def _hint(folder: Path) -> str:
    if (folder / "model" / "config.json").is_file():
        return f"the model is in {folder / 'model'}"
    return "name a folder made by `orature train` or `up` (model), or by `orature ingest` (corpus)"


def show(findings: list[Finding], as_json: bool) -> None:
    """Prints the findings and leaves with 1 when one of them is a problem."""
    problems = sum(finding.level == "problem" for finding in findings)
    emit(
        {"findings": [asdict(finding) for finding in findings], "problems": problems},
        as_json,
        "\n".join([*map(_line, findings), _verdict(problems, sum(finding.level == "note" for finding in findings))]),
    )
    if problems:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    after = f"\n       next: {finding.next_step}" if finding.next_step else ""
    return f"  {_MARK[finding.level]}   {finding.what}: {finding.says}{after}"


def _verdict(problems: int, notes: int) -> str:
    if problems:
        return f"{problems} problem{'s' if problems > 1 else ''} to solve first."
    if notes:
        return f"No problems; {notes} thing{'s' if notes > 1 else ''} to know (marked {_MARK['note']})."
    return "All is well."


def machine() -> Iterator[Finding]:
    """Interpreter, processor, memory, disk, accelerator, ffmpeg."""
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Finding("python", "problem" if old else "ok", version, "install Python 3.11 or newer" if old else "")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    yield Finding("processor", "ok", f"{platform.system()} {platform.machine()}, {usable} cores usable")
    memory_gb = _memory_gb()
    if memory_gb:
        little = memory_gb < 4
        yield Finding("memory", "note" if little else "ok", f"{memory_gb:.1f} GB" + (" (little)" if little else ""))
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    low = free_gb < 5
    yield Finding("disk", "note" if low else "ok", f"{free_gb:.0f} GB free here", "make some room" if low else "")
    yield _accelerator()
    ffmpeg = shutil.which("ffmpeg")
    says = "found" if ffmpeg else "not found; m4a and aac cannot be read (wav, flac, mp3, ogg, opus can)"
    yield Finding("ffmpeg", "ok" if ffmpeg else "note", says)


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return None


def _accelerator() -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(
            "torch", "problem", f"cannot be loaded ({error})", "pip install -c constraints.txt torch==2.13.0"
        )
    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count()))
        return Finding("accelerator", "ok", f"{names} (torch {torch.__version__}, CUDA {torch.version.cuda})")
    if shutil.which("nvidia-smi"):
        return Finding(
            "accelerator",
            "problem",
            f"an NVIDIA GPU is here but torch {torch.__version__} cannot use it",
            "make install CONSTRAINTS=constraints-cuda.txt (or update the NVIDIA driver)",
        )
    threads = torch.get_num_threads()
    return Finding(
        "accelerator", "note", f"none; training runs on {threads} processor threads (torch {torch.__version__})"
    )


def packages() -> Iterator[Finding]:
    """Each package that Orature asks for: there, in a version that fits; and those known to break others."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in metadata.requires("orature") or ()]
    except metadata.PackageNotFoundError:
        yield Finding("orature", "note", "runs from a source folder that is not installed", "pip install -e .")
        return
    missing: dict[str, list[str]] = {}
    for need in wanted:
        extra = _extra_of(str(need.marker or ""))
        if need.name == "orature" or extra in ("dev", "all"):
            continue
        version = _version(need.name)
        if version is None and extra:
            missing.setdefault(extra, []).append(need.name)
        else:
            yield _package(need.name, version, str(need.specifier), need.specifier.contains)
    for extra, names in missing.items():
        step = f"pip install 'orature[{extra}]' where you need it"
        yield Finding(f"extra {extra}", "note", f"not installed: {', '.join(names)}", step)
    if _version("torchaudio"):
        yield Finding(
            "torchaudio",
            "problem",
            "is linked against CUDA and makes transformers fail beside a CPU build of torch",
            "pip uninstall torchaudio (Orature does not use it)",
        )


def _package(name: str, version: str | None, wanted: str, fits: Callable[[str], bool]) -> Finding:
    if version is None:
        return Finding(name, "problem", "not installed", "make install, or pip install -c constraints.txt -e .")
    if not fits(version.split("+")[0]):
        return Finding(name, "problem", f"{version} does not fit {wanted}", f"pip install '{name}{wanted}'")
    return Finding(name, "ok", version)


def _extra_of(marker: str) -> str:
    found = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
    return found[1] if found else ""


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def voices() -> Iterator[Finding]:
    """Whether espeak-ng, where it is installed, speaks."""
    if not _version("espeakng-loader"):
        return
    from orature.engines.espeak import EspeakVoice, SpeakRequest

    try:
        with EspeakVoice() as voice:
            spoken = voice.speak([SpeakRequest("habari", "sw")])[0]
            says = f"{voice.card.revision}, {len(voice.voices())} voices"
    except OratureError as error:
        yield Finding("voices", "problem", error.what, error.next_step)
        return
    if isinstance(spoken, Refusal):
        yield Finding("voices", "problem", spoken.detail, "pip install --force-reinstall espeakng-loader")
    else:
        yield Finding("voices", "ok", says)


def licences() -> Iterator[Finding]:
    """Licences of the installed packages that are not plainly permissive, and what that means here."""
    for name, note in LICENCE_NOTES.items():
        if _version(name):
            yield Finding(f"licence of {name}", "note", note)
    yield Finding("licence of orature", "ok", "Apache-2.0; models and corpora keep the licences of what they came from")
