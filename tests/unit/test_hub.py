"""Where a model lies: nothing is downloaded without permission, and never pickled weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from orature.core.errors import ModelError
from orature.engines.hub import ALLOW, model_folder


def test_a_folder_is_itself_and_a_wrong_path_is_named(tmp_path: Path) -> None:
    assert model_folder(tmp_path) == tmp_path
    with pytest.raises(ModelError, match="no such model folder") as caught:
        model_folder(tmp_path / "not" / "there")
    assert "config.json" in caught.value.next_step


def test_an_id_needs_permission(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.delenv(ALLOW, raising=False)
    with pytest.raises(ModelError, match="without permission") as caught:
        model_folder("someone/some-model")
    assert ALLOW in caught.value.next_step and not asked
    monkeypatch.setenv(ALLOW, "1")
    assert model_folder("someone/some-model", revision="abc") == tmp_path
    assert asked[0]["name"] == "someone/some-model" and asked[0]["revision"] == "abc"
    assert asked[0]["ignore_patterns"] == ["adapter.*"] and len(asked) == 1
    model_folder("someone/some-model", language="yo")
    assert "adapter.yor.safetensors" in asked[2]["allow_patterns"] and "adapter.*" not in asked[2]["allow_patterns"]
    assert not {pattern for pattern in asked[0]["allow_patterns"] if "bin" in pattern or pattern == "*"}


def test_a_failed_download_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(name: str, **options: Any) -> str:
        raise OSError("no route to host\nand more lines")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelError, match="cannot be downloaded: no route to host") as caught:
        model_folder("someone/some-model", allow_network=True)
    assert "more lines" not in str(caught.value)
