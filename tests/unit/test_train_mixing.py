"""Drawing an epoch: shares of audio as asked, nothing forgotten, the same each time."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from orature.train.mixing import Group, MixConfig, draw_epoch, expected_counts

_RNG = np.random.default_rng(0)
SIZES = {
    Group("que", "killkan"): 400,
    Group("yor", "ogunlao"): 100,
    Group("yor", "read"): 25,
    Group("yor", "read", "pseudo"): 300,
    Group("wol", "tts", "synthetic"): 60,
}
GROUPS = [group for group, count in SIZES.items() for _ in range(count)]
DURATIONS = [float(value) for value in _RNG.uniform(1, 9, len(GROUPS))]


def seconds(groups: list[Group], indices: list[int], **fields: Any) -> float:
    return sum(DURATIONS[i] for i in indices if all(getattr(groups[i], name) == v for name, v in fields.items()))


def shares(config: MixConfig, epochs: int = 8, **fields: Any) -> float:
    drawn = [index for epoch in range(epochs) for index in draw_epoch(DURATIONS, GROUPS, config, 1, epoch)]
    return seconds(GROUPS, drawn, **fields) / seconds(GROUPS, drawn)


def test_as_it_stands_every_utterance_comes_once() -> None:
    for epoch in range(5):
        assert draw_epoch(DURATIONS, GROUPS, MixConfig(), 3, epoch) == list(range(len(GROUPS)))
    weights = MixConfig(origin_weights={"real": 2.0, "pseudo": 2.0, "synthetic": 2.0, "translated": 2.0})
    assert draw_epoch(DURATIONS, GROUPS, weights, 3, 0) == list(range(len(GROUPS)))


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.8])
def test_languages_get_the_root_of_their_share(exponent: float) -> None:
    everything = list(range(len(GROUPS)))
    powers = {tag: seconds(GROUPS, everything, language=tag) ** exponent for tag in ("que", "yor", "wol")}
    config = MixConfig(language_exponent=exponent)
    for tag, power in powers.items():
        assert shares(config, language=tag) == pytest.approx(power / sum(powers.values()), rel=0.03)


def test_corpora_share_their_language() -> None:
    config = MixConfig(language_exponent=0.5, corpus_exponent=0.0)
    whole = shares(config, language="yor")
    assert shares(config, corpus="ogunlao") == pytest.approx(whole / 2, rel=0.03)
    assert shares(config, corpus="read") == pytest.approx(whole / 2, rel=0.03)
    pseudo = shares(config, corpus="read", origin="pseudo") / shares(config, corpus="read")
    natural = seconds(GROUPS, list(range(len(GROUPS))), corpus="read", origin="pseudo")
    natural /= seconds(GROUPS, list(range(len(GROUPS))), corpus="read")
    assert pseudo == pytest.approx(natural, rel=0.03)


def test_an_origin_of_weight_a_quarter_is_seen_a_quarter_as_often() -> None:
    config = MixConfig(origin_weights={"pseudo": 0.25})
    counts = expected_counts(DURATIONS, GROUPS, config)
    by_origin = {origin: counts[[g.origin == origin for g in GROUPS]] for origin in ("real", "pseudo", "synthetic")}
    assert by_origin["pseudo"] == pytest.approx(by_origin["real"][0] / 4, rel=1e-6)
    assert by_origin["synthetic"] == pytest.approx(by_origin["real"][0], rel=1e-6)
    without = draw_epoch(DURATIONS, GROUPS, MixConfig(origin_weights={"pseudo": 0.0}), 1, 0)
    assert not [i for i in without if GROUPS[i].origin == "pseudo"]
    assert {i for i in range(len(GROUPS)) if GROUPS[i].origin != "pseudo"} <= set(without)
    with pytest.raises(ValueError, match="nothing is left"):
        draw_epoch([1.0], [Group(origin="pseudo")], MixConfig(origin_weights={"pseudo": 0.0}), 1, 0)


def test_rehearsal_is_a_tenth_of_the_audio_and_the_target_comes_whole() -> None:
    roles = [Group(g.language, g.corpus, g.origin, "target" if g.language == "wol" else "rehearsal") for g in GROUPS]
    target = {i for i, g in enumerate(roles) if g.role == "target"}
    rehearsed: Counter[int] = Counter()
    heard = again = 0.0
    for epoch in range(400):
        drawn = draw_epoch(DURATIONS, roles, MixConfig(), 1, epoch)
        assert [i for i in drawn if i in target] == sorted(target)
        rehearsed.update(i for i in drawn if i not in target)
        heard += seconds(roles, drawn)
        again += seconds(roles, drawn, role="rehearsal")
    assert again / heard == pytest.approx(0.1, abs=0.003)
    assert set(rehearsed) == set(range(len(roles))) - target
    none = draw_epoch(DURATIONS, roles, MixConfig(rehearsal_share=0.0), 1, 0)
    assert none == sorted(target)
    alone = [Group(g.language, g.corpus, g.origin, "rehearsal") for g in GROUPS]
    assert draw_epoch(DURATIONS, alone, MixConfig(), 1, 0) == list(range(len(alone)))


def test_epochs_repeat_and_differ() -> None:
    config = MixConfig(language_exponent=0.3)
    assert draw_epoch(DURATIONS, GROUPS, config, 1, 2) == draw_epoch(DURATIONS, GROUPS, config, 1, 2)
    assert draw_epoch(DURATIONS, GROUPS, config, 1, 2) != draw_epoch(DURATIONS, GROUPS, config, 1, 3)
    assert draw_epoch(DURATIONS, GROUPS, config, 1, 2) != draw_epoch(DURATIONS, GROUPS, config, 2, 2)


@pytest.mark.parametrize(
    "fields",
    [
        {"language_exponent": 1.5},
        {"corpus_exponent": -0.1},
        {"rehearsal_share": 1.0},
        {"origin_weights": {"real": -1.0}},
        {"origin_weights": {"real": float("inf")}},
        {"origin_weights": {"dreamt": 1.0}},
    ],
)
def test_wrong_fields_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MixConfig.model_validate(fields)


GROUP = st.builds(
    Group,
    st.sampled_from(["que", "yor", "und"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["real", "pseudo", "synthetic"]),
    st.sampled_from(["target", "rehearsal"]),
)
CONFIG = st.builds(
    MixConfig,
    language_exponent=st.floats(0, 1),
    corpus_exponent=st.floats(0, 1),
    origin_weights=st.dictionaries(st.sampled_from(["real", "pseudo"]), st.floats(0.05, 8), max_size=2),
    rehearsal_share=st.floats(0.05, 0.5),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 20), GROUP), min_size=1, max_size=60), CONFIG, st.integers(0, 9))
def test_laws_of_drawing(rows: list[tuple[float, Group]], config: MixConfig, seed: int) -> None:
    """Each count is the expected one rounded up or down, catches up over epochs, and the epoch keeps its length."""
    durations, groups = [duration for duration, _ in rows], [group for _, group in rows]
    expected = expected_counts(durations, groups, config)
    target = sum(d for d, g in rows if g.role == "target") or sum(durations)
    both = len({group.role for group in groups}) == 2
    length = target / (1 - config.rehearsal_share) if both else target
    assert float(expected @ np.array(durations)) == pytest.approx(length, rel=1e-6)
    total = np.zeros(len(rows))
    epochs = 12
    for epoch in range(epochs):
        drawn = draw_epoch(durations, groups, config, seed, epoch)
        counts = np.bincount(drawn, minlength=len(rows))
        assert drawn == sorted(drawn)
        assert (counts >= np.floor(expected)).all() and (counts <= np.ceil(expected)).all()
        total += counts
        for group in set(groups):
            held = [index for index, other in enumerate(groups) if other == group]
            assert abs(counts[held].sum() - expected[held].sum()) <= 1 + 1e-6
    assert (np.abs(total - epochs * expected) <= 1 + 1e-6).all()
