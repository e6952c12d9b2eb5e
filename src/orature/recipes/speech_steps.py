"""From text to synthetic speech fit for training: text, a judged voice, synthesis, filtering, and the gate.

Each step is one function over one stage. What hinders is not hidden: where Norm_I lies below the known threshold and
nobody asked to go on, there is no synthetic speech, and the reason is in `why_none`.

Example::

    speech = spoken_text(SpeechWork(run=run, settings=settings, splits=splits, language="qu", ...))
    speech.kept, speech.judgement, speech.facts
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orature.core.errors import ConfigError, OratureError
from orature.core.progress import say
from orature.data.corpus import Corpus, id_hash
from orature.engines.voices import open_voice, parse_voice
from orature.flow import Ref, Resources, Run
from orature.recipes.back_settings import BackTranslateConfig
from orature.recipes.calibrate_speech import CHARACTERS_A_SECOND, times
from orature.recipes.judging import filtered, judged, read_judgement
from orature.recipes.settings import override
from orature.stages.compare_arms import value_of
from orature.stages.inputs import corpus_ref, model_ref, text_corpus_ref, voice_ref
from orature.stages.probe_text import ProbeText
from orature.stages.prompts import MakePrompts
from orature.stages.synthesise import Synthesise
from orature.stages.text_corpus import text_stage
from orature.text.text_corpus import SUMMARY, TextCorpus
from orature.train.config import Scale
from orature.train.devices import usable_cores

EXAMPLES = 12
JUDGE_KNOWS = 0.25
"""CER on real speech above which a judge is no filter: it would throw away what it does not know itself."""
ODD_DURATION = 4.0
"""Robust deviations of seconds a character beyond which an utterance is left out."""
MOST_READINGS = 500
MOST_UNSPOKEN = 0.9
"""Share of the sentences that a voice may fail to read before the run stops: what is lost is counted in the report."""
_TEXT_ARGUMENTS = ("kind", "column", "licences", "numbers", "language_check", "near_duplicates")


@dataclass(frozen=True, slots=True)
class SpeechWork:
    """What the steps need; `wanted_s` is the synthetic speech that training can pass once, in seconds."""

    run: Run
    settings: BackTranslateConfig
    splits: Ref
    language: str
    seed: int
    real_s: float
    wanted_s: float
    trained: Ref
    """The real-only model: the judge where none is named."""
    on: Resources
    said: Callable[[str], None]
    scale: Scale = "dev"


@dataclass(slots=True)
class Speech:
    """What came of it; `kept` None: no synthetic speech, for the reason `why_none`."""

    kept: Ref | None = None
    text: Ref | None = None
    made: Ref | None = None
    probe: Ref | None = None
    """Sentences of dev, read by the voice."""
    judgement: Ref | None = None
    calibration: Ref | None = None
    threshold: float | None = None
    never: bool = False
    """The calibration found no quality at which synthetic speech helps."""
    pool: Ref | None = None
    why_none: str = ""
    fallback: str = ""
    readings: int = 1
    facts: dict[str, str | int | float | bool | None] = field(default_factory=dict)

    def examples(self, run: Run) -> list[dict[str, Any]]:
        """A few utterances to listen to, drawn by a hash of their ids, with their places for the report."""
        source = self.kept or self.made
        if source is None:
            return []
        rows = list(Corpus.open(run.path_of(source)).split("train"))
        drawn = sorted(rows, key=lambda row: (id_hash(row.id), row.id))[:EXAMPLES]
        return [
            {
                "id": row.id,
                "text": row.text or "",
                "speaker": row.speaker or "",
                "audio": {
                    "path": row.audio.path,
                    "start_s": row.audio.start_s,
                    "duration_s": row.audio.duration_s,
                },
            }
            for row in drawn
        ]


def spoken_text(work: SpeechWork) -> Speech:
    """All steps from text to filtered speech."""
    if work.settings.synthetic is not None:
        return _given(work)
    if not work.language:
        raise ConfigError(
            "the corpus does not say its language, and a voice must know it",
            next_step="name it: --set language=sw (BCP-47)",
        )
    speech = Speech()
    known = voice_facts(work.settings.voice, work.language, work.on)
    speech.fallback = str(known.pop("fallback") or "")
    speech.facts |= known
    if speech.fallback:
        work.said(
            f"the voice {public_name(work.settings.voice)} has no {work.language}; it reads with {speech.fallback}"
        )
    speech.text = make_text(work)
    text = TextCorpus.open(work.run.path_of(speech.text))
    speech.facts |= {"sentences": len(text), "language": work.language}
    if not len(text):
        speech.why_none = "no sentence of the text was left; the report says why"
        work.said(speech.why_none)
        return speech
    speech.readings = readings_for(work, text)
    speech.facts["readings"] = speech.readings
    judge_voice(work, speech)
    if work.settings.calibrate:
        speech.made = read_aloud(work, speech.text, split="train", readings=speech.readings)
    calibrate_voice(work, speech)
    if not passes(work, speech):
        return speech
    speech.made = read_aloud(work, speech.text, split="train", readings=speech.readings)
    return _filtered(work, speech)


def _given(work: SpeechWork) -> Speech:
    """Synthetic speech that somebody made: its train rows, screened by the pool's embargo like all others."""
    made = corpus_ref(Path(str(work.settings.synthetic)))
    corpus = Corpus.open(Path(made.path))
    origins = {row.origin for row in corpus.split("train")}
    if origins != {"synthetic"}:
        raise ConfigError(
            f"the rows of this corpus are of origin {', '.join(sorted(origins)) or 'none (no train rows)'}, "
            "not synthetic",
            where=str(corpus.root),
            next_step="make it with `orature synthesise`",
        )
    speech = Speech(made=made, facts={"voice": "given", **counted(corpus, "made")})
    return _filtered(work, speech)


