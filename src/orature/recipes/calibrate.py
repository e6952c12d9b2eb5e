"""From which quality on synthetic speech helps, for this language and these recordings: a measured threshold of Norm_I.

Synthetic speech is distorted to a ladder of qualities, each is judged (Norm_I), and small recognisers are trained on
the real recordings with speech of each quality, and without any, at equal compute: the same updates, the same real
speech, no early stop. All are scored on dev. Where dev error with synthetic speech crosses that without lies the
threshold (`evaluate.norm_i_threshold`). Every step is a stage of the store: run again after a crash it goes on.

Settings (`--set`): `ladder` (qualities such as clean, noise:5, bands:6, bands:2+shuffle:250; see `data.distortions`),
`ratio` (synthetic to real seconds heard), `seeds` (trainings a quality), `most_hours` (of synthetic speech), `probes`,
`metric`, `normaliser`, `language`, `format`, `split.NAME`, and every training option.

Example::

    from orature.recipes.registry import Request
    settings = {"synthetic": "made", "judge": "whisper-small"}
    outcome = run(Request(sources=("corpus",), to=Path("calibration"), scale="smoke", settings=settings))
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, CorpusError
from orature.core.files import refuse_unwritable, write_beside, write_json
from orature.core.progress import say
from orature.data.corpus import SUMMARY, Corpus
from orature.engines.voices import parse_voice
from orature.flow import Ref, Resources, Run, Stage, open_store
from orature.recipes.calibrate_settings import CalibrateConfig, rung_of, settings_from, training_options
from orature.recipes.estimate import cost
from orature.recipes.judging import Listening, judged
from orature.recipes.registry import Outcome, Request
from orature.recipes.scoring import decode_and_score
from orature.recipes.training import UpOptions, config_for, only_language, split_stage
from orature.stages.calibration import CALIBRATION_FILE, Calibration, JudgedRung, read_calibration
from orature.stages.distort import Distort, DrawRows
from orature.stages.ingest import ingest_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.pool import Pool
from orature.stages.train import Train
from orature.train.config import Scale, TrainConfig
from orature.train.devices import usable_cores
from orature.train.mixing import origin_weights_for_ratio

ABOUT = "the quality (Norm_I) from which on synthetic speech helps, for one language and its recordings"
REPORT = "report.html"
BATCHES_AN_EPOCH = 20
"""At least, so that the last, shorter batch of an epoch weighs little: all trainings then hear the same seconds."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What all steps share."""

    run: Run
    settings: CalibrateConfig
    real: Ref
    judge: Ref
    config: TrainConfig
    on: Resources
    hours: list[float] = field(default_factory=list)
    """Of audio that each training has heard."""

    @property
    def language(self) -> str:
        return self.settings.language or only_language(Corpus.open(self.run.path_of(self.real)))


def run(request: Request) -> Outcome:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    settings = read_settings_of(request)
    refuse_unwritable(request.to)
    job = Run(
        open_store(request.store, beside=request.to),
        recipe="calibrate",
        command=request.command or f"orature run calibrate --to {request.to}",
    )
    real = job.do(_splits(job, request, settings), on=request.resources)
    probe = None
    if settings.synthetic is not None:
        made = corpus_ref(Path(settings.synthetic))
    else:
        from orature.recipes.calibrate_speech import read_aloud

        hours = wanted_hours(training_config(job, real, settings, request.scale, request.seed), settings)
        made, probe = read_aloud(job, real, settings, hours=hours, seed=request.seed, on=request.resources)
    found = calibrate(
        job,
        real,
        made,
        model_ref(str(settings.judge)),
        settings=settings,
        scale=request.scale,
        seed=request.seed,
        probe=probe,
        on=request.resources,
    )
    return _finish(request, job, found)


