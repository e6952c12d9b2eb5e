"""Every error that a person can meet, with what happened, where, and what to do next.

The tree::

    OratureError                      exit code 1
    ├── BadInput                      exit code 2: the input or the command is wrong
    │   ├── ConfigError               an option, a field or a YAML key
    │   ├── CorpusError               a corpus or a manifest as a whole
    │   ├── ArchiveError              an archive that is broken or unsafe
    │   ├── AudioError                one recording that cannot be used
    │   └── ModelError                a model folder that cannot be loaded
    ├── WorkFailed                    exit code 1: the work itself failed
    │   ├── LeakFound                 embargoed text or audio on the way into training (law 5)
    │   ├── RejectLimitExceeded       more rows rejected than allowed (law 1)
    │   ├── RowsVanished              in != kept + rejected (law 1)
    │   ├── StoreError                an artefact is missing, damaged or cannot be written
    │   └── TrainingFailed            diverged, collapsed, or failed a guard before it began
    ├── MissingExtra                  exit code 2: an optional package is not installed
    └── Interrupted                   exit code 130: stopped on request; resumable

Example::

    raise AudioError("the file holds no samples", where="clips/7.mp3", next_step="record it again or drop the row")
"""

from __future__ import annotations


class OratureError(Exception):
    """What happened, where it happened, and what to do next, in sentences a person can act on."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next_step = next_step

    def __str__(self) -> str:
        parts = [self.what]
        if self.where:
            parts.append(f"where: {self.where}")
        if self.next_step:
            parts.append(f"next: {self.next_step}")
        return "\n  ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.where, self.next_step))


def _rebuild(kind: type[OratureError], what: str, where: str, next_step: str) -> OratureError:
    """Errors cross process borders whole (keyword arguments do not pickle by themselves)."""
    return kind(what, where=where, next_step=next_step)


class BadInput(OratureError):
    exit_code = 2


class ConfigError(BadInput):
    pass


class CorpusError(BadInput):
    pass


class ArchiveError(BadInput):
    pass


class AudioError(BadInput):
    """One recording cannot be used; `reason` is the short code under which it is counted."""

    def __init__(self, what: str, *, where: str = "", next_step: str = "", reason: str = "audio-unreadable") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_audio, (self.what, self.where, self.next_step, self.reason))


def _rebuild_audio(what: str, where: str, next_step: str, reason: str) -> AudioError:
    return AudioError(what, where=where, next_step=next_step, reason=reason)


class ModelError(BadInput):
    pass


class WorkFailed(OratureError):
    exit_code = 1


class LeakFound(WorkFailed):
    pass


class RejectLimitExceeded(WorkFailed):
    pass


class RowsVanished(WorkFailed):
    pass


class StoreError(WorkFailed):
    pass


class TrainingFailed(WorkFailed):
    pass


class MissingExtra(OratureError):
    exit_code = 2


class Interrupted(OratureError):
    exit_code = 130
