"""VITS: the same bits alone, in a batch and in any order; what cannot be read is named; broken folders are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from orature.core.errors import ConfigError, MissingExtra, ModelError
from orature.core.types import Refusal
from orature.engines.vits_network import VitsNetwork, VitsRow, decoded
from orature.engines.vits_text import VitsReader
from orature.engines.vits_voice import begin
from orature.engines.voice import Speech, SpeechRequest, Voice
from orature.engines.voices import open_voice, voice_files
from orature.testing.checkpoints_voices import vits_folder
from orature.testing.voice_contract import check_voice

TEXTS = ["habari za asubuhi", "moja", "mbili tatu nne tano sita saba nane", "karibu sana"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vits_folder(tmp_path_factory.mktemp("voices") / "two", speakers=["f01", "m02"])


@pytest.fixture(scope="module")
def voice(folder: Path) -> Voice:
    return begin(str(folder), threads=2)


def _sound(outcome: Speech | Refusal) -> Speech:
    assert not isinstance(outcome, Refusal), outcome
    return outcome


def _requests() -> list[SpeechRequest]:
    return [SpeechRequest(text, language="sw", speaker="m02", seed=seed) for seed, text in enumerate(TEXTS)]


def test_samples_do_not_depend_on_neighbours_order_or_threads(voice: Voice, folder: Path) -> None:
    requests = _requests()
    together = [_sound(one) for one in voice.speak(requests)]
    backwards = [_sound(one) for one in voice.speak(requests[::-1])][::-1]
    with begin(str(folder), threads=1) as other:
        alone = [_sound(other.speak([one])[0]) for one in requests]
    for first, second, third in zip(together, backwards, alone, strict=True):
        assert np.array_equal(first, second) and np.array_equal(first, third)
        assert first.dtype == np.float32 and first.ndim == 1 and np.abs(first).max() <= 1.0


def test_a_padded_row_of_a_batch_is_the_single_row(folder: Path) -> None:
    """What a GPU does; without the masks of the decoder the last frames of short rows differ by a tenth and more."""
    network = _network(folder)
    rows = [VitsRow((0, 5, 0), seed=1), VitsRow(tuple([0, 7, 0, 9] * 12), seed=2, speaker=1, rate=0.8)]
    both = network.speak(rows, most_frames=4000)
    for row, padded in zip(rows, both, strict=True):
        single = network.speak([row], most_frames=4000)[0]
        assert not isinstance(single, int) and not isinstance(padded, int)
        assert single.shape == padded.shape
        assert np.abs(single - padded).max() < 1e-5 * max(1.0, np.abs(single).max())


def test_the_decoder_masks_what_lies_beyond_a_row(folder: Path) -> None:
    network = _network(folder)
    latent = torch.randn(2, 16, 12, generator=torch.Generator().manual_seed(0))
    speaker = network.model.embed_speaker(torch.tensor([0, 1])).unsqueeze(-1)
    lengths = torch.tensor([12, 5])
    with torch.inference_mode():
        padded = decoded(
            network.model.decoder, latent * (torch.arange(12) < lengths[:, None])[:, None], lengths, speaker
        )
        single = network.model.decoder(latent[1:, :, :5], speaker[1:])[0, 0]
    torch.testing.assert_close(padded[1, : 5 * network.hop], single, atol=1e-6, rtol=1e-5)


def test_our_own_noise_gives_what_transformers_would_give(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same noise the whole way from tokens to samples is that of VitsModel."""
    network = _network(folder)
    row = VitsRow((0, 5, 0, 9, 0, 11, 0), seed=4, speaker=1)
    drawn: list[torch.Tensor] = []
    real = torch.randn

    def recorded(*shape: int) -> torch.Tensor:
        drawn.append(real(*shape, generator=torch.Generator().manual_seed(8)))
        return drawn[-1]

    with torch.inference_mode(), monkeypatch.context() as patch:
        patch.setattr(torch, "randn", recorded)
        patch.setattr(torch, "randn_like", lambda other: recorded(*other.shape))
        theirs = network.model(torch.tensor([row.tokens]), speaker_id=1).waveform[0].numpy()
    noises = {"durations": drawn[0][0], "prior": drawn[1][0]}
    monkeypatch.setattr("orature.engines.vits_network._noise", lambda seed, what, shape: noises[what])
    ours = network.speak([row], most_frames=4000)[0]
    assert not isinstance(ours, int)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def _network(folder: Path) -> VitsNetwork:
    network = begin(str(folder))._network
    assert network is not None
    return network


