"""The training of a translator: it learns, a run cut anywhere ends as an undisturbed one, others read the folder."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orature.core.errors import ConfigError, TrainingFailed
from orature.testing.faults import in_child
from orature.train import checkpoint
from orature.train.text import loop
from orature.train.text.architecture import from_nothing
from orature.train.text.config import SIZES, TranslatorConfig, preset_for, translator_presets
from orature.train.text.data import IGNORED, TextLoader, example_of
from orature.train.text.dev import assess, cross_entropy, greedy, logits_of
from orature.train.text.folder import translator_files
from orature.train.text.loop import TextOutcome, TextTrainer, fit_translator
from orature.train.text.vocabulary import END, PAD, UNKNOWN, TranslatorText, segmenter
from orature.train.text.watch import TextWatcher
from tests.toy_language import toy_pairs, translated

PAIRS = toy_pairs(300)
NO_DROPOUT = {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}
MICRO = TranslatorConfig(
    layers=1,
    width=32,
    heads=2,
    inner=64,
    pieces=60,
    updates=9,
    batch_tokens=300,
    evaluate_every=3,
    average=2,
    dev_rows=8,
)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def text_of(config: TranslatorConfig, pairs: list[tuple[str, str]] = PAIRS) -> TranslatorText:
    return TranslatorText.of([a for a, _ in pairs], [b for _, b in pairs], config)


def loaders(text: TranslatorText, config: TranslatorConfig, dev: int) -> tuple[TextLoader, TextLoader]:
    examples = [example_of(f"p{n}", *pair, text) for n, pair in enumerate(PAIRS)]
    return TextLoader(examples[dev:], text, config), TextLoader(examples[:dev], text, config)


def train(state: Path, config: TranslatorConfig = MICRO, dev: int = 8) -> tuple[Any, TranslatorText, TextOutcome]:
    text = text_of(config, PAIRS[dev:])
    model = from_nothing(config, text)
    outcome = fit_translator(model, text, *loaders(text, config, dev), config, state=state, watcher=TextWatcher())
    return model, text, outcome


def test_a_toy_language_is_learned(tmp_path: Path) -> None:
    config = MICRO.model_copy(
        update={"width": 64, "inner": 128, "updates": 120, "evaluate_every": 60, "peak_lr": 1e-2, **NO_DROPOUT}
    )
    _, _, outcome = train(tmp_path, config, dev=30)
    before, after = outcome.log[0], outcome.log[-1]
    assert before["dev_chrf"] < 15 and outcome.dev.chrf > 60
    assert after["dev_loss"] < 0.4 * before["dev_loss"] and after["loss"] < before["dev_loss"]
    assert outcome.dev.rows == 30 and outcome.updates == 120 and outcome.tokens > 20_000


def digest(state: Path, found: tuple[Any, TranslatorText, TextOutcome]) -> tuple[Any, ...]:
    """Weights chosen, log, and the last checkpoint byte by byte."""
    model, _, outcome = found
    files = sorted(state.glob("checkpoint-*/*"))
    weights = {name: value.numpy().tobytes() for name, value in checkpoint.weights_of(model).items()}
    return [path.name for path in files], [path.read_bytes() for path in files], outcome.log, outcome.chosen, weights


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """An undisturbed run."""
    state = tmp_path_factory.mktemp("whole")
    return digest(state, train(state))


def cut_at(update: int, action: Callable[[], None]) -> None:
    real = TextTrainer.update

    def cut(self: TextTrainer, batches: Any) -> None:
        if self.progressed.update == update:
            action()
        real(self, batches)

    TextTrainer.update = cut  # type: ignore[method-assign]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_and_resumed_is_as_undisturbed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY_S", -1.0)  # a checkpoint after each update

    def run() -> None:
        cut_at(5, die)
        train(tmp_path / "cut")

    assert in_child(run) == -signal.SIGKILL
    assert list((tmp_path / "cut").glob("checkpoint-*"))
    assert digest(tmp_path / "cut", train(tmp_path / "cut")) == whole
    other = digest(tmp_path / "other", train(tmp_path / "other", MICRO.model_copy(update={"seed": 2})))
    assert other[0] == whole[0] and other[1] != whole[1], "the seed matters"


def test_interrupted_between_checkpoints_it_goes_on_from_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: tuple[Any, ...]
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TextTrainer, "update", TextTrainer.update)
        cut_at(5, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "cut")
    assert digest(tmp_path / "cut", train(tmp_path / "cut")) == whole


def test_the_weights_are_the_best_of_dev_or_their_mean(tmp_path: Path, whole: tuple[Any, ...]) -> None:
    config = MICRO.model_copy(update={"select": "loss", "average": 1})
    model, text, outcome = train(tmp_path, config)
    best = min(outcome.log[1:], key=lambda row: row["dev_loss"])
    assert outcome.chosen == f"update {best['update']}" and outcome.dev.loss == pytest.approx(
        best["dev_loss"], abs=1e-5
    )
    assert assess(model, loaders(text, config, 8)[1], text).loss == pytest.approx(best["dev_loss"], abs=1e-5)


def test_tokens_come_from_the_pairs_that_are_given() -> None:
    text = text_of(MICRO)
    assert text.source.numbers is text.target.numbers and text.shared
    tokens = text.target.tokens(translated("wasi yaku"))
    assert tokens[-1] == text.target.numbers[END] and text.target.text(tokens) == translated("wasi yaku")
    foreign = text.source.tokens("ž")
    assert text.source.numbers[UNKNOWN] in foreign
    assert text.source.numbers[END] == 0 and text.source.numbers[PAD] == len(text.source.numbers) - 1
    apart = text_of(MICRO.model_copy(update={"share_embeddings": False}))
    assert set(apart.source.numbers) != set(apart.target.numbers) and not apart.shared


def test_characters_are_kept_as_they_are() -> None:
    letters = ["ñuka ²x ﬁn", "š  é"]
    config = MICRO.model_copy(update={"pieces": "characters"})
    text = TranslatorText.of(letters, letters, config)
    assert set(text.source.numbers) == {END, UNKNOWN, PAD, "▁", *"ñuka²xﬁnšé"}
    assert text.source.text(text.source.tokens("ñuka ²x ﬁn")) == "ñuka ²x ﬁn"
    assert text.source.tokens("n\u0303uka") == text.source.tokens("ñuka"), "NFC"
    assert segmenter(letters, config) == segmenter(letters, config)
    with pytest.raises(ConfigError, match="no letter"):
        segmenter([" "], config)


def test_a_batch_gives_what_each_pair_gives_alone() -> None:
    text = text_of(MICRO)
    model = from_nothing(MICRO, text).eval()
    loader = loaders(text, MICRO, 8)[0]
    lengths = [0, 1, 2, 3]
    with torch.no_grad():
        together = loader.batch(lengths)
        logits = logits_of(model, together)
        for place, index in enumerate(lengths):
            alone = loader.batch([index])
            own = logits_of(model, alone)[0]
            assert torch.allclose(logits[place, : len(own)], own, atol=1e-5)
            assert greedy(model, alone, text) == [greedy(model, together, text)[place]]


def test_the_loss_is_that_of_the_tokens_alone() -> None:
    logits = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[1, 2, 3], [4, IGNORED, IGNORED]])
    logs = torch.log_softmax(logits, dim=-1)
    picked = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 4)]
    plain = -sum(logs[place] for place in picked)
    assert torch.allclose(cross_entropy(logits, labels, 0.0), plain)
    even = -sum(logs[row, step].mean() for row, step, _ in picked)
    assert torch.allclose(cross_entropy(logits, labels, 0.1), 0.9 * plain + 0.1 * even)


def test_parts_of_a_batch_add_up_to_it(tmp_path: Path) -> None:
    config = MICRO.model_copy(update=NO_DROPOUT)
    text = text_of(config)
    both = loaders(text, config, 8)
    lengths = [len(example.target_tokens) for example in both[0].examples]
    short, long = lengths.index(min(lengths)), lengths.index(max(lengths))
    assert lengths[short] < lengths[long], "so that there is padding in one batch and none in two"
    assert both[0].batch([short, long]).tokens == sum(both[0].batch([one]).tokens for one in (short, long))
    gradients = []
    for parts in ([[short, long]], [[short], [long]]):
        model = from_nothing(config, text)
        trainer = TextTrainer(model, text, *both, config, tmp_path / str(len(parts)), TextWatcher(), "cpu")
        trainer.update([both[0].batch(part) for part in parts])
        gradients.append([parameter.grad for parameter in trainer.trained])
    assert all(torch.allclose(one, two, atol=1e-6) for one, two in zip(*gradients, strict=True))


def test_a_gradient_that_stays_infinite_ends_the_run(tmp_path: Path) -> None:
    text = text_of(MICRO)
    model = from_nothing(MICRO, text)
    with torch.no_grad():
        model.model.shared.weight.fill_(float("nan"))
    config = MICRO.model_copy(update={"updates": 20, "evaluate_every": 20})
    with pytest.raises(TrainingFailed, match=r"10 times in a row.*\n.*peak_lr"):
        fit_translator(model, text, *loaders(text, config, 8), config, state=tmp_path, watcher=TextWatcher())


@pytest.mark.parametrize("shared", [True, False])
def test_transformers_reads_the_folder_and_finds_the_same(tmp_path: Path, shared: bool) -> None:
    from transformers import MarianMTModel, MarianTokenizer

    config = MICRO.model_copy(update={"share_embeddings": shared})
    text = text_of(config)
    model = from_nothing(config, text).eval()
    facts = {"name": "toy", "source": "es", "target": "qu"}
    for name, write in translator_files(model, text, facts, languages=("es", "qu")).items():
        write(tmp_path / name)
    again, info = MarianMTModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    tokenizer = MarianTokenizer.from_pretrained(tmp_path)
    batch = loaders(text, config, 8)[0].batch([0])
    assert tokenizer(PAIRS[8][0])["input_ids"] == batch.source_BS[0].tolist()
    assert tokenizer(text_target=PAIRS[8][1])["input_ids"] == batch.labels_BT[0].tolist()
    with torch.no_grad():
        assert torch.equal(logits_of(again.eval(), batch), logits_of(model, batch))
    assert tokenizer.decode(batch.labels_BT[0], skip_special_tokens=True) == PAIRS[8][1]


def test_every_row_of_settings_makes_a_config_for_each_scale() -> None:
    rows = translator_presets()
    assert [row.pairs for row in rows] == sorted(row.pairs for row in rows)
    for row in rows:
        full = TranslatorConfig(**row.overrides("full"))
        assert full.updates == row.updates and row.source and row.judgement and row.published
        for scale, most in (("smoke", 300), ("dev", 2000)):
            small = TranslatorConfig(**row.overrides(scale))  # type: ignore[arg-type]
            assert small.updates == most and SIZES.index(small.size) <= SIZES.index(full.size)
            assert small.precision == "fp32" and small.evaluate_every <= small.updates
    assert preset_for(300).name == "pairs-2k" and preset_for(24_000).name == "pairs-30k"
    assert preset_for(5_000_000).name == "pairs-500k"
    fewer, more = preset_for(2000).settings, preset_for(200_000).settings
    assert fewer["label_smoothing"] > more["label_smoothing"] and fewer["pieces"] < more["pieces"]


def test_a_width_must_fit_its_heads() -> None:
    with pytest.raises(ConfigError, match="cannot be shared out over 3 heads"):
        from_nothing(MICRO.model_copy(update={"heads": 3}), text_of(MICRO))
