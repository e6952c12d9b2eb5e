"""Sentence pairs: texts of one language with their translations, in a folder with a digest.

The folder holds `pairs.jsonl.gz` (one JSON a line), `rejects.jsonl` (every row that was left out, with its reason) and
`parallel.json` (the summary). It is made by `orature train-translator` and never changed.

Example::

    corpus = ParallelCorpus.open(Path("pairs"))
    for pair in corpus.split("train"):
        print(pair.source, "→", pair.target)
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import CorpusError
from orature.core.identity import SetDigest, canonical_json, digest_json

PAIRS, REJECTS, SUMMARY = "pairs.jsonl.gz", "rejects.jsonl", "parallel.json"
FORMAT = 1
PARTS = ("train", "dev", "test")
_NEEDED = ("digest", "source_language", "target_language", "splits")
_AGAIN = "make the pairs again with: orature train-translator PAIRS --from xx --to-lang yy --to MODEL"


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and its translation; `split` is train, dev or test ("" while nobody has said), `origin` its file."""

    id: str
    source: str
    target: str
    split: str = ""
    origin: str = ""
    licence: str = ""

    def to_json(self) -> dict[str, str]:
        """One line of pairs.jsonl.gz."""
        return {
            "id": self.id,
            "source": self.source,
            "target": self.target,
            "split": self.split,
            "origin": self.origin,
            "licence": self.licence,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Pair:
        """What `to_json` wrote; KeyError for anything else."""
        needed = {name: str(row[name]) for name in ("id", "source", "target", "split")}
        return cls(**needed, origin=str(row.get("origin") or ""), licence=str(row.get("licence") or ""))


class ParallelCorpus:
    """An immutable, lazy list of pairs in the order of their sources."""

    def __init__(self, root: Path, summary: Mapping[str, Any]) -> None:
        self.root = root
        self._summary = summary

    @classmethod
    def open(cls, folder: Path) -> ParallelCorpus:
        """The pairs in `folder`; CorpusError where there are none, or they are damaged or of an unknown format."""
        folder = Path(folder).absolute()
        try:
            summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CorpusError(
                f"this folder holds no sentence pairs ({SUMMARY} cannot be read)", where=str(folder), next_step=_AGAIN
            ) from error
        if not isinstance(summary, dict) or summary.get("format") != FORMAT or not set(_NEEDED) <= set(summary):
            raise CorpusError(f"{SUMMARY} is not of format {FORMAT}", where=str(folder), next_step=_AGAIN)
        return cls(folder, summary)

    def __iter__(self) -> Iterator[Pair]:
        number = 0
        try:
            with gzip.open(self.root / PAIRS, "rt", encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    number += 1
                    yield Pair.from_json(json.loads(line))
        except (OSError, EOFError, ValueError, KeyError, TypeError, zlib.error) as error:
            where = f"{self.root / PAIRS}:{number + 1}"
            raise CorpusError(f"the sentence pairs are damaged ({error})", where=where, next_step=_AGAIN) from error

    def split(self, name: str) -> list[Pair]:
        """The pairs of a split in their order."""
        return [pair for pair in self if pair.split == name]

    @property
    def digest(self) -> str:
        """Content digest (64 hex): the same for the same pairs and languages in any order."""
        return str(self._summary["digest"])

    def fingerprint(self, split: str) -> str:
        """Digest (64 hex) of the pairs of a split; scores of unlike fingerprints are not compared."""
        return str(self._summary["splits"][split]["fingerprint"])

    @property
    def languages(self) -> tuple[str, str]:
        """BCP-47 tags of source and target."""
        return str(self._summary["source_language"]), str(self._summary["target_language"])

    def summary(self) -> dict[str, Any]:
        """What parallel.json says."""
        return dict(self._summary)


class PairTally:
    """Counts and digests of pairs, gathered one by one."""

    def __init__(self) -> None:
        self._rows = {name: SetDigest() for name in PARTS}
        self._counts = {name: {"pairs": 0, "source_words": 0, "target_words": 0} for name in PARTS}
        self._licences: set[str] = set()

    def add(self, pair: Pair) -> None:
        """One more pair."""
        self._rows[pair.split].add(canonical_json([pair.source, pair.target]).encode("utf-8"))
        row = self._counts[pair.split]
        row["pairs"] += 1
        row["source_words"] += len(pair.source.split())
        row["target_words"] += len(pair.target.split())
        if pair.licence:
            self._licences.add(pair.licence)

    def summary(self, source: str, target: str) -> dict[str, Any]:
        """The part of parallel.json that the pairs themselves give."""
        prints = {name: digest_json([source, target, rows.hexdigest()]) for name, rows in self._rows.items()}
        return {
            "format": FORMAT,
            "digest": digest_json({"format": FORMAT, "splits": prints}),
            "source_language": source,
            "target_language": target,
            "splits": {name: {**self._counts[name], "fingerprint": prints[name]} for name in PARTS},
            "licences": sorted(self._licences),
        }


def write_pairs(path: Path, pairs: Iterable[Pair]) -> PairTally:
    """Writes pairs.jsonl.gz (the same bytes for the same pairs) into `path` itself and returns the counts."""
    tally = PairTally()
    with path.open("wb") as file, gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as out:
        for pair in pairs:
            tally.add(pair)
            out.write((json.dumps(pair.to_json(), ensure_ascii=False) + "\n").encode("utf-8"))
    return tally