def test_seed_speaker_and_rate_change_the_samples(voice: Voice) -> None:
    def say(**fields: object) -> Speech:
        return _sound(voice.speak([SpeechRequest(TEXTS[2], **fields)])[0])  # type: ignore[arg-type]

    plain = say(speaker="f01", seed=3)
    assert np.array_equal(plain, say(seed=3))  # its own choice is the first speaker
    assert not np.array_equal(plain, say(speaker="f01", seed=4))
    assert not np.array_equal(plain, say(speaker="m02", seed=3))
    assert len(say(seed=3, rate=0.5)) > 1.4 * len(plain)
    assert voice.traits.random and voice.traits.rate and not voice.traits.pitch


def test_what_cannot_be_spoken_is_refused_and_the_rest_is_spoken(voice: Voice) -> None:
    requests = [
        SpeechRequest("habari 7 è"),
        SpeechRequest("moja"),
        SpeechRequest("?!"),
        SpeechRequest("a" * 601),
        SpeechRequest("moja", language="yo"),
        SpeechRequest("moja", speaker="nobody"),
        SpeechRequest("moja", pitch=2.0),
        SpeechRequest("a" * 500, rate=0.05),
    ]
    outcomes = voice.speak(requests)
    reasons = [one.reason if isinstance(one, Refusal) else "" for one in outcomes]
    wanted = "unreadable-characters,,empty-text,too-long,unknown-language,unknown-speaker,cannot-vary,truncated"
    assert reasons == wanted.split(",")
    assert isinstance(outcomes[0], Refusal) and "'7' (U+0037), 'è' (U+00E8)" in outcomes[0].detail
    with pytest.raises(ConfigError, match="cannot read 'yo'"):
        voice.speakers("yo")
    assert voice.speakers("swh") == voice.speakers("und") == ["f01", "m02"]


def test_the_card_tells_licence_language_and_a_revision_of_all_that_counts(voice: Voice, folder: Path) -> None:
    assert voice.card.licence == "cc-by-nc-4.0" and voice.card.languages == ("swh",) and voice.card.deterministic
    assert voice.card.name == "two" and str(folder) not in repr(voice.card)
    before = voice.card.revision
    how = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**how, "normalize": False}))
    try:
        assert begin(str(folder)).card.revision != before
    finally:
        (folder / "tokenizer_config.json").write_text(json.dumps(how, ensure_ascii=False, indent=2) + "\n")
    names = {path.name for path in voice_files(f"vits:{folder}")}
    assert names == {"config.json", "vocab.json", "tokenizer_config.json", "model.safetensors"}


def test_a_folder_named_alone_and_one_without_speakers(tmp_path: Path) -> None:
    single = vits_folder(tmp_path / "one", use_stochastic_duration_prediction=False, noise_scale=0.0)
    with open_voice(str(single)) as voice:
        assert voice.speakers("sw") == [""] and not voice.traits.random
        first, second = voice.speak([SpeechRequest("moja", seed=1), SpeechRequest("moja", seed=2)])
        assert np.array_equal(_sound(first), _sound(second))
        voice.close()
        voice.close()
        with pytest.raises(ConfigError, match="closed"):
            voice.speak([SpeechRequest("moja")])


