"""How much of the teacher's accuracy the student kept, and whether it may be called no worse.

One call compares paired answers and carries every number a label needs::

    kept = retention(teacher_correct, student_correct, chance=0.25, margin=0.03, seed=0)
    kept.difference_lower_95     # the bound that decides non-inferiority
    kept.not_certified           # why the chance-corrected ratio is missing, or None

The intervals come from the bootstrap and describe; the one-sided bounds come from a score test and decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Floats, as_members, demand, paired_flags
from stillhouse.statistics.proportions import Interval, wilson_bounds
from stillhouse.statistics.resampling import mean_of, percentile_interval, resample
from stillhouse.statistics.score_bounds import STUDENT, TEACHER, Pairs


@dataclass(frozen=True)
class Retention:
    """How much of the teacher's accuracy T the student's S kept, over the same ``n`` items.

    ``ratio`` is S/T, ``chance_corrected`` (S - chance)/(T - chance), ``difference`` S - T (negative: the student is
    worse). A ``*_lower_95`` is the one-sided 95 % lower bound. ``non_inferior`` is None when no margin was asked for.
    ``worth``: of how many independent items the bound of the difference would be as close; ``n`` without clusters.
    """

    n: int
    teacher: Interval
    student: Interval
    difference: Interval
    difference_lower_95: float
    ratio: Interval | None
    ratio_lower_95: float | None
    chance_corrected: Interval | None
    chance_corrected_lower_95: float | None
    not_certified: str | None
    non_inferior: bool | None
    worth: float


def retention(
    teacher_correct: ArrayLike,
    student_correct: ArrayLike,
    *,
    chance: float,
    margin: float | None = None,
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> Retention:
    """Compare paired answers (n,) and (n,) of teacher and student; ``chance`` is the accuracy of a blind guess.

    The student is ``non_inferior`` when the lower bound of S - T lies above ``-margin`` (accuracy, 0.01 = one point).
    With ``clusters`` (n,), items of one document or template, every interval and bound takes the cluster as its unit.
    A ratio to a teacher not clearly above chance means nothing: it is None and ``not_certified`` says why.

    Where no item is discordant, every resample is alike; the interval is then the rule of three's, because n equal
    answers do not prove two equal models.
    """
    teacher, student = paired_flags(teacher_correct, student_correct, "retention")
    demand(0.0 <= chance < 1.0, f"chance is {chance}", "retention", "give an accuracy from 0 to below 1")
    if margin is not None:
        demand(0.0 < margin <= 1.0, f"the margin is {margin}", "retention", "give it as a share: 0.03 for 3 points")
    n = teacher.size
    member = np.arange(n) if clusters is None else as_members(clusters, n)
    pairs = Pairs(teacher.astype(np.float64), student.astype(np.float64), member)
    draws = resample(
        mean_of(np.stack([pairs.teacher, pairs.student], axis=1)),
        n,
        seed=seed,
        resamples=resamples,
        clusters=None if clusters is None else member,
    )
    difference = float((pairs.student - pairs.teacher).mean())
    difference_lower = pairs.lower(lambda x: STUDENT - TEACHER - x, difference, floor=-1.0)
    units = int(member.max()) + 1
    interval = percentile_interval(difference, draws[:, 1] - draws[:, 0], n, span=(-1.0, 1.0), units=units)
    ratio, ratio_lower, _ = _kept(pairs, draws, 0.0, units)
    corrected, corrected_lower, reason = _kept(pairs, draws, chance, units)
    return Retention(
        n=n,
        teacher=pairs.accuracy(TEACHER),
        student=pairs.accuracy(STUDENT),
        difference=interval,
        difference_lower_95=difference_lower,
        ratio=ratio,
        ratio_lower_95=ratio_lower,
        chance_corrected=corrected,
        chance_corrected_lower_95=corrected_lower,
        not_certified=reason,
        non_inferior=None if margin is None else difference_lower > -margin,
        worth=pairs.worth(STUDENT - TEACHER - difference),
    )


def paired_difference(
    teacher_correct: ArrayLike, student_correct: ArrayLike, *, seed: int, resamples: int = 2000
) -> tuple[Interval, float]:
    """S - T of :func:`retention` alone, with its interval and its one-sided 95 % lower bound; items are independent.

    A draw of items is one of counts: gained, lost, alike; so the time of the bootstrap does not grow with n.
    """
    teacher, student = paired_flags(teacher_correct, student_correct, "paired_difference")
    pairs = Pairs(teacher.astype(np.float64), student.astype(np.float64), np.arange(teacher.size))
    n, gained, lost = teacher.size, int((student & ~teacher).sum()), int((teacher & ~student).sum())
    value = (gained - lost) / n
    shares = np.array([gained, lost, n - gained - lost]) / n
    draws = np.random.default_rng(seed).multinomial(n, shares, size=resamples)
    lower = pairs.lower(lambda x: STUDENT - TEACHER - x, value, floor=-1.0)
    return percentile_interval(value, (draws[:, 0] - draws[:, 1]) / n, n), lower


def one_sided_p(
    teacher_correct: ArrayLike,
    student_correct: ArrayLike,
    *,
    bound: float,
    alternative: Literal["above", "below"],
    clusters: ArrayLike | None = None,
) -> float:
    """The p-value of "S - T is not above ``bound``", or of "not below" it, from the score test that makes the bounds.

    ``above`` with ``bound=-margin`` tests non-inferiority and is below 0.05 exactly where :func:`retention`'s
    ``difference_lower_95`` lies above ``-margin``; ``below`` tests whether the student is shown to have lost more.
    """
    teacher, student = paired_flags(teacher_correct, student_correct, "one_sided_p")
    demand(-1.0 < bound < 1.0, f"the bound is {bound}", "one_sided_p", "give it as a share: -0.03 for 3 points less")
    member = np.arange(teacher.size) if clusters is None else as_members(clusters, teacher.size)
    if alternative == "below":  # S - T below the bound is T - S above its negative
        teacher, student, bound = student, teacher, -bound
    pairs = Pairs(teacher.astype(np.float64), student.astype(np.float64), member)
    difference = float((pairs.student - pairs.teacher).mean())
    return pairs.above(STUDENT - TEACHER - bound, STUDENT - TEACHER - difference)


def _kept(pairs: Pairs, draws: Floats, chance: float, units: int) -> tuple[Interval | None, float | None, str | None]:
    """(S - chance)/(T - chance) with its one-sided lower bound, or the reason why neither can be stated."""
    t, s = float(pairs.teacher.mean()), float(pairs.student.mean())
    effective, quantile = pairs.effective(TEACHER, 0.95)
    t_lower = wilson_bounds(t, float(effective.sum()), quantile)[0]
    if t_lower <= chance:
        return (
            None,
            None,
            f"not certified: the teacher's accuracy {t:.3f} on {pairs.teacher.size} items is not clearly above "
            f"chance {chance:.3f} (one-sided 95 % lower bound {t_lower:.3f})",
        )
    value = (s - chance) / (t - chance)
    # the student is at worst always wrong, so nothing lies below this ratio to a teacher at its own lower bound
    floor = -chance / (t_lower - chance)
    lower = pairs.lower(lambda x: STUDENT - x * TEACHER - (1.0 - x) * chance, value, floor=floor)
    above = draws[:, 0] > chance  # a resampled teacher at or below chance has no ratio
    ratios = (draws[above, 1] - chance) / (draws[above, 0] - chance)
    # an item that only one of them gets right moves the ratio by 1 / (T - chance) of an item
    span = (value - 1 / (t - chance), value + 1 / (t - chance))
    return percentile_interval(value, ratios, pairs.teacher.size, span=span, units=units), lower, None
