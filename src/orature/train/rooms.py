"""The rooms of a training run: a pool of impulse responses, each the same for the same seed and number.

Example::

    rooms = Rooms(seed=1, config=AugmentConfig(reverb_probability=0.3))
    samples = reverberate(samples, rooms.response(5))
"""

from __future__ import annotations

import numpy as np

from orature.data.rooms import Room, Samples, reverberate
from orature.train.augment_config import AugmentConfig

__all__ = ["Room", "Rooms", "reverberate"]

_STREAM = 4
"""Sets the random draws of rooms apart from the others of the same seed."""


class Rooms:
    """The rooms of a run: as many responses as `config.rooms`, each made when it is first asked for.

    The same seed and number always give the same response. Safe in a thread of the loader.
    """

    def __init__(self, seed: int, config: AugmentConfig) -> None:
        self._seed, self._count, self._rt60_s = seed, config.rooms, config.rt60_s
        self._made: dict[int, Samples] = {}

    def __len__(self) -> int:
        return self._count

    def response(self, number: int) -> Samples:
        """Impulse response `number` (counted around the pool), shape (samples,)."""
        number %= self._count
        if number not in self._made:
            rng = np.random.default_rng([self._seed, _STREAM, number])
            self._made[number] = Room.draw(rng, self._rt60_s).response(rng)
        return self._made[number]
