"""What Orature's own families share: weights in and out, and an output layer for other characters.

Example::

    load_weights(network, folder)
    vocabulary = taken_up(network, old_characters, training_texts, Start(head="extend"))
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, cast

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from orature.core.errors import ModelError
from orature.engines.characters import Characters
from orature.engines.families import Start, read_config
from orature.engines.network import CtcNetwork

C = TypeVar("C", bound=BaseModel)
WHOLE_FOLDER = "copy the whole model folder again, or make it anew with `orature train`"


def config_in(folder: Path, kind: type[C]) -> C:
    """`config.json` of a folder as `kind`; ModelError says what is wrong with it."""
    raw = read_config(folder)
    raw.pop("architectures", None)
    return checked(kind, raw, folder)


def checked(kind: type[C], raw: Mapping[str, object], folder: Path) -> C:
    """`raw` as `kind`; ModelError names the field at fault."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ModelError(
            f"config.json does not describe a model: {place + ': ' if place else ''}{first['msg']}",
            where=str(folder / "config.json"),
            next_step=WHOLE_FOLDER,
        ) from error


def load_weights(network: nn.Module, folder: Path) -> None:
    """Puts `model.safetensors` into `network`; ModelError when it is missing, broken or of other shapes."""
    path = folder / "model.safetensors"
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"the weights cannot be read: {error}", where=str(path), next_step=WHOLE_FOLDER) from error
    try:
        network.load_state_dict({name: value.float() for name, value in weights.items()})
    except RuntimeError as error:
        raise ModelError("the weights do not fit config.json", where=str(folder), next_step=WHOLE_FOLDER) from error


def write_weights(network: nn.Module, *, half: bool = False) -> Callable[[Path], None]:
    """Writes `model.safetensors`, names in order; with `half` as float16, which is read as float32 again."""

    def write(path: Path) -> None:
        weights = {name: _stored(value, half) for name, value in network.state_dict().items()}
        save_file(dict(sorted(weights.items())), path, metadata={"format": "pt"})

    return write


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    value = value.detach().cpu()
    return (value.half() if half and value.is_floating_point() else value).contiguous()


def write_json(value: object) -> Callable[[Path], None]:
    """Writes `value` as JSON with sorted keys."""
    text = json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n"

    def write(path: Path) -> None:
        path.write_text(text, encoding="utf-8")

    return write


def check_head(tokens: int, outputs: int, folder: Path) -> None:
    """ModelError where the vocabulary and the output layer differ in size."""
    if tokens != outputs:
        raise ModelError(
            f"vocab.json holds {tokens} tokens, config.json says {outputs}",
            where=str(folder),
            next_step=WHOLE_FOLDER,
        )


def taken_up(network: CtcNetwork, old: Characters, texts: Sequence[str], start: Start) -> Characters:
    """Gives `network` the output layer that `start.head` asks for and returns its characters.

    "new" (and "auto"): the characters of `texts`, all rows drawn anew. "extend": the old rows bit for bit and a new row
    for each character that `texts` add. "keep": nothing changes.
    """
    if start.head == "keep":
        return old
    if start.head == "extend":
        seen = set(old.letters)
        added = sorted({letter for text in texts for letter in unicodedata.normalize("NFC", text)} - seen)
        characters = Characters((*old.letters, *added))
        network.head = longer(cast(nn.Linear, network.head), len(characters))
        return characters
    characters = Characters.of([" ", *texts])
    network.head = nn.Linear(network.width, len(characters))
    return characters


def longer(head: nn.Linear, outputs: int) -> nn.Linear:
    """A linear layer with `outputs` rows whose first rows are those of `head`; the added ones are drawn small."""
    grown = nn.Linear(head.in_features, outputs, bias=head.bias is not None)
    with torch.no_grad():
        grown.weight[: head.out_features] = head.weight
        grown.weight[head.out_features :].normal_(std=0.02)
        if head.bias is not None:
            grown.bias[: head.out_features] = head.bias
            grown.bias[head.out_features :] = head.bias.min()
    return grown
