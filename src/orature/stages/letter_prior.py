"""What the letters of a recogniser begin as when it starts from a model of phones: learned before training, once a run.

`Train` asks for it; `settled` makes of "auto" what it means here, so that the key of a run says it.

Example::

    config = config.model_copy(update={"prior": settled(config.prior, Path("base"), ["que-EC"], head="auto")})
    prior = PriorMaker(job, told, prepared, state).made()
    prior.head, prior.facts["source"], prior.told
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional as F

from orature.core.errors import ConfigError, MissingExtra
from orature.core.files import write_json
from orature.core.progress import Progress
from orature.engines.characters import BLANK, Characters
from orature.engines.conformer import ConformerCtc
from orature.engines.conformer_family import load
from orature.engines.ctc_decode import steps_needed
from orature.engines.espeak_languages import Readings
from orature.engines.espeak_pipe import SILENT, EspeakPipe
from orature.engines.families import Head, family_of
from orature.engines.head_prior import BLANK_PHONE, HeadPrior, LetterPrior, plant
from orature.engines.phone_tokens import PhoneTokens, writes_phones
from orature.stages.letter_evidence import Evidence, Told, by_ear, by_espeak, by_table, evenly, heard_states, step_s
from orature.train.job import Job
from orature.train.prior_config import PriorConfig

TABLE = "prior.tsv"
SCALES = (1.0, 0.85, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
LEAST = 3.0
"""Expected occurrences from which on a letter counts as one with evidence."""
_SHOWN = 5
_NAMES = {
    "espeak": "espeak-ng's reading of the transcripts",
    "heard": "what the model of phones hears",
    "table": "the table of letters and phones",
}


@dataclass(frozen=True)
class Prior:
    """The prior for `Job.prior`, what training.json says of it, and one line for a person."""

    head: HeadPrior | None
    """None where nothing was learned."""
    facts: dict[str, Any]

    @property
    def told(self) -> str:
        """One line, with the letters that have no evidence."""
        facts = self.facts
        if self.head is None:
            reasons = ", ".join(f"{n} {reason}" for reason, n in facts["left_out"].items())
            return f"no letter begins as phones: {_NAMES[facts['source']]} gives none for train ({reasons})"
        where = f"{_NAMES[facts['source']]} ({facts['pairs']} transcripts of train)"
        parts = [f"{len(facts['letters'])} letters begin as phones by {where}"]
        for name, about in (("silent", "as the blank"), ("without", "drawn, for want of evidence")):
            if facts[name]:
                parts.append(f"{len(facts[name])} {about}: {' '.join(map(repr, facts[name]))}")
        if facts["loss"] is not None:
            parts.append(f"CTC loss a letter {facts['loss']['with']:.2f}, {facts['loss']['without']:.2f} without")
        if facts["left_out"]:
            parts.append("left out: " + ", ".join(f"{n} {reason}" for reason, n in facts["left_out"].items()))
        return "; ".join(parts)

    def write_table(self, path: Path) -> None:
        """`prior.tsv`: letter, phone (- for silent), probability; the most likely phone of each letter first."""
        lines = ["letter\tphone\tprobability"]
        for one in () if self.head is None else self.head.letters:
            lines += [f"{one.letter}\t{phone or '-'}\t{share:.6f}" for phone, share in one.shares]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def takes_prior(start: Path | None, head: Head) -> bool:
    """Whether training gives a new output layer to a model of phones."""
    if start is None or head not in ("auto", "new"):
        return False
    return family_of(start).name == "conformer" and writes_phones(start)


def settled(prior: PriorConfig, start: Path | None, languages: Sequence[str], *, head: Head) -> PriorConfig:
    """`prior` with the source that "auto" means for a corpus in `languages`, and the revision of espeak-ng.

    Unchanged where there is nothing to choose; ConfigError for a source that cannot be had.
    """
    if not takes_prior(start, head):
        if prior.source not in ("auto", "none"):
            raise ConfigError(
                f"prior={prior.source} needs a start that writes phones and gets letters of its own",
                where="" if start is None else str(start),
                next_step="give --start a base model (orature run base), or leave --set prior out",
            )
        return prior
    source = prior.source
    if source == "auto" and prior.rows:
        return prior.model_copy(update={"source": "table"})
    if source not in ("auto", "espeak"):
        return prior
    revision = prior.engine or _reader(languages, wanted=source == "espeak")
    if not revision:
        return prior.model_copy(update={"source": "heard"})
    return prior.model_copy(update={"source": "espeak", "engine": revision})


def _reader(languages: Sequence[str], *, wanted: bool) -> str:
    """The revision of espeak-ng where it has a voice of each language itself; else "", or ConfigError if `wanted`."""
    try:
        with EspeakPipe() as espeak:
            readings, revision = Readings(espeak.rows(), silent=SILENT), espeak.card.revision
    except MissingExtra:
        if wanted:
            raise
        return ""
    for language in languages or ("und",):
        try:
            why = readings.of(language).told
        except ConfigError as error:
            why = error.what
        if why and wanted:
            raise ConfigError(why, next_step="leave prior out, or choose heard or table:FILE")
        if why:
            return ""
    return revision


@dataclass(frozen=True)
class PriorMaker:
    """Learns the prior of a `job` from rows of train with their texts; `prepared` does to letters what texts had done.

    What was learned lies in `state` and is not learned again when the run goes on.
    """

    job: Job
    rows: Sequence[Told]
    prepared: Callable[[str], str]
    state: Path
    device: str = "cpu"
    progress: Progress | None = None

    def made(self) -> Prior | None:
        """The prior; None where the start takes none, or "none" was chosen. Errors as of `settled`."""
        start = None if self.job.start is None else Path(self.job.start)
        languages = sorted({row.language for row, _ in self.rows})
        config = settled(self.job.config.prior, start, languages, head=self.job.config.head)
        if start is None or not takes_prior(start, self.job.config.head) or config.source == "none":
            return None
        kept = self.state / "prior.json"
        if kept.is_file():
            found = json.loads(kept.read_text(encoding="utf-8"))
            return Prior(None if found["head"] is None else HeadPrior.from_json(found["head"]), found["facts"])
        prior = self._learned(start, config)
        write_json(kept, {"head": None if prior.head is None else prior.head.to_json(), "facts": prior.facts})
        return prior

    def _learned(self, start: Path, config: PriorConfig) -> Prior:
        loaded, tokens = load(start)
        network, phones = loaded.eval().to(self.device), cast(PhoneTokens, tokens)
        evidence = self._evidence(network, phones, config)
        if not evidence.pairs:
            facts = {"source": config.source, "engine": config.engine, "pairs": 0, "left_out": evidence.left_out}
            return Prior(None, facts)
        letters = Characters.of([" ", *self.job.texts])
        head = HeadPrior(letters_of(evidence, letters, step_s(network)))
        scale, loss = self._scale(network, phones, letters, head, config)
        facts = {"source": config.source, "engine": config.engine, "scale": scale, "loss": loss}
        return Prior(replace(head, scale=scale), facts | _facts(evidence, letters))

    def _evidence(self, network: ConformerCtc, phones: PhoneTokens, config: PriorConfig) -> Evidence:
        if config.source == "table":
            return by_table(self.rows, phones, config, self.prepared)
        if config.source == "espeak":
            return by_espeak(self.rows, phones, config)
        tick = (lambda seconds: None) if self.progress is None else self.progress.advance
        return by_ear(self.rows, network, phones, config, tick)

    @torch.no_grad()
    def _scale(
        self, network: ConformerCtc, phones: PhoneTokens, letters: Characters, prior: HeadPrior, config: PriorConfig
    ) -> tuple[float, dict[str, float] | None]:
        """The factor of `SCALES` with the least CTC loss on rows of train, and the loss a letter with and without."""
        states = self._states(network, letters, config.calibrate_seconds)
        if not states:
            return 1.0, None
        torch.manual_seed(self.job.config.seed)
        drawn = nn.Linear(network.width, len(letters)).to(self.device)
        without, losses = _loss(drawn, states), []
        for scale in SCALES:
            head = nn.Linear(network.width, len(letters)).to(self.device)
            head.load_state_dict(drawn.state_dict())
            plant(head, network.head, phones, letters, replace(prior, scale=scale))
            losses.append(_loss(head, states))
        best = min(range(len(SCALES)), key=lambda at: losses[at])
        return SCALES[best], {"with": round(losses[best], 4), "without": round(without, 4)}

    def _states(
        self, network: ConformerCtc, letters: Characters, most_s: float
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Hidden states (T, D) and labels (L,) of rows of train that fit, up to `most_s` seconds of them."""
        found, seconds = [], 0.0
        for row, text in evenly(self.rows):
            if seconds >= most_s:
                break
            labels = letters.encode(text)
            hidden = heard_states(network, row) if row.audio.duration_s <= most_s else None
            if hidden is not None and steps_needed(labels) <= len(hidden):
                found.append((hidden, torch.tensor(labels)))
                seconds += row.audio.duration_s
        return found


