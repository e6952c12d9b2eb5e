"""The corpus on disk: Lhotse cuts that are checked, counted and digested while they stream by.

A corpus folder holds `cuts.jsonl.gz` (one MonoCut a line), `rejects.jsonl` and `corpus.json` (the summary). It is never
changed after it was made; a row is read when it is asked for, so that a million rows cost no memory.

Example::

    corpus = Corpus.open(Path("corpus"))
    for utterance in corpus.split("train"):
        print(utterance.id, utterance.text)
    kept, rejects = corpus.keep(lambda u: u.audio.duration_s < 20, because="longer than 20 s")
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any
from unicodedata import is_normalized, normalize

from orature.core.errors import CorpusError
from orature.core.identity import SetDigest
from orature.core.types import RATE_HZ, SPLITS, Reject, Utterance
from orature.data.rows import canonical_row, cut_of, encode_line, fingerprint_row, utterance_of, wrong_field

CUTS, REJECTS, SUMMARY = "cuts.jsonl.gz", "rejects.jsonl", "corpus.json"
FORMAT = 1
UNASSIGNED = "unassigned"
"""Name under which rows with `split` None (labelled, in no split yet) are counted and asked for."""
_AGAIN = "make the corpus again with: orature ingest SOURCE --to CORPUS"
_BUFFER = 1 << 20
_NEEDED = ("digest", "utterances", "hours", "splits", "languages", "fingerprints")


def id_hash(text: str) -> int:
    """64 bits that stand for an id: two of a million ids meet with a probability of 3e-8."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


class Tally:
    """Everything `corpus.json` says, gathered row by row in memory that does not grow with texts or ids."""

    def __init__(self) -> None:
        self._digest = SetDigest()
        self._splits: dict[str, tuple[array[int], set[int], SetDigest]] = {}
        self._languages: set[str] = set()
        self._licences: set[str] = set()

    def add(self, utterance: Utterance) -> None:
        self._digest.add(canonical_row(utterance))
        name = utterance.split or UNASSIGNED
        if name not in self._splits:
            self._splits[name] = (array("Q", [0, 0]), set(), SetDigest())
        counts, speakers, marks = self._splits[name]
        counts[0] += 1
        counts[1] += round(utterance.audio.duration_s * RATE_HZ)
        if utterance.speaker is not None:
            speakers.add(id_hash(utterance.speaker))
        marks.add(fingerprint_row(utterance))
        self._languages.add(utterance.language)
        if utterance.licence is not None:
            self._licences.add(utterance.licence)

    def summary(self) -> dict[str, Any]:
        names = [name for name in (*SPLITS, UNASSIGNED) if name in self._splits]
        rows = {name: self._splits[name][0] for name in names}
        return {
            "format": FORMAT,
            "digest": self._digest.hexdigest(),
            "utterances": sum(counts[0] for counts in rows.values()),
            "hours": _hours(sum(counts[1] for counts in rows.values())),
            "splits": {
                name: {
                    "utterances": rows[name][0],
                    "hours": _hours(rows[name][1]),
                    "speakers": len(self._splits[name][1]),
                }
                for name in names
            },
            "languages": sorted(self._languages),
            "licences": sorted(self._licences),
            "fingerprints": {name: self._splits[name][2].hexdigest() for name in names},
        }


def _hours(samples: int) -> float:
    return round(samples / RATE_HZ / 3600, 6)


