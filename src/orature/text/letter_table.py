"""A person's table of a spelling: letters TAB their phones in IPA (TAB a weight), and what it says of given texts.

Lines that begin with # and empty lines are left out. `-` for the phones says that the letters are silent. Several lines
may hold the same letters; their weights (1 unless given) say how often each is meant.

Example::

    rows = read_table(Path("kichwa.tsv"))           # (("ch", "t ʃ", 1.0), ("h", "x", 1.0), ...)
    learned, left_out = counted(rows, texts, inventory)
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np

from orature.core.errors import ConfigError
from orature.core.types import Refusal, Reject
from orature.text.letter_alignment import Learned
from orature.text.phones import phones_of

Row = tuple[str, str, float]
"""Letters (NFC), phones separated by spaces ("" where they are silent), weight above 0."""
SILENT = "-"
NO_LETTERS, NO_PHONE, UNUSED = "letters-empty", "phone-unknown", "letters-unused"


def checked_row(letters: str, ipa: str, weight: float) -> Row:
    """A row with its phones in Orature's inventory; ValueError says what is wrong with it."""
    letters = normalize("NFC", letters.strip())
    if not letters or any(map(str.isspace, letters)):
        raise ValueError(f"letters without a space are needed, not {letters!r}")
    if not (math.isfinite(weight) and weight > 0):
        raise ValueError(f"a weight must be above 0, not {weight}")
    if ipa.strip() in ("", SILENT):
        return letters, "", weight
    phones = phones_of(ipa)
    if isinstance(phones, Refusal):
        raise ValueError(f"{ipa!r} is no IPA: {phones.detail}")
    return letters, " ".join(phones), weight


def read_table(path: Path) -> tuple[Row, ...]:
    """The rows of a table (UTF-8); ConfigError with the number of the line that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"the table of letters and phones cannot be read: {error}", str(path)) from error
    rows: list[Row] = []
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        where = f"{path}:{number}"
        cells = line.rstrip("\n").split("\t")
        if len(cells) not in (2, 3) or not cells[1].strip():
            raise _wrong(f"the line has {len(cells)} columns or no phones: {line!r}", where)
        try:
            row = checked_row(cells[0], cells[1], float(cells[2]) if len(cells) == 3 else 1.0)
        except ValueError as error:
            raise _wrong(str(error), where) from error
        first = seen.setdefault(row[:2], number)
        if first != number:
            raise _wrong(f"line {first} says the same of {row[0]!r}", where)
        rows.append(row)
    if not rows:
        raise _wrong("the table holds no rows", str(path))
    return tuple(rows)


def _wrong(what: str, where: str) -> ConfigError:
    return ConfigError(
        what, where=where, next_step="write one line for each spelling: letters TAB phones in IPA (TAB a weight)"
    )


def counted(
    rows: Sequence[Row],
    texts: Iterable[str],
    prepared: Callable[[str], str],
    inventory: Callable[[str], list[str] | None],
) -> tuple[Learned, list[Reject]]:
    """How often each phone writes each letter of `texts` if the table is right, and the rows that say nothing of them.

    Texts are cut into the longest letters that the table has, from the left; what it lacks is left alone. Letters
    written by several phones take an equal part of each, and so do several letters of one phone. `prepared` does to
    letters what was done to the texts, `inventory` gives the phones of a model for a row's, None where it lacks one.
    """
    spellings, rejects = _usable(rows, prepared, inventory)
    uses: Counter[str] = Counter()
    if spellings:
        longest_first = sorted(spellings, key=lambda key: (-len(key), key))
        pattern = re.compile("|".join(map(re.escape, longest_first)))
        for text in texts:
            uses.update(pattern.findall(text))
    rejects += [Reject(name, UNUSED, "no transcript of train has it") for name in sorted(spellings) if not uses[name]]
    letters = tuple(sorted({letter for name in uses for letter in name}))
    phones = tuple(sorted({phone for name in uses for spelled, _ in spellings[name] for phone in spelled}))
    counts, spoken = np.zeros((len(letters), len(phones) + 1)), np.zeros(len(phones))
    for name, count in sorted(uses.items()):
        total = sum(weight for _, weight in spellings[name])
        for spelled, weight in spellings[name]:
            part = count * weight / total
            places = [phones.index(phone) for phone in spelled] or [len(phones)]
            for place in places:
                for letter in name:
                    counts[letters.index(letter), place] += part / len(places)
                if spelled:
                    spoken[place] += part
    return Learned(letters, phones, counts, spoken, 0.0), rejects


def _usable(
    rows: Sequence[Row], prepared: Callable[[str], str], inventory: Callable[[str], list[str] | None]
) -> tuple[dict[str, list[tuple[list[str], float]]], list[Reject]]:
    """Phones and weights by letters as they stand in the texts; rows that the model cannot use are rejected."""
    spellings: dict[str, list[tuple[list[str], float]]] = defaultdict(list)
    rejects: list[Reject] = []
    for letters, phones, weight in rows:
        name, known = prepared(letters), inventory(phones)
        if not name:
            rejects.append(Reject(letters, NO_LETTERS, "nothing is left of it under the text policy"))
        elif known is None:
            rejects.append(Reject(letters, NO_PHONE, f"the model has no phone like {phones}"))
        else:
            spellings[name].append((known, weight))
    return dict(spellings), rejects
