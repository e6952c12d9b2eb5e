"""Every CTC family holds the contract of recognisers, on small checkpoints in the layout of published ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ConfigError, ModelError
from orature.data.audio import load as load_audio
from orature.engines.families import Start, family_of
from orature.engines.hf_folder import facts_of
from orature.engines.lora import merge_lora
from orature.engines.parakeet_ctc import ParakeetFeatures
from orature.engines.protocol import Samples
from orature.engines.wav2vec2_bert import SeamlessFeatures
from orature.testing.checkpoints import DAMAGES, RECIPES, make_checkpoint
from orature.testing.recogniser_contract import (
    check_batch,
    check_extends,
    check_overfits,
    check_readable,
    check_reference,
    check_refuses,
    check_round_trip,
    check_spans,
    logits_of,
    padded,
    without_dropout,
)

FAMILIES = list(RECIPES)
FLAT = [name for name in FAMILIES if name != "parakeet-ctc"]
EVEN = 400 + 160 * 99
TEXTS = ["ab ca", "cab"]


def tone(pitch_hz: float, samples: int) -> Samples:
    """A steady tone that jumps up in the middle."""
    seconds = np.arange(samples) / 16_000
    pitches = np.where(seconds < seconds[samples // 2], pitch_hz, 1.7 * pitch_hz)
    return (0.3 * np.sin(2 * np.pi * pitches * seconds)).astype(np.float32)


TONES = [tone(300, 12_000), tone(900, 14_400)]


@cache
def clip() -> Samples:
    """One second that is no pure tone, with an offset, as cheap microphones give."""
    draws = np.random.default_rng(0)
    envelope = 0.05 + 0.2 * np.abs(np.sin(np.arange(EVEN) / 900))
    return (0.02 + envelope * draws.standard_normal(EVEN)).astype(np.float32)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small fine-tuned checkpoint of each family."""
    place = tmp_path_factory.mktemp("ctc")
    return {name: make_checkpoint(place / name, name) for name in FAMILIES}


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_equal_the_reference(checkpoints: dict[str, Path], family: str) -> None:
    check_reference(checkpoints[family], clip())


