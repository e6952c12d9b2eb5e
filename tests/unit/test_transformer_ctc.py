"""The Transformer with CTC of multilingual pseudo-labelling: its size, its arithmetic, and its model folder."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from orature.core.errors import ModelError
from orature.engines import transformer_family
from orature.engines.characters import Characters
from orature.engines.families import Start, family_of
from orature.engines.features import LogMel
from orature.engines.transformer_ctc import Layer, TransformerConfig, TransformerCtc, by_key

SIZE = {"width": 24, "layers": 2, "heads": 2, "feed_forward": 2}


def small(norm: str = "after", context: int = 7, vocabulary: int = 11, **fields: object) -> TransformerCtc:
    torch.manual_seed(5)
    config = TransformerConfig(vocabulary=vocabulary, norm=norm, context=context, **SIZE, **fields)  # type: ignore[arg-type]
    network = TransformerCtc(config)
    with torch.no_grad():  # every weight counts in what follows
        for weight in network.parameters():
            weight += 0.05 * torch.randn_like(weight)
        for layer in network.layers:
            assert isinstance(layer, Layer)
            layer.attention.positions.normal_()
    return network.eval()


def speech(*seconds: float) -> tuple[Tensor, Tensor]:
    """Padded noise (B, S) and its lengths (B,)."""
    draw = torch.Generator().manual_seed(1)
    lengths = [int(16_000 * s) for s in seconds]
    samples = torch.zeros(len(lengths), max(lengths))
    for row, length in zip(samples, lengths, strict=True):
        row[:length] = 0.1 * torch.randn(length, generator=draw)
    return samples, torch.tensor(lengths)


def test_parameters_of_the_paper() -> None:
    """Base is stated as 275 M and large as 1.06 B with 8,065 characters."""
    counts = {}
    for size in ("tiny", "small", "base", "large"):
        with torch.device("meta"):
            network = TransformerCtc(
                TransformerConfig.of_size(size, vocabulary=8065 if size in ("base", "large") else 40)
            )
        counts[size] = sum(weight.numel() for weight in network.parameters())
    layer = 4 * 768**2 + 2 * 768 * 3072 + (2 * 920 - 1) * 192 + 2 * 2 * 768
    assert counts["base"] == 36 * layer + 80 * 7 * 1536 + 1536 + 2 + 768 * 8065 + 8065
    assert round(counts["base"] / 1e6) == 275
    assert round(counts["large"] / 1e9, 2) == 1.06
    assert 2e6 < counts["tiny"] < 3e6 and 10e6 < counts["small"] < 13e6


def reference(network: TransformerCtc, samples_S: Tensor) -> Tensor:
    """Logits (T, V) of one recording by plain loops over heads, steps and distances, in float64."""
    config, state = network.config, {name: w.double() for name, w in network.state_dict().items()}
    frames, _ = LogMel(config.mels, "hamming")(samples_S[None], torch.tensor([len(samples_S)]))
    x = frames[0].double()
    x = (x - x.mean()) / torch.sqrt(((x - x.mean()) ** 2).mean() + 1e-5)
    x = x * state["front.norm.gain"] + state["front.norm.bias"]
    kernel, bias = state["front.conv.weight"], state["front.conv.bias"]
    hidden = []
    for middle in range(0, len(x), 3):
        total = bias.clone()
        for tap in range(7):
            if 0 <= middle + tap - 3 < len(x):
                total += kernel[:, :, tap] @ x[middle + tap - 3]
        hidden.append(total[: config.width] * torch.sigmoid(total[config.width :]))
    x = torch.stack(hidden)
    for number in range(config.layers):
        of_layer = f"layers.{number}."
        own = {name.removeprefix(of_layer): w for name, w in state.items() if name.startswith(of_layer)}
        x = reference_layer(config, own, x)
    if config.norm == "before":
        x = F.layer_norm(x, x.shape[1:], state["norm.weight"], state["norm.bias"])
    return x @ state["head.weight"].T + state["head.bias"]


def reference_layer(config: TransformerConfig, own: dict[str, Tensor], x: Tensor) -> Tensor:
    def norm(name: str, value: Tensor) -> Tensor:
        return F.layer_norm(value, value.shape[1:], own[name + ".weight"], own[name + ".bias"])

    def attend(value: Tensor) -> Tensor:
        size = config.width // config.heads
        q_all, k_all, v_all = (value @ own["attention.qkv.weight"].T).split(config.width, dim=1)
        heads = []
        for head in range(config.heads):
            q, k, v = (one[:, head * size : (head + 1) * size] for one in (q_all, k_all, v_all))
            rows = []
            for i in range(len(value)):
                scores = []
                for j in range(len(value)):
                    distance = max(-(config.context - 1), min(config.context - 1, j - i))
                    place = own["attention.positions"][distance + config.context - 1]
                    scores.append(float(q[i] @ (k[j] + place)) / math.sqrt(size))
                rows.append(torch.tensor(scores, dtype=torch.float64).softmax(0) @ v)
            heads.append(torch.stack(rows))
        return torch.cat(heads, dim=1) @ own["attention.out.weight"].T

    def feed_forward(value: Tensor) -> Tensor:
        return F.relu(value @ own["wide.weight"].T) @ own["narrow.weight"].T

    if config.norm == "before":
        x = x + attend(norm("attention_norm", x))
        return x + feed_forward(norm("feed_forward_norm", x))
    x = norm("attention_norm", x + attend(x))
    return norm("feed_forward_norm", x + feed_forward(x))


@pytest.mark.parametrize("norm", ["after", "before"])
@pytest.mark.parametrize(("seconds", "context"), [(0.5, 40), (0.5, 4), (0.03, 4)])
def test_logits_are_those_of_plain_loops(norm: str, seconds: float, context: int) -> None:
    network = small(norm, context)
    samples, lengths = speech(seconds)
    with torch.no_grad():
        logits, steps = network(samples, lengths)
        expected = reference(network, samples[0])
    assert int(steps[0]) == len(expected) == network.steps(int(lengths[0]))
    torch.testing.assert_close(logits[0].double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["after", "before"])
def test_a_padded_batch_gives_what_each_recording_gives_alone(norm: str) -> None:
    network = small(norm)
    samples, lengths = speech(0.9, 0.31, 0.02, 1.3)  # the third is shorter than one frame
    with torch.no_grad():
        logits, steps = network(samples, lengths)
        for number, length in enumerate(lengths.tolist()):
            alone, count = network(samples[number : number + 1, :length], lengths[number : number + 1])
            assert int(count) == int(steps[number]) == network.steps(length)
            torch.testing.assert_close(logits[number, : int(count)], alone[0, : int(count)], rtol=1e-4, atol=1e-4)


def test_scores_by_distance_become_scores_by_key() -> None:
    for steps in (1, 2, 5):
        given = torch.randn(2, 3, steps, 2 * steps - 1)
        wanted = torch.empty(2, 3, steps, steps)
        for i in range(steps):
            for j in range(steps):
                wanted[:, :, i, j] = given[:, :, i, j - i + steps - 1]
        assert torch.equal(by_key(given), wanted)


def test_training_leaves_layers_out_and_every_weight_still_has_a_gradient() -> None:
    network = small("before", dropout=0.0, layer_drop=0.999).train()
    samples, lengths = speech(0.4)
    logits, _ = network(samples, lengths)
    bare = network.head(network.norm(network.front(*network.log_mel(samples, lengths), None)))
    torch.testing.assert_close(logits, bare)
    logits.sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    spans = (torch.tensor([[[0, 40]]]), torch.tensor([[[0, 0]]]))
    with torch.no_grad():
        masked, plain = (network.eval().encode(samples, lengths, spans=given)[0] for given in (spans, None))
    torch.testing.assert_close(masked[:, 4:12], masked[:, 4:5].expand(-1, 8, -1), rtol=0.0, atol=10.0)
    assert not torch.allclose(masked, plain)


def test_parts_name_every_weight_once() -> None:
    network = small("before")
    named = [id(weight) for part in network.parts().values() for weight in part]
    assert sorted(named) == sorted(id(weight) for weight in network.parameters())


def test_two_utterances_are_learned_by_heart() -> None:
    torch.manual_seed(1)
    characters = Characters.of(["wasi yaku", "shuk"])
    network = TransformerCtc(TransformerConfig.of_size("micro", vocabulary=len(characters), dropout=0.0)).train()
    samples, lengths = speech(0.8, 0.6)
    targets = [characters.encode("wasi yaku"), characters.encode("shuk")]
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    joined = torch.tensor([token for one in targets for token in one])
    counts = torch.tensor([len(one) for one in targets])
    for _ in range(60):
        logits, steps = network(samples, lengths)
        loss = F.ctc_loss(logits.log_softmax(-1).transpose(0, 1), joined, steps, counts)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    network.eval()
    logits, steps = network(samples, lengths)
    for row, count, wanted in zip(logits.argmax(-1), steps.tolist(), targets, strict=True):
        path = torch.unique_consecutive(row[:count])
        assert [token for token in path.tolist() if token] == wanted


def folder_of(path: Path, network: TransformerCtc, characters: Characters) -> Path:
    path.mkdir()
    for name, write in transformer_family.files(network, characters).items():
        write(path / name)
    return path


def test_a_model_folder_gives_back_the_same_network(tmp_path: Path) -> None:
    characters = Characters.of(["wasi yaku"])
    network = small(vocabulary=len(characters))
    folder = folder_of(tmp_path / "m", network, characters)
    assert family_of(folder).where.endswith("transformer_family")
    again, vocabulary = transformer_family.load(folder)
    samples, lengths = speech(0.5)
    assert torch.equal(again.eval()(samples, lengths)[0], network(samples, lengths)[0]) and vocabulary == characters
    twice = folder_of(tmp_path / "n", again, vocabulary)
    assert all((folder / f.name).read_bytes() == f.read_bytes() for f in twice.iterdir())


def test_a_model_is_taken_up_with_a_new_longer_or_kept_head(tmp_path: Path) -> None:
    characters = Characters.of(["wasi yaku"])
    folder = folder_of(tmp_path / "m", small(vocabulary=len(characters)), characters)
    old, _ = transformer_family.load(folder)
    extended, more = transformer_family.begin(folder, ["wasi ñuka"], Start(head="extend", overrides={"dropout": 0.3}))
    assert more.letters == (*characters.letters, "ñ")
    assert torch.equal(extended.head.weight[: len(characters)], old.head.weight)
    assert torch.equal(extended.head.bias[: len(characters)], old.head.bias)
    assert extended.config.dropout == extended.layers[0].dropout.p == 0.3
    fresh, new = transformer_family.begin(folder, ["ñuka"], Start())
    assert new == Characters.of([" ", "ñuka"]) and fresh.head.out_features == len(new)
    kept, same = transformer_family.begin(folder, ["ñuka"], Start(head="keep"))
    assert same == characters and torch.equal(kept.head.weight, old.head.weight)
    assert torch.equal(fresh.layers[1].wide.weight, old.layers[1].wide.weight)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 25}, "divided"),
        ({"layers": "many"}, "layers"),
        ({"vocabulary": 40}, "do not fit"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_folders_get_one_clear_sentence(tmp_path: Path, change: dict[str, object], said: str) -> None:
    characters = Characters.of(["wasi"])
    folder = folder_of(tmp_path / "m", small(vocabulary=len(characters)), characters)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(ModelError, match=said):
        transformer_family.load(folder)
    with pytest.raises(ModelError, match="override"):
        transformer_family.begin(folder, [], Start(overrides={"depth": 3}))


def test_the_window_is_hammings() -> None:
    window = LogMel(80, "hamming").window_F.numpy()
    expected = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 399)
    np.testing.assert_allclose(window, expected, atol=1e-6)
    assert LogMel().window_F[0] == 0.0
