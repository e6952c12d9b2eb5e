"""The network of a voice: from nothing in three sizes, from a checkpoint as it is, grown in vocabulary and speakers.

Example::

    made = from_nothing(config, VoiceText.of(texts), speakers=("",))
    made = from_checkpoint(Path("mms-tts-swh"), config, texts, speakers=("f01", "m02"))

The network is transformers' VitsModel, so that its weights are read by transformers as they are. Growing leaves what
was there untouched: rows of new letters and speakers are put after the old ones; a checkpoint of one speaker gets the
layers that take a speaker in with zero weights, so that each new speaker begins with the voice that was there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.utils import parametrize

from orature.core.errors import ModelError
from orature.engines.hf_folder import WHOLE, config_of, quiet, read_json, shapes_of
from orature.train.voice.config import VoiceConfig
from orature.train.voice.spectrograms import SpectrogramShape
from orature.train.voice.text import VoiceText

SPEAKERS = "speaker_names"
"""Field of config.json with the names of the speakers in the order of their numbers; transformers passes it by."""
_SPEAKER_WIDTH = {"tiny": 32, "small": 64, "base": 256}
_TRAINING_ONLY = "posterior_encoder."

SHAPES: dict[str, dict[str, Any]] = {
    "tiny": {
        "hidden_size": 96,
        "ffn_dim": 384,
        "num_hidden_layers": 3,
        "flow_size": 96,
        "posterior_encoder_num_wavenet_layers": 8,
        "prior_encoder_num_wavenet_layers": 3,
        "duration_predictor_filter_channels": 96,
        "upsample_initial_channel": 128,
        "upsample_rates": [8, 8, 4],
        "upsample_kernel_sizes": [16, 16, 8],
        "resblock_kernel_sizes": [3, 7],
        "resblock_dilation_sizes": [[1, 3], [1, 3]],
    },
    "small": {
        "hidden_size": 128,
        "ffn_dim": 512,
        "num_hidden_layers": 4,
        "flow_size": 128,
        "posterior_encoder_num_wavenet_layers": 12,
        "duration_predictor_filter_channels": 192,
        "upsample_initial_channel": 256,
    },
    "base": {},
}
"""Fields of transformers' VitsConfig; base is that of MMS-TTS (16 kHz, hop 256, 513 bins)."""


@dataclass(frozen=True, slots=True)
class MadeVoice:
    """A network with its text and speakers; `lacks` says that the posterior encoder is not trained yet."""

    model: Any
    text: VoiceText
    speakers: tuple[str, ...]
    lacks_posterior: bool = False
    new_tokens: tuple[str, ...] = ()
    new_speakers: tuple[str, ...] = ()

    @property
    def shape(self) -> SpectrogramShape:
        """Spectrograms as the network takes them in."""
        config = self.model.config
        return SpectrogramShape(
            rate_hz=int(config.sampling_rate),
            fft=2 * (int(config.spectrogram_bins) - 1),
            hop=math.prod(int(rate) for rate in config.upsample_rates),
        )

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())


def from_nothing(config: VoiceConfig, text: VoiceText, speakers: tuple[str, ...]) -> MadeVoice:
    """A network of `config.size`, drawn from `config.seed`; several `speakers` get an embedding each."""
    from transformers import VitsConfig, VitsModel

    several = len(speakers) > 1
    stochastic = config.size != "tiny" if config.stochastic_durations is None else config.stochastic_durations
    described = VitsConfig(
        **SHAPES[config.size],
        vocab_size=len(text),
        use_stochastic_duration_prediction=stochastic,
        num_speakers=len(speakers) if several else 1,
        speaker_embedding_size=_SPEAKER_WIDTH[config.size] if several else 0,
        pad_token_id=None,
    )
    _name_speakers(described, speakers)
    torch.manual_seed(config.seed)
    with quiet():
        model = VitsModel(described)
    _draw(model)
    return MadeVoice(_ready(model), text, speakers)


def from_checkpoint(
    folder: Path, config: VoiceConfig, texts: Iterable[str], speakers: tuple[str, ...] = ("",)
) -> MadeVoice:
    """The checkpoint in `folder`, its vocabulary extended for `texts` and its speakers for `speakers` where needed.

    ModelError where the folder holds no VITS model or weights are missing that speaking needs; a missing posterior
    encoder is drawn anew (`lacks_posterior`).
    """
    if read_json(folder / "config.json").get("model_type") != "vits":
        raise ModelError(
            "this is no checkpoint of VITS",
            where=str(folder / "config.json"),
            next_step="start from a folder of MMS-TTS or another VITS in the layout of transformers, or from nothing",
        )
    described, old_text = config_of(folder), VoiceText.read(folder)
    model, lacks = _loaded(folder, described, config.seed)
    text = old_text.extended(texts) if config.vocabulary == "extend" else old_text
    old_speakers = speakers_of(described)
    wanted = _all_speakers(old_speakers, speakers)
    torch.manual_seed(config.seed)
    if len(text) > described.vocab_size:
        _more_tokens(model, len(text))
    if len(wanted) > max(1, described.num_speakers):
        model = _more_speakers(model, len(wanted), _SPEAKER_WIDTH["base"])
    _name_speakers(model.config, wanted)
    return MadeVoice(
        _ready(model),
        text,
        wanted,
        lacks_posterior=lacks,
        new_tokens=tuple(name for name in text.tokens if name not in old_text.tokens),
        new_speakers=tuple(name for name in wanted if name not in old_speakers),
    )


