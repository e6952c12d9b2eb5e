"""`orature train-voice --start XTTS` from the command to the folder: with a double of the worker and with the real one.

The real one needs the environment of coqui-tts: ORATURE_XTTS_PYTHON names its python (`orature voices add xtts`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result
from voice_data import tones, utterance

from orature.cli.main import build
from orature.core.errors import ModelError, TrainingFailed
from orature.core.files import write_beside
from orature.core.types import Refusal
from orature.data.corpus import save_corpus
from orature.engines.environment_voice import WORKERS
from orature.engines.fake_voice import FakeVoice
from orature.engines.training_worker import train_in_worker
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice
from orature.recipes.train_voice import VoiceOptions
from orature.recipes.tune_xtts import is_xtts, xtts_config, xtts_stage
from orature.stages import tune_xtts
from orature.stages.inputs import corpus_ref
from orature.testing.stage_contract import check_identity

FAST = {
    "epochs": 30, "updates": 12, "batch": 4, "accumulation": 2, "lr": 1e-3, "evaluate_every": 4, "dev_rows": 2,
    "samples": 1, "little_text": 0, "new_pieces": 4,
}  # fmt: skip
DOUBLE = f"""
import json, sys
from pathlib import Path
sys.path.insert(0, {str(WORKERS)!r})
from training import beside, run, tell

def main(job):
    if job["op"] == "cost":
        return {{"row_s": 0.5, "parameters": 1000, "trained": 400}}
    rows = [json.loads(line) for line in Path(job["rows"]).read_text().splitlines()]
    train = [row for row in rows if row["split"] == "train"][1:]
    state = Path(job["state"])
    state.mkdir(parents=True, exist_ok=True)
    left = {{"id": rows[0]["id"], "split": "train", "reason": "characters-unknown", "detail": "it lacks ŋ"}}
    (state / "rejects.jsonl").write_text(json.dumps(left) + "\\n")
    tell("begin", update=0, updates=2)
    tell("reading", done=1, total=2)
    tell("facts", trained=400, parameters=1000, train_rows=4, dev_rows=1, train_s=9.0, new_tokens=[], text_tokens=40)
    tell("step", update=1, loss=3.0, seconds=1.0)
    tell("evaluated", update=2, dev_audio=2.0)
    with beside(Path(job["out"])) as part:
        part.mkdir()
        for name in ("config.json", "vocab.json", "model.safetensors", "dvae.safetensors"):
            (part / name).write_text(name)
        (part / "orature.json").write_text(json.dumps({{"character_limits": {{"lug": 210}}}}))
    dev = {{"dev_audio": 3.0, "dev_text": 4.0}}
    log = [{{"update": 0, **dev}}, {{"update": 2, "audio": 2.5, **dev, "dev_audio": 2.0}}]
    return {{
        "updates": 2, "chosen": 2, "audio_h": 0.1, "log": log, "parameters": 1000, "trained": 400,
        "rate_hz": 24_000, "text_tokens": 40, "new_tokens": ["[lug]", "ŋ"], "train_rows": len(train),
        "dev_rows": 1, "train_s": 9.0, "character_limits": {{"lug": 210}}, "speakers": ["high", "low"],
    }}

sys.exit(run(main, sys.argv[1:]))
"""


def corpus(folder: Path, train: int = 12, dev: int = 2) -> Path:
    """Tones in a language that XTTS lacks, with a letter that it lacks; one row with digits."""
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(4)
    rows = []
    for split, count in (("train", train), ("dev", dev), ("test", 1)):
        for number in range(count):
            said = "".join(drawn.choice(list("abcdefgh"), size=9))
            text = f"{said[:4]} {said[4:]}".replace("g", "ŋ") + (" 7" if (split, number) == ("train", 0) else "")
            who = ("low", "high")[number % 2]
            name = f"{split}{number:02}"
            rows.append(utterance(folder, name, text, tones(said), split=split, speaker=who, language="lug"))
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def assignments(values: Mapping[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def cli(folder: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.chdir(folder)
    flags = ["--device", "cpu", "--threads", "1", "--store", "store", "--json"]
    return CliRunner().invoke(build(), ["train-voice", "corpus", *words, *flags])


def pretended(folder: Path) -> Path:
    """A folder that looks like XTTS-v2."""
    folder.mkdir(parents=True)
    table = {"model": {"type": "BPE", "vocab": {"[STOP]": 0, "[en]": 1, "[zh-cn]": 2}, "merges": []}}
    texts = {"config.json": json.dumps({"model": "xtts"}), "vocab.json": json.dumps(table)}
    for name in ("config.json", "vocab.json", "model.safetensors", "dvae.pth", "mel_stats.pth"):
        (folder / name).write_text(texts.get(name, name))
    return folder


@pytest.fixture
def doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, a start and a worker that only pretends."""
    corpus(tmp_path / "corpus", train=5, dev=2)
    pretended(tmp_path / "start")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "xtts_train_worker.py").write_text(DOUBLE, "utf-8")
    monkeypatch.setenv("ORATURE_XTTS_PYTHON", sys.executable)
    monkeypatch.setattr(tune_xtts, "WORKERS", tmp_path / "workers")
    monkeypatch.setattr(tune_xtts, "open_voice", lambda spec, **_: FakeVoice())
    return tmp_path


