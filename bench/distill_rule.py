"""The rule by which the default loss follows from a table of runs, written before the runs were made.

Forward KL is the default, since it alone is exact or unbiased on every kind of stored signal, unless some loss beats
it. A loss beats another if it is better on at least one of held-out KL, top-1 agreement and perplexity of real text,
and worse on none; better and worse are paired t-tests over seeds whose p, adjusted by Holm over all losses and metrics,
is below 0.05, and all else is a tie. Of several that beat it, the one with the best mean rank is the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.distill_pair import Quality
from stillhouse.statistics import holm

LEVEL = 0.05
FIRST = "forward-kl"
SPARSE = "forward-kl, sparse"  # the same loss on stored draws: no rival
BETTER = {"kl": -1, "agreement": 1, "perplexity": -1}  # the sign of a difference that is for the better

Results = Mapping[str, Sequence[Quality]]  # by loss: one for each seed


def compare(results: Results) -> dict[str, dict[str, str]]:
    """For each other dense loss and metric: ``better``, ``worse`` or ``tie`` with forward KL, by a paired t-test over
    seeds, all of them corrected together."""
    from scipy import stats

    others = [name for name in results if name not in (FIRST, SPARSE)]
    gains = {
        (name, metric): BETTER[metric] * (_values(results[name], metric) - _values(results[FIRST], metric))
        for name in others
        for metric in BETTER
    }
    p_values = holm([_p_value(stats, gain) for gain in gains.values()])
    found: dict[str, dict[str, str]] = {name: {} for name in others}
    for ((name, metric), gain), p in zip(gains.items(), p_values, strict=True):
        found[name][metric] = "tie" if p >= LEVEL else "better" if gain.mean() > 0 else "worse"
    return found


def _p_value(stats: Any, gain: npt.NDArray[np.float64]) -> float:
    """Two-sided; seeds that all differ by exactly the same are no evidence that a test could weigh."""
    return 1.0 if np.ptp(gain) == 0 else float(stats.ttest_1samp(gain, 0.0).pvalue)


def tied(compared: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Losses that are not worse than forward KL on any metric."""
    return [name for name, verdicts in compared.items() if "worse" not in verdicts.values()]


def ranked(results: Results) -> list[str]:
    """The dense losses by their mean rank over the metrics, the best one first."""
    names = [name for name in results if name != SPARSE]
    ranks = dict.fromkeys(names, 0.0)
    for metric, sign in BETTER.items():
        in_order = sorted(names, key=lambda name: -sign * float(_values(results[name], metric).mean()))
        for rank, name in enumerate(in_order):
            ranks[name] += rank
    return sorted(names, key=lambda name: ranks[name])


def default_of(results: Results, compared: Mapping[str, Mapping[str, str]]) -> str:
    """What the rule at the top of this module decides."""
    winners = [name for name in tied(compared) if "better" in compared[name].values()]
    return next((name for name in ranked(results) if name in winners), FIRST)


def _values(runs: Sequence[Quality], metric: str) -> npt.NDArray[np.float64]:
    return np.array([getattr(one, metric) for one in runs], dtype=np.float64)
