"""Back-translation on toy corpora: arms of equal compute, chosen on dev, the same digest however often it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from orature.core.errors import ConfigError
from orature.core.files import write_beside
from orature.core.types import AudioSpan, Utterance
from orature.data.audio import audio_digest, save_flac
from orature.data.corpus import Corpus, save_corpus
from orature.flow import Resources, Store
from orature.flow.run import Run
from orature.recipes.back_translate import plan, run
from orature.recipes.registry import Outcome, Request, recipe_of
from orature.testing.checkpoints_seq2seq import whisper_folder
from tests.integration.tones import make_corpus, tones

FEW: dict[str, Any] = {
    "size": "micro",
    "updates": 10,
    "evaluate_every": 4,
    "batch_seconds": 6.0,
    "overfit_clips": 0,
    "average": 2,
}
ONE = Resources(threads=1, device="cpu", progress=False)


def synthetic_corpus(folder: Path, texts: list[str], language: str = "und") -> Path:
    """A corpus of origin "synthetic": tones of another pitch."""
    (folder / "audio").mkdir(parents=True)
    rows = []
    for number, text in enumerate(texts):
        samples = tones(text, 900 + number, 1.05).astype(np.float32)
        path = folder / "audio" / f"{number}.flac"
        save_flac(path, samples)
        span = AudioSpan(str(path), 0.0, len(samples) / 16_000, audio_digest(samples))
        rows.append(
            Utterance(f"s{number:03}", span, text, "und", f"tone:{number % 4}", "synthetic", "text", None, "train")
        )
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def texts(count: int = 40, seed: int = 4) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list("abc"), size=int(rng.integers(3, 7)))) for _ in range(count)]


def request(root: Path, to: str = "out", **settings: Any) -> Request:
    return Request(
        sources=(str(root / "toy"),), to=root / to, settings={**FEW, **settings}, resources=ONE, command="orature test"
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bt")
    make_corpus(root / "toy")
    synthetic_corpus(root / "made", texts())
    return root


@pytest.fixture(scope="module")
def done(toy: Path) -> Outcome:
    return run(request(toy, synthetic=str(toy / "made"), ratios=[1, 4], merge=True))


def stages(root: Path, name: str) -> list[Any]:
    store = Store(root / ".orature")
    return [info for info in map(store.info, store.keys()) if info.stage == name]


def test_three_arms_and_a_sweep_on_dev(done: Outcome) -> None:
    arms = done.facts["score"]["arms"]
    assert [row["role"] for row in arms["sweep"]] == ["real", "synthetic", "synthetic"]
    assert {row["ratio"] for row in arms["sweep"]} == {0.0, 1.0, 4.0}
    assert all(row["dev"]["cer"]["value"] is not None for row in arms["sweep"])
    tested = {row["name"] for row in arms["rows"]}
    assert "real speech only" in tested and len([row for row in arms["rows"] if row["role"] == "synthetic"]) == 1
    chosen = next(row for row in arms["rows"] if row["role"] == "synthetic")
    least = min((row["dev"]["cer"]["value"], row["dev"]["wer"]["value"], row["ratio"]) for row in arms["sweep"][1:])
    assert least[2] == chosen["ratio"]
    assert set(chosen["difference"]) == {"wer", "cer"}
    assert arms["verdict"]["sentences"]


def test_the_published_arm_is_the_best_on_dev(done: Outcome, toy: Path) -> None:
    arms = done.facts["score"]["arms"]
    rates = {row["name"]: (row["dev"]["cer"]["value"], row["dev"]["wer"]["value"]) for row in arms["rows"]}
    assert rates[arms["published"]] == min(rates.values())
    assert (toy / "out" / "model" / "model.safetensors").is_file()


def test_all_trained_arms_have_the_same_compute(done: Outcome, toy: Path) -> None:
    arms = done.facts["score"]["arms"]
    trained = [row for row in arms["sweep"]]
    assert {row["updates"] for row in trained} == {10}
    hours = [row["audio_hours"] for row in trained]
    assert max(hours) <= 1.05 * min(hours)
    store = Store(toy / "out" / ".orature")
    logs = [(store.folder(info.key) / "train_log.jsonl").read_text("utf-8") for info in stages(toy / "out", "train")]
    last = [json.loads(log.splitlines()[-1]) for log in logs]
    assert sorted(row["update"] for row in last) == [2, 2, 2, 8, 8, 8]
    for updates in (2, 8):
        passed = [row["audio_h"] for row in last if row["update"] == updates]
        assert max(passed) <= 1.1 * min(passed)
    configs = [info.identity["fields"]["config"]["fields"] for info in stages(toy / "out", "train")]
    phases = {(one["updates"], one["batch_seconds"], one["accumulate"], one["seed"], one["peak_lr"]) for one in configs}
    assert {updates for updates, *_ in phases} == {8, 2}
    assert len(phases) == 2 and len({seed for *_, seed, _ in phases}) == 1
    assert not any("not equal" in note for note in arms["notes"])


def test_hours_of_each_origin_follow_the_ratio(done: Outcome) -> None:
    rows = {row["ratio"]: row for row in done.facts["score"]["arms"]["sweep"]}
    assert "synthetic" not in rows[0.0]["hours_seen"]
    first = 0.8
    for ratio in (1.0, 4.0):
        seen, total = rows[ratio]["hours_seen"], rows[ratio]["audio_hours"]
        assert seen["synthetic"] == pytest.approx(first * total * ratio / (1 + ratio), rel=0.15)
        assert seen["real"] + seen["synthetic"] == pytest.approx(total, abs=2e-3)


def test_the_last_phase_is_on_real_speech_from_the_first(done: Outcome, toy: Path) -> None:
    infos = stages(toy / "out", "train")
    last = [info for info in infos if info.identity["fields"]["config"]["fields"]["updates"] == 2]
    assert len(last) == 3
    splits = {info.digest for info in stages(toy / "out", "split")}
    assert all(info.identity["fields"]["corpus"]["ref"] in splits for info in last)
    digests = {info.digest for info in infos}
    assert all(info.identity["fields"]["start"]["ref"] in digests for info in last)


def test_test_is_opened_once_for_each_arm_of_the_table(done: Outcome, toy: Path) -> None:
    rows = done.facts["score"]["arms"]["rows"]
    decoded = [i for i in stages(toy / "out", "transcribe") if i.identity["fields"]["split"] == "test"]
    assert len(decoded) == len([row for row in rows if row["test"]])


def test_the_report_shows_arms_sweep_and_examples(done: Outcome, toy: Path) -> None:
    page = (toy / "out" / "report.html").read_text("utf-8")
    sections = ("Did synthetic speech help?", "CER on dev by synthetic speech", "Listen", "audio/flac", "published")
    for said in ('id="arms"', *sections):
        assert said in page
    assert done.facts["score"]["synthetic"]["facts"]["made"] == 40


@pytest.mark.slow
def test_again_it_does_nothing_and_elsewhere_the_digest_is_the_same(done: Outcome, toy: Path, tmp_path: Path) -> None:
    again = run(request(toy, synthetic=str(toy / "made"), ratios=[1, 4], merge=True))
    assert not again.fresh
    make_corpus(tmp_path / "toy")
    synthetic_corpus(tmp_path / "made", texts())
    calls = 0
    do = Run.do

    def stop_now_and_then(self: Run, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (5, 12):
            raise KeyboardInterrupt
        return do(self, *args, **kwargs)

    wanted = request(tmp_path, synthetic=str(tmp_path / "made"), ratios=[1, 4], merge=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "do", stop_now_and_then)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                run(wanted)
        elsewhere = run(wanted)
    assert elsewhere.facts["score"]["digest"] == done.facts["score"]["digest"]


def test_synthetic_sentences_of_dev_and_test_never_reach_training(toy: Path, tmp_path: Path) -> None:
    """A breach planted: five-letter sentences, so that the embargo's exemption of single words does not hold."""
    folder = make_corpus(tmp_path / "toy")
    soundfile.write(folder / "audio" / "held.wav", tones("ab ca", 78), 16_000)
    with (folder / "manifest.tsv").open("a", encoding="utf-8") as manifest:
        manifest.write("audio/held.wav\tab ca\ttest-9\tund\ttest\n")
    synthetic_corpus(tmp_path / "made", [*texts(), "ab ca"])
    few: dict[str, Any] = {"updates": 2, "evaluate_every": 1, "average": 1}
    run(request(tmp_path, synthetic=str(tmp_path / "made"), ratios=[1], filter="none", **few))
    pools = stages(tmp_path / "out", "pool")
    assert [info.rows.rejected for info in pools if info.rows] == [{"embargo-sentence": 1}]
    store = Store(tmp_path / "out" / ".orature")
    pooled = Corpus.open(store.folder(pools[0].key)).split("train")
    assert "ab ca" not in {row.text for row in pooled}


