"""Speech back-translation: text read aloud by a voice, mixed with real speech, in arms of equal compute.

After "From tens of hours to tens of thousands: scaling back-translation for speech recognition" (arXiv 2505.16972). The
steps: corpus and splits (embargo); the real-only arm; text without any sentence of dev or test; the voice judged on
sentences of dev; synthesis in the acoustics of the train recordings; filtering; one arm for each ratio of synthetic to
real speech, the last phase of each on real speech only; the best on dev; each arm of the final table on test, once.
Every step is a stage of the store in `to/.orature`: run again after a crash it goes on.

Example::

    from orature.recipes.registry import Request
    outcome = run(Request(sources=("kichwa",), to=Path("out"), settings={"text": "news.txt", "voice": "espeak"}))
    print(outcome.facts["verdict"])
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError
from orature.core.files import refuse_unwritable, write_json
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run, open_store
from orature.recipes import arms as arm_steps
from orature.recipes.arms import Arm, Budget
from orature.recipes.back_settings import BackTranslateConfig, options_of, read_settings_of
from orature.recipes.published import REPORT, circumstances_of, published_keys, train_log
from orature.recipes.registry import Outcome, Request
from orature.recipes.rehearsal import rehearsed
from orature.recipes.scoring import decode_and_score, score_of, spoken, zero_shot
from orature.recipes.speech_steps import Speech, SpeechWork, spoken_text
from orature.recipes.training import UpOptions, only_language, split_stage, train_stage
from orature.stages.compare_arms import ArmScore, CompareArms
from orature.stages.evaluate import Extras, lineage_rows, publish_results
from orature.stages.ingest import ingest_stage
from orature.stages.pool import Pool
from orature.stages.split import describe, read_splits
from orature.stages.train import Train
from orature.train.config import Scale
from orature.train.devices import usable_cores

ABOUT = "real and synthetic speech from text, beside real speech alone, at equal compute"
REAL = "real speech only"


@dataclass(slots=True)
class Work:
    """What the steps of one experiment share."""

    run: Run
    settings: BackTranslateConfig
    splits: Ref
    base: Train
    budget: Budget
    corpus_name: str
    on: Resources
    scale: Scale = "dev"
    notes: list[str] = field(default_factory=list)

    def said(self, sentence: str) -> None:
        """A sentence for the person who waits and for the report."""
        say(f"back-translation: {sentence}")
        self.notes.append(sentence)


@dataclass(frozen=True, slots=True)
class Translated:
    """What came out: the published arm, its decoding and score on test, the comparison, and facts for the report."""

    published: Arm
    heard: Ref
    scored: Ref
    compared: Ref
    zero_shot: Ref | None
    facts: dict[str, Any]


def run(request: Request) -> Outcome:
    """Runs the whole way; raises the errors of its stages, each of which says what to do next."""
    source = source_of(request)
    settings = read_settings_of(request)
    refuse_unwritable(request.to)
    home = open_store(request.store, beside=request.to)
    job = Run(home, recipe="back_translate", command=request.command or f"orature run back_translate {source}")
    done = experiment(job, request, settings, source)
    return _finish(request, job, done)


def experiment(job: Run, request: Request, settings: BackTranslateConfig, source: Path) -> Translated:
    """Corpus and splits, then `translated`."""
    on = request.resources
    several = on.model_copy(update={"workers": on.threads or usable_cores()})
    corpus = job.do(ingest_stage(source, format=settings.format, language=settings.language), on=several)
    options = options_of(settings, request.scale, request.seed)
    splits = job.do(split_stage(corpus, options), on=on)
    for line in describe(read_splits(job.path_of(splits))):
        say(f"split: {line}")
    return translated(job, splits, settings, options, name=source.name.split(".")[0], on=on)


def plan(request: Request) -> dict[str, Any]:
    """What `run` would do, as far as it can be known without doing it."""
    source = source_of(request)
    settings = read_settings_of(request)
    home = open_store(request.store, beside=request.to)
    job = rehearsed(home, "back_translate", outline(settings), phases=2)
    shown = job.through(lambda: experiment(job, request, settings, source))
    return {**shown, "settings": settings.model_dump(mode="json")}


def outline(settings: BackTranslateConfig) -> list[str]:
    """The stages of the whole way, in about their order, for a plan."""
    phases = ["train", "train"] if settings.last_share else ["train"]
    arm = [*phases, "transcribe", "evaluate"]
    speech = ["text", "probe-text", "synthesise", "transcribe", "transcribe", "judge", "synthesise"]
    if settings.filter != "none":
        speech += ["filter-speech"]
    final = ["transcribe", "evaluate"]
    before = final if settings.start is not None else []
    steps = ["ingest", "split", *before, *arm, *([] if settings.synthetic else speech), "pool"]
    steps += arm * len(settings.ratios)
    steps += ["merge-models", *final] * (len(settings.merge_grid) if settings.merge else 0)
    steps += ["transcribe", "label-speech", "train-voice", "synthesise", "pool", *arm] * settings.loop
    return [*steps, *final, *final, "compare-arms"]


def source_of(request: Request) -> Path:
    """The one corpus; ConfigError for none or several."""
    if len(request.sources) != 1:
        raise ConfigError("which corpus?", next_step="orature run back_translate CORPUS --to DIR --set text=FILE")
    return Path(request.sources[0])


def translated(
    run: Run, splits: Ref, settings: BackTranslateConfig, options: UpOptions, *, name: str, on: Resources
) -> Translated:
    """All arms on a split corpus; `name` names it in the report."""
    base = train_stage(run, splits, options, name=name)
    real_s = sum(arm_steps.seconds_by_origin(run, splits).values())
    budget = arm_steps.equal_budget(base.config, real_s=real_s, last_share=settings.last_share)
    work = Work(run, settings, splits, base, budget, name, on, options.scale)
    say(
        f"back-translation: {1 + len(settings.ratios)} trainings of {budget.updates} updates "
        f"({budget.hours:.1f} h of audio each), {100 * settings.last_share:.0f} % of them on real speech at the end"
    )
    before = zero_shot(run, base, splits, name, on)
    if before is None:
        work.notes.append(
            "There is no starting model to score: training began from nothing."
            if base.start is None
            else "The starting model cannot write yet, so it has no score."
        )
    real = arm_steps.train_arm(run, base, budget, name=REAL, on=on, corpus_name=name, about=REAL)
    say(f"{REAL}: {arm_steps.told(run, real.dev)} on dev")
    speech = spoken_text(speech_work(work, real, real_s))
    tried, failed = _sweep(work, speech)
    best = arm_steps.best_on_dev(run, tried, settings.choose) if tried else None
    extra, merged = _merged(work, real, best)
    looped, rounds = _looped(work, real, best, speech, real_s)
    candidates = [arm for arm in (real, best, extra, looped) if arm is not None]
    for sentence in arm_steps.unequal([arm for arm in candidates if arm is not looped]):
        work.said(f"the compute was not equal: {sentence}")
    published = arm_steps.best_on_dev(run, candidates, settings.choose)
    table = {arm.name: _final(work, arm) for arm in candidates}
    _warn_of_start(work, before, published)
    compared = _compared(work, before, real, tried, failed, candidates, published, table, speech, merged, rounds)
    facts = {name: score_of(run, compared)[name] for name in ("arms", "synthetic")}
    facts["synthetic"]["examples"] = [] if speech is None else speech.examples(run)
    heard, scored = table[published.name]
    return Translated(published, heard, scored, compared, before, facts)


def speech_work(work: Work, judge: Arm, real_s: float) -> SpeechWork:
    """What the steps from text to speech need; `judge` judges the voice where no other recogniser is named."""
    settings, first = work.settings, work.budget.first
    most = max(settings.ratios)
    corpus = Corpus.open(work.run.path_of(work.splits))
    return SpeechWork(
        run=work.run,
        settings=settings,
        splits=work.splits,
        language=settings.language or work.base.language or only_language(corpus),
        seed=work.base.config.seed,
        real_s=real_s,
        wanted_s=first.updates * first.batch_seconds * first.accumulate * most / (1 + most),
        trained=judge.model,
        on=work.on,
        said=work.said,
        scale=work.scale,
    )


def _sweep(work: Work, speech: Speech) -> tuple[list[Arm], dict[str, str]]:
    if speech.kept is None:
        return [], {}
    pool = work.run.do(Pool(corpora=(work.splits, speech.kept), names=("real", "synthetic")), on=work.on)
    made = arm_steps.seconds_by_origin(work.run, pool).get("synthetic", 0.0)
    speech.pool = pool
    if made <= 0:
        speech.why_none = "none of the synthetic speech was left after the embargo"
        work.said(speech.why_none)
        return [], {}
    return arm_steps.sweep(
        work.run, work.base, work.budget, pool, work.settings.ratios, on=work.on, corpus_name=work.corpus_name
    )


def _merged(work: Work, real: Arm, best: Arm | None) -> tuple[Arm | None, list[dict[str, Any]]]:
    if not work.settings.merge or best is None:
        return None, []
    from orature.recipes.merging import merge

    found = merge(work.run, work.base, real, best, work.settings, corpus_name=work.corpus_name, on=work.on)
    for sentence in found.notes:
        work.said(sentence)
    return found.arm, found.tried


def _looped(
    work: Work, real: Arm, best: Arm | None, speech: Speech, real_s: float
) -> tuple[Arm | None, list[dict[str, Any]]]:
    if not work.settings.loop:
        return None, []
    from orature.recipes.closed_loop import closed_loop

    first = real if best is None else arm_steps.best_on_dev(work.run, (real, best), work.settings.choose)
    ratio = best.ratio if best is not None else min(work.settings.ratios)
    found = closed_loop(work, speech_work(work, first, real_s), first, speech, ratio=ratio)
    return found.arm, found.rounds


def _final(work: Work, arm: Arm) -> tuple[Ref, Ref]:
    """Test, once for each arm of the final table."""
    heard, scored = decode_and_score(
        work.run,
        model=arm.model,
        corpus=work.splits,
        split="test",
        name=arm.name,
        corpus_name=work.corpus_name,
        language=work.base.language,
        on=work.on,
    )
    say(f"{arm.name}: {arm_steps.told(work.run, scored)} on test")
    return heard, scored


def _warn_of_start(work: Work, before: Ref | None, published: Arm) -> None:
    """Said aloud where no training helped on dev: the start itself is no result of this run and is not published."""
    start = work.base.start
    if before is None or start is None:
        return
    language = spoken(Path(start.path), work.base.language) or ""
    scored = arm_steps.scored_on(
        work.run,
        work.base,
        start,
        split="dev",
        name=f"{Path(start.path).name} (zero-shot)",
        corpus_name=work.corpus_name,
        on=work.on,
        language=language,
    )
    metric = work.settings.choose
    if arm_steps.rate(work.run, scored, metric) < arm_steps.rate(work.run, published.dev, metric):
        work.said("on dev the starting model itself is better than every trained arm; it is not published again")


def _compared(
    work: Work,
    before: Ref | None,
    real: Arm,
    tried: list[Arm],
    failed: dict[str, str],
    candidates: list[Arm],
    published: Arm,
    table: Mapping[str, tuple[Ref, Ref]],
    speech: Speech,
    merged: list[dict[str, Any]],
    rounds: list[dict[str, Any]],
) -> Ref:
    rows = []
    if before is not None:
        rows.append(ArmScore(name="start", role="start", about="the starting model (zero-shot)", test=before))
    others = [arm for arm in candidates if arm is not real and arm not in tried]
    for arm in (real, *tried, *others):
        test = table[arm.name][1] if arm.name in table else None
        rows.append(_row(arm, test))
    stage = CompareArms(
        arms=tuple(rows),
        published=published.name,
        metric=work.settings.choose,
        failed=failed,
        why_none=speech.why_none,
        judgement=speech.judgement,
        calibration=speech.calibration,
        text=speech.text,
        synthetic=speech.facts,
        merged=tuple(merged),
        rounds=tuple(rounds),
        notes=tuple(work.notes),
        threshold=speech.threshold,
        fallback=speech.fallback,
    )
    return work.run.do(stage, on=work.on)


def _row(arm: Arm, test: Ref | None) -> ArmScore:
    facts = arm.facts or {}
    return ArmScore(
        name=arm.name,
        role=arm.role,
        about=arm.about,
        ratio=arm.ratio,
        dev=arm.dev,
        test=test,
        updates=facts.get("updates"),
        audio_hours=facts.get("audio_hours"),
        hours_seen=facts.get("hours_seen", {}),
    )


def _finish(request: Request, job: Run, done: Translated) -> Outcome:
    to, home = request.to, job.store
    keys = {"model": done.published.model.key, "compared": done.compared.key}
    fresh = published_keys(to) != keys
    if fresh:
        home.publish(done.published.model, to / "model")
        how = circumstances_of(job, done.heard, to)
        extras = Extras(
            train_log=train_log(job, done.published.model),
            lineage=lineage_rows(home, done.compared),
            facts={"synthetic": done.facts["synthetic"]},
        )
        whole = publish_results(to, scored=job.path_of(done.compared), circumstances=how, extras=extras)
        digest = done.compared.digest
        write_json(to / REPORT, whole | {"artefacts": keys, "digest": digest})
    else:
        say(f"everything was done before; the report is {to / 'report.html'}")
    score = json.loads((to / REPORT).read_text(encoding="utf-8"))
    facts = {
        "model": str(to / "model"),
        "report": str(to / "report.html"),
        "fresh": fresh,
        "score": score,
        "verdict": score["arms"]["verdict"],
    }
    return Outcome(facts, [*table_lines(score), f"model:  {to / 'model'}", f"report: {to / 'report.html'}"], fresh)


def table_lines(score: Mapping[str, Any]) -> list[str]:
    """The arms on test for a terminal, and the verdict."""
    arms = score["arms"]
    lines = ["", f"{'on test':<34} {'WER':>7} {'CER':>7}   {arms['metric'].upper()} against real speech only"]
    for row in arms["rows"]:
        found = (row["difference"] or {}).get(arms["metric"])
        reach = (
            "" if found is None or found["low"] is None else f" [{100 * found['low']:+.1f}, {100 * found['high']:+.1f}]"
        )
        change = "" if found is None else f"{100 * found['delta']:+.1f}{reach} {found['verdict']}"
        rates = "".join(f"{100 * row['test'][unit]['value']:7.1f}%" for unit in ("wer", "cer"))
        lines.append(f"{(row['about'] or row['name'])[:34]:<34} {rates}   {change}")
    lines += ["", *arms["verdict"]["sentences"], f"published, as the better one on dev: {arms['published']}"]
    return lines
