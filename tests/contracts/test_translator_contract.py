"""Every translator holds the contract; neural ones equal transformers' `generate`, in torch and in CTranslate2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from orature.engines.translator import TextSearch, TranslationRequest
from orature.engines.translators import open_translator
from orature.testing.checkpoints_translators import SENTENCES, m2m_folder, madlad_folder, marian_folder, nllb_folder
from orature.testing.translator_contract import check_alike, check_reference, check_translator

FAMILIES = ("marian", "marian-many", "m2m", "nllb", "madlad")
TAUGHT, HARDLY = 40, 14
TARGET = {"marian": "qu", "marian-many": "quz", "m2m": "sw", "nllb": "qu", "madlad": "qu"}
SEARCHES = (
    TextSearch(beams=1),
    TextSearch(beams=4, n_best=4),
    TextSearch(beams=3, n_best=2, length_penalty=0.3),
    TextSearch(beams=2, n_best=2, length_penalty=2.0, max_ratio=1.0),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("translators")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORATURE_CACHE", str(folder / "cache"))
        yield folder


def checkpoint(place: Path, family: str, updates: int) -> Path:
    """A folder of the family, made once for all tests; with few updates its choices are close."""
    folder = place / f"{family}-{updates}"
    if not folder.is_dir():
        options: dict[str, Any] = {"targets": ("quz", "swh")} if family == "marian-many" else {}
        makers = {"m2m": m2m_folder, "nllb": nllb_folder, "madlad": madlad_folder}
        makers.get(family, marian_folder)(folder, updates=updates, **options)
    return folder


def requests(family: str, count: int) -> list[TranslationRequest]:
    texts = [*SENTENCES[:count], "perro", "¿dónde está la casa de los niños?", " ".join(SENTENCES[:2])]
    return [TranslationRequest(text, "es", TARGET[family], seed=place) for place, text in enumerate(texts)]


@pytest.mark.parametrize("backend", ["torch", "ctranslate2"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_holds_the_contract(place: Path, family: str, backend: str) -> None:
    folder = checkpoint(place, family, TAUGHT)
    asked = [request for request in requests(family, 2) if 20 < len(request.text) < 40]
    check_translator(
        lambda: open_translator(str(folder), backend=backend, threads=2),
        asked,
        endless=(asked[0], TextSearch(beams=1, max_ratio=0.01)),
    )


@pytest.mark.parametrize("how", SEARCHES, ids=lambda how: f"{how.beams}-{how.n_best}-{how.length_penalty}")
@pytest.mark.parametrize("family", FAMILIES)
def test_both_backends_find_what_generate_finds(place: Path, family: str, how: TextSearch) -> None:
    torch.set_num_threads(1)
    folder = checkpoint(place, family, HARDLY)
    with open_translator(str(folder), backend="torch") as slow, open_translator(str(folder)) as quick:
        check_reference(folder, slow, requests(family, 3), how)
        check_alike(slow, quick, requests(family, 4), how)


def test_the_one_for_tests_holds_the_contract() -> None:
    asked = [TranslationRequest(text, "es", "qu", seed=3) for text in SENTENCES[:3]]
    endless = (TranslationRequest("an endless text", "en", "qu"), TextSearch())
    check_translator(lambda: open_translator("fake"), asked, endless=endless, any_language=True)


@pytest.mark.parametrize("direction", ["", "# source: es\n# target: qu\n"])
def test_a_word_list_holds_the_contract(tmp_path: Path, direction: str) -> None:
    path = tmp_path / "words.tsv"
    lines = "casa\twasi\ncasa\twasiku\nperro\tallku\ngrande\thatun\ngrande\tsumak\nduerme\tpuñun\n"
    path.write_text(direction + lines, encoding="utf-8")
    asked = [TranslationRequest(text, "es", "qu") for text in (SENTENCES[0], "Perro grande", "la CASA")]
    check_translator(lambda: open_translator(f"dictionary:{path}"), asked, any_language=not direction)
