"""Translators from shares of the pairs, their labels and scores; what a smaller share is, and what is kept out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import LATIN, WORDS, corpus_of

from orature.core.errors import CorpusError
from orature.core.types import Hypothesis, Utterance
from orature.data.corpus import Corpus
from orature.engines.translators import open_translator
from orature.flow import Resources, Run, Store
from orature.recipes.registry import Request
from orature.recipes.translation_settings import settings_of
from orature.recipes.translation_steps import Work, labelled, opened, pairs_of, translator_of
from orature.stages.evaluate_translation import EvaluateTranslation
from orature.stages.pair_portion import NOT_DRAWN, PairPortion
from orature.stages.transcribe import HYPOTHESES, record_of
from orature.stages.translation_score import score_in
from orature.text.parallel import ParallelCorpus

pytest.importorskip("sacrebleu")
QUIET = Resources(threads=1, progress=False)
SPANISH = "uno dos tres cuatro cinco seis siete ocho nueve diez casa agua".split()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    """Spanish numbers and things read in another order in Kichwa: a dictionary learns some of them."""
    root = tmp_path_factory.mktemp("steps")
    corpus_of(root / "kichwa", LATIN, language="que-EC")
    texts = [f"{SPANISH[n % 12]} {SPANISH[(n + 5) % 12]} {SPANISH[(n * 7) % 12]}" for n in range(24)]
    corpus_of(root / "spanish", texts, seconds=1.4, language="es")
    rows = ["es\tque\tsplit"]
    for n in range(120):
        picked = [n % 12, (n * 5 + n // 12) % 12, (n * 7 + 3) % 12, (n // 5) % 12]
        split = "train" if n < 90 else "dev" if n < 105 else "test"
        rows.append(f"{' '.join(SPANISH[i] for i in picked)}\t{' '.join(WORDS[i] for i in picked[::-1])}\t{split}")
    rows.append(f"{texts[0]}\t{LATIN[1]}\ttrain")
    (root / "pairs.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = {"rich": str(root / "spanish"), "parallel": str(root / "pairs.tsv"), "kind": "dictionary"}
    settings["translating"] = {"language_check": "none"}  # type: ignore[assignment]
    request = Request((str(root / "kichwa"),), root / "out", "smoke", settings=settings, resources=QUIET)
    return opened(Run(Store(root / "store"), "test", "test"), request, settings_of(request))


def test_a_share_of_the_pairs_trains_a_translator_that_is_scored_on_the_same_test(work: Work) -> None:
    facts: dict[str, dict[str, Any]] = {str(share): translator_of(work, share)[1] for share in (0.25, 1.0)}
    assert facts["0.25"]["pairs"] == round(0.25 * facts["1.0"]["pairs"]) < facts["1.0"]["pairs"]
    for one in facts.values():
        assert one["held_out"]["sentences"] == facts["1.0"]["held_out"]["sentences"]
        assert one["held_out"]["chrf"]["low"] <= one["held_out"]["chrf"]["value"] <= one["held_out"]["chrf"]["high"]
    spec, _ = translator_of(work, 1.0)
    with open_translator(spec) as translator:
        translator.check("es", "que-EC")


def test_of_few_pairs_dev_takes_the_dictionary_which_is_called_one_and_is_scored_as_it_will_search(work: Work) -> None:
    given = {"updates": 4, "evaluate_every": 2, "layers": 1, "width": 32, "heads": 2, "inner": 64, "least_count": 1}
    searched = {**work.settings.translating, "beams": 3}
    settings = work.settings.model_copy(update={"kind": "auto", "translator_train": given, "translating": searched})
    asked = replace(work, settings=settings, notes=[])
    (spec, facts), again = translator_of(asked, 1.0), translator_of(asked, 1.0)
    assert facts["by"] == f"a dictionary of words from {facts['pairs']} pairs, no translator of sentences"
    assert again == (spec, facts) and asked.notes == [f"of {facts['pairs']} pairs {facts['choice']}"], "said once"
    assert "a Transformer reaches" in facts["choice"] and facts["held_out"]["sentences"] > 0
    store = work.job.store
    judged = [info for info in map(store.info, store.keys()) if info.stage == "evaluate-translator"]
    scores = [score_in(store.folder(info.key)) for info in judged]
    assert [score["decoder"]["beams"] for score in scores] == [3, 3] and {score["split"] for score in scores} == {"dev"}
    trained = next(info for info in map(store.info, store.keys()) if info.stage == "train_translator")
    assert json.loads((store.folder(trained.key) / "training.json").read_text())["config"]["updates"] == 4
    with open_translator(spec) as translator:
        assert "word for word" in translator.card.family


def test_labels_are_an_account_with_dev_and_keep_dev_of_the_target_out_of_the_pairs(work: Work) -> None:
    made = work.corpus(labelled(work, "st_good", 1.0))
    account = work.labels["st_good"]
    assert account["kept"] == len(made) and account["kept"] + sum(account["rejected"].values()) == account["rows"]
    assert {row.language for row in made} == {"que-EC"} and {row.origin for row in made} == {"translated"}
    assert {row.split for row in made} == {"train", "dev"}
    held = next(row.text for row in work.corpus(work.target).split("dev"))
    pairs = ParallelCorpus.open(work.job.path_of(pairs_of(work)))
    assert held == LATIN[1] and held not in {pair.target for pair in pairs.split("train")}


def test_a_smaller_portion_is_part_of_a_larger_one_and_every_pair_is_counted(work: Work) -> None:
    whole = pairs_of(work)
    ids: list[set[str]] = []
    for share in (0.2, 0.6):
        ref = work.job.do(PairPortion(pairs=whole, share=share), on=QUIET)
        rows, part = work.job.store.info(ref.key).rows, ParallelCorpus.open(work.job.path_of(ref))
        assert rows is not None and rows.total == rows.kept + rows.rejected[NOT_DRAWN]
        assert part.fingerprint("test") == ParallelCorpus.open(work.job.path_of(whole)).fingerprint("test")
        ids.append({pair.id for pair in part.split("train")})
    assert ids[0] < ids[1]
    with pytest.raises(CorpusError, match="are none"):
        work.job.do(PairPortion(pairs=whole, share=0.001), on=QUIET)


def test_translations_heard_are_scored_whole_and_a_refusal_counts_as_empty(work: Work, tmp_path: Path) -> None:
    rows: list[Utterance] = list(Corpus.open(work.path(work.target)).split("dev"))
    folder = tmp_path / "heard"
    folder.mkdir()
    records = [record_of(row, Hypothesis(row.text or "")) for row in rows]
    records[0] |= {"hypothesis": "", "refusal": {"reason": "audio-empty", "detail": ""}}
    (folder / HYPOTHESES).write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    heard = work.job.store.external(folder, "transcribe", "ab" * 32)
    scored = work.job.do(EvaluateTranslation(hypotheses=heard, source="es", target="que-EC", split="dev"), on=QUIET)
    score = score_in(work.job.path_of(scored))
    assert score["sentences"] == len(rows) and score["empty"] == score["refused"] == 1
    assert 0 < score["chrf"]["value"] < 100 and "copy" not in score
