"""Everything that decides what a training run computes; the defaults by scale and by hours of speech.

Example::

    TrainConfig.for_scale("dev", hours=1.8).model_copy(update={"peak_lr": 5e-4})
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator

from orature.engines.conformer import ConformerConfig
from orature.engines.features import Normalisation
from orature.engines.transformer_ctc import TransformerConfig
from orature.train.augment_config import AugmentConfig
from orature.train.mixing import MixConfig
from orature.train.prior_config import PriorConfig

__all__ = ["AugmentConfig", "MixConfig", "PriorConfig", "Scale", "TrainConfig"]

Scale = Literal["smoke", "dev", "full"]
_SHORT_S = 1.5
_FEW_SPEAKERS = 10


def sizes_of(network: str) -> tuple[str, ...]:
    """The sizes in which a network can be made from nothing."""
    if network in ("conformer", "encoder-decoder"):
        return ConformerConfig.sizes()
    return TransformerConfig.sizes() if network == "transformer" else ("tiny", "small")


class TrainConfig(BaseModel, frozen=True, extra="forbid"):
    """A training run, from nothing or from a checkpoint; learning rates are for AdamW, times in seconds of audio."""

    network: Literal["conformer", "transformer", "speech2text", "encoder-decoder"] = "conformer"
    """What is trained from nothing; a checkpoint brings its own. encoder-decoder: a Conformer with an attention decoder
    and a CTC head, which also takes up the encoder of a Conformer."""
    size: str = "tiny"
    """Size of a network from nothing, see `ConformerConfig`, `TransformerConfig` and `EncoderDecoderConfig.of_size`."""
    subsampling: Literal["auto", 2, 4] = "auto"
    normalisation: Normalisation = "mean-variance"
    """Of the features, an utterance at a time; see `orature.engines.features.normalise`."""
    dropout: float = 0.1
    case: Literal["keep", "lower"] = "lower"
    punctuation: Literal["keep", "strip"] = "strip"

    head: Literal["auto", "new", "extend", "keep"] = "auto"
    """The output layer of a checkpoint, see `orature.engines.families.Start`."""
    start_parts: Literal["all", "encoder", "encoder+decoder"] = "all"
    """What of an encoder-decoder is taken up; the rest is drawn anew, with the texts' own vocabulary. The body of the
    decoder is without its embeddings and output layer."""
    prior: PriorConfig = PriorConfig()
    """What a new output layer on a model of phones begins as."""
    model_overrides: dict[str, float | int | bool | str] = Field(default_factory=dict)
    """Fields of the checkpoint's own config, dropouts above all; for Whisper also `short_windows` (true: each clip is
    computed as long as it is, not as 30 s, see `orature.engines.windows`)."""
    freeze: tuple[Literal["features", "encoder", "decoder"], ...] = ()
    """Parts that are never trained."""
    freeze_encoder_updates: int = Field(default=0, ge=0)
    """So many updates leave the encoder as it is: the output layer, or the decoder, learns alone."""
    train_only: Literal["all", "adapters", "lora", "head"] = "all"
    lora_rank: int = Field(default=16, ge=1)

    updates: int = Field(default=2000, ge=1)
    batch_seconds: float = Field(default=100.0, gt=0)
    accumulate: int = Field(default=1, ge=1)
    """Batches an update, shared out over the processes where there are several."""
    peak_lr: float = Field(default=2e-3, gt=0)
    schedule: Literal["cosine", "tri-stage", "linear", "inverse-sqrt", "constant"] = "cosine"
    """After the warm-up: a cosine, a line or a root down; held and then exponentially down (tri-stage); or level."""
    warmup_share: float = Field(default=0.1, ge=0.0, le=0.9)
    hold_share: float = Field(default=0.4, ge=0.0, le=1.0)
    """Of tri-stage: the share of the updates at the peak."""
    final_lr_share: float = Field(default=0.02, ge=0.0, le=1.0)
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    precision: Literal["fp32", "bf16"] = "fp32"
    compile: bool = False
    """torch.compile of the layers: for GPUs and long runs; it has brought nothing on CPUs (LOG.md)."""

    loss_scale: Literal["labels", "sqrt-length"] = "labels"
    """CTC: divided by the labels of the batch, or each utterance by the root of its length (slimIPL)."""
    lid_weight: float = Field(default=0.0, ge=0.0)
    """Weight of the language-identification loss where there are several languages."""
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Attention models only."""
    ctc_weight: float | None = Field(default=None, ge=0.0, le=1.0)
    """Of the CTC loss beside attention in an encoder-decoder of ours; None: 0.3. Translation wants it low."""
    mix: MixConfig = MixConfig()

    evaluate_every: int = Field(default=100, ge=1)
    patience: int = Field(default=30, ge=1)
    """Early stop after this many evaluations without a better dev figure."""
    stop_on_blanks: bool = True
    """Whether a run ends with an error where its second half writes nothing but blanks; else it scores as it is."""
    select: str = "cer"
    """What chooses the checkpoint on dev: cer (all utterances), macro-cer, language:xx, or loss."""
    average: int = Field(default=5, ge=1)
    """So many of the best checkpoints are averaged; the average is kept if it is better on dev."""
    overfit_clips: int = Field(default=16, ge=0)
    """The guard before a long run from nothing: can the model learn this many clips by heart? 0 leaves it out."""
    augment: AugmentConfig = AugmentConfig()
    seed: int = 1

    @model_validator(mode="after")
    def _a_known_size(self) -> Self:
        known = sizes_of(self.network)
        if self.size not in known:
            raise ValueError(f"there is no size {self.size!r} of the {self.network}; choose one of {', '.join(known)}")
        return self

    @classmethod
    def for_scale(cls, scale: Scale, *, hours: float, mean_s: float = 5.0, speakers: int = 100) -> TrainConfig:
        """Defaults for `hours` of training speech by `speakers` people in utterances of `mean_s` seconds on average.

        smoke: a few minutes on two cores, to see that all works; dev: ten to twenty minutes on two cores; full: until
        it has converged, on a GPU or over night. Isolated words (under 1.5 s on average) come in smaller batches; where
        fewer than ten people say them, they are joined in pairs and perturbed more strongly, which stands in for the
        voices that are missing and slows learning down. Chosen on dev splits, see LOG.md.
        """
        config = cls()
        if mean_s < _SHORT_S:
            config = cls(batch_seconds=40.0, updates=1600, peak_lr=1e-3, normalisation="mean")
        if mean_s < _SHORT_S and speakers < _FEW_SPEAKERS:
            strong = AugmentConfig(speeds=(0.8, 0.9, 1.0, 1.1, 1.2), warp=0.2, time_masks=2, join_probability=0.5)
            config = config.model_copy(update={"augment": strong, "dropout": 0.2})
        if scale == "smoke":
            return config.model_copy(update={"updates": 400, "evaluate_every": 80})
        if scale == "dev":
            return config
        big = hours >= 20.0
        size = "base" if big else "small"
        return config.model_copy(
            update={
                "size": size,
                "updates": 100_000 if big else 12_000,
                "batch_seconds": 400.0 if big else 200.0,
                "peak_lr": 5e-4 if big else 1e-3,
                "evaluate_every": 500 if big else 200,
                "precision": "bf16",
            }
        )
