"""`orature translate` from end to end: corpora, text corpora, files, persons' tables, resuming, plans and bad input."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from speech_samples import sentences, text_corpus
from translate_samples import ROWS, SPOKEN, rejects, said, speech
from typer.testing import CliRunner, Result

import orature
from orature.cli.main import build
from orature.data.corpus import Corpus
from orature.flow import Resources
from orature.testing.faults import fault
from orature.text.text_corpus import TextCorpus

LOOSE = "--set most_unseen=none --set most_ratio=none --set language_check=none --threads 1 --device cpu"
FAKE = "--into qu --translator fake"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rich corpus, one of the target language, texts, tables, and bad things."""
    top = tmp_path_factory.mktemp("translate")
    speech(top / "rich", [row for row in ROWS if row[3] == "es"])
    speech(top / "two_languages", ROWS)
    speech(top / "silent", [("u1", "unlabelled", None, "es")])
    target = [("k1", "test", said(SPOKEN[2])[0], "qu"), ("k2", "train", "sumak yaku urkupi", "qu")]
    speech(top / "kichwa", target, seed=9)
    speech(top / "no_splits", target[1:], seed=9)
    text_corpus(top / "texts", sentences(8), language="es")
    (top / "news.txt").write_text(f"{SPOKEN[0]}\n\n{SPOKEN[1]}\nse debe refuse\n{SPOKEN[0]}\n", encoding="utf-8")
    (top / "news.tsv").write_text(f"id\tsentence\n1\t{SPOKEN[0]}\n2\tse debe refuse\n", encoding="utf-8")
    (top / "news.jsonl").write_text('{"text": "hola"}\n', encoding="utf-8")
    (top / "human.tsv").write_text(f"sentence\ttranslation\n{SPOKEN[5]}\tsumak wasi\n", encoding="utf-8")
    (top / "wrong.tsv").write_text("a\tb\n1\t2\n", encoding="utf-8")
    (top / "latin1.txt").write_bytes("Hola señor.\nAdiós.\n".encode("latin-1"))
    (top / "others.tsv").write_text("sentence\ttranslation\nno está\tmana\n", encoding="utf-8")
    (top / "words.tsv").write_text("# source: es\n# target: qu\ncasa\twasi\n", encoding="utf-8")
    (top / "pickled").mkdir()
    (top / "pickled" / "config.json").write_text('{"model_type": "marian"}', encoding="utf-8")
    (top / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (top / "empty").mkdir()
    (top / "own").mkdir()
    (top / "own" / "file.txt").write_text("mine", encoding="utf-8")
    return top


def command(folder: Path, line: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(build(), shlex.split(line), catch_exceptions=True)


def test_a_corpus_is_translated_counted_and_shown(world: Path) -> None:
    line = f"translate rich {FAKE} --like kichwa --to out --store store {LOOSE}"
    done = command(world, line)
    assert done.exit_code == 0, done.output
    assert "translations by fake: 30 of 33 rows kept" in done.output and "rejects: out/rejects.jsonl" in done.output
    assert "1 embargo-sentence" in done.output and f"t02 “{SPOKEN[2]}”" in done.output
    corpus = Corpus.open(world / "out")
    assert {row.language for row in corpus} == {"qu"} and {row.origin for row in corpus} == {"translated"}
    again = command(world, line)
    assert again.exit_code == 0 and again.output.count("already done") == 2
    found = json.loads(command(world, f"{line} --json").stdout)
    assert found["translations"]["rejected"] == {"embargo-sentence": 1, "translator-failed": 1, "truncated": 1}
    assert all(len(shown) <= 3 for shown in found["translations"]["examples"].values())
    assert [one["detail"] for one in found["translations"]["examples"]["truncated"]] == ["it was asked not to end"]


def test_filters_are_tried_without_translating_again(world: Path) -> None:
    command(world, f"translate rich {FAKE} --like kichwa --to out --store store {LOOSE}")
    done = command(world, f"translate rich {FAKE} --like kichwa --to other --store store {LOOSE} --set min_score=-0.6")
    assert done.exit_code in (0, 2) and "translate: already done" in done.output


def test_options_of_the_search_reach_the_translator(world: Path) -> None:
    line = f"translate rich {FAKE} --embargo kichwa --to drawn --store store {LOOSE} --sample --variants 2"
    done = command(world, f"{line} --set temperature=0.8 --seed 3")
    assert done.exit_code == 0, done.output
    rows = {row.id: row for row in Corpus.open(world / "drawn")}
    assert rows["t00-v1"].text != rows["t00-v2"].text
    assert rows["t00-v1"].audio.digest == rows["t00-v2"].audio.digest
    facts = json.loads((world / "drawn" / "translation.json").read_text("utf-8"))["searching"]
    assert (facts["sample"], facts["n_best"], facts["temperature"]) == (True, 2, 0.8)


def test_a_text_corpus_becomes_one(world: Path) -> None:
    done = command(world, f"translate texts {FAKE} --to text_qu --store store {LOOSE}")
    assert done.exit_code == 0, done.output
    assert "nothing keeps the sentences" in done.output, "no embargo is named"
    corpus = TextCorpus.open(world / "text_qu")
    assert corpus.language == "qu" and len(corpus) == 8 and corpus.verify() == []


def test_a_file_keeps_its_lines(world: Path) -> None:
    done = command(world, f"translate news.txt --from es {FAKE} --to news.qu.txt --store store --threads 1")
    assert done.exit_code == 0 and "3 of 5 lines translated" in done.output, done.output
    first, second = said(SPOKEN[0])[0], said(SPOKEN[1])[0]
    assert (world / "news.qu.txt").read_text("utf-8") == f"{first}\n\n{second}\n\n{first}\n"
    done = command(world, f"translate news.tsv --from es {FAKE} --to news.qu.tsv --store store --threads 1 --json")
    assert json.loads(done.stdout)["reasons"] == {"translator-failed": 1}
    rows = [line.split("\t") for line in (world / "news.qu.tsv").read_text("utf-8").splitlines()]
    assert rows[0] == ["sentence", "translation", "score", "known", "round_trip", "reason"]
    assert rows[1][:2] == [SPOKEN[0], first] and rows[2][1] == "" and rows[2][5] == "translator-failed"
    line = (
        f"translate news.txt --from es {FAKE} --embargo kichwa --human human.tsv --to b.txt --store store --threads 1"
    )
    assert command(world, line).exit_code == 0


def test_a_dictionary_is_said_to_be_one(world: Path) -> None:
    line = "translate news.txt --from es --into qu --translator dictionary:words.tsv --to {} --store store"
    done = command(world, line.format("words.txt"))
    assert done.exit_code == 0 and "is a dictionary: it renders words one by one" in done.output, done.output
    fake = command(world, line.format("none.txt").replace("dictionary:words.tsv", "fake"))
    assert fake.exit_code == 0 and "is a dictionary" not in fake.output


def test_persons_translations_alone(world: Path) -> None:
    done = command(world, "translate rich --into qu --human human.tsv --embargo kichwa --to by_hand --store store")
    assert done.exit_code == 0, done.output
    assert {row.id: row.text for row in Corpus.open(world / "by_hand")} == {"t05": "sumak wasi"}
    assert rejects(world / "by_hand")["t00"] == "no-human-translation"
    assert "translations by human: 1 of 33 rows kept" in done.output


def test_the_plan_says_what_it_would_cost(world: Path) -> None:
    plan = json.loads(command(world, f"translate rich {FAKE} --to plan --store fresh {LOOSE} --dry-run --json").stdout)
    assert (plan["texts"], plan["source"], plan["target"], plan["translate"]) == (32, "es", "qu", "todo")
    assert plan["seconds"] > 0 and plan["bounds"]["least_changed"] == 0.1 and not (world / "plan").exists()
    told = command(world, f"translate news.txt --from es {FAKE} --to plan.txt --store fresh --dry-run")
    assert "3 different texts" in told.output and "time: about" in told.output and not (world / "plan.txt").exists()


def test_stopped_and_run_again_it_gives_the_same(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.stages.translate.SHARD", 6)
    line = f"translate rich {FAKE} --embargo kichwa {LOOSE}"
    assert command(world, f"{line} --to whole --store one").exit_code == 0
    with fault("shard-renamed:2:interrupt"):
        stopped = command(world, f"{line} --to resumed --store two")
    assert stopped.exit_code == 130 and not (world / "resumed").exists(), stopped.output
    stamps = {path: path.stat().st_mtime_ns for path in (world / "two" / "work").glob("*/state/parts/*/shard.json")}
    assert len(stamps) == 2
    seen: list[dict[Path, int]] = []
    monkeypatch.setattr(
        "orature.stages.translate.close_translators",
        lambda: seen.append({path: path.stat().st_mtime_ns for path in stamps if path.exists()}),
    )
    assert command(world, f"{line} --to resumed --store two").exit_code == 0
    assert Corpus.open(world / "resumed").digest == Corpus.open(world / "whole").digest
    assert seen == [stamps], "whole shards are not translated again"


def test_as_a_function(world: Path) -> None:
    loose = {"most_unseen": None, "most_ratio": None, "language_check": "none"}
    options = {"options": loose, "like": [str(world / "kichwa")], "human": str(world / "human.tsv")}
    on = Resources(progress=False, threads=1)
    account = orature.translate(
        world / "rich", world / "api", into="qu", translator="fake", resources=on, store=world / "s", **options
    )
    assert account["kept_human"] == 1 and account["kept"] == 30 == len(Corpus.open(world / "api"))
    given = {"into": "qu", "source": "es", "translator": "fake", "store": world / "s", "resources": on}
    assert orature.translate(world / "news.txt", world / "api.txt", **given)["translated"] == 3


@pytest.mark.slow
def test_ctrl_c_stops_workers_and_the_command_goes_on(world: Path) -> None:
    rows = [(f"t{n:04}", "train", f"{SPOKEN[n % 30]} número {n}", "es") for n in range(1500)]
    speech(world / "large", rows)
    line = f"translate large {FAKE} --to large_qu --store large_store --workers 2 {LOOSE}"
    process = subprocess.Popen([sys.executable, "-m", "orature", *shlex.split(line)], cwd=world, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list((world / "large_store").glob("work/*/state/parts/0*/shard.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert b"run the same command again" in told and not (world / "large_qu").exists()
    done = command(world, line)
    assert done.exit_code == 0 and len(Corpus.open(world / "large_qu")) > 1450


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("translate nothing --into qu --translator fake --to new", "no such file or folder: nothing"),
        ("translate empty --into qu --translator fake --to new", "no corpus.json"),
        ("translate silent --into qu --translator fake --to new", "no transcripts to translate in train"),
        ("translate silent --into qu --translator fake --to new --dry-run", "no transcripts to translate in train"),
        ("translate rich --into qu --to new", "who translates"),
        ("translate rich --into qu --translator faek --to new", "did you mean 'fake'"),
        ("translate rich --into qu --translator empty --to new", "holds no config.json"),
        ("translate rich --into xx --translator fake --to new", "does not know 'xx'"),
        ("translate rich --from xx --into qu --translator fake --to new", "does not know 'xx'"),
        ("translate rich --into qu --translator fake --round-trip faek --to new", "did you mean 'fake'"),
        ("translate rich --into ??? --translator fake --to new", "not a language tag"),
        ("translate rich --into es --translator fake --to new", "is in es already"),
        ("translate two_languages --into qu --translator fake --to new", "which language is .* in"),
        ("translate news.txt --into qu --translator fake --to new.txt", "which language is .* in"),
        ("translate news.txt --from es --into qu --translator fake --to new", "name OUT.txt or OUT.tsv"),
        ("translate news.txt --from es --into qu --translator fake --to news.txt", "is what is to be translated"),
        ("translate news.jsonl --from es --into qu --translator fake --to new.txt", "make a text corpus of it"),
        (
            "translate news.txt --from es --into qu --translator fake --to new.txt --variants 2",
            "one translation a line",
        ),
        ("translate wrong.tsv --from es --into qu --translator fake --to new.txt", "no column `sentence`"),
        ("translate rich --into qu --translator fake --to new --human nothing.tsv", "no such text file"),
        ("translate rich --into qu --translator fake --to new --human wrong.tsv", "has the columns a, b"),
        (
            "translate rich --into qu --human others.tsv --embargo kichwa --to new",
            r"used \(33 no-human-translation\).* next: give a table whose `sentence`",
        ),
        ("translate rich --into qu --translator pickled --to new", "are pickled .* AutoModelForSeq2SeqLM"),
        ("translate latin1.txt --from es --into qu --translator fake --to new.txt", r"\(2 text-undecodable\)"),
        ("translate rich --into qu --human human.tsv --round-trip fake --to new", "not translated back"),
        ("translate rich --into qu --translator fake --to new --embargo nothing", "no corpus.json"),
        ("translate rich --into qu --translator fake --to new --embargo no_splits", "neither dev nor test"),
        ("translate rich --into qu --translator fake --to new --like empty", "no corpus.json"),
        ("translate rich --into qu --translator fake --to new --n-best 9 --beams 2", "finds no 9 texts"),
        ("translate rich --into qu --translator fake --to new --n-best 2 --variants 3", "raise --n-best"),
        ("translate rich --into qu --translator fake --to new --set most_ration=3", "did you mean 'most_ratio'"),
        ("translate rich --into qu --translator fake --to new --set most_ratio=0.5", "greater than 1"),
        ("translate rich --into qu --translator fake --to new --set most_ratio=many", "most_ratio.*'many'"),
        ("translate rich --into qu --translator fake --to new --set language_check=x", "language_check"),
        ("translate rich --into qu --translator fake --to new --backend warp", "no backend 'warp'"),
        ("translate rich --into qu --translator fake --to new --executor dask", "choose local or ray"),
        ("translate rich --into qu --translator fake --to new --address auto", "is of a Ray cluster"),
        ("translate rich --into qu --translator fake --to new --device warp", "no device 'warp'"),
        ("translate rich --into qu --translator fake --to new --workers 0", "--workers"),
        ("translate rich --into qu --translator fake --to news.txt/x", "is a file"),
        ("translate rich --translator fake --to new", "--into"),
    ],
)
def test_bad_input_is_a_sentence(world: Path, line: str, says: str) -> None:
    done = command(world, f"{line} --store bad_store")
    assert done.exit_code == 2, done.output
    assert re.search(says, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output and not (world / "new").exists()


def test_a_folder_with_files_of_ones_own_is_left_alone(world: Path) -> None:
    done = command(world, f"translate rich {FAKE} --to own --store store")
    assert done.exit_code == 1 and "files that are not Orature's" in done.output
