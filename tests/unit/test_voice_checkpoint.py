"""A checkpoint taken up, grown in letters and speakers, written, and spoken by transformers and by our voice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from orature.core.errors import ModelError
from orature.core.types import Refusal
from orature.engines.voice import SpeechRequest
from orature.engines.voices import open_voice
from orature.testing.checkpoints_voices import vits_folder
from orature.train.voice.architecture import MadeVoice, from_checkpoint, from_nothing, speakers_of
from orature.train.voice.config import VoiceConfig
from orature.train.voice.folder import plain_weights, save_voice
from orature.train.voice.generator import read_aloud
from orature.train.voice.text import VoiceText

CONFIG = VoiceConfig()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vits_folder(tmp_path_factory.mktemp("start"), seed=4)


def transformers_says(folder: Path, tokens: list[int], seed: int, speaker: int | None = None) -> torch.Tensor:
    from transformers import VitsModel

    model = VitsModel.from_pretrained(folder)
    torch.manual_seed(seed)
    with torch.no_grad():
        return model.eval()(torch.tensor([tokens]), speaker_id=speaker).waveform[0]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, atol=1e-5) and float(one.abs().max()) > 1e-4


def test_what_is_written_speaks_as_what_was_trained(start: Path, tmp_path: Path) -> None:
    made = from_checkpoint(start, CONFIG, ["abc"])
    with torch.no_grad():
        for weight in made.model.parameters():
            weight.mul_(1.01)
    tokens = made.text.encode("abc de")
    save_voice(tmp_path / "voice", made, {"name": "x", "languages": "sw", "licence": "CC0"})
    spoken = read_aloud(made.model.eval(), tokens, seed=5)
    assert same(spoken, transformers_says(tmp_path / "voice", tokens, 5))
    assert not same(spoken, transformers_says(start, tokens, 5)), "the weights that were changed are those written"
    with open_voice(f"vits:{tmp_path / 'voice'}") as voice:
        found = voice.speak([SpeechRequest("abc de", language="sw", seed=1)])[0]
    assert not isinstance(found, Refusal) and len(found) > 1000


@pytest.mark.parametrize("stochastic", [True, False])
def test_both_kinds_of_durations_and_several_speakers_speak_as_in_transformers(
    tmp_path: Path, stochastic: bool
) -> None:
    config = VoiceConfig(stochastic_durations=stochastic)
    made = from_nothing(config, VoiceText.of(["abc d"]), ("ann", "bob"))
    save_voice(tmp_path / "voice", made, {"name": "x"})
    tokens = made.text.encode("abc")
    for speaker in (0, 1):
        ours = read_aloud(made.model.eval(), tokens, speaker=speaker, seed=2)
        assert same(ours, transformers_says(tmp_path / "voice", tokens, 2, speaker))
    from transformers import AutoConfig

    assert speakers_of(AutoConfig.from_pretrained(tmp_path / "voice")) == ("ann", "bob")


def test_new_letters_leave_old_rows_and_all_other_weights_untouched(start: Path) -> None:
    old = load_file(start / "model.safetensors")
    made = from_checkpoint(start, CONFIG, ["ŋaɛ"])
    new = plain_weights(made.model)
    rows = old.pop("text_encoder.embed_tokens.weight")
    grown = new.pop("text_encoder.embed_tokens.weight")
    assert made.new_tokens == ("<unk>", "ŋ", "ɛ")
    assert len(grown) == len(rows) + 3 == made.model.config.vocab_size
    assert torch.equal(grown[: len(rows)], rows) and float(grown[len(rows) :].std()) > 0
    assert set(new) == set(old) and all(torch.allclose(new[name], old[name], atol=1e-6) for name in old)
    again = from_checkpoint(start, CONFIG, ["ŋaɛ"])
    assert torch.equal(plain_weights(again.model)["text_encoder.embed_tokens.weight"], grown)


def test_the_blank_between_letters_learns_also_where_the_checkpoint_calls_it_padding(tmp_path: Path) -> None:
    made = from_checkpoint(vits_folder(tmp_path / "padded", pad_token_id=0), CONFIG, ["abc"])
    embedded = made.model.text_encoder.embed_tokens(torch.tensor([0, 3]))
    embedded.sum().backward()
    gradient = made.model.text_encoder.embed_tokens.weight.grad
    assert float(gradient[0].abs().sum()) > 0 and float(gradient[1].abs().sum()) == 0


def test_keeping_the_vocabulary_adds_nothing(start: Path) -> None:
    made = from_checkpoint(start, VoiceConfig(vocabulary="keep"), ["ŋaɛ"])
    assert made.new_tokens == () and made.text.unknown("ŋaɛ") == ["ŋ", "ɛ"]


def test_new_speakers_of_a_single_voice_begin_as_that_voice(start: Path, tmp_path: Path) -> None:
    made = from_checkpoint(start, CONFIG, ["abc"], ("ann", "bob"))
    assert made.speakers == ("", "ann", "bob") and made.new_speakers == ("ann", "bob")
    tokens = made.text.encode("abcabc")
    before = transformers_says(start, tokens, 3)
    for speaker in range(3):
        assert same(read_aloud(made.model.eval(), tokens, speaker=speaker, seed=3), before)
    _one_step(made, tokens)
    voices = [read_aloud(made.model.eval(), tokens, speaker=speaker, seed=3) for speaker in range(3)]
    assert not same(voices[1], voices[2]), "after a step they differ"


def _one_step(made: MadeVoice, tokens: list[int]) -> None:
    model: Any = made.model.train()
    for _ in range(3):
        optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
        latents = torch.randn(2, model.config.flow_size, 8)
        voices = model.embed_speaker(torch.tensor([1, 2]))[:, :, None]
        sound = model.decoder(latents, voices)
        (sound * torch.tensor([1.0, -1.0])[:, None, None]).mean().backward()
        optimiser.step()
        optimiser.zero_grad()


def test_speakers_of_a_checkpoint_keep_their_numbers(tmp_path: Path) -> None:
    start = vits_folder(tmp_path / "start", speakers=("x", "y"), seed=2)
    old = load_file(start / "model.safetensors")["embed_speaker.weight"]
    made = from_checkpoint(start, CONFIG, ["abc"], ("y", "z"))
    rows = made.model.embed_speaker.weight
    assert made.speakers == ("x", "y", "z") and made.new_speakers == ("z",)
    assert torch.equal(rows[:2], old) and torch.allclose(rows[2], old.mean(0))


def test_a_missing_posterior_encoder_is_drawn_anew_and_told(start: Path, tmp_path: Path) -> None:
    bare = _with_weights(start, tmp_path / "bare", lambda name: not name.startswith("posterior_encoder."))
    made = from_checkpoint(bare, CONFIG, ["abc"])
    assert made.lacks_posterior and not from_checkpoint(start, CONFIG, ["abc"]).lacks_posterior
    again = from_checkpoint(bare, CONFIG, ["abc"])
    first, second = plain_weights(made.model), plain_weights(again.model)
    assert all(torch.equal(first[name], second[name]) for name in first), "drawn from the seed"
    tokens = made.text.encode("abc")
    assert same(read_aloud(made.model.eval(), tokens, seed=1), transformers_says(start, tokens, 1))


def _with_weights(start: Path, folder: Path, kept: Any) -> Path:
    folder.mkdir()
    for path in start.iterdir():
        if path.suffix == ".json":
            (folder / path.name).write_bytes(path.read_bytes())
    weights = {name: value for name, value in load_file(start / "model.safetensors").items() if kept(name)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_what_cannot_be_started_from_is_told(start: Path, tmp_path: Path) -> None:
    lacking = _with_weights(start, tmp_path / "lacking", lambda name: "flow.flows.0" not in name)
    with pytest.raises(ModelError, match="lacks weights"):
        from_checkpoint(lacking, CONFIG, ["abc"])
    (lacking / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="cannot be read"):
        from_checkpoint(lacking, CONFIG, ["abc"])
    (lacking / "config.json").write_text('{"model_type": "wav2vec2"}', encoding="utf-8")
    with pytest.raises(ModelError, match="no checkpoint of VITS"):
        from_checkpoint(lacking, CONFIG, ["abc"])


def test_an_untrained_predictor_cannot_fill_the_memory(start: Path) -> None:
    made = from_checkpoint(start, CONFIG, ["abc"])
    made.model.speaking_rate = 1e-6
    sound = read_aloud(made.model.eval(), made.text.encode("abc"), longest=50)
    assert len(sound) == 50 * made.shape.hop
