"""The recovered gap: how far a model came from a baseline towards its teacher, (S - B) / (T - B).

One metric gives the three values, so that they are paired in every draw::

    columns = np.stack([teacher, student, baseline], axis=1)      # (n, 3), one row for each item
    gap = recovered_gap(mean_of(columns), n, better="higher", seed=0)
    gap.value                  # an Interval, or None where
    gap.not_certified          # says why: the teacher is not clearly better than the baseline

1 means as good as the teacher, 0 no better than the baseline, below 0 worse than it; a student may pass its teacher.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, demand
from stillhouse.statistics.proportions import Interval
from stillhouse.statistics.resampling import Metric, percentile_interval, resample

_FEWEST = 10  # items; with fewer a bootstrap's interval is far too narrow


@dataclass(frozen=True)
class RecoveredGap:
    """``lead`` is T - B. ``value`` is ``None`` where the teacher has no clear lead; ``not_certified`` says so."""

    n: int
    lead: Interval
    value: Interval | None
    lower_95: float | None
    not_certified: str | None


def recovered_gap(
    metric: Metric,
    n: int,
    *,
    better: Literal["higher", "lower"],
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> RecoveredGap:
    """(S - B) / (T - B) with its percentile interval and one-sided lower bound.

    metric: weights (b, n) -> (b, 3), columns T, S and B, as for :func:`resample`. better: ``lower`` for a loss.
    Draws in which the teacher has no lead say nothing about the ratio and are left out.
    """
    values = metric(np.ones((1, n)))
    demand(
        values.shape == (1, 3),
        f"the metric gives {values.shape[1:]} values",
        "recovered_gap",
        "give three columns: teacher, student, baseline",
    )
    draws = resample(metric, n, seed=seed, resamples=resamples, clusters=clusters)
    teacher, student, baseline = values[0]
    lead = percentile_interval(float(teacher - baseline), draws[:, 0] - draws[:, 2], n)
    units = n if clusters is None else len(np.unique(np.asarray(clusters)))
    reason = _reason(lead, units, 1.0 if better == "higher" else -1.0)
    if reason:
        return RecoveredGap(n, lead, None, None, reason)
    leads: Floats = draws[:, 0] - draws[:, 2]
    same = np.sign(leads) == np.sign(lead.value)
    ratios = (draws[same, 1] - draws[same, 2]) / leads[same]
    value = percentile_interval(float((student - baseline) / (teacher - baseline)), ratios, n)
    return RecoveredGap(n, lead, value, float(np.quantile(ratios, 0.05)), None)


def _reason(lead: Interval, units: int, sign: float) -> str | None:
    if units < _FEWEST:
        return f"not certified: {units} items are too few to say how far teacher and baseline are apart"
    if not min(sign * lead.lower, sign * lead.upper) > 0:
        return (
            f"not certified: the teacher is not clearly better than the baseline on {units} items "
            f"(difference {lead.value:.3g}, 95 % interval {lead.lower:.3g} to {lead.upper:.3g})"
        )
    return None
