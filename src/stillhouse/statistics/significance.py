"""Tests of significance: do two models differ, which of many tests stand, and how many items does a test need?

One sizes the test set, one tests a pair of models, one corrects for several such tests::

    items_needed(discordant_rate=0.12, margin=0.05)     # test items for a power of 80 %
    mcnemar_exact(teacher_correct, student_correct).p_value
    holm([0.04, 0.01, 0.03])                            # adjusted for having looked three times
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, demand, paired_flags, scipy_part


@dataclass(frozen=True)
class McNemar:
    """``b`` items only the first model got right, ``c`` only the second; two-sided exact ``p_value``."""

    b: int
    c: int
    p_value: float


def mcnemar_exact(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of paired answers (n,): are the discordant items split evenly?

    A small p-value says "different"; a large one never says "equal".
    """
    a, b = paired_flags(a_correct, b_correct, "mcnemar_exact")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    tail = float(scipy_part("special").bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2.0 * tail))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p-values (m,), in the order given; reject where they fall below the level."""
    p = np.asarray(p_values, dtype=np.float64)
    demand(
        p.ndim == 1 and bool(((p >= 0) & (p <= 1)).all()),
        "these are not p-values",
        "holm",
        "give a flat list of numbers from 0 to 1",
    )
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def items_needed(
    discordant_rate: float, margin: float, true_drop: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Test items for which non-inferiority within ``margin`` is shown with ``power`` at one-sided level ``alpha``.

    All rates are shares of items. The paired normal approximation (z_alpha + z_power)^2 (p_d - d^2) / (margin - d)^2,
    where d = ``true_drop`` and d^2 <= |d| <= p_d, the ``discordant_rate``.
    """
    demand(
        0.0 < discordant_rate <= 1.0 and abs(true_drop) <= discordant_rate,
        f"a drop of {true_drop} cannot come from a discordant rate of {discordant_rate}",
        "items_needed",
        "give shares of items, the drop no larger than the discordant rate",
    )
    demand(
        true_drop < margin <= 1.0,
        f"no number of items shows a drop of {true_drop} to be within {margin}",
        "items_needed",
        "give a margin above the true drop",
    )
    demand(
        0.0 < alpha < 1.0 and 0.0 < power < 1.0,
        f"alpha {alpha} and power {power} are no probabilities",
        "items_needed",
        "give both strictly between 0 and 1",
    )
    z = float(scipy_part("special").ndtri(1.0 - alpha) + scipy_part("special").ndtri(power))
    needed = z * z * (discordant_rate - true_drop**2) / (margin - true_drop) ** 2
    return max(1, math.ceil(needed))
