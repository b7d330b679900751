"""The bootstrap: how a quantity varies when the items, or whole clusters of items, are drawn again.

A metric gets rows of weights instead of drawn items, so that one matrix product scores a chunk of resamples::

    bootstrap(mean_of(student - teacher), n, seed=0)                    # an Interval
    resample(mean_of(np.stack([teacher, student], axis=1)), n, seed=0)  # (B, 2): paired draws, for ratios and the like
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, as_members, demand
from stillhouse.statistics.proportions import Interval, zero_events_bound

Metric = Callable[[Floats], Floats]  # weights (B, n) -> one value per resample (B,), or k of them (B, k)
Span = tuple[float, float]  # the least and the most that a single item can be

_CHUNK = 1 << 21  # weights held at once: 16 MB of doubles
_ALIKE = 1e-12  # draws that differ by less differ by rounding


def resample(metric: Metric, n: int, *, seed: int, resamples: int = 2000, clusters: ArrayLike | None = None) -> Floats:
    """Values of ``metric`` over ``resamples`` draws of ``n`` items with replacement: (B,) or (B, k).

    ``metric`` gets weights (b, n), how often each item was drawn, and is called once per chunk of rows. A row sums to
    n without clusters; with ``clusters`` (n,) whole clusters are drawn and the sum varies, so divide by it. Quantities
    computed from the same weights are paired.
    """
    demand(
        n >= 1 and resamples >= 1,
        f"a bootstrap cannot be made of {n} items and {resamples} resamples",
        "resample",
        "give at least one item and one resample",
    )
    rng = np.random.default_rng(seed)
    member = None if clusters is None else as_members(clusters, n)
    units = n if member is None else int(member.max()) + 1
    rows = max(1, _CHUNK // n)
    parts = []
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        # one flat bincount: several times faster than rng.multinomial, and the same distribution
        drawn = rng.integers(0, units, size=(b, units)) + np.arange(b)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=b * units).reshape(b, units).astype(np.float64)
        parts.append(metric(counts if member is None else counts[:, member]))
    return np.concatenate(parts)


def bootstrap(
    metric: Metric,
    n: int,
    *,
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
    span: Span | None = None,
) -> Interval:
    """The percentile bootstrap interval of a ``metric`` that gives one value per row of weights (see ``resample``).

    span: as for :func:`percentile_interval`; items, or clusters, are its units.
    """
    value = float(metric(np.ones((1, n)))[0])
    draws = resample(metric, n, seed=seed, resamples=resamples, clusters=clusters)
    return percentile_interval(value, draws, n, span=span, units=units_of(n, clusters))


def units_of(n: int, clusters: ArrayLike | None) -> int:
    """How many items, or clusters of them, are drawn."""
    return n if clusters is None else int(as_members(clusters, n).max()) + 1


def mean_of(values: ArrayLike) -> Metric:
    """The metric that averages ``values`` (n,), or each column of (n, k); a difference is the mean of differences."""
    columns = np.asarray(values, dtype=np.float64)

    def metric(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean: Floats = weights @ columns / (total if columns.ndim == 1 else total[:, None])
        return mean

    return metric


def ratio_of(sums: ArrayLike, counts: ArrayLike) -> Metric:
    """The metric that divides sums by counts: a mean over the tokens of items that have unlike many.

    sums: (n,), or (n, k) for k values at once; counts: alike, or (n,) for all k. A draw without any count gives nan.
    """
    above, below = np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    below = below[:, None] if above.ndim > below.ndim else below

    def metric(weights: Floats) -> Floats:
        total = weights @ below
        ratio: Floats = np.divide(
            weights @ above,
            total,
            out=np.full((len(weights), *above.shape[1:]), math.nan),
            where=np.broadcast_to(total != 0, (len(weights), *above.shape[1:])),
        )
        return ratio

    return metric


def percentile_interval(
    value: float, draws: Floats, n: int, *, span: Span | None = None, units: int | None = None
) -> Interval:
    """The ``value`` with the 2.5 and 97.5 % quantiles of its ``draws`` (B,), nan draws left out; all nan gives nan.

    span: where no draw differs from another, the interval is not left without any width: of ``units`` that are all
    alike (as many as ``n`` where nothing is said), a share may still be otherwise, see :func:`.zero_events_bound`, and
    be the least or the most that there can be.
    """
    known = draws[~np.isnan(draws)]  # a resample without the class, or without a usable teacher, says nothing
    if math.isnan(value) or known.size == 0:
        return Interval(value, math.nan, math.nan, n)
    lower, upper = (float(one) for one in np.quantile(known, [0.025, 0.975]))
    if span is not None and upper - lower < _ALIKE:
        share, (least, most) = zero_events_bound(units or n, 0.975), span
        lower, upper = value - share * max(value - least, 0.0), value + share * max(most - value, 0.0)
    return Interval(value, lower, upper, n)
