"""Proxies of a classifier: linear probes that are taught all folds but one and judged on that one.

proving = Proving(features, taught, folds, groups, judged)   # groups: name -> rows (N,)
proving.taught_by(keep)                       # (N,) the proxy, taught the kept rows, says what the teacher said
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from stillhouse.distill.prices import Flags, Proxies, Values
from stillhouse.distill.probe import Matrix, held_out
from stillhouse.distill.scores.labels import Floats
from stillhouse.statistics import Interval, paired_difference, proportion

LEAST_ROWS = 400  # of fewer no difference of half a point can be told


@dataclass(frozen=True)
class Proving(Proxies):
    """The probe's material. The rows that are taught are judged, too, each by a probe that did not see it.

    groups: rows (N,) of each group and class that is judged on its own; ``judged``: rows (N,) that count at all.
    """

    features: Matrix
    taught: Floats
    folds: npt.NDArray[np.int64]
    groups: Mapping[str, Flags]
    judged: Flags
    figure = "accuracy"
    unit = "points of the proxy's accuracy"

    @property
    def size(self) -> int:
        """See :class:`Proxies`."""
        return len(self.taught)

    @property
    def parts(self) -> list[int]:
        """The folds."""
        return [int(one) for one in np.unique(self.folds)]

    def taught_by(
        self, keep: Flags, *, parts: Sequence[int] | None = None, masked: Sequence[str] | None = None
    ) -> Flags:
        """(N,) whether the proxy, taught the kept rows of all other folds, gives a row the label that the teacher gave.

        parts: folds whose rows are judged, all if not given; other rows are False.
        """
        found = np.zeros(self.size, dtype=bool)
        for fold in self.parts if parts is None else parts:
            mine = self.folds == fold
            said = held_out(self.features, self.taught, mine, keep=keep)
            found[mine] = said.argmax(1) == self.taught[mine].argmax(1)
        return found

    def known(self, heart: Flags) -> Flags:
        """Rows that the proxy gets right."""
        return self.taught_by(heart)

    def learned(self, keep: Flags, part: int) -> int:
        """See :class:`Proxies`."""
        return int((keep & (self.folds != part)).sum())

    def too_few(self, keep: Flags) -> str | None:
        """See :class:`Proxies`."""
        total = int(keep.sum())
        return f"{total} rows are too few to tell: a pilot takes {LEAST_ROWS}" if total < LEAST_ROWS else None

    def rows_needed(self, margin: float) -> int | None:
        """Not even where no answer changes does the score bound of n rows, −z²/(n + z²), lie above ``-margin``."""
        return ceil(NormalDist().inv_cdf(0.95) ** 2 * (1 / margin - 1)) if margin else None

    def rows(self, parts: Sequence[int]) -> Flags:
        """See :class:`Proxies`."""
        found: Flags = self.judged & np.isin(self.folds, np.asarray(parts))
        return found

    def level(self, found: Values, rows: Flags, parts: Sequence[int]) -> float:
        """The share of right answers."""
        return float(found[rows].mean())

    def interval(self, found: Values, rows: Flags) -> Interval:
        """The share of right answers."""
        return proportion(found[rows])

    def gain(self, before: Values, after: Values, rows: Flags, parts: Sequence[int]) -> tuple[Interval, float]:
        """The bound is by a score test (:mod:`stillhouse.statistics`)."""
        return paired_difference(before[rows], after[rows], seed=0)

    def written(self, gain: float) -> str:
        """In points."""
        return f"{100 * gain:+.2f}"