def _loss(head: nn.Linear, states: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """CTC loss a label, in nats."""
    total = 0.0
    for hidden_TD, labels_L in states:
        log_T1V = head(hidden_TD).log_softmax(dim=-1)[:, None].cpu()
        sizes = torch.tensor([len(log_T1V)]), torch.tensor([len(labels_L)])
        total += float(F.ctc_loss(log_T1V, labels_L[None], *sizes, blank=BLANK, reduction="sum"))
    return total / sum(len(labels_L) for _, labels_L in states)


def is_silent(evidence: Evidence, letter: str) -> bool:
    """Whether most occurrences of a letter that was seen often enough have no phone; the space is silent."""
    if letter == " ":
        return evidence.spaces > 0
    return _count(evidence, letter) >= LEAST and evidence.learned.silent_share(letter) >= 0.5


def letters_of(evidence: Evidence, letters: Characters, step_s: float) -> tuple[LetterPrior, ...]:
    """Shares and offsets of the letters with evidence; silent ones are written while the model says blank."""
    learned = evidence.learned
    often = dict(zip(learned.phones, learned.phone_counts.tolist(), strict=True))
    blanks = max(1.0, evidence.seconds / step_s - sum(often.values()))
    found = []
    for letter in letters.letters:
        if is_silent(evidence, letter):
            count = evidence.spaces if letter == " " else _count(evidence, letter)
            found.append(LetterPrior(letter, ((BLANK_PHONE, 1.0),), math.log(min(count, blanks) / blanks)))
        elif learned.letter_count(letter) >= LEAST:
            shares, count = tuple(learned.shares(letter)), learned.letter_count(letter)
            offset = sum(share * math.log(count / often[phone]) for phone, share in shares)
            found.append(LetterPrior(letter, shares, offset))
    return tuple(found)


def _count(evidence: Evidence, letter: str) -> float:
    learned = evidence.learned
    return float(learned.counts[learned.letters.index(letter)].sum()) if letter in learned.letters else 0.0


def _facts(evidence: Evidence, letters: Characters) -> dict[str, Any]:
    learned = evidence.learned
    silent = [letter for letter in letters.letters if is_silent(evidence, letter)]
    spoken: Mapping[str, Any] = {
        letter: {
            "phones": [[phone, round(share, 4)] for phone, share in learned.shares(letter)[:_SHOWN]],
            "silent": round(learned.silent_share(letter), 4),
            "count": round(learned.letter_count(letter), 1),
        }
        for letter in letters.letters
        if letter not in silent and learned.letter_count(letter) >= LEAST
    }
    return {
        "pairs": evidence.pairs,
        "seconds": round(evidence.seconds, 1),
        "left_out": evidence.left_out,
        "rejected_rows": [[reject.id, reject.reason, reject.detail] for reject in evidence.rejects],
        "letters": dict(spoken),
        "silent": silent,
        "without": [letter for letter in letters.letters if letter not in silent and letter not in spoken],
    }
