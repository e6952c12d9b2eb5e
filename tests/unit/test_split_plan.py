"""Planning of splits: disjoint, as asked, and said aloud where it cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orature.core.errors import ConfigError, CorpusError
from orature.data.splits import PROMPT_REASON, SPEAKER_REASON, LightRow, Options, Plan, make_plan


def rows(count: int, *, speakers: int, split: str | None = None, prompts: int = 0, prefix: str = "u") -> list[LightRow]:
    """`count` rows dealt to `speakers` (0: unknown) and to `prompts` shared sentences (0: each its own)."""
    return [
        LightRow(
            f"{prefix}{n}",
            split,
            f"s{n % speakers}" if speakers else "",
            f"p{n % prompts if prompts else prefix + str(n)}",
            1.0,
        )
        for n in range(count)
    ]


def speakers_of(plan: Plan, data: list[LightRow], split: str) -> set[str]:
    return {data[number].speaker for number in plan.rows_of(split)}


def said(plan: Plan, words: str) -> bool:
    return any(words in sentence for sentence in plan.warnings)


def test_random_splits_share_no_speaker() -> None:
    data = rows(200, speakers=20)
    plan = make_plan(data, Options())
    parts = [speakers_of(plan, data, split) for split in ("train", "dev", "test")]
    assert plan.strategy == "random" and plan.unit == "speaker"
    assert all(parts) and sum(map(len, parts)) == 20
    assert len(plan.rows_of("test")) == len(plan.rows_of("dev")) == 20
    assert make_plan(data, Options(seed=1)).splits != plan.splits
    assert make_plan(list(data), Options()).splits == plan.splits


def test_row_order_does_not_matter() -> None:
    data = rows(60, speakers=7)
    forwards = {row.id: s for row, s in zip(data, make_plan(data, Options()).splits, strict=True)}
    backwards = {row.id: s for row, s in zip(data[::-1], make_plan(data[::-1], Options()).splits, strict=True)}
    assert forwards == backwards


@pytest.mark.parametrize("speakers", [0, 1, 2])
def test_too_few_speakers_is_said_aloud(speakers: int) -> None:
    data = rows(100, speakers=speakers, prompts=50)
    plan = make_plan(data, Options())
    prompts = [{data[n].prompt for n in plan.rows_of(split)} for split in ("train", "dev", "test")]
    assert plan.unit == "sentence" and said(plan, "too few speakers")
    assert all(prompts) and sum(map(len, prompts)) == 50


def test_one_word_prompts_of_one_speaker_are_split_by_recording() -> None:
    data = [LightRow(f"u{n}", None, "s", "", 1.0) for n in range(50)]
    plan = make_plan(data, Options())
    assert plan.unit == "recording" and len(plan.rows_of("test")) == 5
    assert said(plan, "one speaker only")


def test_auto_rebuilds_only_where_the_official_splits_waste() -> None:
    given = [
        *rows(20, speakers=4, split="test", prefix="t"),
        *[LightRow(f"d{n}", "dev", "d", f"d{n}", 1.0) for n in range(10)],
        *[LightRow(f"o{n}", "train", f"o{n % 5}", f"o{n}", 1.0) for n in range(30)],
    ]
    more = [LightRow(f"v{n}", None, f"v{n % 9}", f"v{n}", 1.0) for n in range(90)]
    leaky = [LightRow("x1", None, "s1", "x1", 1.0), LightRow("x2", None, "v1", "pt3", 1.0)]
    kept = make_plan(given + more[:20], Options())
    assert kept.strategy == "given" and kept.splits[-1] is None and (kept.official, kept.usable) == (30, 50)
    plan = make_plan(given + more + leaky, Options())
    assert plan.strategy == "rebuild" and (plan.official, plan.usable) == (30, 120)
    assert plan.splits[:30] == [row.split for row in given[:30]]
    assert plan.drops == {len(given) + 90: SPEAKER_REASON}  # the sentence is left to the embargo, which names it
    assert not speakers_of(plan, given + more + leaky, "train") & {"s0", "s1", "s2", "s3", "d"}


def test_a_missing_dev_is_carved_from_train_by_speaker() -> None:
    data = rows(80, speakers=8, split="train") + [LightRow(f"t{n}", "test", "t", f"t{n}", 1.0) for n in range(20)]
    plan = make_plan(data, Options())
    assert plan.strategy == "given" and plan.made == {"dev"} and len(plan.rows_of("test")) == 20
    assert speakers_of(plan, data, "dev") and not speakers_of(plan, data, "dev") & speakers_of(plan, data, "train")


def test_shared_speakers_and_unknown_ones_are_said_aloud() -> None:
    data = (
        rows(20, speakers=4, split="train")
        + rows(5, speakers=2, split="test", prefix="t")
        + rows(5, speakers=0, split="dev", prefix="d")
    )
    plan = make_plan(data, Options(strategy="given"))
    assert said(plan, "2 speakers are in both train and test: s0, s1")
    assert said(plan, "5 of 30 labelled rows is unknown")


def test_all_speakers_reading_one_list_leaves_train_something() -> None:
    data = [LightRow(f"{s}-{p}", None, f"s{s}", f"p{p}", 1.0) for s in range(10) for p in range(50)]
    plan = make_plan(data, Options())
    held = {data[n].prompt for split in ("dev", "test") for n in plan.rows_of(split)}
    left = [n for n in plan.rows_of("train") if data[n].prompt not in held]
    assert set(plan.drops.values()) == {PROMPT_REASON} and said(plan, "read the same sentences")
    assert len(held) == 10 and len(left) == 320


@given(st.integers(3, 6), st.integers(0, 9), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_folds_test_every_row_once(folds: int, speakers: int, seed: int) -> None:
    data = rows(40, speakers=speakers)
    tested: list[int] = []
    for fold in range(folds):
        plan = make_plan(data, Options(folds=folds, fold=fold, seed=seed))
        parts = [plan.rows_of(split) for split in ("train", "dev", "test")]
        assert all(parts) and sum(map(len, parts)) == 40
        if speakers >= folds:
            assert sum(len(speakers_of(plan, data, split)) for split in ("train", "dev", "test")) == speakers
        tested += parts[2]
    assert sorted(tested) == list(range(40))


def test_what_cannot_be_done_is_a_sentence() -> None:
    with pytest.raises(CorpusError, match="no row has a transcript"):
        make_plan([LightRow("a", "unlabelled", "s", "", 1.0)], Options())
    with pytest.raises(ConfigError, match="neither"):
        make_plan(rows(9, speakers=3), Options(strategy="given"))
    with pytest.raises(ConfigError, match="fold 3 of 3"):
        make_plan(rows(9, speakers=3), Options(folds=3, fold=3))
    with pytest.raises(CorpusError, match="2 groups"):
        make_plan(rows(2, speakers=2), Options(folds=3))
