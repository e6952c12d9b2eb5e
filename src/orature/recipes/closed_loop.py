"""The closed loop: the recogniser labels real speech, a voice learns from it and reads the text, the recogniser again.

Each round is gated on dev: one that does not help is not kept, and the loop ends there. The text has passed the embargo
before, labels that repeat a dev or test sentence are rejected, and a voice never learns from what a voice made (prosody
collapses when synthetic speech trains the next voice).

Example::

    found = closed_loop(work, steps, first, speech, ratio=2.0)
    found.arm           # None where no round helped
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orature.core.errors import ConfigError, CorpusError, RejectLimitExceeded, TrainingFailed
from orature.core.progress import say
from orature.data.corpus import Corpus
from orature.flow import Ref
from orature.recipes.arms import Arm, rate, seconds_by_origin, train_arm
from orature.recipes.speech_steps import Speech, SpeechWork, keep, read_aloud
from orature.stages.label_speech import LabelSpeech
from orature.stages.pool import Pool
from orature.stages.transcribe import Transcribe

if TYPE_CHECKING:
    from orature.recipes.back_translate import Work


@dataclass(slots=True)
class Looped:
    """The last round that was kept (None: no round helped), and what each brought on dev."""

    arm: Arm | None = None
    rounds: list[dict[str, Any]] = field(default_factory=list)


def closed_loop(work: Work, steps: SpeechWork, first: Arm, speech: Speech, *, ratio: float) -> Looped:
    """Rounds from the arm `first` on, each judged by dev against the best so far; test is not opened."""
    text_of(speech)
    found = Looped()
    best, metric = first, work.settings.choose
    for number in range(1, work.settings.loop + 1):
        try:
            arm = _round(work, steps, best, speech, number, ratio)
        except (CorpusError, TrainingFailed, RejectLimitExceeded) as error:
            said = f"round {number}: {error.what}; there is nothing to keep"
            found.rounds.append({"round": number, "before": None, "after": None, "kept": False, "said": said})
            work.said(said)
            break
        before, after = rate(work.run, best.dev, metric), rate(work.run, arm.dev, metric)
        kept = after < before
        said = f"round {number}: {metric.upper()} {100 * before:.1f} % before, {100 * after:.1f} % after on dev; " + (
            "kept" if kept else "it does not help and is not kept"
        )
        work.said(said)
        found.rounds.append(
            {"round": number, "before": round(before, 6), "after": round(after, 6), "kept": kept, "said": said}
        )
        if not kept:
            break
        best = found.arm = arm
    return found


def _round(work: Work, steps: SpeechWork, best: Arm, speech: Speech, number: int, ratio: float) -> Arm:
    """One round: labels, voice, speech, recogniser; CorpusError, TrainingFailed, RejectLimitExceeded where it fails."""
    run, on = work.run, work.on
    labelled = run.do(label(work, best.model), on=on)
    voice = train_voice(work, labelled, number)
    say(f"the voice of round {number} lies under key {voice.key[:12]}")
    named = work.settings.model_copy(update={"voice": f"vits:{run.path_of(voice)}"})
    steps = replace(steps, settings=named)
    made = read_aloud(steps, text_of(speech), split="train", readings=speech.readings)
    if not len(Corpus.open(run.path_of(made)).split("train")):
        raise CorpusError("the voice could read none of the sentences")
    kept = keep(steps, made, None)
    pool = run.do(Pool(corpora=(work.splits, kept), names=("real", "synthetic")), on=on)
    if not seconds_by_origin(run, pool).get("synthetic"):
        raise CorpusError("none of the voice's speech was left")
    name = f"real + {ratio:g} x synthetic, round {number}"
    arm = train_arm(run, work.base, work.budget, name=name, on=on, corpus_name=work.corpus_name, pool=pool, ratio=ratio)
    return replace(arm, role="loop", about=f"closed loop, round {number}")


def text_of(speech: Speech) -> Ref:
    """The text that is read in each round; ConfigError where there is none."""
    if speech.text is None:
        raise ConfigError("a closed loop needs text to read", next_step="--set text=FILE")
    return speech.text


def label(work: Work, model: Ref) -> LabelSpeech:
    """The stage that gives real speech the recogniser's transcripts: unlabelled speech, else train."""
    split = work.settings.loop_labels
    if split == "auto":
        corpus = Corpus.open(work.run.path_of(work.splits))
        split = "unlabelled" if len(corpus.split("unlabelled")) else "train"
    heard = work.run.do(
        Transcribe(model=model, corpus=work.splits, split=split, language=work.base.language), on=work.on
    )
    return LabelSpeech(corpus=work.splits, hypotheses=heard, split=split, min_score=work.settings.min_score)


def train_voice(work: Work, labelled: Ref, number: int) -> Ref:
    """A voice trained on the labelled recordings; `loop_voice` says how (size, start, judge, and training options)."""
    from orature.recipes.train_voice import VoiceOptions, mean_length_s, voice_stage

    given = dict(work.settings.loop_voice)
    own = {name: str(given.pop(name)) for name in ("scale", "size", "start", "judge") if name in given}
    options = VoiceOptions(
        **{"scale": work.scale, **own}, language=work.base.language, seed=work.base.config.seed, settings=given
    )
    mean_s = mean_length_s(Corpus.open(work.run.path_of(labelled)))
    name = f"{work.corpus_name}-round-{number}"
    stage = voice_stage(labelled, options, name=name, embargo=(work.splits,), mean_s=mean_s)
    return work.run.do(stage, on=work.on)
