"""One model from several that were fine-tuned from the same start: the weighted mean of their weights.

Averages of fine-tuned models (model soups, Wortsman et al. 2022, arXiv 2203.05482) often do better than each of them at
no cost in use; the average of a fine-tuned model with its start (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903) keeps
more of what the start knew, old languages above all. A negative weight takes a difference away: weights 1, 1, -1 add
what the second learnt beyond the third (task vectors, Ilharco et al. 2023, arXiv 2212.04089).

Example::

    average_models([Path("tuned"), Path("start")], Path("between"), weights=[0.7, 0.3])
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from orature.core.errors import ConfigError, ModelError
from orature.core.files import refuse_unwritable, write_beside
from orature.core.identity import digest_file
from orature.engines.facts import FACTS, facts_of
from orature.engines.families import family_of, read_config
from orature.engines.hf_folder import read_json, weight_files

_NO_MATTER = re.compile(
    r"drop|^_|^transformers_version$|dtype$|^mask_|^apply_spec_augment$|^gradient_checkpointing$|^ctc_|^architectures$"
)
"""Fields of config.json that say how a model was trained and not what its weights mean."""
_VOCABULARY = ("vocab.json", "vocab.txt", "tokenizer.json", "added_tokens.json", "merges.txt", "*.model")
_PROMPTING = ("post_processor", "truncation", "padding")
"""Parts of a tokenizer.json that say how texts are framed, not which token is which."""
_NOT_COPIED = {FACTS, "README.md", "training.json", "train_log.jsonl", "rejects.jsonl", "artefact.json"}
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx")
_ALIKE = 0.3
"""Models of one start are far above this cosine in most of their matrices, those of different starts near 0."""
_ONE_START = "average only models that were fine-tuned from the same start with the same vocabulary"


@dataclass(frozen=True, slots=True)
class _Source:
    folder: Path
    weight: float
    places: Mapping[str, tuple[Path, str]]
    """File and name in it of each tensor."""

    def tensor(self, key: str) -> Tensor:
        path, name = self.places[key]
        with safe_open(path, framework="pt") as file:
            value: Tensor = file.get_tensor(name)
        return value

    def shape(self, key: str) -> tuple[int, ...]:
        path, name = self.places[key]
        with safe_open(path, framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())


def average_models(
    models: Sequence[Path], to: Path, weights: Sequence[float] | None = None, name: str = ""
) -> dict[str, Any]:
    """Writes the mean of `models` (folders of one family) as a model folder `to` and returns what was done.

    `weights` add up to 1 (default: all the same). Sums are in float64, one tensor at a time, and kept in the type of
    the first model; whole numbers and all other files are the first model's; running statistics of batch norms are
    averaged like weights. ConfigError for wrong weights or a folder that is in use; ModelError where the models differ
    in family, shapes or vocabulary, or come from different starts.
    """
    shares = _shares(models, weights)
    refuse_unwritable(to)
    if to.exists() and any(to.iterdir()):
        raise ConfigError("the folder is not empty", where=str(to), next_step="name a new folder with --to")
    families = [family_of(folder) for folder in models]
    for folder in models[1:]:
        _refuse_unlike(models[0], folder)
    sources = [_Source(folder, share, _places(folder)) for folder, share in zip(models, shares, strict=True)]
    for source in sources[1:]:
        _refuse_unlike_shapes(sources[0], source)
    facts = _facts([facts_of(*pair) for pair in zip(models, families, strict=True)], shares, name)
    with write_beside(to) as part:
        part.mkdir()
        alike = [_mean_of_file(path, sources, part) for path in _files(models[0])]
        similarity = _typical([value for values in alike for value in values])
        if similarity < _ALIKE:
            raise ModelError(
                f"the models do not come from the same start: their matrices have a cosine of {similarity:.2f}, "
                "and the mean of such models recognises nothing",
                where=", ".join(map(str, models)),
                next_step=_ONE_START,
            )
        _copy_rest(models[0], part)
        facts["revision"] = "-".join(digest_file(path)[:16] for path in _files(part)[:4])
        _write_facts(part, facts, read_json(models[0] / "training.json", optional=True))
    return {
        "model": str(to),
        "averaged": [{"model": str(source.folder), "weight": source.weight} for source in sources],
        "tensors": len(sources[0].places),
        "similarity": round(similarity, 4),
    }


def _shares(models: Sequence[Path], weights: Sequence[float] | None) -> list[float]:
    if len(models) < 2:
        raise ConfigError("there is nothing to average", next_step="name at least two model folders")
    if weights is None:
        return [1 / len(models)] * len(models)
    if len(weights) != len(models):
        raise ConfigError(
            f"{len(models)} models but {len(weights)} weights", next_step="give one weight for each model, in order"
        )
    if not all(map(math.isfinite, weights)) or abs(sum(weights) - 1) > 1e-3:
        raise ConfigError(
            f"the weights add up to {sum(weights):g}, not to 1", next_step="for example --weights 0.7,0.3"
        )
    return [weight / sum(weights) for weight in weights]


def _refuse_unlike(first: Path, other: Path) -> None:
    """Family, config and vocabulary of two folders.

    A field of config.json that one of them lacks stands at its default there: folders written by other
    versions of transformers lack some. Shapes and the likeness of the weights are looked at later.
    """
    both = f"{first}, {other}"
    one, two = read_config(first), read_config(other)
    names = sorted(name for name in one.keys() & two.keys() if not _NO_MATTER.search(name))
    unlike = next((name for name in ["model_type", *names] if one.get(name) != two.get(name)), None)
    if unlike:
        what = f"the models differ: {unlike} is {one.get(unlike)!r} in one and {two.get(unlike)!r} in the other"
        raise ModelError(what, where=both, next_step=_ONE_START)
    for pattern in _VOCABULARY:
        for name in sorted({path.name for folder in (first, other) for path in folder.glob(pattern)}):
            if _content(first / name) != _content(other / name):
                raise ModelError(f"the models have different vocabularies ({name})", where=both, next_step=_ONE_START)
    policies = [read_json(folder / "training.json", optional=True).get("text_policy") for folder in (first, other)]
    if None not in policies and policies[0] != policies[1]:
        raise ModelError("the models learnt to write differently (case, punctuation)", where=both, next_step=_ONE_START)


def _content(path: Path) -> object:
    if not path.is_file():
        return None
    data = path.read_bytes()
    if path.suffix != ".json":
        return data
    try:
        found = json.loads(data)
    except ValueError:
        return data
    if path.name == "tokenizer.json" and isinstance(found, dict):
        return {name: value for name, value in found.items() if name not in _PROMPTING}
    return found


def _files(folder: Path) -> list[Path]:
    """The files of weights: the model, and per-language adapters beside it."""
    return [*weight_files(folder), *sorted(folder.glob("adapter.*.safetensors"))]


def _key(path: Path, name: str) -> str:
    """The adapters of different languages hold tensors of the same names."""
    return f"{path.name}: {name}" if path.name.startswith("adapter.") else name


def _places(folder: Path) -> dict[str, tuple[Path, str]]:
    places: dict[str, tuple[Path, str]] = {}
    for path in _files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                places |= {_key(path, name): (path, name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"the weights cannot be read: {error}", where=str(path), next_step="copy the whole folder again"
            ) from error
    return places


def _refuse_unlike_shapes(first: _Source, other: _Source) -> None:
    both = f"{first.folder}, {other.folder}"
    alone = sorted(first.places.keys() ^ other.places.keys())
    if alone:
        has = first if alone[0] in first.places else other
        raise ModelError(f"only {has.folder} has the weights {alone[0]}", where=both, next_step=_ONE_START)
    for key in first.places:
        one, two = first.shape(key), other.shape(key)
        if one != two:
            raise ModelError(
                f"the shapes differ: {key} is {one} in one and {two} in the other", where=both, next_step=_ONE_START
            )


def _mean_of_file(path: Path, sources: Sequence[_Source], into: Path) -> list[float]:
    """Writes one file of weights; returns the cosine of each matrix of the first model with those of the others."""
    means: dict[str, Tensor] = {}
    cosines: list[float] = []
    for key, (place, name) in sources[0].places.items():
        if place != path:
            continue
        first = sources[0].tensor(key)
        if not first.is_floating_point():
            means[name] = first
            continue
        total = sources[0].weight * first.double()
        for source in sources[1:]:
            other = source.tensor(key).double()
            total += source.weight * other
            if first.ndim > 1:
                cosines.append(float(torch.cosine_similarity(first.double().flatten(), other.flatten(), dim=0)))
        if not bool(total.isfinite().all()):
            raise ModelError(
                f"the weights {key} hold values that are not numbers",
                where=", ".join(str(source.folder) for source in sources),
                next_step="leave out the model whose training diverged (`orature doctor MODEL` names it)",
            )
        means[name] = total.to(first.dtype)
    save_file(dict(sorted(means.items())), into / path.name, metadata={"format": "pt"})
    return cosines


def _typical(cosines: Sequence[float]) -> float:
    """The median: fixed tables such as positions are the same in all models and say nothing."""
    return sorted(cosines)[len(cosines) // 2] if cosines else 1.0


def _copy_rest(folder: Path, into: Path) -> None:
    """Everything but weights and what tells of one training run; hidden files and folders stay behind."""
    for path in sorted(folder.iterdir()):
        kept = path.is_file() and not path.name.startswith(".") and path.suffix not in _WEIGHTS
        if kept and path.name not in _NOT_COPIED:
            shutil.copyfile(path, into / path.name)


def _facts(facts: Sequence[Mapping[str, str]], shares: Sequence[float], name: str) -> dict[str, str]:
    """The facts of the card: languages and licences of all models."""
    languages = dict.fromkeys(tag for one in facts for tag in one.get("languages", "").split(",") if tag)
    licences = dict.fromkeys(one["licence"] for one in facts if one.get("licence"))
    parts = [f"{share:.4g} x {one['name']} ({one['revision']})" for one, share in zip(facts, shares, strict=True)]
    return {
        "name": name or "average-of-" + "-".join(dict.fromkeys(one["name"].rsplit("/", 1)[-1] for one in facts)),
        "family": facts[0]["family"],
        "languages": ",".join(languages),
        "licence": "; ".join(licences) or "unknown",
        "averaged": " + ".join(parts),
    }


def _write_facts(into: Path, facts: Mapping[str, str], training: Mapping[str, Any]) -> None:
    """`orature.json`, a card, and of the training facts the one that still holds: how the model writes."""
    table = json.dumps(facts, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    (into / FACTS).write_text(table, encoding="utf-8")
    if "text_policy" in training:
        kept = json.dumps({"text_policy": training["text_policy"]}, ensure_ascii=False, indent=1, sort_keys=True)
        (into / "training.json").write_text(kept + "\n", encoding="utf-8")
    lines = ["---", "library_name: orature", "pipeline_tag: automatic-speech-recognition", "language:"]
    lines += [f"- {json.dumps(tag)}" for tag in facts["languages"].split(",") if tag]
    lines += ["---", "", f"# {facts['name']}", "", f"The mean of models: {facts['averaged']}.", ""]
    lines += [f"Licences of the models: {facts['licence']}.", "", "It has not been measured: `orature evaluate`.", ""]
    (into / "README.md").write_text("\n".join(lines), encoding="utf-8")