def test_the_folder_tells_what_was_done(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cli(doubled, ["--to", "out", "--start", "start", "--set", "samples=1"], monkeypatch)
    assert made.exit_code == 0, made.output
    assert json.loads(made.stdout)["chosen"] == 2
    out = doubled / "out"
    facts = json.loads((out / "training.json").read_text("utf-8"))
    assert facts["train_utterances"] == 4 and facts["rejected"] == {"characters-unknown": 1}
    assert facts["dev"]["dev_audio"] == 2.0 and facts["dev_at_start"]["dev_audio"] == 3.0
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [row["reason"] for row in rejects] == ["characters-unknown"]
    card = (out / "README.md").read_text("utf-8")
    assert "CPML" in card and "Non-commercial use only" in card and "CC BY 4.0" in card and "`[lug]` `ŋ`" in card
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<audio") == 2 and "read aloud, update 2 (chosen)" in page and "CPML" in page
    assert "loss of an audio code" in page and "loss of durations" not in page and str(doubled) not in page
    labels = json.loads((out / "orature.json").read_text("utf-8"))
    assert labels["character_limits"] == {"lug": 210} and "non-commercial" in labels["licence"]
    assert (out / "model.safetensors").read_text() == "model.safetensors"
    monkeypatch.setattr(tune_xtts, "train_in_worker", lambda *_, **__: pytest.fail("it was made before"))
    assert cli(doubled, ["--to", "out", "--start", "start", "--set", "samples=1"], monkeypatch).exit_code == 0


def test_the_plan_and_its_cost(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--to", "out", "--start", "start", "--dry-run", "--scale", "full"]
    planned = cli(doubled, [*words, "--set", "batch=2", "--set", "accumulation=1"], monkeypatch)
    assert planned.exit_code == 0, planned.output
    plan = json.loads(planned.stdout)
    assert plan["cost"]["updates"] == 5 * 3 and plan["cost"]["update_s"] == 1.0 and plan["cost"]["seconds"] == 15.0
    assert plan["cost"]["disk_bytes"] >= 4 * (8 * 400 + 1000) and plan["config"]["betas"] == [0.9, 0.96]
    assert not (doubled / "out").exists()


def test_the_key_holds_all_that_matters(doubled: Path) -> None:
    stage = xtts_stage(corpus_ref(doubled / "corpus"), VoiceOptions(start=str(doubled / "start")), name="tones")
    check_identity(stage)
    assert stage.version == 1 and stage.environment
    (doubled / "start" / "mel_stats.pth").write_text("others")
    again = xtts_stage(corpus_ref(doubled / "corpus"), VoiceOptions(start=str(doubled / "start")), name="tones")
    assert again.key() != stage.key()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--judge", "asr"], 2, "a judge chooses no checkpoint of XTTS"),
        (["--set", "epoch=3"], 2, "did you mean 'epochs'"),
        (["--set", "prompt_least_s=7"], 2, "is above prompt_most_s"),
        (["--scale", "huge"], 2, "no scale 'huge'"),
    ],
)
def test_bad_options_are_sentences(
    doubled: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, said: str
) -> None:
    found = cli(doubled, ["--to", "out", "--start", "start", *words], monkeypatch)
    assert found.exit_code == code and said in found.output and "Traceback" not in found.output


