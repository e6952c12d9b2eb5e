"""Letters that begin as phones: a recogniser that starts from a model of phones, on a made-up spelling of tones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from prior_samples import LANGUAGE, SPELLING, phone_base, toy_corpus
from safetensors.torch import load_file
from tiny import corpus_of, model_in

from orature.core.errors import ConfigError, Interrupted
from orature.flow import Resources, Run, Store
from orature.recipes.arms import equal_budget
from orature.recipes.training import UpOptions, train_stage
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.letter_prior import settled
from orature.stages.train import Train
from orature.train.config import PriorConfig, TrainConfig
from orature.train.loop import Trainer

QUIET = Resources(threads=1, progress=False)
CONFIG = TrainConfig(updates=3, evaluate_every=3, batch_seconds=6.0, average=1, peak_lr=1e-4, dropout=0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return phone_base(tmp_path_factory.mktemp("prior") / "base")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy_corpus(tmp_path_factory.mktemp("toy") / "corpus")


def _trained(store: Path, corpus: Path, start: Path, prior: Any, on: Resources = QUIET) -> Path:
    job = Run(Store(store), "test", "test")
    config = CONFIG.model_copy(update={"prior": PriorConfig.model_validate(prior)})
    return job.path_of(job.do(Train(corpus=corpus_ref(corpus), start=model_ref(start), config=config), on=on))


def _facts(model: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((model / "training.json").read_text(encoding="utf-8"))["prior"]
    return found


def _log(model: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (model / "train_log.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def heard(base: Path, toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _trained(tmp_path_factory.mktemp("heard"), toy, base, "auto")


def test_a_spelling_that_no_engine_knows_is_found_by_ear(heard: Path) -> None:
    facts = _facts(heard)
    assert facts["source"] == "heard" and facts["pairs"] == 31 and facts["seconds"] > 20
    for phone, letters in SPELLING.items():
        for letter in letters:
            assert facts["letters"][letter]["phones"][0][0] == phone
    assert facts["silent"] == [" ", "e"] and facts["without"] == []
    lines = (heard / "prior.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "letter\tphone\tprobability" and " \t-\t1.000000" in lines
    assert len({line.split("\t")[0] for line in lines[1:]}) == 9


def test_training_begins_far_below_a_drawn_output_layer(
    heard: Path, base: Path, toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = _trained(tmp_path / "store", toy, base, "none")
    assert _facts(drawn) is None and not (drawn / "prior.tsv").exists()
    assert "begin as phones" not in capsys.readouterr().err
    assert _log(heard)[0]["update"] == _log(drawn)[0]["update"] == 0
    assert _log(heard)[0]["dev_loss"] < 0.6 * _log(drawn)[0]["dev_loss"]
    assert _log(heard)[0]["dev_cer"] < 0.7 * _log(drawn)[0]["dev_cer"]
    assert _facts(heard)["loss"]["with"] < 0.6 * _facts(heard)["loss"]["without"]


def test_only_train_is_listened_to(heard: Path, base: Path, tmp_path: Path) -> None:
    """Other dev and test transcripts leave the table as it is."""
    other = _trained(tmp_path / "store", toy_corpus(tmp_path / "corpus", elsewhere="hohe posu"), base, "auto")
    assert (other / "prior.tsv").read_bytes() == (heard / "prior.tsv").read_bytes()
    assert _log(other)[0]["dev_loss"] != _log(heard)[0]["dev_loss"]


def test_interrupted_and_resumed_equals_undisturbed(
    heard: Path, base: Path, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer._update

    def stopping(self: Trainer, batches: Any) -> None:
        if self.progressed.update == 2:
            raise KeyboardInterrupt
        update(self, batches)

    monkeypatch.setattr(Trainer, "_update", stopping)
    with pytest.raises(Interrupted):
        _trained(tmp_path / "store", toy, base, "auto")
    monkeypatch.setattr(Trainer, "_update", update)
    monkeypatch.setattr("orature.stages.letter_prior.by_ear", None)
    model = _trained(tmp_path / "store", toy, base, "auto")
    for name in ("model.safetensors", "train_log.jsonl", "prior.tsv", "training.json"):
        assert (model / name).read_bytes() == (heard / name).read_bytes(), name


@pytest.mark.slow
def test_two_processes_begin_with_the_same_letters(heard: Path, base: Path, toy: Path, tmp_path: Path) -> None:
    on = Resources(threads=1, progress=False, processes=2)
    model = _trained(tmp_path / "store", toy, base, "auto", on)
    assert _facts(model) == _facts(heard)
    one, two = load_file(heard / "model.safetensors"), load_file(model / "model.safetensors")
    assert float((one["head.weight"] - two["head.weight"]).abs().max()) < 1e-4


def test_espeak_reads_the_languages_it_knows(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["pata taki", "kapita", "tapa pika", "pati kata", "akita", "tika pata"] * 3
    corpus = corpus_of(tmp_path / "c", [f"{text} {n * 'ta'}" for n, text in enumerate(texts)], language="sw")
    facts = _facts(_trained(tmp_path / "store", corpus, base, "auto"))
    assert facts["source"] == "espeak" and facts["engine"] and facts["pairs"] == 6
    for letter in "patki":
        assert facts["letters"][letter]["phones"][0][0] == letter
    assert "letters begin as phones by espeak-ng" in capsys.readouterr().err


def test_a_table_says_what_a_person_knows(base: Path, toy: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.tsv"
    table.write_text("SH\tʃ\no\ta\te\t-\nk\tt\nq\tq\n".replace("a\te\t-", "a\ne\t-"), encoding="utf-8")
    options = UpOptions(start=str(base), train={"prior": f"table:{table}", "updates": 2, "evaluate_every": 2})
    job = Run(Store(tmp_path / "store"), "test", "test")
    stage = train_stage(job, corpus_ref(toy), options, name="toy")
    facts = _facts(job.path_of(job.do(stage, on=QUIET)))
    assert set(facts["letters"]) == {"s", "h", "o", "k"} and facts["silent"] == [" ", "e"]
    assert facts["without"] == ["p", "t", "u"]
    assert facts["rejected_rows"] == [["q", "phone-unknown", "the model has no phone like q"]]
    assert facts["left_out"] == {"phone-unknown": 1}
    table.rename(tmp_path / "moved.tsv")
    moved = UpOptions(start=str(base), train={**options.train, "prior": f"table:{tmp_path / 'moved.tsv'}"})
    assert train_stage(job, corpus_ref(toy), moved, name="toy").key() == stage.key()
    (tmp_path / "moved.tsv").write_text("sh\tʃ\n", encoding="utf-8")
    assert train_stage(job, corpus_ref(toy), moved, name="toy").key() != stage.key()


def test_auto_means_what_is_at_hand(base: Path, tmp_path: Path) -> None:
    auto = PriorConfig()
    assert settled(auto, base, [LANGUAGE], head="auto").source == "heard"
    known = settled(auto, base, ["sw"], head="auto")
    assert known.source == "espeak" and known.engine
    assert settled(auto, base, ["sw", LANGUAGE], head="auto").source == "heard"
    assert settled(PriorConfig(rows=(("a", "a", 1.0),)), base, ["sw"], head="auto").source == "table"
    letters = model_in(tmp_path / "m", ["ab"])
    for start, head in ((None, "auto"), (letters, "auto"), (base, "keep")):
        assert settled(auto, start, ["sw"], head=head) == auto  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="prior=heard needs a start that writes phones"):
            settled(PriorConfig(source="heard"), start, ["sw"], head=head)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=LANGUAGE):
        settled(PriorConfig(source="espeak"), base, [LANGUAGE], head="auto")


def test_the_last_phase_of_arms_starts_from_letters_and_learns_no_prior() -> None:
    budget = equal_budget(TrainConfig(prior=PriorConfig(source="heard")), real_s=600.0)
    assert budget.first.prior.source == "heard"
    assert budget.last is not None and budget.last.prior.source == "none"


def test_another_revision_of_the_engine_is_refused(base: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", ["pata taki", "kapita", "tapa pika"] * 2, language="sw")
    with pytest.raises(ConfigError, match="it would read otherwise"):
        _trained(tmp_path / "store", corpus, base, {"source": "espeak", "engine": "0.1"})


def test_where_nothing_is_heard_training_goes_on_and_says_so(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = corpus_of(tmp_path / "c", ["pata taki", "kapita", "tapa pika"] * 2, language=LANGUAGE)
    monkeypatch.setattr("orature.stages.letter_evidence.collapse", lambda path, blank: [])
    model = _trained(tmp_path / "store", corpus, base, "auto")
    assert (
        _facts(model)["pairs"] == 0
        and _facts(model)["left_out"] == {"nothing-heard": 2}
        and math.isfinite(_log(model)[0]["dev_loss"])
    )
    assert "no letter begins as phones" in capsys.readouterr().err
