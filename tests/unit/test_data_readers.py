"""Each reader against its golden folder, as folder and as archive, and Common Voice in the shapes of its releases."""

from __future__ import annotations

import json
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from orature.core.errors import ConfigError, CorpusError
from orature.core.types import Reject
from orature.data.draft import Draft, Seen
from orature.data.readers.registry import choose, make_reader, reader_names
from orature.data.tree import open_tree
from orature.stages.ingest import ingest_stage, read_source

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
SOURCES = {
    "plain": "plain",
    "commonvoice": "commonvoice",
    "lhotse_cuts": "lhotse/cuts",
    "lhotse_pair": "lhotse/pair",
    "bare": "bare",
}


def everything(path: Path, name: str = "auto") -> tuple[list[Draft], list[Reject], Seen]:
    tree, seen = open_tree(path), Seen()
    items = list(read_source(choose(tree, name), tree, seen))
    drafts = [item for item in items if isinstance(item, Draft)]
    rejects = [item for item in items if isinstance(item, Reject)]
    assert len(items) == seen.rows
    return drafts, rejects, seen


def facts(path: Path) -> dict[str, Any]:
    drafts, rejects, _ = everything(path)
    fields = ("id", "text", "language", "speaker", "split", "licence", "source", "start_s", "duration_s", "expected_s")
    return {
        "drafts": sorted(([getattr(draft, field) for field in fields] for draft in drafts), key=str),
        "rejects": sorted([reject.id, reject.reason] for reject in rejects),
    }


def pack(folder: Path, to: Path) -> Path:
    if to.suffix == ".zip":
        with zipfile.ZipFile(to, "w") as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, f"{folder.name}/{path.relative_to(folder)}")
    else:
        with tarfile.open(
            to, "w:" + {"gz": "gz", "bz2": "bz2", "xz": "xz", "tar": ""}[to.name.rsplit(".", 1)[-1]]
        ) as tar:
            tar.add(folder, folder.name)
    return to


@pytest.mark.parametrize("name", SOURCES)
def test_golden(name: str) -> None:
    expected = json.loads((GOLDEN / f"expected_{name}.json").read_text(encoding="utf-8"))
    assert facts(GOLDEN / SOURCES[name]) == expected


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_archive_gives_what_the_folder_gives(name: str, ending: str, tmp_path: Path) -> None:
    archive = pack(GOLDEN / SOURCES[name], tmp_path / f"a.{ending}")
    drafts, rejects, _ = everything(archive)
    in_folder, refused, _ = everything(GOLDEN / SOURCES[name])
    here = {draft.id for draft in in_folder if isinstance(draft.audio, Path) and draft.audio.is_file()}
    assert {draft.id for draft in drafts} == here
    assert len(drafts) + len(rejects) == len(in_folder) + len(refused)
    assert all(isinstance(draft.audio, bytes) and draft.audio for draft in drafts)
    texts = {draft.id: draft.text for draft in in_folder}
    assert all(draft.text == texts[draft.id] for draft in drafts)


