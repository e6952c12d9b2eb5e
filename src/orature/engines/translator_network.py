"""Searching texts with an encoder-decoder of transformers in torch: what is searched for in batches, and how.

Padding is masked in every attention, and rows of finished texts leave the batch, so that what one text gives does not
depend on its neighbours. Tokens that are never written (padding, and what the checkpoint's generation_config.json bars)
are taken out before the softmax.

Shapes: B texts, S source tokens, D width, R rows (texts times beams), V tokens.

Example::

    network = TranslationNetwork(model)
    found = network.search(Job(rows=((5, 9, 2),), prompt=(128022,), limit=42, seeds=(0,)), TextSearch(beams=5))
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from orature.engines.crew import Crew
from orature.engines.network import Written
from orature.engines.seq2seq_sample import Sampling, sample
from orature.engines.seq2seq_search import DecoderState, Search, search
from orature.engines.translator import TextSearch


@dataclass(frozen=True, slots=True)
class Job:
    """Texts that are searched for together: source tokens, what each text begins with, the most tokens after that."""

    rows: tuple[tuple[int, ...], ...]
    prompt: tuple[int, ...]
    limit: int
    """The end token counted: a text with so many tokens did not end."""
    seeds: tuple[int, ...]


Found = list[list[Written]]
"""For each text of a job what was found, the best first."""


class TranslationNetwork(nn.Module):
    """A `...ForConditionalGeneration` of transformers (or MarianMTModel) that translates."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model.eval()
        config, generation = model.config, model.generation_config
        self.start, self.end = int(config.decoder_start_token_id), _first(config.eos_token_id)
        self.pad = int(config.pad_token_id)
        self.never = never_written(config, generation)
        self._scale = config.d_model**-0.5 if getattr(config, "scale_decoder_outputs", False) else 1.0
        self.register_buffer("_barred", torch.tensor(self.never, dtype=torch.long), persistent=False)

    def logits(self, hidden_RD: Tensor) -> Tensor:
        """Logits (R, V) of the next token, minus infinity for those that are never written."""
        logits_RV = self.model.lm_head(hidden_RD * self._scale if self._scale != 1.0 else hidden_RD)
        bias = getattr(self.model, "final_logits_bias", None)
        if bias is not None:
            logits_RV = logits_RV + bias
        return cast(Tensor, logits_RV.index_fill(-1, cast(Tensor, self._barred), -torch.inf))

    @torch.no_grad()
    def state(self, rows: Sequence[Sequence[int]]) -> DecoderState:
        """The decoder over the encoder's output for source tokens `rows`."""
        from transformers import DynamicCache, EncoderDecoderCache

        device = self.model.lm_head.weight.device
        longest = max(map(len, rows))
        tokens_BS = torch.tensor([[*row, *[self.pad] * (longest - len(row))] for row in rows], device=device)
        mask_BS = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        encoder_BSD = self.model.get_encoder()(input_ids=tokens_BS, attention_mask=mask_BS).last_hidden_state
        state = DecoderState(self.model.get_decoder(), self.logits, encoder_BSD, mask_BS)
        state.cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return state

    def search(self, job: Job, how: TextSearch) -> Found:
        """What `how` finds for each text of `job`."""
        prompt, limits = [self.start, *job.prompt], [job.limit] * len(job.rows)
        counted, penalty = len(job.prompt), how.length_penalty
        if how.sample:
            drawing = Sampling(
                end=self.end,
                limits=limits,
                seeds=list(job.seeds),
                draws=how.n_best,
                temperature=how.temperature,
                top_k=how.top_k,
                length_penalty=penalty,
                counted=counted,
            )
            drawn = sample(self.state(job.rows), prompt, drawing)
            return [sorted(one, key=lambda written: -written.score) for one in drawn]
        seeking = Search(
            end=self.end,
            limits=limits,
            beams=max(how.beams, how.n_best),
            n_best=how.n_best,
            length_penalty=penalty,
            early=True,
            counted=counted,
        )
        return search(self.state(job.rows), prompt, seeking)


def never_written(config: Any, generation: Any) -> tuple[int, ...]:
    """Tokens that no translation holds: padding, and single tokens that the checkpoint bars."""
    barred = {int(config.pad_token_id)} - {_first(config.eos_token_id)}
    for tokens in getattr(generation, "bad_words_ids", None) or []:
        if len(tokens) == 1:
            barred.add(int(tokens[0]))
    barred |= {int(token) for token in getattr(generation, "suppress_tokens", None) or []}
    return tuple(sorted(barred))


def _first(token: Any) -> int:
    return int(token[0] if isinstance(token, list) else token)


class TorchSearch:
    """Jobs side by side on a CPU, one thread each, also where there is only one; one after another on a GPU."""

    def __init__(self, model: Any, *, device: str, threads: int) -> None:
        self._crew: Crew[Any] = Crew(cast(Any, TranslationNetwork(model).to(device)))
        self._threads = threads if torch.device(device).type == "cpu" else None

    def search(self, jobs: Sequence[Job], how: TextSearch) -> list[Found]:
        """What is found for each job, in order."""
        with _threads(min(self._threads, max(1, len(jobs))) if self._threads is not None else None):
            return list(self._crew.map(lambda network, job: network.search(job, how), jobs))

    def close(self) -> None:
        """Lets go of the weights."""
        self._crew = Crew(cast(Any, nn.Module()))


@contextmanager
def _threads(number: int | None) -> Any:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
