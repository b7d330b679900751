"""How much of the tail can go: proxies taught smaller and smaller shares, by successive halving.

    found = pilot(proving, leaving, shares=(1.0, 0.8, 0.6, 0.4, 0.2), margin=0.005, group_margin=0.02)
    found.share                     # the smallest share that is shown to serve all rows, and the worst group, as well

Candidates that are clearly worse drop out after the first and the second fold (Jamieson and Talwalkar 2016, arXiv
1502.07943, successive halving, with a test in place of a rank), the others are judged on all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.distill.prices import Compared, Proving

Flags = npt.NDArray[np.bool_]

LEAST_ROWS = 400  # of fewer no difference of half a point can be told


@dataclass(frozen=True)
class Rung:
    """What was found of one share: rows kept, folds it was judged on, and how it compares with keeping all."""

    share: float
    rows: int
    folds: int
    accuracy: float
    compared: Compared | None
    not_worse: bool
    why: str

    def as_json(self) -> dict[str, Any]:
        """For ``cuts.json``."""
        compared = None if self.compared is None else self.compared.as_json()
        return {**vars(self), "compared": compared}


@dataclass(frozen=True)
class Pilot:
    """share: of the rows that is kept, 1 where nothing may go. rows_trained: by all proxies together."""

    share: float
    why: str
    rungs: tuple[Rung, ...]
    rows_trained: int


def pilot(
    proving: Proving,
    leaving: Callable[[float], Flags],
    *,
    shares: Sequence[float],
    margin: float,
    group_margin: float,
    keep: Flags | None = None,
) -> Pilot:
    """Choose the smallest share that is not worse than all rows, overall and for the worst-served group.

    leaving: which rows (N,) leave when so large a share of them does. keep: rows (N,) that other cuts leave in place.
    """
    keep = np.ones(len(proving.taught), dtype=bool) if keep is None else keep
    total = int(keep.sum())
    if total < LEAST_ROWS:
        return Pilot(1.0, f"{total} rows are too few to tell: a pilot takes {LEAST_ROWS}", (), 0)
    folds = [int(one) for one in np.unique(proving.folds)]
    ranks = [folds[:1], folds[1:2], folds[2:]]
    candidates = {1.0: keep, **{share: keep & ~leaving(1 - share) for share in shares if share < 1}}
    right = {share: np.zeros(len(keep), dtype=bool) for share in candidates}
    dropped: dict[float, Rung] = {}
    seen: list[int] = []
    trained = 0
    for part in [one for one in ranks if one]:
        for share, kept in candidates.items():
            if share not in dropped:
                right[share] |= proving.right(kept, folds=part)
                trained += sum(int((kept & (proving.folds != fold)).sum()) for fold in part)
        seen += part
        for share in candidates:
            if share == 1 or share in dropped:
                continue
            compared = proving.compare(right[1.0], right[share], folds=seen)
            fine = compared.not_worse(margin, group_margin)
            lost = compared.difference.upper < -margin
            if lost or len(seen) == len(folds):
                why = "not worse" if fine else "clearly worse" if lost else "not shown to be as good"
                dropped[share] = _rung(proving, share, candidates[share], right[share], seen, compared, fine, why)
    whole = _rung(proving, 1.0, keep, right[1.0], seen, None, True, "all rows")
    rungs = (whole, *(dropped[share] for share in sorted(dropped, reverse=True)))
    # from all rows downwards, and no further than the first that fails: less cannot be right where more was wrong
    share = 1.0
    for rung in rungs[1:]:
        if not rung.not_worse:
            break
        share = rung.share
    why = (
        f"the smallest share that serves as well: {share:.0%} of {total} rows"
        if share < 1
        else "no smaller share is shown to serve all rows and the worst group as well"
        + _too_small(proving, rungs[1:2], margin=margin, group_margin=group_margin)
    )
    return Pilot(share, why, rungs, trained)


def _too_small(proving: Proving, first: Sequence[Rung], *, margin: float, group_margin: float) -> str:
    """Words where the largest share failed for a group of which nobody could show what is asked: not even where no
    answer changes does the score bound of n rows, −z²/(n + z²), lie above ``-group_margin``."""
    compared = first[0].compared if first else None
    if compared is None or compared.group is None or compared.lower <= -margin:
        return ""
    rows = int((proving.rows() & proving.groups[compared.group]).sum())
    needed = ceil(NormalDist().inv_cdf(0.95) ** 2 * (1 / group_margin - 1)) if group_margin else None
    if needed is None or rows >= needed:
        return ""
    return (
        f"; the worst group, {compared.group}, has {rows} rows, and a loss of less than {100 * group_margin:g} points "
        f"cannot be shown of fewer than {needed} (`distill.cuts.group_margin`)"
    )


def _rung(
    proving: Proving,
    share: float,
    kept: Flags,
    right: Flags,
    folds: list[int],
    compared: Compared | None,
    not_worse: bool,
    why: str,
) -> Rung:
    rows = proving.rows(folds)
    return Rung(share, int(kept.sum()), len(folds), float(right[rows].mean()), compared, not_worse, why)
