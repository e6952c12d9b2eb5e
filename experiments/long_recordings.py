"""A corpus whose labelled clips are short and whose untranscribed recordings are long, from one of short clips.

    python experiments/long_recordings.py CORPUS OUT --labelled-minutes 10 --longest 4 --seconds 30

CORPUS is a plain folder (`manifest.tsv`). OUT gets dev and test as they are; of train so many minutes of clips up to
`--longest` seconds; and as untranscribed speech all other clips of train, with those that were untranscribed anyway,
joined in the order of the manifest, within each speaker, into recordings of about `--seconds`. So the length of what is
labelled and of what is not differ as in Lugosch et al. 2022 (arXiv 2111.00161): 5 against 30 seconds.
"""

from __future__ import annotations

import argparse
import csv
import random
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from orature.core.files import write_beside
from orature.data.audio import load, save_flac

Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labelled-minutes", type=float, default=10.0)
    parser.add_argument("--longest", type=float, default=4.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with (given.corpus / "manifest.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    labelled = chosen(rows, 60 * given.labelled_minutes, given.longest, given.seed)
    rest = [row for row in rows if row["split"] in ("train", "unlabelled") and row["path"] not in labelled]
    kept = [row for row in rows if row["split"] in ("dev", "test") or row["path"] in labelled]
    (given.out / "audio").mkdir(parents=True, exist_ok=True)
    lines = [whole(row, given.corpus, given.out) for row in kept]
    lines += joined(rest, given.corpus, given.out, given.seconds)
    table = "".join("\t".join(line) + "\n" for line in [("path", "sentence", "speaker", "lang", "split"), *lines])
    with write_beside(given.out / "manifest.tsv") as part:
        part.write_text(table, encoding="utf-8")
    long = len(lines) - len(kept)
    print(f"{len(labelled)} labelled clips, {len(rest)} others joined into {long} recordings; {len(kept)} rows kept")


def chosen(rows: Iterable[Row], seconds: float, longest: float, seed: int) -> set[str]:
    """Paths of short clips of train, drawn until they have so many seconds."""
    short = [row for row in rows if row["split"] == "train" and float(row["seconds"]) <= longest]
    random.Random(seed).shuffle(short)
    found: set[str] = set()
    for row in short:
        if seconds <= 0:
            break
        seconds -= float(row["seconds"])
        found.add(row["path"])
    return found


def whole(row: Row, corpus: Path, out: Path) -> tuple[str, ...]:
    """One clip copied."""
    path = f"audio/{Path(row['path']).stem}.flac"
    save_flac(out / path, load(corpus / row["path"]))
    return path, row["sentence"], row["speaker"], row["lang"], row["split"]


def joined(rows: list[Row], corpus: Path, out: Path, seconds: float) -> Iterator[tuple[str, ...]]:
    """Long recordings, in order."""
    for (speaker, lang), own in groupby(rows, key=lambda row: (row["speaker"], row["lang"])):
        for number, part in enumerate(parts(own, seconds)):
            path = f"audio/long-{speaker}-{number:03}.flac"
            save_flac(out / path, np.concatenate([load(corpus / row["path"]) for row in part]))
            yield path, "", speaker, lang, "unlabelled"


def parts(rows: Iterable[Row], seconds: float) -> Iterator[list[Row]]:
    """Neighbouring rows of about so many seconds together."""
    part: list[Row] = []
    length = 0.0
    for row in rows:
        part.append(row)
        length += float(row["seconds"])
        if length >= seconds:
            yield part
            part, length = [], 0.0
    if part:
        yield part


if __name__ == "__main__":
    main()
