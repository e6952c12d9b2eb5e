"""Averages of models: tensor by tensor, whole folders, and a sentence for everything that cannot be averaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from typer.testing import CliRunner

from orature.cli.main import build
from orature.core.errors import ConfigError, ModelError
from orature.engines.recognisers import load_ctc
from orature.train.model_average import average_models
from tests.tiny import LATIN, model_in


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A model and one that was trained a little further."""
    one = model_in(tmp_path / "one", LATIN)
    return one, tuned(one, tmp_path / "two")


def change(folder: Path, how: Callable[[str, Tensor], Tensor], name: str = "model.safetensors") -> None:
    weights = {key: how(key, value).contiguous() for key, value in load_file(folder / name).items()}
    save_file(weights, folder / name, metadata={"format": "pt"})


def tuned(folder: Path, to: Path, seed: int = 5) -> Path:
    shutil.copytree(folder, to)
    draw = torch.Generator().manual_seed(seed)
    change(to, lambda _, v: v + 0.02 * torch.randn(v.shape, generator=draw) if v.is_floating_point() else v)
    return to


def weights(folder: Path) -> dict[str, Tensor]:
    read: dict[str, Tensor] = load_file(folder / "model.safetensors")
    return read


def facts(folder: Path) -> dict[str, str]:
    read: dict[str, str] = json.loads((folder / "orature.json").read_text("utf-8"))
    return read


def test_weights_are_averaged_as_told(pair: tuple[Path, Path], tmp_path: Path) -> None:
    done = average_models(pair, tmp_path / "mean", [0.7, 0.3])
    one, two, mean = (weights(folder) for folder in (*pair, tmp_path / "mean"))
    assert mean.keys() == one.keys()
    for name, value in mean.items():
        wanted = 0.7 * one[name].double() + 0.3 * two[name].double() if value.is_floating_point() else one[name]
        assert torch.equal(value, wanted.to(value.dtype)), name
    assert done["similarity"] > 0.9 and done["tensors"] == len(one)
    plain = average_models(pair, tmp_path / "plain", name="soup")
    assert [part["weight"] for part in plain["averaged"]] == [0.5, 0.5]
    assert facts(tmp_path / "plain")["name"] == "soup"


def test_equal_models_give_the_same_model(pair: tuple[Path, Path], tmp_path: Path) -> None:
    average_models([pair[0]] * 3, tmp_path / "same")
    for name, value in weights(tmp_path / "same").items():
        assert torch.equal(value, weights(pair[0])[name])


def test_a_difference_can_be_taken_away(pair: tuple[Path, Path], tmp_path: Path) -> None:
    average_models([pair[1], pair[0], pair[0]], tmp_path / "vector", [1.0, 1.0, -1.0])
    for name, value in weights(tmp_path / "vector").items():
        assert torch.allclose(value, weights(pair[1])[name])


def test_the_folder_is_a_model_with_honest_facts(pair: tuple[Path, Path], tmp_path: Path) -> None:
    table = facts(pair[1]) | {"name": "lab/other", "languages": "qu,yo", "licence": "CC-BY-4.0"}
    (pair[1] / "orature.json").write_text(json.dumps(table), encoding="utf-8")
    (pair[0] / "train_log.jsonl").write_text("{}\n", encoding="utf-8")
    average_models(pair, tmp_path / "mean")
    read = facts(tmp_path / "mean")
    assert read["languages"] == "qu,yo" and read["licence"] == "CC-BY-4.0"
    assert read["averaged"].startswith("0.5 x tried (") and "0.5 x lab/other (" in read["averaged"]
    assert read["revision"] and read["revision"] not in read["averaged"]
    training = json.loads((tmp_path / "mean" / "training.json").read_text("utf-8"))
    assert set(training) == {"text_policy"}, "scores of one model are not those of the mean"
    assert not (tmp_path / "mean" / "train_log.jsonl").exists()
    assert load_ctc(tmp_path / "mean").card.languages == ("qu", "yo")
    again = average_models(pair, tmp_path / "again")
    files = sorted(path.name for path in (tmp_path / "again").iterdir())
    assert again and all((tmp_path / "again" / n).read_bytes() == (tmp_path / "mean" / n).read_bytes() for n in files)


