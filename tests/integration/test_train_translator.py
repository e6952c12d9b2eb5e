"""`orature train-translator` from a table to a translator in use: what it writes, keeps out and refuses."""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from orature.cli.main import build
from orature.engines.translator import TextSearch, TranslationRequest
from orature.engines.translators import open_translator
from orature.evaluate.translation import score_translations
from orature.flow import Store
from orature.stages import train_dictionary as dictionary_stage
from orature.stages import train_translator as train_stage
from tests.toy_language import toy_pairs, translated

MICRO = (
    "train.layers=1 train.width=32 train.heads=2 train.inner=64 train.updates=6 train.evaluate_every=3 train.beams=2 "
    "train.batch_tokens=300 train.dev_rows=6"
)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing costs milliseconds a file and makes no difference here."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def table(folder: Path, pairs: list[tuple[str, str]], *more: str) -> Path:
    draw = random.Random(5)
    lines = ["es\tqu\tsplit"]
    lines += [f"{a}\t{b}\t{draw.choices(['train', 'dev', 'test'], [8, 1, 1])[0]}" for a, b in pairs]
    path = folder / "pairs.tsv"
    path.write_text("\n".join([*lines, *more]) + "\n", encoding="utf-8")
    return path


def command(folder: Path, *words: str | Path, micro: bool = True) -> Result:
    line = ["train-translator", *map(str, words), "--store", str(folder / "store"), "--threads", "1", "--json"]
    for assignment in MICRO.split() if micro else ():
        line += ["--set", assignment]
    return CliRunner().invoke(build(), line)


BASE = ("--from", "es", "--to-lang", "qu", "--to")
NETWORK = ("--kind", "transformer", "--pieces", "characters")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    pairs = table(folder, toy_pairs(200), "wasi misi ž\togfu jufu ž\tdev", "\tmisi\ttrain", "misi wasi ž\tq q\ttest")
    done = command(folder, pairs, *BASE, folder / "model", *NETWORK, "--licence", "CC0-1.0")
    assert done.exit_code == 0, done.output
    return folder


def test_the_folder_holds_all_that_a_person_and_a_program_need(made: Path) -> None:
    names = {path.name for path in (made / "model").iterdir()}
    assert names >= {
        *("config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json", "tokenizer_config.json"),
        *("generation_config.json", "orature.json", "training.json", "README.md", "report.html", "score.json"),
        *("translations.jsonl", "train_log.jsonl", "rejects.jsonl"),
    }
    facts = json.loads((made / "model" / "training.json").read_text())
    assert facts["kind"] == "transformer" and facts["languages"] == ["es", "qu"] and facts["licences"] == ["CC0-1.0"]
    assert facts["updates"] == 6 and len((made / "model" / "train_log.jsonl").read_text().splitlines()) == 3


def test_tokens_are_those_of_train_alone(made: Path) -> None:
    tokens = json.loads((made / "model" / "vocab.json").read_text())
    letters = {letter for a, b in toy_pairs(200) for letter in a + b}
    assert "ž" not in tokens and set(tokens) - {"</s>", "<unk>", "<pad>", "▁"} == letters - {" "}


def test_test_is_measured_as_the_folder_translates(made: Path) -> None:
    rows = [json.loads(line) for line in (made / "model" / "translations.jsonl").read_text().splitlines()]
    score = json.loads((made / "model" / "score.json").read_text())
    again = score_translations([row["translation"] for row in rows], [row["reference"] for row in rows], language="qu")
    assert score["chrf"] == again.chrf.as_json() and score["bleu"] == again.bleu.as_json()
    assert score["sentences"] == len(rows) and score["split"] == "test" and len(score["split_fingerprint"]) == 64
    assert score["chrf"]["low"] <= score["chrf"]["value"] <= score["chrf"]["high"]
    asked = [TranslationRequest(row["source"], "es", "qu") for row in rows[:3]]
    with open_translator(str(made / "model"), threads=1) as translator:
        found = translator.translate(asked, TextSearch(beams=2))
    texts = [one[0].text if isinstance(one, tuple) else "" for one in found]
    assert texts == [row["translation"] for row in rows[:3]]


