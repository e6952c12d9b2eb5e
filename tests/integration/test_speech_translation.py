"""The recipe `speech_translation` on hissing clips: its arms, what is equal, what is said, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import LATIN, corpus_of, phone_model_in

from orature.core.errors import ConfigError, OratureError
from orature.data.corpus import Corpus
from orature.engines.families import family_of
from orature.evaluate.folder import open_scored
from orature.flow import Resources, Store
from orature.recipes.registry import Outcome, Request, recipe_of
from orature.recipes.speech_translation import plan, run
from orature.recipes.translation_settings import allowed_arms, default_arms, label_arms, settings_of

QUIET = Resources(threads=1, progress=False)
SPANISH = "uno dos tres cuatro cinco seis siete ocho nueve diez casa agua".split()
RICH = [f"{one} {two} {n}" for n, (one, two) in enumerate(zip(SPANISH * 2, SPANISH[1:] * 2 + SPANISH[:2], strict=True))]
TARGET = [f"{text} {n}" for n, text in enumerate(LATIN * 2)]
TARGET[0] += " žž"  # a train row: letters that no translation has
TRAIN: dict[str, Any] = {"size": "micro", "updates": 2, "evaluate_every": 1, "batch_seconds": 6.0, "average": 1}
SETTINGS: dict[str, Any] = {
    "train": TRAIN,
    "st": {"updates": 3},
    "search": {"beams": 2},
    "translating": {"language_check": "none"},
    "start": "none",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A target, a rich corpus, and translations by persons of all but one of its sentences."""
    folder = tmp_path_factory.mktemp("st")
    corpus_of(folder / "kichwa", TARGET, language="que-EC")
    corpus_of(folder / "spanish", RICH, seconds=1.4, language="es")
    held = next(row.text for row in Corpus.open(folder / "kichwa").split("test"))
    by_hand = [f"ñuka {LATIN[n % 12]} {40 + n}" for n in range(len(RICH))]
    by_hand[3] = held or ""
    lines = [f"{one}\t{two}" for one, two in zip(RICH, by_hand, strict=True)]
    (folder / "by_hand.tsv").write_text("sentence\ttranslation\n" + "\n".join(lines[:-3]) + "\n", encoding="utf-8")
    return folder


def request(root: Path, to: Path, **settings: Any) -> Request:
    given = {"rich": str(root / "spanish"), "human": str(root / "by_hand.tsv"), "translator": "fake", **SETTINGS}
    given = {name: value for name, value in {**given, **settings}.items() if value is not None}
    return Request((str(root / "kichwa"),), to, "smoke", settings=given, resources=QUIET, store=root / "store")


@pytest.fixture(scope="module")
def done(root: Path) -> Outcome:
    return run(request(root, root / "out", arms=["scratch", "encoder", "encoder_decoder_longer", "st_human", "joint"]))


def training_of(root: Path, name: str) -> dict[str, Any]:
    store = Store(root / "store")
    infos = [info for info in map(store.info, store.keys()) if info.stage == "train"]
    folders = [store.folder(info.key) for info in infos]
    found = {folder: json.loads((folder / "training.json").read_text("utf-8")) for folder in folders}
    folder, facts = next((folder, facts) for folder, facts in found.items() if facts["name"].startswith(name))
    return {**facts, "letters": json.loads((folder / "vocab.json").read_text("utf-8"))}


def test_every_arm_has_the_same_training_on_the_target_and_says_what_came_before(root: Path, done: Outcome) -> None:
    arms = {row["name"]: row for row in done.facts["arms"]}
    assert list(arms) == ["scratch", "encoder", "encoder_decoder_longer", "st_human", "joint"]
    assert {row["updates"] for row in arms.values()} == {2}
    assert len({row["audio_hours"] for row in arms.values()}) == 1, "equal compute on the target"
    assert {name: row["before"]["updates"] for name, row in arms.items()} == {
        "scratch": 0,
        "encoder": 2,
        "encoder_decoder_longer": 5,
        "st_human": 5,
        "joint": 5,
    }
    assert {row["against"] for row in arms.values()} <= {"encoder", "encoder_decoder_longer"}
    for row in arms.values():
        base = arms[row["against"]]["test"]["cer"]["value"]
        if row["difference"] is not None:
            assert row["difference"]["cer"]["delta"] == pytest.approx(row["test"]["cer"]["value"] - base, abs=1e-5)
    chosen = min(arms.values(), key=lambda row: (row["dev"]["cer"]["value"], row["dev"]["wer"]["value"]))
    assert done.facts["chosen"] == chosen["name"]
    assert family_of(root / "out" / "model").name == "encoder-decoder"


