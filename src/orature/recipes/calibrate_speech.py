"""Synthetic speech for a calibration: a text read by a voice, and sentences of dev read by it to be judged.

Example::

    made, probe = read_aloud(run, real, settings, hours=2.0, seed=1, on=resources)
"""

from __future__ import annotations

from pathlib import Path

from orature.core.errors import ConfigError
from orature.data.corpus import Corpus
from orature.flow import Ref, Resources, Run
from orature.recipes.calibrate_settings import CalibrateConfig
from orature.recipes.training import only_language
from orature.stages.inputs import text_corpus_ref, voice_ref
from orature.stages.probe_text import ProbeText
from orature.stages.synthesise import Synthesise
from orature.stages.text_corpus import text_stage
from orature.text.text_corpus import SUMMARY, TextCorpus

CHARACTERS_A_SECOND = 14.0
"""Of read speech, to guess how long a text takes."""
MOST_READINGS = 200


def read_aloud(
    run: Run, real: Ref, settings: CalibrateConfig, *, hours: float, seed: int, on: Resources
) -> tuple[Ref, Ref]:
    """Two corpora in the sound of the train recordings: the text (train, under the embargo), and sentences of dev.

    About `hours` of speech are made, of a small text by reading it often; ConfigError where the language is not known
    or the voice cannot read it.
    """
    language = settings.language or only_language(Corpus.open(run.path_of(real)))
    if not language:
        raise ConfigError(
            "the corpus does not say its language, and a voice must know it", next_step="name it: --lang sw (BCP-47)"
        )
    text = _text(run, real, settings, language, hours, seed, on)
    voice = voice_ref(settings.voice)
    stage = Synthesise(text=text, voice=voice, language=language, target=real, embargo=real, seed=seed)
    summary = TextCorpus.open(run.path_of(text)).summary()
    once_s = float(summary["characters"]) / CHARACTERS_A_SECOND
    made = run.do(stage.model_copy(update={"readings": times(3600 * hours, once_s)}), on=on)
    sentences = run.do(ProbeText(corpus=real, language=language, most=settings.probes, seed=seed), on=on)
    asked = Synthesise(text=sentences, voice=voice, language=language, target=real, seed=seed, split="dev")
    count = len(TextCorpus.open(run.path_of(sentences)))
    return made, run.do(asked.model_copy(update={"readings": times(settings.probes, count)}), on=on)


def times(wanted: float, once: float) -> int:
    """How often every sentence is read: a small closed text, such as digits, by many speakers and in many ways."""
    return max(1, min(MOST_READINGS, round(wanted / max(once, 1e-3))))


def _text(run: Run, real: Ref, settings: CalibrateConfig, language: str, hours: float, seed: int, on: Resources) -> Ref:
    """A ready text corpus as it is; a file is cleaned, screened against dev and test, and cut to the hours wanted."""
    source = Path(str(settings.text))
    if (source / SUMMARY).is_file():
        return text_corpus_ref(source)
    stage = text_stage([source], language=language, corpora=[run.path_of(real)], most_hours=hours, seed=seed)
    return run.do(stage, on=on)
