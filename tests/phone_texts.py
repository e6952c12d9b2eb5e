"""Made-up sentences of known words in three languages, one of another script, as a folder of LANG.txt files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

WORDS = {
    "sw": "habari asubuhi watoto wanasoma kitabu nyumbani mwalimu chakula safari kubwa nzuri jioni maji mlima".split(),
    "it": "casa libro strada grande bella mattina bambini leggono acqua monte sera viaggio scuola".split(),
    "el": "σπίτι βιβλίο δρόμος μεγάλος όμορφη πρωί παιδιά διαβάζουν νερό βουνό βράδυ ταξίδι σχολείο".split(),
}


def texts_in(root: Path) -> Path:
    """30 sentences a language; each file ends with a line that is too short and one that is there twice."""
    root.mkdir()
    rng = np.random.default_rng(3)
    for language, words in WORDS.items():
        lines = [" ".join(rng.choice(words, size=int(rng.integers(4, 12)))) for _ in range(30)]
        (root / f"{language}.txt").write_text("\n".join([*lines, "ok", lines[0]]) + "\n", encoding="utf-8")
    return root
