"""Small checkpoint folders of every CTC family, made from config in exactly the layout of published ones.

Nothing is downloaded: weights are drawn from a seed, config, tokenizer, feature extractor and model card are written as
the hub has them (vocab.json in an order of its own, special_tokens_map.json, a nested vocabulary with
`adapter.<lang>.safetensors` for MMS).

Example::

    folder = make_checkpoint(Path("tiny-xls-r"), "xls-r", head=False)      # pre-trained only: no tokenizer, no head
    network, vocabulary = family_of(folder).module().begin(folder, ["shuk wasi"], Start())
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

LETTERS = "etaoinshrdlcumwfgypbvkjxqz'"
_CARD = (
    "---\nlanguage:\n- {language}\nlicense: {licence}\ntags:\n- automatic-speech-recognition\n---\n\n# A small model\n"
)
_SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "|")
_EXTRACTOR = {
    "feature_extractor_type": "Wav2Vec2FeatureExtractor",
    "feature_size": 1,
    "padding_side": "right",
    "padding_value": 0.0,
    "sampling_rate": 16000,
}
_BODY: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.1,
}
_WAVES: dict[str, Any] = {
    **_BODY,
    "conv_dim": (32,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
_STABLE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


@dataclass(frozen=True)
class Recipe:
    """How a small checkpoint of a family is made: classes of transformers, config fields, feature extractor."""

    config: str
    model: str
    pretraining: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    extractor: Mapping[str, Any] = field(default_factory=dict)


def _waves(name: str, *, pretraining: str | None = None, layer_norm: bool = False, **fields: Any) -> Recipe:
    extractor = {**_EXTRACTOR, "do_normalize": True, "return_attention_mask": layer_norm}
    body = {**_WAVES, **(_STABLE if layer_norm else {}), **fields}
    return Recipe(f"{name}Config", f"{name}ForCTC", pretraining or f"{name}Model", body, extractor)


RECIPES: dict[str, Recipe] = {
    "wav2vec2": _waves("Wav2Vec2", pretraining="Wav2Vec2ForPreTraining"),
    "xls-r": _waves("Wav2Vec2", pretraining="Wav2Vec2ForPreTraining", layer_norm=True),
    "hubert": _waves("Hubert"),
    "wavlm": _waves("WavLM", layer_norm=True),
    "wav2vec2-conformer": _waves(
        "Wav2Vec2Conformer",
        layer_norm=True,
        pretraining="Wav2Vec2ConformerForPreTraining",
        conv_depthwise_kernel_size=7,
    ),
    "unispeech": _waves("UniSpeech"),
    "unispeech-sat": _waves("UniSpeechSat"),
    "data2vec-audio": _waves(
        "Data2VecAudio", feat_extract_norm="layer", num_conv_pos_embeddings=2, conv_pos_kernel_size=5
    ),
    "mms": _waves("Wav2Vec2", pretraining="Wav2Vec2ForPreTraining", layer_norm=True, adapter_attn_dim=4),
    "wav2vec2-bert": Recipe(
        "Wav2Vec2BertConfig",
        "Wav2Vec2BertForCTC",
        "Wav2Vec2BertModel",
        {**_BODY, "conv_depthwise_kernel_size": 7},
        {
            "feature_extractor_type": "SeamlessM4TFeatureExtractor",
            "feature_size": 80,
            "num_mel_bins": 80,
            "padding_side": "right",
            "padding_value": 1,
            "return_attention_mask": True,
            "sampling_rate": 16000,
            "stride": 2,
        },
    ),
    "parakeet-ctc": Recipe(
        "ParakeetCTCConfig",
        "ParakeetForCTC",
        "ParakeetForCTC",
        {"encoder_config": {**_BODY, "subsampling_conv_channels": 8}},
        {
            "feature_extractor_type": "ParakeetFeatureExtractor",
            "feature_size": 80,
            "hop_length": 160,
            "n_fft": 512,
            "padding_side": "right",
            "padding_value": 0.0,
            "preemphasis": 0.97,
            "processor_class": "ParakeetProcessor",
            "return_attention_mask": True,
            "sampling_rate": 16000,
            "win_length": 400,
        },
    ),
}
"""The families that can be made, by name."""


def make_checkpoint(
    folder: Path,
    family: str,
    *,
    letters: str = LETTERS,
    language: str = "qvi",
    head: bool = True,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Writes a small checkpoint of `family` (a key of `RECIPES`) and returns its folder.

    `head=False` gives what a self-supervised checkpoint gives: no output layer, no tokenizer. `config` overrides fields
    of the family's config. Equal arguments give equal weights.
    """
    import transformers

    recipe = RECIPES[family]
    folder.mkdir(parents=True, exist_ok=True)
    tokens = len(_pieces(letters)) if family == "parakeet-ctc" else len(_flat(letters))
    fields = {**recipe.fields, **config}
    if recipe.config == "ParakeetCTCConfig":
        fields |= {"vocab_size": tokens, "pad_token_id": tokens - 1}
    elif head:
        fields |= {"vocab_size": tokens, "pad_token_id": 0}
    settings = getattr(transformers, recipe.config)(**fields)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, recipe.model if head else recipe.pretraining)(settings)
    model.save_pretrained(folder)
    _write(folder / "preprocessor_config.json", dict(recipe.extractor))
    (folder / "README.md").write_text(_CARD.format(language=language, licence="apache-2.0"), encoding="utf-8")
    if head:
        write = _write_pieces if family == "parakeet-ctc" else _write_tokenizer
        write(folder, letters)
        if family == "mms":
            _nest(folder, language)
    return folder


