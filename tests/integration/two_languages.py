"""Two toy languages of tones: the same alphabet of sounds, other letters, other speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from tests.integration.tones import tones

LETTERS = {"qu": "abc", "sw": "cñ"}


def make_language(folder: Path, language: str, *, train: int = 16, held_out: int = 8, column: str = "") -> Path:
    """A plain folder with splits disjoint by speaker and sentence; `column` overrides what the rows say of language."""
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(len(language) + ord(language[0]))
    lines = ["path\tsentence\tspeaker\tlang\tsplit"]
    seen: set[str] = set()
    for split, count in (("train", train), ("dev", held_out), ("test", held_out)):
        for number in range(count):
            text = ""
            while not text or text in seen:
                text = "".join(rng.choice(list(LETTERS[language]), size=int(rng.integers(3, 6))))
            seen.add(text)
            name = f"audio/{split}{number:03d}.wav"
            soundfile.write(folder / name, tones(text, len(lines), 0.9 + 0.1 * (number % 3)), 16_000)
            lines.append(f"{name}\t{text}\t{split}-{number % 3}\t{column or language}\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
