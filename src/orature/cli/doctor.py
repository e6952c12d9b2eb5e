"""`orature doctor`: what this machine, its packages and their licences allow, and what to do where something is wrong.

Example::

    orature doctor
    orature doctor --json

A further check of a model or a corpus returns `Finding`s and is listed by the same `show`.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import typer

from orature.cli.common import JsonOption, emit, example, run_command
from orature.core.errors import OratureError
from orature.core.types import Refusal

Level = Literal["ok", "note", "problem"]
_MARK = {"ok": "ok", "note": "--", "problem": "!!"}

LICENCE_NOTES = {
    "soxr": "LGPL-2.1-or-later: used as a shared library that you may replace",
    "espeakng-loader": "espeak-ng is GPL-3.0-or-later: optional, run as a separate program, never linked",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a check-up: what was looked at, how it stands, and what to type next where it is not well."""

    what: str
    level: Level
    says: str
    next_step: str = ""


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(epilog=example("orature doctor", "orature doctor --json"))(doctor)


@run_command
def doctor(as_json: JsonOption = False) -> None:
    """Check this machine, the installed packages and their licences."""
    show([*machine(), *packages(), *voices(), *licences()], as_json)


def show(findings: list[Finding], as_json: bool) -> None:
    """Prints the findings and leaves with 1 when one of them is a problem."""
    problems = sum(finding.level == "problem" for finding in findings)
    emit(
        {"findings": [asdict(finding) for finding in findings], "problems": problems},
        as_json,
        "\n".join([*map(_line, findings), _verdict(problems)]),
    )
    if problems:
        raise typer.Exit(1)


def _line(finding: Finding) -> str:
    after = f"\n       next: {finding.next_step}" if finding.next_step else ""
    return f"  {_MARK[finding.level]}   {finding.what}: {finding.says}{after}"


def _verdict(problems: int) -> str:
    if problems:
        return f"{problems} problem{'s' if problems > 1 else ''} to solve first."
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
