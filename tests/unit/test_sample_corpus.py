"""The synthetic sample corpus: disjoint, the same for the same seed, plainly labelled."""

from __future__ import annotations

import csv
import wave
from pathlib import Path

import pytest

from orature.core.errors import BadInput
from orature.core.identity import digest_file
from orature.data.audio import load
from orature.testing.sample_corpus import NOTICE, SampleCorpus, Sizes, make_sample_corpus, sentences
from orature.text.leaks import Embargoed, EmbargoIndex

SMALL = Sizes(train=24, dev=6, test=8)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleCorpus:
    return make_sample_corpus(tmp_path_factory.mktemp("sample") / "made", sizes=SMALL, progress=False)


def rows(sample: SampleCorpus) -> list[dict[str, str]]:
    with (sample.corpus / "manifest.tsv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))


def digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_speakers_and_sentences_are_disjoint(sample: SampleCorpus) -> None:
    by_split: dict[str, list[dict[str, str]]] = {"train": [], "dev": [], "test": []}
    for row in rows(sample):
        by_split[row["split"]].append(row)
    assert {split: len(part) for split, part in by_split.items()} == {"train": 24, "dev": 6, "test": 8}
    for column in ("speaker", "sentence"):
        seen = [row[column] for part in by_split.values() for row in {r[column]: r for r in part}.values()]
        assert len(seen) == len(set(seen)), column


def test_full_size_never_breaches_the_embargo() -> None:
    import random

    chosen = sentences(random.Random(5), Sizes())
    held = [Embargoed(text, split, text) for split in ("unseen", "dev", "test") for text in chosen[split]]
    index = EmbargoIndex(held, {})
    assert not [text for text in chosen["train"] if index.sentence_breach(text)]
    assert len(set(chosen["train"])) == 240 and all(2 <= len(text.split()) <= 6 for text in chosen["train"])
    assert 30 <= len({word for texts in chosen.values() for text in texts for word in text.split()}) <= 60


def test_audio_is_16_khz_and_as_long_as_stated(sample: SampleCorpus) -> None:
    total_s = 0.0
    for row in rows(sample):
        samples = load(sample.corpus / row["path"])
        assert len(samples) / 16_000 == pytest.approx(float(row["seconds"]), abs=1e-3)
        total_s += float(row["seconds"])
    assert total_s == pytest.approx(sample.seconds, abs=0.1)
    assert 1.0 < total_s / sample.utterances < 4.0


def test_the_unseen_clip_is_in_no_split(sample: SampleCorpus) -> None:
    assert len(load(sample.unseen_clip)) > 16_000
    assert sample.unseen_text not in {row["sentence"] for row in rows(sample)}
    assert sample.corpus not in sample.unseen_clip.parents


def test_it_says_that_it_is_synthetic(sample: SampleCorpus) -> None:
    assert NOTICE in (sample.corpus / "README.md").read_text("utf-8")
    assert {row["origin"] for row in rows(sample)} == {"synthetic"}
    assert {row["licence"] for row in rows(sample)} == {"CC0-1.0"}


def test_the_same_seed_gives_the_same_bytes(sample: SampleCorpus, tmp_path: Path) -> None:
    again = make_sample_corpus(tmp_path / "again", sizes=SMALL, workers=1, progress=False)
    other = make_sample_corpus(tmp_path / "other", sizes=SMALL, seed=2, progress=False)
    assert digests(again.corpus) == digests(sample.corpus)
    assert digests(other.corpus) != digests(sample.corpus)


def test_made_before_is_returned_and_other_things_are_kept(sample: SampleCorpus, tmp_path: Path) -> None:
    before = sample.unseen_clip.stat().st_mtime_ns
    assert make_sample_corpus(sample.corpus.parent, sizes=SMALL, progress=False) == sample
    assert sample.unseen_clip.stat().st_mtime_ns == before
    with wave.open(str(tmp_path / "mine.wav"), "wb") as stream:
        stream.setparams((1, 2, 16_000, 0, "NONE", ""))
    with pytest.raises(BadInput, match="holds something else"):
        make_sample_corpus(tmp_path, sizes=SMALL, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.wav"]