def test_unlike_models_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = model_in(tmp_path / "letters", ["abc"])
    with pytest.raises(ModelError, match="differ"):
        average_models([pair[0], other], tmp_path / "no")
    vocabulary = json.loads((pair[1] / "vocab.json").read_text("utf-8"))
    swapped = dict(zip(reversed(list(vocabulary)), vocabulary.values(), strict=True))
    (pair[1] / "vocab.json").write_text(json.dumps(swapped), encoding="utf-8")
    with pytest.raises(ModelError, match=r"different vocabularies \(vocab.json\)"):
        average_models(pair, tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_unlike_shapes_and_missing_weights_are_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    first = next(name for name, value in sorted(weights(pair[1]).items()) if value.ndim > 1)
    change(pair[1], lambda name, value: value[:-1] if name == first else value)
    with pytest.raises(ModelError, match=f"the shapes differ: {first}"):
        average_models(pair, tmp_path / "no")
    fewer = {name: value for name, value in weights(pair[1]).items() if name != first}
    save_file(fewer, pair[1] / "model.safetensors")
    with pytest.raises(ModelError, match=f"only .*one has the weights {first}"):
        average_models(pair, tmp_path / "no")
    (pair[1] / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ModelError, match="cannot be read"):
        average_models(pair, tmp_path / "no")
    (pair[1] / "model.safetensors").unlink()
    (pair[1] / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match="pickled"):
        average_models(pair, tmp_path / "no")


def test_models_of_different_starts_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(9)
    change(pair[1], lambda _, v: torch.randn(v.shape, generator=draw) * v.float().std() if v.ndim > 1 else v)
    with pytest.raises(ModelError, match="do not come from the same start"):
        average_models(pair, tmp_path / "no")
    assert not list(tmp_path.glob("no*")) and not list(tmp_path.glob(".*")), "nothing half-made is left"


def test_a_diverged_model_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    change(pair[1], lambda _, v: v * float("nan") if v.is_floating_point() else v)
    with pytest.raises(ModelError, match="not numbers"):
        average_models(pair, tmp_path / "no")


def test_another_way_of_writing_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    training = json.loads((pair[1] / "training.json").read_text("utf-8"))
    training["text_policy"]["case"] = "keep"
    (pair[1] / "training.json").write_text(json.dumps(training), encoding="utf-8")
    with pytest.raises(ModelError, match="write differently"):
        average_models(pair, tmp_path / "no")


@pytest.mark.parametrize(
    ("shares", "says"),
    [([0.5], "2 models but 1 weights"), ([0.5, 0.6], "add up to 1.1"), ([float("nan"), 1.0], "add up")],
)
def test_wrong_weights_are_refused(pair: tuple[Path, Path], tmp_path: Path, shares: list[float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        average_models(pair, tmp_path / "no", shares)


def test_one_model_and_a_folder_in_use_are_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="nothing to average"):
        average_models(pair[:1], pair[0].parent / "no")
    with pytest.raises(ConfigError, match="not empty"):
        average_models(pair, pair[0])
    (pair[0].parent / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match="is a file"):
        average_models(pair, pair[0].parent / "file")


def hugging_face(folder: Path, seed: int) -> Path:
    """A small wav2vec 2.0 folder as transformers writes it, weights in two shards, with adapters."""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.manual_seed(1)
    config = Wav2Vec2Config(
        **{"vocab_size": 9, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
        **{"intermediate_size": 48, "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2)},
        **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2},
        hidden_dropout=0.1 * seed,
    )
    model = Wav2Vec2ForCTC(config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(folder, max_shard_size="40KB")
    save_file({"lm_head.weight": torch.full((3, 2), float(seed))}, folder / "adapter.swh.safetensors")
    (folder / "vocab.json").write_text(json.dumps({"a": 0}), encoding="utf-8")
    (folder / "README.md").write_text("---\nlanguage: sw\nlicense: apache-2.0\n---\n", encoding="utf-8")
    return folder


def test_sharded_folders_of_transformers_and_their_adapters(tmp_path: Path) -> None:
    from transformers import Wav2Vec2ForCTC

    folders = [hugging_face(tmp_path / f"m{seed}", seed) for seed in (1, 2)]
    assert len(list(folders[0].glob("model-*.safetensors"))) > 1
    average_models(folders, tmp_path / "mean")
    one, two, mean = (Wav2Vec2ForCTC.from_pretrained(folder).state_dict() for folder in (*folders, tmp_path / "mean"))
    for name, value in mean.items():
        assert torch.allclose(value, (one[name] + two[name]) / 2, atol=1e-7), name
    assert load_file(tmp_path / "mean" / "adapter.swh.safetensors")["lm_head.weight"].unique().tolist() == [1.5]
    assert facts(tmp_path / "mean")["licence"] == "apache-2.0" and facts(tmp_path / "mean")["languages"] == "sw"
    (folders[1] / "adapter.swh.safetensors").unlink()
    with pytest.raises(ModelError, match=r"only .*m1 has the weights adapter.swh"):
        average_models(folders, tmp_path / "no")


def test_the_command(pair: tuple[Path, Path], tmp_path: Path) -> None:
    run = CliRunner().invoke
    to = str(tmp_path / "mean")
    done = run(build(), ["average", *map(str, pair), "--weights", "0.25,0.75", "--to", to, "--json"])
    assert done.exit_code == 0, done.output
    assert [part["weight"] for part in json.loads(done.stdout)["averaged"]] == [0.25, 0.75]
    plain = run(build(), ["average", *map(str, pair), "--to", str(tmp_path / "other")])
    assert "average of: 0.5 x" in plain.stdout
    for wrong in (["--weights", "a,b"], ["--weights", "0.5"]):
        failed = run(build(), ["average", *map(str, pair), "--to", str(tmp_path / "no"), *wrong])
        assert failed.exit_code == 2 and "Traceback" not in failed.output