class Corpus:
    """An immutable, lazy set of utterances: a corpus folder, or a view of one (`split`, `keep`)."""

    def __init__(self, root: Path, summary: dict[str, Any], *, split: str | None = None, mask: bytes | None = None):
        self.root = root
        self._whole = summary
        self._split = split
        self._mask = mask
        self._own: dict[str, Any] | None = summary if split is None and mask is None else None

    @classmethod
    def open(cls, folder: Path) -> Corpus:
        """The corpus in `folder`; CorpusError where there is none or it is of an unknown format."""
        folder = Path(folder).absolute()
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CorpusError(
                "this folder holds no corpus (no corpus.json)", where=str(folder), next_step=_AGAIN
            ) from error
        except (OSError, ValueError) as error:
            raise CorpusError("corpus.json cannot be read", where=str(folder), next_step=_AGAIN) from error
        if not isinstance(summary, dict) or summary.get("format") != FORMAT:
            found = summary.get("format") if isinstance(summary, dict) else None
            raise CorpusError(f"corpus format {found!r} is not {FORMAT}", where=str(folder), next_step=_AGAIN)
        if not (folder / CUTS).is_file():
            raise CorpusError(f"this corpus has lost its {CUTS}", where=str(folder), next_step=_AGAIN)
        missing = [name for name in _NEEDED if name not in summary]
        if missing:
            raise CorpusError(f"corpus.json lacks {', '.join(missing)}", where=str(folder), next_step=_AGAIN)
        return cls(folder, summary)

    def __iter__(self) -> Iterator[Utterance]:
        return (utterance for _, utterance in self._numbered())

    def __len__(self) -> int:
        if self._mask is not None:
            return self._mask.count(1)
        if self._split is not None:
            return int(self._whole["splits"].get(self._split, {"utterances": 0})["utterances"])
        return int(self._whole["utterances"])

    def __repr__(self) -> str:
        part = f", split {self._split}" if self._split else ""
        return f"Corpus({self.root}{part}, {len(self)} utterances)"

    @property
    def digest(self) -> str:
        """Content digest (64 hex): the same for the same rows in any order and any file."""
        return str(self.summary()["digest"])

    def split(self, name: str) -> Corpus:
        """The rows of one split ("unassigned": those in none yet), lazily; unknown names are a CorpusError."""
        if name not in SPLITS and name != UNASSIGNED:
            raise CorpusError(
                f"there is no split {name!r}", next_step=f"choose one of {', '.join(SPLITS)}, {UNASSIGNED}"
            )
        if self._split is None and self._mask is None:
            return Corpus(self.root, self._whole, split=name)
        return self.keep(lambda row: (row.split or UNASSIGNED) == name, because="")[0]

    def keep(self, test: Callable[[Utterance], bool], because: str) -> tuple[Corpus, list[Reject]]:
        """The rows that pass `test`, and a Reject with reason `because` for each one that does not (law 1)."""
        mask = bytearray(int(self._whole["utterances"]))
        rejects: list[Reject] = []
        for number, utterance in self._numbered():
            if test(utterance):
                mask[number] = 1
            else:
                rejects.append(Reject(utterance.id, because, because, f"{CUTS}:{number + 1}"))
        return Corpus(self.root, self._whole, mask=bytes(mask)), rejects

    def summary(self) -> dict[str, Any]:
        """What corpus.json says; counted afresh for a view."""
        if self._own is None:
            tally = Tally()
            for utterance in self:
                tally.add(utterance)
            self._own = tally.summary()
        return self._own

    def fingerprint(self, split: str) -> str:
        """Digest over (id, text, audio) of the split's rows; CorpusError where the corpus has no such rows."""
        marks = self.summary()["fingerprints"]
        if split not in marks:
            known = ", ".join(marks) or "none"
            raise CorpusError(f"the corpus has no split {split!r} (it has {known})", where=str(self.root))
        return str(marks[split])

    def verify(self) -> list[str]:
        """Reads every row and says what is wrong: repeated ids, wrong fields, a digest or a count that does not fit."""
        problems: list[str] = []
        seen: set[int] = set()
        tally = Tally()
        try:
            for number, utterance in self._numbered():
                mark = id_hash(utterance.id)
                if mark in seen:
                    problems.append(f"{CUTS}:{number + 1}: the id {utterance.id!r} is there twice")
                seen.add(mark)
                tally.add(utterance)
        except CorpusError as error:
            return [*problems, f"{error.where}: {error.what}"]
        if self._own is not None:
            found = tally.summary()
            problems += [
                f"{SUMMARY}: {name} is {self._own.get(name)!r}, but the rows give {found[name]!r}"
                for name in found
                if found[name] != self._own.get(name)
            ]
        return problems

    def cuts(self) -> Iterator[dict[str, Any]]:
        """The raw Lhotse cuts of all rows of the folder (for `custom` values that an Utterance does not carry)."""
        for _, cut in _numbered_json(self.root / CUTS):
            yield cut

    def _numbered(self) -> Iterator[tuple[int, Utterance]]:
        root, mask, split = str(self.root), self._mask, self._split
        path = self.root / CUTS
        for number, cut in _numbered_json(path):
            if mask is not None and (number >= len(mask) or not mask[number]):
                continue
            utterance = utterance_of(cut, root, f"{path}:{number + 1}")
            if split is None or (utterance.split or UNASSIGNED) == split:
                yield number, utterance


