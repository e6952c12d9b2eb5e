"""CTC's probability of a prefix is the sum over all paths, and joint decoding gives one by one what a batch gives."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ModelError
from orature.engines.ctc_prefix import CtcPrefixes
from orature.engines.encoder_decoder_family import load
from orature.engines.families import families
from orature.engines.recognisers import load_recogniser, save_model
from orature.engines.search_config import SearchConfig
from orature.testing.checkpoints_seq2seq import encoder_decoder_folder, speech2text_folder
from orature.testing.recogniser_contract import padded
from orature.train.joint import JointLearner

BLANK, END, STEPS = 0, 1, 5


def paths(logits_TV: torch.Tensor) -> dict[tuple[int, ...], float]:
    """The probability of every text, summed over all paths one by one."""
    log_TV = logits_TV.double().log_softmax(dim=-1)
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(log_TV.shape[1]), repeat=len(log_TV)):
        text = tuple(token for token, _ in itertools.groupby(path) if token != BLANK)
        found[text] = found.get(text, 0.0) + math.exp(sum(float(log_TV[t, v]) for t, v in enumerate(path)))
    return found


@pytest.mark.parametrize("text", [(2, 2, 3), (3, 2, 3), (2, 3, 3)])
def test_prefix_probabilities_are_sums_over_all_paths_also_of_a_padded_row(text: tuple[int, ...]) -> None:
    torch.manual_seed(sum(text))
    logits_RTV = torch.randn(2, STEPS + 3, 4)
    scorer = CtcPrefixes(logits_RTV, torch.tensor([STEPS, STEPS + 3]), blank=BLANK, end=END)
    texts = paths(logits_RTV[0, :STEPS])
    given, before = torch.zeros(2, 1, dtype=torch.long), 0.0
    for length in range(1, len(text) + 1):
        prefix, gained = text[: length - 1], scorer.step(given)[0]
        for token in (2, 3):
            grown = (*prefix, token)
            whole = sum(p for found, p in texts.items() if found[: len(grown)] == grown)
            assert float(gained[token]) + before == pytest.approx(math.log(whole), abs=1e-4), grown
        assert float(gained[END]) + before == pytest.approx(math.log(texts[prefix]), abs=1e-4)
        before += float(gained[text[length - 1]])
        given = torch.tensor([[text[length - 1]]] * 2)


def test_a_batch_of_joint_searches_equals_each_alone_and_the_weight_matters(tmp_path: Path) -> None:
    network, tokens = load(encoder_decoder_folder(tmp_path / "model", seed=2))
    rng = np.random.default_rng(1)
    clips = [(0.1 * rng.standard_normal(size)).astype(np.float32) for size in (22_000, 9_000, 30_000)]
    plain = network.generate(*padded(clips), tokens.prompt(), beams=3, max_tokens=10)
    network.ctc_weight = 0.6
    for beams in (1, 3):
        together = network.generate(*padded(clips, 700), tokens.prompt(), beams=beams, n_best=beams, max_tokens=10)
        for clip, written in zip(clips, together, strict=True):
            alone = network.generate(*padded([clip]), tokens.prompt(), beams=beams, n_best=beams, max_tokens=10)[0]
            assert [one.tokens for one in alone] == [one.tokens for one in written]
            assert np.allclose([one.score for one in alone], [one.score for one in written], atol=1e-4)
    assert [one[0].tokens for one in together] != [one[0].tokens for one in plain]


def test_a_search_that_a_model_cannot_do_is_refused(tmp_path: Path) -> None:
    folder = speech2text_folder(tmp_path / "s2t")
    with pytest.raises(ModelError, match="no CTC head to decode with"):
        load_recogniser(folder, search=SearchConfig(ctc_weight=0.3))
    assert load_recogniser(folder, search=SearchConfig(beams=3)).beams == 3  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="does not search by beams"):
        load_recogniser("base", search=SearchConfig(beams=3))


@pytest.mark.parametrize(("trained_with", "searched_with"), [(0.0, 0.0), (0.3, 0.3), (1.0, 0.99)])
def test_texts_are_looked_for_as_in_training_unless_something_else_is_asked_for(
    tmp_path: Path, trained_with: float, searched_with: float
) -> None:
    network, tokens = load(encoder_decoder_folder(tmp_path / "start", seed=2))
    assert network.ctc_weight == 0.0
    JointLearner(network, tokens, ctc_weight=trained_with)
    assert network.ctc_weight == searched_with, "checkpoints are chosen by what a user will read"
    facts = {"name": "made", "family": "orature-encoder-decoder", "languages": "und"}
    save_model(tmp_path / "made", families()["orature-encoder-decoder"], network, tokens, facts)
    asked = {None: None, "beams": SearchConfig(beams=3), "none": SearchConfig(ctc_weight=0.0)}
    opened = {name: load_recogniser(tmp_path / "made", search=search) for name, search in asked.items()}
    shares = {name: one.network.ctc_weight for name, one in opened.items()}  # type: ignore[attr-defined]
    assert shares == {None: searched_with, "beams": searched_with, "none": 0.0}
