"""Is a quantity of many items other than zero? A test that asks no more of it than that items can be left out.

    apart = lambda weights: metric(weights)[:, 1] - metric(weights)[:, 2]     # weights (B, n) -> (B,)
    p_other_than_zero(apart, n)                                               # two-sided

The jackknife (Tukey 1958): every item is left out once, and Student's t is taken over the pseudo-values. Unlike the
quantiles of a bootstrap it does not take a few items for many, and it has a p-value however small, which Holm's
correction over many tests needs.
"""

from __future__ import annotations

import numpy as np

from stillhouse.statistics.inputs import Floats, demand, scipy_part
from stillhouse.statistics.resampling import Metric

_CHUNK = 1 << 21  # weights held at once
_ROUNDING = 1e-12


def p_other_than_zero(metric: Metric, n: int) -> float:
    """Two-sided p-value of "the quantity is zero". metric: weights (B, n) -> (B,), as for :func:`.resample`.

    Where all items say the same, other than zero, it is the chance that they all lie on one side. A single item, or a
    quantity that is no number without one of them, shows nothing: 1.
    """
    demand(n >= 1, "there is nothing to test", "p_other_than_zero", "give at least one item")
    value = float(metric(np.ones((1, n)))[0])
    if n < 2:
        return 1.0
    left_out = _each_left_out(metric, n)
    if not (np.isfinite(value) and np.isfinite(left_out).all()):
        return 1.0
    pseudo: Floats = n * value - (n - 1) * left_out
    middle, error = float(pseudo.mean()), float(pseudo.std(ddof=1)) / n**0.5
    if error <= _ROUNDING * max(1.0, abs(middle)):
        return 1.0 if abs(middle) <= _ROUNDING else 2 * 0.5**n
    return 2 * float(scipy_part("special").stdtr(n - 1, -abs(middle) / error))


def _each_left_out(metric: Metric, n: int) -> Floats:
    rows = max(1, _CHUNK // n)
    parts = []
    for start in range(0, n, rows):
        out = np.arange(start, min(start + rows, n))
        weights = np.ones((len(out), n))
        weights[np.arange(len(out)), out] = 0.0
        parts.append(metric(weights))
    found: Floats = np.concatenate(parts)
    return found
