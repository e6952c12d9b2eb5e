"""A trained translator as a folder that transformers' MarianMT classes, CTranslate2 and our `marian:` engine read.

Example::

    for name, write in translator_files(model, text, facts, languages=("es", "qu")).items():
        write(folder / name)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from orature.engines.native_folder import write_json
from orature.engines.seq2seq_folder import model_files
from orature.engines.vocabulary import Files
from orature.train.text.architecture import POSITIONS
from orature.train.text.vocabulary import END, PAD, UNKNOWN, TranslatorText

FACTS = "orature.json"


def translator_files(
    model: Any, text: TranslatorText, facts: Mapping[str, str], *, languages: tuple[str, str]
) -> Files:
    """All files of a translator's folder, each with what writes it; they hold no date and no path."""
    files = model_files(model, {})
    files.pop("preprocessor_config.json")
    settings = {
        "tokenizer_class": "MarianTokenizer",
        "source_lang": languages[0],
        "target_lang": languages[1],
        "unk_token": UNKNOWN,
        "eos_token": END,
        "pad_token": PAD,
        "model_max_length": POSITIONS,
        "separate_vocabs": not text.shared,
    }
    files |= {
        "source.spm": _bytes(text.source.model),
        "target.spm": _bytes(text.target.model),
        "vocab.json": write_json(text.source.numbers),
        "tokenizer_config.json": write_json(settings),
        FACTS: write_json(dict(facts)),
    }
    if not text.shared:
        files["target_vocab.json"] = write_json(text.target.numbers)
    return files


def _bytes(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write
