"""What a corpus by itself says about a bad score: transcripts, scripts, case and sound, each as a `Finding`.

Example::

    findings = list(corpus_findings(Corpus.open(Path("corpus")), TextPolicy(), clips=50))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from orature.core.finding import Finding, Level
from orature.core.types import SPLITS
from orature.data.audio_quality import read_quality
from orature.data.corpus import Corpus
from orature.text.alphabet import TextPolicy, mixed_words, prepare
from orature.text.language import scripts

_MANY_EMPTY = 0.05
_NARROW = 0.5
_SOUND = (
    ("unreadable", "problem", "cannot be read any more", "the audio files were moved or damaged: orature ingest again"),
    ("quiet", "note", "are nearly silent", "listen to them; record them again, or leave them out"),
    ("clipped", "note", "are clipped", "record with less gain; a few do little harm"),
    ("shorter_than_half_a_second", "note", "are shorter than 0.5 s", "are they whole? words cut off cannot be read"),
    ("longer_than_30_seconds", "note", "are longer than 30 s", "training does best on clips of 2 to 20 s"),
)
_PACE = (
    ("fast", "hold over four times as many letters a second as usual", "does each transcript belong to its recording?"),
    (
        "slow",
        "hold under a quarter of the usual letters a second",
        "are transcripts cut off, or is there long silence?",
    ),
)


def corpus_findings(corpus: Corpus, policy: TextPolicy, *, clips: int) -> Iterator[Finding]:
    """Size and splits, transcripts, writing, sound (measured on `clips` recordings)."""
    yield _splits(corpus)
    yield from _texts(corpus, policy)
    yield from _sound(read_quality(corpus, clips))


def _splits(corpus: Corpus) -> Finding:
    summary = corpus.summary()
    parts = summary["splits"]
    shown = ", ".join(f"{part['utterances']} {name}" for name, part in parts.items())
    says = f"{summary['utterances']} utterances, {summary['hours']:.2f} h ({shown or 'nothing'})"
    if not summary["utterances"]:
        return Finding("corpus", "problem", f"{says}: it is empty", "orature ingest SOURCE --to CORPUS")
    missing = [name for name in SPLITS[:3] if name not in parts]
    if missing:
        step = "orature split CORPUS --to NEW"
        return Finding("corpus", "note", f"{says}; there is no {' or '.join(missing)}", step)
    return Finding("corpus", "ok", says)


def _texts(corpus: Corpus, policy: TextPolicy) -> Iterator[Finding]:
    labelled = 0
    empty: list[str] = []
    written = Counter[str]()
    cases = Counter[str]()
    for row in corpus:
        if row.split == "unlabelled":
            continue
        labelled += 1
        text = prepare(row.text or "", policy)
        if not text:
            empty.append(row.id)
        written.update(scripts(text))
        cases["upper" if text.isupper() else "other"] += 1
    if not labelled:
        yield Finding("transcripts", "problem", "no utterance is transcribed", "transcribe some: training needs text")
        return
    yield _empty(empty, labelled)
    yield from _writing(corpus, written)
    if policy.case == "keep" and cases["upper"] > 0.9 * labelled:
        step = "train with --set case=lower, the default"
        yield Finding("case", "note", "the transcripts are written in capitals", step)


def _empty(empty: list[str], labelled: int) -> Finding:
    if not empty:
        return Finding("transcripts", "ok", f"all {labelled} hold text")
    share = len(empty) / labelled
    level: Level = "problem" if share > _MANY_EMPTY else "note"
    says = f"{len(empty)} of {labelled} ({100 * share:.1f} %) are empty under the text policy ({', '.join(empty[:3])})"
    return Finding("transcripts", level, says, "transcribe these recordings, or leave them out of the manifest")


def _writing(corpus: Corpus, written: Counter[str]) -> Iterator[Finding]:
    total = sum(written.values())
    if not total:
        yield Finding("script", "problem", "the transcripts hold no letters", "is the column `sentence` the right one?")
        return
    shown = ", ".join(f"{name} {100 * count / total:.0f} %" for name, count in written.most_common(4))
    mixed = mixed_words((row.id, row.text) for row in corpus if row.text)
    if mixed:
        words = ", ".join(f"“{word.word}”" for word in mixed[:3])
        says = f"{shown}; {len(mixed)} words mix scripts, as {words}"
        yield Finding("script", "note", says, "mend their spelling: orature check CORPUS lists them")
    else:
        yield Finding("script", "ok", shown)


def _sound(quality: dict[str, Any]) -> Iterator[Finding]:
    well = True
    for name, level, words, step in _SOUND:
        found = quality[name]
        if found["count"]:
            well = False
            says = f"{found['count']} clips {words} ({', '.join(found['examples'][:3])})"
            yield Finding("sound", "problem" if level == "problem" else "note", says, step)
    for name, words, step in _PACE:
        found = quality["letters_per_second"][name]
        if found["count"]:
            well = False
            says = f"{found['count']} clips {words} ({', '.join(found['examples'][:3])})"
            yield Finding("speaking rate", "note", says, step)
    if quality["silence_share"] is not None and quality["silence_share"] > 0.5:
        well = False
        says = f"half of the clips are silent for more than {100 * quality['silence_share']:.0f} % of their time"
        yield Finding("silence", "note", says, "trim the recordings")
    if well:
        yield Finding("sound", "ok", f"level, length and pace of {quality['clips']} clips are as usual")
    yield from _band(quality)


def _band(quality: dict[str, Any]) -> Iterator[Finding]:
    band, measured = quality["bandwidth"], quality["measured"]
    if not measured:
        return
    says = f"speech up to {band['median_hz'] / 1000:.1f} kHz in {measured} measured clips"
    if band["narrow_share"] <= 0.05:
        yield Finding("bandwidth", "ok", says)
        return
    share = f"{100 * band['narrow_share']:.0f} % hold nothing above 4 kHz (telephone or 8 kHz recordings)"
    if band["narrow_share"] > _NARROW:
        step = "a model for it must be trained on such sound too, and reads studio sound worse"
    else:
        step = "two kinds of sound in one corpus: look at the scores of each source apart"
    yield Finding("bandwidth", "note", f"{says}; {share}", step)
