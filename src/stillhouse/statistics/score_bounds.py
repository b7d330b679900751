"""Bounds from a score test on paired answers: what the data do not reject, with or without clusters.

A hypothesis is a vector of weights (4,), one for each outcome of a pair, whose mean is 0 where it holds::

    pairs = Pairs(teacher, student, member)                  # 0.0 and 1.0 (n,), and the cluster number of each item
    pairs.lower(lambda x: STUDENT - TEACHER - x, difference, floor=-1.0)   # lower bound of S - T

A bootstrap or a normal bound takes the variance of the sample, which is too small where few items are discordant; the
score test takes the variance under the hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, Ints, as_flags, as_members, scipy_part
from stillhouse.statistics.proportions import Interval, wilson_bounds

# The four outcomes of a pair, in the order every count vector below uses: both right, student only, teacher only, none.
STUDENT = np.array([1.0, 1.0, 0.0, 0.0])
TEACHER = np.array([1.0, 0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Pairs:
    """Paired answers as 0.0 and 1.0 (n,), and the cluster number of each item (n,)."""

    teacher: Floats
    student: Floats
    member: Ints

    def effective(self, weights: Floats, level: float) -> tuple[Floats, float]:
        """Outcome counts (4,) of independent items worth as much, and the quantile of ``level`` that goes with them.

        The counts are divided by the design effect of the mean of ``weights`` (4,), the variance between clusters
        over that of independent items (Kish 1965), and few clusters widen the quantile to Student's. For clusters of
        one item nothing changes.
        """
        cell = (3 - 2 * self.student - self.teacher).astype(np.int64)
        counts = np.bincount(cell, minlength=4).astype(np.float64)
        n, units = cell.size, int(self.member.max()) + 1
        off = weights[cell] - weights[cell].mean()
        independent = float(off @ off) * n / max(n - 1, 1)
        sums = np.bincount(self.member, off, minlength=units)
        between = float(sums @ sums) * units / max(units - 1, 1)
        # no variance to learn from: take the items of a cluster for one; few clusters can look better than independent
        effect = n / units if independent < 1e-9 else max(between / independent, 0.5)
        quantile = scipy_part("special").ndtri(level) if units == n else scipy_part("special").stdtrit(units - 1, level)
        return counts / effect, float(quantile)

    def worth(self, weights: Floats) -> float:
        """Of how many independent items a one-sided 95 % bound of the mean of ``weights`` (4,) would be as close."""
        counts, quantile = self.effective(weights, 0.95)
        return float(counts.sum()) * (float(scipy_part("special").ndtri(0.95)) / quantile) ** 2

    def accuracy(self, weights: Floats) -> Interval:
        """Accuracy of ``TEACHER`` or ``STUDENT`` with Wilson's interval on the effective number of items."""
        effective, quantile = self.effective(weights, 0.975)
        value = float(effective @ weights / effective.sum())
        return Interval(value, *wilson_bounds(value, float(effective.sum()), quantile), self.member.size)

    def lower(self, weights: Callable[[float], Floats], start: float, *, floor: float) -> float:
        """One-sided 95 % bound: the smallest x in [floor, start] at which "E[weights(x)] = 0" is not rejected."""
        counts, quantile = self.effective(weights(start), 0.95)
        low, high = floor, start
        for _ in range(34):  # bisection to 1e-10 of the range; the score may be infinite at its floor
            x = (low + high) / 2
            if score(counts, weights(x)) > quantile:
                low = x
            else:
                high = x
        return low

    def above(self, weights: Floats, by: Floats) -> float:
        """One-sided p-value of "the mean of ``weights`` (4,) is at most 0"; ``by`` sets the effective counts.

        With the weights of :meth:`lower` and its start it is below 0.05 exactly where that bound lies above x.
        """
        counts, _ = self.effective(by, 0.95)
        units = int(self.member.max()) + 1
        special = scipy_part("special")
        z = score(counts, weights)
        return float(special.ndtr(-z) if units == self.member.size else special.stdtr(units - 1, -z))


def clustered_proportion(correct: ArrayLike, clusters: ArrayLike) -> Interval:
    """The share of true items of ``correct`` (n,), with Wilson's 95 % interval of as many items as they are worth."""
    flags = as_flags(correct, "clustered_proportion").astype(np.float64)
    return Pairs(flags, flags, as_members(clusters, flags.size)).accuracy(STUDENT)


def score(counts: Floats, weights: Floats) -> float:
    """Score statistic of "the mean of ``weights`` (k,) is 0" for multinomial ``counts`` (k,).

    The variance is taken at the maximum likelihood under that hypothesis, p_j ~ counts_j / (1 + m weights_j) (Aitchison
    & Silvey 1958). For S - T - x it is Tango's (1998) statistic for paired proportions; its coverage holds where the
    sample's own variance is too small because few items are discordant.
    """
    total, n = float(counts @ weights), float(counts.sum())
    highest, lowest = float(weights.max()), float(weights.min())
    if highest <= 0.0 or lowest >= 0.0:  # no distribution on the outcomes has mean 0, save at a 0 weight
        return math.copysign(math.inf, total) if total else 0.0
    # plain floats: a few terms are too few for array arithmetic; an outcome never seen may still have a probability
    terms: list[tuple[float, float]] = [
        (count + 1e-8 * n, w) for count, w in zip(counts.tolist(), weights.tolist(), strict=True)
    ]

    def mean(m: float) -> float:  # falls with m
        return sum(count * w / (1 + m * w) for count, w in terms)

    low, high = -(1 - 1e-12) / highest, -(1 - 1e-12) / lowest
    if mean(low) <= 0.0:
        m = low
    elif mean(high) >= 0.0:
        m = high
    else:
        m = float(scipy_part("optimize").brentq(mean, low, high, xtol=1e-13, rtol=1e-12))
    shares = [(count / (1 + m * w), w) for count, w in terms]
    variance = sum(share * w * w for share, w in shares) / sum(share for share, _ in shares)
    return total / math.sqrt(n * variance)
