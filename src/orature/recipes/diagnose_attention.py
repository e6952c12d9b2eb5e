"""The doctor on models without CTC (Whisper and its like, transducers): does it load, and what does it hear?

Example::

    if is_attention_model(folder):
        findings = list(attention_findings(folder, corpus, clips=16))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from orature.core.errors import AudioError, ModelError
from orature.core.finding import Finding
from orature.core.types import Hypothesis, Utterance
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.engines.protocol import Recogniser
from orature.engines.recognisers import load_recogniser
from orature.recipes.diagnose_corpus import corpus_findings
from orature.recipes.diagnose_pair import Heard, choose_rows, heard_findings
from orature.text.alphabet import TextPolicy, prepare
from orature.text.normalise import normalise


def is_attention_model(folder: Path) -> bool:
    """Whether a folder holds a model of a known family that gives no CTC probabilities."""
    try:
        return family_of(folder).kind != "ctc"
    except ModelError:
        return False


def attention_findings(folder: Path, corpus: Corpus | None, *, clips: int, device: str = "cpu") -> Iterator[Finding]:
    """Whether the model loads, what is wrong with the corpus, and how `clips` utterances are heard."""
    recogniser: Recogniser | None = None
    try:
        recogniser = load_recogniser(folder, device=device)
        card = recogniser.card
    except ModelError as error:
        yield Finding("model", "problem", f"cannot be loaded: {error.what}", error.next_step)
    else:
        languages = ", ".join(card.languages) or "unknown language"
        yield Finding("model", "ok", f"loads: {card.name} ({card.family}), {languages}, licence {card.licence}")
    if corpus is None:
        return
    policy = TextPolicy(case="lower", punctuation="strip")
    yield from corpus_findings(corpus, policy, clips=max(clips, 50))
    if recogniser is None:
        return
    rows = choose_rows(corpus, policy, clips)
    if rows:
        yield from heard_findings(_hear(recogniser, policy, rows), None)


def _hear(recogniser: Recogniser, policy: TextPolicy, rows: Sequence[Utterance]) -> list[Heard]:
    """What is heard in those of `rows` that can be read; there are no blanks to count."""
    done = []
    for row in rows:
        try:
            samples = load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        except AudioError:
            continue
        outcome = recogniser.transcribe([samples])[0]
        if isinstance(outcome, Hypothesis):
            done.append(Heard(row.id, prepare(row.text or "", policy), normalise(outcome.text), 0.0))
    return done
