"""Flip rates: in how many pairs of sentences that differ in one term alone does the label differ?

flips = Flips.of(swaps, "religion", teacher_probs, student_probs)
flips.excess, flips.upper(), flips.p_beyond(0.01), flips.needed(0.01)

The template (of the user's own texts: the document) is the unit of all intervals, since a sentence that stands at the
edge of two labels flips in many of its pairs at once. Student's t over templates decides. Flips are rare and come in
lumps, and a sample without a lump looks surer than it is; so the bound that lets pass takes in one template more, whose
terms the student parts evenly and the teacher does not: no flip in 50 templates does not prove that none would be in
3,000. In simulations where the excess was the limit (1 or 3 points, 50 to 300 templates of 3 to 12 terms) up to 7 % of
the students passed, and up to 6 % failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.statistics import Flags, Floats, Interval, Ints, mean_of, resample
from stillhouse.statistics.inputs import scipy_part
from stillhouse.statistics.resampling import percentile_interval

_POWER = 0.8
_ROUNDING = 1e-9
_MOST = 10_000_000  # templates; what needs more is as good as on the limit


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

        def interval(value: float, drawn: Floats) -> Interval:
            return percentile_interval(value, drawn, size, span=(-1.0, 1.0), units=self.templates)

        return interval(float(flips), draws[:, 0]), interval(float(moves), draws[:, 1])

    def upper(self) -> float:
        """The one-sided 95 % upper bound of the excess, with one more template of an even split; at most 1."""
        mean, deviation = self._with_a_lump(*self._by_template(), self.templates)
        return min(1.0, _upper(mean, deviation, self.templates + 1))

    def p_beyond(self, limit: float) -> float:
        """The one-sided p-value of "the excess is no more than ``limit``"."""
        return p_above(self.by_template(), limit)

    def needed(self, limit: float) -> int | None:
        """Pairs, as many in a template as here, that show the excess seen to be within ``limit``, with a power of 80 %.

        ``None`` where it is not within: then more pairs would show that.
        """
        mean, deviation = self._by_template()
        power = float(scipy_part("special").ndtri(_POWER))

        def suffices(templates: int) -> bool:
            bound = _upper(*self._with_a_lump(mean, deviation, templates), templates + 1)
            return bound + power * deviation / math.sqrt(templates) <= limit

        low = self.templates
        high = low + 1
        while not suffices(high):
            low, high = high, 2 * high
            if high > _MOST:
                return None
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if suffices(middle) else (middle, high)
        return math.ceil(high * len(self.cluster) / self.templates)

    def by_template(self) -> Floats:
        """(T,) values whose mean is the excess: of templates with perhaps unlike many pairs, a ratio made linear."""
        off = self.student_flipped.astype(np.float64) - self.teacher_flipped
        sums, sizes = np.bincount(self.cluster, off), np.bincount(self.cluster)
        values: Floats = self.excess + (sums - self.excess * sizes) / sizes.mean()
        return values

    def _by_template(self) -> tuple[float, float]:
        """The excess and its standard deviation between templates."""
        return self.excess, _deviation(self.by_template())

    def _with_a_lump(self, mean: float, deviation: float, templates: int) -> tuple[float, float]:
        """Mean and deviation of ``templates`` templates and one more, in which terms that split evenly flip."""
        sizes = np.bincount(self.cluster)
        terms = round((1 + math.sqrt(1 + 8 * float(sizes.mean()))) / 2)
        lump = (terms // 2) * ((terms + 1) // 2) / math.comb(terms, 2)
        squares = (templates - 1) * deviation**2 + (lump - mean) ** 2 * templates / (templates + 1)
        return mean + (lump - mean) / (templates + 1), math.sqrt(squares / templates)


def p_above(values: Floats, limit: float) -> float:
    """The one-sided p-value of "their mean is no more than ``limit``": Student's t over (T,) templates."""
    mean, deviation, templates = float(values.mean()), _deviation(values), len(values)
    if deviation < _ROUNDING:  # all alike: the chance that they all lie on one side
        return 0.5**templates if mean > limit + _ROUNDING else 1.0
    t = (mean - limit) / deviation * math.sqrt(templates)
    return float(scipy_part("special").stdtr(templates - 1, -t))


def _deviation(values: Floats) -> float:
    off = values - values.mean()
    return math.sqrt(float(off @ off) / max(len(values) - 1, 1))


def _upper(mean: float, deviation: float, templates: int) -> float:
    return mean + float(scipy_part("special").stdtrit(templates - 1, 0.95)) * deviation / math.sqrt(templates)
