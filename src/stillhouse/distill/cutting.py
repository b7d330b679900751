"""Head, heart and tail: which training documents the student is taught, why not the others, and what that costs.

    rows = Rows(ids, classes, sources, groups, strata)
    heads = [HeadCut("refusal", scores, hard(), proven=False)]
    decision = decide(rows, proving, heads=heads, tail=TailCut(easy, "taught already", 0.2), …)
    decision.fate[row]                    # None: heart; else which cut took it, by what score against what threshold
    decision.prices, decision.pilot, decision.notes

Nothing is counted twice: a row leaves by the first head that takes it, else by the tail. A cut that is meant
to make the student better must not make the proxy worse (:mod:`stillhouse.distill.prices`), or it is left off. Where
no proxy can be trained, :class:`Unproven` stands in for it: then no cut is proven and nothing has a price.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from stillhouse.distill.pilot import Pilot, pilot
from stillhouse.distill.points import Point, at
from stillhouse.distill.prices import Compared, Price, Proxies, price_list
from stillhouse.distill.quotas import LIMIT, follows, quotas, select, strata_of
from stillhouse.errors import StillhouseError
from stillhouse.removal import Rate, removal_rates

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

TAIL = "tail"
CROSSED = "stratum"
TOLD = 50  # of the values of a label, source or group, whatever was taken from them
WEAKER = 1.1  # so many times more rows than are taught, and a promise about them is another one
MOST = 0.5  # of a class that a rule may take before it is the class itself that the rule finds


@dataclass(frozen=True)
class Rows:
    """What is known of N rows. classes: what each is taught; ``None`` of rows that are not of classes. strata: within
    which shares are cut; ``None``: all."""

    ids: Sequence[str]
    classes: Sequence[str] | None
    sources: Sequence[str]
    groups: Mapping[str, Sequence[str | None]]
    strata: Sequence[str] | None

    def __len__(self) -> int:
        return len(self.ids)

    def at(self, places: Sequence[int]) -> Rows:
        """Some of the rows."""
        return Rows(
            [self.ids[row] for row in places],
            None if self.classes is None else [self.classes[row] for row in places],
            [self.sources[row] for row in places],
            {name: [values[row] for row in places] for name, values in self.groups.items()},
            None if self.strata is None else [self.strata[row] for row in places],
        )

    @property
    def coarse(self) -> list[str]:
        """Class × source of each row."""
        if self.classes is None:
            return list(self.sources)
        return [f"{label} · {source}" for label, source in zip(self.classes, self.sources, strict=True)]


@dataclass(frozen=True)
class Unproven:
    """In place of proxies. mastered: (N,) rows that a model has right before any training."""

    mastered: Flags

    def known(self, heart: Flags) -> Flags:
        """The same rows, whatever is taught."""
        return self.mastered


@dataclass(frozen=True)
class HeadCut:
    """scores: (N,). proven: it is meant to make the student better, and so has to show that it costs nothing. firm: it
    promises something about the rows that stay, and the run stops rather than go on without."""

    name: str
    scores: Floats
    point: Point
    proven: bool
    firm: bool = False


@dataclass(frozen=True)
class TailCut:
    """scores: (N,). reason: that is counted. share: of the rows that leaves; ``None``: a pilot decides over ``shares``
    that may be kept; 0: nothing. above: rows with a higher score leave instead, whatever share that is."""

    scores: Floats
    reason: str
    share: float | None
    shares: tuple[float, ...] = (0.8, 0.6, 0.4, 0.2)
    above: float | None = None


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

    tail_threshold: the lowest score that left into the tail, or the one given, where any did. notes: what the distiller
    should know.
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
    rows: Rows,
    proving: Proxies | Unproven,
    *,
    heads: Sequence[HeadCut],
    tail: TailCut,
    margin: float = 0.0,
    group_margin: float = 0.0,
) -> Decision:
    """Decide about every row.

    margin, group_margin: what a proven cut, and the pilot's tail, may cost the proxy, overall and in the worst-served
    group; only :class:`Proxies` can prove. Raises :class:`StillhouseError` for a rule that takes most of a class, for a
    firm cut that does not pay, and where no row would be left.
    """
    fate: list[Fate | None] = [None] * len(rows)
    heart = np.ones(len(rows), dtype=bool)
    points: dict[str, Point] = {}
    masks: dict[str, Flags] = {}
    followed: list[str] = []
    torn: list[str] = []
    for cut in heads:
        point = cut.point
        leaving = point.leaves(cut.scores) & heart
        if point.kind == "hard":
            _refuse_a_whole_class(cut.name, leaving, rows.classes or ())
        elif point.kind == "quantile" and rows.strata is not None:
            at_random, told = _by_chance(rows, cut.scores, heart, what=f"the score of {cut.name}")
            share = point.evidence.get("share", 0.0)
            leaving = _by_quota(rows, cut.scores, heart, proving.known(heart), share=share, at_random=at_random)
            followed += told
            torn += _whole_rows(rows, leaving, heart, share=share, what=cut.name)
            why = f"{point.why}, by quotas{_fewer(leaving, heart, share)}"
            # each stratum has a point of its own; told is the lowest
            point = replace(point, threshold=float(cut.scores[leaving].min()) if leaving.any() else None, why=why)
        elif cut.proven and isinstance(proving, Proxies) and leaving.any() and proving.judged.any():
            found = proving.compare(proving.taught_by(heart), proving.taught_by(heart & ~leaving))
            if not found.not_worse(margin, group_margin):
                if cut.firm:
                    raise _broken_promise(cut, found, proving)
                point = replace(point, threshold=None, why=f"left off, since it does not pay: {_words(found, proving)}")
                leaving = np.zeros(len(rows), dtype=bool)
        points[cut.name] = point
        if leaving.any():
            masks[cut.name] = leaving
            heart = heart & ~leaving
            for row in np.nonzero(leaving)[0]:
                fate[row] = Fate("head", cut.name, float(cut.scores[row]), point.threshold or 0.0)
    _refuse_to_take_all(fate)
    tail_point, leaving, trial, notes = _tail(rows, proving, tail, heart, margin=margin, group_margin=group_margin)
    lowest = None
    if leaving.any():
        lowest = float(tail.scores[leaving].min()) if tail.above is None else tail.above
    if lowest is not None:
        masks[TAIL] = leaving
        if tail.above is None:
            torn += _whole_rows(rows, leaving, heart, share=float(tail_point.evidence["share"]), what=TAIL)
        for row in np.nonzero(leaving)[0]:
            fate[row] = Fate("tail", tail.reason, float(tail.scores[row]), lowest)
        heart = heart & ~leaving
        _refuse_to_take_all(fate)
    rates = _rates(fate, rows)
    alarms = [_alarm(rate) for rate in rates if rate.verdict == "alarm"]
    notes = [*_weaker_promises(heads, points, heart), *followed, *notes, *torn, *alarms]
    prices = tuple(price_list(proving, masks)) if isinstance(proving, Proxies) else ()
    return Decision(tuple(fate), points, tail_point, lowest, trial, prices, rates, tuple(notes))


def _weaker_promises(heads: Sequence[HeadCut], points: Mapping[str, Point], heart: Flags) -> list[str]:
    """What is left of promises about kept rows where other cuts take many of them, which may be all the sound ones."""
    found = []
    for cut in heads:
        point = points[cut.name]
        if point != cut.point or point.kind != "risk" or point.evidence.get("of") != "kept":
            continue  # left off, or about rows that leave
        kept, stay = int((~point.leaves(cut.scores)).sum()), int(heart.sum())
        epsilon = point.evidence["epsilon"]
        if "bound" in point.evidence and kept > WEAKER * stay:
            found.append(
                f"{cut.name} promises at most {epsilon:.1%} harmful among the {kept:,} rows that it keeps; other cuts"
                f" leave {stay:,} of them, among which that allows {min(1.0, epsilon * kept / max(1, stay)):.1%}"
            )
    return found


def _broken_promise(cut: HeadCut, found: Compared, proving: Proxies) -> StillhouseError:
    return StillhouseError(
        f"`{cut.name}` does not pay, so that it would be left off, and then nothing is promised of the rows that stay:"
        f" {_words(found, proving)}",
        where="distill.cuts.heads",
        fix=f"allow it to cost so much (`distill.cuts.margin`, `group_margin`), take the rows whatever that costs"
        f" (`point: {{kind: given, at: {cut.point.threshold:.4g}}}`), or go on without the promise (`unmet: keep`)",
    )


def _whole_rows(rows: Rows, leaving: Flags, heart: Flags, *, share: float, what: str) -> list[str]:
    """In words, strata so small that with whole rows they lose more than :data:`LIMIT` times the share asked for."""
    if rows.strata is None:
        return []
    strata = np.array(rows.strata, dtype=object)
    had, lost = Counter(strata[heart].tolist()), Counter(strata[leaving].tolist())
    most = share * LIMIT
    over = sorted(
        (one for one in lost if lost[one] > most * had[one] + 1e-9), key=lambda one: (-lost[one] / had[one], one)
    )
    if not over:
        return []
    return [
        f"{what}: whole rows leave, so that {len(over)} of {len(had)} strata lose more than {LIMIT:g} times the"
        f" {share:.1%} asked for; most of all {over[0]}: {lost[over[0]]} of {had[over[0]]} rows"
    ]


def _by_quota(
    rows: Rows, scores: Floats, heart: Flags, right: Flags, *, share: float, at_random: Flags | None = None
) -> Flags:
    """The rows of the heart with the highest scores, a share of them, within strata where there are any.

    Rows with the lowest score of all stay, as those without one do, though fewer leave then: by a score that says the
    same of half the rows, such as a rule's, no other half can be chosen but by their names.

    right: (N,) rows that the proxy gets right. at_random: (N,) rows whose stratum is cut by chance.
    """
    found = np.zeros(len(rows), dtype=bool)
    places = np.nonzero(heart)[0].tolist()
    part = rows.at(places)
    strata = ["all"] * len(part) if part.strata is None else part.strata
    plan = {"all": share} if part.strata is None else quotas(strata, right[places], share=share)
    chance = np.zeros(len(part), dtype=bool) if at_random is None else at_random[places]
    mine = np.where(np.isnan(scores[places]), -np.inf, scores[places])
    told = mine > mine.min(initial=np.inf)
    found[places] = select(mine, strata, plan, ids=part.ids, at_random=chance) & (told | chance & ~np.isinf(mine))
    return found


def _fewer(leaving: Flags, heart: Flags, share: float) -> str:
    """In words, that fewer rows left than were asked for."""
    asked, number = round(share * int(heart.sum())), int(leaving.sum())
    return f", of which {number} of {asked} rows leave: all others score the lowest" if number < asked else ""


def _by_chance(rows: Rows, scores: Floats, heart: Flags, *, what: str) -> tuple[Flags, list[str]]:
    """Rows (N,) of the heart among which a score follows a group, so that chance decides; and that, in words."""
    found = np.zeros(len(rows), dtype=bool)
    places = np.nonzero(heart)[0].tolist()
    part = rows.at(places)
    found[places], told = follows(scores[places], part.coarse, part.groups)
    return found, [f"{what} follows a group, so chance decides there: {one}" for one in told]


def _tail(
    rows: Rows, proving: Proxies | Unproven, tail: TailCut, heart: Flags, *, margin: float, group_margin: float
) -> tuple[Point, Flags, Pilot | None, list[str]]:
    """The point of the tail, which rows leave by it, the pilot that chose it, and what the distiller should know."""
    nothing = np.zeros(len(rows), dtype=bool)
    if tail.share == 0:
        return Point("none", None, "not cut"), nothing, None, []
    if tail.above is not None:
        point = at(tail.above)
        return point, point.leaves(tail.scores) & heart, None, []
    at_random = nothing
    notes: list[str] = []
    if rows.strata is not None:
        at_random, notes = _by_chance(rows, tail.scores, heart, what="the tail's score")
    known = proving.known(heart)

    def leaving(share: float) -> Flags:
        return _by_quota(rows, tail.scores, heart, known, share=share, at_random=at_random)

    if tail.share is not None:
        mask = leaving(tail.share)
        why = f"{tail.share:.1%} set by hand{_fewer(mask, heart, tail.share)}"
        return Point("quantile", None, why, {"share": tail.share}), mask, None, notes
    if not isinstance(proving, Proxies):
        raise AssertionError("a pilot takes a proxy to train")
    found = pilot(proving, leaving, shares=tail.shares, margin=margin, group_margin=group_margin, keep=heart)
    mask = leaving(1 - found.share) if found.share < 1 else nothing
    return Point("pilot", None, found.why, {"share": 1 - found.share}), mask, found, notes


def _refuse_a_whole_class(name: str, leaving: Flags, classes: Sequence[str]) -> None:
    """A rule that takes most of a class has found what the class is about; without classes it is not asked."""
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


def _refuse_to_take_all(fate: Sequence[Fate | None]) -> None:
    if not fate or None in fate:
        return
    taken = Counter(one.reason for one in fate if one is not None)
    raise StillhouseError(
        f"no row is left to teach: {', '.join(f'{reason} takes {number:,}' for reason, number in taken.most_common())}",
        where="distill.cuts",
        fix="give the largest of them a higher threshold, a smaller share, or `point: {kind: none}`",
    )


def _rates(fate: Sequence[Fate | None], rows: Rows) -> tuple[Rate, ...]:
    """What left from each class, source and group, of many the :data:`TOLD` largest, and every alarm; of where these
    cross the alarms alone."""
    kinds: dict[str, Sequence[str | None]] = {"source": rows.sources}
    kinds |= {f"group {name}": values for name, values in rows.groups.items()}
    if rows.classes is not None:
        kinds = {"label": rows.classes, **kinds}
    crossed = strata_of(rows.classes, rows.sources, rows.groups)
    if len(set(crossed)) > max(len(set(values)) for values in kinds.values()):
        kinds[CROSSED] = crossed
    reasons = [one.reason if one else None for one in fate]
    counts: Counter[tuple[str, str, str | None]] = Counter()
    for kind, values in kinds.items():
        counts.update((kind, value or "none", reason) for value, reason in zip(values, reasons, strict=True))
    rates = removal_rates(counts)
    shown: Counter[str] = Counter({CROSSED: TOLD})
    large = set()
    for place in sorted(range(len(rates)), key=lambda place: (-rates[place].rows, rates[place].value)):
        shown[rates[place].kind] += 1
        if shown[rates[place].kind] <= TOLD:
            large.add(place)
    return tuple(one for place, one in enumerate(rates) if place in large or one.verdict == "alarm")


def _alarm(rate: Rate) -> str:
    why = ", ".join(f"{name} ({number})" for name, number in rate.reasons)
    more = "" if rate.ratio is None else f", {rate.ratio:.2f} times the others' share"
    return f"{rate.kind} {rate.value} lost {rate.rate:.1%} of its rows{more}: {why}"


def _words(found: Compared, proving: Proxies) -> str:
    value, bound = proving.written(found.difference.value), proving.written(found.lower)
    words = f"{value} {proving.unit} (bound {bound})"
    if found.group is not None and found.group_difference is not None and found.group_lower is not None:
        words += (
            f"; {found.group} {proving.written(found.group_difference)} (bound {proving.written(found.group_lower)})"
        )
    return words
