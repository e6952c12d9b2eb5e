"""The stage that trains a recogniser on its own n-best lists, as the last one: DPO or MWER, kept only if dev gains.

Example::

    model = run.do(Prefer(corpus=splits, start=tuned, config=config, preference=PreferenceConfig(beta=0.1)))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from orature.core.errors import ConfigError, CorpusError, ModelError
from orature.core.files import write_beside, write_json_lines
from orature.core.progress import Progress, say
from orature.core.types import Reject
from orature.engines.families import family_of
from orature.engines.phone_tokens import writes_phones
from orature.flow import Ref, StageContext
from orature.stages.train import Train
from orature.stages.train_material import Material
from orature.train import checkpoint
from orature.train.dev import DevReport
from orature.train.job import Job, Made
from orature.train.loader import Example, Loader
from orature.train.loop import Outcome
from orature.train.preference import preferring
from orature.train.preference_config import Choice, PreferenceConfig, Preferences
from orature.train.preference_pairs import REASONS, Lister

N_BEST = "n_best.jsonl"
KEPT_START, KEPT_TRAINED = "start", "trained"
_LISTS = "n_best"
_CHUNK = 64
"""Utterances whose lists are written at once: what a crash costs."""
_DEV_S = 200.0


class Prefer(Train):
    """As `Train`, from `start`, with preferences in place of transcripts (see `orature.train.preference`).

    The n-best lists are those of `start` on the train rows alone; dev and test rows have none. They lie in
    `n_best.jsonl`, a row for each utterance; one that gives nothing to prefer is rejected with its reason. The result
    is the trained model where it is better on dev by `config.select`, else the start itself (also where both are
    equal); `training.json` and the card say which. CorpusError where no utterance is left.
    """

    name: ClassVar[str] = "prefer"
    version: ClassVar[int] = 1
    start: Ref
    preference: PreferenceConfig = PreferenceConfig()
    reject_limit: float = 1.0
    """A model that makes few errors leaves few utterances to learn from, which is no fault of the corpus."""

    def run(self, ctx: StageContext) -> None:
        """Lists first, then the training, then the verdict of dev; interrupted, it goes on where it was."""
        folder = ctx.path_of(self.start)
        if writes_phones(folder):
            raise ModelError(
                "the start writes phones, and its n-best lists cannot be compared with transcripts",
                where=str(folder),
                next_step="train it on transcripts first (`orature train`), and start from the result",
            )
        attention = family_of(folder).kind == "seq2seq"
        if attention and self.preference.n_best_of == "current":
            raise ConfigError(
                "DPO compares with the start, so its n-best lists are those of the start",
                where=str(folder),
                next_step="leave n_best_of at start, or start from a CTC model",
            )
        settled = self.model_copy(update={"config": self.preference.applied(self.config, attention=attention)})
        super(Prefer, settled).run(ctx)

    def _narrowed(self, ctx: StageContext, job: Job, made: Made, device: str) -> tuple[Job, list[Reject]]:
        if self.preference.n_best_of == "current":
            return replace(job, preference=Preferences(self.preference)), []
        choices = self._choices(ctx, job, made, device)
        kept: list[tuple[Example, Choice]] = []
        rejects: list[Reject] = []
        for example, choice in zip(job.train, choices, strict=True):
            if choice.reason is None:
                kept.append((example, choice))
            else:
                rejects.append(Reject(example.id, choice.reason, REASONS[choice.reason]))
        why = Counter(reject.reason for reject in rejects)
        if not kept:
            raise CorpusError(
                f"none of {len(rejects)} training utterances gives two texts to choose between: "
                + ", ".join(f"{count} {reason}" for reason, count in why.most_common()),
                next_step="raise n_best and beams, lower margin, or leave this stage out: the model may have learned "
                "its training speech by heart",
            )
        pairs = sum(len(choice.pairs) for _, choice in kept)
        ctx.note(pairs=pairs)
        said = f", {pairs} pairs" if pairs else ""
        say(f"prefer: lists of {len(kept)} utterances to learn from{said}; {len(rejects)} left out {dict(why)}")
        preferences = Preferences(self.preference, tuple(choice for _, choice in kept))
        return replace(job, train=tuple(example for example, _ in kept), preference=preferences), rejects

    def _choices(self, ctx: StageContext, job: Job, made: Made, device: str) -> list[Choice]:
        """The lists of all training examples, made in chunks that a crash leaves whole."""
        place = ctx.state / _LISTS
        train = job.loaders(made)[0]
        lister = Lister(made.learner, self.preference, precision=self.config.precision)
        made.learner.module.to(device)
        chunks = [range(first, min(first + _CHUNK, len(job.train))) for first in range(0, len(job.train), _CHUNK)]
        rows: list[dict[str, Any]] = []
        with ctx.progress("prefer: n-best lists", len(job.train), "utterances") as bar:
            for number, chunk in enumerate(chunks):
                rows += _rows(place / f"{number:05d}.jsonl", lister, train, chunk, bar)
        train.close()
        with ctx.writing(N_BEST) as part:
            write_json_lines(part, rows)
        return [Choice.from_json(row) for row in rows]

    def _fit(self, ctx: StageContext, job: Job, made: Made, material: Material, device: str) -> Outcome:
        """The training, and which of start and result dev keeps; the network of `made` then holds that one."""
        preferences = job.preference
        if preferences is None:
            raise ValueError("a job without preferences")
        module, select = made.learner.module, self.config.select
        begun = checkpoint.weights_of(module)
        learner = preferring(made.learner, preferences)
        outcome = super()._fit(ctx, job, replace(made, learner=learner), material, device)
        trained = checkpoint.weights_of(module)
        checkpoint.load_weights(module, begun)
        module.to(device)
        start = made.learner.assess(job.loaders(made)[1], batch_seconds=_DEV_S).report()
        before, after = start.selection(select), outcome.dev.selection(select)
        verdict = _Verdict(select, before, after, KEPT_TRAINED if after < before else KEPT_START)
        ctx.note(**asdict(verdict))
        if verdict.kept == KEPT_TRAINED:
            checkpoint.load_weights(module, trained)
            return _gated(outcome, verdict, outcome.dev, outcome.chosen)
        say(f"prefer: dev gains nothing ({100 * before:.2f} % before, {100 * after:.2f} % after): the start is kept")
        return _gated(outcome, verdict, start, "the start")

    def _facts(
        self, material: Material, outcome: Outcome, job: Job, found: dict[str, Any], made: Made
    ) -> dict[str, Any]:
        facts = super()._facts(material, outcome, job, found, made)
        choices = () if job.preference is None else job.preference.choices
        attention = made.family.kind == "seq2seq"
        verdict = asdict(outcome.verdict) if isinstance(outcome, _Gated) else {}
        return facts | {
            "preference": {
                "method": "DPO" if attention else "MWER",
                "unit": self.preference.unit_of(attention=attention),
                "utterances": len(job.train),
                "pairs": sum(len(choice.pairs) for choice in choices),
                "config": self.preference.model_dump(mode="json"),
                **verdict,
            }
        }


@dataclass(frozen=True, slots=True)
class _Verdict:
    """The figure that chooses on dev, of the start and of the trained model (lower is better), and who was kept."""

    select: str
    dev_start: float
    dev_trained: float
    kept: str


@dataclass(frozen=True, slots=True)
class _Gated(Outcome):
    """An outcome with the verdict of dev."""

    verdict: _Verdict


def _gated(outcome: Outcome, verdict: _Verdict, dev: DevReport, chosen: str) -> _Gated:
    return _Gated(outcome.updates, outcome.epochs, outcome.audio_h, dev, chosen, outcome.log, verdict)


def _rows(path: Path, lister: Lister, train: Loader, chunk: Sequence[int], bar: Progress) -> list[dict[str, Any]]:
    """The lists of some examples, from an earlier try where it wrote them."""
    if path.is_file():
        bar.resume_at(bar.done + len(chunk))
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = []
    for index, choice in zip(chunk, lister.choices(train, chunk), strict=True):
        example = train.examples[index]
        rows.append({"id": example.id, "language": example.language, "text": example.text, **choice.to_json()})
    with write_beside(path) as part:
        write_json_lines(part, rows)
    bar.advance(len(chunk))
    return rows
