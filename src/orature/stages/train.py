"""The stage that trains a recogniser from nothing on the train split of a corpus, choosing by its dev split.

Example::

    model = run.do(Train(corpus=corpus, config=TrainConfig.for_scale("dev", hours=1.8)), on=Resources(threads=2))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from orature.core.errors import CorpusError, TrainingFailed
from orature.core.files import write_json, write_json_lines
from orature.core.progress import say
from orature.core.types import Reject
from orature.data.corpus import Corpus, reject_json
from orature.engines.characters import Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.scratch_ctc import ScratchCtc
from orature.flow import Ref, Stage, StageContext
from orature.stages.card import model_card
from orature.text.alphabet import TextPolicy
from orature.text.leaks import EmbargoIndex, refuse_breach
from orature.train import guards
from orature.train.config import TrainConfig
from orature.train.devices import prepare_device
from orature.train.examples import characters_of, examples_of, policy_of
from orature.train.loader import Example, Loader
from orature.train.loop import Outcome, fit
from orature.train.watch import Watcher

_GUARDS = "guards.json"


@dataclass(frozen=True, slots=True)
class _Material:
    """What training works on, after all rows have been accounted for."""

    train: list[Example]
    dev: list[Example]
    rejects: list[Reject]
    total: int
    characters: Characters
    policy: TextPolicy
    languages: list[str]
    licences: list[str]
    hours: float


class Train(Stage):
    """A model folder (`config.json`, `model.safetensors`, `vocab.json`, card, `train_log.jsonl`, `rejects.jsonl`).

    The alphabet comes from the train split alone, checkpoints are chosen by dev CER, test is never opened except for
    the embargo: a training row that repeats a dev or test sentence or recording stops the run (law 5).
    """

    name: ClassVar[str] = "train"
    version: ClassVar[int] = 3
    corpus: Ref
    config: TrainConfig
    model_name: str = ""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Guards first, then the run itself; interrupted, it goes on from its last checkpoint."""
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        material = self._material(Corpus.open(ctx.path_of(self.corpus)))
        feasible = guards.choose_subsampling(material.train, self.config.subsampling)
        left_out = {reject.id for reject in feasible.rejects}
        train = [example for example in material.train if example.id not in left_out]
        rejects = [*material.rejects, *feasible.rejects]
        if not train:
            raise TrainingFailed("no training utterance is left", next_step="see the reasons with `orature check`")
        config = ConformerConfig.of_size(
            self.config.size,
            vocabulary=len(material.characters),
            subsampling=feasible.subsampling,
            normalisation=self.config.normalisation,
            dropout=self.config.dropout,
        )
        found = self._guard(ctx, material, train, config, device)
        torch.manual_seed(self.config.seed)
        model = ConformerCtc(config)
        outcome = self._fit(ctx, model, train, material, device)
        ctx.conserve(total=material.total, kept=len(train), rejected=_counts(rejects), reject_limit=self.reject_limit)
        facts = self._facts(material, outcome, train, found, model)
        self._write(ctx, ScratchCtc(model, material.characters, _labels(facts)), facts, outcome, rejects)
        ctx.note(dev_cer=round(outcome.dev.cer, 4), dev_wer=round(outcome.dev.wer, 4), updates=outcome.updates)

    def _material(self, corpus: Corpus) -> _Material:
        train_rows, dev_rows = list(corpus.split("train")), list(corpus.split("dev"))
        if not train_rows or not dev_rows:
            raise CorpusError(
                f"the corpus has {len(train_rows)} train and {len(dev_rows)} dev utterances; training needs both",
                where=str(corpus.root),
                next_step="make splits with `orature split CORPUS --to NEW`",
            )
        refuse_breach(train_rows, EmbargoIndex.of(dev_rows, corpus.split("test")), where=str(corpus.root))
        languages = sorted({row.language for row in train_rows})
        policy = policy_of(self.config, languages[0] if len(languages) == 1 else "und")
        characters = characters_of(train_rows, policy)
        train, rejects = examples_of(train_rows, policy, characters)
        dev, _ = examples_of(dev_rows, policy, characters)
        return _Material(
            train=train,
            dev=dev,
            rejects=rejects,
            total=len(train_rows),
            characters=characters,
            policy=policy,
            languages=languages,
            licences=sorted({row.licence for row in train_rows if row.licence}),
            hours=sum(row.audio.duration_s for row in train_rows) / 3600,
        )

    def _guard(
        self, ctx: StageContext, material: _Material, train: list[Example], config: ConformerConfig, device: str
    ) -> dict[str, Any]:
        """Alphabet and overfitting, once a key: a resumed run does not repeat them."""
        outside = guards.check_alphabet(material.dev, material.characters)
        found: dict[str, Any] = {"characters_outside": outside, "overfit_cer": None}
        done = ctx.state / _GUARDS
        if self.config.overfit_clips == 0:
            return found
        if done.is_file():
            found["overfit_cer"] = json.loads(done.read_text(encoding="utf-8"))["overfit_cer"]
            return found
        with ctx.progress("train: learning a few clips by heart", unit="updates") as bar:
            found["overfit_cer"] = guards.overfit(
                lambda: ConformerCtc(config),
                train,
                material.characters,
                self.config,
                subsampling=config.subsampling,
                device=device,
                progress=bar,
            )
        write_json(done, found)
        return found

    def _fit(
        self, ctx: StageContext, model: ConformerCtc, train: list[Example], material: _Material, device: str
    ) -> Outcome:
        space = material.characters.encode(" ")[0]
        subsampling: Literal[2, 4] = model.config.subsampling
        loader = Loader(train, self.config, subsampling=subsampling, space=space)
        dev = Loader(material.dev, self.config, subsampling=subsampling)
        state = ctx.state / "training"
        state.mkdir(parents=True, exist_ok=True)
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        say(
            f"train: {millions:.1f} M parameters, {len(train)} utterances ({material.hours:.2f} h), "
            f"{len(material.characters)} tokens, {10 * subsampling} ms steps, {self.config.updates} updates of "
            f"{self.config.batch_seconds * self.config.accumulate:.0f} s\n"
            f"train: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        with ctx.progress("train", total=self.config.updates, unit="updates") as bar:
            watcher = Watcher(progress=bar, logs=ctx.logs)
            outcome = fit(
                model, loader, dev, material.characters, self.config, state=state, watcher=watcher, device=device
            )
        ctx.note(audio_s_per_s=round(watcher.audio_s_per_s, 1))
        return outcome

    def _facts(
        self,
        material: _Material,
        outcome: Outcome,
        train: Sequence[Example],
        found: dict[str, Any],
        model: ConformerCtc,
    ) -> dict[str, Any]:
        return {
            "name": self.model_name or f"orature-{self.config.size}-{'-'.join(material.languages)}",
            "languages": material.languages,
            "licences": material.licences,
            "corpus_digest": self.corpus.digest,
            "train_utterances": len(train),
            "train_hours": round(material.hours, 4),
            "parameters": sum(p.numel() for p in model.parameters()),
            "text_policy": material.policy.to_json(),
            "config": self.config.model_dump(mode="json"),
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "audio_hours_seen": round(outcome.audio_h, 3),
            "dev": {"cer": round(outcome.dev.cer, 6), "wer": round(outcome.dev.wer, 6)},
            "guards": found,
        }

    def _write(
        self, ctx: StageContext, model: ScratchCtc, facts: dict[str, Any], outcome: Outcome, rejects: list[Reject]
    ) -> None:
        for name, write in model.files().items():
            with ctx.writing(name) as part:
                write(part)
        with ctx.writing("training.json") as part:
            write_json(part, facts)
        with ctx.writing("README.md") as part:
            part.write_text(model_card(facts), encoding="utf-8")
        with ctx.writing("train_log.jsonl") as part:
            write_json_lines(part, outcome.log)
        with ctx.writing("rejects.jsonl") as part:
            write_json_lines(part, [reject_json(reject) for reject in rejects])


def _labels(facts: dict[str, Any]) -> dict[str, str]:
    return {
        "name": str(facts["name"]),
        "languages": ",".join(facts["languages"]),
        "licence": "; ".join(facts["licences"]) or "unknown",
    }


def _counts(rejects: Sequence[Reject]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject.reason] = counts.get(reject.reason, 0) + 1
    return counts
