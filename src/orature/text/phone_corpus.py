"""Phone text: sentences with the voice that is to read them and the phones that it says, in a folder without audio.

The folder holds `rows.jsonl.gz` (one JSON a line), `rejects.jsonl` and `phones.json` (the summary: languages, voices
with their tempo, phones, hours to be expected). The stage `PhoneText` makes it; training speaks it on the fly.

Example::

    phone_text = PhoneCorpus.open(Path("phones"))
    for row in phone_text.rows("train"):
        print(row.voice, row.text, row.phones, phone_text.seconds(row))
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.identity import SetDigest, canonical_json

ROWS, REJECTS, SUMMARY = "rows.jsonl.gz", "rejects.jsonl", "phones.json"
FORMAT = 1
LONGEST_S, SHORTEST_S = 30.0, 0.2
_AGAIN = "make it again with: orature run base TEXT --to DIR"


@dataclass(frozen=True, slots=True)
class PhoneRow:
    """One sentence. `voice` is an espeak-ng identifier, `phones` what it says, separated by spaces.

    `language` is that of the text, `spoken` the BCP-47 tag of the voice: they differ where a voice reads the text of
    another language (`accent`). `kind` is "text", "pseudo" or "accent".
    """

    id: str
    language: str
    voice: str
    spoken: str
    text: str
    phones: str
    kind: str
    split: str
    source: str = ""

    @property
    def count(self) -> int:
        """Number of phones."""
        return self.phones.count(" ") + 1


@dataclass(frozen=True, slots=True)
class Tempo:
    """How long a voice takes at its plain rate: `start_s` plus `phone_s` for each phone."""

    start_s: float
    phone_s: float

    def seconds(self, phones: int) -> float:
        """Seconds to expect, from 0.2 to 30."""
        return min(max(self.start_s + self.phone_s * phones, SHORTEST_S), LONGEST_S)


def fitted_tempo(pairs: Iterable[tuple[int, float]]) -> Tempo:
    """The line of least squares through (phones, seconds), kept to what speech can be; ValueError without a pair."""
    known = list(pairs)
    if not known:
        raise ValueError("a tempo needs at least one spoken sentence")
    mean_n = sum(n for n, _ in known) / len(known)
    mean_s = sum(s for _, s in known) / len(known)
    spread = sum((n - mean_n) ** 2 for n, _ in known)
    slope = sum((n - mean_n) * (s - mean_s) for n, s in known) / spread if spread else mean_s / mean_n
    slope = min(max(slope, 0.03), 0.25)
    return Tempo(round(min(max(mean_s - slope * mean_n, -0.3), 2.0), 4), round(slope, 5))


class PhoneCorpus:
    """An immutable, lazy list of `PhoneRow`s."""

    def __init__(self, root: Path, summary: Mapping[str, Any]) -> None:
        self.root = root
        self._summary = summary
        self._tempos = {voice: Tempo(*pair) for voice, pair in summary["tempo"].items()}

    @classmethod
    def open(cls, folder: Path) -> PhoneCorpus:
        """The phone text in `folder`; CorpusError where there is none, or it is damaged."""
        folder = Path(folder).absolute()
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
            if summary["format"] != FORMAT:
                raise ValueError(f"format {summary['format']!r} is not {FORMAT}")
            return cls(folder, summary)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CorpusError(
                f"this folder holds no phone text that can be read ({error})", where=str(folder), next_step=_AGAIN
            ) from error

    def rows(self, split: str | None = None) -> Iterator[PhoneRow]:
        """The rows of a split (None: all) in their order; CorpusError where the file is damaged."""
        path, done = self.root / ROWS, 0
        try:
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for done, line in enumerate(lines, 1):  # noqa: B007 - named in the error
                    row = PhoneRow(**json.loads(line))
                    if split in (None, row.split):
                        yield row
        except (OSError, EOFError, ValueError, TypeError, zlib.error) as error:
            raise CorpusError(
                f"the phone text is damaged ({error})", where=f"{path}:{done + 1}", next_step=_AGAIN
            ) from error

    def summary(self) -> dict[str, Any]:
        """What phones.json says."""
        return dict(self._summary)

    @property
    def digest(self) -> str:
        """Content digest (64 hex): the same for the same rows in any order."""
        return str(self._summary["digest"])

    @property
    def phones(self) -> list[str]:
        """Every phone of the training rows, in code point order."""
        return sorted(self._summary["phones"])

    def seconds(self, row: PhoneRow) -> float:
        """Seconds that the row takes at the plain rate of its voice."""
        return self._tempos[row.voice].seconds(row.count)


def write_rows(path: Path, rows: Iterable[PhoneRow]) -> str:
    """Writes rows.jsonl.gz (the same bytes for the same rows) into `path` itself; the digest of the rows."""
    digest = SetDigest()
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as out:
        for row in rows:
            line = canonical_json(asdict(row)).encode("utf-8")
            digest.add(line)
            out.write(line + b"\n")
    return digest.hexdigest()
