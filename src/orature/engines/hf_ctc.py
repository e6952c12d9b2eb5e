"""What the CTC families of transformers share: masks, parts, a new or longer output layer, the files of a folder.

Three rules hold for all of them. Every utterance comes out of a padded batch as it comes out alone: features are
normalised over its own samples, and no convolution of the encoder sees anything but zeros past its end. No mask is
drawn here: `spans` come from the caller, placed where the reference places its own random ones. Batch norm keeps the
statistics of the checkpoint, so that a loss depends neither on the padding nor on what shares the batch.

Example::

    with zeros_past_the_end([(convolution, mask_BT)]):
        hidden_BTD = encoder(hidden_BTD, attention_mask=mask_BT)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.engines.families import Start
from orature.engines.hf_folder import extractor_of, plain_config
from orature.engines.lora import LORA, add_lora, plain_state
from orature.engines.native_folder import longer, write_json
from orature.engines.network import CtcNetwork, Part, Spans
from orature.engines.vocabulary import CtcVocabulary, Files

FRAME_SAMPLES = 160
HEADLESS = "there is no output layer: this checkpoint was only pre-trained, so there is nothing to decode with"


class HfCtcNetwork(CtcNetwork):
    """A `...ForCTC` model of transformers under the names of `CtcNetwork`."""

    head_name = "lm_head"
    front_names: tuple[str, ...] = ("feature_extractor",)
    processor = "Wav2Vec2Processor"

    def __init__(self, model: nn.Module, extractor: dict[str, Any]) -> None:
        super().__init__()
        self.model = model
        self.extractor = extractor
        self.width = cast(int, self.output_layer.weight.shape[1])

    @property
    def base(self) -> Any:
        """The body of the model."""
        return self.model.base_model

    @property
    def config(self) -> Any:
        """The config of transformers."""
        return self.model.config

    @property
    def output_layer(self) -> Any:
        """The output layer."""
        return getattr(self.model, self.head_name)

    @property
    def head(self) -> nn.Module:  # type: ignore[override]
        """Hidden states (B, T, D) to logits (B, T, V)."""
        return cast(nn.Module, getattr(self.model, self.head_name))

    def put_head(self, head: nn.Module) -> None:
        """Another output layer in place of the old one."""
        setattr(self.model, self.head_name, head)
        self.config.vocab_size = cast(Tensor, head.weight).shape[0]

    def fresh_head(self, outputs: int) -> nn.Module:
        """A new output layer, drawn as the reference draws it, from torch's generator."""
        head = nn.Linear(self.width, outputs)
        nn.init.normal_(head.weight, std=float(getattr(self.config, "initializer_range", 0.02)))
        nn.init.zeros_(head.bias)
        return head

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """Front end, encoder, adapters (of a language, or LoRA's matrices) and output layer."""
        found: dict[Part, list[nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            found.setdefault(self.part_of(name), []).append(parameter)
        return found

    def part_of(self, name: str) -> Part:
        """The part that the parameter `name` of the model belongs to."""
        pieces = name.split(".")
        if pieces[0] == self.head_name:
            return "head"
        if "adapter_layer" in pieces or any(piece in LORA for piece in pieces):
            return "adapters"
        return "features" if any(piece in self.front_names for piece in pieces) else "encoder"

    def train(self, mode: bool = True) -> HfCtcNetwork:
        """As in torch, but batch norm keeps its statistics."""
        super().train(mode)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()
        return self


def step_mask(steps_B: Tensor, steps: int) -> Tensor:
    """True where a step lies within its utterance, shape (B, T); at least one step is."""
    return torch.arange(steps, device=steps_B.device) < steps_B.clamp(min=1)[:, None]


@contextmanager
def zeros_past_the_end(convolutions: Iterable[tuple[nn.Module, Tensor]]) -> Iterator[None]:
    """Within it, each 1-D convolution sees zeros where its mask (B, T) is False, as it sees past the end of a tensor.

    Several references leave this out in some layer (the depthwise convolution of Wav2Vec2-Conformer, the second
    position convolution of data2vec, the adapters of wav2vec 2.0 and w2v-BERT), so that padding leaks into speech.
    """
    handles = [
        convolution.register_forward_pre_hook(
            lambda _, inputs, mask_BT=mask_BT: (inputs[0].masked_fill(~mask_BT[:, None, :], 0.0), *inputs[1:])
        )
        for convolution, mask_BT in convolutions
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def wide_convolutions(module: nn.Module) -> list[nn.Module]:
    """The 1-D convolutions that look further than one step."""
    return [one for one in module.modules() if isinstance(one, nn.Conv1d) and one.kernel_size[0] > 1]


def mask_hidden(hidden_BTD: Tensor, spans: Spans, embedding_D: Tensor | None, step_samples: int) -> Tensor:
    """SpecAugment as wav2vec 2.0 does it (Baevski et al. 2020, section 3.1 and appendix B): masked steps become a
    learned vector, masked channels become 0.

    Time spans count 10 ms frames; a step belongs to the frame in which it begins.
    """
    time_BN2, channels_BN2 = spans
    begins_T = torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device) * step_samples
    channels_D = torch.arange(hidden_BTD.shape[2], device=hidden_BTD.device)
    frames_BN2 = time_BN2 * FRAME_SAMPLES
    in_time_BT = ((begins_T >= frames_BN2[..., :1]) & (begins_T < frames_BN2[..., 1:])).any(dim=1)
    in_channel_BD = ((channels_D >= channels_BN2[..., :1]) & (channels_D < channels_BN2[..., 1:])).any(dim=1)
    masked = hidden_BTD.new_zeros(()) if embedding_D is None else embedding_D.to(hidden_BTD.dtype)
    hidden_BTD = torch.where(in_time_BT[:, :, None], masked, hidden_BTD)
    return hidden_BTD.masked_fill(in_channel_BD[:, None, :], 0.0)


def in_full(like: Tensor) -> torch.autocast:
    """Keeps mixed precision out: the sums of a mel bank lose the quiet bins in bfloat16."""
    return torch.autocast(like.device.type, enabled=False)


def forget_positions(encoder: nn.Module) -> None:
    """Drops cached position tables: one made in inference mode cannot be trained through."""
    for module in encoder.modules():
        if hasattr(module, "cached_sequence_length"):
            setattr(module, "cached_sequence_length", None)  # noqa: B010


def convolved(length: Tensor, convolution: nn.Conv1d) -> Tensor:
    """Lengths after a convolution."""
    padding = convolution.padding[0] if isinstance(convolution.padding, tuple) else 0
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    return torch.div(length + 2 * int(padding) - kernel, stride, rounding_mode="floor") + 1


def lengthened(network: HfCtcNetwork, outputs: int) -> None:
    """Gives the output layer rows for added tokens; the old ones stay bit for bit."""
    network.put_head(longer(cast(nn.Linear, network.output_layer), outputs))


def finish(network: HfCtcNetwork, vocabulary: CtcVocabulary, start: Start) -> None:
    """What all starts end with: the blank in the config, LoRA where it is asked for."""
    network.config.pad_token_id = vocabulary.blank
    for role in ("bos_token_id", "eos_token_id"):
        number = getattr(network.config, role, None)
        if isinstance(number, int) and number >= len(vocabulary):
            setattr(network.config, role, None)
    if start.lora_rank:
        add_lora(network, start.lora_rank)


def no_adapters(folder: Path, start: Start) -> None:
    """ModelError where adapters are asked of a family without them."""
    if start.adapters:
        raise ModelError(
            "this checkpoint has no adapters for languages",
            where=str(folder),
            next_step="take an MMS checkpoint (facebook/mms-1b-all), or train with LoRA instead",
        )


def needs_head(folder: Path, shapes: dict[str, tuple[int, ...]], name: str) -> int:
    """How many rows the output layer of a checkpoint has; ModelError when it has none."""
    rows = head_rows(shapes, name)
    if rows is None:
        raise ModelError(
            HEADLESS,
            where=str(folder),
            next_step=f"train it on transcribed speech first: orature train corpus --to model --start {folder.name}",
        )
    return rows


def head_rows(shapes: dict[str, tuple[int, ...]], name: str) -> int | None:
    """Rows of the output layer, None where the checkpoint has none."""
    shape = shapes.get(f"{name}.weight")
    return None if shape is None else shape[0]


def folder_files(network: HfCtcNetwork, vocabulary: CtcVocabulary, *, architecture: str | None = None) -> Files:
    """Weights (LoRA merged), config, feature extractor and tokenizer, as transformers reads them."""
    config = plain_config(network.config)
    config["architectures"] = [architecture or type(network.model).__name__]
    config["vocab_size"] = len(vocabulary)
    extractor = {**network.extractor, "processor_class": network.processor}
    return {
        "model.safetensors": lambda path: write_state(plain_state(network.model), path),
        "config.json": write_json(config),
        "preprocessor_config.json": write_json(extractor),
        **vocabulary.files(),
    }


def write_state(state: dict[str, Tensor], path: Path) -> None:
    """Weights as safetensors, names in order."""
    tensors = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    save_file(tensors, path, metadata={"format": "pt"})


def settings_of(folder: Path, *, kind: str) -> dict[str, Any]:
    """The feature extractor's settings; ModelError when they are for another kind of feature."""
    settings = extractor_of(folder)
    found = settings.get("feature_extractor_type", kind)
    if found != kind:
        raise ModelError(
            f"preprocessor_config.json is for {found}, this family hears by {kind}",
            where=str(folder / "preprocessor_config.json"),
            next_step="copy the whole checkpoint folder again",
        )
    return settings


def ratio(strides: Sequence[int]) -> int:
    """Samples a step covers."""
    return math.prod(strides)