def test_translating_models_know_the_letters_of_the_target_and_hear_no_test(root: Path, done: Outcome) -> None:
    st, after = training_of(root, "st_human"), training_of(root, "kichwa: st_human")
    assert st["start_parts"] == "encoder" and st["config"]["ctc_weight"] == 0.0 and st["config"]["select"] == "loss"
    assert st["config"]["freeze_encoder_updates"] == st["updates"], "the encoder keeps what it knows of sounds"
    assert after["start_parts"] == "all" and after["config"]["head"] == "keep" and after["start"]["name"] == st["name"]
    assert "ž" in st["letters"] and st["letters"] == after["letters"], "every row of the output layer is taken over"
    assert "ž" in training_of(root, "joint")["letters"] and "ž" not in training_of(root, "spanish")["letters"]
    labels = next(row["labels"] for row in done.facts["arms"] if row["name"] == "st_human")
    assert labels["by"] == "persons" and labels["rejected"]["embargo-sentence"] == 1
    assert labels["rejected"]["no-human-translation"] >= 1
    assert labels["speech"]["chrf"]["value"] >= 0 and labels["speech"]["sentences"] > 0
    joint = training_of(root, "joint")
    assert joint["train_hours_by_origin"]["translated"] > 0 and joint["train_hours_by_origin"]["real"] > 0


def test_scores_of_every_arm_can_be_compared_later(root: Path, done: Outcome) -> None:
    scores = {one.name: open_scored(one).score for one in (root / "out" / "scores").iterdir()}
    assert {name: score["cer"]["value"] for name, score in scores.items()} == {
        row["name"]: row["test"]["cer"]["value"] for row in done.facts["arms"]
    }


def test_the_report_shows_arms_translations_and_what_is_not_told_from_chance(root: Path, done: Outcome) -> None:
    page = (root / "out" / "report.html").read_text("utf-8")
    for said in ("st_human", "Did translated speech help?", "How good the translations are", "persons", "chrF"):
        assert said in page
    assert json.loads((root / "out" / "speech_translation.json").read_text("utf-8")) == done.facts
    (nothing_yet,) = done.facts["verdicts"]
    assert "No arm has learned to recognise yet" in nothing_yet, "after two updates"
    assert list(done.facts["rich"]["hours_by_origin"]) == ["real"] and "is synthetic" not in page
    test = Corpus.open(root / "kichwa").split("test")
    assert done.facts["scored"]["utterances"] == len(test) and "Split fingerprint" in page


