"""Archives are not trusted: members that escape, bombs, cut-off and damaged files."""

from __future__ import annotations

import gzip
import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from orature.core.errors import ArchiveError, CorpusError
from orature.core.types import Reject
from orature.data import archive as archives
from orature.data.tree import inside, open_tree

ESCAPES = ["/etc/passwd", "../up.wav", "a/../../up.wav", "C:/x.wav", "..\\up.wav", "//host/share.wav"]


def tar_of(path: Path, members: list[tuple[str, bytes]], mode: str = "w:gz", links: bool = False) -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE) if links else ()
        for number, kind in enumerate(kinds):
            info = tarfile.TarInfo(f"link{number}.wav")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    return path


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    ("name", "safe"), [("a/./b.wav", "a/b.wav"), ("./a.wav", "a.wav"), ("a//b", "a/b"), ("", None), ("a\0b", None)]
)
def test_names_are_made_plain(name: str, safe: str | None) -> None:
    assert inside(name) == safe
    assert all(inside(escape) is None for escape in ESCAPES)


def test_tar_members_that_escape_are_refused(tmp_path: Path) -> None:
    tree = open_tree(tar_of(tmp_path / "a.tar.gz", [*((name, b"x") for name in ESCAPES), ("ok.wav", b"y")], links=True))
    assert tree.names() == ["ok.wav"]
    assert [reject.reason for reject in tree.rejects] == ["archive-escape"] * (len(ESCAPES) + 4)
    assert list(tree.stream(lambda name: True)) == [("ok.wav", b"y")]


def test_zip_members_that_escape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ESCAPES:
            archive.writestr(name, b"x")
        link = zipfile.ZipInfo("link.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("ok.wav", b"y")
    tree = open_tree(path)
    assert tree.names() == ["ok.wav"] and len(tree.rejects) == len(ESCAPES) + 1
    assert {reject.reason for reject in tree.rejects} == {"archive-escape"}


def test_a_name_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    tree = open_tree(tar_of(tmp_path / "a.tar.gz", [("a.wav", b"1"), ("./a.wav", b"2")]))
    assert [reject.reason for reject in tree.rejects] == ["archive-duplicate"]
    assert list(tree.stream(lambda name: True)) == [("a.wav", b"1")]


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz", "zip"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.97])
def test_cut_off_archives_are_an_error(ending: str, share: float, tmp_path: Path) -> None:
    members = [(f"clips/{n}.wav", noise(20_000 + n)) for n in range(20)]
    whole = tmp_path / f"whole.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(whole, "w") as archive:
            for name, data in members:
                archive.writestr(name, data)
    else:
        tar_of(whole, members, "w:" + ending.removeprefix("tar").removeprefix("."))
    assert len(open_tree(whole).names()) == 20
    cut = tmp_path / f"cut.{ending}"
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ArchiveError) as caught:
        open_tree(cut)
    assert "download it again" in caught.value.next_step and str(cut) in caught.value.where


def test_a_tar_cut_between_two_members_is_an_error(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tar", [("a.wav", noise(512)), ("b.wav", noise(512))], "w:")
    (tmp_path / "b.tar").write_bytes(whole.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="closing block"):
        open_tree(tmp_path / "b.tar")


def test_one_flipped_bit_in_a_gzip_is_an_error(tmp_path: Path) -> None:
    data = bytearray(tar_of(tmp_path / "a.tar.gz", [("a.wav", noise(50_000))]).read_bytes())
    data[30_000] ^= 1
    (tmp_path / "b.tar.gz").write_bytes(data)
    with pytest.raises(ArchiveError, match="cut off or damaged"):
        open_tree(tmp_path / "b.tar.gz")


def test_a_damaged_zip_member_is_one_reject(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.wav", noise(1000))
        archive.writestr("b.wav", noise(1001))
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    (_, first), (_, second) = open_tree(path).stream(lambda name: True)
    assert isinstance(first, Reject) and first.reason == "archive-damaged" and second == noise(1001)


def test_encrypted_zip_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.wav", b"x")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted"):
        open_tree(path)


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_bombs_are_stopped(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1 << 20)
    path = tmp_path / f"a.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.wav", bytes(20 << 20))
    else:
        tar_of(path, [("a.wav", bytes(20 << 20))])
    with pytest.raises(ArchiveError, match="decompression bomb"):
        open_tree(path)


@pytest.mark.parametrize("ending", ["tar", "zip"])
def test_a_member_that_is_too_large_is_one_reject(ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 1000)
    path = tmp_path / f"a.{ending}"
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.wav", noise(1001))
            archive.writestr("b.wav", noise(1000))
    else:
        tar_of(path, [("a.wav", noise(1001)), ("b.wav", noise(1000))], "w:")
    (_, first), (_, second) = open_tree(path).stream(lambda name: True)
    assert isinstance(first, Reject) and first.reason == "archive-bomb" and second == noise(1000)


def test_names_tell_nothing_the_bytes_do(tmp_path: Path) -> None:
    tar_of(tmp_path / "archive.bin", [("a.wav", b"x")])
    assert open_tree(tmp_path / "archive.bin").names() == ["a.wav"]
    (tmp_path / "a.zip").write_bytes(b"<html>404</html>")
    (tmp_path / "b.tar.gz").write_bytes(b"")
    for name, word in (("a.zip", "no archive, whatever its name says"), ("b.tar.gz", "empty")):
        with pytest.raises(ArchiveError, match=word):
            open_tree(tmp_path / name)


def test_a_gzipped_manifest_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "cuts.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert open_tree(tmp_path / "cuts.jsonl.gz").names() == ["cuts.jsonl.gz"]
    with pytest.raises(CorpusError):
        open_tree(tmp_path / "none.jsonl.gz")


def test_undecodable_names_do_not_stop_anything(tmp_path: Path) -> None:
    tree = open_tree(tar_of(tmp_path / "a.tar", [("\udcff.wav", b"x"), ("b.wav", b"y")], "w:"))
    assert tree.names() == ["\ufffd.wav", "b.wav"]
    assert [data for _, data in tree.stream(lambda name: True)] == [b"x", b"y"]
