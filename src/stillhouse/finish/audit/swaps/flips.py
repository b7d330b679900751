"""Flip rates: in how many pairs of sentences that differ in one term alone does the label differ?

flips = Flips.of(swaps, "religion", teacher_probs, student_probs)
flips.excess, flips.upper(), flips.p_beyond(0.01), flips.needed(0.01)

The template (of the user's own texts: the document) is the unit of all intervals, since a sentence that stands at the
edge of two labels flips in many of its pairs at once. What decides is the score test of the house's statistics, whose
bounds hold where few pairs flip or none: no flip in 30 templates does not prove that none would be in 3,000.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.statistics import Flags, Floats, Interval, Ints, mean_of, resample
from stillhouse.statistics.inputs import scipy_part
from stillhouse.statistics.resampling import percentile_interval
from stillhouse.statistics.score_bounds import STUDENT, TEACHER, Pairs

_POWER = 0.8
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Flips:
    """P pairs of one attribute. flipped: (P,), whether the labels differ; moved: (P,), the distance of the
    probabilities, half the sum of their absolute differences, from 0 to 1. cluster: (P,), numbers of templates.
    """

    teacher_flipped: Flags
    student_flipped: Flags
    teacher_moved: Floats
    student_moved: Floats
    cluster: Ints

    @classmethod
    def of(cls, swaps: SwapSet, attribute: str, teacher_probs: Floats, student_probs: Floats) -> Flips:
        """Compare the texts of every pair. probs: (N, K), in the order of the set's texts."""
        first, second, cluster = swaps.pairs(attribute)
        flipped, moved = [], []
        for probs in (teacher_probs, student_probs):
            calls = probs.argmax(axis=1)
            flipped.append(calls[first] != calls[second])
            moved.append(np.abs(probs[first] - probs[second]).sum(axis=1) / 2)
        return cls(flipped[0], flipped[1], moved[0], moved[1], cluster)

    @property
    def excess(self) -> float:
        """The student's flip rate minus the teacher's."""
        return float(self.student_flipped.mean() - self.teacher_flipped.mean())

    @property
    def templates(self) -> int:
        """How many templates, or documents, the pairs come from."""
        return int(self.cluster.max()) + 1

    def intervals(self, *, resamples: int, seed: int) -> tuple[Interval, Interval]:
        """Of the excess of flips and of the excess of movement: percentile bootstrap, whole templates drawn."""
        columns = np.stack(
            [
                self.student_flipped.astype(np.float64) - self.teacher_flipped,
                self.student_moved - self.teacher_moved,
            ],
            axis=1,
        )
        size = len(columns)
        draws = resample(mean_of(columns), size, seed=seed, resamples=resamples, clusters=self.cluster)
        flips, moves = columns.mean(axis=0)
        return percentile_interval(float(flips), draws[:, 0], size), percentile_interval(
            float(moves), draws[:, 1], size
        )

    def upper(self) -> float:
        """The one-sided 95 % upper bound of the excess."""
        return -self._pairs(less=True).lower(lambda x: STUDENT - TEACHER - x, -self.excess, floor=-1.0)

    def p_beyond(self, limit: float) -> float:
        """The one-sided p-value of "the excess is no more than ``limit``"."""
        return self._pairs(less=False).p_value(STUDENT - TEACHER - limit)

    def needed(self, limit: float) -> int | None:
        """Pairs, as many in a template as here, that show the excess seen to be within ``limit``, with a power of 80 %.

        ``None`` where it is not within: then more pairs would show that.
        """
        if self.excess > limit - _ROUNDING:
            return None
        special = scipy_part("special")
        each = len(self.cluster) / self.templates
        z = float(special.ndtri(0.95))
        # where no pair tells the two apart: templates after which Tango's bound of none lies at the limit
        fewest = z * z * (1 - limit) / limit * each
        off = self.student_flipped.astype(np.float64) - self.teacher_flipped - self.excess
        sums = np.bincount(self.cluster, off)
        variance = float(sums @ sums) / len(off)  # of one pair, times the design effect
        usual = (z + float(special.ndtri(_POWER))) ** 2 * variance / (limit - self.excess) ** 2
        return math.ceil(max(fewest if variance == 0 else 0.0, usual, len(off) + 1))

    def _pairs(self, *, less: bool) -> Pairs:
        """As paired answers, right where flipped; ``less``: teacher and student changed round, which bounds above."""
        both = (self.teacher_flipped.astype(np.float64), self.student_flipped.astype(np.float64))
        teacher, student = both[::-1] if less else both
        return Pairs(teacher, student, self.cluster)
