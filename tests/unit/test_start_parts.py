"""What of a start is taken up is equal bit for bit, the rest is drawn anew; the encoder waits, the decoder learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import LATIN, corpus_of, model_in, phone_model_in

from orature.core.errors import ConfigError, LeakFound, ModelError
from orature.data.corpus import Corpus
from orature.engines.families import Start, family_of
from orature.engines.network import Network
from orature.flow import Resources, Run, Store
from orature.stages.inputs import corpus_ref, model_ref
from orature.stages.train import Train
from orature.testing.checkpoints_seq2seq import encoder_decoder_folder, speech2text_folder, whisper_folder
from orature.train.config import TrainConfig
from orature.train.freezing import Freezing
from orature.train.job import Job
from orature.train.joint import JointLearner

QUIET = Resources(threads=1, progress=False)
NEW = ["ñuka wasi", "yaku"]
FOLDERS: dict[str, Callable[[Path], Path]] = {"own": encoder_decoder_folder, "speech2text": speech2text_folder}


def parts_of(network: Network) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by part and name; what every network has alike (norms, sinusoids, zeros) is left out."""
    names = {id(value): name for name, value in network.named_parameters()}
    found: dict[str, dict[str, torch.Tensor]] = {}
    for part, parameters in network.parts().items():
        drawn = {names[id(one)]: one.detach() for one in parameters if "norm" not in names[id(one)] and one.dim() > 1}
        found[part] = {name: value for name, value in drawn.items() if "embed_positions" not in name}
    return found


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[bool]:
    return [one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in one]


@pytest.mark.parametrize(
    ("taken", "parts"),
    [("encoder", {"features", "encoder"}), ("encoder+decoder", {"features", "encoder", "decoder"})],
)
@pytest.mark.parametrize("family", FOLDERS)
def test_parts_of_a_start_are_bit_equal_and_the_others_drawn_anew(
    family: str, taken: Any, parts: set[str], tmp_path: Path
) -> None:
    folder = FOLDERS[family](tmp_path / "start")
    module = family_of(folder).module()
    old = parts_of(module.load(folder)[0])
    torch.manual_seed(9)
    network, vocabulary = module.begin(folder, NEW, Start(parts=taken))
    new = parts_of(network)
    for part, tensors in old.items():
        found = equal(tensors, new[part])
        assert all(found) if part in parts else not any(found), part
    assert vocabulary.unknown("ñuka wasi") == set() and vocabulary.unknown("quick"), (
        "the vocabulary is that of the texts"
    )


@pytest.mark.parametrize("family", FOLDERS)
def test_all_of_a_start_is_equal_tensor_by_tensor_and_new_characters_get_rows_behind(
    family: str, tmp_path: Path
) -> None:
    folder = FOLDERS[family](tmp_path / "start")
    module = family_of(folder).module()
    before, old = module.load(folder)
    kept, _ = module.begin(folder, NEW, Start(head="keep"))
    state = kept.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in before.state_dict().items())
    grown, more = module.begin(folder, ["ж ю"], Start())
    assert len(more) == len(old) + 2 and more.encode("wasi") == old.encode("wasi")
    wider = grown.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(value, wider[name][: len(value)] if value.dim() else wider[name]), name


def test_whisper_keeps_its_vocabulary_and_its_rows_when_only_the_encoder_is_taken_up(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "start")
    module = family_of(folder).module()
    old = parts_of(module.load(folder, language="yo")[0])
    torch.manual_seed(9)
    new = parts_of(module.begin(folder, NEW, Start(head="keep", parts="encoder", language="yo"))[0])
    assert all(equal(old["encoder"], new["encoder"])) and all(equal(old["head"], new["head"]))
    assert not any(equal(old["decoder"], new["decoder"]))


@pytest.mark.parametrize("make", [lambda f: model_in(f, LATIN), phone_model_in], ids=["letters", "phones"])
def test_the_encoder_of_a_ctc_model_goes_into_an_encoder_decoder(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "ctc")
    config = TrainConfig(network="encoder-decoder", size="micro", start_parts="encoder", label_smoothing=0.1)
    made = Job(config, tuple(NEW), ("qu",), start=str(folder)).make()
    old = family_of(folder).module().load(folder)[0].state_dict()
    new = made.network.state_dict()
    for name, value in old.items():
        if not name.startswith("head."):
            assert torch.equal(value, new[f"encoder.{name}"]), name
    assert made.family.name == "encoder-decoder" and isinstance(made.learner, JointLearner)
    assert made.learner.ctc_weight == 0.3 and made.learner.label_smoothing == 0.1
    assert Job(config, tuple(NEW), ("qu",)).make().parameters == made.parameters, "from nothing it has the same shape"


