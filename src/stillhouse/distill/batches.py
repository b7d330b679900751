"""Which rows make up which batch: a pure function of the row lengths, the seed and the sizes.

As the whole run is laid out beforehand, a resumed run only has to skip what was done::

    plan_batches([5, 9, 7], 2, epochs=2, seed=7)  # four lists of row numbers
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_POOL = 50  # batches that share a pool of texts sorted by length


def plan_batches(lengths: Sequence[int], batch_size: int, *, epochs: float, seed: int) -> list[list[int]]:
    """Return the rows of every batch of the run, in order.

    Every epoch shuffles all rows, sorts each pool of 50 batches by length so that a batch has little padding,
    and shuffles the batches. The last epoch is cut where ``epochs`` is not whole; at least one batch is left.
    """
    per_epoch = math.ceil(len(lengths) / batch_size)
    batches: list[list[int]] = []
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed, epoch])
        shuffled = random.permutation(len(lengths))
        fresh: list[list[int]] = []
        for start in range(0, len(shuffled), batch_size * _POOL):
            pool = sorted(shuffled[start : start + batch_size * _POOL].tolist(), key=lambda row: -lengths[row])
            fresh += [pool[at : at + batch_size] for at in range(0, len(pool), batch_size)]
        batches += [fresh[index] for index in random.permutation(len(fresh))]
    return batches[: max(1, round(epochs * per_epoch))]
