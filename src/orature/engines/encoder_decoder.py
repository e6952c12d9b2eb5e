"""An attention encoder-decoder of our own: the Conformer encoder, a Transformer decoder, and a CTC head beside it.

One encoder feeds both heads (Watanabe et al. 2017, "Hybrid CTC/attention architecture for end-to-end speech
recognition", section III): CTC keeps recognition in step with the sound, attention may change the order of words, which
translation needs. The decoder has layer norm first (Xiong et al. 2020), rotary positions as the encoder has, and token
embeddings that are its output layer too (Press and Wolf 2017). CTC and attention number the tokens alike; CTC's blank
is the padding token.

Shapes: B utterances, S samples, T encoder steps, D width, L labels, V tokens, H heads, E width of a head, R rows of a
search, N tokens of a step.

Example::

    network = EncoderDecoder(EncoderDecoderConfig.of_size("tiny", vocabulary=40))
    logits_BLV = network(samples_BS, lengths_B, labels_BL)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from orature.core.types import RATE_HZ
from orature.engines.conformer import ConformerConfig, ConformerCtc, Size, rotary, rotate
from orature.engines.ctc_prefix import CtcPrefixes, JointState
from orature.engines.network import Part, Seq2SeqNetwork, Spans, Written
from orature.engines.seq2seq_search import Search, SearchState, search

PAD, UNKNOWN, START, END = 0, 1, 2, 3
"""The special tokens; CTC's blank is the padding."""
TOKENS_A_SECOND = 30
"""No language is spoken faster, in characters; bounds what a decoder that runs away can write."""
LEAST_TOKENS = 10
Memory = tuple[Tensor, Tensor]
"""Encoder output (B, T, D) and which steps are an utterance's own (B, T)."""


class EncoderDecoderConfig(BaseModel, frozen=True, extra="forbid"):
    """Shape of an `EncoderDecoder`; the `vocabulary` of `encoder` is that of its CTC head, the same number."""

    model_type: Literal["orature-encoder-decoder"] = "orature-encoder-decoder"
    vocabulary: int
    encoder: ConformerConfig
    decoder_layers: int = 2
    decoder_heads: int = 4
    decoder_feed_forward: int = 4
    dropout: float = 0.1
    max_tokens: int = 1000
    max_seconds: float = 30.0
    ctc_share: float = 0.0
    """Of CTC in the scores of a search that names no `ctc_weight`: what it was in training."""

    @classmethod
    def of_size(cls, size: Size, *, vocabulary: int, dropout: float = 0.1, **encoder: Any) -> EncoderDecoderConfig:
        """The encoder of the named size with half as many layers in the decoder, as fairseq's S2T has them."""
        return cls.around(ConformerConfig.of_size(size, vocabulary=vocabulary, dropout=dropout, **encoder))

    @classmethod
    def around(cls, encoder: ConformerConfig, **fields: Any) -> EncoderDecoderConfig:
        """A decoder as wide as `encoder`, with as many heads and half as many layers."""
        own: dict[str, Any] = {"decoder_layers": max(1, encoder.layers // 2), "decoder_heads": encoder.heads}
        own |= {"decoder_feed_forward": encoder.feed_forward, "dropout": encoder.dropout}
        return cls(vocabulary=encoder.vocabulary, encoder=encoder, **{**own, **fields})


@dataclass(slots=True)
class LayerCache:
    """Keys and values (R, H, N, E) of what was written so far, and (R, H, T, E) of the encoder's output."""

    own: tuple[Tensor, Tensor] | None = None
    heard: tuple[Tensor, Tensor] | None = None

    def pick(self, rows_R: Tensor, *, heard: bool) -> None:
        """Only `rows_R` go on, in that order; without `heard` only what was written is moved."""
        if self.own is not None:
            self.own = (self.own[0][rows_R], self.own[1][rows_R])
        if heard and self.heard is not None:
            self.heard = (self.heard[0][rows_R], self.heard[1][rows_R])


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder, feed-forward; each with layer norm first and a residual."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.heads, self.drop = config.decoder_heads, config.dropout
        self.own_norm, self.heard_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q_heard, self.kv_heard = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.heard_out = nn.Linear(width, width)
        inner = config.decoder_feed_forward * width
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, inner),
            nn.SiLU(),
            nn.Dropout(config.dropout),
            nn.Linear(inner, width),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, memory: Memory | None, positions: tuple[Tensor, Tensor], cache: LayerCache | None = None
    ) -> Tensor:
        x = x + self.dropout(self._written(x, positions, cache))
        if memory is not None:
            x = x + self.dropout(self._heard(x, memory, cache))
        x = x + self.dropout(self.feed_forward(x))
        return x

    def _written(self, x: Tensor, positions: tuple[Tensor, Tensor], cache: LayerCache | None) -> Tensor:
        q, k, v = (self._split(part) for part in self.qkv(self.own_norm(x)).chunk(3, dim=-1))
        cos, sin = (table.to(q.dtype) for table in positions)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        several = q.shape[2] > 1
        if cache is not None:
            if cache.own is not None:
                k, v = torch.cat([cache.own[0], k], dim=2), torch.cat([cache.own[1], v], dim=2)
            cache.own = (k, v)
        mixed = F.scaled_dot_product_attention(
            q, k, v, is_causal=several, dropout_p=self.drop if self.training else 0.0
        )
        return self._joined(mixed, self.out_proj)

    def _heard(self, x: Tensor, memory: Memory, cache: LayerCache | None) -> Tensor:
        q = self._split(self.q_heard(self.heard_norm(x)))
        kept = None if cache is None else cache.heard
        if kept is None:
            kept = cast(tuple[Tensor, Tensor], tuple(map(self._split, self.kv_heard(memory[0]).chunk(2, dim=-1))))
            if cache is not None:
                cache.heard = kept
        mixed = F.scaled_dot_product_attention(
            q, *kept, attn_mask=memory[1][:, None, None, :], dropout_p=self.drop if self.training else 0.0
        )
        return self._joined(mixed, self.heard_out)

    def _split(self, x_BND: Tensor) -> Tensor:
        batch, tokens, width = x_BND.shape
        return x_BND.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

    def _joined(self, mixed_BHNE: Tensor, out: nn.Module) -> Tensor:
        joined: Tensor = out(mixed_BHNE.transpose(1, 2).flatten(2))
        return joined


