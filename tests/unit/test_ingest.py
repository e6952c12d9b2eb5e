"""Ingest end to end: every bad input is a counted reject or a clear error; nothing depends on workers or crashes."""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import encoded, tone
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import OratureError, RejectLimitExceeded, RowsVanished
from orature.core.types import Reject
from orature.data.corpus import REJECTS, Corpus
from orature.data.readers.plain import PlainFolder
from orature.flow.artefact import ArtefactInfo
from orature.flow.ref import Resources
from orature.flow.run import Run
from orature.flow.store import Store
from orature.stages import ingest as stages
from orature.stages.ingest import ingest_stage
from orature.testing.stage_contract import check_stage

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
GOOD = encoded(tone(0.4))
BAD_AUDIO = {
    "audio-missing": None,
    "audio-empty": b"",
    "audio-truncated": GOOD[: len(GOOD) // 2],
    "audio-unreadable": b"no sound whatsoever",
    "audio-nan": encoded(np.full(8_000, np.nan, np.float32), subtype="FLOAT"),
    "audio-overscaled": encoded(30_000 * tone(0.4), subtype="FLOAT"),
    "audio-silent": encoded(np.zeros(8_000, np.float32)),
    "audio-too-short": encoded(tone(0.05)),
    "audio-too-long": encoded(tone(3.0)),
}
BAD_ROWS = {
    "text-empty": b"good.wav\t \ttrain",
    "text-undecodable": b"good.wav\t\xc3\x28\ttrain",
    "duplicate-id": b"good.wav\tagain\ttrain",
    "split-unknown": b"good.wav\tx\tholiday",
    "row-malformed": b"\tno audio named\ttrain",
}


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setenv("ORATURE_QUIET", "1")


def folder_of(place: Path, kinds: list[str]) -> Path:
    """A plain folder with one good row (so that duplicates have a first) and one row of each kind."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "good.wav").write_bytes(GOOD)
    lines = [b"path\tsentence\tsplit", b"good.wav\tthe  first\ttrain"]
    for number, kind in enumerate(kinds):
        if kind in BAD_ROWS:
            lines.append(BAD_ROWS[kind])
            continue
        data = GOOD if kind == "kept" else BAD_AUDIO[kind]
        if data is not None:
            (place / f"{number}.wav").write_bytes(data)
        lines.append(f"{number}.wav\tsaid {number}\tdev".encode())
    (place / "manifest.tsv").write_bytes(b"\n".join(lines) + b"\n")
    return place


def made(source: Path, store: Path, workers: int = 1, **options: Any) -> tuple[Corpus, ArtefactInfo]:
    options = {"max_seconds": 2.0, "reject_limit": 1.0, **options}
    home = Store(store)
    ref = Run(home, "test", "test").do(ingest_stage(source, **options), on=Resources(workers=workers, progress=False))
    return Corpus.open(home.path_of(ref)), home.info(ref.key)


def rejects_of(corpus: Corpus) -> list[dict[str, str]]:
    return [json.loads(line) for line in (corpus.root / REJECTS).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", [*BAD_AUDIO, *BAD_ROWS])
def test_each_bad_input_is_one_reject_with_its_reason(kind: str, tmp_path: Path) -> None:
    corpus, info = made(folder_of(tmp_path / "source", [kind, "kept"]), tmp_path / "store")
    assert [u.text for u in corpus] == ["the first", "said 1"]
    (reject,) = rejects_of(corpus)
    assert reject["reason"] == kind and reject["detail"] and reject["where"] == "manifest.tsv:3"
    assert info.rows is not None and (info.rows.total, info.rows.kept, info.rows.rejected) == (3, 2, {kind: 1})
    assert corpus.verify() == [] and info.digest == corpus.digest


@settings(max_examples=15, deadline=None)
@given(kinds=st.lists(st.sampled_from(["kept", "kept", *BAD_AUDIO, *BAD_ROWS]), max_size=25))
def test_in_is_kept_and_rejected_for_any_mixture(kinds: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("mixture")
    corpus, info = made(folder_of(place / "source", kinds), place / "store")
    expected = Counter(kind for kind in kinds if kind != "kept")
    assert info.rows is not None and info.rows.total == len(kinds) + 1
    assert len(list(corpus)) == info.rows.kept == kinds.count("kept") + 1
    assert info.rows.rejected == expected == Counter(reject["reason"] for reject in rejects_of(corpus))


def test_escaping_members_are_rejects_of_the_ingest(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", ["kept"])
    (source / "manifest.tsv").write_text("path\tsentence\ngood.wav\tx\n../up.wav\ty\n/etc/passwd\tz\n")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(source, "corpus")
        tar.add(source / "good.wav", "../../up.wav")
    corpus, info = made(tmp_path / "a.tar.gz", tmp_path / "store")
    assert [(u.id, u.source) for u in corpus] == [("good", "corpus")]
    assert info.rows is not None and info.rows.rejected == {"archive-escape": 2, "audio-missing": 1}


@pytest.mark.parametrize("name", ["plain", "commonvoice", "lhotse/cuts", "lhotse/pair", "bare"])
def test_golden_folders_and_archives_give_the_same_rows(name: str, tmp_path: Path) -> None:
    corpus, info = made(GOLDEN / name, tmp_path / "store")
    assert info.rows is not None and info.rows.rejected and info.rows.kept and corpus.verify() == []
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as tar:
        tar.add(GOLDEN / name, Path(name).name)
    packed, _ = made(tmp_path / "a.tar.xz", tmp_path / "store")
    assert packed.digest == corpus.digest


def test_text_is_nfc_and_folded_and_nothing_else(tmp_path: Path) -> None:
    corpus, _ = made(GOLDEN / "plain", tmp_path / "store", language="und-Latn")
    assert [(u.text, u.language, u.split) for u in corpus] == [
        ('Shuk "punlla', "que-EC", "train"),
        ("\u00f1awi", "que-EC", "dev"),
        (None, "und-Latn", "unlabelled"),
    ]


def test_workers_do_not_show_in_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CLIPS_PER_SHARD", 5)
    source = folder_of(tmp_path / "source", ["kept", "audio-nan", "kept", "audio-empty"] * 4)
    one, two = (made(source, tmp_path / f"store{n}", n)[1] for n in (1, 2))
    assert one.files == two.files and one.digest == two.digest
    assert {"audio/00003/00000.flac", "cuts.jsonl.gz", "corpus.json", "rejects.jsonl"} <= set(one.files)


def test_stage_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity, idempotence, conservation, and a kill -9 at every write point."""
    monkeypatch.setattr(stages, "CLIPS_PER_SHARD", 2)
    source = folder_of(tmp_path / "source", ["kept", "audio-nan", "kept"])
    stage = ingest_stage(source, reject_limit=0.6)
    check_stage(stage, tmp_path / "stores", rows_in=4, count_kept=lambda folder: len(list(Corpus.open(folder))))


def test_a_corpus_read_again_is_the_same_corpus(tmp_path: Path) -> None:
    corpus, _ = made(folder_of(tmp_path / "source", ["kept"] * 3), tmp_path / "store")
    again, info = made(corpus.root, tmp_path / "store2")
    assert again.digest == corpus.digest and info.identity["fields"]["format"] == "lhotse"


def test_the_source_digest_follows_content_not_place(tmp_path: Path) -> None:
    one = ingest_stage(folder_of(tmp_path / "1" / "source", ["kept"]))
    assert ingest_stage(folder_of(tmp_path / "2" / "source", ["kept"])).key() == one.key()
    assert ingest_stage(folder_of(tmp_path / "3" / "renamed", ["kept"])).key() != one.key()
    (tmp_path / "2" / "source" / "0.wav").write_bytes(encoded(tone(0.4, hertz=441)))
    assert ingest_stage(tmp_path / "2" / "source").key() != one.key()


def test_an_archive_whose_name_becomes_the_source_is_another_source_under_another_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            tar.add(GOLDEN / "plain" / "manifest.tsv", "manifest.tsv")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert ingest_stage(tmp_path / "a.tar").key() != ingest_stage(tmp_path / "b.tar").key()


def test_audio_outside_the_folder_counts_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "far.wav").write_bytes(GOOD)
    source = tmp_path / "source"
    source.mkdir()
    (source / "manifest.jsonl").write_text(
        json.dumps({"audio_filepath": str(tmp_path / "far.wav"), "text": "x"}) + "\n"
    )
    before = ingest_stage(source).key()
    assert len(list(made(source, tmp_path / "store")[0])) == 1
    (tmp_path / "far.wav").write_bytes(encoded(tone(0.4, hertz=441)))
    assert ingest_stage(source).key() != before


