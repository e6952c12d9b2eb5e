"""A trained voice as a folder that transformers' VitsModel and our `vits:` voice read.

Example::

    for name, write in voice_files(made, plain_weights(made.model), facts).items():
        write(folder / name)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orature.engines.native_folder import write_json
from orature.train.voice.architecture import MadeVoice

CONFIG, WEIGHTS, FACTS = "config.json", "model.safetensors", "orature.json"
_NOT_WRITTEN = ("transformers_version", "_name_or_path", "dtype", "torch_dtype")
Files = dict[str, Callable[[Path], None]]


@torch.no_grad()
def plain_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights under the names of transformers: the decoder's normalised ones multiplied out."""
    found = {name: value for name, value in model.state_dict().items()}
    for place, layer in model.named_modules():
        if place.startswith("decoder.") and parametrize.is_parametrized(layer):
            for part in ("original0", "original1"):
                found.pop(f"{place}.parametrizations.weight.{part}")
            found[f"{place}.weight"] = layer.weight
    return {name: value.detach().cpu().contiguous().clone() for name, value in sorted(found.items())}


def voice_files(made: MadeVoice, weights: Mapping[str, Tensor], facts: Mapping[str, str]) -> Files:
    """All files of a voice folder, each with what writes it; they hold no date and no path."""
    described = {name: value for name, value in made.model.config.to_dict().items() if name not in _NOT_WRITTEN}
    described["architectures"] = ["VitsModel"]
    files: Files = {
        CONFIG: write_json(described),
        WEIGHTS: lambda path: save_file(dict(weights), path, metadata={"format": "pt"}),
        FACTS: write_json(dict(facts)),
    }
    for name, text in made.text.files().items():
        files[name] = _writer(text)
    return files


def save_voice(folder: Path, made: MadeVoice, facts: Mapping[str, str]) -> None:
    """Writes a voice folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in voice_files(made, plain_weights(made.model), facts).items():
        write(folder / name)


def _writer(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write
