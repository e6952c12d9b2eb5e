"""Monotonic alignment search: which token each frame of a recording belongs to, the best of all monotonic ways.

Example::

    place_BF = monotonic_alignment(score_BFT, frames_B, tokens_B)       # token of each frame, -1 past the end
    durations_BT = durations_of(place_BF, score_BFT.shape[2])           # frames a token

Kim, Kim, Kong, Yoon 2020, "Glow-TTS", section 3.2: a dynamic programme over frames; each frame stays with the token of
the frame before or goes on to the next one, so that no token is left out. Exact; vectorised over the batch and tokens.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

PAST = -1
"""Stands for "no token" past the last frame of a row."""

Scores = npt.NDArray[np.floating]
Places = npt.NDArray[np.int64]


def monotonic_alignment(score_BFT: Scores, frames_B: Places, tokens_B: Places) -> Places:
    """The token of each frame, shape (B, F), with the greatest sum of `score_BFT[b, frame, token]`; `PAST` beyond.

    It begins with the first token, ends with the last, and gives each at least one frame; of equal ways the one that
    goes on later. ValueError where a row has fewer frames than tokens, or none.
    """
    batch, most, width = score_BFT.shape
    if (tokens_B > frames_B).any() or (tokens_B < 1).any() or (frames_B > most).any() or (tokens_B > width).any():
        raise ValueError("each row needs at least one token and one frame a token")
    value_BT = np.full((batch, width), -np.inf)
    value_BT[:, 0] = score_BFT[:, 0, 0]
    moved_FBT = np.zeros((most, batch, width), dtype=bool)
    before_BT = np.empty_like(value_BT)
    for frame in range(1, most):
        before_BT[:, 0] = -np.inf
        before_BT[:, 1:] = value_BT[:, :-1]
        np.greater(before_BT, value_BT, out=moved_FBT[frame])
        value_BT = np.maximum(before_BT, value_BT)
        value_BT += score_BFT[:, frame]
    return _traced(moved_FBT, np.asarray(frames_B), np.asarray(tokens_B))


def _traced(moved_FBT: npt.NDArray[np.bool_], frames_B: Places, tokens_B: Places) -> Places:
    """Walks back from the last token at the last frame of each row."""
    most, batch, _ = moved_FBT.shape
    rows_B = np.arange(batch)
    at_B = tokens_B.astype(np.int64) - 1
    place_BF = np.full((batch, most), PAST, dtype=np.int64)
    for frame in range(most - 1, -1, -1):
        inside_B = frame < frames_B
        place_BF[inside_B, frame] = at_B[inside_B]
        at_B = at_B - (inside_B & moved_FBT[frame, rows_B, at_B])
    return place_BF


def durations_of(place_BF: Places, width: int) -> Places:
    """Frames a token, shape (B, width), of the places that `monotonic_alignment` gave."""
    counts_BT = np.zeros((place_BF.shape[0], width), dtype=np.int64)
    for row, place_F in enumerate(place_BF):
        counts_BT[row] = np.bincount(place_F[place_F >= 0], minlength=width)
    return counts_BT
