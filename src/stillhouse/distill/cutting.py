"""Head, heart and tail: which training documents the student is taught, why not the others, and what that costs.

    decision = decide(proving, heads=[HeadCut("refusal", scores, hard(), paid=False)], tail=TailCut(ease, 0.8), …)
    decision.fate[row]                    # None: heart; else which cut took it, by what score against what threshold
    decision.prices, decision.pilot, decision.notes

Nothing is counted twice: a row leaves by the first head that takes it, else by the tail. A cut whose point was chosen
from evidence must not make the proxy worse (:mod:`stillhouse.distill.prices`), or it is left off, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.distill.pilot import Pilot, pilot
from stillhouse.distill.points import Point
from stillhouse.distill.prices import Compared, Price, Proving, price_list
from stillhouse.distill.quotas import follows, quotas, select
from stillhouse.errors import StillhouseError
from stillhouse.removal import Rate, removal_rates

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

TAIL = "tail"
MOST = 0.5  # of a class that a rule may take before it is the class itself that the rule finds


@dataclass(frozen=True)
class HeadCut:
    """scores: (N,). proven: whether it was chosen from evidence, and so has to show that it costs nothing."""

    name: str
    scores: Floats
    point: Point
    proven: bool


@dataclass(frozen=True)
class TailCut:
    """scores: (N,). share: of the rows that leaves; ``None``: a pilot over ``shares`` kept decides; 0: nothing."""

    scores: Floats
    share: float | None
    shares: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2)


@dataclass(frozen=True)
class Fate:
    """Why a row left: the cut, the reason that is counted, its score, and the threshold that it passed."""

    cut: Literal["head", "tail"]
    reason: str
    score: float
    threshold: float


@dataclass(frozen=True)
class Decision:
    """fate: N, ``None`` for the heart. heads: the points as they stand, by name. tail: what is kept and why.

    tail_threshold: the lowest score that left into the tail, where any did. notes: what the distiller should know.
    """

    fate: tuple[Fate | None, ...]
    heads: Mapping[str, Point]
    tail: Point
    tail_threshold: float | None
    pilot: Pilot | None
    prices: tuple[Price, ...]
    rates: tuple[Rate, ...]
    notes: tuple[str, ...]

    @property
    def heart(self) -> Flags:
        """The rows (N,) that are taught."""
        return np.array([one is None for one in self.fate], dtype=bool)


def decide(
    proving: Proving,
    *,
    ids: Sequence[str],
    classes: Sequence[str],
    sources: Sequence[str],
    groups: Mapping[str, Sequence[str | None]],
    strata: Sequence[str] | None,
    heads: Sequence[HeadCut],
    tail: TailCut,
    margin: float,
    group_margin: float,
) -> Decision:
    """Decide about N rows. classes: what each is taught. strata: within which shares are cut; ``None``: without quotas.

    margin, group_margin: what a proven cut may cost the proxy, overall and in the worst-served group.
    """
    fate: list[Fate | None] = [None] * len(ids)
    heart = np.ones(len(ids), dtype=bool)
    points: dict[str, Point] = {}
    masks: dict[str, Flags] = {}
    notes: list[str] = []
    for cut in heads:
        point = cut.point
        leaving = point.leaves(cut.scores) & heart
        if point.kind == "quantile" and strata is not None:
            leaving = _by_quota(proving, cut.scores, point.evidence.get("share", 0.0), ids, strata, heart)
            if leaving.any():  # each stratum has a point of its own; told is the lowest
                point = replace(point, threshold=float(cut.scores[leaving].min()), why=f"{point.why}, by quotas")
        if point.kind == "hard":
            _refuse_a_whole_class(cut.name, leaving, classes)
        elif cut.proven and leaving.any():
            found = proving.compare(proving.right(heart), proving.right(heart & ~leaving))
            if not found.not_worse(margin, group_margin):
                point = replace(point, threshold=None, why=f"left off, since it does not pay: {_words(found)}")
                leaving = np.zeros(len(ids), dtype=bool)
        points[cut.name] = point
        if leaving.any():
            masks[cut.name] = leaving
            heart = heart & ~leaving
            for row in np.nonzero(leaving)[0]:
                fate[row] = Fate("head", cut.name, float(cut.scores[row]), point.threshold or 0.0)
    tail_point, leaving, found_pilot = _tail(
        proving, ids, classes, sources, groups, strata, tail, heart, margin, group_margin, notes
    )
    lowest = float(tail.scores[leaving].min()) if leaving.any() else None
    if lowest is not None:
        masks[TAIL] = leaving
        for row in np.nonzero(leaving)[0]:
            fate[row] = Fate("tail", "taught already", float(tail.scores[row]), lowest)
    rates = _rates(fate, classes, sources, groups)
    notes += [_alarm(rate) for rate in rates if rate.verdict == "alarm"]
    prices = tuple(price_list(proving, masks))
    return Decision(tuple(fate), points, tail_point, lowest, found_pilot, prices, rates, tuple(notes))


def _by_quota(
    proving: Proving, scores: Floats, share: float, ids: Sequence[str], strata: Sequence[str], heart: Flags
) -> Flags:
    """The rows of the heart with the highest scores, a share of them, within strata."""
    found = np.zeros(len(ids), dtype=bool)
    rows = np.nonzero(heart)[0].tolist()
    layers = [strata[row] for row in rows]
    plan = quotas(layers, proving.right(heart)[rows], share=share)
    nobody = np.zeros(len(rows), dtype=bool)
    found[rows] = select(scores[rows], layers, plan, ids=[ids[row] for row in rows], at_random=nobody)
    return found


def _tail(
    proving: Proving,
    ids: Sequence[str],
    classes: Sequence[str],
    sources: Sequence[str],
    groups: Mapping[str, Sequence[str | None]],
    strata: Sequence[str] | None,
    tail: TailCut,
    heart: Flags,
    margin: float,
    group_margin: float,
    notes: list[str],
) -> tuple[Point, Flags, Pilot | None]:
    nothing = np.zeros(len(ids), dtype=bool)
    if tail.share == 0:
        return Point("none", None, "not cut"), nothing, None
    rows = np.nonzero(heart)[0].tolist()
    scores, names = tail.scores[rows], [ids[row] for row in rows]
    layers = ["all"] * len(rows) if strata is None else [strata[row] for row in rows]
    right = proving.right(heart)[rows] if strata is not None else np.zeros(len(rows), dtype=bool)
    at_random = np.zeros(len(rows), dtype=bool)
    if strata is not None:
        coarse = [f"{classes[row]} · {sources[row]}" for row in rows]
        at_random, told = follows(scores, coarse, {name: [part[row] for row in rows] for name, part in groups.items()})
        notes += [f"the tail's score follows a group, so chance decides there: {one}" for one in told]

    def leaving(share: float) -> Flags:
        plan = {"all": share} if strata is None else quotas(layers, right, share=share)
        found = nothing.copy()
        found[rows] = select(scores, layers, plan, ids=names, at_random=at_random)
        return found

    if tail.share is not None:
        return (
            Point("quantile", None, f"{tail.share:.1%} set by hand", {"share": tail.share}),
            leaving(tail.share),
            None,
        )
    found = pilot(proving, leaving, shares=tail.shares, margin=margin, group_margin=group_margin, keep=heart)
    mask = leaving(1 - found.share) if found.share < 1 else nothing
    return Point("pilot", None, found.why, {"share": 1 - found.share}), mask, found


def _refuse_a_whole_class(name: str, leaving: Flags, classes: Sequence[str]) -> None:
    """A rule that takes most of a class has found what the class is about."""
    labels = np.array(classes, dtype=object)
    for label in sorted(set(classes)):
        mine = labels == label
        if leaving[mine].mean() > MOST and leaving[mine].sum() > 1:
            raise StillhouseError(
                f"the rule `{name}` would take {leaving[mine].mean():.0%} of the documents labelled {label!r}: it seems"
                " to find just what this label is about",
                where="distill.cuts.heads",
                fix=f"leave {name} out of the heads, or give it `point: {{kind: none}}`",
            )


def _rates(
    fate: Sequence[Fate | None],
    classes: Sequence[str],
    sources: Sequence[str],
    groups: Mapping[str, Sequence[str | None]],
) -> tuple[Rate, ...]:
    """What left from each class, source and group."""
    kinds: dict[str, Sequence[str | None]] = {"label": classes, "source": sources, **groups}
    counts: dict[tuple[str, str, str | None], int] = {}
    for kind, values in kinds.items():
        for value, one in zip(values, fate, strict=True):
            key = (kind, value or "none", one.reason if one else None)
            counts[key] = counts.get(key, 0) + 1
    return tuple(removal_rates(counts))


def _alarm(rate: Rate) -> str:
    why = ", ".join(f"{name} ({number})" for name, number in rate.reasons)
    more = "" if rate.ratio is None else f", {rate.ratio:.2f} times the others' share"
    return f"{rate.kind} {rate.value} lost {rate.rate:.1%} of its rows{more}: {why}"


def _words(found: Compared) -> str:
    group = ""
    if found.group is not None and found.group_difference is not None and found.group_lower is not None:
        group = f"; {found.group} {100 * found.group_difference:+.2f} (bound {100 * found.group_lower:+.2f})"
    return f"{100 * found.difference.value:+.2f} points of the proxy's accuracy (bound {100 * found.lower:+.2f}){group}"
