"""Training and scoring of attention decoders: cross-entropy of the next token with label smoothing.

The prompt (start, language, task) is given, not learned: its tokens count in no loss. The smoothed loss is
(1 - e) * -log p(token) + e * mean over the vocabulary of -log p (Szegedy et al. 2016, section 7).

Shapes: B utterances, L labels, V tokens.

Example::

    learner = Seq2SeqLearner(network, vocabulary, label_smoothing=0.1)
    learner.loss(batch).total.backward()
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from orature.core.errors import TrainingFailed
from orature.engines.network import Seq2SeqNetwork
from orature.engines.seq2seq_vocabulary import Seq2SeqVocabulary
from orature.train.dev import Tally
from orature.train.learner import Losses
from orature.train.loader import Batch, Loader

IGNORED = -100


class Seq2SeqLearner:
    """A `Learner` for attention decoders; `language` is the prompt of utterances whose language is not known."""

    def __init__(
        self,
        network: Seq2SeqNetwork,
        vocabulary: Seq2SeqVocabulary,
        *,
        label_smoothing: float = 0.1,
        language: str | None = None,
    ) -> None:
        self.module: nn.Module = network
        self.network, self.vocabulary = network, vocabulary
        self.label_smoothing, self.language = label_smoothing, language
        self._prompts: dict[str, list[int]] = {}

    def prompt(self, language: str) -> list[int]:
        """The prompt of an utterance of `language` ("und": the learner's own, else the vocabulary's)."""
        if language not in self._prompts:
            self._prompts[language] = self.vocabulary.prompt(self.language if language == "und" else language)
        return self._prompts[language]

    def labels(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Labels for teacher forcing (B, L): prompt without its first token, text, end; and those that are learned.

        Both pad with -100; in the second the prompt is -100 too. TrainingFailed where a text is too long.
        """
        rows, learned = [], []
        joined, first = batch.targets.tolist(), 0
        for number, (count, language) in enumerate(zip(batch.target_lengths_B.tolist(), batch.languages, strict=True)):
            prompt = self.prompt(language)[1:]
            text = [*joined[first : first + count], self.vocabulary.end]
            first += count
            rows.append([*prompt, *text])
            learned.append([IGNORED] * len(prompt) + text)
            self._check(len(rows[-1]), batch, number)
        width = max(len(row) for row in rows)
        padded = [[row + [IGNORED] * (width - len(row)) for row in table] for table in (rows, learned)]
        return torch.tensor(padded[0]), torch.tensor(padded[1])

    def _check(self, labels: int, batch: Batch, number: int) -> None:
        most = getattr(self.network, "max_tokens", None)
        if most is not None and labels > most:
            raise TrainingFailed(
                f"an utterance needs {labels} tokens, and the decoder has room for {most}",
                where=f"utterance number {batch.items[number].index} of the training rows",
                next_step="cut the recording and its text into shorter utterances, or leave it out",
            )

    def loss(self, batch: Batch, module: nn.Module | None = None) -> Losses:
        """Cross-entropy summed over the tokens of the texts and their ends; the weight is their number."""
        device = next(self.module.parameters()).device
        labels_BL, learned_BL = self.labels(batch)
        spans = None if batch.spans is None else (batch.spans[0].to(device), batch.spans[1].to(device))
        logits_BLV = (self.module if module is None else module)(
            batch.samples_BS.to(device), batch.lengths_B.to(device), labels_BL.to(device), spans
        )
        return self.written(logits_BLV, learned_BL.to(device))

    def written(self, logits_BLV: Tensor, learned_BL: Tensor) -> Losses:
        """The loss of logits for the labels that are learned, and how many of them are the most probable token."""
        total = self._cross_entropy(logits_BLV, learned_BL, self.label_smoothing)
        tokens = float((learned_BL != IGNORED).sum())
        hits = float(((logits_BLV.argmax(dim=-1) == learned_BL) & (learned_BL != IGNORED)).sum())
        return Losses(total, tokens, {"token_accuracy": hits, "token_accuracy_of": tokens})

    def _cross_entropy(self, logits_BLV: Tensor, learned_BL: Tensor, smoothing: float) -> Tensor:
        return F.cross_entropy(
            logits_BLV.float().flatten(0, 1),
            learned_BL.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
            label_smoothing=smoothing,
        )

    @torch.no_grad()
    def assess(self, loader: Loader, *, batch_seconds: float, part: tuple[int, int] = (0, 1)) -> Tally:
        """Sums over the utterances of `loader` by greedy search; the loss is without smoothing, a token.

        `part` (i, n) takes every n-th batch from the i-th on.
        """
        was_training = self.module.training
        self.module.eval()
        device = next(self.module.parameters()).device
        tally = Tally()
        for batch in loader.plain(batch_seconds, part):
            samples_BS, lengths_B = batch.samples_BS.to(device), batch.lengths_B.to(device)
            labels_BL, learned_BL = self.labels(batch)
            logits_BLV = self.network(samples_BS, lengths_B, labels_BL.to(device))
            is_target = [loader.examples[item.index].role == "target" for item in batch.items]
            learned_BL = learned_BL.masked_fill(~torch.tensor(is_target)[:, None], IGNORED).to(device)
            tally.losses += float(self._cross_entropy(logits_BLV, learned_BL, 0.0))
            tally.weights += float((learned_BL != IGNORED).sum())
            for item, text in zip(batch.items, self.heard(batch), strict=True):
                tally.add(loader.examples[item.index], text)
        self.module.train(was_training)
        return tally

    def heard(self, batch: Batch) -> list[str]:
        """Greedy texts in the order of the batch, one search for each prompt."""
        device = next(self.module.parameters()).device
        samples_BS, lengths_B = batch.samples_BS.to(device), batch.lengths_B.to(device)
        by_prompt: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, language in enumerate(batch.languages):
            by_prompt[tuple(self.prompt(language))].append(number)
        texts = [""] * len(batch.languages)
        for prompt, numbers in by_prompt.items():
            written = self.network.generate(samples_BS[numbers], lengths_B[numbers], list(prompt))
            for number, best in zip(numbers, written, strict=True):
                texts[number] = self.vocabulary.decode(best[0].tokens)
        return texts
