"""The model that comes with the package: small, whole, described, packed, and the start of `up`."""

from __future__ import annotations

import fnmatch
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from orature.core.types import Hypothesis
from orature.data.corpus import Corpus
from orature.engines.conformer_family import load
from orature.engines.hub import model_folder
from orature.engines.phone_tokens import PhoneTokens, writes_phones
from orature.engines.recognisers import load_recogniser
from orature.engines.shipped import BASE, is_shipped, shipped
from orature.flow import Resources, Run, Store
from orature.recipes.training import UpOptions, config_for, named_start, start_of_up
from orature.stages.ingest import ingest_stage
from orature.stages.phone_judge import judged

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 32_000_000


def test_it_is_small_enough_whole_and_in_half_precision() -> None:
    folder = shipped()
    assert sum(path.stat().st_size for path in folder.iterdir()) <= MOST_BYTES
    assert {str(value.dtype) for value in load_file(folder / "model.safetensors").values()} == {"torch.float16"}
    assert writes_phones(folder) and model_folder(BASE) == folder and is_shipped(BASE) and not is_shipped("./base")


def test_its_card_states_command_data_licences_seed_and_figures() -> None:
    folder = shipped()
    facts = json.loads((folder / "training.json").read_text("utf-8"))
    card = (folder / "README.md").read_text("utf-8")
    for said in (
        facts["command"],
        "; ".join(facts["licences"]),
        f"seed | {facts['config']['seed']}",
        *facts["sources"],
    ):
        assert said and said in card
    assert f"{100 * facts['dev']['cer']:.1f} %" in card and len(facts["languages"]) >= 90
    assert all(f"| {tag} |" in card for tag, one in facts["real"].items() if one["per"] is not None)


def test_a_wheel_holds_every_file_of_it() -> None:
    globs = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]["orature"]
    base = ROOT / "src" / "orature"
    for path in shipped().iterdir():
        name = path.relative_to(base).as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in globs), f"{name} would not be packed"


def test_it_hears_nothing_in_silence() -> None:
    recogniser = load_recogniser(BASE)
    heard = recogniser.transcribe([np.zeros(32_000, np.float32)])[0]
    assert isinstance(heard, Hypothesis) and len(heard.words) <= 2
    assert recogniser.card.licence and len(recogniser.card.languages) >= 90


@pytest.mark.corpora
def test_on_human_speech_it_does_as_its_card_says(corpora: Path, tmp_path: Path) -> None:
    """Measured again from the stored weights; the card's figures were taken before they were rounded to float16."""
    store = Store(tmp_path)
    ref = Run(store, "test", "test").do(
        ingest_stage(corpora / "multilingual_clips"), on=Resources(progress=False, threads=1)
    )
    network, phones = load(shipped())
    assert isinstance(phones, PhoneTokens)
    found = judged(network, phones, [Corpus.open(store.path_of(ref))])
    said = json.loads((shipped() / "training.json").read_text("utf-8"))["real"]
    assert found.keys() == said.keys() and len(said) >= 8
    for language, one in found.items():
        assert one["utterances"] == said[language]["utterances"]
        if one["per"] is not None:
            assert one["per"] == pytest.approx(said[language]["per"], abs=0.04), language


def test_up_starts_from_it_unless_something_else_is_asked_for() -> None:
    assert start_of_up(None, {}) == start_of_up(None, {"updates": 5}) == start_of_up("base", {"size": "micro"}) == BASE
    assert start_of_up("none", {}) is None and start_of_up(None, {"size": "micro"}) is None
    assert start_of_up("xls-r/", {}) == "xls-r/" and named_start("none") is None and named_start(None) is None


def test_the_letters_of_a_recogniser_from_it_are_prepared_as_from_nothing() -> None:
    fresh, tuned = (config_for(UpOptions(start=start), hours=1.0) for start in (None, BASE))
    assert (fresh.case, fresh.punctuation) == (tuned.case, tuned.punctuation) == ("lower", "strip")
