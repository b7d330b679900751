"""The student against a baseline on the same documents: the difference, the recovered gap, and what may be said.

found = contrast("kl", "answers", "ce", metric, n, better="lower", resamples=2000, seed=0)
found.verdict          # "better", "worse" or "undecided", from the interval of the difference
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.held_text import HeldText
from stillhouse.statistics import (
    Interval,
    Metric,
    RecoveredGap,
    bootstrap,
    ratio_of,
    recovered_gap,
)

STUDENT = "student"

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class Contrast:
    """student and baseline: their values. difference: student - baseline, paired. gap: ``None`` without a teacher."""

    metric: str
    slice: str
    baseline: str
    student: float
    other: float
    difference: Interval
    better: Literal["lower", "higher"]
    gap: RecoveredGap | None

    @property
    def verdict(self) -> Verdict:
        """What the 95 % interval of the difference says of the student."""
        low, high = self.difference.lower, self.difference.upper
        if self.better == "lower":
            low, high = -high, -low
        return "better" if low > 0 else "worse" if high < 0 else "undecided"

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
) -> Contrast:
    """metric: weights (b, n) -> (b, 3), columns teacher, student, baseline; the teacher's is nan where it has none.

    difference: where a better interval than the bootstrap's is known.
    """
    teacher, student, other = metric(np.ones((1, n)))[0]
    if difference is None:
        difference = bootstrap(lambda w: metric(w)[:, 1] - metric(w)[:, 2], n, seed=seed, resamples=resamples)
    gap = None if np.isnan(teacher) else recovered_gap(metric, n, better=better, seed=seed, resamples=resamples)
    return Contrast(name, slice_name, baseline, float(student), float(other), difference, better, gap)


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
