"""How a model does on dev: loss, CER, WER and the share of blanks, in all and by language, without augmentation.

Example::

    tally = Tally()
    tally.add(example, heard="shuk wasi")
    print(tally.report().cer)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from orature.core.errors import ConfigError
from orature.train.loader import Example

_COUNTS = ("chars", "char_errors", "words", "word_errors", "empty", "utterances")


@dataclass(frozen=True, slots=True)
class DevReport:
    """Rates are fractions of the reference; `empty_share` is the share of utterances with an empty hypothesis.

    `cer`, `wer`, `loss` and the shares are over the target utterances; `languages` holds the CER of every language,
    also of those that only stand guard against forgetting; `macro_cer` is the plain mean over target languages.
    """

    loss: float
    cer: float
    wer: float
    blank_share: float
    empty_share: float
    languages: Mapping[str, float] = field(default_factory=dict)
    macro_cer: float = 0.0
    guards: tuple[str, ...] = ()
    """Languages of `languages` that are not targets."""

    def selection(self, select: str) -> float:
        """The figure that chooses a checkpoint: "cer", "macro-cer", "language:xx" or "loss"; ConfigError for others."""
        if select == "loss":
            return self.loss
        if select == "cer":
            return self.cer
        if select == "macro-cer":
            return self.macro_cer
        language = select.removeprefix("language:")
        if select.startswith("language:") and language in self.languages:
            return self.languages[language]
        raise ConfigError(
            f"checkpoints cannot be chosen by {select!r}",
            next_step="choose cer, macro-cer, loss or language:xx with one of: " + ", ".join(sorted(self.languages)),
        )

    def row(self) -> dict[str, object]:
        """The figures for the log."""
        row: dict[str, object] = {
            "dev_cer": round(self.cer, 6),
            "dev_wer": round(self.wer, 6),
            "dev_loss": round(self.loss, 6),
            "dev_blank_share": round(self.blank_share, 6),
        }
        if len(self.languages) > 1:
            row["dev_macro_cer"] = round(self.macro_cer, 6)
            row["dev_cer_by_language"] = {language: round(rate, 6) for language, rate in self.languages.items()}
        return row

    def said(self) -> str:
        """The figure for the live line."""
        return f"dev CER {100 * self.cer:.1f} %"


class Tally:
    """Adds up errors utterance by utterance; sums of several processes may be added together."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, float]] = {}
        self.losses = self.weights = self.blanks = self.steps = 0.0

    def add(self, example: Example, heard: str, units: Callable[[str], Sequence[str]] = str) -> None:
        """Counts one utterance; `units` cuts a text into what the CER counts: characters, or phones."""
        key = f"{'guard' if example.role != 'target' else 'target'} {example.language}"
        row = self.counts.setdefault(key, dict.fromkeys(_COUNTS, 0.0))
        said = example.text.split()
        wanted = units(example.text)
        row["chars"] += len(wanted)
        row["char_errors"] += Levenshtein.distance(wanted, units(heard))
        row["words"] += len(said)
        row["word_errors"] += Levenshtein.distance(said, heard.split())
        row["empty"] += not heard
        row["utterances"] += 1

    def merge(self, other: Tally) -> None:
        """Adds the sums of another process."""
        for key, theirs in other.counts.items():
            row = self.counts.setdefault(key, dict.fromkeys(_COUNTS, 0.0))
            for name, value in theirs.items():
                row[name] += value
        self.losses += other.losses
        self.weights += other.weights
        self.blanks += other.blanks
        self.steps += other.steps

    def report(self) -> DevReport:
        """Rates from the sums."""
        targets = {key: row for key, row in self.counts.items() if key.startswith("target ")}
        total = {name: sum(row[name] for row in targets.values()) for name in _COUNTS}
        rates = {key: row["char_errors"] / max(row["chars"], 1.0) for key, row in sorted(self.counts.items())}
        aimed = [rate for key, rate in rates.items() if key in targets]
        languages = {key.split(" ", 1)[1]: rate for key, rate in rates.items()}
        return DevReport(
            loss=self.losses / max(self.weights, 1.0),
            cer=total["char_errors"] / max(total["chars"], 1.0),
            wer=total["word_errors"] / max(total["words"], 1.0),
            blank_share=self.blanks / max(self.steps, 1.0),
            empty_share=total["empty"] / max(total["utterances"], 1.0),
            languages=languages,
            macro_cer=sum(aimed) / max(1, len(aimed)),
            guards=tuple(key.split(" ", 1)[1] for key in rates if key not in targets),
        )
