"""How much of the tail can go: proxies taught smaller and smaller shares, by successive halving.

    found = pilot(proving, leaving, shares=(1.0, 0.8, 0.6, 0.4, 0.2), margin=0.005, group_margin=0.02)
    found.share                     # the smallest share that is shown to serve all rows, and the worst group, as well

Candidates that are clearly worse drop out after the first and the second fold, or seed, the others are judged on all
(Jamieson and Talwalkar 2016, arXiv 1502.07943, successive halving, with a test in place of a rank).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.distill.prices import Compared, Flags, Proxies, Values


@dataclass(frozen=True)
class Rung:
    """What was found of one share: rows kept, folds (or seeds) it was judged on, the proxy's figure, and how it
    compares with keeping all."""

    share: float
    rows: int
    folds: int
    value: float
    compared: Compared | None
    not_worse: bool
    why: str

    def as_json(self, figure: str) -> dict[str, Any]:
        """For ``cuts.json``, the value under the name of its figure."""
        compared = None if self.compared is None else self.compared.as_json()
        told = {**vars(self), "compared": compared}
        return {figure if name == "value" else name: one for name, one in told.items()}


@dataclass(frozen=True)
class Pilot:
    """share: of the rows that is kept, 1 where nothing may go. rows_trained: by all proxies together."""

    share: float
    why: str
    rungs: tuple[Rung, ...]
    rows_trained: int


def pilot(
    proving: Proxies,
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
    keep = np.ones(proving.size, dtype=bool) if keep is None else keep
    total = int(keep.sum())
    if few := proving.too_few(keep):
        return Pilot(1.0, few, (), 0)
    parts = proving.parts
    ranks = [parts[:1], parts[1:2], parts[2:]]
    candidates = {1.0: keep, **{share: keep & ~leaving(1 - share) for share in shares if share < 1}}
    found: dict[float, Values] = {}
    dropped: dict[float, Rung] = {}
    seen: list[int] = []
    trained = 0
    for part in [one for one in ranks if one]:
        for share, kept in candidates.items():
            if share not in dropped:
                made = proving.taught_by(kept, parts=part)
                found[share] = found[share] + made if share in found else made
                trained += sum(proving.learned(kept, one) for one in part)
        seen += part
        for share in candidates:
            if share == 1 or share in dropped:
                continue
            compared = proving.compare(found[1.0], found[share], parts=seen)
            fine = compared.not_worse(margin, group_margin)
            lost = compared.difference.upper < -margin
            if lost or len(seen) == len(parts):
                why = "not worse" if fine else "clearly worse" if lost else "not shown to be as good"
                dropped[share] = _rung(proving, share, candidates[share], found[share], seen, compared, fine, why)
    whole = _rung(proving, 1.0, keep, found[1.0], seen, None, True, "all rows")
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


def _too_small(proving: Proxies, first: Sequence[Rung], *, margin: float, group_margin: float) -> str:
    """Words where the largest share failed for a group of which nobody could show what is asked."""
    compared = first[0].compared if first else None
    if compared is None or compared.group is None or compared.lower <= -margin:
        return ""
    rows = int((proving.judged & proving.groups[compared.group]).sum())
    needed = proving.rows_needed(group_margin)
    if needed is None or rows >= needed:
        return ""
    return (
        f"; the worst group, {compared.group}, has {rows} rows, and a loss of less than {100 * group_margin:g} points "
        f"cannot be shown of fewer than {needed} (`distill.cuts.group_margin`)"
    )


def _rung(
    proving: Proxies,
    share: float,
    kept: Flags,
    found: Values,
    parts: Sequence[int],
    compared: Compared | None,
    not_worse: bool,
    why: str,
) -> Rung:
    value = proving.sign * proving.level(found, proving.rows(parts), parts)
    return Rung(share, int(kept.sum()), len(parts), value, compared, not_worse, why)