def make_mms(folder: Path, languages: Mapping[str, str], *, seed: int = 0) -> Path:
    """Writes a small MMS checkpoint with an adapter and a vocabulary for each of `languages` (code to letters)."""
    import transformers

    (first, letters), *others = languages.items()
    make_checkpoint(folder, "mms", letters=letters, language=first, seed=seed)
    vocabularies = {first: _flat(letters)}
    base = load_file(folder / "model.safetensors")
    for number, (code, own) in enumerate(others, start=1):
        settings = transformers.Wav2Vec2Config.from_pretrained(folder)
        settings.vocab_size = len(_flat(own))
        with torch.random.fork_rng():
            torch.manual_seed(seed + number)
            model = transformers.Wav2Vec2ForCTC(settings)
        save_file({k: v.detach() for k, v in model._get_adapters().items()}, folder / f"adapter.{code}.safetensors")
        vocabularies[code] = _flat(own)
    adapter = {k: v for k, v in base.items() if ".adapter_layer." in k or k.startswith("lm_head.")}
    save_file(adapter, folder / f"adapter.{first}.safetensors")
    _write(folder / "vocab.json", vocabularies)
    return folder


def _nest(folder: Path, language: str) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    _write(folder / "vocab.json", {language: vocabulary})
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    _write(folder / "tokenizer_config.json", {**settings, "target_lang": language})


def _flat(letters: str) -> dict[str, int]:
    return {token: number for number, token in enumerate((*_SPECIALS, *dict.fromkeys(letters)))}


def _write_tokenizer(folder: Path, letters: str) -> None:
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    _write(folder / "vocab.json", _flat(letters))
    _write(folder / "special_tokens_map.json", roles)
    _write(
        folder / "tokenizer_config.json",
        {
            **roles,
            "do_lower_case": False,
            "word_delimiter_token": "|",
            "replace_word_delimiter_char": " ",
            "tokenizer_class": "Wav2Vec2CTCTokenizer",
        },
    )


def _pieces(letters: str) -> list[str]:
    words = [letters[at : at + 3] for at in range(0, len(letters), 3)]
    return ["<unk>", "\u2581", *dict.fromkeys(letters), *words, *("\u2581" + word for word in words), "<pad>"]


def _write_pieces(folder: Path, letters: str) -> None:
    """A tokenizer.json as Parakeet's: byte-pair encoding, spaces as U+2581, padding last."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {piece: number for number, piece in enumerate(_pieces(letters)[:-1])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.add_special_tokens([AddedToken("<pad>", special=True, normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "ParakeetTokenizer", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write(folder / "tokenizer_config.json", {**settings, "processor_class": "ParakeetProcessor"})


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _cut_short(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def _shorter_vocabulary(folder: Path) -> None:
    for name in ("vocab.json", "tokenizer.json"):
        path = folder / name
        if path.is_file():
            table = json.loads(path.read_text(encoding="utf-8"))
            inner = table["model"]["vocab"] if name == "tokenizer.json" else table
            own = next(iter(inner.values())) if isinstance(next(iter(inner.values())), dict) else inner
            for token in list(own)[-3:]:
                del own[token]
            _write(path, table)


def _without_layer(folder: Path) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    del weights[next(name for name in sorted(weights) if "layers.1." in name and name.endswith("weight"))]
    save_file(weights, path, metadata={"format": "pt"})


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no config": _without("config.json"),
    "no weights": _without("model.safetensors"),
    "no extractor": _without("preprocessor_config.json"),
    "pickled": _pickled,
    "cut short": _cut_short,
    "shorter vocabulary": _shorter_vocabulary,
    "a layer missing": _without_layer,
}
"""Ways in which a folder is wrong, by name; each takes a folder and spoils it."""


def spoiled(folder: Path, damage: str, where: Path) -> Path:
    """A copy of a checkpoint folder at `where`, spoiled by `damage` (a key of `DAMAGES`)."""
    shutil.copytree(folder, where)
    DAMAGES[damage](where)
    return where
