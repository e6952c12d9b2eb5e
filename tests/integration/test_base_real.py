"""A base model with real speech mixed in, and one whose training goes on from another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
from phone_texts import texts_in
from tiny import LATIN, corpus_of, model_in, phone_model_in

from orature.core.errors import ConfigError, LeakFound, ModelError
from orature.data.corpus import Corpus
from orature.engines.phone_tokens import PhoneTokens
from orature.flow import Resources, Store
from orature.recipes.base import run
from orature.recipes.registry import Request
from orature.stages.phone_material import PhoneMaterial

QUIET = Resources(threads=1, progress=False)
PHONES = ("a", "b", "e", "i", "k", "l", "m", "n", "o", "r", "s", "t", "u")
ITALIAN = ["casa bella", "una strada grande", "il libro", "acqua e monte", "la sera", "un viaggio"]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts_in(tmp_path_factory.mktemp("real") / "texts")


def _request(texts: Path, to: Path, **settings: Any) -> Request:
    train = {"updates": 3, "evaluate_every": 3, "average": 1, **settings.pop("train", {})}
    given = {"licences": ["CC0 1.0"], "train": train, **settings}
    return Request((str(texts),), to, "smoke", settings=given, resources=QUIET)


def test_real_speech_is_mixed_in_or_rejected_with_its_reason(texts: Path, tmp_path: Path) -> None:
    fit = corpus_of(tmp_path / "fit", ITALIAN, language="it", licence="CC BY 4.0")
    unknown = corpus_of(tmp_path / "unknown", ["mba shuk", "yaku", "wasi"], language="yo", licence="MIT")
    (tmp_path / "start_").mkdir()
    start = phone_model_in(tmp_path / "start_", PHONES)
    outcome = run(
        _request(
            texts,
            tmp_path / "base",
            real=[str(fit), str(unknown)],
            start=str(start),
            train={"mix": {"origin_weights": {"real": 50.0}}},
        )
    )
    model = tmp_path / "base" / "model"
    facts = json.loads((model / "training.json").read_text("utf-8"))
    assert facts["real_utterances"] == 2 and len(facts["real_digests"]) == 2
    assert "CC BY 4.0" in facts["licences"] and "MIT" not in facts["licences"], "what was rejected was not used"
    rejected = [json.loads(line) for line in (model / "rejects.jsonl").read_text("utf-8").splitlines()]
    assert [row["reason"] for row in rejected if row["id"] == "u00"] == ["no-voice"]
    info = Store(tmp_path / "base" / ".orature").info(outcome.facts["artefacts"]["model"])
    assert info.rows is not None and info.rows.rejected["no-voice"] == 1
    assert info.rows.total == info.rows.kept + sum(info.rows.rejected.values())
    assert "real speech mixed in | 2 utterances" in (model / "README.md").read_text("utf-8")
    assert PhoneTokens.load(model).phones == tuple(sorted(PHONES)), "the inventory of the start stays"
    assert facts["start"]["digest"] and facts["start"]["name"] == "start_" and not facts["start"]["command"]
    log = [json.loads(line) for line in (model / "train_log.jsonl").read_text("utf-8").splitlines()]
    assert log[0]["update"] == 0, "the start is scored before it is changed"


def test_a_neighbour_reads_real_speech_where_that_is_asked_for(texts: Path, tmp_path: Path) -> None:
    kichwa = corpus_of(tmp_path / "kichwa", ["yaku wasi", "allpa", "killa", "ñuka 3 wasi"], language="que-EC")
    run(_request(texts, tmp_path / "base", real=[str(kichwa)], neighbours=True))
    model = tmp_path / "base" / "model"
    facts = json.loads((model / "training.json").read_text("utf-8"))
    rejected = [json.loads(line) for line in (model / "rejects.jsonl").read_text("utf-8").splitlines()]
    reasons = {row["id"]: row["reason"] for row in rejected}
    assert "qu" in facts["languages"] and "que" not in facts["languages"], "one language, one code"
    assert facts["neighbours"] == {"que-EC": "qu"} and facts["real_utterances"] + len(reasons) == 2
    assert reasons == {"u03": "spelt-out"}, "the voice would say the digit in its own language"
    assert "phones of que-EC by the voice qu" in (model / "README.md").read_text("utf-8")


def test_a_train_row_that_is_in_its_dev_or_test_is_left_out_and_never_trained_on(texts: Path, tmp_path: Path) -> None:
    leaking = corpus_of(tmp_path / "leaking", ["casa bella", "una sera", "casa bella", "il libro"], language="it")
    run(_request(texts, tmp_path / "base", real=[str(leaking)]))
    facts = json.loads((tmp_path / "base" / "model" / "training.json").read_text("utf-8"))
    assert facts["real_utterances"] == 1, "u00 is what test says; u03 stays"
    with pytest.raises(LeakFound):
        PhoneMaterial.of(cast(Any, None), [Corpus.open(leaking)], 1)


def test_what_cannot_be_a_start_is_refused(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    letters = model_in(tmp_path / "letters", LATIN)
    with pytest.raises(ModelError, match="writes letters"):
        run(_request(texts, tmp_path / "base", start=str(letters)))
    with pytest.raises((ModelError, ConfigError), match="no such model folder"):
        run(_request(texts, tmp_path / "base", start=str(tmp_path / "nowhere")))
