"""N-gram language models scored by KenLM's query code, which the wheel of flashlight-text holds.

Example::

    model = KenLm(Path("lm.arpa.gz"), words)
    state, log_probability = model.score(model.begin(), "wasi")
"""

from __future__ import annotations

import gzip
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orature.core.errors import MissingExtra, ModelError
from orature.engines.arpa import LN10, UNKNOWN


def require_flashlight() -> None:
    """MissingExtra when flashlight-text is not installed."""
    try:
        import flashlight.lib.text.decoder.kenlm  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "decoding with a language model needs flashlight-text, which is not installed",
            next_step="pip install 'orature[lm]'",
        ) from error


def words_of_arpa(path: Path) -> list[str]:
    """The vocabulary of an ARPA file (or .gz), <s>, </s> and <unk> among it; ModelError for what is none."""
    opened = gzip.open if path.name.endswith(".gz") else open
    words: list[str] = []
    inside = False
    try:
        with opened(path, "rt", encoding="utf-8", newline="\n") as stream:
            for line in stream:
                if line.startswith("\\"):
                    if inside:
                        break
                    inside = line.startswith("\\1-grams:")
                elif inside and "\t" in line:
                    words.append(line.rstrip("\n").split("\t")[1])
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ModelError(
            f"the language model cannot be read: {error}",
            where=str(path),
            next_step="estimate it again with: orature lm TEXT --to LM",
        ) from error
    if UNKNOWN not in words:
        raise ModelError(
            "this is no language model in the ARPA format with <unk> in it",
            where=str(path),
            next_step="estimate one with: orature lm TEXT --to LM",
        )
    return words


class KenLm:
    """A `LanguageScorer` over the words (or characters) of an ARPA file; `names` gives each word a number.

    MissingExtra without flashlight-text, ModelError for a file that KenLM refuses.
    """

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        require_flashlight()
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary

        self.words = words_of_arpa(path)
        self.names = list(names) if names is not None else self.words
        self._number = {name: number for number, name in enumerate(self.names)}
        known = frozenset(self.words) - {UNKNOWN}
        self._known = {name for name in self.names if name in known}
        self._other = self._number.setdefault(UNKNOWN, len(self.names))
        if self._other == len(self.names):
            self.names.append(UNKNOWN)
        try:
            with _quiet_stderr():
                self.native = KenLM(str(path), Dictionary(self.names))
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"KenLM cannot read this language model: {str(error).splitlines()[0]}",
                where=str(path),
                next_step="estimate it again with: orature lm TEXT --to LM --order 2 (or higher)",
            ) from error

    def begin(self) -> Any:
        return self.native.start(False)

    def score(self, state: Any, word: str) -> tuple[Any, float]:
        after, log10 = self.native.score(state, self.number(word))
        return after, log10 * LN10

    def end(self, state: Any) -> float:
        return float(self.native.finish(state)[1]) * LN10

    def number(self, word: str) -> int:
        """What flashlight calls `word` (that of <unk> for a word outside)."""
        return self._number.get(word, self._other)

    def knows(self, word: str) -> bool:
        return word in self._known


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """KenLM draws a progress bar on the standard error of the process; errors come as exceptions all the same."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
