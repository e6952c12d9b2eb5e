"""New languages and characters for Whisper, Moonshine and Speech2Text; what was there stays as it was."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.engines import moonshine, speech2text, whisper
from orature.engines.families import Start
from orature.engines.language_codes import codes_of
from orature.testing.checkpoints_seq2seq import moonshine_folder, speech2text_folder, whisper_folder
from orature.testing.recogniser_contract import padded

CHEROKEE = ["ᎣᏏᏲ ᏙᎯᏧ", "ᎣᏏᏉ ᏂᎯᎾ", "ᏩᏙ ᏙᎯᏧ", "ᎣᏏᏲ ᏩᏙ ᏉᎯ"]
CLIP = (0.1 * np.random.default_rng(3).standard_normal(20_000)).astype(np.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper_folder(tmp_path_factory.mktemp("whisper") / "micro")


def test_codes_go_from_exact_to_wide() -> None:
    assert codes_of("yor-NG") == ["yor-ng", "yor", "yo"]
    assert codes_of("sw")[:2] == ["sw", "swa"]
    assert codes_of("que_EC")[1:3] == ["que", "qu"]


def test_a_language_that_whisper_lacks_gets_a_token(checkpoint: Path) -> None:
    old, old_words = whisper.load(checkpoint, language="yor")
    with pytest.raises(ModelError, match="no token for the language 'chr'"):
        old_words.prompt("chr")
    network, words = whisper.begin(checkpoint, CHEROKEE, Start(language="chr"))
    table, before = (net.model.get_input_embeddings().weight.detach() for net in (network, old))
    assert torch.equal(table[: len(before)], before)
    assert network.model.get_output_embeddings().weight is network.model.get_input_embeddings().weight
    token = words.prompt("chr")[1]
    assert words.prompt()[1] == token == len(before)
    assert network.model.generation_config.lang_to_id["<|chr|>"] == token
    assert words.tokenizer.convert_ids_to_tokens(token) == "<|chr|>"
    mean = before[list(old_words.language_tokens().values())].mean(dim=0)
    assert torch.allclose(table[token], mean)
    assert words.decode([token]) == ""


def test_costly_characters_get_tokens_and_old_texts_none(checkpoint: Path) -> None:
    _, old = whisper.load(checkpoint)
    _, words = whisper.begin(checkpoint, CHEROKEE, Start(language="chr"))
    often = [letter for letter, count in Counter("".join(CHEROKEE)).items() if count >= 3 and letter != " "]
    assert sorted(often) == sorted("ᎣᏏᏙᎯ")
    assert len(words) == len(old) + 1 + len(often)
    assert len(words.encode("ᎣᏏᏙ")) < len(old.encode("ᎣᏏᏙ"))
    for text in [*CHEROKEE, "báwo ni", "ẹ káàárọ̀ ᎣᏏ", "ᏂᎾ", "don't stop"]:
        assert words.decode(words.encode(text)) == text
    for text in ("the quick brown fox", "ẹ ṣé púpọ̀", "ñuka wasi"):
        assert words.encode(text) == old.encode(text)
    _, kept = whisper.begin(checkpoint, CHEROKEE, Start(head="keep", language="yo"))
    assert len(kept) == len(old)


def test_before_training_old_languages_are_written_as_before(checkpoint: Path) -> None:
    old, words = whisper.load(checkpoint)
    network, _ = whisper.begin(checkpoint, CHEROKEE, Start(language="chr"))
    for code in ("en", "yo", "sw"):
        before = old.generate(*padded([CLIP, CLIP[:9000]]), words.prompt(code), max_tokens=40)
        after = network.generate(*padded([CLIP, CLIP[:9000]]), words.prompt(code), max_tokens=40)
        assert [best[0].tokens for best in before] == [best[0].tokens for best in after]


def test_prompts_of_whisper(checkpoint: Path, tmp_path: Path) -> None:
    _, words = whisper.load(checkpoint)
    with pytest.raises(ModelError, match="none was chosen"):
        words.prompt()
    names = words.tokenizer.convert_ids_to_tokens(words.prompt("es-MX"))
    assert names == ["<|startoftranscript|>", "<|es|>", "<|transcribe|>", "<|notimestamps|>"]
    assert words.language_tokens().keys() == {"en", "es", "yo", "sw"}
    _, english = whisper.load(whisper_folder(tmp_path / "en", languages=()))
    names = english.tokenizer.convert_ids_to_tokens(english.prompt())
    assert names == ["<|startoftranscript|>", "<|notimestamps|>"]


def test_older_folders_have_their_languages_read_off_the_tokens(checkpoint: Path, tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "old")
    (folder / "generation_config.json").unlink()
    _, words = whisper.load(folder)
    _, new = whisper.load(checkpoint)
    assert words.language_tokens() == new.language_tokens()


def test_moonshine_takes_characters_into_its_vocabulary(tmp_path: Path) -> None:
    folder = moonshine_folder(tmp_path / "micro")
    old_network, old = moonshine.load(folder)
    network, words = moonshine.begin(folder, CHEROKEE, Start())
    for text in [*CHEROKEE, "ᏂᎾ the fox", "a ᎣᏏ b"]:
        assert words.decode(words.encode(text)) == text
        assert words.encode("the lazy dog") == old.encode("the lazy dog")
    assert len(words.encode("ᎣᏏᏙ")) < len(old.encode("ᎣᏏᏙ")) / 2
    table, before = (net.model.get_input_embeddings().weight.detach() for net in (network, old_network))
    assert torch.equal(table[: len(old)], before[: len(old)])


def test_speech2text_vocabularies(tmp_path: Path) -> None:
    folder = speech2text_folder(tmp_path / "micro")
    old_network, old = speech2text.load(folder)
    assert old.unknown("ᎣᏏ the") == {"Ꭳ", "Ꮟ"}
    network, words = speech2text.begin(folder, CHEROKEE, Start())
    table, before = (net.model.get_input_embeddings().weight.detach() for net in (network, old_network))
    assert torch.equal(table[: len(before)], before) and len(table) == len(words) > len(before)
    assert not words.unknown(" ".join(CHEROKEE))
    for text in [*CHEROKEE, "the quick fox"]:
        assert words.decode(words.encode(text)) == text
    assert words.encode("the quick fox") == old.encode("the quick fox")
    network, words = speech2text.begin(folder, CHEROKEE, Start(head="new"))
    assert len(words) == 4 + 1 + len(set("".join(CHEROKEE)) - {" "})
    encoder, before_encoder = (net.model.model.encoder.state_dict() for net in (network, old_network))
    assert all(torch.equal(encoder[name], value) for name, value in before_encoder.items())
    with pytest.raises(ModelError, match="no character"):
        speech2text.begin(folder, [" "], Start(head="new"))


def test_speech2text_from_nothing_has_the_published_size() -> None:
    letters = "".join(map(chr, range(0x13A0, 0x13F0)))
    network, words = speech2text.fresh([letters], "small")
    config = network.model.config
    assert (config.encoder_layers, config.decoder_layers, config.d_model, config.dropout) == (12, 6, 256, 0.15)
    count = sum(parameter.numel() for parameter in network.parameters())
    rest = count - len(words) * 256
    assert 26.9e6 < rest < 27.1e6  # with the 10,000 tokens of s2t_transformer_s: 29.5 M
    tiny, _ = speech2text.fresh([letters], "tiny", seed=1)
    again, _ = speech2text.fresh([letters], "tiny", seed=1)
    assert all(torch.equal(a, b) for a, b in zip(tiny.parameters(), again.parameters(), strict=True))