def test_the_report_and_the_card_show_the_figures(made: Path) -> None:
    score = json.loads((made / "model" / "score.json").read_text())
    page = (made / "model" / "report.html").read_text()
    for part in (
        "orature why FOLDER",
        'id="translation"',
        'id="examples"',
        'id="training"',
        'id="facts"',
        score["chrf"]["signature"],
    ):
        assert part in page
    assert f"{score['chrf']['low']:.1f} to {score['chrf']['high']:.1f}" in page
    assert f"| chrF2 on test | {score['chrf']['value']:.1f} (" in (made / "model" / "README.md").read_text()


def test_the_same_again_does_nothing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: Any, **more: Any) -> None:
        raise AssertionError("test was translated twice")

    monkeypatch.setattr(train_stage, "tested", never)
    before = (made / "model" / "model.safetensors").read_bytes()
    done = command(made, made / "pairs.tsv", *BASE, made / "model", *NETWORK, "--licence", "CC0-1.0")
    assert done.exit_code == 0 and json.loads(done.stdout)["score"]["split"] == "test"
    assert (made / "model" / "model.safetensors").read_bytes() == before


def test_a_dry_run_says_what_would_be_done_and_keeps_nothing(tmp_path: Path) -> None:
    pairs, to = table(tmp_path, toy_pairs(80)), tmp_path / "model"
    done = command(tmp_path, pairs, *BASE, to, "--dry-run", "--kind", "transformer")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    assert plan["stages"] == ["parallel_text", "train_translator"] and len(plan["costs"]) == 1
    assert plan["rows"] == 80 and 20 < plan["train_pairs"] < 80 and plan["config"]["updates"] == 6
    assert plan["cost"]["seconds"] > 0 and "pairs-2k" in plan["preset"]
    assert not (tmp_path / "model").exists() and not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--size", "huge"], "no size 'huge' of a translator"),
        (["--pieces", "many"], "no number of pieces"),
        (["--kind", "oracle"], "no kind 'oracle' of a translator.*known are auto, dictionary, transformer"),
        (["--scale", "big"], "no scale 'big'"),
        (["--set", "updates=5"], "--set updates is no option of the training, of the pairs or of a dictionary"),
        (["--set", "train.udpates=5"], "no option 'train.udpates'.*did you mean 'updates'"),
        (["--set", "pairs.max_ration=5"], "no option 'pairs.max_ration'.*did you mean 'max_ratio'"),
        (["--set", "train.dropout=2"], "train.dropout"),
        (["--set", "dictionary.least=2"], "no option 'dictionary.least'"),
        (["--kind", "dictionary", "--size", "tiny"], "neither a size nor pieces"),
        (["--source-column", "es"], "no column \\(not named\\)"),
        (["--embargo", "nowhere"], "corpus"),
        (["--to-lang", "es"], "the same language"),
    ],
)
def test_bad_options_are_sentences(tmp_path: Path, words: list[str], says: str) -> None:
    done = command(tmp_path, table(tmp_path, toy_pairs(60)), *BASE, tmp_path / "model", *words, micro=False)
    assert done.exit_code == 2 and "Traceback" not in done.output
    assert re.search(says, done.output, flags=re.DOTALL), done.output
    assert "next:" in done.output


def test_bad_pairs_are_sentences(tmp_path: Path) -> None:
    few = table(tmp_path, toy_pairs(10))
    done = command(tmp_path, few, *BASE, tmp_path / "model")
    assert done.exit_code == 2 and "which is too little" in done.output
    done = command(tmp_path, tmp_path / "none.tsv", *BASE, tmp_path / "model")
    assert done.exit_code == 2 and "no such file" in done.output
    (tmp_path / "empty.tsv").touch()
    done = command(tmp_path, tmp_path / "empty.tsv", *BASE, tmp_path / "model")
    assert done.exit_code == 2 and "a column a language" in done.output
    rows = "".join(f"{a}\t{b}\tfra\tspa\n" for a, b in toy_pairs(40))
    (tmp_path / "other.tsv").write_text(f"sentence\ttranslation\tlang\ttranslation_lang\n{rows}", encoding="utf-8")
    done = command(tmp_path, tmp_path / "other.tsv", *BASE, tmp_path / "model")
    assert done.exit_code == 2 and "40 other-language; such as other.tsv:2: not the two" in done.output
    assert "lang 'fra', translation_lang 'spa'" in done.output
    long = table(tmp_path, toy_pairs(60))
    done = command(tmp_path, long, *BASE, tmp_path / "model", *NETWORK, "--set", "train.longest=4")
    assert done.exit_code == 1 and "have more than 4 tokens on a side" in done.output