def calibrate(
    run: Run,
    real: Ref,
    synthetic: Ref,
    judge: Ref,
    *,
    settings: CalibrateConfig | None = None,
    scale: Scale = "dev",
    seed: int = 1,
    probe: Ref | None = None,
    on: Resources | None = None,
) -> Ref:
    """The `Calibration` of a corpus with train and dev, and of synthetic speech in train (`read_calibration` reads it).

    `probe` is a corpus in which the voice reads sentences of dev (split dev); without one, synthetic speech of train is
    judged, which is not paired. ConfigError and CorpusError for what cannot be trained or judged.
    """
    settings = settings or CalibrateConfig()
    ladder = [(text, rung_of(text)) for text in settings.ladder]
    config = training_config(run, real, settings, scale, seed)
    work = _Work(run, settings, real, judge, config, on or Resources())
    hours = wanted_hours(config, settings)
    drawn = run.do(DrawRows(corpus=synthetic, split="train", most_hours=hours, seed=seed), on=on)
    sample, split = (probe, "dev") if probe is not None else _probe(work, synthetic, drawn, seed)
    several = work.on.model_copy(update={"workers": max(work.on.workers, work.on.threads or usable_cores())})
    rungs = []
    for number, (name, steps) in enumerate(ladder, 1):
        say(f"calibrate: quality {number} of {len(ladder)}: {name}")
        heard = run.do(Distort(corpus=sample, steps=steps, seed=seed), on=several) if steps else sample
        judgement = judged(
            run,
            heard,
            real,
            judge,
            synthetic_split=split,
            metric=settings.metric,
            normaliser=settings.normaliser,
            trained_family=family_name(config),
            listening=Listening(language=settings.language),
            on=on,
        )
        worse = run.do(Distort(corpus=drawn, steps=steps, seed=seed), on=several) if steps else drawn
        scored = _scores(work, name, run.do(Pool(corpora=(real, worse), names=("real", "synthetic")), on=on))
        rungs.append(JudgedRung(name=name, judgement=judgement, scored=scored))
    say("calibrate: real speech alone")
    baseline = _scores(work, "real alone", real)
    about = _about(work, synthetic, drawn, probe is not None or split == "dev")
    return run.do(Calibration(baseline=baseline, rungs=tuple(rungs), metric=settings.metric, about=about), on=on)


def _scores(work: _Work, name: str, corpus: Ref) -> tuple[Ref, ...]:
    """Dev scores of the recognisers trained on `corpus`, one a seed."""
    scores = []
    for stage in _trainings(work, name, corpus):
        model = work.run.do(stage, on=work.on)
        training = json.loads((work.run.path_of(model) / "training.json").read_text(encoding="utf-8"))
        work.hours.append(float(training["audio_hours_seen"]))
        common: dict[str, Any] = {"split": "dev", "corpus_name": "dev", "normaliser": work.settings.normaliser}
        title = f"{name}, seed {stage.config.seed}"
        scores.append(decode_and_score(work.run, model=model, corpus=work.real, name=title, on=work.on, **common)[1])
    return tuple(scores)


def _trainings(work: _Work, name: str, corpus: Ref) -> list[Train]:
    """The same training once a seed; synthetic rows weigh so much that `ratio` seconds of them fall on one real one."""
    seconds = {"real": 0.0, "synthetic": 0.0}
    for row in Corpus.open(work.run.path_of(corpus)).split("train"):
        seconds["synthetic" if row.origin == "synthetic" else "real"] += row.audio.duration_s
    config = work.config
    if seconds["synthetic"]:
        if not seconds["real"]:
            raise CorpusError("the corpus has no real speech in train", next_step="name the corpus of real recordings")
        weights = origin_weights_for_ratio(seconds["real"], seconds["synthetic"], work.settings.ratio)
        mix = config.mix.model_copy(update={"origin_weights": {**config.mix.origin_weights, **weights}})
        config = config.model_copy(update={"mix": mix})
    return [
        Train(
            corpus=corpus,
            config=config.model_copy(update={"seed": config.seed + number}),
            language=work.language,
            model_name=f"calibration ({name})",
        )
        for number in range(work.settings.seeds or 1)
    ]


