"""From the utterances of a corpus to training examples: text by policy, tokens, and a reason for each one left out.

Example::

    examples, rejects = examples_of(corpus.split("train"), policy, vocabulary)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orature.core.types import Reject, Utterance
from orature.engines.vocabulary import Vocabulary
from orature.text.alphabet import TextPolicy, prepare
from orature.text.normalise import TURKIC, normaliser_for
from orature.train.config import TrainConfig
from orature.train.loader import Example
from orature.train.mixing import Role

SPACE = " "


def policy_of(config: TrainConfig, language: str) -> TextPolicy:
    """The text policy of a run in `language` (BCP-47; Turkic languages lower I to ı)."""
    turkic = normaliser_for(language) == TURKIC
    return TextPolicy(case=config.case, punctuation=config.punctuation, turkic=turkic)


def texts_of(utterances: Iterable[Utterance], policy: TextPolicy) -> list[str]:
    """The prepared transcripts, and the space: what a vocabulary is made from."""
    return [SPACE, *(prepare(u.text, policy) for u in utterances if u.text)]


def examples_of(
    utterances: Iterable[Utterance], policy: TextPolicy, vocabulary: Vocabulary, role: Role = "target"
) -> tuple[list[Example], list[Reject]]:
    """One example an utterance with a transcript, in the order of their ids; the others are rejected with a reason.

    Silence that was labelled as such (origin "pseudo", the text "") is an example without tokens.
    """
    examples: list[Example] = []
    rejects: list[Reject] = []
    for utterance in sorted(utterances, key=lambda row: row.id):
        text = prepare(utterance.text or "", policy)
        if not text and not is_labelled_silence(utterance):
            detail = "no letters are left" if utterance.text else "no transcript"
            rejects.append(Reject(utterance.id, "text-empty", f"{detail} under the text policy"))
            continue
        examples.append(example_of(utterance, text, vocabulary.encode(text), role))
    return examples, rejects


def example_of(utterance: Utterance, text: str, tokens: Sequence[int], role: Role = "target") -> Example:
    """An utterance with this text as an example."""
    span = utterance.audio
    return Example(
        id=utterance.id,
        path=span.path,
        start_s=span.start_s,
        duration_s=span.duration_s,
        text=text,
        tokens=tuple(tokens),
        language=utterance.language,
        source=utterance.source,
        origin=utterance.origin,
        role=role,
    )


def is_labelled_silence(utterance: Utterance) -> bool:
    """A recording in which a recogniser rightly heard nothing: training on it teaches a model to stay silent."""
    return utterance.origin == "pseudo" and utterance.text == ""
