"""An auxiliary loss for phone CTC: the articulatory features that the output expects, at the steps that it commits to.

The softmax over tokens times the features of each phone is the expected feature vector of a step. Steps where the best
path writes a phone are held to the features of the reference phone that they stand for: the best path and the
reference are aligned by their edit distance, equal phones and substitutions give targets, all other steps none. So a
wrong phone is pulled towards the right features (p for b costs one of them), which plain CTC does not tell apart.
This is a plain stand-in for a second CTC over features; it costs one alignment of short lists an utterance.

Shapes: B utterances, T steps, V tokens, F features.

Example::

    loss = FeatureLoss(phones)(logits_BTV, steps_B, batch)       # (sum, number of steps)
"""

from __future__ import annotations

import torch
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from orature.engines.phone_tokens import PhoneTokens
from orature.text.phone_features import FEATURES, feature_matrix
from orature.train.loader import Batch


class FeatureLoss:
    """Binary cross-entropy of expected features, averaged over features."""

    def __init__(self, phones: PhoneTokens) -> None:
        known = torch.from_numpy(feature_matrix(phones.phones))
        self.matrix_VF = torch.cat([torch.zeros(2, len(FEATURES)), known])

    def __call__(self, logits_BTV: Tensor, steps_B: Tensor, batch: Batch) -> tuple[Tensor, float]:
        """The sum over the steps with a target, and their number (the loss is 0 where there is none)."""
        places, tokens = self.targets(logits_BTV, steps_B, batch)
        if not places:
            return logits_BTV.sum() * 0.0, 0.0
        matrix_VF = self.matrix_VF.to(logits_BTV.device)
        rows, steps = (list(part) for part in zip(*places, strict=True))
        with torch.autocast(logits_BTV.device.type, enabled=False):  # 1 - 1e-5 is 1 in bfloat16
            phones_NV = logits_BTV[rows, steps, 2:].float().softmax(dim=-1)
            expected_NF = (phones_NV @ matrix_VF[2:]).clamp(1e-5, 1 - 1e-5)
        wanted_NF = matrix_VF[tokens]
        cross = wanted_NF * expected_NF.log() + (1 - wanted_NF) * (1 - expected_NF).log()
        return -cross.mean(dim=-1).sum(), float(len(places))

    @torch.no_grad()
    def targets(self, logits_BTV: Tensor, steps_B: Tensor, batch: Batch) -> tuple[list[tuple[int, int]], list[int]]:
        """(utterance, step) of each committed step and the reference token that it stands for."""
        paths = logits_BTV.argmax(dim=-1).tolist()
        joined, ends = batch.targets.tolist(), batch.target_lengths_B.cumsum(0).tolist()
        references = [joined[end - size : end] for end, size in zip(ends, batch.target_lengths_B.tolist(), strict=True)]
        places: list[tuple[int, int]] = []
        tokens: list[int] = []
        for row, (path, steps, wanted) in enumerate(zip(paths, steps_B.tolist(), references, strict=True)):
            said = [
                (step, path[step])
                for step in range(steps)
                if path[step] > 1 and (step == 0 or path[step] != path[step - 1])
            ]
            for move in Levenshtein.opcodes([token for _, token in said], wanted):
                if move.tag in ("equal", "replace"):
                    for heard, place in zip(
                        range(move.src_start, move.src_end), range(move.dest_start, move.dest_end), strict=True
                    ):
                        if wanted[place] > 1:
                            places.append((row, said[heard][0]))
                            tokens.append(wanted[place])
        return places, tokens
