"""The stage that trains a recogniser on the train split of a corpus, from nothing or from a checkpoint.

Example::

    model = run.do(Train(corpus=corpus, config=TrainConfig.for_scale("dev", hours=1.8)), on=Resources(threads=2))
    tuned = run.do(Train(corpus=corpus, start=model_ref(Path("xls-r-300m")), config=config))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from orature.core.errors import TrainingFailed
from orature.core.files import write_json
from orature.core.progress import say
from orature.core.types import Reject
from orature.data.corpus import Corpus
from orature.engines.recognisers import model_files
from orature.flow import Ref, Stage, StageContext
from orature.stages.card import model_card
from orature.stages.letter_prior import TABLE, Prior, PriorMaker
from orature.stages.model_folder import labels_of, write_files, write_records, write_texts
from orature.stages.train_material import Material, gather
from orature.text.alphabet import prepare
from orature.train import guards
from orature.train.config import TrainConfig
from orature.train.devices import prepare_device
from orature.train.job import Job, Made
from orature.train.launch import Place, Spread, train_job
from orature.train.loader import Example
from orature.train.loop import Outcome

_GUARDS = "guards.json"


class Train(Stage):
    """A model folder (`config.json`, weights, vocabulary, card, `train_log.jsonl`, `rejects.jsonl`; `prior.tsv`).

    The alphabet comes from the train split alone, checkpoints are chosen by dev, test is never opened except for the
    embargo: a training row that repeats a dev or test sentence or recording stops the run (law 5). `start` is a model
    folder of any trainable family; one that writes phones lends the letters their first weights by `config.prior`,
    learned from the train split of `corpus` alone and shown in `prior.tsv`. `rehearse` are corpora of old languages,
    mixed into training by `config.mix.rehearsal_share` and standing guard on dev; `guards` only stand guard. The
    train transcripts of `vocabulary` add their characters to a new vocabulary, so that a later training on them finds
    all its characters, and their dev and test are embargoed too. `language` is the target where the family asks for
    one.
    """

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 6
    corpus: Ref
    config: TrainConfig
    start: Ref | None = None
    rehearse: tuple[Ref, ...] = ()
    guards: tuple[Ref, ...] = ()
    vocabulary: tuple[Ref, ...] = ()
    language: str = ""
    model_name: str = ""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Guards first, then the run itself; interrupted, it goes on from its last checkpoint."""
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        old = [Corpus.open(ctx.path_of(ref)) for ref in self.rehearse]
        guarded = [Corpus.open(ctx.path_of(ref)) for ref in self.guards]
        words = [Corpus.open(ctx.path_of(ref)) for ref in self.vocabulary]
        material = gather(Corpus.open(ctx.path_of(self.corpus)), old, guarded, self.config, words)
        job = Job(
            config=self.config,
            texts=tuple(material.texts),
            languages=tuple(material.languages),
            start=None if self.start is None else str(ctx.path_of(self.start)),
            language=self.language or (material.targets[0] if len(material.targets) == 1 else None),
        )
        prior = self._prior(ctx, job, material, device)
        job = replace(job, prior=None if prior is None else prior.head)
        job, made, rejects = _fitting(job, material)
        if not job.train:
            raise TrainingFailed("no training utterance is left", next_step="see the reasons with `orature check`")
        job, unfit = self._narrowed(ctx, job, made, device)
        rejects += unfit
        job, more = self._completed(ctx, job, made, material)
        rejects += more
        found = self._guard(ctx, job, made, device)
        outcome = self._fit(ctx, job, made, material, device)
        kept = len(job.train) + len(job.unlabelled)
        total = material.total + len(job.unlabelled) + len(more)
        ctx.conserve(total=total, kept=kept, rejected=_counts(rejects), reject_limit=self.reject_limit)
        facts = self._facts(material, outcome, job, found, made) | {"prior": None if prior is None else prior.facts}
        self._write(ctx, made, facts, outcome, rejects)
        if prior is not None:
            with ctx.writing(TABLE) as part:
                prior.write_table(part)
        ctx.note(dev_cer=round(outcome.dev.cer, 4), dev_wer=round(outcome.dev.wer, 4), updates=outcome.updates)

    def _narrowed(self, ctx: StageContext, job: Job, made: Made, device: str) -> tuple[Job, list[Reject]]:
        """The job with fewer transcribed examples, for stages that cannot learn from all, and what is left out."""
        return job, []

    def _completed(self, ctx: StageContext, job: Job, made: Made, material: Material) -> tuple[Job, list[Reject]]:
        """The job with speech that has no transcripts, for stages that train on it too, and what of it is left out."""
        return job, []

    def _prior(self, ctx: StageContext, job: Job, material: Material, device: str) -> Prior | None:
        """What the letters of a CTC model begin as where the start writes phones; once a key."""
        if self.config.network == "encoder-decoder":
            return None
        policy = material.policy
        rows = [(row, text) for row in material.train if (text := prepare(row.text or "", policy))]
        with ctx.progress("train: listening for phones", self.config.prior.seconds, "s") as bar:
            prior = PriorMaker(job, rows, lambda text: prepare(text, policy), ctx.state, device, bar).made()
        if prior is not None:
            say(f"train: {prior.told}")
        return prior

    def _guard(self, ctx: StageContext, job: Job, made: Made, device: str) -> dict[str, Any]:
        """Alphabet and, from nothing, overfitting; once a key: a resumed run does not repeat them."""
        targets = [example for example in job.dev if example.role == "target"]
        outside = guards.check_alphabet(targets, made.vocabulary)
        found: dict[str, Any] = {"characters_outside": outside, "overfit_cer": None}
        done = ctx.state / _GUARDS
        if self.config.overfit_clips == 0 or self.start is not None or made.steps is None:
            return found
        if done.is_file():
            found["overfit_cer"] = json.loads(done.read_text(encoding="utf-8"))["overfit_cer"]
            return found
        with ctx.progress("train: learning a few clips by heart", unit="updates") as bar:
            found["overfit_cer"] = guards.overfit(
                lambda: job.make().learner, job.train, self.config, steps=made.steps, device=device, progress=bar
            )
        write_json(done, found)
        return found

    def _fit(self, ctx: StageContext, job: Job, made: Made, material: Material, device: str) -> Outcome:
        on, freezing = ctx.resources, job.freezing(made)
        trained = sum(p.numel() for p in freezing.trained) / 1e6
        say(
            f"train: {made.family.name}, {made.parameters / 1e6:.1f} M parameters ({trained:.1f} M trained), "
            f"{len(job.train)} utterances ({material.hours:.2f} h), {len(made.vocabulary)} tokens, "
            f"{self.config.updates} updates of {self.config.batch_seconds * self.config.accumulate:.0f} s\n"
            f"train: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        spread = Spread(device, on.threads, on.processes, on.sharding, on.batch_seconds)
        place = Place(ctx.state / "training", ctx.logs, on.progress, score_start=self.start is not None)
        ended = train_job(job, made, spread, place)
        ctx.note(audio_s_per_s=round(ended.audio_s_per_s, 1))
        return ended.outcome

    def _facts(
        self, material: Material, outcome: Outcome, job: Job, found: dict[str, Any], made: Made
    ) -> dict[str, Any]:
        dev = outcome.dev
        return {
            "name": self.model_name or f"orature-{self.config.size}-{'-'.join(material.languages)}",
            "family": made.family.name,
            "languages": material.languages,
            "licences": material.licences,
            "corpus_digest": self.corpus.digest,
            "start": None
            if self.start is None
            else {"name": material.start_name(job.start), "digest": self.start.digest},
            "start_parts": self.config.start_parts,
            "rehearsal": [ref.digest for ref in self.rehearse],
            "train_utterances": len(job.train),
            "train_hours": round(material.hours, 4),
            "train_hours_by_origin": _by_origin(job.train),
            "parameters": made.parameters,
            "step_ms": made.step_ms,
            "text_policy": material.policy.to_json(),
            "config": self.config.model_dump(mode="json"),
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "audio_hours_seen": round(outcome.audio_h, 5),
            "dev": {"cer": round(dev.cer, 6), "wer": round(dev.wer, 6)},
            "dev_cer_by_language": {language: round(rate, 6) for language, rate in dev.languages.items()},
            "guard_languages": list(dev.guards),
            "guards": found,
        }

    def _write(
        self, ctx: StageContext, made: Made, facts: dict[str, Any], outcome: Outcome, rejects: list[Reject]
    ) -> None:
        if self.config.train_only == "lora":
            from orature.engines.lora import merge_lora

            merge_lora(made.network)
        network: Any = made.network
        vocabulary: Any = made.vocabulary
        write_files(ctx, model_files(made.family, network, vocabulary, labels_of(facts)))
        write_texts(ctx, {"README.md": model_card(facts)})
        write_records(ctx, facts, outcome.log, rejects)


def _fitting(job: Job, material: Material) -> tuple[Job, Made, list[Reject]]:
    """The job with its examples and the network, at the steps that lose few utterances; why others are left out.

    Of Orature's Conformer the coarser steps (40 ms) are taken unless they lose more than 1 % of the utterances.
    """
    wanted = job.config.subsampling
    own = job.start is None and job.config.network in ("conformer", "encoder-decoder")
    choices = ((4, 2) if wanted == "auto" else (wanted,)) if own else (4,)
    for subsampling in choices:
        tried = replace(job, subsampling=subsampling)
        made = tried.make()
        train, dev, rejects = material.examples(made.vocabulary)
        short = [] if made.steps is None else guards.infeasible(train, made.steps, made.step_ms)
        slowest = min(job.config.augment.speeds or (1.0,))
        long = guards.too_long(train, made.longest_s, made.most_tokens, slowest)
        if len(short) <= guards.ALLOWED_INFEASIBLE * len(train):
            break
    guards.hopeless(short, len(train))
    out = {reject.id for reject in (*short, *long)}
    kept: list[Example] = [example for example in train if example.id not in out]
    return tried.with_examples(kept, dev), made, [*rejects, *short, *long]


def _by_origin(examples: Sequence[Example]) -> dict[str, float]:
    """Hours of the target examples by origin."""
    seconds: dict[str, float] = {}
    for example in examples:
        if example.role == "target":
            seconds[example.origin] = seconds.get(example.origin, 0.0) + example.duration_s
    return {origin: round(total / 3600, 6) for origin, total in sorted(seconds.items())}


def _counts(rejects: Sequence[Reject]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject.reason] = counts.get(reject.reason, 0) + 1
    return counts