@pytest.mark.corpora
@pytest.mark.parametrize("family", ["wav2vec2", "xls-r", "wav2vec2-bert", "parakeet-ctc"])
def test_logits_equal_the_reference_on_speech(checkpoints: dict[str, Path], family: str, corpora: Path) -> None:
    samples = load_audio(corpora / "multilingual_clips" / "audio" / "eng_LJ001-0008.flac")
    frames = 1 + (len(samples) - 400) // 160
    check_reference(checkpoints[family], samples[: 400 + 160 * (frames - frames % 2 - 1)], tolerance=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_equals_each_alone(checkpoints: dict[str, Path], family: str) -> None:
    check_batch(checkpoints[family], [clip(), clip()[3_000:12_371], clip()[:8_000], clip()[:5_000] * 0.1])


@pytest.mark.parametrize("family", ["wav2vec2-conformer", "parakeet-ctc"])
def test_batch_norm_mixes_nobody_in_training(checkpoints: dict[str, Path], family: str) -> None:
    folder = checkpoints[family]
    start = Start(head="keep", overrides=without_dropout(folder))
    network, _ = family_of(folder).module().begin(folder, TEXTS, start)
    network.train()
    together, _ = network(*padded([clip(), clip()[:8_000]], 100))
    alone, steps_B = network(*padded([clip()[:8_000]]))
    assert (together[1, : steps_B[0]] - alone[0, : steps_B[0]]).abs().max() < 1e-4


@pytest.mark.parametrize("family", ["xls-r", "wav2vec2-bert"])
def test_adapters_of_convolutions_are_never_dropped(family: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / family, family, add_adapter=True, num_adapter_layers=2)
    start = Start(head="keep", overrides={"layerdrop": 0.9})
    network, _ = family_of(folder).module().begin(folder, TEXTS, start)
    network.train()
    for _ in range(5):
        logits_BTV, steps_B = network(*padded([clip()]))
        assert logits_BTV.shape[1] == steps_B[0] == network.steps(len(clip()))


@pytest.mark.parametrize("family", ["wav2vec2-conformer", "wav2vec2-bert"])
def test_trains_after_inference_at_the_same_length(family: str, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / family, family, position_embeddings_type="rotary")
    network, _ = family_of(folder).module().begin(folder, TEXTS, Start(head="keep"))
    with torch.inference_mode():
        network(*padded([clip()]))
    network.train()
    network(*padded([clip()]))[0].sum().backward()


def test_features_equal_the_extractors() -> None:
    import transformers

    recordings = [clip(), clip()[:8_000], 1e-2 * clip()[:4_321]]
    bert, parakeet = (dict(RECIPES[name].extractor) for name in ("wav2vec2-bert", "parakeet-ctc"))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        ours_BTM, steps_B = SeamlessFeatures()(*padded(recordings, 500))
        mels_BTM, frames_B = ParakeetFeatures(parakeet)(*padded(recordings, 500))
    seamless = transformers.SeamlessM4TFeatureExtractor(**bert)
    nemo = transformers.ParakeetFeatureExtractor(**parakeet)
    for number, samples in enumerate(recordings):
        theirs = seamless(samples, sampling_rate=16_000, return_tensors="pt")
        steps = int(theirs["attention_mask"].sum())
        assert steps == steps_B[number]
        assert (ours_BTM[number, :steps] - theirs["input_features"][0, :steps]).abs().max() < 2e-3
        theirs = nemo(samples, sampling_rate=16_000, return_tensors="pt")
        frames = int(theirs["attention_mask"].sum())
        assert frames == frames_B[number]
        assert (mels_BTM[number, :frames] - theirs["input_features"][0, :frames]).abs().max() < 2e-3


def test_a_batch_equals_each_alone_with_adapters_of_convolutions(tmp_path: Path) -> None:
    for family in ("wav2vec2-bert", "xls-r"):
        folder = make_checkpoint(tmp_path / family, family, add_adapter=True, num_adapter_layers=2)
        check_reference(folder, clip())
        check_batch(folder, [clip(), clip()[3_000:12_371], clip()[:5_000]])


@pytest.mark.parametrize("family", FAMILIES)
def test_recordings_too_short_for_a_step(checkpoints: dict[str, Path], family: str) -> None:
    network, _ = family_of(checkpoints[family]).module().load(checkpoints[family])
    short = torch.tensor([100, 0])
    logits_BTV, steps_B = network.eval()(0.1 * torch.ones(2, 100), short)
    assert steps_B.tolist() == [0, 0] == [network.steps(int(samples)) for samples in short]
    assert torch.isfinite(logits_BTV).all()
    quiet, _ = network(torch.zeros(1, EVEN), torch.tensor([EVEN]))
    assert torch.isfinite(quiet).all(), "digital silence"


@pytest.mark.parametrize("family", FAMILIES)
def test_masks_come_from_the_caller_alone(checkpoints: dict[str, Path], family: str) -> None:
    check_spans(checkpoints[family], clip())
    network, _ = family_of(checkpoints[family]).module().begin(checkpoints[family], ["ab"], Start(language="qvi"))
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    network.train()
    np.random.seed(0)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy()
    network(*padded([clip()]))
    assert (np.random.get_state()[1] == before).all(), "somebody draws from numpy's global generator"


@pytest.mark.parametrize("family", FAMILIES)
def test_learns_two_utterances_by_heart_and_comes_back(
    checkpoints: dict[str, Path], family: str, tmp_path: Path
) -> None:
    network, vocabulary = check_overfits(checkpoints[family], TONES, TEXTS, Start(head="new", language="qvi"))
    check_round_trip(checkpoints[family], network, vocabulary, TONES, tmp_path / "saved")
    assert check_readable(tmp_path / "saved", TONES[0]) == TEXTS[0]


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ("mms", "parakeet-ctc")])
def test_a_checkpoint_that_was_only_pretrained(tmp_path: Path, family: str) -> None:
    folder = make_checkpoint(tmp_path / family, family, head=False)
    module = family_of(folder).module()
    with pytest.raises(ModelError, match="only pre-trained"):
        module.load(folder)
    with pytest.raises(ModelError, match="only pre-trained"):
        module.begin(folder, TEXTS, Start(head="keep"))
    network, vocabulary = module.begin(folder, TEXTS, Start())
    assert logits_of(network, TONES)[0].shape[1] == len(vocabulary) == 2 + len(" abc")


@pytest.mark.parametrize("family", FLAT)
def test_extended_output_layers_keep_the_old_rows(checkpoints: dict[str, Path], family: str) -> None:
    check_extends(checkpoints[family], ["añu pëka", "ŋaŋ"], clip(), Start(language="qvi"))


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_output_layers_stay(checkpoints: dict[str, Path], family: str) -> None:
    module = family_of(checkpoints[family]).module()
    network, vocabulary = module.begin(checkpoints[family], TEXTS, Start(head="keep", language="qvi"))
    old, _ = module.load(checkpoints[family])
    assert torch.equal(logits_of(network, TONES)[1], logits_of(old, TONES)[1])
    assert vocabulary.decode(vocabulary.encode("cab ab")) == "cab ab"


