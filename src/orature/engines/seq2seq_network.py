"""What the encoder-decoders of transformers share: teacher forcing, search, parts, weights in and out.

Shapes: B recordings, S samples, T encoder steps, D width, L labels, V tokens.

Example::

    class MoonshineNet(TransformersSeq2Seq): ...
    logits_BLV = network(samples_BS, lengths_B, labels_BL)
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.core.types import RATE_HZ
from orature.engines.families import Start
from orature.engines.lora import add_lora
from orature.engines.network import Part, Seq2SeqNetwork, Spans, Written
from orature.engines.seq2seq_search import DecoderState, Search, search

TOKENS_A_SECOND = 40
"""No language is spoken faster, in characters; bounds what a decoder that runs away can write."""


class TransformersSeq2Seq(Seq2SeqNetwork):
    """A `...ForConditionalGeneration` of transformers behind `Seq2SeqNetwork`."""

    def __init__(self, model: Any, *, max_tokens: int, end: int, never: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.model = model
        self.max_tokens = max_tokens
        """The most labels that the decoder takes: prompt without its first token, text, and the end."""
        self.end = end
        self.never = never
        self.never_first: tuple[int, ...] = ()
        self.train(model.training)

    @abstractmethod
    def encode(self, samples_BS: Tensor, lengths_B: Tensor, spans: Spans | None = None) -> tuple[Tensor, Tensor | None]:
        """The encoder's output (B, T, D) and its mask (B, T), 1 where valid (None: all of it)."""

    @property
    def head(self) -> nn.Module:
        return cast(nn.Module, self.model.get_output_embeddings())

    def forward(self, samples_BS: Tensor, lengths_B: Tensor, labels_BL: Tensor, spans: Spans | None = None) -> Tensor:
        """Logits (B, L, V) for `labels_BL` by teacher forcing; labels hold the prompt tokens and the end, -100 pads."""
        encoder_BTD, mask_BT = self.encode(samples_BS, lengths_B, spans)
        config = self.model.config
        inputs_BL = labels_BL.new_full(labels_BL.shape, config.decoder_start_token_id)
        inputs_BL[:, 1:] = labels_BL[:, :-1]
        inputs_BL = inputs_BL.masked_fill(inputs_BL == -100, config.pad_token_id)
        masked = {} if mask_BT is None else {"encoder_attention_mask": mask_BT}
        out = self.model.model.decoder(
            input_ids=inputs_BL, encoder_hidden_states=encoder_BTD, use_cache=False, **masked
        )
        return cast(Tensor, self.head(out.last_hidden_state))

    @torch.no_grad()
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
        """The `n_best` best sequences after `prompt` for each recording, best first.

        Without `max_tokens` a recording gives at most `TOKENS_A_SECOND` tokens a second, and never more than the
        decoder has positions for.
        """
        encoder_BTD, mask_BT = self.encode(samples_BS, lengths_B)
        room = self.max_tokens + 1 - len(prompt)
        seconds = [length / RATE_HZ for length in lengths_B.tolist()]
        limits = [max(1, min(room, max_tokens or 10 + int(TOKENS_A_SECOND * s))) for s in seconds]
        state = DecoderState(self.model.model.decoder, self.head, encoder_BTD, mask_BT)
        how = Search(
            end=self.end,
            limits=limits,
            beams=beams,
            n_best=n_best,
            length_penalty=length_penalty,
            never=self.never,
            never_first=self.never_first,
        )
        return search(state, prompt, how)

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """All parameters by part; token embeddings are tied to the output layer and count as head."""
        found: dict[Part, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(_part_of(name), []).append(parameter)
        return found


def finish(folder: Path, network: TransformersSeq2Seq, start: Start) -> None:
    """What all starts end with: parts that are not taken up drawn anew, LoRA where it is asked for.

    The head is the business of the family. ModelError for adapters, which these families lack.
    """
    if start.adapters:
        raise ModelError(
            "this checkpoint has no adapters for languages",
            where=str(folder),
            next_step="take an MMS checkpoint (facebook/mms-1b-all), or train with LoRA instead",
        )
    if start.parts == "encoder":
        _redraw_decoder(network)
    if start.lora_rank:
        add_lora(network, start.lora_rank)


@torch.no_grad()
def _redraw_decoder(network: TransformersSeq2Seq) -> None:
    """The body of the decoder as a model of this shape begins."""
    drawn = dict(type(network.model)(network.model.config).named_parameters())
    for name, parameter in network.model.named_parameters():
        if _part_of(f"model.{name}") == "decoder":
            parameter.copy_(drawn[name])


def _part_of(name: str) -> Part:
    if "lora_" in name:
        return "adapters"
    if "embed_tokens" in name or name.startswith(("model.proj_out", "model.lm_head")):
        return "head"
    if name.startswith(("model.model.encoder.conv", "model.model.encoder.groupnorm")):
        return "features"
    return "encoder" if name.startswith("model.model.encoder.") else "decoder"
