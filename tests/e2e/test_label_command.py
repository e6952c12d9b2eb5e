"""`orature label` from end to end: labels, reasons, resuming, a plan with its cost, spread out, and bad input."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path

import pytest
from tiny import LATIN, corpus_of, model_in, phone_model_in
from typer.testing import CliRunner, Result

import orature
from orature.cli.main import build
from orature.data.corpus import Corpus
from orature.data.label_judge import LabelBounds
from orature.flow import Resources, Run, Store
from orature.recipes.labelling import label_plan, labelled
from orature.stages.filter_labels import FilterLabels
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.train import Train
from orature.stages.transcribe import Transcribe
from orature.testing.faults import fault
from orature.train.config import TrainConfig

from label_samples import SPOKEN, heard, speech  # isort: skip

LOOSE = (
    "--set min_confidence=none --set min_score=none --set most_repeated=none --set language_check=none "
    "--set rate_deviations=none --set most_disagreement=none --threads 1"
)
QUIET = Resources(progress=False, threads=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with six unlabelled recordings, two models that write nonsense, one of phones, and bad things."""
    top = tmp_path_factory.mktemp("label")
    rows = [{"id": f"u{n}", "speaker": f"s{n % 2}", "level": 0.03 * (n + 1)} for n in range(6)]
    speech(top / "corpus", rows, seconds=0.8, train=30)
    speech(top / "labelled_only", [], seconds=0.5, train=3)
    model_in(top / "model", LATIN, blank=-2.0)
    model_in(top / "other", [*SPOKEN, "bdefg"], blank=-2.0)
    phone_model_in(top / "phones")
    (top / "empty").mkdir()
    (top / "own").mkdir()
    (top / "own" / "file.txt").write_text("mine", encoding="utf-8")
    return top


