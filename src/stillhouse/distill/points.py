"""Where to cut: a threshold for a score, chosen from evidence, with what was known when it was chosen.

point = risk(calibration_scores, harmful, epsilon=0.05)  # or hard(), at(0.8), quantile(scores, 0.1), mixture(scores)
point.leaves(scores)                                     # (N,) True: into the cut

A row leaves where its score is above the threshold; so the largest threshold that means anything leaves all in place.
The tail's point, chosen by a pilot, is a share and not a threshold: see :mod:`stillhouse.distill.pilot`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.statistics import loosest_kept, strictest_lost

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ASHMAN = 2.0  # two components less apart than this are one
_ROUNDS = 200


@dataclass(frozen=True)
class Point:
    """threshold: rows with a higher score leave; ``None``: no row does. why: how it was chosen, or why nothing is cut.

    evidence: the numbers behind it, as JSON values.
    """

    kind: str
    threshold: float | None
    why: str
    evidence: dict[str, Any] = field(default_factory=dict)

    def leaves(self, scores: Floats) -> Flags:
        """Which rows (N,) leave; a score that is no number never makes a row leave."""
        if self.threshold is None:
            return np.zeros(len(scores), dtype=bool)
        found: Flags = np.nan_to_num(scores, nan=-np.inf) > self.threshold
        return found


def hard() -> Point:
    """Every row that the rule applies to leaves."""
    return Point("hard", 0.0, "a rule: every row that it applies to leaves")


def at(threshold: float) -> Point:
    """A threshold that someone set."""
    return Point("given", threshold, "set by hand")


def quantile(scores: Floats, share: float) -> Point:
    """The ``share`` of rows with the highest scores leaves; ties stay together, on the side that leaves fewer."""
    most = math.floor(share * len(scores) + 1e-9)
    if most == 0:
        return Point("quantile", None, "the share is less than one row")
    known = scores[~np.isnan(scores)]
    if not len(known):
        return Point("quantile", None, "no score is a number")
    below = float(np.nextafter(known.min(), -math.inf))  # the place of what is no number, which stays
    threshold = float(np.sort(np.where(np.isnan(scores), below, scores))[::-1][most])
    return Point("quantile", threshold, f"the {share:.1%} with the highest scores", {"share": share})


def risk(
    scores: Floats,  # (M,) of the calibration rows
    bad: Flags,  # (M,) what must stay rare
    *,
    epsilon: float,
    confidence: float = 0.95,
    of: str = "kept",
) -> Point:
    """A threshold whose promise holds although it was chosen from the same rows.

    of ``kept``: the loosest threshold at which at most ``epsilon`` of the rows that are kept are bad. of ``lost``: the
    strictest at which at most ``epsilon`` of the rows that are *not* bad leave. In each case for rows like the
    calibration rows, with ``confidence`` over draws of them: in at most one draw of twenty is the promise broken.

    Fixed-sequence testing, see :mod:`stillhouse.statistics.fixed_sequence`. Rows whose score is no number never leave,
    and count as the lowest.
    """
    unknown = np.isnan(scores)
    scores = np.where(unknown, scores[~unknown].min(initial=math.inf), scores)
    kept = of != "lost"
    what = f"at most {epsilon:.1%} of the {'kept rows are harmful' if kept else 'sound rows leave'}"
    evidence: dict[str, Any] = {"epsilon": epsilon, "confidence": confidence, "of": of, "rows": len(scores)}
    held = (loosest_kept if kept else strictest_lost)(scores, bad, epsilon=epsilon, confidence=confidence)
    if held is None:
        return Point("risk", None, f"no threshold can promise that {what}: {len(scores)} calibration rows", evidence)
    evidence |= {"seen": held.seen, "among": held.among, "bound": held.bound}
    seen = f"{confidence:.0%}; {held.seen} of {held.among} seen"
    if held.threshold == math.inf:
        why = f"{what} ({seen}), and no row has to leave" if kept else f"no row may leave, so that {what}"
        return Point("risk", None, why, evidence)
    threshold = max(held.threshold, float(np.nextafter(scores.min(), -math.inf)))  # below it: every row leaves
    leaving = int((scores > threshold).sum())
    return Point("risk", threshold, f"{what} ({seen}, {leaving} would leave)", evidence)


def mixture(scores: Floats) -> Point:
    """Where the scores are of two kinds, the border between them: each row is likelier of the higher kind above it.

    Two normal components on the logit of the scores, by expectation-maximization (Dempster et al. 1977). Refused where
    Ashman's D, the distance of the means over their pooled spread, is below 2 (Ashman et al. 1994): then there is no
    border, and every one would be taste. Scores lie in [0, 1]; those of 0, which say nothing of a row, and what is no
    number are left out: beside so many equal scores any others would be a kind of their own.
    """
    inside = np.clip(scores[scores > 0], 1e-6, 1 - 1e-6)
    x = np.log(inside / (1 - inside))
    fitted = _two_normals(x)
    if fitted is None:
        return Point("mixture", None, "the scores do not vary")
    share, means, spreads = fitted
    distance = abs(means[1] - means[0]) * math.sqrt(2) / math.hypot(*spreads)
    evidence = {"ashman_d": distance, "share": share, "rows": len(inside)}
    if distance < ASHMAN:
        return Point("mixture", None, f"the scores are not of two kinds (Ashman's D {distance:.2f}, below 2)", evidence)
    between = np.linspace(means[0], means[1], 2001)
    upper = np.log(share) + _log_normal(between, means[1], spreads[1])
    lower = np.log(1 - share) + _log_normal(between, means[0], spreads[0])
    border = float(between[int(np.argmax(upper > lower))])
    threshold = 1 / (1 + math.exp(-border))
    why = f"two kinds of scores (Ashman's D {distance:.2f}), the higher with {share:.1%} of the rows above 0"
    return Point("mixture", threshold, why, evidence)


def _two_normals(x: Floats) -> tuple[float, tuple[float, float], tuple[float, float]] | None:
    """Share of the upper one, means, spreads; from the halves of the data, which no seed decides."""
    if len(np.unique(x)) < 4:
        return None
    middle = (x.min() + x.max()) / 2
    weight = (x > middle).astype(np.float64)
    floor = max(float(x.std()) * 1e-3, 1e-9)
    share, means, spreads = 0.5, (0.0, 0.0), (1.0, 1.0)
    for _ in range(_ROUNDS):
        share = float(np.clip(weight.mean(), 1e-6, 1 - 1e-6))
        parts = (1 - weight, weight)
        means = tuple(float((part * x).sum() / max(part.sum(), 1e-12)) for part in parts)  # type: ignore[assignment]
        spreads = tuple(  # type: ignore[assignment]
            max(math.sqrt(float((part * (x - mean) ** 2).sum() / max(part.sum(), 1e-12))), floor)
            for part, mean in zip(parts, means, strict=True)
        )
        upper = np.log(share) + _log_normal(x, means[1], spreads[1])
        lower = np.log(1 - share) + _log_normal(x, means[0], spreads[0])
        new = 1 / (1 + np.exp(np.clip(lower - upper, -700, 700)))
        if float(np.abs(new - weight).max()) < 1e-9:
            break
        weight = new
    return share, means, spreads


def _log_normal(x: Floats, mean: float, spread: float) -> Floats:
    found: Floats = -(((x - mean) / spread) ** 2) / 2 - math.log(spread)
    return found