def test_too_many_rejects_stop_the_run_with_an_example(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", ["audio-nan", "audio-nan", "audio-empty", "kept"])
    with pytest.raises(RejectLimitExceeded) as caught:
        made(source, tmp_path / "store", reject_limit=0.5)
    said = str(caught.value)
    assert "3 of 5 rows" in said and "2 audio-nan" in said and "manifest.tsv:3" in said
    assert Path(caught.value.where).read_text(encoding="utf-8").count("\n") == 3


def test_what_a_release_itself_refuses_does_not_stop_the_run(tmp_path: Path) -> None:
    _, info = made(GOLDEN / "commonvoice", tmp_path / "store", reject_limit=0.25)
    assert info.rows is not None and sum(info.rows.rejected.values()) == 4 and info.rows.total == 10


def test_a_source_without_one_usable_row_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_text("path\tsentence\nnone.wav\tx\n")
    with pytest.raises(OratureError, match="1 of 1 rows cannot be used"):
        made(tmp_path, tmp_path / "store", reject_limit=1.0)


def test_a_claimed_length_far_above_the_real_one_is_truncation(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(GOOD)
    (tmp_path / "b.wav").write_bytes(encoded(tone(0.5)))
    (tmp_path / "manifest.tsv").write_text("path\tsentence\tseconds\na.wav\tx\t30\nb.wav\ty\t0.4\n")
    corpus, _ = made(tmp_path, tmp_path / "store")
    assert [(reject["id"], reject["reason"]) for reject in rejects_of(corpus)] == [("a", "audio-truncated")]


def test_a_reader_that_drops_a_row_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = PlainFolder.read
    monkeypatch.setattr(PlainFolder, "read", lambda *args: (item for n, item in enumerate(honest(*args)) if n != 1))
    with pytest.raises(RowsVanished, match="1 are unaccounted for"):
        made(folder_of(tmp_path / "source", ["kept", "kept"]), tmp_path / "store")


def test_a_shard_that_drops_a_reject_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "settled", lambda items, *_: (i for i in items if not isinstance(i, Reject)))
    with pytest.raises(RowsVanished):
        made(folder_of(tmp_path / "source", ["kept", "text-undecodable"]), tmp_path / "store")


def run_command(*arguments: object) -> Any:
    return CliRunner().invoke(build(), ["ingest", *map(str, arguments)])


def test_command_prints_reasons_and_names_the_list(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "source", ["kept", "audio-nan", "audio-silent"])
    arguments = (source, "--to", tmp_path / "corpus", "--store", tmp_path / "store")
    dry = run_command(*arguments, "--dry-run", "--json")
    assert json.loads(dry.stdout)["ingest"] == "todo" and not (tmp_path / "corpus").exists()
    done = run_command(*arguments)
    assert done.exit_code == 0, done.output
    assert "2 of 4 rows kept" in done.stdout and "1 audio-nan" in done.stdout and "rejects.jsonl" in done.stdout
    again = run_command(*arguments, "--json")
    report = json.loads(again.stdout[again.stdout.index("{") :])
    assert report["rows"]["rejected"] == {"audio-nan": 1, "audio-silent": 1} and report["format"] == "plain"
    assert Corpus.open(tmp_path / "corpus").verify() == []


def test_a_licence_is_given_to_rows_that_state_none(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good.wav").write_bytes(GOOD)
    (source / "own.wav").write_bytes(encoded(tone(0.6)))
    rows = ["path\tsentence\tsplit\tlicence", "good.wav\tone\ttrain\t", "own.wav\ttwo\ttrain\tCC0-1.0"]
    (source / "manifest.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    result = run_command(source, "--to", tmp_path / "corpus", "--store", tmp_path / "store", "--licence", "CC BY 4.0")
    assert result.exit_code == 0, result.output
    assert {row.text: row.licence for row in Corpus.open(tmp_path / "corpus")} == {"one": "CC BY 4.0", "two": "CC0-1.0"}


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere"], "no such file or folder"),
        (["empty"], "nothing in it"),
        (["source", "--format", "planes"], "did you mean plain"),
        (["source", "--reject-limit", "7"], "between 0 and 1"),
        (["source", "--licence", " "], "--licence must be one line"),
        (["cut.tar.gz"], "cut off or damaged"),
    ],
)
def test_command_on_bad_input_exits_2_with_a_sentence(arguments: list[str], word: str, tmp_path: Path) -> None:
    folder_of(tmp_path / "source", ["kept"])
    (tmp_path / "empty").mkdir()
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "source", "source")
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "a.tar.gz").read_bytes()[:300])
    source, *rest = arguments
    result = run_command(tmp_path / source, *rest, "--to", tmp_path / "corpus", "--store", tmp_path / "store")
    assert (result.exit_code == 2 and word in result.output and "next:" in result.output) or "between" in result.output
    assert "Traceback" not in result.output and not (tmp_path / "corpus").exists()
