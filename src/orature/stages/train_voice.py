"""The stage that trains a voice (VITS) on the train split of a corpus, from nothing or from a checkpoint.

Example::

    voice = run.do(TrainVoice(corpus=corpus, config=VoiceConfig.for_scale("dev", size="tiny", fine_tune=False)))
    tuned = run.do(TrainVoice(corpus=corpus, start=voice_start(Path("mms-tts-yor")), config=config, language="yo"))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from orature.core.errors import TrainingFailed
from orature.core.files import write_json
from orature.core.identity import digest_file, digest_json
from orature.core.progress import say
from orature.core.types import Refusal, Reject
from orature.data import audio
from orature.data.corpus import Corpus, reject_json
from orature.engines.hf_folder import facts_of, weight_files
from orature.engines.hub import model_folder
from orature.evaluate.html.voice_samples import Spoken
from orature.evaluate.voice_report import voice_page
from orature.flow import Ref, Stage, StageContext
from orature.stages.evaluate import clip_of
from orature.stages.model_folder import labels_of, write_files, write_records, write_texts
from orature.stages.voice_card import voice_card
from orature.stages.voice_material import VoiceMaterial, VoiceRows, dev_candidates, gather_voice, prepared_rows, unasked
from orature.train.devices import prepare_device
from orature.train.voice.architecture import MadeVoice, from_checkpoint, from_nothing
from orature.train.voice.config import VoiceConfig
from orature.train.voice.data import VoiceExample, VoiceLoader
from orature.train.voice.dev import Judge, Samples
from orature.train.voice.folder import plain_weights, voice_files
from orature.train.voice.loop import SAMPLES, VoiceOutcome, fit_voice, sample_name, sample_updates
from orature.train.voice.text import TOKENIZER, VOCABULARY, VoiceText
from orature.train.voice.watch import VoiceWatcher

_ROWS = "rows.json"
_SHOWN_UPDATES = 5
_START_FILES = ("config.json", VOCABULARY, TOKENIZER)


def voice_start(source: str | Path) -> Ref:
    """A VITS checkpoint folder (or an allowed hub id) as an input; ModelError where there is none."""
    folder = model_folder(source)
    files = [*weight_files(folder), *(folder / name for name in _START_FILES if (folder / name).is_file())]
    digest = digest_json({path.name: digest_file(path) for path in files})
    return Ref(key="external", stage="voice", digest=digest, path=str(folder.absolute()))


class TrainVoice(Stage):
    """A voice folder in the layout of transformers, with `report.html`, card, `training.json`, log and rejects.

    The vocabulary comes from the train split alone, checkpoints are chosen by dev (or by rows held out of train where
    dev has nobody that the voice speaks as), test is only opened for the embargo, which also covers the dev and test
    splits of the corpora in `embargo`. `judge` is a recogniser whose CER on dev sentences read aloud chooses instead.
    """

    name: ClassVar[str] = "train_voice"
    version: ClassVar[int] = 1
    corpus: Ref
    config: VoiceConfig
    start: Ref | None = None
    judge: Ref | None = None
    embargo: tuple[Ref, ...] = ()
    language: str = ""
    """Of the judge, where it asks for one; and of the vocabulary."""
    voice_name: str = ""
    reject_limit: float = 0.5

    def run(self, ctx: StageContext) -> None:
        """Rows, network, the run itself (which goes on where it was cut), the folder."""
        device = prepare_device(ctx.resources.device, ctx.resources.threads)
        held = [Corpus.open(ctx.path_of(ref)) for ref in self.embargo]
        material = gather_voice(Corpus.open(ctx.path_of(self.corpus)), held, self.config)
        made = self._made(ctx, material)
        rows = self._rows(ctx, material, made)
        counts = dict(sorted(Counter(reject.reason for reject in rows.rejects).items()))
        if not rows.train or not rows.dev:
            why = ", ".join(f"{count} {reason}" for reason, count in counts.items()) or "there are too few"
            raise TrainingFailed(
                f"{len(rows.train)} utterances to train on and {len(rows.dev)} to choose by are left: {why}",
                next_step="see the reasons; longest_s, only_speaker and rate_factor are options of --set",
            )
        total, unwanted = len(material.train), unasked(counts, self.config)
        limit = (unwanted + self.reject_limit * (total - unwanted)) / total
        ctx.conserve(total=total, kept=len(rows.train), rejected=counts, reject_limit=limit)
        outcome = self._fit(ctx, made, rows, device)
        facts = self._facts(ctx, material, made, rows, outcome, counts)
        self._write(ctx, made, rows, outcome, facts)
        ctx.note(dev_mel=round(outcome.dev.mel, 4), updates=outcome.updates, chosen=outcome.chosen)

    def _made(self, ctx: StageContext, material: VoiceMaterial) -> MadeVoice:
        if self.start is None:
            text = VoiceText.of(material.texts, language=self.language or material.languages[0])
            return from_nothing(self.config, text, material.speakers)
        made = from_checkpoint(ctx.path_of(self.start), self.config, material.texts, material.speakers)
        for what, names in (("letters", made.new_tokens), ("speakers", made.new_speakers)):
            if names and (what == "letters" or len(made.speakers) > 1):
                say(f"train-voice: {len(names)} new {what}: {' '.join(names)}")
        if made.lacks_posterior:
            say(
                "train-voice: the checkpoint holds no posterior encoder; it is drawn anew and trained alone for "
                f"{self.config.posterior_warmup} updates before the rest is touched"
            )
        say("train-voice: the discriminators are new: checkpoints of transformers hold none")
        return made

    def _rows(self, ctx: StageContext, material: VoiceMaterial, made: MadeVoice) -> VoiceRows:
        """The examples; every recording is read once a key, a resumed run takes them as found then."""
        done = ctx.state / _ROWS
        if done.is_file():
            raw = json.loads(done.read_text(encoding="utf-8"))
            train, dev = ([_example(row) for row in raw[name]] for name in ("train", "dev"))
            return VoiceRows(train, dev, [Reject(**row) for row in raw["rejects"]], raw["dev_from"])
        total = len(material.train) + len(dev_candidates(material, self.config))
        with ctx.progress("train-voice: reading recordings", total, "clips") as bar:
            rows = prepared_rows(material, made, self.config, bar)
        write_json(
            done,
            {
                "train": [example.to_json() for example in rows.train],
                "dev": [example.to_json() for example in rows.dev],
                "rejects": [reject_json(reject) for reject in rows.rejects],
                "dev_from": rows.dev_from,
            },
        )
        return rows

    def _fit(self, ctx: StageContext, made: MadeVoice, rows: VoiceRows, device: str) -> VoiceOutcome:
        several = len(made.speakers) > 1
        train, dev = (VoiceLoader(side, made.shape, self.config, several=several) for side in (rows.train, rows.dev))
        hours = sum(example.duration_s for example in rows.train) / 3600
        say(
            f"train-voice: {made.parameters / 1e6:.1f} M parameters, {len(rows.train)} utterances ({hours:.2f} h "
            f"without silences), {len(made.speakers)} speakers, {len(made.text.tokens)} tokens, {self.config.updates} "
            f"updates of {self.config.batch_seconds:.0f} s; dev: {len(rows.dev)} rows, {rows.dev_from}\n"
            f"train-voice: curves while it runs: tensorboard --logdir {ctx.logs}"
        )
        with ctx.progress("train-voice", self.config.updates, "updates") as bar:
            return fit_voice(
                made,
                train,
                dev,
                self.config,
                state=ctx.state / "training",
                watcher=VoiceWatcher(progress=bar, logs=ctx.logs),
                device=device,
                judge=None if self.judge is None else judge_of(ctx.path_of(self.judge), device, self.language),
            )

    def _facts(
        self,
        ctx: StageContext,
        material: VoiceMaterial,
        made: MadeVoice,
        rows: VoiceRows,
        outcome: VoiceOutcome,
        rejected: dict[str, int],
    ) -> dict[str, Any]:
        started = None if self.start is None else facts_of(ctx.path_of(self.start))
        licences = set(material.licences) | ({started["licence"]} if started and "licence" in started else set())
        languages = [self.language] if self.language else material.languages
        return {
            "name": self.voice_name or f"voice-{'-'.join(languages)}",
            "languages": languages,
            "licences": sorted(licences),
            "corpus_digest": self.corpus.digest,
            "start": None
            if started is None
            else {"name": started["name"], "digest": str(self.start and self.start.digest)},
            "judge": "" if self.judge is None else f"{ctx.path_of(self.judge).name} ({self.judge.digest[:12]})",
            "speakers": list(made.speakers),
            "train_utterances": len(rows.train),
            "train_hours": round(sum(example.duration_s for example in rows.train) / 3600, 6),
            "rejected": rejected,
            "dev_from": rows.dev_from,
            "dev_utterances": len(rows.dev),
            "parameters": made.parameters,
            "rate_hz": made.shape.rate_hz,
            "new_letters": list(made.new_tokens),
            "posterior_encoder_drawn_anew": made.lacks_posterior,
            "config": self.config.model_dump(mode="json"),
            "updates": outcome.updates,
            "chosen": outcome.chosen,
            "audio_hours_seen": round(outcome.audio_h, 6),
            "dev_at_start": outcome.start.to_json(),
            "dev": outcome.dev.to_json(),
        }

    def _write(
        self, ctx: StageContext, made: MadeVoice, rows: VoiceRows, outcome: VoiceOutcome, facts: dict[str, Any]
    ) -> None:
        labels = labels_of({**facts, "family": "vits"})
        write_files(ctx, voice_files(made, plain_weights(made.model), labels))
        spoken = _spoken(ctx.state / "training", rows.dev[: self.config.samples], outcome)
        texts = {
            "README.md": voice_card(facts),
            "report.html": voice_page(facts, train_log=outcome.log, spoken=spoken),
        }
        write_texts(ctx, texts)
        write_records(ctx, facts, outcome.log, rows.rejects)


def _example(row: dict[str, Any]) -> VoiceExample:
    return VoiceExample(**{**row, "tokens": tuple(row["tokens"])})


def judge_of(folder: Path, device: str, language: str) -> Judge:
    """A recogniser as the judge of what a voice reads aloud; a refused recording counts as nothing heard."""
    from orature.engines.recognisers import load_recogniser

    recogniser = load_recogniser(folder, device=device, language=language or None)

    def hear(recordings: Sequence[Samples]) -> list[str]:
        found = recogniser.transcribe(list(recordings))
        return ["" if isinstance(one, Refusal) else one.text for one in found]

    return hear


def _spoken(state: Path, examples: Sequence[VoiceExample], outcome: VoiceOutcome) -> list[Spoken]:
    """Each dev sentence for the report: the recording, made again at the end, read aloud at several checkpoints."""
    updates = sample_updates(state)
    shown = [updates[place * (len(updates) - 1) // max(1, _SHOWN_UPDATES - 1)] for place in range(_SHOWN_UPDATES)]
    chosen = sorted({*shown, outcome.chosen} & set(updates)) if updates else []
    found = []
    for number, example in enumerate(examples):
        sources: list[tuple[str, str, float, float | None]] = []
        sources.append(("the recording", example.path, example.start_s, example.duration_s))
        copy = state / SAMPLES / sample_name(outcome.chosen, number, "copy")
        sources.append((f"made again, update {outcome.chosen}", str(copy), 0.0, None))
        for update in chosen:
            mark = " (chosen)" if update == outcome.chosen else ""
            read = state / SAMPLES / sample_name(update, number, "read")
            sources.append((f"read aloud, update {update}{mark}", str(read), 0.0, None))
        versions = []
        for label, path, start_s, duration_s in sources:
            samples = audio.load(path, start_s, duration_s)
            clip = clip_of(samples)
            if clip is not None:
                versions.append((label, clip, len(samples) / 16_000))
        found.append(Spoken(example.id, example.text, versions))
    return found
