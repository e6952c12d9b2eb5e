"""The stage that trains a base model: phones of many languages from speech that is spoken while it trains.

Example::

    model = run.do(TrainBase(phones=phones, config=config), on=Resources(threads=2))
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field

from orature.core.errors import ConfigError, ModelError
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.native_folder import write_weights
from orature.engines.network import CtcNetwork
from orature.engines.phone_tokens import PhoneTokens, writes_phones
from orature.engines.recognisers import model_files
from orature.flow import Ref, Stage, StageContext
from orature.stages.base_card import base_card
from orature.stages.model_folder import labels_of, training_of, write_files, write_records, write_texts
from orature.stages.phone_judge import judged
from orature.stages.phone_material import PhoneMaterial
from orature.text.phone_corpus import PhoneCorpus
from orature.train.config import TrainConfig
from orature.train.devices import prepare_device
from orature.train.job import Job, Made
from orature.train.launch import Place, Spread, train_job
from orature.train.loop import Outcome
from orature.train.speech import SpeechSource
from orature.train.speech_config import SpeechConfig

WEIGHTS = "model.safetensors"
POLICY = {"case": "keep", "punctuation": "keep", "turkic": False, "replace": []}


class TrainBase(Stage):
    """A model folder whose tokens are phones; `training.json`, a card, `train_log.jsonl`, `rejects.jsonl`.

    `phones` is phone text (`PhoneText`); `real` are corpora whose train rows are mixed in with espeak-ng's phones for
    their transcripts, by `config.mix`, with `neighbours` also those of a language that only a neighbour reads; `start`
    is a model of phones whose training goes on (its inventory stays, phones outside of it are written in a simpler
    form); `judge` are corpora whose dev and test rows are only measured, once, at the end. Checkpoints are chosen by
    the phone error rate on dev (in the log it stands where the CER does): sentences and speakers that training never
    hears, spoken plainly. `half` stores float16. `feature_weight` weighs the loss of articulatory features. `command`
    is for the card.
    """

    name: ClassVar[str] = "train-base"
    version: ClassVar[int] = 1
    phones: Ref
    config: TrainConfig
    speech: SpeechConfig = SpeechConfig()
    feature_weight: float = Field(default=0.0, ge=0.0)
    real: tuple[Ref, ...] = ()
    neighbours: bool = False
    judge: tuple[Ref, ...] = ()
    start: Ref | None = None
    dev_sentences: int = Field(default=300, ge=1)
    half: bool = True
    model_name: str = "orature-base"
    command: str = ""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Trains; interrupted, it goes on from its last checkpoint and hears what it would have heard."""
        if self.config.network != "conformer":
            raise ConfigError("a base model is a conformer", next_step="leave --set train.network out")
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        real = [Corpus.open(ctx.path_of(ref)) for ref in self.real]
        text = PhoneCorpus.open(ctx.path_of(self.phones))
        material = PhoneMaterial.of(text, real, self.dev_sentences, neighbours=self.neighbours)
        start = None if self.start is None else ctx.path_of(self.start)
        if start is not None and not writes_phones(start):
            raise ModelError(
                "the start of a base model writes letters, not phones",
                where=str(start),
                next_step="name a folder that `orature run base` made, or base",
            )
        job = Job(
            config=self.config if start is None else self.config.model_copy(update={"head": "keep"}),
            texts=(),
            languages=tuple(material.languages),
            start=None if start is None else str(start),
            subsampling=2 if self.config.subsampling == 2 else 4,
            phones=material.phones,
            speech=self.speech,
            speech_workers=max(1, ctx.resources.workers),
            feature_weight=self.feature_weight,
        )
        made = job.make()
        vocabulary = cast(PhoneTokens, made.vocabulary)
        source = SpeechSource(self.speech)
        try:
            speakers = source.speakers()
        finally:
            source.close()
        train, dev = material.examples(vocabulary, speakers[1])
        if not dev:
            raise ConfigError(
                "no sentence is held out for dev", next_step="give more text, or dev_per_language above 0"
            )
        ctx.note(speakers={"train": len(speakers[0]), "dev": len(speakers[1])})
        outcome = self._fit(ctx, job.with_examples(train, dev), made, device)
        self._write(ctx, made, outcome, material, speakers)
        rejected = Counter(reject.reason for reject in material.rejects)
        total = len(train) + len(material.rejects)
        ctx.conserve(total=total, kept=len(train), rejected=rejected, reject_limit=self.reject_limit)
        ctx.note(dev_per=round(outcome.dev.cer, 4), updates=outcome.updates)

    def _fit(self, ctx: StageContext, job: Job, made: Made, device: str) -> Outcome:
        on, config = ctx.resources, self.config
        hours = sum(example.duration_s for example in job.train) / 3600
        say(
            f"train-base: {made.parameters / 1e6:.1f} M parameters, {len(made.vocabulary)} tokens, "
            f"{len(job.languages)} languages, {len(job.train)} sentences (about {hours:.1f} h each time they are "
            f"spoken), {config.updates} updates of {config.batch_seconds * config.accumulate:.0f} s\n"
            f"train-base: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        spread = Spread(device, on.threads, on.processes, on.sharding, on.batch_seconds)
        place = Place(ctx.state / "training", ctx.logs, on.progress, score_start=self.start is not None)
        ended = train_job(job, made, spread, place)
        ctx.note(audio_s_per_s=round(ended.audio_s_per_s, 1))
        return ended.outcome

    def _write(
        self,
        ctx: StageContext,
        made: Made,
        outcome: Outcome,
        material: PhoneMaterial,
        speakers: tuple[list[str], list[str]],
    ) -> None:
        network, vocabulary = cast(CtcNetwork, made.network), cast(PhoneTokens, made.vocabulary)
        network.to("cpu")
        corpora = [Corpus.open(ctx.path_of(ref)) for ref in self.judge]
        facts = self._facts(made, outcome, material, speakers) | {"real": judged(network, vocabulary, corpora)}
        files = model_files(made.family, network, cast(Any, vocabulary), labels_of(facts))
        files[WEIGHTS] = write_weights(network, half=self.half)
        write_files(ctx, files)
        facts["megabytes"] = round(Path(ctx.out / WEIGHTS).stat().st_size / 1e6, 2)
        write_texts(ctx, {"README.md": base_card(facts)})
        write_records(ctx, facts, outcome.log, material.rejects)

    def _facts(
        self, made: Made, outcome: Outcome, material: PhoneMaterial, speakers: tuple[list[str], list[str]]
    ) -> dict[str, Any]:
        text = material.corpus.summary()
        return {
            "name": self.model_name,
            "family": made.family.name,
            "command": self.command,
            "languages": material.languages,
            "licences": material.licences,
            "sources": text["sources"],
            "engine": text["engine"],
            "phone_text_digest": self.phones.digest,
            "sentences": text["sentences"],
            "real_digests": [ref.digest for ref in self.real],
            "real_utterances": len(material.real),
            "neighbours": material.neighbours,
            "speakers": {"train": len(speakers[0]), "dev": speakers[1]},
            "parameters": made.parameters,
            "phones": len(made.vocabulary) - 2,
            "step_ms": made.step_ms,
            "text_policy": POLICY,
            "config": self.config.model_dump(mode="json"),
            "speech": self.speech.model_dump(mode="json"),
            "feature_weight": self.feature_weight,
            "precision": "float16" if self.half else "float32",
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "audio_hours_seen": round(outcome.audio_h, 5),
            "train_hours": round(float(text["hours_expected"]), 4),
            "dev": {"cer": round(outcome.dev.cer, 6), "wer": round(outcome.dev.wer, 6)},
            "dev_per_by_language": {language: round(rate, 6) for language, rate in outcome.dev.languages.items()},
            "start": None if self.start is None else _start_facts(Path(self.start.path), self.start.digest),
        }


def _start_facts(folder: Path, digest: str) -> dict[str, str]:
    """Name, digest and command of the start, as far as its folder tells them."""
    facts = training_of(folder)
    told = {name: str(facts[name]) for name in ("name", "command") if facts.get(name)}
    return {"name": folder.name, "command": "", **told, "digest": digest}
