"""The stage that makes a text corpus: every line accounted for, dev and test kept out, the same after any crash."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS, corpus_of
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import BadInput, ConfigError, CorpusError, MissingExtra, RejectLimitExceeded
from orature.core.files import write_beside
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Resources, Run, open_store
from orature.stages import text_options, text_shards
from orature.stages.inputs import text_corpus_ref
from orature.stages.text_corpus import MakeText, text_stage
from orature.testing.stage_contract import check_stage
from orature.text.text_corpus import Sentence, TextCorpus

QUIET = {"near_duplicates": 0.0, "language_check": "none", "numbers": "none"}
DRAWN = random.Random(4)
TRAINED = [" ".join(DRAWN.sample(WORDS, 4)) for _ in range(60)]


def made(folder: Path, stage: MakeText, workers: int = 1) -> TextCorpus:
    run = Run(open_store(folder / f"store{workers}"), recipe="test", command="test")
    return TextCorpus.open(run.path_of(run.do(stage, on=Resources(workers=workers, progress=False))))


def rejects(corpus: TextCorpus) -> list[dict[str, str]]:
    return [json.loads(line) for line in (corpus.root / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def written(folder: Path, lines: Sequence[str], name: str = "news.txt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / name


def test_every_line_is_kept_or_rejected_for_a_reason(tmp_path: Path) -> None:
    lines = [
        "It rained all night. Nobody slept.",
        "",
        "See http://example.org for more.",
        "It rained all night!",
        "lost \ufffd letters here",
        "In 1958 it rained.",
        "Hm",
    ]
    stage = text_stage([written(tmp_path, lines)], language="en", licences=["CC0-1.0"], **QUIET)
    corpus = made(tmp_path, stage)
    assert [(one.id, one.text, one.line) for one in corpus] == [
        ("news.txt:1", "It rained all night.", 1),
        ("news.txt:1.2", "Nobody slept.", 1),
    ]
    assert [(one["id"], one["reason"]) for one in rejects(corpus)] == [
        ("news.txt:2", "text-empty"),
        ("news.txt:3", "url"),
        ("news.txt:4", "duplicate"),
        ("news.txt:5", "text-undecodable"),
        ("news.txt:6", "digits-unreadable"),
        ("news.txt:7", "too-short"),
    ]
    assert rejects(corpus)[2]["detail"].startswith("the same as news.txt:1")
    assert rejects(corpus)[1]["text"] == "See http://example.org for more."
    summary = corpus.summary()
    assert summary["rows"]["total"] == 8 and summary["rows"]["kept"] == len(corpus) == 2
    assert summary["lines"] == 7 and summary["licences"] == ["CC0-1.0"] and corpus.verify() == []
    assert sorted(path.name for path in corpus.root.iterdir() if path.name != "artefact.json") == [
        "rejects.jsonl",
        "sentences.jsonl.gz",
        "text.json",
    ]
    assert text_corpus_ref(corpus.root).digest == corpus.digest


def test_dev_and_test_stay_out_and_training_transcripts_say_what_is_usual(tmp_path: Path) -> None:
    """Rows 1, 4, 7 ... of the corpus are dev, 2, 5, 8 ... test, the others train."""
    corpus = corpus_of(tmp_path / "corpus", TRAINED)
    other = corpus_of(tmp_path / "other", ["sumak yaku kan", "llaki yaku kan karka", "hatun wasi karka kunan"])
    lines = [
        TRAINED[1].upper() + "!",
        f"{TRAINED[2]}.",
        "shuk wasi kimsa yaku wasi",
        "llaki yaku kan karka.",
        "shuk wasi xyzzy quux",
        "shuk wasi дом yaku стол",
        " ".join(WORDS * 3),
    ]
    source = written(tmp_path, lines)
    stage = text_stage([source], language="qu", corpora=[corpus], exclude=[other], **QUIET)
    found = made(tmp_path, stage)
    assert [one.text for one in found] == ["shuk wasi kimsa yaku wasi"]
    reasons = {one["id"].split(":")[1]: one["reason"] for one in rejects(found)}
    assert reasons == {
        "1": "embargo-sentence",
        "2": "embargo-sentence",
        "4": "embargo-sentence",
        "5": "unseen-characters",
        "6": "other-script",
        "7": "too-long",
    }
    assert "dev utterance u01" in rejects(found)[0]["detail"]
    assert found.summary()["characters_per_s"] > 0 and found.summary()["hours_estimated"] >= 0


def test_only_transcripts_of_the_language_say_what_is_usual(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pooled corpus of two languages: the letters of the other one are still unseen."""
    both = tmp_path / "both"
    kichwa = corpus_of(tmp_path / "kichwa", TRAINED[:30], language="que-EC")
    german = corpus_of(tmp_path / "german", ["größe ö ü ß straße äußere"] * 30, language="de")
    rows = [*Corpus.open(kichwa), *(replace(row, id=f"de-{row.id}") for row in Corpus.open(german))]
    both.mkdir()
    save_corpus(lambda name: write_beside(both / name), rows, [])
    source = written(tmp_path, ["shuk wasi kimsa yaku wasi", "shuk wäsi kimsa yüku wäsi"])
    text = made(tmp_path, text_stage([source], language="qu", corpora=[both], **QUIET))
    assert [one.text for one in text] == ["shuk wasi kimsa yaku wasi"]
    assert rejects(text)[0]["reason"] == "unseen-characters"
    made(tmp_path, text_stage([source], language="sw", corpora=[german], max_unseen_share=1.0, **QUIET))
    assert "no row of german is in sw" in capsys.readouterr().err


