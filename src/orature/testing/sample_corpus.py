"""Makes a small corpus of SYNTHETIC speech, for demonstrations and tests. It says nothing about real recordings.

espeak-ng voices read short Swahili sentences of a closed grammar (some forty words): who, how many, do what, where,
when. Speakers and sentences are disjoint between train, dev and test, near-duplicates included, and the same seed
gives the same bytes. The result is a plain corpus folder, as a person would bring one.

Example::

    sample = make_sample_corpus(Path("sample"), seed=1)
    print(sample.corpus / "manifest.tsv", sample.unseen_clip, sample.unseen_text)
"""

from __future__ import annotations

import io
import json
import random
import wave
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from orature.core.errors import BadInput, WorkFailed
from orature.core.files import write_beside
from orature.core.identity import digest_json
from orature.core.progress import Progress
from orature.core.types import RATE_HZ, Refusal
from orature.data.audio import decode, save_flac, to_int16
from orature.engines.espeak import EspeakVoice, SpeakRequest
from orature.engines.voice import Speech
from orature.text.leaks import Embargoed, EmbargoIndex

VERSION = 1
LANGUAGE = "sw"
NOTICE = "This is synthetic speech, made by espeak-ng. Scores on it say nothing about recordings of people."

WHO = "watoto walimu wakulima wavuvi wageni wazee wanafunzi wapishi".split()
HOW_MANY = "wawili watatu wanne watano sita saba wanane tisa kumi".split()
DOES = "wanasoma wanauza wananunua wanaleta wanapenda wanatafuta waliona walipika".split()
WHAT = "kitabu samaki mkate maji chai ndizi mahindi nyumba ng'ombe".split()
WHERE = "sokoni shambani mjini nyumbani shuleni".split()
WHEN = "leo sasa asubuhi jioni".split()

SHAPES = (
    (WHO, DOES),
    (WHO, DOES, WHAT),
    (WHO, HOW_MANY, DOES),
    (WHO, DOES, WHERE, WHEN),
    (WHO, HOW_MANY, DOES, WHAT),
    (WHEN, WHO, HOW_MANY, DOES, WHAT),
    (WHO, HOW_MANY, DOES, WHAT, WHERE),
    (WHO, DOES, WHAT, WHERE, WHEN),
    (WHO, HOW_MANY, DOES, WHAT, WHERE, WHEN),
)
"""Sentences of two to six words; each place holds any word of its list."""

SPEAKERS = {
    "train": "m1 m3 m4 m6 m7 f1 f3 f4 Andy Annie Alex Mario anika edward linda steph".split(),
    "dev": "m8 f2 ian".split(),
    "test": "m2 f5 belinda robert".split(),
}
"""espeak-ng voice variants: each is one speaker, with a pitch and a speed of its own, in one split only."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Utterances a split (about two seconds each)."""

    train: int = 240
    dev: int = 60
    test: int = 160


@dataclass(frozen=True, slots=True)
class SampleCorpus:
    """Where it lies: a plain corpus folder, and one clip with its text that is in no split of it."""

    corpus: Path
    unseen_clip: Path
    unseen_text: str
    utterances: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Row:
    path: str
    sentence: str
    speaker: str
    split: str
    request: SpeakRequest


def sentence(draw: random.Random) -> str:
    """One random sentence of the grammar."""
    return " ".join(draw.choice(words) for words in draw.choice(SHAPES))


def sentences(draw: random.Random, sizes: Sizes) -> dict[str, list[str]]:
    """Distinct sentences a split, and one unseen; none is a near-duplicate of one in another split."""
    chosen: dict[str, list[str]] = {}
    for split, count in (("unseen", 1), ("test", sizes.test), ("dev", sizes.dev), ("train", sizes.train)):
        taken = [text for rows in chosen.values() for text in rows]
        mine: dict[str, None] = {}
        for text in _fresh(draw, taken):
            mine[text] = None
            if len(mine) == count:
                break
        chosen[split] = list(mine)
    return chosen


def _fresh(draw: random.Random, taken: list[str]) -> Iterator[str]:
    """Random sentences that do not breach an embargo on `taken`, until the grammar seems used up."""
    index = EmbargoIndex((Embargoed(str(number), "test", text) for number, text in enumerate(taken)), {})
    barren, given = 0, set()
    while barren < 20_000:
        text = sentence(draw)
        if text in given or index.sentence_breach(text):
            barren += 1
            continue
        given.add(text)
        yield text
    raise BadInput("the sample grammar has not that many sentences", next_step="ask for fewer utterances")


