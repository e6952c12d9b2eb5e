"""MMS: adapters and nested vocabularies are added to, never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orature.core.errors import ModelError
from orature.engines import wav2vec2
from orature.engines.families import Start
from orature.engines.mms_languages import adapter_for, near
from orature.engines.network import CtcNetwork
from orature.engines.protocol import Samples
from orature.testing.checkpoints import make_mms
from orature.testing.recogniser_contract import best_path, digests, logits_of, write

NOISE: Samples = (0.1 * np.random.default_rng(3).standard_normal(12_000)).astype(np.float32)
CODES = {"eng": "etaoinshrdlu", "quz": "aiushkntmpqyrñ", "uzb-script_cyrillic": "абвгдеж"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mms(tmp_path_factory.mktemp("mms") / "mms", CODES)


def heard(place: Path, language: str) -> tuple[str, torch.Tensor]:
    network, vocabulary = wav2vec2.load(place, language=language)
    logits_TV = logits_of(network, [NOISE])[0]
    return best_path(vocabulary, logits_TV), logits_TV


def shaken(network: CtcNetwork) -> None:
    """As training would: every weight that may learn moves."""
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("language", list(CODES))
def test_each_language_gives_what_the_reference_gives(folder: Path, language: str) -> None:
    import transformers

    model = transformers.Wav2Vec2ForCTC.from_pretrained(folder, target_lang=language, ignore_mismatched_sizes=True)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        inputs = extractor(NOISE, sampling_rate=16_000, return_tensors="pt")
        reference_TV = model.eval()(**inputs).logits[0]
    assert (heard(folder, language)[1] - reference_TV).abs().max() < 1e-4
    _, vocabulary = wav2vec2.load(folder, language=language)
    assert {vocabulary.piece(token) for token in range(len(vocabulary))} >= {*CODES[language], " "}


def test_a_new_language_leaves_the_others_as_they_were(folder: Path, tmp_path: Path) -> None:
    before = {language: heard(folder, language) for language in CODES}
    start = Start(language="pao", adapters=True, head="extend")
    network, vocabulary = wav2vec2.begin(folder, ["ŋa ŋu"], start)
    assert {name for name, p in network.named_parameters() if p.requires_grad} == {
        f"model.{name}" for name in network.adapter_state()
    }
    shaken(network)
    mine = logits_of(network, [NOISE])[0]
    saved = write(wav2vec2.files(network, vocabulary), tmp_path / "saved")
    for language in CODES:
        text, logits_TV = heard(saved, language)
        assert text == before[language][0]
        assert torch.equal(logits_TV, before[language][1])
        name = f"adapter.{language}.safetensors"
        assert digests(saved)[name] == digests(folder)[name]
    assert torch.equal(heard(saved, "pao")[1], mine)
    nested = json.loads((saved / "vocab.json").read_text(encoding="utf-8"))
    assert list(nested) == sorted([*CODES, "pao"])
    assert {code: nested[code] for code in CODES} == json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary.decode(vocabulary.encode("ŋa ŋu")) == "ŋa ŋu"


def test_the_default_language_without_an_adapter_file_gets_one(folder: Path, tmp_path: Path) -> None:
    place = make_mms(tmp_path / "mms", CODES)
    (place / "adapter.eng.safetensors").unlink()
    before = heard(place, "eng")
    assert torch.equal(before[1], heard(folder, "eng")[1])
    network, vocabulary = wav2vec2.begin(place, ["ŋa"], Start(language="pao", adapters=True))
    shaken(network)
    saved = write(wav2vec2.files(network, vocabulary), tmp_path / "saved")
    assert torch.equal(heard(saved, "eng")[1], before[1])


def test_a_known_language_grows_by_the_characters_it_lacks(folder: Path, tmp_path: Path) -> None:
    old = heard(folder, "quz")[1]
    network, vocabulary = wav2vec2.begin(folder, ["wasi"], Start(language="que-EC-x-cuzco", adapters=True, head="new"))
    assert network.language == "que-EC-x-cuzco"
    network, vocabulary = wav2vec2.begin(folder, ["wasi"], Start(language="quz", adapters=True))
    assert vocabulary.unknown("wasi ñ") == set()
    assert torch.equal(logits_of(network, [NOISE])[0][:, : old.shape[1]], old)
    saved = write(wav2vec2.files(network, vocabulary), tmp_path / "saved")
    ours = json.loads((saved / "vocab.json").read_text(encoding="utf-8"))["quz"]
    theirs = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["quz"]
    assert {token: ours[token] for token in theirs} == theirs
    assert load_file(saved / "adapter.quz.safetensors")["lm_head.weight"].shape[0] == len(theirs) + 1


def test_without_adapters_the_body_may_change_so_other_languages_go(folder: Path, tmp_path: Path) -> None:
    network, vocabulary = wav2vec2.begin(folder, ["wasi"], Start(language="quz"))
    assert all(parameter.requires_grad for parameter in network.parameters())
    saved = write(wav2vec2.files(network, vocabulary), tmp_path / "saved")
    assert [path.name for path in saved.glob("adapter.*")] == ["adapter.quz.safetensors"]
    assert list(json.loads((saved / "vocab.json").read_text(encoding="utf-8"))) == ["quz"]
    assert heard(saved, "quz")[1].shape[1] == len(vocabulary)


def test_languages_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no adapter for 'quy'") as caught:
        wav2vec2.load(folder, language="quy")
    assert "quz" in caught.value.next_step
    with pytest.raises(ModelError, match="not named"):
        wav2vec2.begin(folder, ["a"], Start())
    with pytest.raises(ModelError, match="no adapter for 'pao'"):
        wav2vec2.begin(folder, ["a"], Start(language="pao", head="keep"))
    place = make_mms(tmp_path / "mms", CODES)
    (place / "adapter.quz.safetensors").rename(place / "adapter.quz.bin")
    with pytest.raises(ModelError, match="its adapter is not in the folder"):
        wav2vec2.load(place, language="quz")
    (place / "adapter.quz.bin").rename(place / "adapter.quz.safetensors")
    (place / "adapter.uzb-script_cyrillic.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="adapter cannot be read"):
        wav2vec2.load(place, language="uz-Cyrl")


def test_checkpoints_without_adapters_say_so(tmp_path: Path) -> None:
    from orature.testing.checkpoints import make_checkpoint

    with pytest.raises(ModelError, match="no adapters for languages"):
        wav2vec2.begin(make_checkpoint(tmp_path / "a", "xls-r"), ["a"], Start(adapters=True, language="quz"))


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("eng", "eng"),
        ("en-GB", "eng"),
        ("uz-Cyrl", "uzb-script_cyrillic"),
        ("uz-Latn-UZ", "uzb-script_latin"),
        ("quz-PE", "quz"),
        ("sw", "swh"),
        ("swa", "swh"),
        ("zh-Hans", "cmn-script_simplified"),
        ("QUZ", "quz"),
        ("uz", None),
        ("que-EC", None),
    ],
)
def test_tags_and_adapters(tag: str, code: str | None) -> None:
    names = ["eng", "uzb-script_cyrillic", "uzb-script_latin", "quz", "quy", "swh", "cmn-script_simplified"]
    assert adapter_for(tag, names) == code
    if tag == "uz":
        assert near(tag, names)[:2] == ["uzb-script_cyrillic", "uzb-script_latin"]
