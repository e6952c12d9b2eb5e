"""Text corpora from real text with real corpora: what is kept, and that nothing of dev or test is in it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Resources, Run, open_store
from orature.stages.text_corpus import text_stage
from orature.text.leaks import EmbargoIndex
from orature.text.text_corpus import TextCorpus

pytestmark = pytest.mark.corpora


def corpus_of_manifest(source: Path, folder: Path, language: str) -> Path:
    """A corpus folder with the rows of a manifest: transcripts, splits and seconds, no audio (text needs none)."""
    rows = []
    lines = (source / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    for line in lines[1:]:
        row = dict(zip(header, line.split("\t"), strict=False))
        if row["sentence"]:
            span = AudioSpan(row["path"], 0.0, float(row["seconds"]))
            rows.append(Utterance(row["path"], span, row["sentence"], language=language, source=source.name))
            rows[-1] = replace(rows[-1], split=row["split"])  # type: ignore[arg-type]
    folder.mkdir()
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def made(folder: Path, stage: object) -> TextCorpus:
    run = Run(open_store(folder / "store"), recipe="test", command="test")
    return TextCorpus.open(run.path_of(run.do(stage, on=Resources(progress=False))))  # type: ignore[arg-type]


def rejects(corpus: TextCorpus) -> list[dict[str, str]]:
    return [json.loads(line) for line in (corpus.root / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]


def index_of(*folders: Path) -> EmbargoIndex:
    return EmbargoIndex.of(*(Corpus.open(folder).split(name) for folder in folders for name in ("dev", "test")))


def test_yoruba_news_for_a_yoruba_corpus(corpora: Path, tmp_path: Path) -> None:
    """Fully marked news beside transcripts with few marks: nearly all of it is usable, nothing of dev or test is."""
    source = corpora / "yoruba_ogunlao"
    corpus = corpus_of_manifest(source, tmp_path / "corpus", "yo")
    held_out = [row.text for name in ("dev", "test") for row in Corpus.open(corpus).split(name) if row.text]
    lines = (source / "text_iroyin.txt").read_text(encoding="utf-8").splitlines()[:1500] + held_out
    (tmp_path / "news.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    stage = text_stage([tmp_path / "news.txt"], language="yo", corpora=[corpus], licences=["MIT"])
    assert stage.language_check == "both"
    text = made(tmp_path, stage)
    reasons = Counter(one["reason"] for one in rejects(text))
    leaked = reasons["embargo-sentence"] + reasons["embargo-near-duplicate"]
    index = index_of(corpus)
    assert leaked >= 0.95 * len(held_out) and not any(index.sentence_breach(one.text) for one in text)
    assert len(text) > 0.9 * 1500 and reasons["other-language"] <= 8
    assert text.verify() == [] and {one.licence for one in text} == {"MIT"}


def test_kichwa_text_among_spanish(corpora: Path, tmp_path: Path) -> None:
    """The Spanish column of the same file is found to be another language, by both checks together."""
    source = corpora / "kichwa_killkan"
    corpus = corpus_of_manifest(source, tmp_path / "corpus", "que-EC")
    table = source / "text_only.tsv"
    kichwa = made(tmp_path, text_stage([table], language="que-EC", corpora=[corpus]))
    reasons = Counter(one["reason"] for one in rejects(kichwa))
    assert len(kichwa) > 150 and reasons["other-language"] <= 5
    spanish = text_stage([table], language="que-EC", corpora=[corpus], column="translation", numbers="none")
    found = made(tmp_path, spanish)
    reasons = Counter(one["reason"] for one in rejects(found))
    long = [one.text for one in found if sum(map(str.isalpha, one.text)) >= 20]
    assert reasons["other-language"] > 200 > 4 * len(long), "shorter ones are not judged"
    assert any("more than 30%" in warning for warning in found.summary()["warnings"])


def test_a_choice_of_yoruba_sentences_covers_more_and_is_nearer_to_the_transcripts(
    corpora: Path, tmp_path: Path
) -> None:
    source = corpora / "yoruba_ogunlao"
    corpus = corpus_of_manifest(source, tmp_path / "corpus", "yo")
    lines = (source / "text_iroyin.txt").read_text(encoding="utf-8").splitlines()[:800]
    (tmp_path / "news.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"language": "yo", "corpora": [corpus], "language_check": "none"}
    chosen = made(tmp_path, text_stage([tmp_path / "news.txt"], most=100, **options))
    whole = made(tmp_path, text_stage([tmp_path / "news.txt"], **options))
    first = list(whole)[:100]
    assert len(chosen) == 100
    words = {word for one in chosen for word in one.text.split()}
    assert len(words) > 1.15 * len({word for one in first for word in one.text.split()})
    assert chosen.summary()["selection"]["domain"]["method"].startswith("cross-entropy")
    hours = made(tmp_path, text_stage([tmp_path / "news.txt"], most_hours=0.1, **options))
    assert 0.09 < hours.summary()["hours_estimated"] <= 0.1


@pytest.mark.parametrize("language", ["am", "hi", "th", "ka", "bo", "my", "zh", "ar"])
def test_the_declaration_of_human_rights_in_many_scripts(corpora: Path, tmp_path: Path, language: str) -> None:
    rows = (corpora / "text_udhr" / "sentences.tsv").read_text(encoding="utf-8").splitlines()[1:]
    own = [row.split("\t")[0] for row in rows if row.split("\t")[1].split("-")[0] == language]
    (tmp_path / "udhr.txt").write_text("\n".join(own) + "\n", encoding="utf-8")
    text = made(tmp_path, text_stage([tmp_path / "udhr.txt"], language=language, near_duplicates=0))
    reasons = Counter(one["reason"] for one in rejects(text))
    assert len(text) > 0.35 * len(own), reasons
    assert reasons["other-language"] <= 0.03 * len(own)


def test_number_words_for_a_corpus_of_digits(corpora: Path, tmp_path: Path) -> None:
    """Sentences of one word are prompts that recur by nature: the embargo lets them through, the bounds do too."""
    corpus = corpus_of_manifest(corpora / "digits_fsdd", tmp_path / "corpus", "en")
    words = sorted({row.text for row in Corpus.open(corpus).split("train") if row.text})
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    text = made(tmp_path, text_stage([tmp_path / "words.txt"], language="en", corpora=[corpus]))
    assert [one.text for one in text] == words and len(words) == 10
