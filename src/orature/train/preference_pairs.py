"""N-best lists of a model on its own training speech, ordered by their errors against the transcripts.

Hypotheses of one text count once (the one that the search ranks first). Errors are Levenshtein distances to the text of
the example as it stands, as dev counts them.

Shapes: B utterances, S samples, T steps, L labels, V tokens, R rows (utterances, each once a candidate).

Example::

    lister = Lister(learner, PreferenceConfig(), precision="fp32")
    choices = lister.choices(loader, range(len(loader.examples)))
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor, nn

from orature.engines.beam import PrefixSearch, Scoring
from orature.engines.ctc_align import fold_silent
from orature.engines.vocabulary import CtcVocabulary
from orature.train.batches import Item, cut
from orature.train.ctc import CtcLearner
from orature.train.learner import Learner
from orature.train.loader import Batch, Example, Loader
from orature.train.preference_config import Candidate, Choice, PreferenceConfig
from orature.train.seq2seq import IGNORED, Seq2SeqLearner

NO_ALTERNATIVE, ALL_EQUAL, TOO_LONG = "pair-no-alternative", "pair-all-equal", "pair-too-long"
REASONS = {
    NO_ALTERNATIVE: "the search found no second text",
    ALL_EQUAL: "the errors of its texts do not differ by the margin",
    TOO_LONG: "all its other texts are longer than the model takes",
}
_AT_ONCE_S = 40.0
"""Seconds of audio that are searched at once: how much memory that takes, not what is found."""
_CLOSED = -1e8
"""A beam of this score or less holds nothing: the search fills up with such where the vocabulary is small."""
Words = Callable[[str], Sequence[str]]


def errors_of(text: str, wanted: str, units: Words) -> int:
    """Edits between two texts, counted in `units`."""
    return int(Levenshtein.distance(units(wanted), units(text)))


def units_of(learner: Learner, config: PreferenceConfig) -> Words:
    """What cuts a text into what an error is of: words, or characters (phones where a model writes phones)."""
    if config.unit_of(attention=isinstance(learner, Seq2SeqLearner)) == "words":
        return str.split
    return learner.units if isinstance(learner, CtcLearner) else str


def paired(found: Sequence[Candidate], example: Example, config: PreferenceConfig, *, cut_off: int = 0) -> Choice:
    """Pairs of the texts of an utterance for DPO (see `PreferenceConfig.better`); `found` as the search ranks them.

    `cut_off` counts the texts that were left out because the model could not take them.
    """
    candidates = list(found)
    if config.better == "transcript":
        said = Candidate(example.text, example.tokens, 0, 0.0)
        candidates = [said, *(one for one in candidates if one.text != example.text)]
    if len(candidates) < 2:
        return Choice(tuple(candidates), (), TOO_LONG if cut_off else NO_ALTERNATIVE)
    best = 0 if config.better == "transcript" else min(range(len(candidates)), key=lambda i: candidates[i].errors)
    least = candidates[best].errors + config.margin
    worse = [place for place, one in enumerate(candidates) if place != best and one.errors >= least]
    pairs = tuple((best, place) for place in worse[: config.pairs])
    return Choice(tuple(candidates), pairs, None if pairs else ALL_EQUAL)


def listed(found: Sequence[Candidate], config: PreferenceConfig) -> Choice:
    """The texts of an utterance for MWER."""
    errors = [one.errors for one in found]
    if len(found) < 2:
        return Choice(tuple(found), (), NO_ALTERNATIVE)
    return Choice(tuple(found), (), None if max(errors) - min(errors) >= config.margin else ALL_EQUAL)


def rows_of(batch: Batch, rows: Sequence[int], texts: Sequence[Sequence[int]]) -> Batch:
    """The utterances `rows` of a batch (some of them repeatedly), each with the tokens of `texts` as its target."""
    return replace(
        batch,
        items=[batch.items[row] for row in rows],
        samples_BS=batch.samples_BS[list(rows)],
        lengths_B=batch.lengths_B[list(rows)],
        targets=torch.tensor([token for text in texts for token in text], dtype=torch.long),
        target_lengths_B=torch.tensor([len(text) for text in texts]),
        languages=[batch.languages[row] for row in rows],
        warps_B=None,
        spans=None,
        draws=[],
    )


def sequence_log_p(learner: Seq2SeqLearner, batch: Batch, module: nn.Module | None = None) -> tuple[Tensor, Tensor]:
    """ln p of the target and its end for each row of a batch, by teacher forcing (R,), and their tokens (R,)."""
    device = next(learner.module.parameters()).device
    labels_RL, learned_RL = (labels.to(device) for labels in learner.labels(batch))
    samples_RS, lengths_R = batch.samples_BS.to(device), batch.lengths_B.to(device)
    logits_RLV = (learner.module if module is None else module)(samples_RS, lengths_R, labels_RL, None)
    counted_RL = learned_RL != IGNORED
    log_RLV = logits_RLV.float().log_softmax(dim=-1)
    log_RL = log_RLV.gather(-1, learned_RL.masked_fill(~counted_RL, 0)[..., None])[..., 0]
    return log_RL.masked_fill(~counted_RL, 0.0).sum(dim=-1), counted_RL.sum(dim=-1)


def ctc_n_best(
    log_TV: Tensor, vocabulary: CtcVocabulary, config: PreferenceConfig, count: Callable[[str], int]
) -> list[Candidate]:
    """The texts of one utterance by prefix search without a language model, the most probable first."""
    folded = fold_silent(np.asarray(log_TV, dtype=np.float32), vocabulary)
    found = PrefixSearch(Scoring(), width=config.beams).search(folded, vocabulary, config.n_best)
    return [Candidate(one.text, one.tokens, count(one.text), one.acoustic) for one in found if one.score > -math.inf]


class Lister:
    """Makes the choices of utterances with the weights that a learner now holds, without dropout and augmentation."""

    def __init__(self, learner: Learner, config: PreferenceConfig, *, precision: str = "fp32") -> None:
        self.learner, self.config, self.precision = learner, config, precision
        self.units = units_of(learner, config)

    @torch.no_grad()
    def choices(self, loader: Loader, indices: Sequence[int]) -> list[Choice]:
        """A choice for each of the examples `indices` of `loader`, in their order."""
        examples, module = loader.examples, self.learner.module
        order = sorted(indices, key=lambda index: (examples[index].duration_s, examples[index].id))
        items = [Item(index, 1.0, None, examples[index].duration_s) for index in order]
        found: dict[int, Choice] = {}
        was_training = module.training
        module.eval()
        device = next(module.parameters()).device
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                for piece in cut(items, min(loader.config.batch_seconds, _AT_ONCE_S)):
                    batch = loader.build(piece, 0, augment=False)
                    heard = [examples[item.index] for item in piece]
                    made = self._by_ctc if isinstance(self.learner, CtcLearner) else self._by_attention
                    found.update(zip((item.index for item in piece), made(batch, heard), strict=True))
        finally:
            module.train(was_training)
        return [found[index] for index in indices]

    def _by_ctc(self, batch: Batch, heard: Sequence[Example]) -> list[Choice]:
        learner = cast(CtcLearner, self.learner)
        device = next(learner.module.parameters()).device
        logits_BTV, steps_B = learner.network(batch.samples_BS.to(device), batch.lengths_B.to(device))
        log_BTV = logits_BTV.float().log_softmax(dim=-1).cpu()
        choices = []
        for log_TV, steps, example in zip(log_BTV, steps_B.tolist(), heard, strict=True):
            found = ctc_n_best(log_TV[:steps], learner.vocabulary, self.config, self._counter(example))
            choices.append(listed(found, self.config))
        return choices

    def _counter(self, example: Example) -> Callable[[str], int]:
        return lambda text: errors_of(text, example.text, self.units)

    def _by_attention(self, batch: Batch, heard: Sequence[Example]) -> list[Choice]:
        learner = cast(Seq2SeqLearner, self.learner)
        device = next(learner.module.parameters()).device
        by_prompt: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, language in enumerate(batch.languages):
            by_prompt[tuple(learner.prompt(language))].append(number)
        choices: list[Choice] = [Choice(())] * len(heard)
        for prompt, numbers in by_prompt.items():
            samples_BS, lengths_B = batch.samples_BS[numbers].to(device), batch.lengths_B[numbers].to(device)
            beams = self.config.beams  # many of them may write the same text
            written = learner.network.generate(samples_BS, lengths_B, list(prompt), beams=beams, n_best=beams)
            most = getattr(learner.network, "max_tokens", None)
            room = math.inf if most is None else most - len(prompt)
            for number, ranked in zip(numbers, written, strict=True):
                texts = [(one.tokens, sum(one.log_probabilities)) for one in ranked if one.score > _CLOSED]
                choices[number] = self._choice(texts, heard[number], room)
        return self._anchored(batch, choices)

    def _choice(self, texts: Sequence[tuple[tuple[int, ...], float]], example: Example, room: float) -> Choice:
        """The pairs of one utterance; texts of more than `room` tokens are left out."""
        vocabulary = cast(Seq2SeqLearner, self.learner).vocabulary
        found: dict[str, Candidate] = {}
        cut_off = 0
        for tokens, log_p in texts:
            text = vocabulary.decode(tokens)
            if len(tokens) > room:
                cut_off += 1
            elif text not in found:
                found[text] = Candidate(text, tokens, self._counter(example)(text), log_p)
        return paired(list(found.values())[: self.config.n_best], example, self.config, cut_off=cut_off)

    def _anchored(self, batch: Batch, choices: list[Choice]) -> list[Choice]:
        """The choices with ln p of the texts in their pairs, computed as in training."""
        wanted = [
            (row, place)
            for row, choice in enumerate(choices)
            for place in sorted({p for pq in choice.pairs for p in pq})
        ]
        changed = [list(choice.candidates) for choice in choices]
        size = len(choices)
        for first in range(0, len(wanted), size):
            some = wanted[first : first + size]
            rows = rows_of(batch, [row for row, _ in some], [changed[row][place].tokens for row, place in some])
            values, _ = sequence_log_p(cast(Seq2SeqLearner, self.learner), rows)
            for (row, place), value in zip(some, values.tolist(), strict=True):
                changed[row][place] = replace(changed[row][place], log_p=value)
        return [replace(choice, candidates=tuple(texts)) for choice, texts in zip(choices, changed, strict=True)]
