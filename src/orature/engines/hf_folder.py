"""Reading a checkpoint folder in the layout of transformers, with one clear sentence for each way it can be wrong.

Weights are read from safetensors only: a pickle runs code when it is opened. What a checkpoint lacks or has too much
is compared with what the family may lack, so that no part of an encoder is ever drawn anew in silence.

Example::

    config = config_of(folder, {"layerdrop": 0.0})
    model = load_model(folder, config, may_lack=("lm_head.",))
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn

from orature.core.errors import ConfigError, ModelError
from orature.core.identity import digest_file
from orature.core.types import RATE_HZ

WHOLE = "copy the whole checkpoint folder again"
PRETRAINING = (
    "quantizer.",
    "project_q.",
    "project_hid.",
    "final_proj.",
    "label_embs_concat",
    "label_embeddings_concat",
    "ctc_proj.",
    "speaker_proj.",
    "layer_norm_for_extract.",
    "projector.",
    "classifier.",
    "layer_weights",
    "mask_emb",
)
"""Names of weights that only self-supervised training or another task uses: nothing is lost without them."""
_FIXED = frozenset({"model_type", "vocab_size", "pad_token_id", "architectures", "dtype", "torch_dtype"})
_COMMIT = re.compile(r"[0-9a-f]{40}")


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps transformers from printing tables and progress bars: what matters is checked and raised here."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """A JSON file of names with values; ModelError when it is missing (unless `optional`) or broken."""
    if optional and not path.is_file():
        return {}
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path.name} cannot be read: {error}", where=str(path), next_step=WHOLE) from error
    if not isinstance(raw, dict):
        raise ModelError(f"{path.name} holds no names with values", where=str(path), next_step=WHOLE)
    return raw


def config_of(
    folder: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    inner: str | None = None,
    more: Mapping[str, bool] | None = None,
) -> Any:
    """The transformers config of a folder with `overrides` put in.

    `inner` names a sub-config (Parakeet's `encoder_config`) whose fields may be overridden too; `more` are fields of
    our own with their defaults, which a config that has the default does not hold. ConfigError for a name that the
    family does not have, with the nearest one that it has.
    """
    from transformers import AutoConfig

    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, TypeError, KeyError, StrictDataclassError) as error:
        raise ModelError(
            f"config.json does not describe a model: {_first_line(error)}",
            where=str(folder / "config.json"),
            next_step=WHOLE,
        ) from error
    for name, value in (more or {}).items():
        setattr(config, name, getattr(config, name, value))
    places = [config] if inner is None else [getattr(config, inner), config]
    for name, value in (overrides or {}).items():
        _override(places, name, value)
    for name, value in (more or {}).items():
        if getattr(config, name) == value:
            delattr(config, name)
    return config


def _override(places: Sequence[Any], name: str, value: Any) -> None:
    known = [{key for key in place.to_dict() if key not in _FIXED} for place in places]
    for place, names in zip(places, known, strict=True):
        if name not in names:
            continue
        old = getattr(place, name)
        if isinstance(old, (bool, int, float, str)) and not _alike(old, value):
            raise ConfigError(
                f"{name} is {old!r} in this checkpoint, so it cannot be {value!r}",
                where="model_overrides",
                next_step=f"give a value of the same kind ({type(old).__name__})",
            )
        setattr(place, name, value)
        return
    near = get_close_matches(name, sorted(set().union(*known)), n=3)
    raise ConfigError(
        f"this family's config has no field {name!r} to override",
        where="model_overrides",
        next_step="did you mean " + " or ".join(near) + "?" if near else "see the fields in config.json",
    )


def _alike(old: object, value: object) -> bool:
    if isinstance(old, bool) or isinstance(value, bool):
        return isinstance(old, bool) and isinstance(value, bool)
    if isinstance(old, (int, float)):
        return isinstance(value, (int, float))
    return isinstance(value, str)


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, from the headers of the safetensors files alone.

    ModelError where there are none, where they are pickled, cut short, or LoRA matrices without their model.
    """
    paths = weight_files(folder)
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as weights:
                found.update({name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()})  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(f"the weights cannot be read: {error}", where=str(path), next_step=WHOLE) from error
    return found


def weight_files(folder: Path) -> list[Path]:
    """`model.safetensors`, or its shards; ModelError where there are none."""
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            "the folder holds LoRA matrices, which are no model by themselves",
            where=str(folder),
            next_step="merge them into their model (peft: merge_and_unload, save_pretrained) and name that folder",
        )
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file():
        return [whole]
    if index.is_file():
        names = sorted(set(cast(dict[str, str], read_json(index).get("weight_map", {})).values()))
        missing = [name for name in names if not (folder / name).is_file()]
        if names and not missing:
            return [folder / name for name in names]
        raise ModelError("shards of the weights are missing", where=str(folder), next_step=WHOLE)
    pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in folder.glob(pattern))
    if pickles:
        raise ModelError(
            f"the weights are pickled ({pickles[0]}), and opening a pickle can run any code",
            where=str(folder),
            next_step="use a revision of the checkpoint with model.safetensors, or load it where you trust it and "
            "write it again: AutoModelForCTC (of a translator: AutoModelForSeq2SeqLM).from_pretrained(folder)"
            ".save_pretrained(new_folder)",
        )
    raise ModelError("there is no model.safetensors", where=str(folder), next_step=WHOLE)


