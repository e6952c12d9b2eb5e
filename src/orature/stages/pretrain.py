"""The stage that goes on training a model of ours on speech without transcripts.

Example::

    model = run.do(Pretrain(corpora=(corpus,), start=model_ref(Path("base")), config=config), on=Resources(threads=2))
    tuned = run.do(Train(corpus=transcribed, start=model, config=...))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

from safetensors import safe_open

from orature.core.errors import ModelError
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.engines.facts import facts_of
from orature.engines.families import family_of
from orature.engines.native_folder import write_weights
from orature.engines.network import CtcNetwork
from orature.engines.recognisers import model_files
from orature.engines.vocabulary import CtcVocabulary
from orature.flow import Ref, Stage, StageContext
from orature.stages.model_folder import labels_of, training_of, write_files, write_records, write_texts
from orature.stages.pretrain_card import pretrain_card
from orature.stages.pretrain_material import Heard, gather
from orature.train.config import TrainConfig
from orature.train.devices import prepare_device
from orature.train.job import Job, Made
from orature.train.launch import Place, Spread, train_job
from orature.train.loop import Outcome
from orature.train.masked import MaskedReport
from orature.train.masked_config import MaskedConfig

WEIGHTS = "model.safetensors"
FAMILY = "conformer"


class Pretrain(Stage):
    """A model folder as that of `start`, its encoder trained further by masked prediction (`orature.train.masked`).

    Beside weights and vocabulary: `training.json`, a card, `train_log.jsonl`, `rejects.jsonl`. Audio of the train and
    unlabelled rows of `corpora` is heard, that of dev only measured (rows are held out where there is none), that of
    test never; transcripts are not read. `embargo` are corpora whose dev and test recordings must not be heard either.
    The checkpoint is chosen by the loss on dev. Weights are stored in the precision of the start.
    """

    name: ClassVar[str] = "pretrain"
    version: ClassVar[int] = 1
    corpora: tuple[Ref, ...]
    start: Ref
    config: TrainConfig
    masked: MaskedConfig = MaskedConfig()
    embargo: tuple[Ref, ...] = ()
    model_name: str = ""
    reject_limit: float = 0.5

    def job(self, folder: Path) -> Job:
        """The training run without its examples; ModelError where `folder` holds no Conformer of ours."""
        require_conformer(folder)
        return Job(
            config=self.masked.applied(self.config), texts=(), languages=(), start=str(folder), masked=self.masked
        )

    def run(self, ctx: StageContext) -> None:
        """Trains; interrupted, it goes on from its last checkpoint and draws what it would have drawn."""
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        folder = ctx.path_of(self.start)
        job = self.job(folder)
        corpora = [Corpus.open(ctx.path_of(ref)) for ref in self.corpora]
        embargo = [Corpus.open(ctx.path_of(ref)) for ref in self.embargo]
        heard = gather(corpora, embargo, self.masked, self.config.seed, self.reject_limit)
        made = job.make()
        outcome = self._fit(ctx, job.with_examples(heard.train, heard.dev), made, heard, device)
        ctx.conserve(total=heard.total, kept=heard.rows, rejected=heard.reasons)
        self._write(ctx, folder, made, outcome, heard)
        dev = cast(MaskedReport, outcome.dev)
        ctx.note(
            dev_masked_accuracy=round(dev.accuracy, 4),
            dev_chance=round(dev.chance, 4),
            dev_phones_kept=round(dev.phones_kept, 4),
            updates=outcome.updates,
        )

    def _fit(self, ctx: StageContext, job: Job, made: Made, heard: Heard, device: str) -> Outcome:
        on, config = ctx.resources, job.config
        say(
            f"pretrain: {made.parameters / 1e6:.1f} M parameters, {len(heard.train)} stretches of speech "
            f"({heard.hours:.2f} h) from {heard.rows} rows, {len(heard.rejects)} rows not heard, {config.updates} "
            f"updates of {config.batch_seconds * config.accumulate:.0f} s\n"
            f"pretrain: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        spread = Spread(device, on.threads, on.processes, on.sharding, on.batch_seconds)
        place = Place(ctx.state / "training", ctx.logs, on.progress, score_start=True)
        ended = train_job(job, made, spread, place)
        ctx.note(audio_s_per_s=round(ended.audio_s_per_s, 1))
        return ended.outcome

    def _write(self, ctx: StageContext, folder: Path, made: Made, outcome: Outcome, heard: Heard) -> None:
        network, vocabulary = cast(CtcNetwork, made.network), cast(CtcVocabulary, made.vocabulary)
        network.to("cpu")
        facts = self._facts(folder, made, outcome, heard)
        files = model_files(made.family, network, vocabulary, labels_of(facts))
        files[WEIGHTS] = write_weights(network, half=facts["precision"] == "float16")
        write_files(ctx, files)
        write_texts(ctx, {"README.md": pretrain_card(facts)})
        write_records(ctx, facts, outcome.log, heard.rejects)

    def _facts(self, folder: Path, made: Made, outcome: Outcome, heard: Heard) -> dict[str, Any]:
        before, named = training_of(folder), facts_of(folder, made.family)
        start_name = named.get("name") or folder.name
        languages = [tag for tag in named.get("languages", "").split(",") if tag]
        licences = [one for one in named.get("licence", "").split("; ") if one and one != "unknown"]
        policy = {"text_policy": before["text_policy"]} if "text_policy" in before else {}
        return policy | {
            "name": self.model_name or f"{start_name}-adapted",
            "family": made.family.name,
            "languages": languages or heard.languages,
            "languages_heard": heard.languages,
            "licences": sorted({*licences, *heard.licences}),
            "licences_heard": heard.licences,
            "corpus_digests": [ref.digest for ref in self.corpora],
            "start": {"name": start_name, "digest": self.start.digest},
            "rows_heard": heard.rows,
            "rows_not_heard": heard.reasons,
            "hours": round(heard.hours, 4),
            "dev_hours": round(sum(example.duration_s for example in heard.dev) / 3600, 4),
            "dev_held_out_of_train": heard.held_out,
            "parameters": made.parameters,
            "tokens": len(made.vocabulary),
            "step_ms": made.step_ms,
            "config": self.masked.applied(self.config).model_dump(mode="json"),
            "masked": self.masked.model_dump(mode="json"),
            "precision": _precision(folder / WEIGHTS),
            "chosen": outcome.chosen,
            "updates": outcome.updates,
            "audio_hours_seen": round(outcome.audio_h, 5),
            "dev": outcome.dev.row(),
            "dev_of_start": next((row for row in outcome.log if row["update"] == 0), {}),
        }


def require_conformer(folder: Path) -> None:
    """ModelError unless `folder` holds a Conformer that Orature trained: only its features and steps are known here."""
    family = family_of(folder)
    if family.name != FAMILY:
        raise ModelError(
            f"models of the family {family.name} cannot go on from speech alone here, only Orature's own Conformer",
            where=str(folder),
            next_step="give the model of `orature run base` or of `orature train`",
        )


def _precision(path: Path) -> str:
    """float16 where all weights of a file are, else float32 (what they are computed in)."""
    with safe_open(path, framework="pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    return "float16" if kinds == {"F16"} else "float32"
