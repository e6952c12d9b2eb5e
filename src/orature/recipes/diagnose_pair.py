"""How a corpus fits a model: language, alphabet, script, case, frames for the labels, and what is really decoded.

Example::

    findings = list(pair_findings(load_ctc(folder), TextPolicy(case="lower"), corpus, clips=16, dev_cer=0.12))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orature.core.errors import AudioError
from orature.core.finding import Finding, Level
from orature.core.types import Refusal, Utterance
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.engines.ctc_decode import decode
from orature.engines.ctc_recogniser import CtcRecogniser
from orature.engines.vocabulary import CtcVocabulary, letters_of
from orature.evaluate.alignment import align_characters
from orature.text.alphabet import TextPolicy, describe, prepare
from orature.text.language import scripts
from orature.train.examples import examples_of
from orature.train.guards import ALLOWED_INFEASIBLE, ALLOWED_OUTSIDE, HOPELESS, infeasible

BLANKS = 0.98
GOOD_CER, POOR_CER = 0.3, 0.8
_LONGEST_S = 30.0


def pair_findings(
    recogniser: CtcRecogniser, policy: TextPolicy, corpus: Corpus, *, clips: int, dev_cer: float | None
) -> Iterator[Finding]:
    """Everything that can be said of model and corpus together; `clips` utterances are decoded."""
    yield from _language(recogniser, corpus)
    yield from _alphabet(recogniser.vocabulary, policy, corpus)
    yield _feasibility(recogniser, policy, corpus)
    rows = choose_rows(corpus, policy, clips)
    if rows:
        yield from heard_findings(hear(recogniser, policy, rows), dev_cer)


def _language(recogniser: CtcRecogniser, corpus: Corpus) -> Iterator[Finding]:
    known = {tag.split("-")[0] for tag in recogniser.card.languages} - {"und"}
    here = {tag.split("-")[0] for tag in corpus.summary()["languages"]} - {"und"}
    if known and here and not known & here:
        says = f"the corpus is in {', '.join(sorted(here))}, the model was trained on {', '.join(sorted(known))}"
        yield Finding("language", "note", says, "train on this language; another one is read only by luck")


@dataclass(frozen=True, slots=True)
class _Outside:
    """Characters of the corpus that the model cannot write, with how often they stand there."""

    counts: Counter[str]
    total: int
    written: Counter[str]
    uppercase: int

    @property
    def lost(self) -> int:
        return sum(self.counts.values())


def _alphabet(vocabulary: CtcVocabulary, policy: TextPolicy, corpus: Corpus) -> Iterator[Finding]:
    found = _outside(vocabulary, policy, corpus)
    if not found.total:
        return
    share = found.lost / found.total
    mine, theirs = set(scripts("".join(letters_of(vocabulary)))), found.written
    most = theirs.most_common(1)[0][0] if theirs else ""
    if mine and most and most not in mine:
        says = f"the corpus is written in {most}, the model writes {', '.join(sorted(mine))}: every word will be wrong"
        yield Finding(
            "script match", "problem", says, "train on texts of this script, or convert the transcripts to it"
        )
    if found.uppercase > 0.5 * found.lost and share > 0.01:
        says = f"{found.uppercase} letters of the corpus are known to the model in the other case only"
        step = "bring the transcripts to the case of the training texts, or train with --set case=lower"
        yield Finding("case match", "problem" if share > ALLOWED_OUTSIDE else "note", says, step)
    if not found.counts:
        yield Finding("alphabet", "ok", f"all {found.total} characters of the transcripts are in the model's alphabet")
        return
    shown = ", ".join(f"{letter} ({describe(letter)}) {n} times" for letter, n in found.counts.most_common(5))
    says = f"{100 * share:.2g} % of the characters are outside the model's alphabet: {shown}"
    level: Level = "problem" if share > ALLOWED_OUTSIDE else "note"
    yield Finding(
        "alphabet", level, says, "each is an error for certain: respell them, or train on texts that hold them"
    )


def _outside(vocabulary: CtcVocabulary, policy: TextPolicy, corpus: Corpus) -> _Outside:
    letters = set(letters_of(vocabulary))
    written = Counter[str]()
    all_of = Counter[str]()
    for row in corpus:
        text = prepare(row.text or "", policy)
        all_of.update(text)
        written.update(scripts(text))
    counts = Counter({letter: n for letter, n in all_of.items() if letter not in letters})
    other = sum(n for letter, n in counts.items() if {letter.lower(), letter.upper()} & letters)
    return _Outside(counts, all_of.total(), written, other)


def _feasibility(recogniser: CtcRecogniser, policy: TextPolicy, corpus: Corpus) -> Finding:
    """CTC writes at most one character a step: recordings too short for their texts cannot be learnt or read."""
    step_ms = 1000 * recogniser.step_s
    examples, _ = examples_of((row for row in corpus if row.split != "unlabelled"), policy, recogniser.vocabulary)
    short = infeasible(examples, recogniser.network.steps, step_ms)
    share = len(short) / max(1, len(examples))
    says = f"{len(short)} of {len(examples)} transcripts need more steps than their recordings give"
    if not short:
        return Finding("frames for labels", "ok", says.replace("0 of", "none of", 1) + f" ({step_ms:.0f} ms each)")
    level: Level = "problem" if share > HOPELESS else "note"
    if share > ALLOWED_INFEASIBLE and step_ms > 20:
        step = "train with --set subsampling=2; check that the transcripts belong to their recordings"
    else:
        step = "check that these transcripts belong to their recordings"
    return Finding("frames for labels", level, f"{says} (as {short[0].id}: {short[0].detail})", step)


def choose_rows(corpus: Corpus, policy: TextPolicy, clips: int) -> list[Utterance]:
    """`clips` transcribed utterances spread evenly over test, else dev, else everything; none over 30 s."""
    for part in (corpus.split("test"), corpus.split("dev"), corpus):
        rows = [row for row in part if prepare(row.text or "", policy) and row.audio.duration_s <= _LONGEST_S]
        if rows and clips:
            rows.sort(key=lambda row: row.id)
            step = max(1, len(rows) // clips)
            return rows[::step][:clips]
    return []


@dataclass(frozen=True, slots=True)
class Heard:
    """One decoded utterance: what is said (under the text policy), what was heard, and its share of blank steps."""

    id: str
    said: str
    heard: str
    blank_share: float


def hear(recogniser: CtcRecogniser, policy: TextPolicy, rows: Sequence[Utterance]) -> list[Heard]:
    """Decodes `rows`; those that cannot be read are left out (the corpus findings count them)."""
    readable, recordings = [], []
    for row in rows:
        try:
            recordings.append(load(row.audio.path, row.audio.start_s, row.audio.duration_s))
        except AudioError:
            continue
        readable.append(row)
    done = []
    for row, log_TV in zip(readable, recogniser.log_probabilities(recordings), strict=True):
        if isinstance(log_TV, Refusal):
            continue
        heard = decode(log_TV, recogniser.vocabulary, step_s=recogniser.step_s).text
        blanks = float((log_TV.argmax(axis=1) == recogniser.vocabulary.blank).mean()) if len(log_TV) else 1.0
        done.append(Heard(row.id, prepare(row.text or "", policy), heard, blanks))
    return done


def heard_findings(heard: Sequence[Heard], dev_cer: float | None) -> Iterator[Finding]:
    """Blanks, empty and repeated hypotheses, lengths, CER of a decoded handful."""
    if not heard:
        yield Finding("decoding", "problem", "none of the chosen recordings could be read", "orature check CORPUS")
        return
    yield from _blanks(heard)
    empty = sum(not one.heard for one in heard)
    if empty == len(heard):
        return
    said, written = sum(len(one.said) for one in heard), sum(len(one.heard) for one in heard)
    same = Counter(one.heard for one in heard if one.heard).most_common(1)[0]
    if len({one.said for one in heard}) > 3 and same[1] > 0.5 * len(heard):
        says = f"{same[1]} of {len(heard)} utterances are all heard as “{same[0][:40]}”"
        step = "it has not learnt to listen: train longer, or lower the learning rate (--set peak_lr=0.0005)"
        yield Finding("variety", "problem", says, step)
    ratio = written / max(1, said)
    level: Level = "ok" if 0.7 <= ratio <= 1.4 else "note"
    step = "" if level == "ok" else "too short: it was trained too little; too long: does the text belong to the audio?"
    yield Finding("length of text", level, f"{ratio:.2f} characters are written for each one said", step)
    yield _cer(heard, dev_cer)


def _blanks(heard: Sequence[Heard]) -> Iterator[Finding]:
    empty = sum(not one.heard for one in heard)
    share = sum(one.blank_share for one in heard) / len(heard)
    says = f"{100 * share:.0f} % of the steps are blank, {empty} of {len(heard)} hypotheses are empty"
    if empty > 0.5 * len(heard) or share > BLANKS:
        step = (
            "CTC begins with blanks everywhere, so first more updates (--set updates=...); then a lower learning rate "
            "(--set peak_lr=0.0005) and less masking (--set augment.time_masks=0)"
        )
        yield Finding("blanks", "problem", says, step)
    else:
        step = "listen to those that came out empty" if empty else ""
        yield Finding("blanks", "note" if empty else "ok", says, step)


def _cer(heard: Sequence[Heard], dev_cer: float | None) -> Finding:
    counts = [align_characters(one.said, one.heard).counts for one in heard]
    cer = sum(one.errors for one in counts) / max(1, sum(one.reference for one in counts))
    example = max(heard, key=lambda one: (min(len(one.said), 60), one.id))
    says = f"{100 * cer:.0f} % on {len(heard)} utterances, as {example.id}: “{example.said}” heard as “{example.heard}”"
    level: Level = "ok" if cer < GOOD_CER else "note" if cer < POOR_CER else "problem"
    if level == "ok":
        return Finding("CER", level, says)
    if dev_cer is not None and cer > 2 * dev_cer and cer > dev_cer + 0.2:
        says += f"; on dev it was {100 * dev_cer:.0f} %"
        step = "these recordings are unlike the training ones (speakers, sound, words): add such speech to training"
    else:
        step = "train longer (--scale dev or full) or on more speech"
    return Finding("CER", level, says, step)