@pytest.mark.parametrize("damage", list(DAMAGES))
@pytest.mark.parametrize("family", ["xls-r", "mms", "wav2vec2-bert", "parakeet-ctc"])
def test_wrong_folders_get_one_sentence(checkpoints: dict[str, Path], family: str, damage: str, tmp_path: Path) -> None:
    loads = {"load": lambda folder: family_of(folder).module().load(folder)}
    said = check_refuses(checkpoints[family], damage, tmp_path / "broken", calls=loads)
    expected = {
        "no config": "config.json",
        "no weights": "no model.safetensors",
        "no extractor": "preprocessor_config.json",
        "pickled": "pickled",
        "cut short": "cannot be read",
        "shorter vocabulary": "rows",
        "a layer missing": "lack",
    }
    assert expected[damage] in said


def test_a_missing_tokenizer(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for family, name in (("xls-r", "vocab.json"), ("parakeet-ctc", "tokenizer.json")):
        folder = make_checkpoint(tmp_path / family, family)
        (folder / name).unlink()
        with pytest.raises(ModelError, match=f"there is no tokenizer: {name} is missing"):
            family_of(folder).module().load(folder)


@pytest.mark.parametrize("family", ["xls-r", "wavlm", "wav2vec2-bert", "parakeet-ctc"])
def test_lora_learns_and_is_merged(checkpoints: dict[str, Path], family: str, tmp_path: Path) -> None:
    folder = checkpoints[family]
    start = Start(head="keep", lora_rank=4)
    network, vocabulary = family_of(folder).module().begin(folder, TEXTS, start)
    assert network.parts()["adapters"]
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "_head" in name for name in learning)
    logits_BTV, _ = network(*padded(TONES))
    logits_BTV.square().sum().backward()
    reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parts()["adapters"]]
    assert sum(reached) >= len(reached) // 2, "B matrices (A's gradient is 0 at first) must learn"
    with torch.no_grad():
        for parameter in network.parts()["adapters"]:
            parameter.add_(0.05)
    check_round_trip(folder, network, vocabulary, TONES, tmp_path / "merged", exact=False)
    before = logits_of(network, TONES)[0]
    merge_lora(network)
    assert not any("lora" in name for name, _ in network.named_parameters())
    assert (logits_of(network, TONES)[0] - before).abs().max() < 1e-4
    plain, _ = family_of(folder).module().load(folder)
    assert (logits_of(plain, TONES)[0] - before).abs().max() > 1e-3


def test_overrides_reach_the_config_and_strange_ones_are_refused(checkpoints: dict[str, Path]) -> None:
    module = family_of(checkpoints["xls-r"]).module()
    network, _ = module.begin(checkpoints["xls-r"], TEXTS, Start(overrides={"layerdrop": 0.25}))
    assert network.config.layerdrop == 0.25
    with pytest.raises(ConfigError, match="no field 'atention_dropout'") as caught:
        module.begin(checkpoints["xls-r"], TEXTS, Start(overrides={"atention_dropout": 0.0}))
    assert "attention_dropout" in caught.value.next_step
    with pytest.raises(ConfigError, match="cannot be 'much'"):
        module.begin(checkpoints["xls-r"], TEXTS, Start(overrides={"layerdrop": "much"}))
    parakeet = family_of(checkpoints["parakeet-ctc"]).module()
    network, _ = parakeet.begin(checkpoints["parakeet-ctc"], TEXTS, Start(overrides={"attention_dropout": 0.3}))
    assert network.config.encoder_config.attention_dropout == 0.3


def test_w2v_bert_gets_its_adapter(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "bert", "wav2vec2-bert", head=False)
    module = family_of(folder).module()
    network, _ = module.begin(folder, TEXTS, Start())
    assert network.config.add_adapter
    assert network.step_samples == 640
    network, _ = module.begin(folder, TEXTS, Start(overrides={"add_adapter": False}))
    assert network.step_samples == 320


def test_facts_come_from_the_card(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    facts = facts_of(checkpoints["xls-r"])
    assert (facts["name"], facts["languages"], facts["licence"]) == ("xls-r", "qvi", "apache-2.0")
    assert len(facts["revision"]) == 16
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0123456789" * 4)
    make_checkpoint(snapshot, "xls-r")
    (snapshot / "README.md").write_text("---\nlanguage: [no, en]\nlicense: other\nlicense_name: x\n---\n")
    facts = facts_of(snapshot)
    assert (facts["name"], facts["languages"], facts["licence"]) == ("a/b", "no,en", "x")
    assert facts["revision"] == snapshot.name
