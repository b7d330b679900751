"""What one term does to a label's probability, beside the other terms in the same sentences.

for shift in term_shifts(swaps, probs, labels):
    shift.attribute, shift.term, shift.label, shift.shift, shift.lower, shift.upper

In each template the term's probability is held against the mean of the other terms there, unmarked and marked ones as
the set has them; the mean of these differences over templates is the shift, with Student's interval over templates, one
value for each. The shift of a difference of two models' probabilities is the difference of their shifts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.statistics import Floats
from stillhouse.statistics.inputs import scipy_part

_FEWEST = 3  # templates; of fewer no interval is given


@dataclass(frozen=True)
class TermShift:
    """A probability's mean shift over ``n`` templates, its 95 % interval, and the two-sided p-value of no shift."""

    attribute: str
    term: str
    label: str
    shift: float
    lower: float
    upper: float
    p_value: float
    n: int


def term_shifts(swaps: SwapSet, values: Floats, labels: Sequence[str]) -> list[TermShift]:
    """Every term with every label, in sorted order of attribute and term. values: (N, K), probabilities or alike.

    Interval and p-value are infinite and 1 for a term in fewer than three templates.
    """
    found = []
    for attribute in sorted(set(swaps.attributes)):
        off: dict[str, list[Floats]] = {}
        for group in swaps.groups(attribute):
            here = values[group]
            if len(group) > 1:
                others = (here.sum(axis=0) - here) / (len(group) - 1)
                for place, row in zip(group, here - others, strict=True):
                    off.setdefault(swaps.terms[place], []).append(row)
        for term in sorted(off):
            rows = np.stack(off[term])
            found += [
                TermShift(attribute, term, label, *_student(rows[:, at]), len(rows)) for at, label in enumerate(labels)
            ]
    return found


def _student(values: Floats) -> tuple[float, float, float, float]:
    """Mean, interval and p-value of Student's test of one sample."""
    mean, n = float(values.mean()), len(values)
    if n < _FEWEST:
        return mean, -math.inf, math.inf, 1.0
    special = scipy_part("special")
    # equal differences in all templates would claim certainty: rounding of stored probabilities is the least error
    error = max(float(values.std(ddof=1)), 1e-9) / math.sqrt(n)
    half = float(special.stdtrit(n - 1, 0.975)) * error
    return mean, mean - half, mean + half, float(2 * special.stdtr(n - 1, -abs(mean) / error))
