"""Every encoder-decoder family holds its contract, on small checkpoints in the layout of published ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from orature.core.errors import ConfigError, ModelError
from orature.core.types import Hypothesis
from orature.data.audio import load as load_audio
from orature.engines.families import Start, family_of
from orature.engines.protocol import Samples
from orature.engines.recognisers import load_recogniser
from orature.testing.checkpoints_seq2seq import moonshine_folder, speech2text_folder, whisper_folder
from orature.testing.recogniser_contract import padded
from orature.testing.seq2seq_contract import (
    check_batch,
    check_logits,
    check_overfits,
    check_round_trip,
    check_search,
)

MAKERS: dict[str, Callable[[Path], Path]] = {
    "whisper": whisper_folder,
    "moonshine": moonshine_folder,
    "speech2text": speech2text_folder,
}
FAMILIES = list(MAKERS)
LANGUAGE = {"whisper": "yo", "moonshine": None, "speech2text": None}
TEXTS = ["shuk wasi", "ẹ káàárọ̀"]
STARTS = {"whisper": Start(language="que-EC,yor"), "moonshine": Start(), "speech2text": Start(head="new")}


def hiss(samples: int, seed: int) -> Samples:
    """Noise that swells and fades."""
    envelope = 0.02 + 0.2 * np.abs(np.sin(np.arange(samples) / 2500.0))
    return (envelope * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def glide(pitch_hz: float, samples: int) -> Samples:
    """A tone that rises."""
    seconds = np.arange(samples) / 16_000
    return (0.3 * np.sin(2 * np.pi * pitch_hz * seconds * (1 + 0.3 * seconds))).astype(np.float32)


CLIPS = [hiss(30_000, 0), hiss(12_345, 1), hiss(50_001, 2)]
GLIDES = [glide(300, 24_000), glide(900, 16_000)]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small checkpoint of each family."""
    place = tmp_path_factory.mktemp("seq2seq")
    return {name: make(place / name) for name, make in MAKERS.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_the_reference(checkpoints: dict[str, Path], family: str) -> None:
    for clip in (CLIPS[0], CLIPS[1]):
        check_logits(checkpoints[family], clip, "the quick fox", language=LANGUAGE[family])


@pytest.mark.corpora
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_the_reference_on_speech(checkpoints: dict[str, Path], family: str, corpora: Path) -> None:
    samples = load_audio(corpora / "multilingual_clips" / "audio" / "eng_LJ001-0008.flac")
    check_logits(checkpoints[family], samples, "has never been surpassed", language=LANGUAGE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_equals_each_alone(checkpoints: dict[str, Path], family: str) -> None:
    check_batch(checkpoints[family], CLIPS, "one two", language=LANGUAGE[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_the_padding_reaches_the_last_step_of_the_encoder(checkpoints: dict[str, Path], family: str) -> None:
    network, _ = family_of(checkpoints[family]).module().load(checkpoints[family])
    with torch.no_grad():
        together_BTD, mask_BT = network.encode(*padded(CLIPS, 3_000))
        for row, clip in enumerate(CLIPS):
            alone_TD = network.encode(*padded([clip]))[0][0]
            assert mask_BT is None or int(mask_BT[row].sum()) == len(alone_TD)
            assert (together_BTD[row, : len(alone_TD)] - alone_TD).abs().max() < 2e-5


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("family", FAMILIES)
def test_search_equals_the_reference(checkpoints: dict[str, Path], family: str, beams: int) -> None:
    check_search(checkpoints[family], CLIPS, beams=beams, language=LANGUAGE[family])


@pytest.mark.parametrize("seed", range(4))
def test_search_with_few_tokens_equals_the_reference(tmp_path: Path, seed: int) -> None:
    """Seven tokens of nearly equal probability: ends are among the candidates at every step, often below the best."""
    folder = speech2text_folder(tmp_path / "few", texts=["ab"], seed=seed)
    weights = load_file(folder / "model.safetensors")
    weights["model.decoder.embed_tokens.weight"] *= 0.1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    check_search(folder, CLIPS, beams=5, tokens=12)
    check_search(folder, CLIPS, beams=3, tokens=12)


@pytest.mark.parametrize("family", FAMILIES)
def test_learns_two_utterances_by_heart_and_comes_back(
    checkpoints: dict[str, Path], family: str, tmp_path: Path
) -> None:
    languages = ["que-EC", "yor"]
    start = STARTS[family]
    network, vocabulary = check_overfits(checkpoints[family], GLIDES, TEXTS, start, languages=languages)
    language = "que-EC" if family == "whisper" else None
    check_round_trip(checkpoints[family], network, vocabulary, GLIDES[0], TEXTS[0], tmp_path / "saved", language)
    # a model that has learned something ends its texts: search against the reference again, with ends in the beams
    check_search(tmp_path / "saved", GLIDES, beams=1, language=language)
    check_search(tmp_path / "saved", GLIDES, beams=5, language=language)
    heard = load_recogniser(tmp_path / "saved", language=language).transcribe([GLIDES[0]])[0]
    assert isinstance(heard, Hypothesis) and heard.text == TEXTS[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_come_from_the_caller_alone(checkpoints: dict[str, Path], family: str) -> None:
    network, vocabulary = family_of(checkpoints[family]).module().load(checkpoints[family], language=LANGUAGE[family])
    labels_1L = torch.tensor([[*vocabulary.prompt()[1:], *vocabulary.encode("one"), vocabulary.end]])

    def masked(time: tuple[int, int], bins: tuple[int, int]) -> torch.Tensor:
        spans = (torch.tensor([[time]]), torch.tensor([[bins]]))
        with torch.no_grad():
            logits_1LV: torch.Tensor = network(*padded([CLIPS[0]]), labels_1L, spans)
        return logits_1LV

    plain = masked((0, 0), (3, 3))
    with torch.no_grad():
        assert torch.equal(plain, network(*padded([CLIPS[0]]), labels_1L))
    for time, bins in (((20, 90), (0, 0)), ((0, 0), (0, network.mask_bins // 2))):
        assert not torch.equal(masked(time, bins), plain)
        assert torch.equal(masked(time, bins), masked(time, bins))


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_hold_every_parameter_once(checkpoints: dict[str, Path], family: str) -> None:
    network, _ = family_of(checkpoints[family]).module().load(checkpoints[family])
    listed = [id(parameter) for part in network.parts().values() for parameter in part]
    assert sorted(listed) == sorted(id(parameter) for parameter in network.parameters())
    assert set(network.parts()) == {"features", "encoder", "decoder", "head"}


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_learns_and_is_merged_when_saved(checkpoints: dict[str, Path], family: str, tmp_path: Path) -> None:
    module = family_of(checkpoints[family]).module()
    start = Start(head="keep", lora_rank=2, language=LANGUAGE[family])
    network, vocabulary = module.begin(checkpoints[family], TEXTS, start)
    assert network.parts()["adapters"]
    with torch.no_grad():
        for parameter in network.parts()["adapters"]:
            parameter.add_(0.05)
    for name, write in module.files(network, vocabulary).items():
        tmp_path.mkdir(exist_ok=True)
        write(tmp_path / name)
    plain, _ = module.load(tmp_path)
    labels_1L = torch.tensor([[*vocabulary.prompt()[1:], *vocabulary.encode("one"), vocabulary.end]])
    with torch.no_grad():
        one, other = (model(*padded([CLIPS[0]]), labels_1L) for model in (network, plain))
        old, _ = module.load(checkpoints[family])
        before = old(*padded([CLIPS[0]]), labels_1L)
    assert (one - other).abs().max() < 1e-4
    assert (one - before).abs().max() > 1e-3


def _damaged(folder: Path, place: Path, damage: str) -> Path:
    shutil.copytree(folder, place)
    if damage == "pickled":
        (place / "model.safetensors").rename(place / "pytorch_model.bin")
    elif damage == "no tokenizer":
        for name in ("tokenizer.json", "vocab.json", "sentencepiece.bpe.model"):
            (place / name).unlink(missing_ok=True)
    elif damage == "other size":
        config = (place / "config.json").read_text().replace('"vocab_size": ', '"vocab_size": 9')
        (place / "config.json").write_text(config)
    else:
        (place / damage).unlink()
    return place


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("pickled", "pickled"),
        ("no tokenizer", "the tokenizer is missing"),
        ("other size", "do not fit|lack"),
        ("model.safetensors", "no model.safetensors"),
        ("config.json", "config.json"),
        ("preprocessor_config.json", "no preprocessor_config.json"),
    ],
)
@pytest.mark.parametrize("family", FAMILIES)
def test_wrong_folders_get_one_sentence(
    checkpoints: dict[str, Path], family: str, damage: str, said: str, tmp_path: Path
) -> None:
    broken = _damaged(checkpoints[family], tmp_path / "broken", damage)
    with pytest.raises(ModelError, match=said) as caught:
        family_of(broken).module().load(broken)
    assert caught.value.where and caught.value.next_step and "\n" not in caught.value.what


@pytest.mark.parametrize("family", FAMILIES)
def test_wishes_that_cannot_be_met_are_refused(checkpoints: dict[str, Path], family: str) -> None:
    module = family_of(checkpoints[family]).module()
    with pytest.raises(ConfigError, match="no field 'dropot'"):
        module.begin(checkpoints[family], TEXTS, Start(overrides={"dropot": 0.0}))
    with pytest.raises(ModelError, match="no adapters"):
        module.begin(checkpoints[family], TEXTS, Start(adapters=True, language=LANGUAGE[family]))
    if family != "speech2text":
        with pytest.raises(ModelError, match="kept"):
            module.begin(checkpoints[family], TEXTS, Start(head="new"))