def test_translated_is_a_language_of_its_own() -> None:
    assert all(a != b and translated(a) == b for a, b in toy_pairs(20))


def test_a_dictionary_says_that_it_is_one_and_is_measured_too(tmp_path: Path) -> None:
    pairs = table(tmp_path, toy_pairs(120))
    done = command(tmp_path, pairs, *BASE, tmp_path / "list", "--kind", "dictionary", micro=False)
    assert done.exit_code == 0, done.output
    score = json.loads((tmp_path / "list" / "score.json").read_text())
    assert score["chrf"]["value"] > 90, "words of the toy language stand for one another one by one"
    assert score["chrf"]["value"] > 50 + score["copy"]["chrf"]
    facts = json.loads((tmp_path / "list" / "training.json").read_text())
    assert facts["kind"] == "dictionary" and facts["known_share"] > 0.9
    for file in ("README.md", "report.html"):
        assert "word for word" in (tmp_path / "list" / file).read_text()
    with open_translator(str(tmp_path / "list")) as translator:
        (found,) = translator.translate([TranslationRequest("wasi yaku", "es", "qu")], TextSearch(beams=1))
    assert isinstance(found, tuple) and found[0].text == translated("wasi yaku")
    more = table(tmp_path, toy_pairs(120), "\tmisi\ttrain")
    words = ("train-translator", more, *BASE, tmp_path / "list", "--kind", "dictionary", "--store", tmp_path / "store")
    told = CliRunner().invoke(build(), [str(word) for word in words]).output
    assert " train, " in told and "rows left out: 1 empty-source" in told and "source left as it is: " in told
    again = command(tmp_path, pairs, *BASE, tmp_path / "rare", "--kind", "dictionary", "--dry-run", micro=False)
    assert again.exit_code == 0 and json.loads(again.stdout)["cost"] is None
    none = command(
        *(tmp_path, pairs, *BASE, tmp_path / "none", "--kind", "dictionary"),
        *("--set", "dictionary.least_count=5000"),
        micro=False,
    )
    assert none.exit_code == 1 and "least_count" in none.output


