"""What training and decoding ask of a neural network, so that one loop and one decoder serve every family.

A network takes raw samples: features are computed inside, as the family defines them. Shapes: B utterances, S samples,
T output steps, D hidden width, V tokens, L labels, N mask spans.

Example::

    logits_BTV, steps_B = network(samples_BS, lengths_B)      # a CtcNetwork
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn

Part = Literal["features", "encoder", "decoder", "adapters", "head"]
"""Parts that a freezing policy can name: the convolutional front end (or none), the body, the text decoder of an
encoder-decoder, per-language adapters or LoRA matrices, and the output layer."""
Spans = tuple[Tensor, Tensor]
"""SpecAugment spans: (first, past the last) of shape (B, N, 2), in 10 ms frames and in bins (see `mask_bins`)."""


class Network(nn.Module, ABC):
    """Common to all trainable networks."""

    mask_bins: int = 80
    """How many bins a frequency mask chooses from: mel bins, or channels of the hidden states (wav2vec 2.0)."""
    takes_warps: bool = False
    """Whether vocal tract length perturbation reaches the features."""

    @abstractmethod
    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """All parameters by part; a part that the family lacks is left out."""


class CtcNetwork(Network):
    """Samples to logits a step."""

    width: int
    """Hidden width before the output layer."""
    step_samples: int
    """Samples an output step covers (320 is 20 ms)."""
    head: nn.Module

    @abstractmethod
    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Hidden states (B, T, D) and valid steps an utterance (B,); `lengths_B` counts samples.

        Training may warp frequencies (`warps_B`, indices of `features.WARPS`) and mask `spans`.
        """

    def forward(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and valid steps (B,)."""
        hidden_BTD, steps_B = self.encode(samples_BS, lengths_B, warps_B, spans)
        return cast(Tensor, self.head(hidden_BTD)), steps_B

    @abstractmethod
    def steps(self, samples: int) -> int:
        """How many output steps a recording of `samples` samples gives."""


@dataclass(frozen=True, slots=True)
class Written:
    """One generated token sequence (special tokens left out) with the log-probability of each token."""

    tokens: tuple[int, ...]
    log_probabilities: tuple[float, ...]
    score: float
    """What the search ranks by: the sum, divided by the length penalty where there is one."""


class Seq2SeqNetwork(Network):
    """Samples to text by an attention decoder."""

    max_seconds: float | None = None
    """The longest recording that the family takes at once (Whisper: 30 s); None: no bound."""

    def padded_samples(self, samples: int) -> int:
        """As how many samples a recording of `samples` samples is computed: Whisper pads it to a window."""
        return samples

    @abstractmethod
    def forward(self, samples_BS: Tensor, lengths_B: Tensor, labels_BL: Tensor, spans: Spans | None = None) -> Tensor:
        """Logits (B, L, V) for `labels_BL` by teacher forcing; labels hold the prompt tokens and the end, -100 pads.

        The caller computes the loss, with -100 ignored.
        """

    @abstractmethod
    def generate(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        prompt: list[int],
        *,
        beams: int = 1,
        n_best: int = 1,
        length_penalty: float = 1.0,
        max_tokens: int | None = None,
    ) -> list[list[Written]]:
        """The `n_best` best sequences after `prompt` for each recording, best first."""
