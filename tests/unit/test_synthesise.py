"""Synthesise: rows as asked for, rejects with reasons, the same digest however it is computed; plan and draws."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speech_samples import reading, sentences, text_corpus
from tiny import LATIN, corpus_of

from orature.core.errors import ConfigError, CorpusError, RejectLimitExceeded
from orature.data.audio import audio_digest, load
from orature.data.corpus import Corpus
from orature.engines import fake_voice
from orature.engines.voice import Traits
from orature.flow import Ref, Resources, Run, Store
from orature.stages.inputs import VoiceRef, corpus_ref, voice_ref
from orature.stages.synthesis_cost import estimate
from orature.stages.synthesis_plan import Manner, Row, make_plan, read_prompts, readings_of
from orature.stages.synthesise import Synthesise, read_embargo
from orature.testing.stage_contract import check_conserving, check_idempotent, check_identity
from orature.text.text_corpus import Sentence

QUIET = Resources(progress=False)
FREE = Traits(rate=True, pitch=True, expression=True, prompts=True, random=True, batch=4)


def made(stage: Synthesise, root: Path, on: Resources = QUIET) -> tuple[Ref, Path]:
    store = Store(root)
    ref = Run(store, "test", "test").do(stage, on=on)
    return ref, store.path_of(ref)


def rejects(folder: Path) -> dict[str, str]:
    lines = (folder / "rejects.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: row["reason"] for row in map(json.loads, lines)}


def test_every_sentence_is_an_utterance_with_its_making(tmp_path: Path) -> None:
    ref, folder = made(reading(text_corpus(tmp_path / "t", sentences(20))), tmp_path / "s")
    corpus = Corpus.open(folder)
    texts = {f"s/{n:04d}": sentence.text for n, sentence in enumerate(sentences(20))}
    assert {row.id: row.text for row in corpus} == texts and corpus.verify() == [] and corpus.digest == ref.digest
    for row, cut in zip(corpus, corpus.cuts(), strict=True):
        custom = cut["custom"]
        assert (row.origin, row.source, row.licence, row.split) == ("synthetic", "book", "CC0-1.0", "train")
        assert row.speaker == f"fake:{custom['speaker']}" and custom["engine_licence"] == "CC0-1.0"
        assert custom["sentence_id"] == row.id and 0.9 <= custom["rate"] <= 1.15 and -2 <= custom["pitch"] <= 2
        samples = load(row.audio.path, row.audio.start_s, row.audio.duration_s)
        assert audio_digest(samples) == row.audio.digest
    assert len({cut["custom"]["speaker"] for cut in corpus.cuts()}) == 3
    facts = json.loads((folder / "synthesis.json").read_text("utf-8"))
    assert facts["kept"] == 20 and facts["voice"] == {"name": "fake", "revision": "1"}


def test_workers_and_shards_do_not_change_a_sound(tmp_path: Path) -> None:
    text = text_corpus(tmp_path / "t", sentences(30))
    whole = made(reading(text), tmp_path / "one")[0]
    assert made(reading(text), tmp_path / "two", Resources(workers=2, progress=False))[0] == whole
    assert made(reading(text, per_shard=7), tmp_path / "three")[0].digest == whole.digest
    shuffled = text_corpus(tmp_path / "t2", sentences(30)[::-1])
    assert made(reading(shuffled), tmp_path / "four")[0].digest == whole.digest
    assert made(reading(text, seed=4), tmp_path / "five")[0].digest != whole.digest


def test_the_laws_of_stages(tmp_path: Path) -> None:
    rows = [*sentences(9), Sentence("bad", "please refuse this", "book")]
    text = text_corpus(tmp_path / "t", rows)
    stage = reading(text, target=corpus_ref(corpus_of(tmp_path / "real", LATIN)), realism="match")
    check_identity(stage)
    assert stage.key() != stage.model_copy(update={"voice": stage.voice.model_copy(update={"revision": "2"})}).key()
    check_idempotent(stage, tmp_path / "idempotent")
    check_conserving(reading(text), tmp_path / "conserving", rows_in=10, count_kept=lambda f: len(Corpus.open(f)))


def test_rejects_have_reasons_and_a_limit(tmp_path: Path) -> None:
    odd = [Sentence("no", "please refuse this"), Sentence("brief", "this is far too short for so many letters")]
    long = Sentence("long", "wasi " * 150)
    text = text_corpus(tmp_path / "t", [*sentences(20), *odd, long])
    folder = made(reading(text), tmp_path / "s")[1]
    assert rejects(folder) == {"no": "voice-failed", "brief": "too-fast", "long": "too-long"}
    lines = (folder / "rejects.jsonl").read_text("utf-8")
    assert "please refuse this" in lines, "the rejected text is kept"
    with pytest.raises(RejectLimitExceeded, match="voice-failed"):
        made(reading(text, reject_limit=0.05), tmp_path / "s")


def test_embargoed_sentences_are_never_read(tmp_path: Path) -> None:
    real = corpus_of(tmp_path / "real", LATIN)
    held_out = next(row.text for row in Corpus.open(real).split("test") if row.text and " " in row.text)
    text = text_corpus(
        tmp_path / "t", [*sentences(9), Sentence("leak", held_out), Sentence("s2", "x", spoken=held_out)]
    )
    folder = made(reading(text, embargo=corpus_ref(real), readings=2), tmp_path / "s")[1]
    found = rejects(folder)
    assert {name: why for name, why in found.items() if why.startswith("embargo")} == {
        name: "embargo-sentence" for name in ("leak-r1", "leak-r2", "s2-r1", "s2-r2")
    }
    assert len(Corpus.open(folder)) == 18


def test_an_embargo_without_held_out_sentences_is_refused(tmp_path: Path) -> None:
    speech = made(reading(text_corpus(tmp_path / "t", sentences(9))), tmp_path / "s")[1]
    with pytest.raises(ConfigError, match="neither dev nor test"):
        read_embargo(speech)


def test_readings_are_by_different_speakers(tmp_path: Path) -> None:
    folder = made(reading(text_corpus(tmp_path / "t", sentences(6)), readings=3), tmp_path / "s")[1]
    speakers: dict[str, set[str]] = {}
    for cut in Corpus.open(folder).cuts():
        speakers.setdefault(cut["custom"]["sentence_id"], set()).add(cut["custom"]["speaker"])
    assert len(speakers) == 6 and all(len(names) == 3 for names in speakers.values())
    assert {row.id for row in Corpus.open(folder)} >= {"s/0000-r1", "s/0000-r2", "s/0000-r3"}


def test_draws_follow_from_seed_and_sentence_alone() -> None:
    manner = Manner(seed=1, readings=1, rate=(0.8, 1.2), pitch=(-3.0, 3.0), expression=(0.5, 2.0))
    rows = [row for sentence in sentences(200) for row in readings_of(sentence, 1)]
    asked = [manner.request(row, "qu", FREE, ["a", "b", "c"], {})[0] for row in rows]
    assert [manner.request(row, "qu", FREE, ["a", "b", "c"], {})[0] for row in rows[::-1]] == asked[::-1]
    assert all(50 < count < 85 for count in Counter(request.speaker for request in asked).values())
    lengths = np.array([len(request.text) for request in asked])
    for name in ("rate", "pitch", "expression"):
        values = np.array([getattr(request, name) for request in asked])
        assert abs(np.corrcoef(lengths, values)[0, 1]) < 0.2 and len(set(values)) > 50
    plain = manner.request(rows[0], "qu", Traits(), [""], {})[0]
    assert (plain.rate, plain.pitch, plain.expression) == (1.0, 0.0, 1.0)
    assert plain.seed == asked[0].seed


def test_the_plan_is_shuffled_by_hash_and_made_once(tmp_path: Path) -> None:
    rows = sentences(64)
    plan = make_plan(rows, None, seed=1, readings=1, folder=tmp_path)
    order = [Row.of(line).id for batch in plan.batches(10) for line in batch]
    assert sorted(order) == [row.id for row in rows] and order != sorted(order)
    places = np.array([order.index(row.id) for row in rows])
    assert abs(np.corrcoef(places, [len(row.text) for row in rows])[0, 1]) < 0.35
    assert make_plan(iter([]), None, seed=1, readings=1, folder=tmp_path) == plan
    with pytest.raises(CorpusError, match="'s/0003' twice"):
        make_plan([*rows, rows[3]], None, seed=1, readings=1, folder=_new(tmp_path / "twice"))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_prompts_are_train_speakers_only(tmp_path: Path) -> None:
    real = corpus_of(tmp_path / "real", LATIN)
    held_out = {row.speaker for name in ("dev", "test") for row in Corpus.open(real).split(name)}
    pool = read_prompts(real)
    assert pool and not held_out & set(pool)
    folder = made(reading(text_corpus(tmp_path / "t", sentences(8)), prompts=corpus_ref(real)), tmp_path / "s")[1]
    for row, cut in zip(Corpus.open(folder), Corpus.open(folder).cuts(), strict=True):
        assert row.speaker and row.speaker.removeprefix("fake:") in pool
        assert cut["custom"]["prompt"] in {prompt.id for prompt in pool[cut["custom"]["speaker"]]}
        assert str(tmp_path) not in json.dumps(cut["custom"])


def test_a_speaker_of_dev_or_test_is_no_prompt(tmp_path: Path) -> None:
    one = corpus_of(tmp_path / "one", LATIN, speaker="the same in all splits")
    with pytest.raises(CorpusError, match="whose speaker is not in dev or test"):
        read_prompts(one)


def test_a_voice_that_changed_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    stage = reading(text_corpus(tmp_path / "t", sentences(3)), voice=VoiceRef(engine="fake", revision="0"))
    with pytest.raises(ConfigError, match="revision '1' here, '0' was"):
        made(stage, tmp_path / "s")


def test_a_voice_is_named_by_its_content_and_not_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, weights in (("a", b"1"), ("b", b"1"), ("c", b"2")):
        _new(tmp_path / name).joinpath("model.safetensors").write_bytes(weights)
    monkeypatch.setattr(fake_voice, "files", lambda model: [Path(model) / "model.safetensors"])
    refs = [voice_ref(f"fake:{tmp_path / name}") for name in "abc"]
    text = text_corpus(tmp_path / "t", sentences(2))
    keys = [reading(text, voice=ref).key() for ref in refs]
    assert keys[0] == keys[1] != keys[2]
    assert refs[0].spec == f"fake:{tmp_path / 'a'}" and refs[0].public_name == "fake:a"


def test_matching_is_recorded_and_changes_the_sound(tmp_path: Path) -> None:
    text, real = text_corpus(tmp_path / "t", sentences(6)), corpus_ref(corpus_of(tmp_path / "real", LATIN))
    clean = made(reading(text, target=real), tmp_path / "s")[0]
    ref, folder = made(reading(text, target=real, realism="match"), tmp_path / "s")
    assert ref.digest != clean.digest and (folder / "acoustics.json").is_file()
    assert all("gain_db" in cut["custom"]["realism"] for cut in Corpus.open(folder).cuts())


@pytest.mark.parametrize("fields", [{"rate": (1.2, 0.8)}, {"rate": (0, 1)}, {"pitch": (5, -5)}, {"readings": 0}])
def test_wrong_fields_are_refused(fields: dict[str, Any]) -> None:
    voice, text = VoiceRef(engine="fake", revision="1"), Ref(key="external", stage="text", digest="d")
    with pytest.raises(ValueError, match=next(iter(fields))):
        Synthesise(text=text, voice=voice, language="sw", **fields)


def test_an_empty_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no sentence to read"):
        made(reading(text_corpus(tmp_path / "t", [])), tmp_path / "s")


def test_the_cost_is_measured_and_scaled(tmp_path: Path) -> None:
    text = text_corpus(tmp_path / "t", sentences(100))
    stage = reading(text, readings=2)
    store = Store(tmp_path / "s")
    cost = estimate(stage, store.path_of, QUIET)
    true_h = Corpus.open(made(stage, tmp_path / "s")[1]).summary()["hours"]
    assert cost["rows"] == 200 and abs(cost["hours"] / true_h - 1) < 0.2
    assert estimate(stage, store.path_of, replace_workers(4))["workers"] == 4


def replace_workers(workers: int) -> Resources:
    return QUIET.model_copy(update={"workers": workers})


def test_text_and_what_is_read_may_differ(tmp_path: Path) -> None:
    row = replace(sentences(1)[0], text="2 wasi", spoken="ishkay wasi")
    corpus = Corpus.open(made(reading(text_corpus(tmp_path / "t", [row])), tmp_path / "s")[1])
    assert [utterance.text for utterance in corpus] == ["2 wasi"]
    assert abs(next(iter(corpus)).audio.duration_s - fake_voice.LETTER_S * 11) < 0.15
