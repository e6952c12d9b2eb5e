"""Models of published shapes with drawn weights, in the layout of transformers, for measuring speed.

They have learned nothing, but they write: each letter of a CTC model stands for a cluster of hidden states over real
speech, the largest cluster is the blank, and special tokens are switched off. The Whisper-shaped one ends each text
after 28 tokens (a sentence of four or five seconds), so that it does not run on to the end of its positions. Hidden
states lie close to the borders of such clusters far more often than those of a trained model do to its decisions, so
that rounding changes more letters here than it does in use.

Example::

    folder = make("xls-r-24m", Path("models"), samples)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file

from orature.engines.recognisers import load_ctc
from orature.testing.checkpoints import make_checkpoint
from orature.testing.checkpoints_seq2seq import whisper_folder

_FRONT = {"conv_dim": (512,) * 7, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16}
SHAPES: dict[str, dict[str, Any]] = {
    "xls-r-24m": {"hidden_size": 384, "num_hidden_layers": 10, "num_attention_heads": 6, "intermediate_size": 1536},
    "xls-r-95m": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "xls-r-315m": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
NAMES = (*SHAPES, "whisper-tiny", "whisper-tiny-short")
_TEXT_TOKENS = 28


def make(name: str, within: Path, samples: npt.NDArray[np.float32]) -> Path:
    """Writes the model `name` into a folder of its own and returns it; `samples` are half a minute of speech."""
    folder = within / name
    if name.startswith("whisper-tiny"):
        return _whisper(folder, short_windows=name.endswith("-short"))
    make_checkpoint(folder, "xls-r", initializer_range=0.05, **_FRONT, **SHAPES[name])
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"], weights["lm_head.bias"] = _clusters(folder, samples)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _clusters(folder: Path, samples: npt.NDArray[np.float32]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases of an output layer whose best token is the nearest of as many cluster centres (k-means)."""
    network = load_ctc(folder).network
    tokens = network.head.weight.shape[0]
    with torch.no_grad():
        hidden_TD = network.encode(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))[0][0]
        centres_VD = hidden_TD[:: max(1, len(hidden_TD) // tokens)][:tokens].clone()
        for _ in range(12):
            nearest_T = torch.cdist(hidden_TD, centres_VD).argmin(dim=1)
            for token in nearest_T.unique().tolist():
                centres_VD[token] = hidden_TD[nearest_T == token].mean(dim=0)
        order_V = nearest_T.bincount(minlength=tokens).argsort(descending=True)
    centres_VD = centres_VD[order_V]
    bias_V = -0.5 * centres_VD.square().sum(dim=1)
    bias_V[[1, 2, 3]] = -1.0e6  # <s>, </s> and <unk>: the pipeline would write them out
    return centres_VD.contiguous(), bias_V


def _whisper(folder: Path, *, short_windows: bool) -> Path:
    """Whisper-tiny's shape (39 M parameters, 51,865 tokens, windows of 30 s) over a small tokenizer.

    With `short_windows` as Orature fine-tunes it on short clips: peers, which do not know of them, compute 30 s.
    """
    from transformers import WhisperConfig, WhisperForConditionalGeneration, WhisperTokenizer

    whisper_folder(folder, languages=("en",), seconds=30.0)
    tokenizer = WhisperTokenizer.from_pretrained(folder)
    old = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    roles = ("decoder_start_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
    config = WhisperConfig(
        vocab_size=51_865, d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
        decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536, init_std=0.05, suppress_tokens=None,
        begin_suppress_tokens=None, short_windows=short_windows, **{role: old[role] for role in roles},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = WhisperForConditionalGeneration(config).eval()
        _end_after(model.model.decoder, tokenizer, old["eos_token_id"])
    model.generation_config = model.generation_config.from_pretrained(folder)
    model.generation_config.max_length = 448
    model.save_pretrained(folder)
    return folder


def _end_after(decoder: Any, tokenizer: Any, end: int) -> None:
    """Output rows without a text become 0, and late positions point at the end token."""
    with torch.no_grad():
        rows_VD = decoder.embed_tokens.weight
        texts = [token for token in range(end) if tokenizer.decode([token]).strip().isalpha()]
        kept_VD = torch.zeros_like(rows_VD)
        kept_VD[texts] = rows_VD[texts]
        prompt = range(end, len(tokenizer))
        direction_D = torch.randn(rows_VD.shape[1])
        direction_D = (direction_D - direction_D.mean()) / direction_D.std()
        kept_VD[list(prompt)] = 0.0
        kept_VD[end] = 0.5 * rows_VD[texts].norm(dim=1).mean() * direction_D / direction_D.norm()
        decoder.embed_tokens.weight.copy_(kept_VD)
        # So that texts vary along their length and between recordings, instead of repeating one token.
        decoder.embed_positions.weight.normal_(std=3.0 * float(rows_VD.std()))
        for layer in decoder.layers:
            layer.encoder_attn.out_proj.weight *= 10.0
            layer.encoder_attn.q_proj.weight *= 10.0
        decoder.embed_positions.weight[_TEXT_TOKENS + 3 :] += 1.0e4 * direction_D