def test_a_dry_run_shows_all_stages_and_the_cost(done: Outcome, toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.recipes.rehearsal.cost", lambda stage, on: "60 audio-s/s")
    settings: dict[str, Any] = {"synthetic": str(toy / "made"), "ratios": [1, 4], "merge": True}
    fresh = plan(request(toy, to="other", **settings))
    names = [step["stage"] for step in fresh["steps"]]
    assert names.count("train") == 6 and names[0] == "ingest" and names[-1] == "compare-arms"
    assert {step["state"] for step in fresh["steps"]} == {"todo"}
    assert not (toy / "other").exists() or not any((toy / "other").rglob("*.flac"))
    known = plan(request(toy, **settings))
    assert {step["state"] for step in known["steps"]} == {"done"} and "audio-s/s" in known["cost"]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "which text"),
        ({"text": "nothing.txt"}, "no such text"),
        ({"synthetic": "nothing"}, "corpus"),
        ({"ratois": [1]}, "ratois"),
        ({"ratios": [0]}, "above 0"),
        ({"ratios": [1, 1]}, "once"),
        ({"last_share": 1.0}, "last_share"),
        ({"voice": "espaek", "text": __file__}, "espaek"),
        ({"mix": {"origin_weights": {"synthetic": 2.0}}, "text": __file__, "voice": "fake"}, "settles the mixing"),
        ({"loop": 1, "synthetic": "made"}, "loop"),
        ({"updates": 1, "text": __file__, "voice": "fake"}, "too few"),
    ],
)
def test_settings_that_cannot_be_are_refused(toy: Path, tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) if says not in ("corpus",) else pytest.raises(Exception, match=says):
        run(request(toy, to=str(tmp_path / "bad"), **settings))


