"""Labels so many hours of speech with a micro model, as `orature label` does, and says how much memory that took.

The corpus names short recordings again and again, each time from another tenth of a second on, so that a hundred hours
need no disk; each row has an id and a digest of its own, as a hundred hours of different recordings would. A hundred
labelled rows of train, one of dev and one of test give the filters their bounds.

Example::

    python memory.py 100 2 CORPORA SCRATCH     # run.py --memory calls it: hours, workers
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from arms import UNMET, peak_mb

from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import save_corpus
from orature.engines.characters import BLANK, Characters
from orature.engines.conformer import ConformerConfig, ConformerCtc
from orature.engines.families import families
from orature.engines.recognisers import save_model
from orature.flow import Resources, Run, open_store
from orature.recipes.labelling import labelled, read_account
from orature.stages.inputs import corpus_ref, model_ref

POOL_MINUTES, SHIFT_S, SHIFTS = 10.0, 0.1, 5
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SHAPE = {"width": 32, "layers": 1, "heads": 2, "front_channels": 4}


def model_in(folder: Path) -> Path:
    """A Conformer of one small layer with drawn weights, which writes many letters."""
    torch.manual_seed(3)
    characters = Characters.of([" ", LETTERS])
    model = ConformerCtc(ConformerConfig(vocabulary=len(characters), **SHAPE))
    with torch.no_grad():
        model.head.weight *= 4
        model.head.bias[BLANK] += 2.0
    facts = {"name": "micro", "family": "conformer", "languages": "und"}
    save_model(folder, families()["orature-conformer-ctc"], model, characters, facts)
    return folder


def corpus_of(folder: Path, hours: float, clips: list[tuple[str, float]]) -> int:
    """Writes the corpus and returns its number of untranscribed rows."""
    count = 0

    def rows() -> Iterator[Utterance]:
        nonlocal count
        words = [LETTERS[n % 24 : n % 24 + 3] + LETTERS[n * 7 % 23 : n * 7 % 23 + 2] for n in range(60)]
        for number in range(102):
            text = " ".join(words[(number * 5 + place * 11 + number // 12) % 60] for place in range(4))
            path, seconds = clips[number % len(clips)]
            split = "train" if number < 100 else ("dev", "test")[number - 100]
            yield row_of(f"t{number:03}", path, 0.0, seconds, split, text if split == "train" else f"{split} zz qq")
        seconds = 0.0
        while seconds < 3600 * hours:
            path, length = clips[count % len(clips)]
            start = SHIFT_S * (count // len(clips) % SHIFTS)
            yield row_of(f"u{count:07}", path, start, length - start, "unlabelled", None)
            seconds += length - start
            count += 1

    folder.mkdir()
    save_corpus(lambda name: write_beside(folder / name), rows(), [])
    return count


def row_of(name: str, path: str, start_s: float, seconds: float, split: str, text: str | None) -> Utterance:
    digest = hashlib.sha256(name.encode()).hexdigest()
    span = AudioSpan(path, start_s, round(seconds, 4), digest)
    return Utterance(name, span, text, speaker=f"s{digest[:2]}", source="pool", split=split)  # type: ignore[arg-type]


def main() -> None:
    hours, workers, place = float(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[4])
    clips = pool(Path(sys.argv[3]), place / "pool")
    corpus = place / f"corpus-{hours:g}"
    rows = corpus_of(corpus, hours, clips)
    model = place / "micro"
    if not model.is_dir():
        model_in(model)
    with tempfile.TemporaryDirectory(dir=place) as store:
        run = Run(open_store(Path(store)), recipe="benchmark", command="")
        on = Resources(workers=workers, device="cpu", threads=1, progress=False)
        began = time.perf_counter()
        filters = dict.fromkeys(UNMET, "none") | {"most_same": 5}
        made = labelled(run, corpus_ref(corpus), model_ref(model), filters=filters, on=on)
        seconds = time.perf_counter() - began
        account = read_account(run.path_of(made))
    facts = {"hours": hours, "rows": rows, "kept": account["kept"], "rejected": account["rejected"]}
    print(json.dumps(facts | {"seconds": round(seconds, 2), "peak_mb": peak_mb()}))


def pool(corpora: Path, folder: Path) -> list[tuple[str, float]]:
    """Recordings of 1 to 15 s, made by the first process and found by the next."""
    from speech import clips_of

    listed = folder / "clips.json"
    if not listed.is_file():
        clips = [(one.path, one.seconds) for one in clips_of(corpora, POOL_MINUTES, folder) if 1 < one.seconds < 15]
        listed.write_text(json.dumps(clips), encoding="utf-8")
    return [(path, seconds) for path, seconds in json.loads(listed.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    main()
