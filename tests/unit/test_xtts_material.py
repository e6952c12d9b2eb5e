"""What XTTS is fine-tuned on: rows at its rate as files, a reason for each row left out, dev or what stands for it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from voice_data import corpus, texts_of, tones, utterance

from orature.core.errors import ConfigError, CorpusError, LeakFound
from orature.core.files import write_beside
from orature.core.types import Utterance
from orature.data.corpus import Corpus, save_corpus
from orature.stages.xtts_material import gather_xtts, hand_over, tag_for
from orature.train.voice.xtts_config import XttsTuning

CONFIG = XttsTuning(dev_rows=2, longest_samples=44_100)


def saved(folder: Path, rows: list[Utterance]) -> Corpus:
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return Corpus.open(folder)


def gather(found: Corpus, **more: Any) -> Any:
    return gather_xtts(found, [], CONFIG, **{"language": "", "known": {"en", "cs", "zh-cn"}, **more})


def test_rows_are_files_at_the_rate_of_xtts(tmp_path: Path) -> None:
    found = Corpus.open(corpus(tmp_path / "corpus", train=4, dev=3, speakers=("low", "high")))
    handed = hand_over(gather(found), tmp_path / "out", replace_config(prompt_least_s=0.2))
    rows = [json.loads(line) for line in (tmp_path / "out" / "rows.jsonl").read_text("utf-8").splitlines()]
    assert [row["split"] for row in rows] == ["train"] * 4 + ["dev"] * 2 and handed.dev_from == "the dev split"
    for row in rows:
        samples, rate_hz = soundfile.read(tmp_path / "out" / row["audio"])
        assert rate_hz == 22_050 and len(samples) == row["samples"]
        whole = next(one for one in found if one.id == row["id"])
        assert len(samples) == pytest.approx(22_050 * whole.audio.duration_s, abs=2)
        assert (row["text"], row["tag"], row["speaker"]) == (whole.text, "sw", whole.speaker)
    assert list(handed.train) == [f"train0{n}" for n in range(4)]
    assert not any("test" in row["id"] for row in rows)


def replace_config(**values: Any) -> XttsTuning:
    return CONFIG.model_copy(update=values)


def test_each_row_that_is_left_out_has_its_reason(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    texts = iter(texts_of(12))
    rows = [utterance(folder, f"good{n}", f"{next(texts)} {next(texts)}", split="train") for n in range(3)]
    rows.append(utterance(folder, "long", "abc", np.tile(tones("abcdefgh"), 4), split="train"))
    rows.append(utterance(folder, "short", "a", tones("ab"), split="train"))
    rows.append(utterance(folder, "silent", "habc", np.full(16_000, 1e-4, np.float32), split="train"))
    rows.append(utterance(folder, "gone", "hhab", tones("hhabcc"), split="train"))
    rows.append(utterance(folder, "devlong", "gab", np.tile(tones("hgfedcba"), 4), split="dev"))
    found = saved(folder, rows)
    Path(next(row for row in found if row.id == "gone").audio.path).write_bytes(b"no sound")
    handed = hand_over(gather(found), tmp_path / "out", CONFIG)
    reasons = {reject.id: reject.reason for reject in handed.rejects}
    held = [name for name, reason in reasons.items() if reason == "held-out"]
    assert len(held) == 1 and held[0].startswith("good") and list(handed.dev) == held
    assert handed.dev_from.startswith("rows held out")
    assert reasons == {
        "long": "too-long", "short": "too-short", "silent": "silent", "gone": "audio-unreadable", held[0]: "held-out",
    }  # fmt: skip
    assert [(one.id, one.reason) for one in handed.dev_rejects] == [("devlong", "too-long")]
    assert len(handed.train) + len(handed.rejects) == 7


def test_a_cut_hand_over_is_done_again_and_a_whole_one_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from orature.stages import xtts_material

    found = Corpus.open(corpus(tmp_path / "corpus", train=3, dev=1))
    config = replace_config(prompt_least_s=0.2)
    real = xtts_material._recording

    def cut(row: Utterance, path: Path, settings: XttsTuning) -> Any:
        if row.id == "train02":
            raise KeyboardInterrupt
        return real(row, path, settings)

    monkeypatch.setattr(xtts_material, "_recording", cut)
    with pytest.raises(KeyboardInterrupt):
        hand_over(gather(found), tmp_path / "out", config)
    assert not (tmp_path / "out" / "rows.jsonl").exists()
    monkeypatch.undo()
    first = hand_over(gather(found), tmp_path / "out", config)
    assert len(first.train) == 3
    monkeypatch.setattr(xtts_material, "_recording", lambda *_: pytest.fail("it was whole"))
    assert hand_over(gather(found), tmp_path / "out", config) == first


def test_what_cannot_be_trained_on_is_told(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "none", train=0, dev=1)
    with pytest.raises(CorpusError, match="no train"):
        gather(Corpus.open(folder))
    nameless = Corpus.open(corpus(tmp_path / "und", train=2, dev=1, language="und"))
    with pytest.raises(ConfigError, match="which language") as caught:
        gather(nameless)
    assert "--lang" in caught.value.next_step
    assert set(gather(nameless, language="lug-UG").tags.values()) == {"lug"}
    leaky = list(Corpus.open(corpus(tmp_path / "leaky", train=3, dev=1, test=1)))
    test = next(row for row in leaky if row.split == "test")
    rows = [replace(row, text="abcd efgh abcd") if row.id in ("train01", test.id) else row for row in leaky]
    with pytest.raises(LeakFound):
        gather(saved(tmp_path / "leaky2", rows))


def test_languages_meet_the_tags_that_there_are() -> None:
    known = {"en", "cs", "zh-cn", "sw"}
    assert [tag_for(one, known) for one in ("cs-CZ", "ces", "cmn", "zh", "swh", "en-GB")] == [
        "cs", "cs", "zh-cn", "zh-cn", "sw", "en",
    ]  # fmt: skip
    assert tag_for("que-EC", known) == "que" and tag_for("yo", known) == "yo"
