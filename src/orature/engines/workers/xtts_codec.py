"""The frozen codec of XTTS-v2: recordings at 22.05 kHz to the audio codes that its transformer learns to write.

It runs in the environment of coqui-tts and imports nothing of Orature. Published are `dvae.pth` and `mel_stats.pth`,
pickles, which the restricted reader of the environment's own libraries reads; `convert_codec` writes what is needed of
both once as `dvae.safetensors`.

Example::

    codec = codec_of(Path("XTTS-v2"), tokens=1024, device=torch.device("cpu"))
    codes_of(codec, samples_S)                  # one code for each 1024 samples begun
"""

from __future__ import annotations

import math
import pickle
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from orature.engines.workers.training import Trouble, beside
else:
    sys.path.insert(0, str(Path(__file__).parent))
    from training import Trouble, beside

CODEC, PICKLED, STATISTICS = "dvae.safetensors", "dvae.pth", "mel_stats.pth"
STRIDE = 1024
"""Samples a code."""
_MEL = "mel_stats"
_PARTS = ("encoder.", "codebook.")
_NEXT = (
    "fetch dvae.pth and mel_stats.pth of XTTS-v2 into that folder (training needs the codec, speaking does not), or "
    "name a folder that has dvae.safetensors"
)


@dataclass(frozen=True)
class Codec:
    """The encoder with its codebook, and the scale of each of 80 mel channels."""

    network: Any
    mel_stats: Tensor
    device: torch.device


def require_codec(folder: Path) -> None:
    """Trouble where a folder of XTTS-v2 lacks what training needs beside the model."""
    lacking = [name for name in (PICKLED, STATISTICS) if not (folder / name).is_file()]
    if not (folder / CODEC).is_file() and lacking:
        raise Trouble(
            "model", f"the folder has no codec to train with: no {' and no '.join(lacking)}", where=str(folder),
            next_step=_NEXT,
        )  # fmt: skip


def read_codec(folder: Path) -> dict[str, Tensor]:
    """Weights of encoder and codebook, and `mel_stats` (80,); Trouble where they are missing or broken."""
    require_codec(folder)
    try:
        if (folder / CODEC).is_file():
            table: dict[str, Tensor] = import_module("safetensors.torch").load_file(folder / CODEC)
        else:
            io = import_module("trainer.io")
            table = dict(io.load_fsspec(folder / PICKLED, map_location="cpu"))
            table[_MEL] = io.load_fsspec(folder / STATISTICS, map_location="cpu")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise _broken(folder, str(error)) from error
    kept = {
        name: value.detach().contiguous().clone()
        for name, value in table.items()
        if isinstance(value, Tensor) and (name.startswith(_PARTS) or name == _MEL)
    }
    for name in (_MEL, "codebook.embed", "encoder.0.0.weight"):
        if name not in kept:
            raise _broken(folder, f"it holds no {name}")
    return kept


def convert_codec(folder: Path) -> None:
    """Writes dvae.safetensors beside the published pickles; nothing where they are not there."""
    if (folder / PICKLED).is_file() and (folder / STATISTICS).is_file():
        write_codec(folder / CODEC, read_codec(folder))


def write_codec(path: Path, weights: dict[str, Tensor]) -> None:
    """One file with encoder, codebook and mel_stats."""
    with beside(path) as part:
        import_module("safetensors.torch").save_file(weights, part, metadata={"format": "pt"})


def codec_of(folder: Path, *, tokens: int, device: torch.device) -> Codec:
    """The codec of a folder, frozen, with its shape read off its weights; Trouble where it has not `tokens` codes."""
    weights = read_codec(folder)
    width, count = weights["codebook.embed"].shape
    if count != tokens:
        raise _broken(folder, f"it has {count} codes, the model {tokens}")
    network = import_module("TTS.tts.layers.xtts.dvae").DiscreteVAE(
        channels=80,
        normalization=None,
        positional_dims=1,
        num_tokens=tokens,
        codebook_dim=width,
        hidden_dim=weights["encoder.0.0.weight"].shape[0],
        num_resnet_blocks=3,
        kernel_size=3,
        num_layers=2,
        use_transposed_convs=False,
    )
    mel_stats = weights.pop(_MEL).float()
    try:
        lacking = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _broken(folder, str(error)) from error
    if any(name.startswith(_PARTS) for name in lacking.missing_keys) or mel_stats.shape != (80,):
        raise _broken(folder, "weights are missing in it")
    return Codec(network.to(device).eval().requires_grad_(False), mel_stats, device)


@torch.no_grad()
def codes_of(codec: Codec, samples_S: Tensor) -> list[int]:
    """Audio codes of one recording (float, 22.05 kHz), computed alone: ceil(S / 1024) of them."""
    to_mel = import_module("TTS.tts.layers.xtts.dvae").dvae_wav_to_mel
    mel_1KF = to_mel(samples_S[None], mel_norms=codec.mel_stats).to(codec.device)
    codes = codec.network.get_codebook_indices(mel_1KF)[0]
    return [int(code) for code in codes[: math.ceil(len(samples_S) / STRIDE)]]


def _broken(folder: Path, detail: str) -> Trouble:
    said = " ".join(detail.split())[:300]
    return Trouble("model", f"the codec cannot be loaded: {said}", where=str(folder), next_step=_NEXT)
