"""Comparing two models on the same items: intervals, one-sided bounds, exact tests, per-class scores.

Plain arrays in, frozen dataclasses out; whatever draws takes a seed. A stage asks::

    kept = retention(teacher_correct, student_correct, chance=0.25, margin=0.03, seed=0)
    kept.difference_lower_95     # the bound that decides non-inferiority
    kept.not_certified           # why the chance-corrected ratio is missing, or None

Two-sided intervals describe: Wilson's for one accuracy, a percentile bootstrap for what is made of several. The
one-sided bounds of :func:`retention` decide, and come from a score test. In simulations of paired answers (accuracies
0.4 to 0.95, 3 to 30 % discordant items, n=200 and n=2000) they covered 94.4 to 96.2 %, and up to 97.6 % at n=200 when
every discordant item was the teacher's; in like simulations the percentile bootstrap covered 92.3 to 96.0 % and the
normal bound 88.0 to 95.1 %. With clusters (10 to 50 of 4 to 20 items) they covered 94.3 to 95.7 %.
"""

from stillhouse.statistics.fixed_sequence import Held, loosest_kept, strictest_lost
from stillhouse.statistics.gap import RecoveredGap, recovered_gap
from stillhouse.statistics.inputs import Flags, Floats, Ints
from stillhouse.statistics.non_inferiority import Retention, retention
from stillhouse.statistics.per_class import (
    bootstrap_macro_f1,
    bootstrap_recall,
    calibration_error,
    confusion,
    macro_f1,
    recall_per_class,
)
from stillhouse.statistics.proportions import Interval, clopper_pearson_lower, clopper_pearson_upper, proportion
from stillhouse.statistics.resampling import Metric, bootstrap, mean_of, ratio_of, resample
from stillhouse.statistics.significance import McNemar, holm, items_needed, mcnemar_exact

__all__ = [
    "Flags",
    "Floats",
    "Held",
    "Interval",
    "Ints",
    "McNemar",
    "Metric",
    "RecoveredGap",
    "Retention",
    "bootstrap",
    "bootstrap_macro_f1",
    "bootstrap_recall",
    "calibration_error",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "confusion",
    "holm",
    "items_needed",
    "loosest_kept",
    "macro_f1",
    "mcnemar_exact",
    "mean_of",
    "proportion",
    "ratio_of",
    "recall_per_class",
    "recovered_gap",
    "resample",
    "retention",
    "strictest_lost",
]
