"""A voice whose worker (engines/workers/) runs in an environment of its own: what XTTS and OmniVoice share.

Example::

    voice = EnvironmentVoice("xtts", ["models/XTTS-v2", "--batch", "1"], workers=1, device="cpu", threads=2)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, ModelError
from orature.engines.language_codes import codes_of
from orature.engines.voice import SpeechRequest
from orature.engines.voice_pipe import PipeVoice
from orature.engines.worker_environments import needed_python

WORKERS = Path(__file__).with_name("workers")


class EnvironmentVoice(PipeVoice):
    """`arguments` go to the worker's file `<name>_worker.py`; MissingExtra where the environment was not made."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        workers: int,
        device: str,
        threads: int | None,
        timeout_s: float,
        setup: str,
        environment: dict[str, str] | None = None,
    ) -> None:
        script, serve = WORKERS / f"{name}_worker.py", WORKERS / "serve.py"
        super().__init__(
            [str(needed_python(name)), "-I", str(serve), str(script), *arguments, "--device", device],
            workers=workers,
            family=name,
            timeout_s=timeout_s,
            start_timeout_s=600.0,
            # One thread a worker unless more are asked for: the last bits of a sum depend on how it is split.
            environment={
                "OMP_NUM_THREADS": str(threads or 1),
                "TOKENIZERS_PARALLELISM": "false",
                **(environment or {}),
            },
            setup=setup,
        )

    def speakers(self, language: str) -> list[str]:
        """The speakers for a language; any spelling of it will do (swh for sw)."""
        return self.hello.speakers_of(self._spelled(language))

    def message(self, request: SpeechRequest) -> dict[str, Any]:
        """The request in the worker's own spelling of the language, with the whole path of the prompt."""
        prompt = str(Path(request.prompt).absolute()) if request.prompt else ""
        language = self.hello.language_of(self._spelled(request.language))
        return {**super().message(request), "language": language, "prompt": prompt}

    def _spelled(self, language: str) -> str:
        for code in codes_of(language):
            try:
                self.hello.language_of(code)
            except ConfigError:
                continue
            return code
        return language


def folder_of(model: str, *, engine: str, needed: Sequence[str], setup: str) -> Path:
    """The model folder, absolute; ConfigError where none is named, ModelError where it lacks one of `needed`."""
    if not model:
        raise ConfigError(f"{engine}: names no model", next_step=f"write {engine}:FOLDER with a local model folder")
    folder = Path(model).absolute()
    if not folder.is_dir():
        raise ModelError("there is no such model folder", where=model, next_step=setup)
    for name in needed:
        if not (folder / name).exists():
            raise ModelError(f"the folder has no {name}", where=model, next_step=setup)
    return folder
