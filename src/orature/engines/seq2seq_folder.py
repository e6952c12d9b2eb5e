"""Model folders of encoder-decoders, transducers and LLM recognisers: what `hf_folder` does not know of them.

Example::

    need_files(folder, ("tokenizer.json",), ("vocab.json", "merges.txt"))
    files = model_files(model, {"feature_size": 80})
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from orature.core.errors import ModelError
from orature.engines.hf_folder import plain_config, quiet
from orature.engines.lora import plain_state
from orature.engines.native_folder import write_json
from orature.engines.vocabulary import Files

_WHENCE = frozenset({"is_local", "local_files_only", "name_or_path", "additional_special_tokens"})
"""Settings that tell where a tokenizer was read from; the last one is another name of what is written beside it."""


def need_files(folder: Path, *choices: tuple[str, ...]) -> None:
    """ModelError unless all files of one of `choices` are in `folder` (a tokenizer's files)."""
    if any(all((folder / name).is_file() for name in choice) for choice in choices):
        return
    lacking = next(name for name in choices[0] if not (folder / name).is_file())
    raise ModelError(
        f"the tokenizer is missing: there is no {lacking}",
        where=str(folder),
        next_step="copy the tokenizer's files of this checkpoint into the folder: "
        + " or ".join(" and ".join(choice) for choice in choices),
    )


def model_files(model: Any, extractor: Mapping[str, Any]) -> Files:
    """config.json, generation_config.json, preprocessor_config.json and model.safetensors of `model`."""
    config = plain_config(model.config)
    config["architectures"] = [type(model).__name__]
    files: Files = {
        "config.json": write_json(config),
        "preprocessor_config.json": write_json(dict(extractor)),
        "model.safetensors": _weights(model),
    }
    generation = getattr(model, "generation_config", None)
    if generation is not None:
        table = json.loads(generation.to_json_string(use_diff=True))
        table.pop("transformers_version", None)
        files["generation_config.json"] = write_json(table)
    return files


def saved_files(save: Callable[[str], Any]) -> Files:
    """What `save(folder)` of a tokenizer or processor writes, as files of a model folder."""
    with tempfile.TemporaryDirectory() as folder:
        save(folder)
        contents = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.is_file()}
    files = {name: _bytes(data) for name, data in contents.items()}
    settings = contents.get("tokenizer_config.json")
    if settings is not None:
        table = {key: value for key, value in json.loads(settings).items() if key not in _WHENCE}
        files["tokenizer_config.json"] = write_json(table)
    return files


def _bytes(data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def _weights(model: Any) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        tied = set(model._tied_weights_keys or {}) if getattr(model.config, "tie_word_embeddings", True) else set()
        state = {name: value for name, value in plain_state(model).items() if name not in tied}
        weights = {name: value.detach().cpu().contiguous() for name, value in sorted(_once(state).items())}
        save_file(weights, path, metadata={"format": "pt"})

    return write


def _once(state: Mapping[str, Any]) -> dict[str, Any]:
    """Each tensor under one name only (`shared` where encoder, decoder and output share an embedding)."""
    kept: dict[int, str] = {}
    for name in sorted(state, key=lambda name: (not name.endswith("shared.weight"), name)):
        kept.setdefault(state[name].data_ptr(), name)
    return {name: value for name, value in state.items() if kept[value.data_ptr()] == name}


def fast_tokenizer(folder: Path) -> Any:
    """The tokenizer of tokenizer.json; ModelError where it cannot be read."""
    from transformers import PreTrainedTokenizerFast

    try:
        with quiet():
            return PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the tokenizer cannot be read: {error}", where=str(folder), next_step="copy the whole folder again"
        ) from error
