"""`orature compare` and `orature report` as a person types them; the page in a real browser where there is one."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orature.evaluate.rows import Row
from orature.evaluate.score import Drawing, score

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">"


def orature(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orature.cli.main", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def scored_folder(folder: Path, wrong: int, fingerprint: str = "ab" * 32) -> Path:
    folder.mkdir()
    rows = [
        Row(
            f"u{i:02}",
            f"said {EVIL} {i}",
            f"said {EVIL}" if i < wrong else f"said {EVIL} {i}",
            speaker=f"s{i % 7}",
            duration_s=2,
        )
        for i in range(60)
    ]
    found = score(rows, split_fingerprint=fingerprint, model=folder.name, drawing=Drawing(resamples=100))
    (folder / "score.json").write_text(json.dumps(found), encoding="utf-8")
    names = ("id", "reference", "hypothesis", "speaker", "duration_s")
    lines = [json.dumps({name: getattr(row, name) for name in names}) for row in rows]
    (folder / "hypotheses.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_compare_says_which_is_better_or_why_not(tmp_path: Path) -> None:
    poor, good = scored_folder(tmp_path / "poor", 50), scored_folder(tmp_path / "good", 2)
    shown = orature("compare", poor, good)
    assert shown.returncode == 0, shown.stderr
    assert "WER: B is better (interval by speaker" in shown.stdout
    machine = json.loads(orature("compare", poor, good, "--json").stdout)
    assert machine["wer"]["high"] < 0
    refused = orature("compare", poor, scored_folder(tmp_path / "other", 2, "cd" * 32))
    assert refused.returncode == 2
    assert "different test sets" in refused.stderr and "Traceback" not in refused.stderr


def test_report_writes_the_page_or_says_what_is_missing(tmp_path: Path) -> None:
    folder = scored_folder(tmp_path / "a model", 9)
    shown = orature("report", folder)
    assert shown.returncode == 0, shown.stderr
    assert (folder / "report.html").is_file()
    assert orature("report", folder, "--to", tmp_path / "mail" / "b.html").returncode == 0
    assert (tmp_path / "mail" / "b.html").is_file()
    missing = orature("report", tmp_path / "mail")
    assert missing.returncode == 2
    assert "holds no score.json" in missing.stderr and "Traceback" not in missing.stderr


@pytest.mark.skipif(not BROWSER, reason="no Chromium on PATH (Debian: apt-get install chromium)")
def test_a_browser_shows_the_table_and_runs_nothing_foreign(tmp_path: Path) -> None:
    folder = scored_folder(tmp_path / "a", 9)
    assert orature("report", folder).returncode == 0
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    command = [BROWSER, *flags.split(), "--disable-component-update", "--disable-sync", "--virtual-time-budget=3000"]
    shown = subprocess.run(
        [*command, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (folder / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    title = re.search(r"<title>(.*?)</title>", shown.stdout)
    assert title and "broken" not in title[1]
    body = shown.stdout.partition('id="table"')[2]
    assert body.count("<tr>") == 26
    assert "60 utterances" in body and "page 1 of 3" in body
    assert html.escape(EVIL, quote=False) in body.replace("\u00a0", " ") or "&lt;/script&gt;" in body
