"""The commands why, runs, store check and store gc."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from orature.cli import spine
from orature.flow import Ref, Resources, Run, Store
from orature.testing.toy_stages import Numbers, Squares


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, Ref]:
    store = Store(tmp_path / ".orature")
    run = Run(store, "toy", "orature toy")
    quiet = Resources(progress=False)
    return store, run.do(Squares(rows=run.do(Numbers(), on=quiet)), on=quiet)


def orature(store: Store, *arguments: str) -> tuple[int, str, str]:
    app = typer.Typer()
    spine.register(app)
    result = CliRunner().invoke(app, [*arguments, "--store", str(store.root)])
    return result.exit_code, result.stdout, result.stderr


def test_why(made: tuple[Store, Ref]) -> None:
    store, ref = made
    code, text, _ = orature(store, "why", ref.key[:8])
    assert code == 0
    for words in ("squares (version 1)", "12 in = 11 kept + 1 rejected", "1 refused", "refuse = 7", "orature toy"):
        assert words in text
    assert text.index("squares (version") < text.index("numbers (version")
    code, text, _ = orature(store, "why", ref.key[:8], "--json")
    lineage = json.loads(text)["lineage"]
    assert [(info["stage"], info["rows"]["kept"]) for info in lineage] == [("squares", 11), ("numbers", 12)]


def test_why_of_something_unknown(made: tuple[Store, Ref], tmp_path: Path) -> None:
    code, _, err = orature(made[0], "why", "0123456789")
    assert code == 2 and "no artefact begins with 0123456789" in err and "Traceback" not in err
    code, _, err = orature(Store(tmp_path / "none"), "why", "0123456789")
    assert code == 2 and "there is no store" in err


def test_runs(made: tuple[Store, Ref]) -> None:
    store, ref = made
    code, text, _ = orature(store, "runs")
    assert code == 0 and "done  toy: orature toy" in text and ref.key[:12] in text
    (record,) = json.loads(orature(store, "runs", "--json")[1])["runs"]
    assert record["state"] == "done" and [step["stage"] for step in record["steps"]] == ["numbers", "squares"]


def test_store_check_finds_and_drops(made: tuple[Store, Ref]) -> None:
    store, ref = made
    assert orature(store, "store", "check")[:2] == (0, "2 results checked, 0 damaged\n")
    path = store.folder(ref.key) / "squares.json"
    path.chmod(0o644)
    path.write_text(path.read_text().replace("1", "7", 1))
    code, text, _ = orature(store, "store", "check")
    assert code == 1 and f"{ref.key[:12]}  squares.json: the content has changed" in text and "--drop-damaged" in text
    code, text, _ = orature(store, "store", "check", "--json")
    assert code == 1 and json.loads(text)["problems"].keys() == {ref.key}
    code, text, _ = orature(store, "store", "check", "--drop-damaged")
    assert code == 0 and "run your command again" in text
    assert store.get(ref.key) is None


def test_store_gc(made: tuple[Store, Ref]) -> None:
    store, _ = made
    assert "0 things removed" in orature(store, "store", "gc")[1]
    code, text, _ = orature(store, "store", "gc", "--keep-days", "0", "--dry-run")
    assert code == 0 and "2 things would be removed" in text and len(store.keys()) == 2
    code, text, _ = orature(store, "store", "gc", "--keep-days", "0", "--json")
    data = json.loads(text)
    assert code == 0 and len(data["removed"]) == 2 and data["bytes"] > 0 and store.keys() == []
