"""The student against a baseline on the same documents: the difference, the recovered gap, and what may be said.

found = contrast("kl", "answers", "ce", metric, n, better="lower", resamples=2000, seed=0)
told = together([found, *others])
told[0].verdict        # "better", "worse" or "undecided", with Holm's correction over all of them

The intervals are of one difference each and describe. What is said rests on the p-values: of ten figures of two equal
students, one would else be "better" or "worse" in one audit of five.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.held_text import HeldText
from stillhouse.statistics import (
    Floats,
    Interval,
    Metric,
    RecoveredGap,
    bootstrap,
    holm,
    p_other_than_zero,
    ratio_of,
    recovered_gap,
)

STUDENT = "student"

Verdict = Literal["better", "worse", "undecided"]
_LEVEL = 0.05


@dataclass(frozen=True)
class Contrast:
    """student and baseline: their values. difference: student - baseline, paired. p_value: of no difference, two-sided.
    gap: ``None`` without a teacher."""

    metric: str
    slice: str
    baseline: str
    student: float
    other: float
    difference: Interval
    better: Literal["lower", "higher"]
    p_value: float
    gap: RecoveredGap | None

    @property
    def verdict(self) -> Verdict:
        """What may be said of the student."""
        if self.p_value >= _LEVEL:
            return "undecided"
        return "better" if (self.student < self.other) == (self.better == "lower") else "worse"

    def rows(self) -> list[Row]:
        """The difference, and the gap; one that is not certified has no value."""
        one, gap = self.difference, self.gap
        rows = [
            Row(STUDENT, f"{self.metric}_minus_{self.baseline}", self.slice, one.value, one.lower, one.upper, one.n)
        ]
        if gap is not None:
            value = gap.value
            rows.append(
                Row(
                    STUDENT,
                    f"{self.metric}_gap_over_{self.baseline}",
                    self.slice,
                    value.value if value else None,
                    value.lower if value else None,
                    value.upper if value else None,
                    gap.n,
                )
            )
        return rows


def contrast(
    name: str,
    slice_name: str,
    baseline: str,
    metric: Metric,
    n: int,
    *,
    better: Literal["lower", "higher"],
    resamples: int,
    seed: int,
    difference: Interval | None = None,
    p_value: float | None = None,
) -> Contrast:
    """metric: weights (b, n) -> (b, 3), columns teacher, student, baseline; the teacher's is nan where it has none.

    difference, p_value: where a better interval than the bootstrap's, and a better test, are known.
    """
    teacher, student, other = metric(np.ones((1, n)))[0]

    def apart(weights: Floats) -> Floats:
        values = metric(weights)
        found: Floats = values[:, 1] - values[:, 2]
        return found

    if difference is None:
        span = (-1.0, 1.0) if name == "agreement" else None
        difference = bootstrap(apart, n, seed=seed, resamples=resamples, span=span)
    if p_value is None:
        p_value = p_other_than_zero(apart, n)
    gap = None if np.isnan(teacher) else recovered_gap(metric, n, better=better, seed=seed, resamples=resamples)
    return Contrast(name, slice_name, baseline, float(student), float(other), difference, better, p_value, gap)


def together(found: Sequence[Contrast]) -> list[Contrast]:
    """The same with Holm's adjusted p-values over all of them: so many comparisons were made."""
    adjusted = holm([one.p_value for one in found]).tolist()
    return [replace(one, p_value=p_value) for one, p_value in zip(found, adjusted, strict=True)]


def contrasts(held: HeldText, baselines: Sequence[str], *, resamples: int, seed: int) -> list[Contrast]:
    """KL, agreement and likelihood against each baseline; by the byte where models split text in unlike ways."""
    found = []
    for baseline in baselines:
        for name in ("kl", "agreement", "nll" if held.alike else "bits_per_byte"):
            student, other = held.measured(STUDENT, name), held.measured(baseline, name)
            if student is None or other is None:
                continue
            teacher = held.measured(TEACHER, name)
            if name in ("kl", "agreement"):  # of the teacher beside itself
                teacher = ((student[1] if name == "agreement" else np.zeros_like(student[1])), student[1])
            teacher = teacher or (np.full_like(student[0], np.nan), student[1])
            columns = [teacher, student, other]
            metric = ratio_of(np.stack([sums for sums, _ in columns], 1), np.stack([count for _, count in columns], 1))
            better: Literal["lower", "higher"] = "higher" if name == "agreement" else "lower"
            found.append(
                contrast(
                    name,
                    held.name,
                    baseline,
                    metric,
                    len(held.documents),
                    better=better,
                    resamples=resamples,
                    seed=seed,
                )
            )
    return found