def make_sample_corpus(
    to: Path, *, seed: int = 1, sizes: Sizes = Sizes(), workers: int = 2, progress: bool = True
) -> SampleCorpus:
    """Writes the corpus to folder `to` (made beside it and renamed), or returns the one made there before.

    BadInput where `to` holds something else; MissingExtra without the voices.
    """
    spec = {"version": VERSION, "seed": seed, "sizes": asdict(sizes)}
    made = _made_before(to / "sample.json")
    if made.get("spec") == digest_json(spec):
        return _result(to, made)
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise BadInput(f"{to} holds something else", next_step="name a new or empty folder")
    with write_beside(to) as part:
        made = {"spec": digest_json(spec)} | _write(part, _rows(seed, sizes), workers, progress)
        (part / "sample.json").write_text(json.dumps(made, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return _result(to, made)


def _made_before(marker: Path) -> dict[str, object]:
    try:
        made = json.loads(marker.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return made if isinstance(made, dict) else {}


def _result(to: Path, made: dict[str, object]) -> SampleCorpus:
    return SampleCorpus(
        to / "corpus",
        to / "unseen" / "clip.flac",
        str(made["unseen_text"]),
        int(str(made["utterances"])),
        float(str(made["seconds"])),
    )


def _rows(seed: int, sizes: Sizes) -> list[_Row]:
    draw = random.Random(f"sample corpus {VERSION} {seed}")
    texts = sentences(draw, sizes)
    speakers = {name: (draw.randint(25, 75), draw.randint(130, 190)) for rows in SPEAKERS.values() for name in rows}
    rows = []
    for split, path in (("train", "audio/train"), ("dev", "audio/dev"), ("test", "audio/test"), ("unseen", "")):
        names = SPEAKERS["test" if split == "unseen" else split]
        for number, text in enumerate(texts[split]):
            name = names[number % len(names)]
            pitch, rate_wpm = speakers[name]
            request = SpeakRequest(
                text,
                f"{LANGUAGE}+{name}",
                rate_wpm=rate_wpm + draw.randint(-12, 12),
                pitch=pitch + draw.randint(-4, 4),
                range=draw.randint(35, 65),
            )
            file = f"{path}/{number:04d}.flac" if path else "clip.flac"
            rows.append(_Row(file, text, f"espeak-{name}", split, request))
    return rows


def _write(folder: Path, rows: list[_Row], workers: int, progress: bool) -> dict[str, object]:
    corpus, unseen = folder / "corpus", folder / "unseen"
    for place in (unseen, *(corpus / "audio" / split for split in SPEAKERS)):
        place.mkdir(parents=True)
    lines = ["path\tsentence\tspeaker\tlang\tsplit\tseconds\tlicence\torigin"]
    total_s, unseen_text = 0.0, ""
    bar = Progress("speaking the sample corpus", total=len(rows), unit="sentences") if progress else None
    with EspeakVoice(workers=workers) as voice:
        for first in range(0, len(rows), 32):
            batch = rows[first : first + 32]
            for row, speech in zip(batch, voice.speak([row.request for row in batch]), strict=True):
                seconds = _save((unseen if row.split == "unseen" else corpus) / row.path, speech, voice.rate_hz)
                if row.split == "unseen":
                    unseen_text = row.sentence
                    continue
                total_s += seconds
                cells = (row.path, row.sentence, row.speaker, LANGUAGE, row.split, f"{seconds:.3f}", "CC0-1.0")
                lines.append("\t".join((*cells, "synthetic")))
            if bar:
                bar.advance(len(batch))
        engine = voice.card.revision
    if bar:
        bar.close()
    (corpus / "manifest.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    (corpus / "README.md").write_text(f"# Sample corpus\n\n{NOTICE}\n\nSwahili, closed grammar. {engine}.\n", "utf-8")
    (unseen / "clip.txt").write_text(unseen_text + "\n", "utf-8")
    return {
        "notice": NOTICE,
        "engine": engine,
        "utterances": len(lines) - 1,
        "seconds": round(total_s, 3),
        "unseen_text": unseen_text,
    }


def _save(path: Path, speech: Speech | Refusal, rate_hz: int) -> float:
    """Writes 16 kHz mono FLAC and returns its length in seconds."""
    if isinstance(speech, Refusal):
        raise WorkFailed(
            f"a sentence of the sample corpus could not be spoken: {speech.detail}",
            where=str(path.name),
            next_step="run `orature doctor` to see whether the voices work here",
        )
    sound = io.BytesIO()
    with wave.open(sound, "wb") as stream:
        stream.setnchannels(1)
        stream.setsampwidth(2)
        stream.setframerate(rate_hz)
        stream.writeframes(to_int16(speech).astype("<i2").tobytes())
    samples = decode(sound.getvalue(), path.name)
    save_flac(path, samples)
    return len(samples) / RATE_HZ
