"""A tiny corpus that a micro model can learn something of: letters spoken as tones by speakers of different pitch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

TONES = {"a": 400.0, "b": 1100.0, "c": 2600.0, "ñ": 1800.0}


def tones(text: str, seed: int, pitch: float = 1.0) -> np.ndarray:
    """Samples (float32, 16 kHz) of `text`: 150 ms a letter, 50 ms between."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros(1600)]
    for letter in text.replace(" ", ""):
        times = np.arange(2400) / 16_000
        parts += [0.2 * np.sin(2 * np.pi * TONES[letter] * pitch * times), np.zeros(800)]
    samples = np.concatenate(parts)
    return (samples + 0.005 * rng.standard_normal(samples.size)).astype("f4")


def make_corpus(
    folder: Path, *, train: int = 24, held_out: int = 6, extra: str = "", seed: int = 11, language: str = "und"
) -> Path:
    """A plain folder with splits disjoint by speaker and sentence; `extra` lines go to the end of the manifest."""
    (folder / "audio").mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = ["path\tsentence\tspeaker\tlang\tsplit"]
    seen: set[str] = set()
    for split, count in (("train", train), ("dev", held_out), ("test", held_out)):
        for number in range(count):
            text = "".join(rng.choice(list("abc"), size=int(rng.integers(2, 5))))
            while text in seen:
                text = "".join(rng.choice(list("abc"), size=int(rng.integers(2, 6))))
            seen.add(text)
            name = f"audio/{split}{number:03d}.wav"
            speaker = f"{split}-{number % 3}"
            soundfile.write(folder / name, tones(text, seed * 1000 + len(lines), 0.9 + 0.1 * (number % 3)), 16_000)
            lines.append(f"{name}\t{text}\t{speaker}\t{language}\t{split}")
    (folder / "manifest.tsv").write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return folder
