"""The base recipe: from text to a model of phones that reads recordings and that a recogniser can start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from phone_texts import texts_in
from safetensors.torch import load_file
from tiny import corpus_of

from orature.core.errors import ConfigError, Interrupted, ModelError
from orature.data.audio import load
from orature.data.corpus import Corpus
from orature.engines.families import Start
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.recognisers import load_recogniser
from orature.flow import Resources, Run, Store
from orature.recipes.base import plan, read_settings_of, run
from orature.recipes.registry import Request, recipe_of
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.train import Train
from orature.train.config import TrainConfig
from orature.train.loop import Trainer

QUIET = Resources(threads=1, progress=False)
SETTINGS: dict[str, Any] = {"licences": ["CC0 1.0"], "feature_weight": 0.2, "train": {"lid_weight": 0.1}}


def _request(texts: Path, to: Path, **settings: Any) -> Request:
    return Request((str(texts),), to, "smoke", settings={**SETTINGS, **settings}, resources=QUIET)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts_in(tmp_path_factory.mktemp("base") / "texts")


@pytest.fixture(scope="module")
def base(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    judge = corpus_of(folder / "judge", ["casa bella", "una strada grande", "il libro"], language="it")
    outcome = run(_request(texts, folder / "base", judge=[str(judge)]))
    assert outcome.fresh and outcome.facts["real"]["it"]["utterances"] == 2
    return folder / "base"


def test_it_writes_a_small_model_of_phones_with_its_card(base: Path) -> None:
    facts = json.loads((base / "model" / "training.json").read_text(encoding="utf-8"))
    assert facts["updates"] == 8 and set(facts["languages"]) == {"sw", "it", "el"} and facts["licences"] == ["CC0 1.0"]
    assert {str(value.dtype) for value in load_file(base / "model" / "model.safetensors").values()} == {"torch.float16"}
    card = (base / "model" / "README.md").read_text(encoding="utf-8")
    for said in ("CC0 1.0", "seed | 1", "orature run base texts --scale smoke", "float16", "| it |", "espeak-ng 1.52"):
        assert said in card
    assert str(base) not in card and "/tmp" not in card
    logged = [json.loads(line) for line in (base / "model" / "train_log.jsonl").read_text().splitlines()]
    assert len(logged) == 2 and {"features", "lid_accuracy", "dev_cer"} <= set(logged[-1])


def test_it_reads_a_recording_as_phones_with_times(base: Path, tmp_path: Path) -> None:
    corpus = Corpus.open(corpus_of(tmp_path / "c", ["moja mbili"]))
    row = next(iter(corpus))
    recogniser = load_recogniser(base / "model")
    heard = recogniser.transcribe([load(row.audio.path)])[0]
    assert hasattr(heard, "text")


def test_run_again_it_does_nothing_and_a_plan_says_so(texts: Path, base: Path) -> None:
    judge = str(base.parent / "judge")
    again = run(_request(texts, base, judge=[judge]))
    assert not again.fresh
    assert {step["state"] for step in plan(_request(texts, base, judge=[judge]))["steps"]} == {"done"}


def test_interrupted_and_resumed_equals_undisturbed(
    texts: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Trainer._update

    def stopping(self: Trainer, batches: Any) -> None:
        if self.progressed.update == 5:
            raise KeyboardInterrupt
        update(self, batches)

    judge = str(base.parent / "judge")
    monkeypatch.setattr(Trainer, "_update", stopping)
    with pytest.raises(Interrupted):
        run(_request(texts, tmp_path / "base", judge=[judge]))
    monkeypatch.setattr(Trainer, "_update", update)
    run(_request(texts, tmp_path / "base", judge=[judge], voices=1))
    for name in ("model.safetensors", "train_log.jsonl"):
        assert (tmp_path / "base" / "model" / name).read_bytes() == (base / "model" / name).read_bytes()


def test_a_recogniser_starts_from_it_with_letters_of_its_own(base: Path, tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", ["shuk ishkay", "kimsa", "chusku pichka"] * 3)
    config = TrainConfig(updates=2, evaluate_every=2, batch_seconds=6.0, average=1)
    job = Run(Store(tmp_path / "store"), "test", "test")
    stage = Train(corpus=corpus_ref(corpus), start=model_ref(base / "model"), config=config)
    model = job.path_of(job.do(stage, on=QUIET))
    recogniser = load_recogniser(model)
    assert set(json.loads((model / "vocab.json").read_text(encoding="utf-8"))) >= set("shukay") | {"|"}
    before = load_file(base / "model" / "model.safetensors")
    after = load_file(model / "model.safetensors")
    assert set(before) == set(after) and before["head.weight"].shape != after["head.weight"].shape
    near = (before["blocks.0.attention.qkv.weight"].float() - after["blocks.0.attention.qkv.weight"]).abs().max()
    assert float(near) < 0.02, "the encoder is taken over"
    assert recogniser.card.name


def test_its_phones_can_be_kept_but_not_extended_by_letters(base: Path) -> None:
    from orature.engines.conformer_family import begin

    network, phones = begin(base / "model", ["ab"], Start(head="keep"))
    assert isinstance(phones, PhoneTokens) and network.head.out_features == len(phones)
    with pytest.raises(ModelError, match="no characters to extend"):
        begin(base / "model", ["ab"], Start(head="extend"))


def test_wrong_settings_are_refused_before_anything_is_read(texts: Path, tmp_path: Path) -> None:
    assert recipe_of("base").about
    for settings, message in (
        ({"train": {"sise": 1}}, "sise"),
        ({"text": {"letters": 3}}, "letters"),
        ({"x": 1}, "'x'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read_settings_of(_request(texts, tmp_path, **settings))
    with pytest.raises(ConfigError, match="which text"):
        read_settings_of(Request((), tmp_path, "smoke"))
