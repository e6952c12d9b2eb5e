"""One shard of texts, translated and, where asked for, translated back; in a worker process, on any machine.

Texts of like length are given to the translator together, as many as it likes at a time. It is opened once a process
and kept.

Example::

    work = TranslationWork(translator=translator, back=None, source="es", target="qu", search=TextSearch(), ...)
    work(["la casa es grande"], folder)     # writes translations.jsonl; returns counts and the translator's licence
"""

from __future__ import annotations

import atexit
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.files import write_json_lines
from orature.core.types import Refusal
from orature.data.rows import fold
from orature.engines.translator import TextSearch, TranslationRequest, Translations, Translator
from orature.engines.translators import open_translator
from orature.evaluate.translation import chrf
from orature.stages.corpus_rows import draw_order
from orature.stages.inputs import TranslatorRef
from orature.stages.translation_texts import TRANSLATIONS, Candidate, Found
from orature.text.normalise import normalise

_SCORE_DIGITS, _POINTS_DIGITS = 5, 2


@dataclass(frozen=True)
class TranslationWork:
    """All that a shard depends on beside its texts (device and threads are how, not what)."""

    translator: TranslatorRef
    back: TranslatorRef | None
    source: str
    target: str
    search: TextSearch
    back_search: TextSearch
    seed: int
    device: str = "cpu"
    threads: int | None = None

    def __call__(self, texts: Sequence[str], folder: Path) -> dict[str, Any]:
        """Translates the texts of one shard; the counts of it."""
        opened = the_translator(self.translator, self.device, self.threads)
        asked = [TranslationRequest(text, self.source, self.target, draw_seed(self.seed, text)) for text in texts]
        found = [_found(*pair) for pair in zip(texts, in_groups(opened, asked, self.search), strict=True)]
        counts = {"rows": len(texts), "refused": sum(one.refusal is not None for one in found)}
        licences = {"licence": opened.card.licence}
        if self.back is not None:
            found = self._measured(found)
            licences["back_licence"] = the_translator(self.back, self.device, self.threads).card.licence
        write_json_lines(folder / TRANSLATIONS, (one.to_json() for one in found))
        return counts | licences

    def _measured(self, found: Sequence[Found]) -> list[Found]:
        """The same with every candidate translated back, each different text once."""
        if self.back is None:
            return list(found)
        opened = the_translator(self.back, self.device, self.threads)
        texts = list(dict.fromkeys(one.text for each in found for one in each.candidates))
        asked = [TranslationRequest(text, self.target, self.source, draw_seed(self.seed, text)) for text in texts]
        outcomes = in_groups(opened, asked, self.back_search)
        back = {
            text: "" if isinstance(outcome, Refusal) else fold(outcome[0].text)
            for text, outcome in zip(texts, outcomes, strict=True)
        }
        return [
            Found(
                one.source,
                tuple(
                    Candidate(
                        each.text, each.score, each.known, back[each.text], round_trip(back[each.text], one.source)
                    )
                    for each in one.candidates
                ),
                one.refusal,
            )
            for one in found
        ]


def _found(text: str, outcome: Translations | Refusal) -> Found:
    """The different texts of an outcome, as they are stored."""
    if isinstance(outcome, Refusal):
        return Found(text, refusal=outcome)
    kept: dict[str, Candidate] = {}
    for one in outcome:
        folded = fold(one.text)
        kept.setdefault(folded, Candidate(folded, round(one.score, _SCORE_DIGITS), round(one.known, _SCORE_DIGITS)))
    return Found(text, tuple(kept.values()))


def draw_seed(seed: int, text: str) -> int:
    """What a translator draws by, so that it follows from the seed and the text alone."""
    return int.from_bytes(draw_order(seed, text)[:4], "big") >> 1


def round_trip(back: str, source: str) -> float | None:
    """chrF of a text against the source that it came back to, as both are scored; None for a source without a word."""
    said = normalise(source)
    return round(chrf(normalise(back), said), _POINTS_DIGITS) if said else None


def in_groups(
    translator: Translator, asked: Sequence[TranslationRequest], search: TextSearch
) -> list[Translations | Refusal]:
    """The outcomes in the order of the requests; those of like length are given to the translator together."""
    places = sorted(range(len(asked)), key=lambda place: (len(asked[place].text), place))
    size = max(1, translator.batch)
    found: dict[int, Translations | Refusal] = {}
    for first in range(0, len(places), size):
        group = places[first : first + size]
        outcomes = translator.translate([asked[place] for place in group], search)
        found.update(zip(group, outcomes, strict=True))
    return [found[place] for place in range(len(asked))]


_OPEN: dict[tuple[str, str, str, int | None], Translator] = {}


def the_translator(choice: TranslatorRef, device: str, threads: int | None) -> Translator:
    """The translator, opened at its first use in this process; ConfigError where it is not the one asked for."""
    key = (choice.spec, choice.backend, device, threads)
    if key not in _OPEN:
        opened = open_translator(choice.spec, device=device, threads=threads, backend=choice.backend)
        if opened.card.revision != choice.revision:
            opened.close()
            raise ConfigError(
                f"the translator {choice.public_name} has revision {opened.card.revision!r} here, {choice.revision!r} "
                "was asked for: it would translate otherwise",
                next_step="install the same engine and model on every machine, and run the command again",
            )
        if not _OPEN:
            atexit.register(close_translators)
        _OPEN[key] = opened
    return _OPEN[key]


def close_translators() -> None:
    """Lets go of all translators of this process."""
    while _OPEN:
        _OPEN.popitem()[1].close()