def test_broken_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="reads phonemes"):
        VitsReader.open(vits_folder(tmp_path / "phonemes", phonemize=True))
    with pytest.raises(MissingExtra, match="uroman"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("orature.engines.vits_text.find_spec", lambda name: None)
        begin(str(vits_folder(tmp_path / "roman", uroman=True)))
    folder = vits_folder(tmp_path / "vocabulary")
    (folder / "vocab.json").write_text(json.dumps({"a": 0, "b": 900}))
    with pytest.raises(ModelError, match="1 tokens beyond"):
        begin(str(folder))
    (folder / "vocab.json").write_text("[]")
    with pytest.raises(ModelError, match="names with values"):
        begin(str(folder))
    with pytest.raises(ConfigError, match="no device"):
        begin(str(vits_folder(tmp_path / "device")), device="abacus")
    with pytest.raises(ConfigError, match="names no checkpoint"):
        begin("")


def test_text_is_read_as_by_transformers_where_nothing_is_lost(folder: Path) -> None:
    from transformers import VitsTokenizer

    reader, theirs = VitsReader.open(folder), VitsTokenizer.from_pretrained(folder)
    for text in ["Habari za asubuhi?", "ng'ombe, mwana-kondoo!", " A b "]:
        assert reader.read(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize(
    ("letters", "text", "tokens"),
    [
        (" ab'", "a\u2019b", "a'b"),  # an apostrophe that the vocabulary writes otherwise
        (" ae\u0301\u0323", "\u1eb9\u0301a", "e\u0323\u0301a"),  # letters that it has only taken apart
        (" ab\u1eb9", "E\u0323", "\u1eb9"),
        (" ab", "a \u2014 b\u00ad", "a b"),
        (" ab", "a-b, \u00aba\u00bb\n\nb...", "a b a b"),
        (" i\u0131", "I \u0130", "\u0131 i"),
    ],
)
def test_equal_characters_are_found(letters: str, text: str, tokens: str) -> None:
    table = {letter: number for number, letter in enumerate(letters)}
    reader = VitsReader(table, add_blank=False, language="tur" if "\u0131" in letters else "")
    assert reader.read(text) == [table[one] for one in tokens]


@pytest.mark.parametrize("text", ["a'b", "\u02bca", "a5", "a+b", "a\u0301", "\U0001f600 a", "1.5"])
def test_what_might_be_a_sound_is_never_dropped(text: str) -> None:
    reader = VitsReader({" ": 0, "a": 1, "b": 2, "1": 3, "5" if text == "1.5" else "x": 4})
    outcome = reader.read(text)
    assert isinstance(outcome, Refusal) and outcome.reason == "unreadable-characters"


def test_romanised_text(tmp_path: Path) -> None:
    reader = VitsReader({" ": 0, "a": 1, "b": 2}, romanise=lambda text: text.replace("\u0431", "B"), add_blank=False)
    assert reader.read("\u0411a") == [2, 1]
    assert reader.read("ab") == [1, 2]


def test_phonemes_come_from_espeak(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    folder = vits_folder(
        tmp_path / "ipa", " ,?\u02c8\u0259\u028a\u0254\u025c\u02d0abdefhiklmnoprstuvw", phonemize=True, language="eng"
    )
    with begin(str(folder)) as voice:
        tokens = voice._reader.read("hello, world?")
        assert isinstance(tokens, list)
        letters = {number: letter for letter, number in voice._reader.tokens.items()}
        assert "".join(letters[token] for token in tokens[1::2]) == "h\u0259l\u02c8o\u028a, w\u02c8\u025c\u02d0ld?"
        refused = voice.speak([SpeechRequest("the")])[0]  # a sound that this vocabulary lacks
        assert isinstance(refused, Refusal) and refused.reason == "unreadable-characters"


def test_it_holds_the_contract_of_voices(tmp_path: Path) -> None:
    folder = vits_folder(tmp_path / "slow", speakers=["f01", "m02"], speaking_rate=0.25)
    texts = ["moja", "mbili tatu nne tano", "habari za asubuhi"]
    check_voice(lambda workers: begin(str(folder), workers=workers), "sw", texts)
