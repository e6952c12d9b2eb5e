"""A language model from text files: what is read, what the embargo keeps out, what the folder holds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tiny import LATIN, corpus_of
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import BadInput, ConfigError, ModelError, RejectLimitExceeded
from orature.engines.kenlm import KenLm
from orature.flow import Run, open_store
from orature.stages.language_model import LanguageModel, language_model_stage, policy_of_model
from orature.testing.stage_contract import check_stage
from orature.text.alphabet import TextPolicy
from orature.text.sentences import read_sentences


def made(folder: Path, stage: LanguageModel) -> Path:
    run = Run(open_store(folder / "store"), recipe="test", command="test")
    return run.path_of(run.do(stage))


def facts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "lm.json").read_text(encoding="utf-8"))
    return found


def test_text_files_of_three_kinds_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\ufeffshuk wasi\r\n\nkimsa\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text('x\tsentence\n1\tshuk "wasi\n2\t\n', encoding="utf-8")
    with gzip.open(tmp_path / "c.jsonl.gz", "wt", encoding="utf-8") as stream:
        stream.write('{"text": "ọ̀rọ̀"}\n\n{"text": "yaku"}\n')
    assert list(read_sentences(tmp_path / "a.txt")) == ["shuk wasi", "", "kimsa"]
    assert list(read_sentences(tmp_path / "b.tsv")) == ['shuk "wasi', ""]
    assert list(read_sentences(tmp_path / "c.jsonl.gz")) == ["ọ̀rọ̀", "yaku"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tsv", b"text\nshuk\n", "no column `sentence`"),
        ("b.tsv", b"x\tsentence\n1\n", "line 2 has no column"),
        ("c.jsonl", b'{"txt": "shuk"}\n', "line 1 has no `text`"),
        ("d.jsonl", b'{"text": 3}\n', "is no text"),
        ("e.txt", b"shuk \xff\n", "cannot be read"),
        ("f.txt", b"\x1f\x8b\x08broken", "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message) as caught:
        list(read_sentences(tmp_path / name))
    assert name in caught.value.where
    with pytest.raises(BadInput):
        list(read_sentences(tmp_path / "missing.txt"))


def test_dev_and_test_sentences_stay_out_and_are_listed(tmp_path: Path) -> None:
    """Rows 1, 4, 7, 10 of the corpus are dev, 2, 5, 8, 11 test, the others train."""
    corpus = corpus_of(tmp_path / "corpus", LATIN)
    text = [LATIN[1].upper() + "!", LATIN[2], "sumak yaku kan", "", f"{LATIN[0]} kan"]
    (tmp_path / "news.txt").write_text("\n".join(text) + "\n", encoding="utf-8")
    folder = made(tmp_path, language_model_stage([tmp_path / "news.txt"], corpus=corpus, order=2))
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(one["id"], one["reason"]) for one in rejects] == [
        ("news.txt:1", "embargo-sentence"),
        ("news.txt:2", "embargo-sentence"),
        ("news.txt:4", "text-empty"),
    ]
    assert "dev utterance u01" in rejects[0]["detail"]
    found = facts(folder)
    assert found["kept"] == 2 + 4 and found["rejected"] == {"embargo-sentence": 2, "text-empty": 1}
    assert found["sources"] == [
        {"name": "news.txt", "sentences": 2},
        {"name": "train transcripts", "sentences": 4},
    ]
    words = (folder / "words.txt").read_text(encoding="utf-8").split()
    assert "sumak" in words and words == sorted(words)
    assert found["dev"]["tokens"] == 4 * 3
    assert KenLm(folder / "lm.arpa.gz").knows("sumak")
    assert found["fallback_orders"] == [1, 2]


def test_another_corpus_to_exclude_is_held_too_and_memory_is_no_part_of_the_key(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", LATIN)
    (tmp_path / "news.txt").write_text(f"{LATIN[1]}\nsumak yaku\n", encoding="utf-8")
    with_it = language_model_stage([tmp_path / "news.txt"], exclude=[corpus], order=2)
    without = language_model_stage([tmp_path / "news.txt"], order=2)
    assert facts(made(tmp_path, with_it))["kept"] == 1
    assert facts(made(tmp_path, without))["kept"] == 2
    assert with_it.key() == with_it.model_copy().within(1).key() != without.key()


def test_characters_and_the_policy_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    policy = TextPolicy("keep", "keep", False, (("ñ", "n"),))
    (tmp_path / "model" / "training.json").write_text(json.dumps({"text_policy": policy.to_json()}), encoding="utf-8")
    (tmp_path / "t.txt").write_text("Ñuka señor | a\n", encoding="utf-8")
    stage = language_model_stage([tmp_path / "t.txt"], unit="character", policy=policy_of_model(tmp_path / "model"))
    assert stage.order == 6
    folder = made(tmp_path, stage)
    letters = (folder / "words.txt").read_text(encoding="utf-8").split()
    assert "Ñ" in letters and "ñ" not in letters and "|" in letters and "│" in letters
    with pytest.raises(ModelError, match="text_policy"):
        policy_of_model(tmp_path)


def test_nothing_left_and_nothing_given_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("...\n!\n", encoding="utf-8")
    with pytest.raises(BadInput, match="no words"):
        made(tmp_path, language_model_stage([tmp_path / "t.txt"]))
    with pytest.raises(BadInput, match="no text"):
        language_model_stage([])
    with pytest.raises(BadInput, match="no such"):
        language_model_stage([tmp_path / "none.txt"])
    (tmp_path / "t.txt").write_text("...\n" * 99 + "shuk wasi\n", encoding="utf-8")
    with pytest.raises(RejectLimitExceeded):
        made(tmp_path, language_model_stage([tmp_path / "t.txt"]))
    with pytest.raises(ConfigError, match="order 9"):
        made(tmp_path, language_model_stage([tmp_path / "t.txt"], order=9))


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    corpus_of(tmp_path / "corpus", LATIN)
    Path("news.txt").write_text("sumak yaku kan\n", encoding="utf-8")
    shell, app = CliRunner(), build()
    dry = shell.invoke(app, ["lm", "news.txt", "--corpus", "corpus", "--to", "lm", "--dry-run"])
    assert dry.exit_code == 0 and "todo" in dry.output and not Path("lm").exists()
    done = shell.invoke(app, ["lm", "news.txt", "--corpus", "corpus", "--to", "lm", "--json", "--memory-mb", "1"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kept"] == 5
    text = shell.invoke(app, ["lm", "news.txt", "--corpus", "corpus", "--to", "lm"])
    assert text.exit_code == 0 and "perplexity" in text.stdout
    for wrong in (["--prune", "x"], ["--unit", "syllable"], ["--order", "9"]):
        assert shell.invoke(app, ["lm", "news.txt", "--to", "lm2", *wrong]).exit_code == 2


@pytest.mark.corpora
def test_real_text_with_an_embargo(tmp_path: Path, corpora: Path) -> None:
    from orature.stages.ingest import ingest_stage

    run = Run(open_store(tmp_path / "store"), recipe="test", command="test")
    text = corpora / "kichwa_killkan" / "text_only.tsv"
    corpus = run.path_of(run.do(ingest_stage(corpora / "pao_phrases", format="plain")))
    found = facts(run.path_of(run.do(language_model_stage([text], corpus=corpus))))
    assert found["ngrams"][0] > 500 and found["kept"] > 300 and found["embargo"]["sentences"] > 0


@pytest.mark.slow
def test_the_stage_holds_what_every_stage_must_hold(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "corpus", LATIN)
    (tmp_path / "news.txt").write_text(f"{LATIN[1]}\nsumak yaku\n\n", encoding="utf-8")
    stage = language_model_stage([tmp_path / "news.txt"], corpus=corpus, order=2)
    check_stage(stage, tmp_path, rows_in=3 + 4, count_kept=lambda folder: int(facts(folder)["kept"]))
