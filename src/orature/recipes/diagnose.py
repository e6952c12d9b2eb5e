"""Why is my WER 100 %? A model, a corpus, or both together are looked at; each answer is a `Finding` with a next step.

The usual causes, in the order in which they are looked for: a model that never learnt (its dev CER, its weights), texts
in another script or case than the model writes, transcripts too long for their recordings, odd audio, and a decoding of
a few utterances that shows blanks everywhere, the same words for everything, or text of the wrong length.

Example::

    for finding in diagnose(Path("my_model/model"), Path("corpus"), clips=16):
        print(finding.level, finding.what, finding.says)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from orature.core.errors import ModelError
from orature.core.finding import Finding, Level
from orature.data.corpus import Corpus
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.recognisers import load_ctc
from orature.engines.vocabulary import letters_of
from orature.recipes.diagnose_attention import attention_findings, is_attention_model
from orature.recipes.diagnose_corpus import corpus_findings
from orature.recipes.diagnose_pair import pair_findings
from orature.stages.model_folder import training_of
from orature.text.alphabet import TextPolicy, describe, prepare
from orature.text.language import scripts

GOOD_CER, POOR_CER = 0.3, 0.8
_TRAIN_LONGER = "train longer (--scale dev or full, --set updates=...) or on more speech"


@dataclass(frozen=True, slots=True)
class Patient:
    """A model that loads, with what its folder says about its training ({} where it says nothing)."""

    recogniser: CtcRecogniser
    training: dict[str, Any]
    policy: TextPolicy


def diagnose(
    model: Path | None = None, corpus: Path | None = None, *, clips: int = 16, device: str = "cpu"
) -> Iterator[Finding]:
    """Findings on a model folder, a corpus folder, or both; `clips` utterances are decoded.

    A folder that is no model or corpus at all is a ModelError or CorpusError; a broken one is a finding.
    """
    opened = Corpus.open(corpus) if corpus is not None else None
    if model is not None and is_attention_model(model):
        yield from attention_findings(model, opened, clips=clips, device=device)
        return
    patient: Patient | None = None
    if model is not None:
        loaded = open_patient(model, device)
        if isinstance(loaded, Finding):
            yield loaded
        else:
            patient = loaded
            yield from model_findings(patient)
    if opened is None:
        return
    yield from corpus_findings(opened, patient.policy if patient else TextPolicy(), clips=max(clips, 50))
    if patient is not None:
        dev_cer = patient.training.get("dev", {}).get("cer")
        yield from pair_findings(patient.recogniser, patient.policy, opened, clips=clips, dev_cer=dev_cer)


def open_patient(folder: Path, device: str = "cpu") -> Patient | Finding:
    """The model, or the finding that says why it cannot be loaded; ModelError where there is no model at all."""
    if not (folder / "config.json").exists():
        inner = folder / "model"
        hint = f"name {inner}" if (inner / "config.json").is_file() else "name a model folder made by `orature train`"
        raise ModelError("this is no model folder (no config.json)", where=str(folder), next_step=hint)
    try:
        recogniser = load_ctc(folder, device=device)
    except ModelError as error:
        return Finding(
            "model",
            "problem",
            f"cannot be loaded: {error.what}",
            error.next_step,
        )
    training = training_of(folder)
    try:
        policy = TextPolicy.from_json(training["text_policy"]) if "text_policy" in training else TextPolicy()
    except (KeyError, TypeError, ValueError):
        policy = TextPolicy()
    return Patient(recogniser, training, policy)


def model_findings(patient: Patient) -> Iterator[Finding]:
    """Weights, vocabulary, text policy and what training said on its way."""
    card = patient.recogniser.card
    languages = ", ".join(card.languages) or "unknown language"
    yield _weights(patient.recogniser, f"{card.name}, {languages}")
    yield _vocabulary(patient)
    yield _policy(patient)
    yield _dev(patient.training)
    yield from _guards(patient.training)


def _weights(recogniser: CtcRecogniser, name: str) -> Finding:
    weights = recogniser.network.state_dict()
    broken = [layer for layer, value in weights.items() if not bool(value.isfinite().all())]
    if broken:
        says = f"{name}: {len(broken)} of {len(weights)} weights hold values that are not numbers ({broken[0]})"
        return Finding("model", "problem", says, "the training diverged: train again with --set peak_lr=0.0005")
    count = sum(value.numel() for value in weights.values())
    steps = round(1000 * recogniser.step_s)
    return Finding("model", "ok", f"loads: {name}, {count / 1e6:.1f} M parameters, {steps} ms steps")


def _vocabulary(patient: Patient) -> Finding:
    letters = letters_of(patient.recogniser.vocabulary)
    sounds = [letter for letter in letters if category(letter)[0] in "LMN"]
    if not sounds:
        says = f"its {len(letters)} characters hold no letter"
        return Finding("vocabulary", "problem", says, "look at the transcripts that it was trained on: orature check")
    odd = [letter for letter in letters if category(letter)[0] == "C"]
    mixed = sorted(scripts("".join(sounds)))
    says = f"{len(letters)} characters of {', '.join(mixed) or 'no script'}: {''.join(letters).strip()}"
    if odd:
        named = ", ".join(map(describe, odd[:3]))
        return Finding("vocabulary", "note", f"{says}; control characters in it ({named})", "mend the transcripts")
    both = sorted(letter for letter in letters if letter != letter.lower() and letter.lower() in letters)
    if both:
        shown = " ".join(both[:8])
        step = "with little speech, --set case=lower gives each letter more examples"
        return Finding("vocabulary", "note", f"{says}; upper and lower case are learnt apart ({shown} ...)", step)
    return Finding("vocabulary", "ok", says)


def _policy(patient: Patient) -> Finding:
    if "text_policy" not in patient.training:
        step = "compare as written; train with this version to have it recorded"
        return Finding("text policy", "note", "the folder does not say how its transcripts were prepared", step)
    policy, letters = patient.policy, letters_of(patient.recogniser.vocabulary)
    case = "kept as written" if policy.case == "keep" else "lowered"
    says = f"case {case}, punctuation {'kept' if policy.punctuation == 'keep' else 'stripped'}"
    against = [
        letter for letter in letters if letter.strip() and prepare(letter, policy) != letter and letter.isalpha()
    ]
    if against:
        shown = " ".join(against[:8])
        step = "was vocab.json replaced? copy the whole model folder again"
        return Finding("text policy", "problem", f"{says}, but the alphabet holds {shown}", step)
    return Finding("text policy", "ok", says)


def _dev(training: dict[str, Any]) -> Finding:
    dev = training.get("dev")
    cer = dev.get("cer") if isinstance(dev, dict) else None
    if not isinstance(cer, int | float):
        return Finding("dev CER", "note", "the folder does not say how it did on dev", "orature evaluate MODEL CORPUS")
    level: Level = "ok" if cer < GOOD_CER else "note" if cer < POOR_CER else "problem"
    hours = training.get("train_hours")
    heard = f" on {60 * hours:.0f} minutes of speech" if isinstance(hours, int | float) else ""
    says = f"{100 * cer:.1f} % after {training.get('updates')} updates{heard}"
    if level == "problem":
        says += ": it never learnt to read speech, so no corpus will come out right"
    return Finding("dev CER", level, says, "" if level == "ok" else _TRAIN_LONGER)


def _guards(training: dict[str, Any]) -> Iterator[Finding]:
    found = training.get("guards")
    if not isinstance(found, dict):
        return
    outside = found.get("characters_outside") or {}
    if outside:
        shown = " ".join(list(outside)[:12])
        yield Finding("dev alphabet", "note", f"dev held characters that train never showed: {shown}", "orature check")
    cer = found.get("overfit_cer")
    if cer is None:
        yield Finding("learning by heart", "note", "not tried before training", "leave --set overfit_clips=0 out")
    else:
        yield Finding("learning by heart", "ok", f"a few clips were learnt to {100 * cer:.0f} % CER before training")
