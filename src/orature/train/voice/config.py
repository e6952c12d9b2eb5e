"""Everything that decides what the training of a voice computes, with the published figures as defaults.

Example::

    config = VoiceConfig.for_scale("smoke", size="tiny", fine_tune=False)

Published (Kim, Kong, Son 2021, section 3.2 and the released configuration): AdamW with betas 0.8 and 0.99, weight decay
0.01, learning rate 2e-4 times 0.999875 an epoch, windows of 8192 samples, batches of 64 utterances a GPU on four, mel
loss times 45, 800,000 updates, full precision except on GPUs. What differs is marked as our judgement.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from orature.train.config import Scale

Size = Literal["tiny", "small", "base"]
Part = Literal["text_encoder", "flow", "decoder", "posterior_encoder", "duration_predictor"]
SIZES: tuple[str, ...] = ("tiny", "small", "base")
PARTS: tuple[str, ...] = ("text_encoder", "flow", "decoder", "posterior_encoder", "duration_predictor")

_SHRINK = {"tiny": 8, "small": 4, "base": 1}
_SHORT_S = 1.5
_FINE_TUNE_LR = 2e-5
"""Our judgement: a tenth of the published rate where a trained voice is to be kept."""


class VoiceConfig(BaseModel, frozen=True, extra="forbid"):
    """A training run of a voice; times in seconds of audio, rates for AdamW."""

    size: Size = "tiny"
    """Of a voice from nothing, see `architecture.SHAPES`; a checkpoint brings its own."""
    stochastic_durations: bool | None = None
    """From nothing: the published stochastic predictor of durations or a plain one; None: stochastic but for tiny."""
    case: Literal["keep", "lower"] = "lower"
    punctuation: Literal["keep", "strip"] = "strip"
    digits: Literal["reject", "keep"] = "reject"
    """Sentences with numbers that are not written out: what is said there is not what is spelled."""
    vocabulary: Literal["extend", "keep"] = "extend"
    """Of a checkpoint: add the letters that its vocabulary lacks, or reject the sentences that need them."""
    speakers: Literal["auto", "one", "several"] = "auto"
    """auto: an embedding for each speaker of train where there are several, none where there is one."""
    only_speaker: str = ""
    """Train on this speaker alone; the rows of the others are rejected and counted."""

    longest_s: float = Field(default=20.0, gt=0.5)
    """Longer recordings are rejected (attention and spectrograms of a batch grow with the longest)."""
    trim_db: float = Field(default=40.0, gt=0)
    """Heads and tails so far below the loud parts are silence and cut off."""
    keep_silence_s: float = Field(default=0.1, ge=0)
    """So much of it stays."""
    loudness_dbfs: float = Field(default=-24.0, lt=0)
    """Every recording is brought to this level (root mean square of what is not silence), peaks below full scale."""
    rate_factor: float = Field(default=4.0, gt=1)
    """Recordings so many times faster or slower (letters a second) than the median are rejected: the text is wrong."""

    updates: int = Field(default=3000, ge=1)
    batch_seconds: float = Field(default=32.0, gt=0)
    segment: int = Field(default=8192, ge=1024)
    """Samples of the windows that the decoder makes in training."""
    lr: float = Field(default=2e-4, gt=0)
    discriminator_lr: float = Field(default=2e-4, gt=0)
    lr_decay: float = Field(default=0.999875, gt=0, le=1)
    """Factor an epoch."""
    betas: tuple[float, float] = (0.8, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1000.0, gt=0)
    """Of the gradient of all trained weights; published is none, this only stops outliers."""
    mel_weight: float = Field(default=45.0, ge=0)
    kl_weight: float = Field(default=1.0, ge=0)
    duration_weight: float = Field(default=1.0, ge=0)

    freeze: tuple[Part, ...] = ()
    """Parts that are never trained."""
    posterior_warmup: int = Field(default=500, ge=0)
    """Where a checkpoint lacks its posterior encoder: so many updates train that alone before the rest is touched."""
    adversarial_from: int = Field(default=0, ge=0)
    """The update at which discriminators come in (published: 0); before, mel, divergence and durations alone."""
    discriminator_warmup: int = Field(default=0, ge=0)
    """For so many updates from there on the discriminators learn and the voice does not hear them yet."""
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)
    scales: Literal["vits", "hifigan", "none"] = "vits"
    shrink: int | None = Field(default=None, ge=1)
    """The channels of the discriminators are the published ones divided by this; None: by size (8, 4, 1)."""

    evaluate_every: int = Field(default=300, ge=1)
    patience: int = Field(default=20, ge=1)
    """Early stop after so many evaluations without a better dev figure."""
    dev_rows: int = Field(default=40, ge=1)
    """So many dev recordings, spread evenly, choose the checkpoint."""
    samples: int = Field(default=3, ge=0)
    """So many dev sentences are read aloud at each evaluation, for the report."""
    seed: int = 1

    @property
    def discriminator_shrink(self) -> int:
        return _SHRINK[self.size] if self.shrink is None else self.shrink

    @classmethod
    def for_scale(cls, scale: Scale, *, size: Size, fine_tune: bool, mean_s: float = 5.0) -> VoiceConfig:
        """Defaults of a scale: smoke takes minutes on two cores, dev an hour, full a GPU or days.

        Isolated words (utterances of `mean_s` seconds on average, under 1.5) come in smaller batches and windows, since
        the work of an update goes by the number of windows.
        Our judgement: short runs from nothing learn the spectrogram first and meet the discriminators late, at a higher
        rate, since adversarial training helps only once the sound is roughly right; fine-tuning takes a lower rate and
        lets the new discriminators learn before the voice hears them.
        """
        per_scale: dict[str, dict[str, Any]] = {
            "smoke": {"updates": 400, "batch_seconds": 16.0, "evaluate_every": 100, "dev_rows": 8, "samples": 2},
            "dev": {"updates": 6000, "batch_seconds": 24.0, "evaluate_every": 500, "dev_rows": 20},
            "full": {"updates": 100_000, "batch_seconds": 200.0, "evaluate_every": 2000, "dev_rows": 100},
        }
        values = dict(per_scale[scale], size=size)
        if mean_s < _SHORT_S:
            values |= {"batch_seconds": float(values["batch_seconds"]) / 4, "segment": 4096}
        updates = int(values["updates"])
        if fine_tune:
            values |= {"lr": _FINE_TUNE_LR, "discriminator_warmup": updates // 20, "posterior_warmup": updates // 5}
            values |= {"shrink": 1 if scale == "full" else 4}
        elif scale != "full":
            values |= {"lr": 1e-3 if scale == "smoke" else 5e-4, "adversarial_from": updates // 2}
        return cls(**values)