def test_numbers_are_words_for_the_voice_and_figures_where_wanted(tmp_path: Path) -> None:
    source = written(tmp_path, ["It took 25 long years."])
    options = {**QUIET, "numbers": "auto"}
    spoken = next(iter(made(tmp_path, text_stage([source], language="en", **options))))
    assert spoken.text == spoken.spoken == "It took twenty-five long years."
    as_written = next(iter(made(tmp_path, text_stage([source], language="en", transcript="written", **options))))
    assert as_written.text == "It took 25 long years." and as_written.spoken == spoken.text


def test_near_duplicates_and_choice_are_accounted_for(tmp_path: Path) -> None:
    base = "the river rose in the night and took the old bridge with it before anybody could warn the village"
    lines = [base, base + " again", *(f"{a} {b} stood by the gate" for a in WORDS for b in WORDS[:4])]
    source = written(tmp_path, lines)
    stage = text_stage([source], language="en", most=10, numbers="none", language_check="none")
    corpus = made(tmp_path, stage)
    reasons = Counter(one["reason"] for one in rejects(corpus))
    assert len(corpus) == 10 and reasons["near-duplicate"] >= 1
    assert sum(reasons.values()) + 10 == corpus.summary()["rows"]["total"] == 50
    assert corpus.summary()["selection"]["chosen"] == 10
    assert stage.tools and stage.tools[0].startswith("datasketch ")


def test_shards_workers_and_order_of_work_do_not_change_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{a} {b} {c} runa kan." for a in WORDS for b in WORDS[:5] for c in WORDS[5:8]]
    source = written(tmp_path, lines)
    stage = text_stage([source], language="qu", near_duplicates=0.9, language_check="none")
    whole = made(tmp_path, stage)
    monkeypatch.setattr(text_shards, "LINES_PER_SHARD", 30)
    again = made(tmp_path, stage, workers=2)
    assert whole.digest == again.digest
    for name in ("sentences.jsonl.gz", "rejects.jsonl", "text.json"):
        assert (whole.root / name).read_bytes() == (again.root / name).read_bytes(), name


