"""What is done to training audio: speed, warping, rooms, noise, babble, codecs, loudness and SpecAugment.

Example::

    AugmentConfig(time_mask_p=0.75, time_mask_length=20, channel_mask_p=0.25, channel_mask_length=64)
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, Field, model_validator

from orature.data.codecs import CODECS, Codec

Range = tuple[float, float]


class AugmentConfig(BaseModel, frozen=True, extra="forbid"):
    """What is done to training audio; every draw follows from the seed, the epoch and the utterance.

    SpecAugment has two forms. By number (Park et al. 2019; slimIPL): `time_masks` and `mel_masks` spans of random width
    from 0 to a most. By share (wav2vec 2.0 fine-tuning, Baevski et al. 2020, appendix A; fairseq): the number of masks
    is p x size / length, rounded up or down at random, and all are `length` wide; p is what the masks would cover if
    none overlapped. A p above zero replaces the masks by number of that axis. Time is counted in frames of 10 ms, so
    that the published mask of 10 steps of wav2vec 2.0 (20 ms each) is 20 frames.
    """

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    """Speed factors, drawn evenly (Ko et al. 2015, "Audio augmentation for speech recognition")."""
    warp: float = Field(default=0.12, ge=0.0, le=0.24)
    """Vocal tract length perturbation: frequencies scaled by 1 - warp to 1 + warp."""
    noise_probability: float = Field(default=0.4, ge=0.0, le=1.0)
    snr_db: Range = (5.0, 30.0)
    gain_db: float = 6.0
    join_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that an utterance is followed by a second one of the same split in one training example."""
    time_masks: int = Field(default=4, ge=0)
    time_mask_frames: int = Field(default=20, ge=0)
    time_mask_share: float = Field(default=0.1, ge=0.0, le=1.0)
    """No time mask by number is longer than this share of its utterance."""
    mel_masks: int = Field(default=2, ge=0)
    mel_mask_bins: int = Field(default=15, ge=0)
    masks_from_update: int = Field(default=0, ge=0)
    time_mask_p: float = Field(default=0.0, ge=0.0, le=1.0)
    time_mask_length: int = Field(default=20, ge=1)
    """Frames of 10 ms that each time mask by share covers."""
    time_mask_least: int = Field(default=2, ge=0)
    """Time masks by share that even a short utterance gets (fairseq and transformers: 2)."""
    channel_mask_p: float = Field(default=0.0, ge=0.0, le=1.0)
    channel_mask_length: int = Field(default=64, ge=1)
    """Neighbouring bins or channels (of the network's `mask_bins`) that each mask by share covers."""
    reverb_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that an utterance is heard through a simulated room, see `orature.train.rooms`."""
    rt60_s: Range = (0.1, 0.8)
    """Reverberation times of the rooms: seconds in which sound falls by 60 dB."""
    rooms: int = Field(default=64, ge=1)
    """Impulse responses in the pool of a run."""
    babble_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that other training utterances are mixed in as a crowd in the background."""
    babble_voices: tuple[int, int] = (3, 7)
    babble_snr_db: Range = (13.0, 20.0)
    codec_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Chance that an utterance passes through one of `codecs`."""
    codecs: tuple[Codec, ...] = CODECS

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name in ("snr_db", "rt60_s", "babble_snr_db", "babble_voices"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: {low:g} is more than {high:g}; give the smaller number first")
        if self.rt60_s[0] <= 0 or self.babble_voices[0] < 1:
            raise ValueError("rt60_s must be above 0 s, babble_voices at least 1")
        if self.codec_probability > 0 and not self.codecs:
            raise ValueError("codec_probability is above 0 but codecs is empty; name at least one")
        if any(not speed > 0 for speed in self.speeds):
            raise ValueError("speeds must be above 0")
        return self