def _filtered(work: SpeechWork, speech: Speech) -> Speech:
    """Leaves out what the judge does not understand, or what is oddly long or short; at most the capped share."""
    if speech.made is None:
        return speech
    speech.facts |= counted(Corpus.open(work.run.path_of(speech.made)), "made")
    if not speech.facts["made"]:
        speech.why_none = "the voice could read none of the sentences; their rejects say why"
        work.said(speech.why_none)
        return speech
    speech.kept = keep(work, speech.made, speech.judgement)
    kept = Corpus.open(work.run.path_of(speech.kept))
    speech.facts |= counted(kept, "kept")
    made, left = int(speech.facts["made"] or 0), int(speech.facts["kept"] or 0)
    speech.facts["reject_share"] = round(1 - left / made, 4) if made else 0.0
    speech.facts["hours"] = kept.summary()["splits"].get("train", {"hours": 0.0})["hours"]
    speech.facts["real_hours"] = round(work.real_s / 3600, 4)
    return speech


def counted(corpus: Corpus, name: str) -> dict[str, int]:
    """How many train rows there are, and how many speakers."""
    part = corpus.summary()["splits"].get("train", {"utterances": 0, "speakers": 0})
    return {name: int(part["utterances"]), "speakers": int(part["speakers"])}


def voice_facts(voice: str, language: str, on: Resources) -> dict[str, Any]:
    """Name, licence and speakers of a voice, and the language that it reads with instead of `language` ("" for none).

    ConfigError where it cannot read the language at all.
    """
    with open_voice(voice, device=_device(on), threads=on.threads) as opened:
        speakers = opened.speakers(language)
        card = opened.card
        reading = getattr(opened, "reading", None)
        found = reading(language) if callable(reading) else None
    return {
        "voice": public_name(voice),
        "licence": card.licence,
        "revision": card.revision,
        "speakers": len(speakers),
        "fallback": found.tag if found is not None and found.told else "",
    }


def public_name(voice: str) -> str:
    """A voice without the path of anybody's machine: what is told must not depend on where a model lies."""
    name = parse_voice(voice)
    return f"{name.engine}:{Path(name.model).name}" if name.model else name.engine