def test_what_a_start_does_not_have_is_said_in_a_sentence(tmp_path: Path) -> None:
    ctc, other = model_in(tmp_path / "ctc", LATIN), speech2text_folder(tmp_path / "s2t")
    with pytest.raises(ConfigError, match="is for encoder-decoders") as caught:
        Job(TrainConfig(start_parts="encoder"), tuple(NEW), (), start=str(ctc)).make()
    assert "network=encoder-decoder" in caught.value.next_step
    with pytest.raises(ModelError, match="no decoder to take up"):
        taken = TrainConfig(network="encoder-decoder", start_parts="encoder+decoder")
        Job(taken, tuple(NEW), (), start=str(ctc)).make()
    with pytest.raises(ConfigError, match="no CTC head beside their decoder"):
        Job(TrainConfig(ctc_weight=0.3), tuple(NEW), (), start=str(other)).make()


def test_the_frozen_encoder_waits_while_the_decoder_learns(tmp_path: Path) -> None:
    for folder in (encoder_decoder_folder(tmp_path / "own"), speech2text_folder(tmp_path / "s2t")):
        network, _ = family_of(folder).module().load(folder)
        freezing = Freezing.of(network, network, TrainConfig(freeze_encoder_updates=5))
        for update, moves in ((0, False), (4, False), (5, True)):
            freezing.apply(update)
            asked = {part: {p.requires_grad for p in own} for part, own in network.parts().items()}
            assert asked["encoder"] == asked["features"] == {moves}
            assert asked["decoder"] == asked["head"] == {True}


@pytest.mark.parametrize("network", ["encoder-decoder", "speech2text"])
def test_several_languages_of_one_training_get_a_token_each(network: Any, tmp_path: Path) -> None:
    size = "micro" if network == "encoder-decoder" else "tiny"
    config = TrainConfig(network=network, size=size)
    made = Job(config, tuple(LATIN), ("que-EC", "spa")).make()
    words: Any = made.vocabulary
    assert set(words.language_tokens()) == {"que-ec", "spa"}
    assert words.prompt("que-EC")[1] != words.prompt("es")[1] == words.language_tokens()["spa"]
    alone: Any = Job(config, tuple(LATIN), ("que-EC",)).make().vocabulary
    assert not alone.language_tokens() and len(alone.prompt("que-EC")) == 1
    folder = tmp_path / "saved"
    folder.mkdir()
    for name, write in made.family.module().files(made.network, made.vocabulary).items():
        write(folder / name)
    again = family_of(folder).module().load(folder, language="spa")[1]
    assert (
        again.prompt() == words.prompt("spa") and again.decode([*words.prompt("spa"), *words.encode("wasi")]) == "wasi"
    )
    later: Any = Job(TrainConfig(head="auto"), ("ж",), ("que-EC",), start=str(folder), language="que-EC").make()
    assert later.vocabulary.prompt("que-EC") == words.prompt("que-EC"), "the target keeps its token afterwards"
    more: Any = Job(TrainConfig(head="auto"), ("ж",), ("que-EC", "fra"), start=str(folder)).make()
    assert set(more.vocabulary.language_tokens()) == {"que-ec", "spa", "fra"}


def test_the_vocabulary_has_the_letters_of_what_follows_and_its_dev_is_embargoed(tmp_path: Path) -> None:
    rich = corpus_of(tmp_path / "rich", [f"casa {text}" for text in LATIN])
    target = corpus_of(tmp_path / "target", [f"ñan {text} ж" for text in LATIN[::-1]])
    config = TrainConfig(
        network="encoder-decoder", size="micro", updates=2, batch_seconds=4.0, evaluate_every=1, overfit_clips=0
    )
    run = Run(Store(tmp_path / "store"), "test", "test")
    made = run.do(Train(corpus=corpus_ref(rich), vocabulary=(corpus_ref(target),), config=config), on=QUIET)
    _, tokens = family_of(run.path_of(made)).module().load(run.path_of(made))
    seen = {letter for row in Corpus.open(target).split("train") for letter in row.text or ""}
    assert {"ñ", "ж"} <= set(tokens.letters) and seen <= set(tokens.letters)
    tuned = config.model_copy(update={"head": "keep", "select": "loss", "ctc_weight": 0.0})
    after = run.do(Train(corpus=corpus_ref(target), start=model_ref(run.path_of(made)), config=tuned), on=QUIET)
    assert len(family_of(run.path_of(after)).module().load(run.path_of(after))[1]) == len(tokens)
    leaking = corpus_of(tmp_path / "leak", [f"{text} pusak kanchis" for text in LATIN])
    held = [row.text for row in Corpus.open(leaking).split("dev")]
    breach = corpus_of(
        tmp_path / "breach", [held[number % len(held)] if number % 3 == 0 else t for number, t in enumerate(LATIN)]
    )
    with pytest.raises(LeakFound):
        run.do(Train(corpus=corpus_ref(breach), vocabulary=(corpus_ref(leaking),), config=config), on=QUIET)