def release(tmp_path: Path, header: str, durations: str, *, delta: bool = False) -> Path:
    """A little Common Voice release with the columns and side files of its time."""
    top = "cv-corpus-x-delta-2024-01-01" if delta else "cv-corpus-x-2024-01-01"
    folder = tmp_path / top / "br"
    (folder / "clips").mkdir(parents=True)
    columns = header.split("\t")
    tables = {"validated": [1, 2], "invalidated": [3], "other": [4]} | ({} if delta else {"train": [1]})
    for table, numbers in tables.items():
        lines = [header]
        for n in numbers:
            cells = {"client_id": f"spk{n}", "path": f"common_voice_br_{n}.mp3", "sentence": f'"degemer {n}'}
            lines.append("\t".join(cells.get(column, "") for column in columns))
        (folder / f"{table}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clip = next(GOLDEN.glob("commonvoice/*/que/clips/*.mp3"))
    for n in range(1, 5):
        shutil.copy(clip, folder / "clips" / f"common_voice_br_{n}.mp3")
    text = "".join(f"common_voice_br_{n}.mp3\t{1000 + n}\n" for n in range(1, 5))
    (folder / durations).write_text(("clip\tduration[ms]\n" if durations.endswith("tsv") else "") + text)
    return tmp_path / top


OLD = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent\tlocale\tsegment"
MIDDLE = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment"
NEW = (
    "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage\tgender\taccents\tvariant"
    "\tlocale\tsegment"
)


@pytest.mark.parametrize(
    ("header", "durations", "delta"),
    [(OLD, "times.txt", False), (MIDDLE, "times.txt", False), (NEW, "clip_durations.tsv", False), (NEW, "x.txt", True)],
    ids=["6.1", "13.0", "25.0", "delta"],
)
def test_common_voice_by_release(header: str, durations: str, delta: bool, tmp_path: Path) -> None:
    drafts, rejects, seen = everything(release(tmp_path, header, durations, delta=delta))
    assert [(draft.id[-1], draft.split, draft.text) for draft in sorted(drafts, key=lambda draft: draft.id)] == [
        ("1", None if delta else "train", '"degemer 1'),
        ("2", None, '"degemer 2'),
        ("4", "unlabelled", None),
    ]
    assert [reject.reason for reject in rejects] == ["cv-invalidated"] and seen.rows == 4
    assert all(draft.language == "br" and draft.speaker for draft in drafts)
    expected = {None} if delta else {1.001, 1.002, 1.004}
    assert {draft.expected_s for draft in drafts} == expected
    assert {draft.source for draft in drafts} == {f"cv-corpus-x{'-delta' * delta}-2024-01-01/br"}


def test_a_clip_of_two_tables_counts_once_and_is_said(tmp_path: Path) -> None:
    top = release(tmp_path, NEW, "clip_durations.tsv")
    table = top / "br" / "other.tsv"
    table.write_text((top / "br" / "train.tsv").read_text(encoding="utf-8"), encoding="utf-8")
    drafts, rejects, _ = everything(top)
    assert sorted(draft.id[-1] for draft in drafts) == ["1", "2"]
    assert sorted(reject.reason for reject in rejects) == ["audio-without-row", "cv-invalidated", "duplicate-id"]


@pytest.mark.parametrize("depth", ["..", "br"])
def test_common_voice_from_above_and_within(depth: str, tmp_path: Path) -> None:
    top = release(tmp_path, NEW, "clip_durations.tsv")
    whole, _, _ = everything(top)
    part, _, _ = everything(tmp_path if depth == ".." else top / "br")
    assert [(draft.id, draft.source) for draft in part] == [(draft.id, draft.source) for draft in whole]


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("files", "split"),
    [
        ({"manifest.jsonl": '{"audio_filepath": "a.wav", "text": "shuk", "duration": 1.5, "lang": "que"}\n'}, None),
        (
            {"train_manifest.json": '{"audio_filepath": "a.wav", "text": "shuk", "duration": 1.5, "lang": "que"}\n'},
            "train",
        ),
        ({"metadata.csv": 'file_name,transcription,language,duration\na.wav,"shuk",que,1.5\n'}, None),
        ({"manifest.csv": "path;sentence;locale;seconds\na.wav;shuk;que;1.5\n"}, None),
        (
            {"test/metadata.jsonl": '{"file_name": "a.wav", "text": "shuk", "lang": "que", "duration": 1.5}\n'},
            "test",
        ),
        ({"dev.tsv": "\ufeffPath\tSentence\tLang\tSeconds\r\na.wav\tshuk\tque\t1.5\r\n"}, "dev"),
    ],
)
def test_plain_variants(files: dict[str, str], split: str | None, tmp_path: Path) -> None:
    drafts, rejects, _ = everything(put(tmp_path, files))
    assert not rejects
    assert [(draft.id, draft.text, draft.language, draft.expected_s, draft.split) for draft in drafts] == [
        ("a", "shuk", "que", 1.5, split)
    ]


def test_plain_offsets_cut_parts_out(tmp_path: Path) -> None:
    rows = [{"audio_filepath": "a.wav", "text": "x", "duration": 2, "offset": at} for at in (0, 2.5, -1, "nan")]
    put(tmp_path, {"manifest.json": "".join(json.dumps(row) + "\n" for row in rows)})
    drafts, rejects, _ = everything(tmp_path)
    assert [(draft.id, draft.start_s, draft.duration_s) for draft in drafts] == [("a@0.000", 0, 2), ("a@2.500", 2.5, 2)]
    assert [reject.reason for reject in rejects] == ["row-malformed"] * 2


def test_plain_rows_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    lines = [
        "path\tsentence\tsplit",
        "a.wav\tx\tholiday",
        "\tx\ttrain",
        "a.wav\tx\ttrain\textra",
        "a.wav",
        'b.wav\t"\ttest',
    ]
    drafts, rejects, _ = everything(put(tmp_path, {"manifest.tsv": "\n".join(lines)}))
    assert [(draft.id, draft.text) for draft in drafts] == [("a", ""), ("b", '"')]
    assert [reject.reason for reject in rejects] == ["split-unknown", "row-malformed", "row-malformed"]


def test_csv_with_an_open_quote_loses_one_row_only(tmp_path: Path) -> None:
    text = 'path,sentence\na.wav,"two\nlines, one cell"\nb.wav,"open\nc.wav,plain\nd.wav,last\n'
    drafts, rejects, _ = everything(put(tmp_path, {"manifest.csv": text}))
    assert [(draft.id, draft.text) for draft in drafts] == [
        ("a", "two\nlines, one cell"),
        ("c", "plain"),
        ("d", "last"),
    ]
    assert [(reject.id, reject.reason) for reject in rejects] == [('b.wav,"open', "row-malformed")]


def test_a_manifest_without_the_columns_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no column that names the audio") as caught:
        everything(put(tmp_path, {"manifest.tsv": "words\tmore\na\tb\n"}))
    assert "words, more" in str(caught.value) and "path and sentence" in str(caught.value)


def test_utf16_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.tsv").write_bytes("path\tsentence\na\tb\n".encode("utf-16"))
    with pytest.raises(CorpusError, match="UTF-16"):
        everything(tmp_path)


def test_a_cut_off_manifest_is_an_error(tmp_path: Path) -> None:
    whole = next((GOLDEN / "lhotse" / "cuts").glob("*.gz")).read_bytes()
    (tmp_path / "cuts.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorpusError, match="cut off or damaged"):
        everything(tmp_path)


def test_unknown_format_names_the_nearest() -> None:
    with pytest.raises(CorpusError) as caught:
        make_reader("comonvoice")
    assert "did you mean commonvoice?" in str(caught.value) and "plain" in str(caught.value)
    assert reader_names()[-1] == "bare" and set(reader_names()) >= {"plain", "commonvoice", "lhotse"}


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({}, "nothing in it"),
        ({"a.pdf": "x", "b.pdf": "x"}, "2 x .pdf"),
        ({"manifest.tsv": "path\tsentence\n"}, "no row"),
    ],
)
def test_sources_that_are_no_corpus(files: dict[str, str], word: str, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=word) as caught:
        ingest_stage(put(tmp_path, files))
    assert caught.value.next_step


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no such file or folder"):
        ingest_stage(tmp_path / "nowhere")
    (tmp_path / "x.pdf").write_bytes(b"%PDF")
    with pytest.raises(CorpusError, match="neither an archive, a manifest nor a sound"):
        ingest_stage(tmp_path / "x.pdf")


def test_readers_added_by_a_package_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from orature.data.readers import registry

    points = [
        EntryPoint("mine", "orature.data.readers.bare:BareAudio", registry.GROUP),
        EntryPoint("broken", "orature.nowhere:Reader", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    assert registry.reader_names() == ["commonvoice", "lhotse", "plain", "broken", "mine", "bare"]
    assert registry.make_reader("mine").name == "bare"
    with pytest.raises(ConfigError, match="cannot be loaded"):
        registry.make_reader("broken")