class TextDecoder(nn.Module):
    """Tokens to logits over the next one, given what the encoder heard (None: a language model, nothing is heard)."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        width = config.encoder.width
        self.width, self.heads = width, config.decoder_heads
        self.embed = nn.Embedding(config.vocabulary, width)
        self.bias = nn.Parameter(torch.zeros(config.vocabulary))
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)

    def forward(self, tokens_BN: Tensor, memory: Memory | None, caches: list[LayerCache] | None = None) -> Tensor:
        """Logits (B, N, V) after each of `tokens_BN`, which follow those that `caches` hold."""
        before = 0 if caches is None or caches[0].own is None else caches[0].own[0].shape[2]
        cos, sin = rotary(before + tokens_BN.shape[1], self.width // self.heads, tokens_BN.device)
        x = self.dropout(self.embed(tokens_BN) * self.width**0.5)
        for number, layer in enumerate(self.layers):
            x = layer(x, memory, (cos[before:], sin[before:]), None if caches is None else caches[number])
        return F.linear(self.norm(x), self.embed.weight, self.bias)


class EncoderDecoder(Seq2SeqNetwork):
    """Samples at 16 kHz to text by attention, and to CTC logits by the encoder's own head."""

    takes_warps = True
    end, never, never_first = END, (PAD, UNKNOWN, START), ()

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConformerCtc(config.encoder)
        self.decoder = TextDecoder(config)
        self.mask_bins = config.encoder.mels
        self.max_seconds = config.max_seconds
        self.max_tokens = config.max_tokens
        self.languages: tuple[int, ...] = ()
        """Tokens that stand for a language; they are never written."""
        self.ctc_weight = config.ctc_share
        """The share of CTC in the scores of a search."""

    def searches_with(self, ctc_share: float) -> None:
        """From here on, and in the folder that it is saved to, texts are looked for with this share of CTC."""
        self.config = self.config.model_copy(update={"ctc_share": ctc_share})
        self.ctc_weight = ctc_share

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """All parameters by part; the embeddings are the output layer, and both heads count as one."""
        found: dict[Part, list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            found.setdefault(part_of(name), []).append(parameter)
        return found

    def encode(
        self, samples_BS: Tensor, lengths_B: Tensor, spans: Spans | None = None, warps_B: Tensor | None = None
    ) -> Memory:
        """The encoder's output and which of its steps are an utterance's own."""
        hidden_BTD, steps_B = self.encoder.encode(samples_BS, lengths_B, warps_B, spans)
        return hidden_BTD, torch.arange(hidden_BTD.shape[1], device=hidden_BTD.device) < steps_B[:, None].clamp(min=1)

    def forward(self, samples_BS: Tensor, lengths_B: Tensor, labels_BL: Tensor, spans: Spans | None = None) -> Tensor:
        return self.written(labels_BL, self.encode(samples_BS, lengths_B, spans))

    def both(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        labels_BL: Tensor,
        spans: Spans | None = None,
        warps_B: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of attention (B, L, V) and of CTC (B, T, V), and the encoder's steps (B,), of one pass."""
        hidden_BTD, own_BT = self.encode(samples_BS, lengths_B, spans, warps_B)
        return self.written(labels_BL, (hidden_BTD, own_BT)), self.encoder.head(hidden_BTD), own_BT.sum(dim=1)

    def written(self, labels_BL: Tensor, memory: Memory | None) -> Tensor:
        """Logits (B, L, V) for labels by teacher forcing; without `memory` as a language model."""
        inputs_BL = labels_BL.new_full(labels_BL.shape, START)
        inputs_BL[:, 1:] = labels_BL[:, :-1]
        return cast(Tensor, self.decoder(inputs_BL.masked_fill(inputs_BL < 0, PAD), memory))

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
        memory = self.encode(samples_BS, lengths_B)
        room = self.max_tokens + 1 - len(prompt)
        seconds = [length / RATE_HZ for length in lengths_B.tolist()]
        how = Search(
            end=END,
            limits=[max(1, min(room, max_tokens or LEAST_TOKENS + int(TOKENS_A_SECOND * s))) for s in seconds],
            beams=beams,
            n_best=n_best,
            length_penalty=length_penalty,
            never=(*self.never, *self.languages),
        )
        state: SearchState = Decoding(self.decoder, memory)
        if self.ctc_weight:
            prefixes = CtcPrefixes(self.encoder.head(memory[0]), memory[1].sum(dim=1), blank=PAD, end=END)
            state = JointState(state, prefixes, self.ctc_weight)
        return search(state, prompt, how)


class Decoding:
    """The decoder in the midst of a search, with what it has written so far (see `seq2seq_search.SearchState`)."""

    def __init__(self, decoder: TextDecoder, memory: Memory) -> None:
        self.decoder = decoder
        self.encoder_RTD, self.own_RT = memory
        self.caches = [LayerCache() for _ in decoder.layers]

    @property
    def rows(self) -> int:
        return len(self.encoder_RTD)

    def step(self, tokens_RN: Tensor) -> Tensor:
        """Log-probabilities (R, V), float32, of what follows `tokens_RN` (the tokens not yet given)."""
        logits_RNV: Tensor = self.decoder(tokens_RN, (self.encoder_RTD, self.own_RT), self.caches)
        return logits_RNV[:, -1].float().log_softmax(dim=-1)

    def widen(self, beams: int) -> None:
        """Each row `beams` times."""
        self.keep(torch.arange(self.rows, device=self.encoder_RTD.device).repeat_interleave(beams))

    def reorder(self, rows_R: Tensor) -> None:
        """Row i goes on from row `rows_R[i]` of the same recording: only what was written is moved."""
        for cache in self.caches:
            cache.pick(rows_R, heard=False)

    def keep(self, rows_R: Tensor) -> None:
        """Only `rows_R` go on."""
        for cache in self.caches:
            cache.pick(rows_R, heard=True)
        self.encoder_RTD, self.own_RT = self.encoder_RTD[rows_R], self.own_RT[rows_R]


def part_of(name: str) -> Part:
    """The part that a parameter belongs to, by its name."""
    if name.startswith(("decoder.embed", "decoder.bias", "encoder.head")):
        return "head"
    if name.startswith("encoder.front"):
        return "features"
    return "encoder" if name.startswith("encoder.") else "decoder"