def test_what_is_missing_is_told(doubled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--to", "out", "--start", "start"]
    monkeypatch.setattr(tune_xtts, "WORKERS", WORKERS)  # our own python has no coqui-tts
    found = cli(doubled, words, monkeypatch)
    assert found.exit_code == 2 and "TTS" in found.output and "Traceback" not in found.output
    monkeypatch.delenv("ORATURE_XTTS_PYTHON")
    monkeypatch.setenv("ORATURE_DATA", str(doubled / "data"))
    found = cli(doubled, words, monkeypatch)
    assert found.exit_code == 2 and "orature voices add xtts --accept-licence" in found.output
    (doubled / "start" / "dvae.pth").unlink()
    found = cli(doubled, words, monkeypatch)
    assert found.exit_code == 2 and "no codec" in found.output and "speaking does not" in found.output
    (doubled / "start" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors") as caught:
        tune_xtts.xtts_start(doubled / "start")
    assert "--convert" in caught.value.next_step
    assert is_xtts(str(doubled / "start")) and not is_xtts(str(doubled / "corpus")) and not is_xtts(None)


def test_settings_by_scale() -> None:
    full, smoke = (xtts_config(VoiceOptions(scale=scale, start="x")) for scale in ("full", "smoke"))
    assert (full.updates, full.epochs, smoke.updates) == (None, 5, 10)
    assert xtts_config(VoiceOptions(start="x", seed=4, settings={"lr": 1e-5})).seed == 4


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus and a small random XTTS with its codec, made in the environment of coqui-tts."""
    python = os.environ.get("ORATURE_XTTS_PYTHON")
    if not python:
        pytest.skip("set ORATURE_XTTS_PYTHON to the python of an environment with coqui-tts (orature voices add xtts)")
    place = tmp_path_factory.mktemp("tune")
    corpus(place / "corpus")
    script = Path(__file__).resolve().parents[1] / "xtts_tiny.py"
    subprocess.run([python, str(script), str(place / "start"), "codec"], check=True, capture_output=True)
    return place


@pytest.mark.slow
def test_a_small_xtts_learns_a_language_and_speaks_it(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cli(real, ["--to", "out", "--start", "start", *assignments(FAST)], monkeypatch)
    assert made.exit_code == 0, made.output
    out = real / "out"
    log = [json.loads(line) for line in (out / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert log[-1]["dev_audio"] < 0.9 * log[0]["dev_audio"] and log[-1]["dev_text"] < log[0]["dev_text"]
    facts = json.loads((out / "training.json").read_text("utf-8"))
    assert facts["new_tokens"][:2] == ["[lug]", "ŋ"] and len(facts["new_tokens"]) == 6
    assert facts["rejected"] == {"unreadable-characters": 1} and facts["train_utterances"] == 11
    assert facts["trained_parameters"] < facts["parameters"]
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["model_args"]["gpt_number_text_tokens"] == facts["text_tokens"] == 38 + 6
    assert config["languages"][-1] == "lug"
    _frozen_parts_are_those_of_the_start(real)
    limit = facts["character_limits"]["lug"]
    prompt = str(next((real / "corpus").glob("**/train01.flac")))
    with open_voice(f"xtts:{out}") as voice:
        assert "non-commercial" in voice.card.licence and "lug" in voice.card.languages
        assert voice.speakers("lug") == ["high", "low"] and voice.traits.most_characters >= limit
        named = SpeechRequest("abcŋ hŋ", language="lug", seed=1, speaker="high")
        cloned = SpeechRequest("abcŋ hŋ", language="lug-UG", seed=1, prompt=prompt)
        long = SpeechRequest("a" * (limit + 1), language="lug", seed=1, speaker="low")
        first, second, refused = voice.speak([named, cloned, long])
    assert isinstance(refused, Refusal) and refused.reason == "too-long"
    for one in (first, second):
        assert not isinstance(one, Refusal), one
        assert len(one) and np.isfinite(one).all()
    assert "<audio" in (out / "report.html").read_text("utf-8")
    again = cli(real, ["--to", "next", "--start", "out", "--dry-run", *assignments(FAST)], monkeypatch)
    assert again.exit_code == 0 and json.loads(again.stdout)["cost"]["seconds"] > 0, again.output


@pytest.mark.slow
def test_the_loss_is_that_of_coquis_own_model(real: Path) -> None:
    script = Path(__file__).resolve().parents[1] / "xtts_parity.py"
    command = [os.environ["ORATURE_XTTS_PYTHON"], str(script), str(real / "start")]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    for ours, theirs in (found["text"], found["audio"]):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert found["latents"] < 1e-6


def _frozen_parts_are_those_of_the_start(place: Path) -> None:
    from safetensors.torch import load_file

    before, after = (load_file(place / name / "model.safetensors") for name in ("start", "out"))
    assert before.keys() == after.keys()
    changed = {
        name for name in before if before[name].shape != after[name].shape or not before[name].equal(after[name])
    }
    assert {name.split(".")[0] for name in changed} == {"gpt"}
    assert not any("conditioning" in name for name in changed) and "gpt.text_head.weight" in changed


def job_in(real: Path, place: Path, **more: Any) -> Path:
    """A job of the training worker on the material that the stage hands over."""
    from orature.data.corpus import Corpus
    from orature.stages.xtts_material import gather_xtts, hand_over

    place.mkdir()
    config = xtts_config(VoiceOptions(start="x", settings=FAST))
    material = gather_xtts(Corpus.open(real / "corpus"), [], config, language="", known={"en", "es", "sw"})
    hand_over(material, place / "material", config)
    job = {
        "protocol": 1, "op": "train", "start": str(real / "start"), "rows": str(place / "material" / "rows.jsonl"),
        "state": str(place / "state"), "out": str(place / "voice"), "device": "cpu", "threads": 1,
        "config": config.model_dump(mode="json"), **more,
    }  # fmt: skip
    (place / "job.json").write_text(json.dumps(job))
    return place / "job.json"


@pytest.mark.slow
def test_cut_and_killed_it_ends_as_undisturbed(real: Path, tmp_path: Path) -> None:
    environment = {**tune_xtts.worker_environment(1), "ORATURE_SAVE_EVERY_S": "-1"}

    def at(update: int, error: BaseException) -> Any:
        def hear(line: Mapping[str, Any]) -> None:
            if line["event"] == "step" and line["update"] == update:
                raise error

        return hear

    command = tune_xtts.worker_command()
    whole = train_in_worker(command, job_in(real, tmp_path / "whole"), hear=lambda line: None, environment=environment)
    job = job_in(real, tmp_path / "cut")
    with pytest.raises(KeyboardInterrupt):
        train_in_worker(command, job, hear=at(3, KeyboardInterrupt()), environment=environment)
    assert len(list((tmp_path / "cut" / "state").glob("checkpoint-*"))) == 1
    with pytest.raises(TrainingFailed, match="without a word"):
        train_in_worker(command, job, hear=_killing(tmp_path / "cut"), environment=environment)
    begun: list[int] = []
    ended = train_in_worker(
        command, job, hear=lambda line: begun.append(line["update"]) if line["event"] == "begin" else None,
        environment=environment,
    )  # fmt: skip
    assert 7 <= begun[0] < 12 and ended == whole
    for name in ("model.safetensors", "vocab.json", "speakers.safetensors", "config.json"):
        one, other = ((tmp_path / place / "voice" / name).read_bytes() for place in ("whole", "cut"))
        assert one == other, name


def _killing(place: Path) -> Any:
    """Kills the worker (kill -9) once update 8 is told."""

    def hear(line: Mapping[str, Any]) -> None:
        if line["event"] == "step" and line["update"] == 8:
            found = subprocess.run(["pgrep", "-f", str(place / "job.json")], capture_output=True, text=True, check=True)
            for pid in found.stdout.split():
                if int(pid) != os.getpid():
                    os.kill(int(pid), 9)

    return hear


@pytest.mark.slow
def test_codes_follow_the_sound_and_a_harmful_codec_is_refused(real: Path, tmp_path: Path) -> None:
    import pickle

    from safetensors.torch import load_file

    job = job_in(real, tmp_path / "job", op="cost", means={"seconds": 1.0, "letters": 10})
    found = train_in_worker(tune_xtts.worker_command(), job, hear=lambda line: None)
    assert found["row_s"] > 0 and 0 < found["trained"] < found["parameters"]
    made = job_in(real, tmp_path / "codes")
    raw = json.loads(made.read_text())
    raw["config"] |= {"updates": 1}
    made.write_text(json.dumps(raw))
    train_in_worker(tune_xtts.worker_command(), made, hear=lambda line: None)
    codes = load_file(tmp_path / "codes" / "state" / "codes.safetensors")
    rows = {row["id"]: row for row in map(json.loads, Path(raw["rows"]).read_text("utf-8").splitlines())}
    assert all(len(value) == -(-rows[name]["samples"] // 1024) for name, value in codes.items())
    assert len(Counter(code for value in codes.values() for code in value.tolist())) >= 4

    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "harm"),))

    bad = tmp_path / "bad"
    subprocess.run(["cp", "-r", str(real / "start"), str(bad)], check=True)
    (bad / "dvae.pth").write_bytes(pickle.dumps(Harm()))
    (tmp_path / "codes" / "state" / "codes.safetensors").unlink()
    made.write_text(json.dumps({**raw, "start": str(bad)}))
    with pytest.raises(ModelError, match="codec cannot be loaded"):
        train_in_worker(tune_xtts.worker_command(), made, hear=lambda line: None)
    assert not (tmp_path / "harm").exists()