@pytest.fixture(scope="module")
def either(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Without a kind: the toy language is one word for one, and six updates teach a network nothing."""
    folder = tmp_path_factory.mktemp("either")
    done = command(folder, table(folder, toy_pairs(200)), *BASE, folder / "model", "--pieces", "characters")
    assert done.exit_code == 0, done.output
    return folder, json.loads(done.stdout)


def test_without_a_kind_dev_chooses_and_both_figures_are_told(either: tuple[Path, dict[str, Any]]) -> None:
    folder, told = either
    choice, model = told["choice"], folder / "model"
    assert told["kind"] == choice["taken"] == "dictionary"
    reached = {kind: one["chrf"]["value"] for kind, one in choice["dev"].items()}
    assert set(reached) == {"transformer", "dictionary"} and reached["dictionary"] > 90 > reached["transformer"]
    rows = len([row for row in (folder / "pairs.tsv").read_text().splitlines() if row.endswith("dev")])
    assert rows > 6 == choice["rows"], "as many rows of dev as choose a checkpoint"
    page, card = ((model / name).read_text("utf-8") for name in ("report.html", "README.md"))
    for figure in reached.values():
        assert f"{figure:.1f}" in page and f"{figure:.1f}" in card
    assert choice["sentence"] in card and "word for word" in card and "word for word" in page and 'id="choice"' in page
    facts = json.loads((model / "training.json").read_text())
    assert facts["kind"] == "dictionary" and facts["choice"] == choice
    assert told["score"] == json.loads((model / "score.json").read_text()) and told["score"]["split"] == "test"
    with open_translator(str(model)) as translator:
        (found,) = translator.translate([TranslationRequest("wasi yaku", "es", "qu")], TextSearch(beams=1))
    assert isinstance(found, tuple) and found[0].text == translated("wasi yaku")


def test_both_are_scored_on_the_same_dev_rows_with_the_search_of_each(either: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = either
    store = Store(folder / "store")
    infos = map(store.info, store.keys())
    judged = [store.folder(info.key) for info in infos if info.stage == "evaluate-translator"]
    scores = [json.loads((place / "score.json").read_text()) for place in judged]
    assert {score["split"] for score in scores} == {"dev"} and len(scores) == 2
    assert len({score["split_fingerprint"] for score in scores}) == 1
    assert {score["model"]: score["decoder"]["beams"] for score in scores} == {
        "model: transformer": 2,
        "model: dictionary": 1,
    }


def test_a_kind_that_is_named_is_the_candidate_that_was_made(
    either: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = either
    monkeypatch.setattr(train_stage, "fit_translator", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr(dictionary_stage, "align_pairs", lambda *_, **__: pytest.fail("aligned again"))
    pairs = folder / "pairs.tsv"
    words = ("train-translator", pairs, *BASE, tmp_path / "model", "--store", folder / "store", "--json")
    line = [*map(str, words), "--threads", "1", *(word for one in MICRO.split() for word in ("--set", one))]
    for kind, more in (("transformer", ["--pieces", "characters"]), ("dictionary", [])):
        done = CliRunner().invoke(build(), [*line, "--kind", kind, *more])
        assert done.exit_code == 0, done.output
        told = json.loads(done.stdout)
        assert told["kind"] == kind and told["choice"] is None


def test_where_one_cannot_be_made_the_other_is_taken_and_the_reason_is_told(tmp_path: Path) -> None:
    pairs = table(tmp_path, toy_pairs(120))
    none, long = "dictionary.least_count=5000", "train.longest=4"
    cases = {
        "transformer": (none, "a dictionary of aligned words could not be made: no word of "),
        "dictionary": (long, "a Transformer could not be made: all "),
    }
    for kind, (setting, said) in cases.items():
        to = tmp_path / kind
        done = command(tmp_path, pairs, *BASE, to, "--pieces", "characters", "--set", setting)
        assert done.exit_code == 0, done.output
        choice = json.loads(done.stdout)["choice"]
        assert choice["taken"] == kind and said in choice["sentence"] and list(choice["dev"]) == [kind]
        assert said in (to / "README.md").read_text("utf-8") and "could not be made" in (to / "report.html").read_text()
    words = ("--pieces", "characters", "--set", none, "--set", long)
    both = command(tmp_path, pairs, *BASE, tmp_path / "both", *words)
    assert both.exit_code == 1 and "neither translator can be made" in both.output
    assert "a dictionary of aligned words: no word of" in both.output and "a Transformer: all" in both.output
    assert "least_count=1" in both.output and "train.longest" in both.output and not (tmp_path / "both").exists()


def test_a_dry_run_without_a_kind_names_all_stages_and_both_costs(tmp_path: Path) -> None:
    pairs, to = table(tmp_path, toy_pairs(80)), tmp_path / "model"
    done = command(tmp_path, pairs, *BASE, to, "--dry-run", "--size", "tiny", "--set", "dictionary.most=3")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    judged = "evaluate-translator"
    assert plan["kind"] == "auto" and plan["stages"] == [
        *("parallel_text", "train_dictionary", judged, "train_translator", judged, "choose-translator")
    ]
    assert plan["cost"]["seconds"] > 0 and "about" in plan["costs"][0] and "seconds to minutes" in plan["costs"][1]
    assert plan["config"]["size"] == "tiny" and plan["dictionary"]["most"] == 3
    assert not to.exists() and not (tmp_path / "store").exists()