@pytest.mark.slow
def test_the_laws_of_a_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at every point where something is written, it goes on to the same digest (laws 1 to 4)."""
    monkeypatch.setattr(text_shards, "LINES_PER_SHARD", 5)
    corpus = corpus_of(tmp_path / "corpus", TRAINED[:30])
    lines = [*TRAINED[30:36], TRAINED[1], "", f"{TRAINED[30]}!"]
    stage = text_stage([written(tmp_path, lines)], language="qu", corpora=[corpus], language_check="none")
    check_stage(stage, tmp_path / "laws", rows_in=9, count_kept=lambda folder: len(list(TextCorpus.open(folder))))


def test_coverage_can_be_counted_in_the_phones_of_a_voice(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    source = written(tmp_path, [f"{word} house by the river" for word in ("My", "Your", "This", "Her", "Our")])
    stage = text_stage([source], language="en", most=2, phones="espeak", **QUIET)
    assert stage.tools[-1].startswith("espeak ")
    about = made(tmp_path, stage).summary()["selection"]
    assert about["units"] == "pairs of phones" and about["coverage"]["unit"]["chosen"] > 5
    with pytest.raises(ConfigError, match="tells no phones"):
        text_stage([source], language="en", most=2, phones="fake", **QUIET)


def test_two_files_of_one_name_patterns_and_folders_have_ids_of_their_own(tmp_path: Path) -> None:
    a = written(tmp_path / "a", ["It rained all night."])
    b = written(tmp_path / "b", ["Nobody slept at all."])
    corpus = made(tmp_path, text_stage([a, b], language="en", licences=["MIT", "CC0-1.0"], **QUIET))
    assert [(one.id, one.source, one.licence) for one in corpus] == [
        ("news.txt:1", "news.txt", "MIT"),
        ("news.txt~2:1", "news.txt~2", "CC0-1.0"),
    ]
    folder = made(tmp_path, text_stage([tmp_path / "a"], language="en", **QUIET))
    assert [one.id for one in folder] == ["a/news.txt:1"]
    pattern = made(tmp_path, text_stage([tmp_path / "?" / "*.txt"], language="en", **QUIET))
    assert len(pattern) == 2
    for sources, error in (([tmp_path / "z*.txt"], BadInput), ([a, a], ConfigError), ([], BadInput)):
        with pytest.raises(error):
            text_stage(sources, language="en", **QUIET)
    with pytest.raises(ConfigError, match="3 licences for 2 sources"):
        text_stage([a, b], language="en", licences=["1", "2", "3"], **QUIET)


def test_nothing_usable_stops_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(RejectLimitExceeded, match=r"3 of 3 sentences cannot be used.*2 url.*http://a\.b"):
        made(
            tmp_path,
            text_stage([written(tmp_path, ["see http://a.b now", "or www.a.com", "x"])], language="en", **QUIET),
        )
    lines = ["It rained all night.", "see http://a.b now"]
    with pytest.raises(RejectLimitExceeded, match="more than the 40%"):
        made(tmp_path, text_stage([written(tmp_path, lines)], language="en", reject_limit=0.4, **QUIET))
    with pytest.raises(RejectLimitExceeded, match="no line of text"):
        made(
            tmp_path,
            text_stage([written(tmp_path, [])], language="en", split=False, **QUIET).model_copy(
                update={"sources": text_stage([empty(tmp_path)], language="en", **QUIET).sources}
            ),
        )


def empty(folder: Path) -> Path:
    (folder / "empty.txt").write_bytes(b"")
    return folder / "empty.txt"


def test_a_corpus_of_another_language_is_never_rejected_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    english = ["The committee will meet again in the spring.", "It was decided to wait for the report of the minister."]
    swahili = ["Serikali imetangaza kwamba shule zote zitafunguliwa wiki ijayo."]
    source = written(tmp_path, english + swahili)
    stage = text_stage([source], language="sw", near_duplicates=0, numbers="none", language_check="langid")
    corpus = made(tmp_path, stage)
    assert [one.text for one in corpus] == swahili
    assert "--language-check none switches it off" in capsys.readouterr().err
    assert any("language check rejected 2 of 3" in warning for warning in corpus.summary()["warnings"])


def test_plain_text_works_without_the_extra_and_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(text_options, "has_datasketch", lambda: False)
    monkeypatch.setattr(text_options, "has_num2words", lambda: False)
    monkeypatch.setattr("orature.text.language_check.has_langid", lambda: False)
    monkeypatch.setattr("orature.text.near_duplicates.has_datasketch", lambda: False)
    source = written(tmp_path, ["It rained all night.", "It took 25 years."])
    stage = text_stage([source], language="en")
    assert (stage.near_duplicates, stage.numbers, stage.language_check, stage.tools) == (0.0, "none", "none", ())
    assert [one.text for one in made(tmp_path, stage)] == ["It rained all night."]
    told = capsys.readouterr().err
    for word in ("datasketch", "num2words", "py3langid"):
        assert f"{word} is not installed" in told
    with pytest.raises(MissingExtra, match="datasketch"):
        text_stage([source], language="en", near_duplicates=0.8)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"numbers": "words"}, "--numbers"),
        ({"language_check": "guess"}, "--language-check"),
        ({"near_duplicates": 2.0}, "overlap"),
        ({"numbers": "num2words", "language": "yo"}, "does not know the numbers of yo"),
        ({"language_check": "langid", "language": "chr"}, "does not know chr"),
        ({"language_check": "ngrams"}, "training transcripts"),
        ({"language": "???"}, "not a language tag"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(tmp_path: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        text_stage([written(tmp_path, ["It rained."])], **{"language": "en", **QUIET, **options})


def test_a_damaged_text_corpus_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no text corpus"):
        TextCorpus.open(tmp_path)
    good = made(tmp_path, text_stage([written(tmp_path, ["It rained all night."])], language="en", **QUIET))
    summary = good.summary()
    for name, content, says in (
        ("text.json", "{", "cannot be read"),
        ("text.json", json.dumps({**summary, "format": 9}), "format 9"),
        ("text.json", json.dumps({"format": 1}), "lacks digest"),
    ):
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(CorpusError, match=says):
            TextCorpus.open(tmp_path)
    (tmp_path / "text.json").write_text(json.dumps(summary), encoding="utf-8")
    with pytest.raises(CorpusError, match="lost its sentences"):
        TextCorpus.open(tmp_path)
    (tmp_path / "sentences.jsonl.gz").write_bytes(gzip.compress(b'{"id": 1}\n'))
    with pytest.raises(CorpusError, match="damaged"):
        list(TextCorpus.open(tmp_path))
    wrong = Sentence("news.txt:1", "Other text.", "news.txt").to_json()
    (tmp_path / "sentences.jsonl.gz").write_bytes(gzip.compress((json.dumps(wrong) + "\n").encode() * 2))
    problems = TextCorpus.open(tmp_path).verify()
    assert any("there twice" in one for one in problems) and any("digest" in one for one in problems)


def test_the_command_says_what_was_kept_and_why_the_rest_was_not(tmp_path: Path) -> None:
    source = written(tmp_path, ["It rained all night.", "see http://a.b now"])
    line = ["text", str(source), "--to", str(tmp_path / "out"), "--lang", "en", "--store", str(tmp_path / "s")]
    plan = CliRunner().invoke(build(), [*line, "--dry-run", "--json"], catch_exceptions=False)
    assert json.loads(plan.stdout)["files"] == {"lines": 1} and not (tmp_path / "out").exists()
    done = CliRunner().invoke(build(), line, catch_exceptions=False)
    assert "1 of 2 sentences kept" in done.stdout and "1 url" in done.stdout
    as_json = CliRunner().invoke(build(), [*line, "--json"], catch_exceptions=False)
    report = json.loads(as_json.stdout)
    assert report["rows"] == {"total": 2, "kept": 1, "rejected": {"url": 1}} and report["sentences"] == 1
