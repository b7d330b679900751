"""Rates of groups, and how they vary: whole items are counted in cells once, and every draw is a row of cell counts.

    tally = Tally.of(gold, teacher_labels, student_labels, group, groups=3, labels=2)
    rates = tally.rates("true positive rate", label=1)             # teacher (G,) and student (G,)
    draws = tally.draws(1000, seed=0)                              # (B, cells): the bootstrap of the items, in cells
    gap(tally.rates("true positive rate", label=1, counts=draws).student)      # (B,)

Drawing N items with replacement and counting cells is a multinomial draw of the cells' counts: the same distribution,
without a loop over rows. Teacher and student come from the same draw and are therefore paired.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from stillhouse.statistics import Floats, Ints
from stillhouse.statistics.inputs import scipy_part

Metric = Literal["selection rate", "true positive rate", "false positive rate", "accuracy"]


class Both(NamedTuple):
    """The same quantity of both models: (G,) or, of draws, (B, G); nan where a group has nothing to count."""

    teacher: Floats
    student: Floats


@dataclass(frozen=True)
class Tally:
    """Items counted by group, gold label and what both models said. ``count`` and the other columns are (cells,).

    per_cluster: a sparse (clusters, cells) table of counts where items lie in clusters, which are then drawn whole.
    """

    group: Ints
    gold: Ints
    teacher: Ints
    student: Ints
    count: Floats
    groups: int
    per_cluster: Any | None = None

    @classmethod
    def of(
        cls,
        gold: Ints,
        teacher: Ints,
        student: Ints,
        group: Ints,
        *,
        groups: int,
        labels: int,
        member: Ints | None = None,
    ) -> Tally:
        """From label numbers below ``labels``, group numbers below ``groups`` and cluster numbers, all (N,)."""
        code = ((group * labels + gold) * labels + teacher) * labels + student
        # few cells: count them all; many: only those that occur
        if groups * labels**3 <= 1 << 16:
            every = np.bincount(code, minlength=groups * labels**3)
            found = np.nonzero(every)[0]
            count = every[found]
        else:
            found, count = np.unique(code, return_counts=True)
        table = None
        if member is not None:
            cell = np.searchsorted(found, code)
            shape = (int(member.max()) + 1, len(found))
            table = scipy_part("sparse").csr_array((np.ones(len(code)), (member, cell)), shape=shape)
        rest, student_label = np.divmod(found, labels)
        rest, teacher_label = np.divmod(rest, labels)
        group_of, gold_label = np.divmod(rest, labels)
        return cls(group_of, gold_label, teacher_label, student_label, count.astype(np.float64), groups, table)

    def draws(self, resamples: int, seed: int) -> Floats:
        """Cell counts (B, cells) of ``resamples`` bootstrap draws of the items, or of whole clusters."""
        rng = np.random.default_rng(seed)
        if self.per_cluster is None:
            n = self.count.sum()
            return rng.multinomial(int(n), self.count / n, size=resamples).astype(np.float64)
        units = self.per_cluster.shape[0]
        times = rng.multinomial(units, np.full(units, 1 / units), size=resamples)
        found: Floats = np.asarray(times @ self.per_cluster, dtype=np.float64)
        return found

    def rates(self, metric: Metric, label: int, counts: Floats | None = None) -> Both:
        """A rate of each group, one ``label`` against the rest; "accuracy" is over all labels.

        counts: (B, cells) of :meth:`draws`; without it, of the items as they are.
        """
        right = self.gold if metric == "accuracy" else label
        teacher, student = self.teacher == right, self.student == right
        inside = np.ones(len(self.gold), dtype=np.bool_)
        if metric in ("true positive rate", "false positive rate"):
            inside = (self.gold == label) == (metric == "true positive rate")
        of_group = (self.group[:, None] == np.arange(self.groups)) & inside[:, None]  # (cells, G)
        columns = np.hstack([of_group, of_group & teacher[:, None], of_group & student[:, None]]).astype(np.float64)
        sums = (self.count if counts is None else counts) @ columns
        n, of_teacher, of_student = np.split(sums, 3, axis=-1)
        blank = np.full_like(n, np.nan)
        return Both(*(np.divide(hits, n, out=blank.copy(), where=n > 0) for hits in (of_teacher, of_student)))


def gap(rates: Floats) -> Floats:
    """The highest rate less the lowest, over the last axis; groups without a rate are left out."""
    known = ~np.isnan(rates)
    found: Floats = np.where(known, rates, -np.inf).max(axis=-1) - np.where(known, rates, np.inf).min(axis=-1)
    return np.where(known.any(axis=-1), found, np.nan)


def equalized_odds_difference(tally: Tally, label: int, counts: Floats | None = None) -> Both:
    """The larger of the gaps in true and in false positive rates (Hardt et al. 2016), as fairlearn defines it."""
    one, two = (tally.rates(m, label, counts) for m in ("true positive rate", "false positive rate"))
    return Both(*(np.fmax(gap(a), gap(b)) for a, b in zip(one, two, strict=True)))


def demographic_parity_difference(tally: Tally, label: int, counts: Floats | None = None) -> Both:
    """The gap in selection rates."""
    return Both(*map(gap, tally.rates("selection rate", label, counts)))


def calibration_errors(
    probabilities: Floats, gold: Ints, group: Ints, groups: int, *, bins: int = 15, weights: Floats | None = None
) -> Floats:
    """Expected calibration error of each group (G,), or (B, G) under ``weights`` (B, N); nan for an empty group.

    The same bins and definition as :func:`stillhouse.statistics.calibration_error`, which has the source.
    """
    confidence = probabilities.max(axis=1)
    inside = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    off = (probabilities.argmax(axis=1) == gold) - confidence
    n = len(gold)
    sparse = scipy_part("sparse").csr_array
    each = np.ones((1, n)) if weights is None else weights
    sums = (sparse((off, (group * bins + inside, np.arange(n))), shape=(groups * bins, n)) @ each.T).T
    support = (sparse((np.ones(n), (group, np.arange(n))), shape=(groups, n)) @ each.T).T
    total = np.abs(sums).reshape(len(each), groups, bins).sum(axis=2)
    found: Floats = np.divide(total, support, out=np.full(support.shape, np.nan), where=support > 0)
    return found[0] if weights is None else found