def speakers_of(described: Any) -> tuple[str, ...]:
    """Names of the speakers that a transformers config holds; numbers where it names none, ("",) for a single one."""
    count = max(1, int(described.num_speakers))
    named = getattr(described, SPEAKERS, None)
    if isinstance(named, list) and len(named) == count:
        return tuple(str(name) for name in named)
    return ("",) if count == 1 else tuple(str(number) for number in range(count))


def _all_speakers(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    """Old speakers keep their numbers. A single nameless voice is fine-tuned into a single new one."""
    if len(new) == 1 and len(old) == 1:
        return new
    return (*old, *(name for name in new if name not in old))


def _name_speakers(described: Any, speakers: tuple[str, ...]) -> None:
    if any(speakers):
        setattr(described, SPEAKERS, list(speakers))


def _loaded(folder: Path, described: Any, seed: int) -> tuple[Any, bool]:
    """The model with every weight accounted for; whether the posterior encoder was missing and is drawn anew."""
    from transformers import VitsModel

    shapes_of(folder)
    torch.manual_seed(seed)
    try:
        with quiet():
            model, info = VitsModel.from_pretrained(
                folder,
                config=described,
                dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        said = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise ModelError(f"the weights do not fit config.json: {said}", where=str(folder), next_step=WHOLE) from error
    missing = sorted(info["missing_keys"])
    needed = [name for name in missing if not name.startswith(_TRAINING_ONLY)]
    if needed or info["mismatched_keys"]:
        names = needed or [str(key) for key in info["mismatched_keys"]]
        raise ModelError(
            f"the checkpoint lacks weights that the voice needs: {names[0]} and {len(names) - 1} more",
            where=str(folder),
            next_step=WHOLE,
        )
    if missing:
        torch.manual_seed(seed)
        _draw(model.posterior_encoder)
    return model, bool(missing)


def _ready(model: Any) -> Any:
    """Ready to be trained: weight normalisation on the decoder as it was published, no layers skipped."""
    if not any(parametrize.is_parametrized(layer) for layer in model.decoder.upsampler):
        model.decoder.apply_weight_norm()
    model.text_encoder.encoder.layerdrop = 0.0
    model.text_encoder.embed_tokens.padding_idx = None  # its row is the blank between letters and has to learn
    return model


def _draw(module: nn.Module) -> None:
    """Fresh weights as the released VITS draws them.

    Convolutions by torch's defaults (transformers' are drawn for inference only and saturate the decoder), embedding
    with deviation hidden^-0.5, attention by Xavier, and zeros where a flow shall begin as the identity.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            _draw_convolution(layer)
    encoder = getattr(module, "text_encoder", None)
    if encoder is not None:
        nn.init.normal_(encoder.embed_tokens.weight, std=encoder.embed_tokens.embedding_dim**-0.5)
        for layer in encoder.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        for block in module.flow.flows:  # type: ignore[union-attr]
            nn.init.zeros_(block.conv_post.weight)
            nn.init.zeros_(block.conv_post.bias)
    for name, layer in module.named_modules():
        if name.endswith("conv_proj") and ("flows." in name):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    embedding = getattr(module, "embed_speaker", None)
    if embedding is not None:
        nn.init.normal_(embedding.weight)


@torch.no_grad()
def _draw_convolution(layer: nn.Conv1d | nn.ConvTranspose1d) -> None:
    normalised = parametrize.is_parametrized(layer)
    weight = torch.empty_like(layer.weight)
    nn.init.kaiming_uniform_(weight, a=math.sqrt(5))
    layer.weight = weight if normalised else nn.Parameter(weight)
    if layer.bias is not None:
        reach = 1 / math.sqrt(weight[0].numel())
        nn.init.uniform_(layer.bias, -reach, reach)


@torch.no_grad()
def _more_tokens(model: Any, count: int) -> None:
    """Rows of new tokens, drawn with the spread of the old ones; the old rows are untouched."""
    old = model.text_encoder.embed_tokens.weight
    fresh = torch.randn(count - len(old), old.shape[1]) * old.std()
    table = nn.Embedding(count, old.shape[1], model.config.pad_token_id)
    table.weight.copy_(torch.cat([old, fresh]))
    model.text_encoder.embed_tokens = table
    model.config.vocab_size = count


@torch.no_grad()
def _more_speakers(model: Any, count: int, width: int) -> Any:
    """Rows of new speakers after the old ones: the mean voice for a start; what takes them in begins at zero."""
    from transformers import VitsConfig, VitsModel

    if model.config.speaker_embedding_size:
        old = model.embed_speaker.weight
        table = nn.Embedding(count, old.shape[1])
        table.weight.copy_(torch.cat([old, old.mean(0, keepdim=True).expand(count - len(old), -1)]))
        model.embed_speaker = table
        model.config.num_speakers = count
        return model
    described = VitsConfig(**{**model.config.to_dict(), "num_speakers": count, "speaker_embedding_size": width})
    with quiet():
        grown = VitsModel(described)
    kept = model.state_dict()
    lacking = grown.load_state_dict(kept, strict=False).missing_keys
    values = grown.state_dict()
    for name in lacking:
        if name != "embed_speaker.weight" and not name.endswith(
            "original1"
        ):  # the direction of a normalised weight, whose length is zero
            values[name].zero_()
    nn.init.normal_(grown.embed_speaker.weight)
    return grown
