"""Several seeds of one method: an interval that speaks of the method, and not of the one run that was drawn.

    found = over_seeds(correct - teacher_correct)          # (R, n): R students, each on the same n items
    found.lower_95                                         # one-sided bound of the method's mean difference
    draws = resample_seeds(np.stack([teacher, student], axis=2), seed=0)     # (R, n, k) -> (B, k), for ratios

Every seed is tried on the same items, so items and seeds are crossed: a draw takes seeds and, independently, items
(the pigeonhole bootstrap, Owen 2007). It counts the chance that is particular to one seed and one item twice and thus
errs on the safe side. In simulations with 3 and 5 seeds and 200 and 1,000 items the lower bound of :func:`over_seeds`
covered 94.5 to 98 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, as_members, demand, scipy_part

FEWEST_SEEDS = 3


@dataclass(frozen=True)
class OverSeeds:
    """A mean over seeds and items with its two-sided 95 % interval and one-sided lower bound.

    ``between`` is the standard deviation of the seeds' own means, chance of the items left in.
    """

    value: float
    lower: float
    upper: float
    lower_95: float
    between: float
    seeds: int
    n: int


def over_seeds(values: ArrayLike, *, clusters: ArrayLike | None = None) -> OverSeeds:
    """The mean of ``values`` (R, n), with seeds as the outer level and items, or clusters of items, as the inner one.

    The variances of the seeds' means and of the items' means add up; the quantile is Student's, with the degrees of
    freedom of Satterthwaite (1946), so that three seeds give a wide interval.
    """
    given = _seeds_by_items(values)[:, :, 0]
    seeds, n = given.shape
    of_seed, of_item = given.mean(axis=1), given.mean(axis=0)
    value = float(of_seed.mean())
    member = np.arange(n) if clusters is None else as_members(clusters, n)
    units = int(member.max()) + 1
    sums = np.bincount(member, of_item - value, minlength=units) / n
    parts = np.array([of_seed.var(ddof=1) / seeds, float(sums @ sums) * units / (units - 1)])
    variance = float(parts.sum())
    degrees = variance**2 / float((parts**2 / np.array([seeds - 1, units - 1])).sum()) if variance > 0 else 1.0
    special = scipy_part("special")
    half, one_sided = (float(special.stdtrit(degrees, level)) * variance**0.5 for level in (0.975, 0.95))
    between = float(of_seed.std(ddof=1))
    return OverSeeds(value, value - half, value + half, value - one_sided, between, seeds, n)


def resample_seeds(values: ArrayLike, *, seed: int, resamples: int = 2000, clusters: ArrayLike | None = None) -> Floats:
    """Means of ``values`` (R, n, k) over ``resamples`` draws of seeds and of items: (B, k), paired.

    Seeds' weights are stretched by sqrt(R / (R - 1)): drawn from few, they would vary too little.
    """
    given = _seeds_by_items(values)
    seeds, n, k = given.shape
    rng = np.random.default_rng(seed)
    member = np.arange(n) if clusters is None else as_members(clusters, n)
    units = int(member.max()) + 1
    size = np.bincount(member, minlength=units).astype(np.float64)
    sums = np.zeros((units, seeds, k))
    np.add.at(sums, member, given.transpose(1, 0, 2))
    even = 1 / seeds
    of_seed = rng.multinomial(seeds, np.full(seeds, even), size=resamples) / seeds
    of_seed = even + (of_seed - even) * (seeds / (seeds - 1)) ** 0.5
    times = rng.multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.float64)
    drawn = (times @ sums.reshape(units, -1)).reshape(resamples, seeds, k) / (times @ size)[:, None, None]
    found: Floats = np.einsum("bs,bsk->bk", of_seed, drawn)
    return found


def _seeds_by_items(values: ArrayLike) -> Floats:
    given = np.asarray(values, dtype=np.float64)
    given = given[:, :, None] if given.ndim == 2 else given
    demand(
        given.ndim == 3 and given.shape[0] >= FEWEST_SEEDS and given.shape[1] >= 2,
        f"values of shape {given.shape} say nothing about how seeds differ",
        "over_seeds",
        f"give at least {FEWEST_SEEDS} seeds, each on the same two or more items: (seeds, items)",
    )
    return given