def test_it_is_in_the_table_of_recipes() -> None:
    assert recipe_of("back_translate").about == recipe_of("back_translate").module().ABOUT


@pytest.mark.slow
def test_a_checkpoint_is_trained_on_and_merged_with_its_start(tmp_path: Path) -> None:
    start = whisper_folder(tmp_path / "whisper", texts=["abc cab bac", "ab ca"], languages=("en", "sw"))
    make_corpus(tmp_path / "toy", language="sw")
    made = synthetic_corpus(tmp_path / "made", texts(), "sw")
    settings: dict[str, Any] = {"updates": 4, "evaluate_every": 2, "batch_seconds": 8.0, "average": 1}
    settings |= {"synthetic": str(made), "ratios": [1], "start": str(start), "merge": True}
    given = Request(
        (str(tmp_path / "toy"),), tmp_path / "out", settings=settings, resources=ONE, command="orature test"
    )
    arms = run(given).facts["score"]["arms"]
    assert {"start", "real", "synthetic", "merged"} == {row["role"] for row in arms["rows"]}
    assert len(arms["merged"]) == 5
    merged = stages(tmp_path / "out", "merge-models")
    assert len(merged) == 5 and len(stages(tmp_path / "out", "train")) == 4
    zero = next(row for row in arms["rows"] if row["role"] == "start")
    assert zero["test"] and zero["dev"] is None and zero["updates"] is None
