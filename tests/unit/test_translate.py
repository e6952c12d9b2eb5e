"""Translate and its filters: texts once, rows as asked for, reasons, the embargo, the same digest however computed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from speech_samples import sentences, text_corpus
from translate_samples import LOOSE, QUIET, ROWS, SPOKEN, made, records, rejects, said, speech, translating

from orature.core.errors import BadInput, ConfigError, CorpusError, RejectLimitExceeded, RowsVanished
from orature.core.types import Refusal
from orature.data.corpus import Corpus
from orature.engines.fake_translator import FakeTranslator
from orature.engines.translator import TextSearch, TranslationRequest, Translations
from orature.engines.translators import open_translator
from orature.flow import Ref, Resources, Run, Store
from orature.recipes.translating import Translating, translated
from orature.stages.filter_translated_text import FilterTranslatedText
from orature.stages.filter_translations import FilterTranslations
from orature.stages.inputs import TranslatorRef, corpus_ref, text_file_ref
from orature.stages.split import MakeSplits
from orature.stages.translate import Searching
from orature.stages.translation_account import read_translation_account
from orature.stages.translation_shard import close_translators, draw_seed, in_groups, round_trip
from orature.stages.translation_sieve import Screening
from orature.stages.translation_texts import HumanTranslations, distinct_texts, read_found
from orature.testing.stage_contract import check_conserving, check_idempotent, check_identity, check_resumable
from orature.text.text_corpus import TextCorpus
from orature.text.translation_checks import TranslationBounds

OTHERS = {"t33": "no-text", "t34": "not-the-source-language", "u1": "other-split", "x1": "other-split"}


@pytest.fixture
def rich(tmp_path: Path) -> Path:
    return speech(tmp_path / "rich")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orature.stages.translate.SHARD", 7)


class Recorder(FakeTranslator):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[list[TranslationRequest]] = []

    def translate(self, requests: Sequence[TranslationRequest], search: TextSearch) -> list[Translations | Refusal]:
        self.given.append(list(requests))
        return super().translate(requests, search)


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    one = Recorder()
    monkeypatch.setattr("orature.stages.translation_shard.open_translator", lambda spec, **how: one)
    close_translators()
    return one


def test_rows_keep_their_speech_and_get_the_translation(rich: Path, tmp_path: Path) -> None:
    folder = made(tmp_path / "s", rich)
    corpus, source = Corpus.open(folder), {row.id: row for row in Corpus.open(rich)}
    assert corpus.verify() == []
    for row, cut in zip(corpus, corpus.cuts(), strict=True):
        old = source[row.id]
        assert (row.audio.digest, row.speaker, row.licence, row.split) == (
            old.audio.digest, old.speaker, old.licence, "train"
        )  # fmt: skip
        assert (row.text, row.language, row.origin) == (said(old.text or "")[0], "qu", "translated")
        assert Path(row.audio.path).is_file()
        custom = cut["custom"]
        assert (custom["source_text"], custom["source_language"]) == (old.text, "es")
        assert (custom["translator"], custom["translator_licence"]) == ("fake", "CC0-1.0")
    assert {row.id for row in corpus} == {f"t{n:02}" for n in range(31)}
    found = rejects(folder)
    assert {name: found[name] for name in OTHERS} == OTHERS
    assert found["t31"] == "translator-failed" and found["t32"] == "truncated" and len(found) == 9


def test_a_text_that_stands_there_twice_is_translated_once(rich: Path, tmp_path: Path, recorder: Recorder) -> None:
    folder = made(tmp_path / "s", rich)
    asked = [request for group in recorder.given for request in group]
    assert len(asked) == 32 == len({request.text for request in asked})
    assert all((request.source, request.target) == ("es", "qu") for request in asked)
    texts = {row.id: row.text for row in Corpus.open(folder)}
    assert texts["t03"] == texts["t30"]


def test_texts_of_like_length_go_together(recorder: Recorder) -> None:
    asked = [TranslationRequest(" ".join(SPOKEN[:n]), "es", "qu", seed=n) for n in (9, 2, 7, 1, 8, 3, 6, 4, 5)]
    found = in_groups(recorder, asked, TextSearch())
    assert [[request.seed for request in group] for group in recorder.given] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert found == FakeTranslator().translate(asked, TextSearch()), "in the order of the requests"


def test_workers_and_shards_change_nothing(rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    searching = Searching(n_best=3, sample=True)
    one = made(tmp_path / "one", rich, searching=searching)
    monkeypatch.setattr("orature.stages.translate.SHARD", 5)
    two = made(tmp_path / "two", rich, searching=searching, on=Resources(workers=2, progress=False))
    assert Corpus.open(one).digest == Corpus.open(two).digest
    assert (
        one.name == two.name and (one / "translations.jsonl").read_bytes() == (two / "translations.jsonl").read_bytes()
    )


@pytest.mark.slow
def test_on_ray_it_is_the_same(rich: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    one = made(tmp_path / "one", rich)
    monkeypatch.setattr("orature.stages.translate.SHARD", 20)
    spread = Resources(workers=2, executor="ray", device="cpu", progress=False)
    two = made(tmp_path / "two", rich, on=spread)
    assert (two / "translations.jsonl").read_bytes() == (one / "translations.jsonl").read_bytes()


def test_what_is_drawn_follows_from_the_seed_and_the_text(rich: Path, tmp_path: Path) -> None:
    searching = Searching(n_best=2, sample=True)
    one, other = (made(tmp_path / "s", rich, searching=searching, seed=seed) for seed in (1, 2))
    assert Corpus.open(one).digest != Corpus.open(other).digest
    assert draw_seed(1, "a") == draw_seed(1, "a") != draw_seed(2, "a") and 0 <= draw_seed(1, "a") < 1 << 31
    assert Corpus.open(made(tmp_path / "s", rich)).digest == Corpus.open(made(tmp_path / "s", rich, seed=2)).digest


@pytest.mark.usefixtures("small_shards", "no_flush")
def test_the_laws_of_stages(tmp_path: Path) -> None:
    rich = corpus_ref(speech(tmp_path / "rich", [*ROWS[:8], *ROWS[30:]]))
    translate = translating(rich, splits=("train", "dev"), searching=Searching(n_best=2))
    check_identity(translate)
    revised = translate.translator.model_copy(update={"revision": "fake-2"})
    assert translate.key() != translate.model_copy(update={"translator": revised}).key()
    check_idempotent(translate, tmp_path / "idempotent", QUIET)
    check_conserving(translate, tmp_path / "conserving", rows_in=12, count_kept=lambda folder: len(read_found(folder)))
    check_resumable(translate, tmp_path / "resumable", QUIET, faults=["shard-renamed:1:kill", "part-written:2:kill"])
    store = Store(tmp_path / "found")
    ref = Run(store, "t", "t").do(translate, on=QUIET)
    found = store.external(store.path_of(ref), "translate", ref.digest)
    screening = Screening(target="qu", bounds=LOOSE, embargo=(rich,), variants=2)
    stage = FilterTranslations(
        corpus=rich, translations=found, source="es", screening=screening, splits=("train", "dev")
    )
    check_identity(stage)
    check_idempotent(stage, tmp_path / "filtered")
    rows = {"rows_in": 13 * 2 + 5, "count_kept": lambda folder: len(Corpus.open(folder))}
    check_conserving(stage, tmp_path / "counted", **rows)  # type: ignore[arg-type]
    check_resumable(stage, tmp_path / "again", faults=["part-written:2:kill", "stage-ran:1:kill"])


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def test_embargoed_sentences_never_become_translations(rich: Path, tmp_path: Path) -> None:
    exact, long = said(SPOKEN[2])[0], said(SPOKEN[3])[0]
    near = long.rsplit(" ", 1)[0] + " yaku"
    rows = [("k1", "dev", exact, "qu"), ("k2", "test", near, "qu"), ("k3", "train", said(SPOKEN[5])[0], "qu")]
    target = corpus_ref(speech(tmp_path / "target", rows, seed=9))
    for place in ("embargo", "like"):
        folder = made(tmp_path / "s", rich, **{place: (target,)})
        found = rejects(folder)
        assert (found["t02"], found["t03"], found["t30"]) == (
            "embargo-sentence", "embargo-near-duplicate", "embargo-near-duplicate"
        )  # fmt: skip
        assert "t05" not in found, "what the target trains on may be there"
        texts = {row.text for row in Corpus.open(folder)}
        assert exact not in texts and long not in texts
        assert read_translation_account(folder)["rejected"]["embargo-near-duplicate"] == 2
    with pytest.raises(ConfigError, match="neither dev nor test"):
        made(tmp_path / "s", rich, embargo=(corpus_ref(speech(tmp_path / "train", rows[2:])),))


def test_embargoed_recordings_and_the_corpus_s_own_dev_and_test_stay_out(tmp_path: Path) -> None:
    rows = [*ROWS[:4], ("x1", "test", SPOKEN[2], "es"), ("d1", "dev", "otra frase muy distinta", "es")]
    rich = speech(tmp_path / "rich", rows)
    target = speech(tmp_path / "target", [("k0", "test", "ama shuwa kana", "qu")], seed=4)
    digests = {row.id: row.audio.digest for folder in (rich, target) for row in Corpus.open(folder)}
    assert digests["k0"] == digests["t00"], "the same seed makes the same first recording"
    folder = made(tmp_path / "s", rich, embargo=(corpus_ref(target),))
    assert rejects(folder) == {
        "t00": "embargo-audio", "t02": "embargo-sentence", "x1": "other-split", "d1": "other-split"
    }  # fmt: skip


def test_dev_is_translated_where_asked_and_kept_out_of_train(tmp_path: Path) -> None:
    rows = [
        *ROWS[:4],
        ("d1", "dev", f"{SPOKEN[1]}!", "es"),
        ("d2", "dev", SPOKEN[20], "es"),
        ("x1", "test", "a b", "es"),
    ]
    rich = speech(tmp_path / "rich", [(name, split, text, "es") for name, split, text, _ in rows])
    folder = made(tmp_path / "s", rich, splits=("train", "dev"))
    corpus = Corpus.open(folder)
    assert {row.id for row in corpus.split("dev")} == {"d1", "d2"} and not len(corpus.split("test"))
    assert rejects(folder) == {"t01": "embargo-sentence", "x1": "other-split"}
    turned = " ".join(reversed(SPOKEN[1].split()))
    human = tmp_path / "human.tsv"
    human.write_text(f"sentence\ttranslation\n{turned}\tsumak wasi kan\n{SPOKEN[0]}\tsumak wasi kan\n", "utf-8")
    other = speech(tmp_path / "other", [*ROWS[:3], ("d1", "dev", turned, "es"), ("x1", "test", "a b", "es")])
    folder = made(tmp_path / "s", other, splits=("train", "dev"), human=text_file_ref(human))
    assert rejects(folder)["t00"] == "embargo-sentence", "other sentences, but one translation"


def test_the_first_candidate_that_passes_is_kept(rich: Path, tmp_path: Path) -> None:
    first, second = said(SPOKEN[4], n_best=2)
    rows = [("k1", "test", first, "qu"), ("k2", "train", second, "qu")]
    target = (corpus_ref(speech(tmp_path / "target", rows, seed=9)),)
    sharp = said(SPOKEN[4], n_best=1)
    assert sharp == [first]
    assert rejects(made(tmp_path / "s", rich, embargo=target))["t04"] == "embargo-sentence"
    folder = made(tmp_path / "s", rich, embargo=target, searching=Searching(n_best=4))
    texts, one = {row.id: row.text for row in Corpus.open(folder)}, records(folder)["t04"]
    assert texts["t04"] not in (None, first) and one["kept"] == [texts["t04"]]
    assert one["candidates"][0]["text"] == first and one["refusals"][0]["reason"].startswith("embargo-")
    assert read_translation_account(folder)["kept_later_candidate"] >= 1


def test_variants_are_rows_of_the_same_speech(tmp_path: Path) -> None:
    rich = speech(
        tmp_path / "rich", [*ROWS[:2], ("t31", "train", "refuse", "es"), ("t9", "train", "hola", "es"), ROWS[-3]]
    )
    folder = made(tmp_path / "s", rich, searching=Searching(n_best=3), variants=3)
    rows = {row.id: row for row in Corpus.open(folder)}
    assert [rows[f"t00-v{n}"].text for n in (1, 2, 3)] == said(SPOKEN[0], n_best=3)
    assert len({rows[f"t00-v{n}"].audio.digest for n in (1, 2, 3)}) == 1
    found = rejects(folder)
    assert found["t31-v1"] == "translator-failed" and found["t31-v2"] == "no-further-variant" and found["x1"]
    info = json.loads((folder / "artefact.json").read_text("utf-8"))["rows"]
    assert info["total"] == 4 * 3 + 1 == info["kept"] + sum(info["rejected"].values())
    assert len(rows) == info["kept"]


def test_more_translations_than_beams_are_refused() -> None:
    with pytest.raises(ValueError, match="finds no 6"):
        Searching(n_best=6)
    assert Searching(n_best=6, sample=True).search() == replace(TextSearch(), n_best=6, sample=True)


def test_round_trips_are_measured_and_what_does_not_come_back_goes(rich: Path, tmp_path: Path) -> None:
    pytest.importorskip("sacrebleu")
    back = TranslatorRef(engine="fake", revision="fake-1")
    with pytest.raises(CorpusError, match="31 round-trip"):
        made(tmp_path / "s", rich, back=back)
    folder = made(tmp_path / "s", rich, back=back, bounds=LOOSE.model_copy(update={"min_round_trip": None}))
    measured = {name: row["candidates"][0] for name, row in records(folder).items() if row["candidates"]}
    with open_translator("fake") as translator:
        asked = TranslationRequest(measured["t00"]["text"], "qu", "es")
        (expected,) = translator.translate([asked], TextSearch(beams=1))
    assert not isinstance(expected, Refusal) and measured["t00"]["back"] == expected[0].text
    assert measured["t00"]["round_trip"] == round_trip(expected[0].text, SPOKEN[0])
    assert read_translation_account(folder)["back"] == {"name": "fake", "revision": "fake-1", "licence": "CC0-1.0"}
    points = {name: one["round_trip"] for name, one in measured.items()}
    least = sorted(points.values())[len(points) // 2]
    folder = made(tmp_path / "s", rich, back=back, bounds=LOOSE.model_copy(update={"min_round_trip": least}))
    lost = {name for name, reason in rejects(folder).items() if reason == "round-trip"}
    assert lost == {name for name, value in points.items() if value < least} and 10 < len(lost) < 20
    assert read_translation_account(folder)["round_trip"]["median"] > least


def test_a_round_trip_is_scored_without_case_and_punctuation() -> None:
    pytest.importorskip("sacrebleu")
    assert round_trip("la casa roja", "La casa roja.") == 100.0 and round_trip("", "la casa") == 0.0
    assert round_trip("la casa", "...") is None


def test_a_person_s_translations_come_first_and_are_not_checked(rich: Path, tmp_path: Path) -> None:
    table = tmp_path / "human.tsv"
    table.write_text(
        "id\tsentence\ttranslation\n"
        f"t00\t\t{SPOKEN[0]}\n"
        f"\t{SPOKEN[3].upper()}!\tkusa kusa kusa kusa kusa kusa\n"
        f"\t{SPOKEN[4]}\t \n"
        "zz\t\tmana pipash\n",
        encoding="utf-8",
    )
    human = text_file_ref(table)
    folder = made(tmp_path / "s", rich, human=human)
    texts = {row.id: row.text for row in Corpus.open(folder)}
    assert texts["t00"] == SPOKEN[0], "a copy that a person gave"
    assert texts["t03"] == texts["t30"] == "kusa kusa kusa kusa kusa kusa"
    assert texts["t04"] == said(SPOKEN[4])[0], "nobody translated it"
    assert records(folder)["t00"]["by"] == "human" and records(folder)["t04"]["by"] == "fake"
    account = read_translation_account(folder)
    assert account["kept_human"] == 3 and account["human"] == 4
    asked = distinct_texts(rich, splits=("train",), source="es", human=HumanTranslations.read(table))
    assert SPOKEN[3] not in asked and SPOKEN[0] not in asked and SPOKEN[4] in asked


def test_a_person_s_translation_keeps_the_embargo(rich: Path, tmp_path: Path) -> None:
    table = tmp_path / "human.tsv"
    table.write_text("id\ttranslation\nt00\tsumak urku wasi\nt01\tyaku larka patapi\n", encoding="utf-8")
    held = corpus_ref(speech(tmp_path / "held", [("k1", "test", "Sumak urku wasi.", "qu")], seed=9))
    folder = made(tmp_path / "s", rich, human=text_file_ref(table), embargo=(held,))
    assert rejects(folder)["t00"] == "embargo-sentence" and "t01" not in rejects(folder)


def test_persons_alone(rich: Path, tmp_path: Path) -> None:
    table = tmp_path / "human.tsv"
    table.write_text(f"sentence\ttranslation\n{SPOKEN[0]}\tpuka wasi\n{SPOKEN[0]}\tsumak wasi\n", encoding="utf-8")
    stage = FilterTranslations(
        corpus=corpus_ref(rich),
        source="es",
        screening=Screening(target="qu", human=text_file_ref(table), variants=2),
    )
    store = Store(tmp_path / "s")
    folder = store.path_of(Run(store, "t", "t").do(stage, on=QUIET))
    assert {row.id: row.text for row in Corpus.open(folder)} == {"t00-v1": "puka wasi", "t00-v2": "sumak wasi"}
    assert rejects(folder)["t01-v1"] == "no-human-translation"


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"sentence\tsource\nx\ty\n", "has the columns sentence, source"),
        (b"translation\nx\n", "has the columns translation"),
        (b"", "of no header"),
        (b"sentence\ttranslation\na\tb\tc\n", "3 cells, but 2 columns"),
        (b"sentence\ttranslation\n\xff\tb\n", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path: Path, table: bytes, says: str) -> None:
    path = tmp_path / "human.tsv"
    path.write_bytes(table)
    with pytest.raises(BadInput, match=says):
        HumanTranslations.read(path)


def test_nothing_to_translate_nothing_kept_and_too_much_rejected(rich: Path, tmp_path: Path) -> None:
    none = speech(tmp_path / "none", [("u1", "unlabelled", None, "es")])
    with pytest.raises(CorpusError, match="there is no text to translate"):
        made(tmp_path / "s", none)
    with pytest.raises(RejectLimitExceeded, match="other-split"):
        made(tmp_path / "s", rich, reject_limit=0.1)
    strict = TranslationBounds(min_score=-0.0001)
    with pytest.raises(CorpusError, match="not one of 33 translations can be used"):
        made(tmp_path / "s", rich, bounds=strict)


def test_a_text_that_was_never_translated_is_no_reject(rich: Path, tmp_path: Path) -> None:
    other = speech(tmp_path / "other", ROWS[:3])
    store = Store(tmp_path / "s")
    found = Run(store, "t", "t").do(translating(corpus_ref(other)), on=QUIET)
    stage = FilterTranslations(
        corpus=corpus_ref(rich), translations=found, source="es", screening=Screening(target="qu", bounds=LOOSE)
    )
    with pytest.raises(RowsVanished, match="was never translated"):
        Run(store, "t", "t").do(stage, on=QUIET)


def test_another_translator_than_was_asked_for_is_refused(rich: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has revision 'fake-1' here, 'fake-0' was asked for"):
        made(tmp_path / "s", rich, translator=TranslatorRef(engine="fake", revision="fake-0"))


def test_a_corpus_of_the_store_keeps_its_lineage(rich: Path, tmp_path: Path) -> None:
    run = Run(Store(tmp_path / "s"), "t", "t")
    splits = run.do(MakeSplits(corpus=corpus_ref(rich), strategy="given"), on=QUIET)
    again = run.do(MakeSplits(corpus=splits, strategy="given"), on=QUIET)
    loose = {"most_unseen": None, "most_ratio": None, "language_check": "none"}
    asked = Translating(into="qu", source="es", translator="fake", options=loose)
    ref = translated(run, again, asked, on=QUIET)
    stages = [info.stage for info in run.store.lineage(ref)]
    assert stages == ["split", "split", "translate", "filter-translations"]
    assert ref.digest == translated(run, run.path_of(again), asked, on=QUIET).digest


def test_a_text_corpus_is_translated_into_one(tmp_path: Path) -> None:
    text: Ref = text_corpus(tmp_path / "text", sentences(12), language="es")
    store = Store(tmp_path / "s")
    run = Run(store, "t", "t")
    found = run.do(translating(text), on=QUIET)
    held = speech(tmp_path / "held", [("k1", "test", said(sentences(12)[1].text)[0], "qu")])
    screening = Screening(target="qu", bounds=LOOSE, embargo=(corpus_ref(held),))
    stage = FilterTranslatedText(text=text, translations=found, source="es", screening=screening)
    check_identity(stage)
    folder = store.path_of(run.do(stage, on=QUIET))
    corpus = TextCorpus.open(folder)
    assert corpus.language == "qu" and corpus.verify() == []
    rows = {row.id: row for row in corpus}
    assert rows["s/0000"].text == rows["s/0000"].spoken == said(sentences(12)[0].text)[0]
    assert rows["s/0000"].licence == "CC0-1.0" and len(rows) + len(rejects(folder)) == 12
    assert rejects(folder)["s/0001"] == "embargo-sentence"