def test_run_again_it_trains_nothing(root: Path, done: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained again"))
    arms = ["scratch", "encoder", "encoder_decoder_longer", "st_human", "joint"]
    assert run(request(root, root / "out", arms=arms)).facts == done.facts
    shown = plan(request(root, root / "out", arms=arms))
    assert {step["state"] for step in shown["steps"]} == {"done"} and shown["missing"] == []


def test_without_anything_that_translates_it_says_so_and_measures_text_alone(root: Path) -> None:
    outcome = run(request(root, root / "without", human=None, translator=None, arms=["encoder", "text_decoder"]))
    assert [row["name"] for row in outcome.facts["arms"]] == ["encoder", "text_decoder"]
    assert len(outcome.facts["missing"]) == 1 and "nothing to translate with" in outcome.facts["missing"][0]
    text = outcome.facts["arms"][1]
    assert (
        text["before"]["updates"] == 4
        and text["before"]["audio_hours"] == outcome.facts["arms"][0]["before"]["audio_hours"]
    )
    assert "What is lacking" in (root / "without" / "report.html").read_text("utf-8")


def test_scratch_begins_with_the_encoder_of_a_start_that_is_named(root: Path, tmp_path: Path) -> None:
    start = phone_model_in(tmp_path / "phones")
    outcome = run(
        request(root, tmp_path / "out", start=str(start), rich=None, human=None, translator=None, arms=["scratch"])
    )
    assert "nothing of the rich language" in outcome.facts["arms"][0]["about"]
    assert outcome.facts["arms"][0]["parameters"] > 0 and outcome.facts["start"] == str(start)
    assert len(outcome.facts["missing"]) == 2 and outcome.facts["rich"] is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rich": "FOLDER/other_kichwa", "human": None}, "other_kichwa is in que-EC, as the target is"),
        ({"translator": "dictionary:FOLDER/words.tsv", "human": None}, "does not write the language 'que-EC'"),
        ({"human": "FOLDER/columns.tsv"}, "the table has the columns a, b"),
        ({"translator": None, "human": None, "parallel": "FOLDER/few.tsv", "pairs": 1}, "which is too little"),
    ],
)
def test_what_cannot_translate_is_said_before_anything_is_trained(
    root: Path, tmp_path: Path, settings: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not (root / "few.tsv").exists():
        corpus_of(root / "other_kichwa", TARGET, language="que-EC")
        (root / "words.tsv").write_text("# source: es\n# target: sw\ncasa\tnyumba\n", encoding="utf-8")
        (root / "columns.tsv").write_text("a\tb\n1\t2\n", encoding="utf-8")
        (root / "few.tsv").write_text("es\tque\nuna casa\tshuk wasi\n", encoding="utf-8")
    monkeypatch.setattr("orature.stages.train.train_job", lambda *_: pytest.fail("trained before it was looked at"))
    given = {
        name: value.replace("FOLDER", str(root)) if isinstance(value, str) else value
        for name, value in settings.items()
    }
    with pytest.raises(OratureError, match=said) as caught:
        run(request(root, tmp_path / "out", **given))
    assert caught.value.next_step


def test_the_plan_names_every_training_before_the_corpora_are_split(root: Path, tmp_path: Path) -> None:
    asked = request(
        root, tmp_path / "out", arms=["scratch", "encoder", "encoder_longer", "st_human", "st_good", "joint"]
    )
    fresh = replace(asked, store=tmp_path / "fresh")
    counts = Counter(step["stage"] for step in plan(fresh)["steps"])
    assert counts == {
        "split": 2,
        "train": 2 + 2 + 1 + 6,  # the rich recogniser twice, two of speech translation, the joint one, the arms
        "translate": 1,
        "filter-translations": 3,
        "evaluate-translation": 2,
        "pool": 1,
        "transcribe": 2 + 12,
        "evaluate": 12,
    }
    given = {"human": None, "translator": None, "parallel": str(root / "by_hand.tsv"), "pairs": [0.5, 1]}
    asked = replace(request(root, tmp_path / "out", **given), store=tmp_path / "fresh")
    counts = Counter(step["stage"] for step in plan(asked)["steps"])
    assert [counts[name] for name in ("parallel_text", "pair-portion", "train_translator", "translate")] == [1, 1, 2, 3]
    assert [counts[name] for name in ("train_dictionary", "evaluate-translator", "choose-translator")] == [2, 4, 2]
    shown = plan(asked)["translators"]
    assert shown["shares"] == [0.5, 1] and shown["kind"] == "auto" and "seconds to minutes" in shown["cost"][1]
    asked = replace(request(root, tmp_path / "out", **given, kind="dictionary"), store=tmp_path / "fresh")
    counts = Counter(step["stage"] for step in plan(asked)["steps"])
    assert counts["train_dictionary"] == 2 and counts["train_translator"] == counts["choose-translator"] == 0


def test_a_plan_measures_the_translators_where_the_languages_are_known(root: Path, done: Outcome) -> None:
    rows = "".join(f"{one} {n}\tñuka {two} {n}\n" for n, (one, two) in enumerate(zip(RICH * 2, LATIN * 4, strict=True)))
    (root / "pairs.tsv").write_text("es\tque\n" + rows, encoding="utf-8")
    given = {"human": None, "translator": None, "parallel": str(root / "pairs.tsv"), "arms": ["encoder", "st_good"]}
    shown = plan(request(root, root / "out", **given))["translators"]
    assert shown["shares"] == [1] and "on this machine for" in shown["cost"][0] and len(shown["cost"]) == 2
    (root / "one.tsv").write_text("es\tque\nuna casa\tshuk wasi\n", encoding="utf-8")
    with pytest.raises(OratureError, match="which is too little"):
        plan(request(root, root / "out", **{**given, "parallel": str(root / "one.tsv")}))


def test_what_is_given_says_which_arms_there_are(root: Path, tmp_path: Path) -> None:
    pairs = root / "by_hand.tsv"
    settings = settings_of(
        request(root, tmp_path, parallel=str(pairs), pairs=[1, 0.5, 0.25], human=None, translator=None)
    )
    assert label_arms(settings) == {"st_good": 1.0, "st_low": 0.25, "st_pairs_50": 0.5}
    assert default_arms(settings)[-1] == "joint", "text alone is the way out"
    both = settings_of(request(root, tmp_path, parallel=str(pairs), pairs=[1, 0.5]))
    assert label_arms(both) == {"st_human": "human", "st_good": "translator", "st_low": 0.5, "st_pairs_100": 1.0}
    none = settings_of(request(root, tmp_path, human=None, translator=None))
    assert default_arms(none) == allowed_arms(none) == ("scratch", "encoder", "encoder_decoder", "text_decoder")


@pytest.mark.parametrize(
    ("settings", "said", "next_step"),
    [
        ({"riches": "x"}, "no option 'riches'", "rich"),
        ({"human": "nowhere.tsv"}, "no such file: nowhere.tsv", "path"),
        ({"rich": "nowhere"}, "no such corpus", "path"),
        ({"arms": ["st_low"]}, "the arm 'st_low' cannot be trained", "did you mean"),
        ({"arms": ["st_good"], "human": None, "translator": None}, "cannot be trained", "parallel=FILE"),
        ({"pairs": [0]}, "shares above 0", "default"),
        ({"start": "whisper"}, "", ""),
        ({"train": {"network": "conformer"}}, "a network with a decoder", "leave network out"),
        ({"st": {"updats": 3}}, "updats", "updates"),
        ({"kind": "oracle"}, "kind", "default"),
        ({"translator_train": {"udpates": 3}}, "no option 'translator_train.udpates'", "did you mean 'updates'"),
        ({"translator_train": {"least_cuont": 3}}, "no option 'translator_train.least_cuont'", "'least_count'"),
        ({"kind": "transformer", "translator_train": {"least_count": 3}}, "no option 'translator_train.least", "known"),
        ({"kind": "dictionary", "translator_train": {"updates": 3}}, "no option 'translator_train.updates'", "rounds"),
        ({"translator_train": {"rounds": 0}}, "dictionary.rounds", "default"),
    ],
)
def test_wrong_wishes_are_refused_before_anything_is_read(
    root: Path, tmp_path: Path, settings: dict[str, Any], said: str, next_step: str
) -> None:
    if settings.get("start") == "whisper":
        from orature.testing.checkpoints_seq2seq import speech2text_folder

        settings = {"start": str(speech2text_folder(tmp_path / "s2t"))}
        said, next_step = "encoder is a Conformer", "base"
    with pytest.raises(ConfigError, match=said) as caught:
        recipe_of("speech_translation").module().run(request(root, tmp_path / "out", **settings))
    assert next_step in caught.value.next_step and not (tmp_path / "out").exists()


def test_the_settings_of_the_search_for_translations_are_checked_too(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bemas"):
        run(request(root, tmp_path / "out", arms=["st_good"], translating={"bemas": 3}))
