"""One share of items: its two-sided interval, and the exact one-sided bounds of a count.

An accuracy is described by Wilson's interval; a rare event is bounded exactly::

    proportion(correct).lower           # of a 95 % interval, from right and wrong (n,)
    clopper_pearson_upper(0, 300)       # nothing seen in 300: below 0.01
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import as_flags, demand, scipy_part


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided 95 % interval, from ``n`` items."""

    value: float
    lower: float
    upper: float
    n: int


def proportion(correct: ArrayLike) -> Interval:
    """The share of true items of ``correct`` (n,), with Wilson's 95 % interval (Wilson 1927); n == 0 is an error."""
    flags = as_flags(correct, "proportion")
    value = float(flags.mean())
    z = float(scipy_part("special").ndtri(0.975))
    lower, upper = wilson_bounds(value, flags.size, z)
    return Interval(value, lower, upper, flags.size)


def clopper_pearson_upper(k: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a proportion, ``k`` of ``n`` seen (Clopper & Pearson 1934).

    With k = 0 it is the exact form of the rule of three, about 3/n.
    """
    _check_counts(k, n, confidence, "clopper_pearson_upper")
    return 1.0 if k == n else float(scipy_part("special").betaincinv(k + 1, n - k, confidence))


def clopper_pearson_lower(k: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower bound of a proportion, ``k`` of ``n`` seen (Clopper & Pearson 1934)."""
    _check_counts(k, n, confidence, "clopper_pearson_lower")
    return 0.0 if k == 0 else float(scipy_part("special").betaincinv(k, n - k + 1, 1.0 - confidence))


def zero_events_bound(n: int, confidence: float = 0.95) -> float:
    """The upper bound of a rate of which ``n`` items showed no event: 1 - (1 - confidence)^(1/n).

    It is :func:`clopper_pearson_upper` of 0, the exact form of the rule of three (Hanley & Lippman-Hand 1983): 0 of 300
    still means below 1 % only.
    """
    return clopper_pearson_upper(0, n, confidence)


def items_without_event(rate: float, confidence: float = 0.95) -> int:
    """How many items without any event show that their rate lies at or below ``rate``; about 3 / rate."""
    demand(
        0.0 < rate < 1.0 and 0.0 < confidence < 1.0,
        f"no number of items shows a rate of {rate} at confidence {confidence}",
        "items_without_event",
        "give a rate and a confidence strictly between 0 and 1",
    )
    return math.ceil(math.log1p(-confidence) / math.log1p(-rate) - 1e-9)


def wilson_bounds(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's (1927) lower and upper bound of a ``share`` of ``n`` items, at the normal quantile ``z``.

    The shares p whose own standard error reaches the one seen: |share - p| <= z sqrt(p (1 - p) / n). ``n`` need not be
    whole: items that lie in clusters count for fewer.
    """
    spread = z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    # rounding must not leave the value outside its own interval
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _check_counts(k: int, n: int, confidence: float, where: str) -> None:
    demand(
        n >= 1 and 0 <= k <= n and 0.0 < confidence < 1.0,
        f"{k} of {n} at confidence {confidence} has no bound",
        where,
        "give counts with 0 <= k <= n and n >= 1, and a confidence between 0 and 1",
    )
