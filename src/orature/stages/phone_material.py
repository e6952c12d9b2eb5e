"""What a base model is trained and judged on: phone text to be spoken, and real speech with espeak-ng's phones.

Example::

    material = PhoneMaterial.of(PhoneCorpus.open(folder), [Corpus.open(real)], dev_sentences=300)
    job.with_examples(*material.examples(vocabulary, dev_speakers))
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orature.core.errors import ConfigError
from orature.core.types import Refusal, Reject, Utterance
from orature.data.corpus import Corpus
from orature.engines.espeak_languages import Readings
from orature.engines.espeak_pipe import SILENT, EspeakPipe
from orature.engines.language_codes import codes_of
from orature.engines.phone_tokens import PhoneTokens
from orature.text.leaks import EmbargoIndex, refuse_breach
from orature.text.phone_corpus import PhoneCorpus, PhoneRow
from orature.text.phones import foreign_share, phones_of, simplified
from orature.train.examples import example_of
from orature.train.loader import Example
from orature.train.speech import Spoken

NO_VOICE, NO_TEXT = "no-voice", "text-empty"
RARE = 1e-5
MIXED = "und"
"""The language of a text read with the accent of another one, for the language head: none."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A recording with the phones that espeak-ng would say for its transcript."""

    utterance: Utterance
    phones: str
    neighbour: str = ""
    """Tag of the voice that read it, where that is not one of its own language."""


def labelled(
    utterances: Iterable[Utterance], espeak: EspeakPipe, *, neighbours: bool = False
) -> tuple[list[Labelled], list[Reject]]:
    """Phones for the transcripts that espeak-ng has a voice of their language for; why others have none.

    They are those of a reading by rule, not of what was said: fit to train on beside exact ones, and to compare models.
    With `neighbours` a language without a voice is read by the nearest one that the fallback table names.
    """
    readings = Readings(espeak.rows(), silent=SILENT)
    by_language: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in sorted(utterances, key=lambda row: row.id):
        by_language[utterance.language].append(utterance)
    kept: list[Labelled] = []
    rejects: list[Reject] = []
    for language, rows in sorted(by_language.items()):
        try:
            reading = readings.of(language)
        except ConfigError as error:
            rejects += [Reject(row.id, NO_VOICE, error.what) for row in rows]
            continue
        if reading.because and not neighbours:
            rejects += [Reject(row.id, NO_VOICE, reading.told) for row in rows]
            continue
        shown: list[Utterance] = []
        texts: list[str] = []
        for row in rows:
            try:
                texts.append(reading.shown(row.text or ""))
                shown.append(row)
            except ValueError as error:
                rejects.append(Reject(row.id, "spelt-out", str(error)))
        neighbour = reading.tag if reading.because else ""
        for row, ipa in zip(shown, espeak.phonemes_or_none(texts, reading.voice), strict=True):
            phones = phones_of(ipa or "", reading.voice) if row.text else Refusal(NO_TEXT, "no transcript")
            if not isinstance(phones, Refusal) and foreign_share(ipa or "", reading.tag) > 0.1:
                phones = Refusal("spelt-out", "espeak-ng would spell its letters")
            if isinstance(phones, Refusal):
                rejects.append(Reject(row.id, phones.reason, phones.detail))
            else:
                kept.append(Labelled(row, " ".join(phones), neighbour))
    return kept, rejects


@dataclass(frozen=True, slots=True)
class PhoneMaterial:
    """Rows to be spoken, real rows with phones, and what the model's card says of them."""

    corpus: PhoneCorpus
    train: list[PhoneRow]
    dev: list[PhoneRow]
    real: list[Labelled]
    rejects: list[Reject]
    languages: list[str]
    licences: list[str]

    @classmethod
    def of(
        cls, corpus: PhoneCorpus, real: Sequence[Corpus], dev_sentences: int, *, neighbours: bool = False
    ) -> PhoneMaterial:
        """Train rows, an even choice of `dev_sentences` dev rows, and the train splits of real corpora.

        LeakFound where a real row of train is one of their dev or test (law 5).
        """
        rows = [row for one in real for row in one.split("train")]
        index = EmbargoIndex.of(*(one.split(name) for one in real for name in ("dev", "test")))
        refuse_breach(rows, index)
        kept: list[Labelled] = []
        rejects: list[Reject] = []
        if rows:
            with EspeakPipe() as espeak:
                kept, rejects = labelled(rows, espeak, neighbours=neighbours)
        train, dev = list(corpus.rows("train")), list(corpus.rows("dev"))
        step = max(1, -(-len(dev) // dev_sentences))
        languages = {lid_language(row) for row in train} | {own_language(row) for row in kept}
        licences = {*corpus.summary()["licences"], *(row.utterance.licence for row in kept if row.utterance.licence)}
        return cls(corpus, train, dev[::step], kept, rejects, sorted(languages - {MIXED}), sorted(licences))

    @property
    def neighbours(self) -> dict[str, str]:
        """The voice by the language of real rows that a neighbour reads."""
        return {row.utterance.language: row.neighbour for row in self.real if row.neighbour}

    @property
    def phones(self) -> tuple[str, ...]:
        """The tokens: the phones of training in code point order.

        A phone with modifiers that makes up less than one in 100,000 is left to its simpler form.
        """
        counts = Counter(self.corpus.summary()["phones"])
        counts.update(phone for row in self.real for phone in row.phones.split())
        least = RARE * sum(counts.values())
        return tuple(sorted(phone for phone, n in counts.items() if n >= least or simplified(phone) == phone))

    def examples(self, vocabulary: PhoneTokens, dev_speakers: Sequence[str]) -> tuple[list[Example], list[Example]]:
        """Train and dev; each dev sentence is read by one of `dev_speakers`, who read nothing in training."""
        train = [self._spoken(row, vocabulary) for row in self.train]
        train += [_recorded(row, vocabulary) for row in self.real]
        return train, [self._spoken(row, vocabulary, speaker_of(row, dev_speakers)) for row in self.dev]

    def _spoken(self, row: PhoneRow, vocabulary: PhoneTokens, speaker: str | None = None) -> Example:
        return Example(
            id=row.id,
            path="",
            start_s=0.0,
            duration_s=self.corpus.seconds(row),
            text=row.phones,
            tokens=tuple(vocabulary.encode(row.phones)),
            language=lid_language(row),
            source="phone-text",
            origin="synthetic",
            spoken=Spoken(row.text, row.voice, speaker),
        )


def lid_language(row: PhoneRow) -> str:
    """What the language head is to say: the language of text and voice where they are one."""
    return MIXED if row.kind == "accent" else row.spoken.split("-")[0]


def own_language(row: Labelled) -> str:
    """The language of a recording by its shortest code, as the voices of espeak-ng have it (en for eng)."""
    return min(codes_of(row.utterance.language.split("-")[0]), key=len)


def speaker_of(row: PhoneRow, speakers: Sequence[str]) -> str:
    """One of the speakers, by the id of the row."""
    return speakers[int.from_bytes(hashlib.blake2b(row.id.encode(), digest_size=8).digest(), "little") % len(speakers)]


def _recorded(row: Labelled, vocabulary: PhoneTokens) -> Example:
    example = example_of(row.utterance, row.phones, vocabulary.encode(row.phones))
    name = f"real-{row.utterance.source}-{row.utterance.id}"
    return replace(example, id=name, language=own_language(row), origin="real")
