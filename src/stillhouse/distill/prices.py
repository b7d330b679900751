"""What a cut costs and buys: a proxy student with and without it, judged on rows that it did not see.

    proving = Proving(features, taught, folds, groups, judged)   # groups: name -> rows (N,)
    proving.right(keep)                           # (N,) the proxy, taught the kept rows, says what the teacher said
    compared = proving.compare(before, after)     # of two such arrays: difference, bound, worst group
    price_list(proving, {"label-doubt": leaves})  # none, all, and all but each

Rows that are cut are judged too: whoever leaves rows out has to serve them all the same. What the teacher says is taken
for the truth, since gold labels are not looked at; where it is wrong, both sides of a comparison suffer alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.distill.probe import Matrix, held_out
from stillhouse.distill.scores.labels import Floats
from stillhouse.statistics import Interval, paired_difference, proportion

Flags = npt.NDArray[np.bool_]

LEAST = 50  # rows of a group that is judged on its own


@dataclass(frozen=True)
class Compared:
    """after less before, in shares of right answers: of all rows, and of the group that is served worst.

    lower: one-sided 95 % bounds, by a score test (:mod:`stillhouse.statistics`). group: the one that is worst after;
    group_difference: what it has then, less what the group that was worst before had before, which is taken as it is.
    """

    difference: Interval
    lower: float
    group: str | None
    group_difference: float | None
    group_lower: float | None

    def not_worse(self, margin: float, group_margin: float) -> bool:
        """Whether both bounds lie above their margins."""
        return self.lower > -margin and (self.group_lower is None or self.group_lower > -group_margin)

    def as_json(self) -> dict[str, Any]:
        """For ``cuts.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Price:
    """A line of the price list. rows: that are taught. seconds of training are in proportion to them.

    accuracy, worst: with 95 % intervals. against_none: the difference to no cut at all; ``None`` of that line itself.
    """

    cuts: str
    rows: int
    accuracy: Interval
    group: str | None
    worst: Interval | None
    against_none: Compared | None

    def as_json(self) -> dict[str, Any]:
        """For ``cuts.json``."""
        return asdict(self)


@dataclass(frozen=True)
class Proving:
    """The proxy's material. groups: rows (N,) of each group and class that is judged on its own; ``judged``: rows (N,)
    that count at all."""

    features: Matrix
    taught: Floats
    folds: npt.NDArray[np.int64]
    groups: Mapping[str, Flags]
    judged: Flags

    def right(self, keep: Flags, *, folds: Sequence[int] | None = None) -> Flags:
        """(N,) whether the proxy, taught the kept rows of all other folds, gives a row the label that the teacher gave.

        folds: those whose rows are judged, all if not given; other rows are False.
        """
        wanted = np.unique(self.folds) if folds is None else np.asarray(folds)
        found = np.zeros(len(self.taught), dtype=bool)
        for fold in wanted:
            mine = self.folds == fold
            said = held_out(self.features, self.taught, mine, keep=keep)
            found[mine] = said.argmax(1) == self.taught[mine].argmax(1)
        return found

    def rows(self, folds: Sequence[int] | None = None) -> Flags:
        """The judged rows of these folds."""
        return self.judged if folds is None else self.judged & np.isin(self.folds, np.asarray(folds))

    def compare(self, before: Flags, after: Flags, *, folds: Sequence[int] | None = None) -> Compared:
        """Paired over the judged rows of the folds."""
        rows = self.rows(folds)
        whole, lower = paired_difference(before[rows], after[rows], seed=0)
        group = self.worst(after, rows)
        if group is None:
            return Compared(whole, lower, None, None, None)
        mine = rows & self.groups[group]
        part, part_lower = paired_difference(before[mine], after[mine], seed=0)
        # what this group had more than the one that was worst before it may lose
        spare = float(before[mine].mean()) - min(float(before[rows & one].mean()) for one in self._large(rows))
        return Compared(whole, lower, group, part.value + spare, part_lower + spare)

    def _large(self, rows: Flags) -> list[Flags]:
        return [mine for mine in self.groups.values() if (rows & mine).sum() >= LEAST]

    def worst(self, right: Flags, rows: Flags) -> str | None:
        """The group with the smallest share of right answers; ``None`` where there is none of :data:`LEAST` rows."""
        shares = {
            name: float(right[rows & mine].mean()) for name, mine in self.groups.items() if (rows & mine).sum() >= LEAST
        }
        return min(shares, key=lambda name: (shares[name], name), default=None)

    def price(self, name: str, keep: Flags, right: Flags, none: Flags | None) -> Price:
        """The line of one choice of cuts."""
        group = self.worst(right, self.judged)
        return Price(
            name,
            int(keep.sum()),
            proportion(right[self.judged]),
            group,
            None if group is None else proportion(right[self.judged & self.groups[group]]),
            None if none is None else self.compare(none, right),
        )


def price_list(proving: Proving, cuts: Mapping[str, Flags]) -> list[Price]:
    """No cut, all, and all but each: (N,) rows that leave, by the name of their cut; without judged rows nothing."""
    if not proving.judged.any():
        return []
    nothing = np.ones(len(proving.taught), dtype=bool)
    none = proving.right(nothing)
    found = [proving.price("none", nothing, none, None)]
    gone = {name: leaves for name, leaves in cuts.items() if leaves.any()}
    if not gone:
        return found
    keep = ~np.any(list(gone.values()), axis=0)
    found.append(proving.price("all", keep, proving.right(keep), none))
    if len(gone) > 1:
        for name in gone:
            others = ~np.any([leaves for other, leaves in gone.items() if other != name], axis=0)
            found.append(proving.price(f"all but {name}", others, proving.right(others), none))
    return found
