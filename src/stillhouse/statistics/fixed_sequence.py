"""A threshold for a score, chosen from rows, whose promise holds although the same rows chose it.

held = loosest_kept(scores, bad, epsilon=0.05)      # rows with a score up to held.threshold: at most 5 % are bad
held = strictest_lost(scores, bad, epsilon=0.05)    # rows above it: at most 5 % of those that are not bad are there

Fixed-sequence testing (Angelopoulos et al. 2022, arXiv 2110.01052, "Learn then test", section 4): thresholds on a grid
that does not look at what is bad are tested one after the other by the exact bound of Clopper and Pearson; the first
that fails ends the sequence, and a false one is only reached through false ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillhouse.statistics.inputs import Flags, Floats
from stillhouse.statistics.proportions import clopper_pearson_upper

STEPS = 100  # thresholds that are tried, at equal steps of rank
STARTS = 5


@dataclass(frozen=True)
class Held:
    """A threshold that may be ``inf`` or ``-inf``. seen: bad rows, among so many. bound: of their share."""

    threshold: float
    seen: int
    among: int
    bound: float


def loosest_kept(
    scores: Floats,  # (M,)
    bad: Flags,  # (M,)
    *,
    epsilon: float,
    confidence: float = 0.95,
) -> Held | None:
    """The largest threshold at which at most ``epsilon`` of the rows with no higher score are bad, or ``None``.

    Harm among the kept need not grow with the threshold, so :data:`STARTS` sequences begin at different shares, each at
    an equal part of the error, and the loosest threshold that held in any is taken.
    """
    level = 1 - (1 - confidence) / STARTS
    # below so many rows no count at all could hold
    least = math.ceil(math.log(1 - level) / math.log1p(-epsilon)) if epsilon < 1 else 1
    counted = [
        (int((bad & (scores <= one)).sum()), int((scores <= one).sum()), float(one)) for one in _grid(scores)[::-1]
    ]
    tries = [one for one in counted if one[1] >= least]
    starts = sorted({len(tries) * start // STARTS for start in range(STARTS)})
    held = [one for start in starts if (one := _last_that_holds(tries[start:], epsilon, level)) is not None]
    return max(held, key=lambda one: one.threshold) if held else None


def strictest_lost(
    scores: Floats,  # (M,)
    bad: Flags,  # (M,)
    *,
    epsilon: float,
    confidence: float = 0.95,
) -> Held | None:
    """The smallest threshold above which at most ``epsilon`` of the rows that are not bad lie, or ``None``.

    Losses only grow as the threshold falls, so one sequence serves.
    """
    sound = ~bad
    tries = [(int((sound & (scores > one)).sum()), int(sound.sum()), float(one)) for one in _grid(scores)]
    return _last_that_holds(tries, epsilon, confidence)


def _grid(scores: Floats) -> Floats:
    """At most :data:`STEPS` thresholds, evenly chosen by rank, falling from ``inf`` to ``-inf``."""
    ranked = np.concatenate([[math.inf], np.unique(scores)[::-1], [-math.inf]])
    if len(ranked) <= STEPS:
        return ranked
    chosen: Floats = ranked[np.unique(np.linspace(0, len(ranked) - 1, STEPS).round().astype(int))]
    return chosen


def _last_that_holds(tries: list[tuple[int, int, float]], epsilon: float, confidence: float) -> Held | None:
    found = None
    for seen, among, threshold in tries:
        if among == 0 or (bound := clopper_pearson_upper(seen, among, confidence)) > epsilon:
            break
        found = Held(threshold, seen, among, bound)
    return found
