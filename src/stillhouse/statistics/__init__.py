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
from stillhouse.statistics.jackknife import p_other_than_zero
from stillhouse.statistics.non_inferiority import Retention, one_sided_p, paired_difference, retention
from stillhouse.statistics.outcomes import Mean, OutcomeGap, Outcomes
from stillhouse.statistics.over_seeds import OverSeeds, over_seeds, resample_seeds
from stillhouse.statistics.paired_groups import (
    DRIFT,
    STUDENT_RATE,
    TEACHER_RATE,
    Contrast,
    Excess,
    GroupPairs,
    driven_apart,
    from_the_rest,
    worst_loss,
)
from stillhouse.statistics.per_class import (
    bootstrap_macro_f1,
    bootstrap_recall,
    calibration_error,
    confusion,
    macro_f1,
    recall_per_class,
)
from stillhouse.statistics.proportions import (
    Interval,
    clopper_pearson_lower,
    clopper_pearson_upper,
    items_without_event,
    proportion,
    zero_events_bound,
)
from stillhouse.statistics.resampling import Metric, bootstrap, mean_of, ratio_of, resample
from stillhouse.statistics.score_bounds import clustered_proportion
from stillhouse.statistics.significance import McNemar, holm, items_needed, mcnemar_exact

__all__ = [
    "DRIFT",
    "STUDENT_RATE",
    "TEACHER_RATE",
    "Contrast",
    "Excess",
    "Flags",
    "Floats",
    "GroupPairs",
    "Held",
    "Interval",
    "Ints",
    "McNemar",
    "Mean",
    "Metric",
    "OutcomeGap",
    "Outcomes",
    "OverSeeds",
    "RecoveredGap",
    "Retention",
    "bootstrap",
    "bootstrap_macro_f1",
    "bootstrap_recall",
    "calibration_error",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "clustered_proportion",
    "confusion",
    "driven_apart",
    "from_the_rest",
    "holm",
    "items_needed",
    "items_without_event",
    "loosest_kept",
    "macro_f1",
    "mcnemar_exact",
    "mean_of",
    "one_sided_p",
    "over_seeds",
    "p_other_than_zero",
    "paired_difference",
    "proportion",
    "ratio_of",
    "recall_per_class",
    "recovered_gap",
    "resample",
    "resample_seeds",
    "retention",
    "strictest_lost",
    "worst_loss",
    "zero_events_bound",
]
