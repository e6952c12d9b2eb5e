"""Checkpoints of translators: what is refused, what is kept, and how a folder says what it is."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from orature.core.errors import ConfigError, ModelError
from orature.core.types import Refusal
from orature.engines import ctranslate2_translator
from orature.engines.t5_translator import T5Vocabulary
from orature.engines.translator import TextSearch, TranslationRequest
from orature.engines.translators import open_translator, translator_files
from orature.testing.checkpoints_translators import SENTENCES, madlad_folder, marian_folder

REQUESTS = [TranslationRequest(text, "es", "qu", seed=place) for place, text in enumerate(SENTENCES[:3])]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("neural")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ORATURE_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def marian(place: Path) -> Path:
    return marian_folder(place / "marian", updates=10)


def copy_of(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def test_equal_arguments_give_equal_folders(marian: Path, tmp_path: Path) -> None:
    again = marian_folder(tmp_path / "marian", updates=10)
    names = sorted(path.name for path in marian.iterdir())
    assert names == sorted(path.name for path in again.iterdir())
    assert all((marian / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_the_revision_is_that_of_the_files(marian: Path, tmp_path: Path) -> None:
    other = copy_of(marian, tmp_path / "other")
    settings = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps(settings | {"dropout": 0.2}), encoding="utf-8")
    revisions = []
    for folder, backend in ((marian, "torch"), (marian, "auto"), (other, "torch"), (marian, "ctranslate2-int8")):
        with open_translator(str(folder), backend=backend) as translator:
            revisions.append(translator.card.revision)
    assert revisions[0] == revisions[1]
    assert len(set(revisions)) == 3
    assert revisions[3] == f"{revisions[0]} ctranslate2-int8"


def test_a_direction_that_the_folder_does_not_tell_is_refused(marian: Path, tmp_path: Path) -> None:
    with open_translator(str(marian), backend="torch") as translator:
        translator.check("es-PE", "que-EC")
        with pytest.raises(ConfigError, match="does not write the language 'sw'"):
            translator.check("es", "sw")
    bare = copy_of(marian, tmp_path / "bare")
    (bare / "tokenizer_config.json").unlink()
    (bare / "orature.json").write_text('{"source": "es", "target": "sw", "licence": "CC0-1.0"}', encoding="utf-8")
    with open_translator(str(bare), backend="torch") as translator:
        translator.check("spa", "swh")
        assert translator.card.licence == "CC0-1.0"
        assert translator.card.languages == ("es", "sw")
        with pytest.raises(ConfigError, match="does not write the language 'qu'"):
            translator.check("es", "qu")


def test_a_converted_model_is_kept_and_taken_again(marian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_translator(str(marian), backend="ctranslate2") as translator:
        first = translator.translate(REQUESTS, TextSearch(beams=2))

    def never(model: object, to: Path, *, int8: bool) -> None:
        raise AssertionError("it was converted a second time")

    monkeypatch.setattr(ctranslate2_translator, "convert", never)
    with open_translator(str(marian), backend="ctranslate2") as translator:
        assert translator.translate(REQUESTS, TextSearch(beams=2)) == first


def test_without_a_cache_the_converted_model_goes_when_it_is_closed(
    marian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    monkeypatch.setenv("ORATURE_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_translator(str(marian), backend="ctranslate2") as translator:
        assert list(tmp_path.glob("orature-translator-*"))
        assert not isinstance(translator.translate(REQUESTS[:1], TextSearch())[0], Exception)
    assert not list(tmp_path.glob("orature-translator-*"))


def test_sources_and_translations_that_are_too_long_are_refused(marian: Path) -> None:
    long = TranslationRequest(" ".join(SENTENCES[:4]), "es", "qu")
    with open_translator(str(marian), backend="torch") as translator:
        outcomes = translator.translate([long, REQUESTS[0]], TextSearch(beams=1, max_ratio=0.01))
        assert [one.reason for one in outcomes if isinstance(one, Refusal)] == ["too-long", "truncated"]
        assert "64 are translated" in str(outcomes[0])
        translator.close()
        with pytest.raises(ConfigError, match="closed"):
            translator.translate(REQUESTS, TextSearch())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("source.spm", "the tokenizer is missing"),
        ("vocab.json", "the tokenizer is missing"),
        ("model.safetensors", r"no model\.safetensors"),
        ("pickled", "pickled"),
        ("numbers", "numbers beyond"),
        ("garbage", "the tokenizer cannot be read"),
    ],
)
def test_a_broken_folder_gets_one_sentence(marian: Path, tmp_path: Path, damage: str, said: str) -> None:
    broken = copy_of(marian, tmp_path / "broken")
    if damage == "pickled":
        torch.save(load_file(broken / "model.safetensors"), broken / "pytorch_model.bin")
        (broken / "model.safetensors").unlink()
    elif damage == "numbers":
        (broken / "vocab.json").write_text('{"</s>": 0, "<unk>": 1, "x": 9999}', encoding="utf-8")
    elif damage == "garbage":
        (broken / "source.spm").write_bytes(b"no model")
    else:
        (broken / damage).unlink()
    with pytest.raises(ModelError, match=said) as caught:
        open_translator(str(broken))
    assert caught.value.where and caught.value.next_step and "\n" not in caught.value.what


def test_an_engine_refuses_the_folder_of_another(marian: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint of 't5' but of 'marian'"):
        open_translator(f"madlad:{marian}")
    assert marian / "source.spm" in translator_files(f"marian:{marian}")
    with pytest.raises(ConfigError, match="names no checkpoint"):
        open_translator("marian:")


def test_a_t5_is_read_by_its_sentencepiece_model_too(tmp_path: Path) -> None:
    made = io.BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=made,
        vocab_size=70,
        user_defined_symbols=["<2es>", "<2qu>"],
        minloglevel=2,
    )
    (tmp_path / "spiece.model").write_bytes(made.getvalue())
    vocabulary = T5Vocabulary(tmp_path, SimpleNamespace(vocab_size=80, eos_token_id=2))
    row = vocabulary.encode([TranslationRequest(SENTENCES[0], "es", "que-EC")])[0]
    read = SentencePieceProcessor(model_proto=made.getvalue())
    assert read.piece_to_id("<2qu>") in row and row[-1] == 2
    assert vocabulary.decode(row[:-1]) == SENTENCES[0]
    assert vocabulary.languages == ("es", "qu")


def test_a_t5_without_tokens_for_languages_is_refused(place: Path, tmp_path: Path) -> None:
    folder = madlad_folder(place / "madlad", languages=("es", "qu"))
    plain = copy_of(folder, tmp_path / "plain")
    table = json.loads((plain / "tokenizer.json").read_text(encoding="utf-8"))
    text = json.dumps(table, ensure_ascii=False).replace("<2es>", "<extra_0>").replace("<2qu>", "<extra_1>")
    (plain / "tokenizer.json").write_text(text, encoding="utf-8")
    with pytest.raises(ModelError, match="no tokens for languages"):
        open_translator(str(plain))


def test_seeds_draw_the_same_whatever_else_is_drawn(marian: Path) -> None:
    drawing = TextSearch(sample=True, n_best=2, temperature=1.3, max_ratio=20)
    with open_translator(str(marian), backend="torch") as translator:
        alone = [translator.translate([request], drawing)[0] for request in REQUESTS]
        assert translator.translate(REQUESTS[::-1], drawing)[::-1] == alone
        same = [TranslationRequest(REQUESTS[0].text, "es", "qu", seed=seed) for seed in (7, 8, 7)]
        first, other, again = translator.translate(same, drawing)
    assert first == again != other