def _probe(work: _Work, synthetic: Ref, drawn: Ref, seed: int) -> tuple[Ref, str]:
    """What is judged: synthetic dev rows where there are some, else a part of those that are trained with."""
    rows = Corpus.open(work.run.path_of(synthetic))
    most = work.settings.probes
    if len(rows.split("dev")):
        return work.run.do(DrawRows(corpus=synthetic, split="dev", most=most, seed=seed), on=work.on), "dev"
    return work.run.do(DrawRows(corpus=drawn, split="train", most=most, seed=seed), on=work.on), "train"


def _about(work: _Work, synthetic: Ref, drawn: Ref, paired: bool) -> dict[str, str | int | float | bool | None]:
    made = Corpus.open(work.run.path_of(drawn)).summary()["splits"]["train"]
    real = Corpus.open(work.run.path_of(work.real)).summary()["splits"]["train"]
    config = work.config
    return {
        "synthetic": synthetic.digest,
        "synthetic_hours": made["hours"],
        "real_hours": real["hours"],
        "ratio": work.settings.ratio,
        "network": config.network,
        "size": config.size,
        "updates": config.updates,
        "seconds_an_update": config.batch_seconds * config.accumulate,
        "hours_heard_least": round(min(work.hours), 4),
        "hours_heard_most": round(max(work.hours), 4),
        "judged_on_dev_sentences": paired,
    }


def training_config(run: Run, real: Ref, settings: CalibrateConfig, scale: Scale, seed: int) -> TrainConfig:
    """How every recogniser of the calibration is trained, apart from its mixture and its seed."""
    summary = Corpus.open(run.path_of(real)).summary()["splits"]
    train, dev = summary.get("train"), summary.get("dev")
    if not train or not dev:
        raise CorpusError(
            f"calibration needs real speech in train and dev; there is {', '.join(summary) or 'nothing'}",
            next_step="make splits with `orature split CORPUS --to NEW`",
        )
    options = UpOptions(
        scale="smoke" if scale == "smoke" else "dev", seed=seed, train=training_options(settings, scale)
    )
    hours, count = float(train["hours"]), int(train["utterances"])
    speakers = int(train.get("speakers", 0)) or 100
    config = config_for(options, hours=hours, mean_s=3600 * hours / max(1, count), speakers=speakers)
    epoch_s = max(3600 * hours, BATCHES_AN_EPOCH * config.batch_seconds * config.accumulate)
    return config.model_copy(update={"mix": config.mix.model_copy(update={"epoch_s": config.mix.epoch_s or epoch_s})})


def wanted_hours(config: TrainConfig, settings: CalibrateConfig) -> float:
    """Hours of synthetic speech that a training can hear once; more would be distorted for nothing."""
    heard_s = config.updates * config.batch_seconds * config.accumulate * settings.ratio / (1 + settings.ratio)
    return min(heard_s / 3600, settings.most_hours or float("inf"))


def family_name(config: TrainConfig) -> str:
    """The family of what is trained, as judges name theirs."""
    return config.network


def read_settings_of(request: Request) -> CalibrateConfig:
    """The settings checked before a corpus is read: ConfigError for unknown names and values out of range."""
    settings = settings_from(request.settings, request.scale)
    if len(request.sources) != 1:
        raise ConfigError("which corpus of real speech?", next_step="orature run calibrate CORPUS --to DIR --set ...")
    if settings.judge is None:
        raise ConfigError("who judges?", next_step="name a recogniser: --judge MODEL, or --set judge=MODEL")
    if (settings.synthetic is None) == (settings.text is None):
        raise ConfigError(
            "calibration needs either synthetic speech or a text for a voice",
            next_step="name one: --synthetic CORPUS, or --text FILE with --voice NAME",
        )
    model_ref(settings.judge)
    if settings.synthetic is not None:
        Corpus.open(Path(settings.synthetic))
    elif not Path(str(settings.text)).exists():
        raise ConfigError("there is no such text", where=str(settings.text), next_step="name a file of sentences")
    else:
        parse_voice(settings.voice)
    return settings