def _device(on: Resources) -> str:
    return on.device if on.device != "auto" else "cpu"


def reads_itself(voice: str, language: str, on: Resources) -> str:
    """Why `voice` cannot read `language` with sounds of its own; "" where it can."""
    try:
        found = voice_facts(voice, language, on)
    except OratureError as error:
        return error.what
    return f"it would read {language} with {found['fallback']}" if found["fallback"] else ""


def make_text(work: SpeechWork) -> Ref:
    """The text corpus: a ready one as it is, or the text cleaned, screened against dev and test, and cut to size."""
    settings = work.settings
    if len(settings.text) == 1 and (Path(settings.text[0]) / SUMMARY).is_file():
        return text_corpus_ref(Path(settings.text[0]))
    given = settings.text_options
    arguments = {name: given[name] for name in _TEXT_ARGUMENTS if name in given}
    stage = text_stage(
        [Path(text) for text in settings.text],
        language=work.language,
        corpora=[work.run.path_of(work.splits)],
        **arguments,
    )
    size = {"most": settings.sentences} if settings.sentences else {"most_hours": max(work.wanted_s, 1.0) / 3600}
    stage = stage.model_copy(update={"corpora": (work.splits,), "seed": work.seed, **size})
    fields = {name: value for name, value in given.items() if name not in _TEXT_ARGUMENTS}
    return work.run.do(override(stage, fields, "text_options."), on=_wide(work.on))


def _wide(on: Resources) -> Resources:
    """For stages of many small tasks: a process a core."""
    return on.model_copy(update={"workers": on.threads or usable_cores()})


def characters_a_second(run: Run, splits: Ref) -> float:
    """The pace of the train recordings."""
    letters, seconds = 0, 0.0
    for row in Corpus.open(run.path_of(splits)).split("train"):
        letters += len(row.text or "")
        seconds += row.audio.duration_s
    return letters / seconds if letters and seconds else CHARACTERS_A_SECOND


def readings_for(work: SpeechWork, text: TextCorpus) -> int:
    """How often each sentence is read: until the largest ratio has speech enough, as far as training can pass it."""
    if isinstance(work.settings.readings, int):
        return work.settings.readings
    once_s = float(text.summary()["characters"]) / characters_a_second(work.run, work.splits)
    wanted_s = min(work.wanted_s, max(work.settings.ratios) * work.real_s)
    return max(1, min(MOST_READINGS, math.ceil(wanted_s / max(once_s, 1e-3))))


def read_aloud(work: SpeechWork, text: Ref, *, split: str, readings: int = 1) -> Ref:
    """The text read by the voice in the acoustics of the train recordings; for "train" under the embargo.

    A voice without speakers of its own imitates those of the train recordings, from a pool of prompts, where it can.
    """
    with open_voice(work.settings.voice, device=_device(work.on), threads=work.on.threads) as opened:
        voice = voice_ref(work.settings.voice, opened)
        clones = opened.traits.prompts and opened.speakers(work.language) == [""]
    prompts = work.run.do(MakePrompts(corpus=work.splits, embargo=work.splits), on=work.on) if clones else None
    stage = Synthesise(
        text=text,
        voice=voice,
        language=work.language,
        target=work.splits,
        embargo=work.splits if split == "train" else None,
        prompts=prompts,
        readings=readings,
        split="dev" if split == "dev" else "train",
        seed=work.seed,
        reject_limit=MOST_UNSPOKEN,
    )
    return work.run.do(override(stage, work.settings.speech, "speech."), on=_wide(work.on))