def load_model(
    folder: Path,
    config: Any,
    *,
    auto: str = "AutoModelForCTC",
    may_lack: Sequence[str] = (),
    may_have: Sequence[str] = PRETRAINING,
) -> nn.Module:
    """The model in float32 with every weight accounted for; ModelError names the first that is missing or too much.

    `auto` is the class of transformers that builds it. `may_lack`: parts of names that may be missing and are then
    drawn anew from torch's generator (a new head); `may_have`: parts of names that may lie in the file unused.
    """
    import transformers

    shapes_of(folder)
    try:
        with quiet():
            model, info = getattr(transformers, auto).from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, StrictDataclassError) as error:
        raise ModelError(
            f"the weights do not fit config.json: {_first_line(error)}", where=str(folder), next_step=WHOLE
        ) from error
    lost = sorted(name for name in info["missing_keys"] if not any(part in name for part in may_lack))
    extra = sorted(name for name in info["unexpected_keys"] if not any(part in name for part in may_have))
    for names, what in ((lost, "lack"), (extra, "hold, without a place for them,")):
        if names:
            raise ModelError(
                f"the weights {what} {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""),
                where=str(folder),
                next_step="config.json and the weights are of different models: " + WHOLE,
            )
    return cast(nn.Module, model.eval())


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def extractor_of(folder: Path) -> dict[str, Any]:
    """The settings of the feature extractor; ModelError when they are missing or not for 16 kHz."""
    settings = read_json(folder / "preprocessor_config.json", optional=True)
    if not settings:
        settings = read_json(folder / "processor_config.json", optional=True).get("feature_extractor", {})
    if not settings:
        raise ModelError(
            "there is no preprocessor_config.json: how the model hears is unknown",
            where=str(folder),
            next_step=WHOLE,
        )
    rate = settings.get("sampling_rate", RATE_HZ)
    if rate != RATE_HZ:
        raise ModelError(
            f"the model hears audio of {rate} samples a second, Orature's is {RATE_HZ}",
            where=str(folder / "preprocessor_config.json"),
            next_step="take a checkpoint for 16 kHz",
        )
    return dict(settings)


def plain_config(config: Any) -> dict[str, Any]:
    """The config as written into a folder: nothing that depends on the place or the version of transformers."""
    table: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    for name in ("_name_or_path", "transformers_version", "torch_dtype"):
        table.pop(name, None)
    table["dtype"] = "float32"
    return table


def facts_of(folder: Path) -> dict[str, str]:
    """Name, languages (joined by commas), licence and revision, as the card (README.md) and the folder tell them.

    The revision is the commit where the folder is a snapshot of the hub, else a digest of the weights.
    """
    front = _front_matter(folder / "README.md")
    languages = _texts(front.get("language"))
    licences = _texts(front.get("license_name") if front.get("license") == "other" else front.get("license"))
    name, revision = folder.resolve().name, ""
    if _COMMIT.fullmatch(name) and folder.resolve().parent.name == "snapshots":
        revision = name
        name = folder.resolve().parents[1].name.removeprefix("models--").replace("--", "/")
    if not revision:
        revision = "-".join(digest_file(path)[:16] for path in weight_files(folder)[:4])
    facts = {"name": name, "languages": ",".join(languages), "revision": revision}
    if licences:
        facts["licence"] = ", ".join(licences)
    return facts


def _texts(value: object) -> list[str]:
    """YAML reads the tag `no` (Norwegian) as false."""
    values = value if isinstance(value, list) else [value]
    return ["no" if one is False else str(one) for one in values if one is not None]


def _front_matter(path: Path) -> dict[str, Any]:
    """The YAML table between the first two lines of `---`; a card without one, or with a broken one, tells nothing."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    parts = re.match(r"---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, flags=re.DOTALL)
    try:
        table = yaml.safe_load(parts[1]) if parts else None
    except yaml.YAMLError:
        return {}
    return table if isinstance(table, dict) else {}