def _splits(job: Run, request: Request, settings: CalibrateConfig) -> Stage:
    """The corpus with its splits; a folder that is no corpus yet is read first."""
    source = Path(request.sources[0])
    if (source / SUMMARY).is_file():
        corpus = corpus_ref(source)
    else:
        corpus = job.do(ingest_stage(source, format=settings.format, language=settings.language or None))
    return split_stage(corpus, UpOptions(seed=request.seed, split=settings.split))


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do and cost, as far as it can be known without doing it."""
    settings = read_settings_of(request)
    job = Run(open_store(request.store, beside=request.to), recipe="calibrate", command="")
    trainings = (1 + len(settings.ladder)) * (settings.seeds or 1)
    shown: dict[str, Any] = {
        "settings": settings.model_dump(mode="json"),
        "qualities": list(settings.ladder),
        "trainings": trainings,
        "judgements": f"{len(settings.ladder)}, of up to {settings.probes} recordings each",
    }
    if not (Path(request.sources[0]) / SUMMARY).is_file():
        return {**shown, "cost": "known once the corpus has been read: orature ingest SOURCE --to CORPUS"}
    stage = _splits(job, request, settings)
    real = job.store.get(stage.key())
    shown["split"] = "todo" if real is None else "done"
    if real is None:
        real = corpus_ref(Path(request.sources[0]))
        if not {"train", "dev"} <= Corpus.open(Path(real.path)).summary()["splits"].keys():
            return {**shown, "cost": "known once the corpus has been split"}
    config = training_config(job, real, settings, request.scale, request.seed)
    one = Train(corpus=real, config=config, model_name="calibration (real alone)")
    return {
        **shown,
        "train": config.model_dump(mode="json"),
        "cost": f"{trainings} trainings of the same budget, each: {cost(one, request.resources)}",
    }


def _finish(request: Request, job: Run, found: Ref) -> Outcome:
    """calibration.json and report.html in the folder of the request."""
    whole = read_calibration(job.path_of(found))
    to = request.to
    fresh = _published(to) != found.key
    if fresh:
        publish_calibration(to, whole, command=job.record.command)
        write_json(to / CALIBRATION_FILE, whole | {"artefact": found.key})
    else:
        say(f"everything was done before; the report is {to / REPORT}")
    facts = {"calibration": str(to / CALIBRATION_FILE), "report": str(to / REPORT), "fresh": fresh, **whole}
    return Outcome(facts, [*table(whole), f"report: {to / REPORT}"], fresh)


def publish_calibration(to: Path, whole: Mapping[str, Any], *, command: str = "") -> Path:
    """Writes report.html of a calibration into `to`."""
    from orature.evaluate.html.calibration_curve import calibration_page

    with write_beside(to / REPORT) as part:
        part.write_text(calibration_page(whole, command=command), encoding="utf-8", newline="\n")
    return to / REPORT


def table(whole: Mapping[str, Any]) -> list[str]:
    """The ladder for a terminal: Norm_I, dev error and the difference from real speech alone, and the verdict."""
    metric = str(whole["metric"]).upper()
    lines = ["", f"{'quality':<24} {'Norm_I':>24} {metric + ' on dev':>9} {'difference':>24}  verdict"]
    lines.append(f"{'real alone':<24} {'':>24} {100 * whole['baseline']['value']:8.1f}%")
    for row in whole["rungs"]:
        lines.append(
            f"{row['name']:<24} {_reach(row['norm_i'], 1):>24} {100 * row['error']['value']:8.1f}% "
            f"{_reach(row['difference'], 100):>24}  {row['difference']['verdict']}"
        )
    return [*lines, "", str(whole["sentence"]), *(f"  note: {warning}" for warning in whole["warnings"])]


def _reach(value: Mapping[str, Any], times: float) -> str:
    sign = "+" if times > 1 else ""
    shown = f"{times * value['value']:{sign}.3g}"
    if value["low"] is None:
        return shown
    return f"{shown} [{times * value['low']:{sign}.3g}, {times * value['high']:{sign}.3g}]"


def _published(to: Path) -> str:
    """The key of what lies in `to`; calibration.json is written last."""
    try:
        found = json.loads((to / CALIBRATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(found.get("artefact", "")) if (to / REPORT).is_file() else ""