def judge_voice(work: SpeechWork, speech: Speech) -> None:
    """Norm_I on sentences of dev that people and the voice read; the judge is the named one or the real-only model."""
    settings = work.settings
    probe_text = work.run.do(
        ProbeText(corpus=work.splits, language=work.language, most=settings.probes, seed=work.seed), on=work.on
    )
    sentences = len(TextCorpus.open(work.run.path_of(probe_text)))
    speech.probe = read_aloud(work, probe_text, split="dev", readings=times(settings.probes, sentences))
    speech.judgement = judged(
        work.run,
        speech.probe,
        work.splits,
        judge_of(work),
        synthetic_split="dev",
        reference_split="dev",
        metric=settings.metric,
        trained=work.trained,
        on=work.on,
    )
    found = read_judgement(work.run.path_of(speech.judgement))
    one = found["norm_i"]
    reach = "" if one["low"] is None else f" ({one['low']:.2f} to {one['high']:.2f})"
    for warning in found["warnings"]:
        say(f"judge: {warning}")
    work.said(f"Norm_I of {public_name(settings.voice)} is {one['value']:.2f}{reach}, judged by {found['judge']}")


def judge_of(work: SpeechWork) -> Ref:
    """The model that judges."""
    return work.trained if work.settings.judge is None else model_ref(work.settings.judge)


def calibrate_voice(work: SpeechWork, speech: Speech) -> None:
    """The threshold: the one that was given, or the one that small recognisers show on this language and these data.

    The voice as it is and worse versions of it are trained with at equal compute; see `recipes.calibrate`.
    """
    speech.threshold = work.settings.threshold
    if not work.settings.calibrate or speech.made is None:
        return
    from orature.recipes.calibrate import calibrate
    from orature.recipes.calibrate_settings import settings_from
    from orature.stages.calibration import read_calibration

    settings = settings_from({"language": work.language, **work.settings.calibration}, work.scale)
    speech.calibration = calibrate(
        work.run,
        work.splits,
        speech.made,
        judge_of(work),
        settings=settings,
        scale=work.scale,
        seed=work.seed,
        probe=speech.probe,
        on=work.on,
    )
    found = read_calibration(work.run.path_of(speech.calibration))
    speech.never = found["verdict"] == "never"
    if speech.threshold is None:
        speech.threshold = value_of(found["threshold"])
    work.said(f"calibration: {found['sentence']}")


def passes(work: SpeechWork, speech: Speech) -> bool:
    """The gate: below the known threshold only where that was asked for."""
    sentence = _against(work, speech)
    if not sentence:
        return True
    if work.settings.go_on:
        work.said(f"{sentence}; going on because that was asked for")
        return True
    speech.why_none = f"{sentence} (--set go_on=true trains with it nevertheless)"
    work.said(speech.why_none)
    return False


def _against(work: SpeechWork, speech: Speech) -> str:
    """What the threshold says against this voice; "" for nothing."""
    if speech.never:
        return "in the calibration speech of this voice helped at no quality"
    if speech.judgement is None or speech.threshold is None:
        return ""
    value = value_of(read_judgement(work.run.path_of(speech.judgement))["norm_i"])
    if value is None or value >= speech.threshold:
        return ""
    return f"Norm_I {value:.2f} lies below {speech.threshold:.2f}, from which synthetic speech helps here"


def keep(work: SpeechWork, made: Ref, judgement: Ref | None) -> Ref:
    """The utterances that are kept; see `BackTranslateConfig.filter`."""
    how = work.settings.filter
    if how == "none":
        return made
    if how == "auto":
        how = "judge" if _judge_knows(work, judgement) else "duration"
    bounds: dict[str, Any] = {"most_rejected": work.settings.most_rejected, "duration_deviations": ODD_DURATION}
    if how == "duration":
        return filtered(work.run, made, None, most_cer=None, on=work.on, **bounds)
    return filtered(work.run, made, judge_of(work), on=work.on, **bounds)


def _judge_knows(work: SpeechWork, judgement: Ref | None) -> bool:
    """Whether the judge errs so little on real speech that it can tell bad synthetic speech."""
    if judgement is None:
        return False
    rate = value_of(read_judgement(work.run.path_of(judgement)).get("cer_real"))
    good = rate is not None and rate <= JUDGE_KNOWS
    if not good and rate is not None:
        work.said(f"the judge gets {100 * rate:.0f} % of real characters wrong, so it does not filter utterances")
    return good
