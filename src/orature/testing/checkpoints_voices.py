"""Small voice checkpoints, made from config in exactly the layout of the published facebook/mms-tts-* folders.

Nothing is downloaded: weights are drawn from a seed; config.json, vocab.json, tokenizer_config.json,
special_tokens_map.json, added_tokens.json and the model card are written as the hub has them (the padding token is the
letter that has number 0, `<unk>` has a number outside the vocabulary).

Example::

    folder = vits_folder(Path("tiny-voice"), " 'abcdefghijklmnopqrstuvwxyz", speakers=2)
    voice = open_voice(f"vits:{folder}")
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from orature.engines.hf_folder import quiet

LETTERS = " '-abcdefghijklmnopqrstuvwxyz"
_CARD = "---\nlicense: {licence}\ntags:\n- mms\n- vits\npipeline_tag: text-to-speech\n---\n\n# A small voice\n"
_SHAPE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "ffn_dim": 32,
    "flow_size": 16,
    "spectrogram_bins": 513,
    "upsample_initial_channel": 32,
    "upsample_rates": [8, 8, 4],
    "upsample_kernel_sizes": [16, 16, 8],
    "resblock_kernel_sizes": [3, 7],
    "resblock_dilation_sizes": [[1, 3], [1, 3]],
    "duration_predictor_filter_channels": 16,
    "prior_encoder_num_flows": 2,
    "prior_encoder_num_wavenet_layers": 2,
    "posterior_encoder_num_wavenet_layers": 2,
    "duration_predictor_num_flows": 2,
}


def vits_folder(
    folder: Path,
    characters: str = LETTERS,
    *,
    speakers: int | Sequence[str] = 1,
    language: str = "swh",
    licence: str = "cc-by-nc-4.0",
    uroman: bool = False,
    phonemize: bool = False,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Writes a small VITS checkpoint that reads `characters` and returns its folder.

    The first character gets the number 0, which also stands between all others. `speakers`: how many, or their names
    (as `orature train-voice` writes them, `speaker_names` of config.json). `config` overrides fields of VitsConfig.
    Equal arguments give equal bytes.
    """
    from transformers import VitsConfig, VitsModel

    vocabulary = {letter: number for number, letter in enumerate(dict.fromkeys(characters))}
    names = [] if isinstance(speakers, int) else list(speakers)
    count = speakers if isinstance(speakers, int) else len(names)
    fields: dict[str, Any] = {**_SHAPE, "vocab_size": len(vocabulary), "pad_token_id": None}
    if count > 1:
        fields |= {"num_speakers": count, "speaker_embedding_size": 8}
    settings = VitsConfig(**{**fields, **config})
    if names:
        settings.speaker_names = names
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = VitsModel(settings)
        _draw(model)
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        model.save_pretrained(folder)
    pad = next(iter(vocabulary))
    roles = {"pad_token": pad, "unk_token": "<unk>"}
    _write(folder / "vocab.json", vocabulary)
    _write(folder / "added_tokens.json", {"<unk>": len(vocabulary)})
    _write(folder / "special_tokens_map.json", roles)
    _write(
        folder / "tokenizer_config.json",
        {
            **roles,
            "add_blank": True,
            "clean_up_tokenization_spaces": True,
            "is_uroman": uroman,
            "language": language,
            "normalize": True,
            "phonemize": phonemize,
            "tokenizer_class": "VitsTokenizer",
        },
    )
    (folder / "README.md").write_text(_CARD.format(licence=licence), encoding="utf-8")
    return folder


def _draw(model: nn.Module) -> None:
    """Convolutions as torch draws them: those of transformers are for loading over and saturate the decoder."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d) and not parametrize.is_parametrized(layer):
            layer.reset_parameters()


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
