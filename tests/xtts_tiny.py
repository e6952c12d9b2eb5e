"""Writes a small XTTS folder of random weights; run by the Python of an environment with coqui-tts.

ORATURE_XTTS_PYTHON tests/xtts_tiny.py FOLDER [pickled] [codec]
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

LETTERS = "abcdefghijklmnopqrstuvwxyz',.!?"
SPECIALS = ["[STOP]", "[UNK]", "[SPACE]", "[en]", "[es]", "[sw]", "[START]"]


def main(folder: Path, *, pickled: bool, codec: bool) -> None:
    """`pickled`: model.pth and speakers_xtts.pth as they are published, else safetensors; `codec`: dvae.pth as well."""
    folder.mkdir(parents=True, exist_ok=True)
    tokens = [*SPECIALS, *LETTERS]
    models, tokenizers = import_module("tokenizers.models"), import_module("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        models.BPE({one: place for place, one in enumerate(tokens)}, [], unk_token="[UNK]")
    )
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.save(str(folder / "vocab.json"))
    configs, xtts = import_module("TTS.tts.configs.xtts_config"), import_module("TTS.tts.models.xtts")
    arguments = configs.XttsArgs(
        gpt_layers=2,
        gpt_n_model_channels=64,
        gpt_n_heads=4,
        gpt_number_text_tokens=len(tokens),
        gpt_start_text_token=SPECIALS.index("[START]"),
        gpt_stop_text_token=0,
        gpt_num_audio_tokens=40,
        gpt_start_audio_token=38,
        gpt_stop_audio_token=39,
        gpt_use_perceiver_resampler=True,
        decoder_input_dim=64,
    )
    config = configs.XttsConfig(model_args=arguments, languages=["en", "es", "sw"], repetition_penalty=1.0)
    torch.manual_seed(0)
    model = xtts.Xtts(config)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    model.tokenizer = import_module("TTS.tts.layers.xtts.tokenizer").VoiceBpeTokenizer(vocab_file=folder / "vocab.json")
    model.init_models()
    if codec:
        save_codec(folder, len(model.mel_stats))
    with torch.no_grad():
        model.gpt.mel_head.bias[39] = 0.0  # it ends after some forty codes
    weights: dict[str, Any] = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    if pickled:
        torch.save({"model": weights, "config": config.to_dict()}, folder / "model.pth")
        voice = {"gpt_cond_latent": torch.randn(1, 32, 64), "speaker_embedding": torch.randn(1, 512, 1)}
        torch.save({"Ana Li": voice}, folder / "speakers_xtts.pth")
    else:
        import_module("safetensors.torch").save_file(weights, folder / "model.safetensors")


def save_codec(folder: Path, channels: int) -> None:
    """dvae.pth and mel_stats.pth as they are published, with 38 codes that truly depend on the sound."""
    torch.manual_seed(1)
    dvae = import_module("TTS.tts.layers.xtts.dvae")
    codec = dvae.DiscreteVAE(
        channels=channels,
        normalization=None,
        positional_dims=1,
        num_tokens=38,
        codebook_dim=16,
        hidden_dim=16,
        num_resnet_blocks=3,
        kernel_size=3,
        num_layers=2,
        use_transposed_convs=False,
    )
    scale = torch.full((channels,), 5.0)
    times = torch.arange(39 * 1024) / 22050
    rising = 0.3 * torch.sin(2 * torch.pi * (100 + 300 * times) * times)[None]
    with torch.no_grad():  # the codes are what the encoder makes of a rising tone
        codec.codebook.embed.copy_(codec.encoder(dvae.dvae_wav_to_mel(rising, mel_norms=scale))[0, :, :38])
    torch.save(codec.state_dict(), folder / "dvae.pth")
    torch.save(scale, folder / "mel_stats.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]), pickled="pickled" in sys.argv[2:], codec="codec" in sys.argv[2:])