def _numbered_json(path: Path) -> Iterator[tuple[int, Any]]:
    number = 0
    try:
        with gzip.open(path, "rb") as packed, io.BufferedReader(packed, _BUFFER) as lines:
            for number, line in enumerate(lines):
                yield number, json.loads(line.decode("utf-8"))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CorpusError(f"the corpus is damaged ({error})", where=f"{path}:{number + 1}", next_step=_AGAIN) from error


class CorpusWriter:
    """Writes `cuts.jsonl.gz` row by row; refuses a second row of the same id. Ids are kept as 8-byte hashes.

    `root` is the corpus folder (by default the folder of `cuts_path`): absolute audio paths below it are stored
    relative to it, other paths as they are given.
    """

    def __init__(self, cuts_path: Path, root: Path | None = None) -> None:
        self._path = Path(cuts_path)
        self._root = str((root if root is not None else self._path.parent).absolute()).rstrip("/") + "/"
        self._seen: set[int] = set()
        self._tally = Tally()
        self._lines: list[bytes] = []

    def __enter__(self) -> CorpusWriter:
        self._file = self._path.open("wb")
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=self._file, mtime=0, compresslevel=4)
        return self

    def add(self, utterance: Utterance, extra: Mapping[str, Any] | None = None) -> None:
        """One more row; `extra` values go to the cut's `custom` and into no digest. CorpusError for a bad row."""
        problem = wrong_field(utterance)
        mark = 0 if problem else id_hash(utterance.id)
        if not problem and mark in self._seen:
            problem = f"the id {utterance.id!r} is there twice"
        if problem:
            raise CorpusError(
                problem, where=str(self._path), next_step="give every row an id of its own and valid fields"
            )
        path, text = utterance.audio.path, utterance.text
        if path.startswith(self._root):
            utterance = replace(utterance, audio=replace(utterance.audio, path=path.removeprefix(self._root)))
        if text is not None and not is_normalized("NFC", text):
            utterance = replace(utterance, text=normalize("NFC", text))
        line = encode_line(cut_of(utterance, extra), where=ascii(utterance.id))
        self._seen.add(mark)
        self._tally.add(utterance)
        self._lines.append(line)
        if len(self._lines) >= 1024:
            self._flush()

    def summary(self) -> dict[str, Any]:
        """The contents of corpus.json for the rows added so far."""
        return self._tally.summary()

    def _flush(self) -> None:
        self._packed.write(b"".join(self._lines))
        self._lines.clear()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._flush()
            self._packed.close()
        finally:
            self._file.close()


def save_corpus(
    writing: Callable[[str], AbstractContextManager[Path]],
    rows: Iterable[Utterance | tuple[Utterance, Mapping[str, Any]]],
    rejects: Iterable[Reject],
    *,
    root: Path | None = None,
) -> dict[str, Any]:
    """Writes the three files of a corpus folder through `writing` (a StageContext's, or `plain_writing`).

    `rows` is read to its end before `rejects`, so that one pass over a source can feed both. Returns the summary.
    """
    with writing(CUTS) as cuts_path, CorpusWriter(cuts_path, root) as writer:
        for row in rows:
            utterance, extra = row if isinstance(row, tuple) else (row, None)
            writer.add(utterance, extra)
    with writing(REJECTS) as rejects_path, rejects_path.open("wb") as stream:
        for reject in rejects:
            stream.write(encode_line(reject_json(reject), where=REJECTS))
    summary = writer.summary()
    with writing(SUMMARY) as summary_path:
        text = json.dumps(summary, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
        summary_path.write_text(text, encoding="utf-8")
    return summary


def reject_json(reject: Reject) -> dict[str, str]:
    """One line of rejects.jsonl; what is not valid Unicode is shown with escapes."""
    return {
        "id": _printable(reject.id),
        "reason": reject.reason,
        "detail": _printable(reject.detail),
        "where": _printable(reject.where),
    }


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