def command(folder: Path, line: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(build(), shlex.split(line), catch_exceptions=True)


def test_labels_are_made_counted_and_shown(made: Path) -> None:
    done = command(made, f"label corpus --model model --to labels --store store {LOOSE}")
    assert done.exit_code == 0, done.output
    assert "of 6 rows kept" in done.output and "rejects: labels/rejects.jsonl" in done.output
    corpus = Corpus.open(made / "labels")
    pseudo = [row for row in corpus.split("train") if row.origin == "pseudo"]
    assert pseudo and all(row.id.startswith("u") and row.text for row in pseudo)
    again = command(made, f"label corpus --model model --to labels --store store {LOOSE}")
    assert again.exit_code == 0 and "transcribe: already done" in again.output and "made" not in again.output
    found = json.loads(command(made, f"label corpus --model model --to labels --store store {LOOSE} --json").stdout)
    assert found["labels"]["rows"] == 6 and found["labels"]["kept"] == len(pseudo) and found["corpus"] == "labels"


def test_a_second_model_has_a_say(made: Path) -> None:
    loose = LOOSE.replace("most_disagreement=none", "most_disagreement=0.0")
    done = command(made, f"label corpus --model model --second other --to agreed --store store {loose}")
    assert done.exit_code == 2 and "not one of 6 labels can be used" in done.output
    assert "models-disagree" in done.output and "one family make the same errors" in done.output
    done = command(made, f"label corpus --model model --second other --to agreed --store store {LOOSE}")
    assert done.exit_code == 0, done.output


def test_the_plan_says_what_is_there_and_what_it_costs(made: Path) -> None:
    done = command(made, "label corpus --model model --second other --to new --store fresh --dry-run --json")
    plan = json.loads(done.stdout)
    assert plan["utterances"] == 6 and plan["hours"] > 0 and plan["seconds"] > 0 and not (made / "new").exists()
    assert [one["decode"] for one in plan["decodings"]] == ["todo", "todo"] and plan["filters"]["step_ms"] == 20.0
    told = command(made, "label corpus --model model --to new --store fresh --dry-run")
    assert "time: about" in told.output and "todo: decode with" in told.output
    run = Run(Store(made / "plan"), "t", "t")
    corpus, model = corpus_ref(made / "corpus"), model_ref(made / "model")
    loose = dict.fromkeys(("min_confidence", "min_score", "most_repeated", "rate_deviations")) | {
        "language_check": "none"
    }
    labelled(run, corpus, model, filters=loose, on=QUIET)
    again = label_plan(run, corpus, model, on=QUIET)
    assert [one["decode"] for one in again["decodings"]] == ["done"] and again["seconds"] == 0


def test_what_was_labelled_is_trained_on_silence_too(made: Path) -> None:
    rows = [{"id": f"u{n}", "level": 0.0005 if n > 3 else 0.1} for n in range(6)]
    corpus = corpus_ref(speech(made / "with_silence", rows, seconds=0.8, train=12))
    texts = {f"u{n}": {"hypothesis": "" if n > 3 else SPOKEN[20 + n]} for n in range(6)}
    off = {"step_ms": None, "silence_share": 0.4, "bounds": LabelBounds(rate_deviations=None)}
    run = Run(Store(made / "training"), "t", "t")
    labels = run.do(FilterLabels(corpus=corpus, hypotheses=heard(made / "heard", texts), **off), on=QUIET)
    config = TrainConfig(size="micro", updates=4, evaluate_every=2, overfit_clips=0, batch_seconds=6, subsampling=2)
    for scale in ("labels", "sqrt-length"):
        trained = run.do(Train(corpus=labels, config=config.model_copy(update={"loss_scale": scale})), on=QUIET)
        info = run.store.info(trained.key)
        assert info.rows is not None and (info.rows.total, info.rows.kept) == (18, 18), info.rows
        log = [json.loads(line) for line in (run.path_of(trained) / "train_log.jsonl").read_text().splitlines()]
        assert all(math.isfinite(row["dev_loss"]) for row in log if "dev_loss" in row)


def test_a_corpus_without_dev_or_test_is_warned_of(made: Path) -> None:
    folder = corpus_of(made / "train_only", LATIN, seconds=0.5, split="train")
    done = command(made, f"label {folder.name} --model model --split train --to new --store warned --dry-run")
    assert done.exit_code == 0 and "no dev and no test" in done.output
    told = command(made, "label corpus --model model --to new --store warned --dry-run")
    assert "labels are no measure" not in told.output


def test_a_folder_with_files_of_ones_own_is_left_alone(made: Path) -> None:
    done = command(made, "label corpus --model model --to own --store store")
    assert done.exit_code == 1 and "files that are not Orature's" in done.output


def test_killed_and_run_again_it_gives_the_same_labels(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.stages.transcribe._SHARD", 2)
    whole = command(made, f"label corpus --model model --to whole --store one {LOOSE}")
    assert whole.exit_code == 0
    with fault("shard-renamed:2:interrupt"):
        stopped = command(made, f"label corpus --model model --to resumed --store two {LOOSE}")
    assert stopped.exit_code == 130 and not (made / "resumed").exists()
    (left,) = (made / "two" / "work").glob("*/out/parts")
    stamps = {path: path.stat().st_mtime_ns for path in left.glob("*/hypotheses.jsonl")}
    assert len(stamps) == 2
    resumed = command(made, f"label corpus --model model --to resumed --store two {LOOSE}")
    assert resumed.exit_code == 0
    assert Corpus.open(made / "resumed").digest == Corpus.open(made / "whole").digest
    kept = {path.stat().st_mtime_ns for path in (made / "two").glob("artefacts/*/parts/*/hypotheses.jsonl")}
    assert set(stamps.values()) <= kept, "whole shards are not decoded again"


def test_as_a_function(made: Path) -> None:
    loose = dict.fromkeys(("min_confidence", "min_score", "most_repeated", "rate_deviations")) | {
        "language_check": "none"
    }
    inputs = (made / "corpus", made / "model", made / "by_function")
    account = orature.label(*inputs, store=made / "api", resources=QUIET, **loose)
    assert account["rows"] == 6 and len(Corpus.open(made / "by_function")) == 32 + account["kept"]


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_spread_out_it_decodes_the_same(made: Path, tmp_path: Path, executor: str) -> None:
    if executor == "ray":
        pytest.importorskip("ray")
    stage = Transcribe(model=model_ref(made / "model"), corpus=corpus_ref(made / "corpus"), split="train")
    one = Run(Store(tmp_path / "one"), "t", "t").do(stage, on=QUIET)
    spread = QUIET.model_copy(update={"workers": 2, "executor": executor, "device": "cpu"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("orature.stages.transcribe._SHARD", 10)
        two = Run(Store(tmp_path / "two"), "t", "t").do(stage, on=spread)
    assert two.digest == one.digest


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("label nothing --model model --to new", "no corpus.json"),
        ("label corpus --model nothing --to new", "no such model folder"),
        ("label corpus --model empty --to new", "next: "),
        ("label corpus --model phones --to new", "writes phones, and labels are letters"),
        ("label corpus --model model --second model --to new", "second model is the first one"),
        ("label corpus --model model --second nothing --to new", "no such model folder"),
        ("label corpus --model model --decoder empty --to new", "no decoder.json"),
        ("label corpus --model model --to new --split dev", "choose unlabelled or train"),
        ("label labelled_only --model model --to new", "no utterances in split 'unlabelled'"),
        ("label labelled_only --model model --to new --dry-run", "no utterances in split 'unlabelled'"),
        ("label corpus --model model --to new --set min_confidense=1", "did you mean 'min_confidence'"),
        ("label corpus --model model --to new --set hypotheses=x", "there is no option 'hypotheses'"),
        ("label corpus --model model --to new --set min_confidence=2", "less than or equal to 1"),
        ("label corpus --model model --to new --set most_unseen=many", "option 'most_unseen'.*'many'"),
        ("label corpus --model model --to new --set speaker_hours=-1", "option 'speaker_hours'"),
        ("label corpus --model model --to new --set language_check=x --dry-run", "language_check"),
        ("label corpus --model model --to new --set step_ms", "no assignment"),
        ("label corpus --model model --to new --executor dask", "choose local or ray"),
        ("label corpus --model model --to new --address auto", "is of a Ray cluster"),
        ("label corpus --model model --to new --device warp", "no device 'warp'"),
        ("label corpus --model model --to new --backend warp", "no backend 'warp'"),
        ("label corpus --model model --to new --workers 0", "--workers"),
    ],
)
def test_bad_input_is_a_sentence(made: Path, line: str, says: str) -> None:
    done = command(made, f"{line} --store store")
    assert done.exit_code == 2, done.output
    assert re.search(says, " ".join(done.output.split())), done.output
    assert "Traceback" not in done.output and not (made / "new").exists()
