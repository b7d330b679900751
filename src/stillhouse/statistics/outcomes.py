"""The mean of a bounded score whose possible values are known: exact where nothing is seen, with bounds and a test.

Two models on the same items give one of a few outcomes an item, and what is judged is the mean of a value that each
outcome has, such as "student minus teacher" (-1, 0 or 1)::

    found = Outcomes.paired(teacher_refused, student_refused)
    found.mean().upper_95            # one-sided
    found.p_above(0.05)              # of the hypothesis that the mean is at most 0.05
    found.needed(0.05)               # items that would show it to be below, with a power of 80 %

The bounds come from the score test of :mod:`stillhouse.statistics.score_bounds`. It takes the variance under the
hypothesis and gives outcomes never seen their due: n equal answers do not prove two equal models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, Ints, as_classes, demand, paired_flags, scipy_part
from stillhouse.statistics.score_bounds import score


@dataclass(frozen=True)
class Mean:
    """A mean of ``n`` items with its two-sided 95 % interval, and the one-sided 95 % bounds that decide."""

    value: float
    lower: float
    upper: float
    lower_95: float
    upper_95: float
    n: int


@dataclass(frozen=True)
class Outcomes:
    """counts: how often each of k outcomes was seen, (k,). values: what each is worth, (k,); not all alike."""

    counts: Floats
    values: Floats

    @classmethod
    def of(cls, cells: ArrayLike, values: ArrayLike) -> Outcomes:
        """cells: the outcome of each item (n,), from 0 to k - 1. values: (k,)."""
        worth = np.asarray(values, dtype=np.float64)
        usable = worth.ndim == 1 and worth.size > 1 and bool(np.isfinite(worth).all()) and float(np.ptp(worth)) > 0
        demand(usable, "these outcomes cannot differ", "Outcomes", "give at least two finite values that differ")
        numbers: Ints = as_classes(cells, worth.size, None, "Outcomes")
        return cls(np.bincount(numbers, minlength=worth.size).astype(np.float64), worth)

    @classmethod
    def paired(cls, first: ArrayLike, second: ArrayLike) -> Outcomes:
        """Second minus first of two yes-or-no answers about each item, (n,) and (n,)."""
        one, two = paired_flags(first, second, "Outcomes")
        return cls.of(2 * one.astype(np.int64) + two, (0.0, 1.0, -1.0, 0.0))

    @property
    def n(self) -> int:
        """How many items."""
        return int(self.counts.sum())

    @property
    def value(self) -> float:
        """Their mean."""
        return float(self.counts @ self.values / self.counts.sum())

    def bounds(self, level: float) -> tuple[float, float]:
        """The lower and the upper bound of the true mean, each at the one-sided ``level``."""
        quantile = _quantile(level)
        return -Outcomes(self.counts, -self.values)._upper(quantile), self._upper(quantile)

    def mean(self) -> Mean:
        """The mean with its interval and bounds."""
        return _with_bounds(self)

    def p_above(self, limit: float) -> float:
        """One-sided p-value of the hypothesis that the true mean is at most ``limit``."""
        return float(scipy_part("special").ndtr(-score(self.counts, self.values - limit)))

    def needed(self, limit: float) -> int | None:
        """Items at which a mean as seen would be shown to be below ``limit``; ``None`` where no number would do.

        At a one-sided level of 5 % and a power of 80 %, as :func:`stillhouse.statistics.items_needed`.
        """
        seen = -score(self.counts, self.values - limit)
        if seen <= 0 or math.isinf(seen):
            return None
        return max(1, math.ceil(self.n * ((_quantile(0.95) + _quantile(0.8)) / seen) ** 2))

    def _upper(self, quantile: float) -> float:
        low, high = self.value, float(self.values.max())
        for _ in range(40):  # bisection; the score falls as the hypothesis rises
            x = (low + high) / 2
            if score(self.counts, self.values - x) < -quantile:
                high = x
            else:
                low = x
        return high


@dataclass(frozen=True)
class OutcomeGap:
    """The mean of ``one`` less that of ``two``, which are of different and independent items."""

    one: Outcomes
    two: Outcomes

    @property
    def n(self) -> int:
        """How many items the smaller has."""
        return min(self.one.n, self.two.n)

    @property
    def value(self) -> float:
        """The difference of the means."""
        return self.one.value - self.two.value

    def bounds(self, level: float) -> tuple[float, float]:
        """As of one mean: the bounds of both, joined by the square root of their squares (MOVER; Zou & Donner 2008)."""
        (low, high), (other_low, other_high) = self.one.bounds(level), self.two.bounds(level)
        return (
            self.value - math.hypot(self.one.value - low, other_high - self.two.value),
            self.value + math.hypot(high - self.one.value, self.two.value - other_low),
        )

    def mean(self) -> Mean:
        """The difference with its interval and bounds."""
        return _with_bounds(self)

    def p_above(self, limit: float) -> float:
        """One-sided p-value of the hypothesis that the true difference is at most ``limit``: the least level whose
        bound lies above; one half stands for all that are larger."""
        low, high = 0.5, 1.0
        if self.value <= limit:
            return 0.5
        for _ in range(40):
            level = (low + high) / 2
            low, high = (level, high) if self.bounds(level)[0] > limit else (low, level)
        return 1.0 - low

    def needed(self, limit: float) -> int | None:
        """Items of the smaller side, as of one mean; both sides grow alike."""
        if self.value >= limit:
            return None
        level = float(scipy_part("special").ndtr(_quantile(0.95) + _quantile(0.8)))
        low, high = 0.0, 1.0
        while self._times(high).bounds(level)[1] > limit:
            low, high = high, 2 * high
        while (high - low) * self.n > 1:
            factor = (low + high) / 2
            low, high = (factor, high) if self._times(factor).bounds(level)[1] > limit else (low, factor)
        return max(1, math.ceil(self.n * high))

    def _times(self, factor: float) -> OutcomeGap:
        return OutcomeGap(*(Outcomes(one.counts * factor, one.values) for one in (self.one, self.two)))


def _with_bounds(of: Outcomes | OutcomeGap) -> Mean:
    return Mean(of.value, *of.bounds(0.975), *of.bounds(0.95), of.n)


def _quantile(level: float) -> float:
    return float(scipy_part("special").ndtri(level))
