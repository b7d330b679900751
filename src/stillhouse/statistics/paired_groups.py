"""Two models in several groups: are groups driven apart, does the worst-served one lose, which lie away from the rest?

    pairs = GroupPairs.of(group, 3, teacher_right, student_right)    # group numbers (n,), flags (n,) and (n,)
    driven_apart(pairs, limit=0.02)       # the two groups whose gap grew most, with a bound that decides
    worst_loss(pairs, margin=0.03)        # the student's worst group against the teacher's
    from_the_rest(pairs, STUDENT_RATE)    # each group's rate less that of all others, with simultaneous intervals

Why not bootstrap the gap? The gap, the highest rate less the lowest, is biased upwards, the more the noisier the rates
are. A student that errs more often than its teacher, alike in all groups, has the larger sampled gap: in simulations of
such fair pairs with groups of 20 to 120 items the percentile bootstrap called half of the audits amplified. Differences
between two named groups have no such bias, and the teacher's noise is paired with the student's.

Variances are those of a multinomial with half an item added to each of the four outcomes of every group (Agresti &
Caffo 2000 for two groups, Agresti & Min 2005 for pairs), times the design effect where items lie in clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stillhouse.statistics.inputs import Flags, Floats, Ints, demand, scipy_part

# A contrast adds up rates of the teacher (columns 0 to G-1) and of the student (columns G to 2G-1).
TEACHER_RATE, STUDENT_RATE = (1.0, 0.0), (0.0, 1.0)
DRIFT = (-1.0, 1.0)  # student less teacher

_SURE = 0.955  # two ways of being within a limit share an error of 5 %: the paired one gets nine tenths of it
_OTHER = 0.005
_AWAY = 0.90  # of the second test, see driven_apart; it does not guard a fair pair, whose differences do not change


@dataclass(frozen=True)
class GroupPairs:
    """Rates (G,) of two models in G groups, ``n`` (G,) items, and what is needed for the variance of any contrast.

    Covariances are (2G, 2G), teacher first. ``degrees`` of freedom come from the number of clusters, None without any.
    """

    n: Ints
    rates: Floats
    shrunk: Floats
    smooth: Floats
    plain: Floats
    clustered: Floats | None
    degrees: int | None

    @classmethod
    def of(cls, group: Ints, size: int, teacher: Flags, student: Flags, member: Ints | None = None) -> GroupPairs:
        """From flags (n,) of both models, group numbers (n,) below ``size`` and, if any, cluster numbers (n,)."""
        outcome = 2 * teacher.astype(np.int64) + student
        counts = np.bincount(group * 4 + outcome, minlength=4 * size).reshape(size, 4).astype(np.float64)
        n = counts.sum(axis=1)
        demand(bool((n > 0).all()), "a group has no items", "GroupPairs", "leave groups without items out")
        rates, plain = _moments(counts)
        shrunk, smooth = _moments(counts + 0.5)
        clustered, degrees = None, None
        if member is not None:
            units = int(member.max()) + 1
            sums = np.empty((units, 2 * size))
            for column in range(2 * size):
                here = group == column % size
                flags = (teacher if column < size else student)[here]
                sums[:, column] = np.bincount(member[here], (flags - rates[column]) / n[column % size], minlength=units)
            clustered, degrees = sums.T @ sums * units / max(units - 1, 1), max(units - 1, 1)
        return cls(n.astype(np.int64), rates, shrunk, smooth, plain, clustered, degrees)

    @property
    def size(self) -> int:
        """How many groups there are."""
        return len(self.n)

    def error(self, variance: Callable[[Floats], Floats]) -> Floats:
        """Standard errors of contrasts, given how their variances follow from a covariance (2G, 2G)."""
        smooth = variance(self.smooth)
        if self.clustered is None:
            return np.sqrt(np.maximum(smooth, 0.0))
        alone, together = variance(self.plain), variance(self.clustered)
        # where nothing varies nothing is known of the clusters; few clusters can look better than independent items
        effect = np.divide(together, alone, out=np.ones_like(alone), where=alone > 1e-12)
        return np.sqrt(np.maximum(smooth * np.maximum(effect, 0.5), 0.0))

    def contrast(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Of weights (P, 2G): the values, the shrunk values that intervals are centered on, and standard errors."""
        error = self.error(lambda covariance: np.einsum("pi,ij,pj->p", weights, covariance, weights, optimize=True))
        return weights @ self.rates, weights @ self.shrunk, error

    def quantile(self, level: float) -> float:
        """Of the standard normal, or of Student's t with few clusters."""
        special = scipy_part("special")
        return float(special.ndtri(level) if self.degrees is None else special.stdtrit(self.degrees, level))

    def tail(self, z: Floats) -> Floats:
        """The chance of a value above ``z``."""
        special = scipy_part("special")
        found: Floats = special.ndtr(-z) if self.degrees is None else special.stdtr(self.degrees, -z)
        return found


@dataclass(frozen=True)
class Excess:
    """The largest of several quantities, and whether it lies beyond a limit.

    ``first`` and ``second`` are the groups it was found in. ``lower`` and ``upper`` are a two-sided 95 % interval of
    the largest one, ``upper_95`` its one-sided bound, ``p_value`` of "none lies beyond the limit". ``hardest`` is the
    group that keeps the upper bound high, ``n`` its items, and ``needed`` how many it would take to show, with a power
    of 80 %, that a student without any change is within the limit.
    """

    first: int
    second: int
    teacher: float
    student: float
    value: float
    lower: float
    upper: float
    upper_95: float
    p_value: float
    hardest: int
    n: int
    needed: int


def driven_apart(pairs: GroupPairs, limit: float) -> Excess:
    """How much further apart the student holds any two groups than the teacher: |s_i - s_j| - |t_i - t_j|, at most.

    With two groups this is the student's gap less the teacher's; with more it is never below that, so that what is
    within the limit here has no gap that grew by more. ``first`` is the group with the student's higher rate.

    The decision rests on the change of the signed difference, (s_i - s_j) - (t_i - t_j), in which what the models share
    cancels; that the change is away from zero is tested at 10 % beside it, since it hangs on the teacher's own
    difference, which is not paired with anything. Where the student turns a difference round, only that second test
    stands between a gap of equal size and a failure.
    """
    demand(pairs.size > 1, "one group has no gap", "driven_apart", "give at least two groups")
    g = pairs.size
    i, j = np.nonzero(~np.eye(g, dtype=bool))
    apart = [(rates[g + i] - rates[g + j], rates[i] - rates[j]) for rates in (pairs.rates, pairs.shrunk)]

    def error(sign: float) -> Floats:
        def variance(covariance: Floats) -> Floats:
            t, s, c = covariance[:g, :g], covariance[g:, g:], covariance[g:, :g]
            both = s + t + sign * (c + c.T)
            own = np.diagonal(both)
            found: Floats = own[i] + own[j] - 2 * both[i, j]
            return found

        return pairs.error(variance)

    (a, b), (near_a, near_b) = apart
    value = np.abs(a) - np.abs(b)
    value[a < 0] = -np.inf  # the same two groups the other way round
    return _excess(
        pairs,
        limit,
        value,
        (near_a - near_b, error(-1.0)),
        ((near_a + near_b)[:, None], error(1.0)[:, None]),
        (i, j),
        np.where(pairs.n[i] < pairs.n[j], i, j),
        (np.abs(b), np.abs(a)),
        both_ways=True,
    )


def worst_loss(pairs: GroupPairs, margin: float) -> Excess:
    """The teacher's lowest rate less the student's: how much worse off the student's worst group is than the teacher's.

    ``first`` is the student's worst group and ``second`` the teacher's. The decision rests on what a group lost
    itself; that no group of the teacher's was that badly off before is tested at 10 % beside it.
    """
    g = pairs.size
    own = np.arange(g)
    t, s = pairs.shrunk[:g], pairs.shrunk[g:]

    def variance(covariance: Floats) -> Floats:
        found: Floats = np.diagonal(covariance)[g:, None] + np.diagonal(covariance)[None, :g] - 2 * covariance[g:, :g]
        return found

    error = pairs.error(variance)  # (student's group, teacher's group)
    off = ~np.eye(g, dtype=bool)
    others = (t[None, :] - s[:, None])[off].reshape(g, g - 1), error[off].reshape(g, g - 1)
    worst = int(pairs.rates[:g].argmin())
    value = pairs.rates[worst] - pairs.rates[g:]
    before = np.full(g, pairs.rates[worst])
    names = own, np.full(g, worst)
    main = t - s, error[own, own]
    return _excess(pairs, margin, value, main, others, names, own, (before, pairs.rates[g:]))


def _excess(
    pairs: GroupPairs,
    limit: float,
    value: Floats,
    main: tuple[Floats, Floats],
    others: tuple[Floats, Floats],
    names: tuple[Ints, Ints],
    smaller: Ints,
    levels: tuple[Floats, Floats],
    both_ways: bool = False,
) -> Excess:
    """The largest of P quantities, each the least of a main contrast (P,) and of some others (P, K).

    names: the two groups that each is about; smaller: the one whose items limit the main contrast. both_ways: every
    quantity comes with its mirror image, and only one of the two can lie on its limit: the other is 2 ``limit`` off.
    """
    count, beside = others[0].shape
    z = pairs.quantile
    beyond = (main[0] - limit) / main[1]
    held = ((others[0] - limit) / others[1] > z(_AWAY)).all(axis=1)
    chance = pairs.tail(beyond)
    if both_ways:
        chance = (chance + pairs.tail(beyond + 2 * limit / main[1])) / 2
    p = np.where(held, np.minimum(1.0, chance * count), 1.0)

    def upper(sure: float, other: float) -> Floats:
        bound = main[0] + z(sure) * main[1]
        if beside:
            bound = np.minimum(bound, (others[0] + z(1 - other / beside) * others[1]).min(axis=1))
        return np.maximum(bound, value)

    # of the largest: its upper bound needs no correction for the others, its lower bound does
    lower = main[0] - z(1 - 0.025 / count) * main[1]
    if beside:
        lower = np.minimum(lower, (others[0] - z(_AWAY) * others[1]).min(axis=1))
    one_sided = upper(_SURE, _OTHER)
    at = int(p.argmin()) if p.min() < 0.05 else int(value.argmax())
    at = at if np.isfinite(value[at]) else int(value.argmax())
    first, second = int(names[0][at]), int(names[1][at])
    widest = int(one_sided.argmax())
    hardest = int(smaller[widest])
    n = int(pairs.n[hardest])
    factor = ((z(_SURE) + z(0.8)) * float(main[1][widest]) / limit) ** 2 if limit > 0 else np.inf
    return Excess(
        first,
        second,
        float(levels[0][at]),
        float(levels[1][at]),
        float(value[at]),
        min(float(lower.max()), float(value[at])),
        float(upper(0.975 + (_SURE - 0.95) / 2, _OTHER / 2).max()),
        float(one_sided.max()),
        float(p.min()),
        hardest,
        n,
        int(np.ceil(n * min(factor, 1e9 / n))),
    )


@dataclass(frozen=True)
class Contrast:
    """A group's rate (or its drift) less that of all others, with an interval; all intervals hold at once."""

    group: int
    teacher: float
    student: float
    value: float
    lower: float
    upper: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.lower > 0 or self.upper < 0


def from_the_rest(pairs: GroupPairs, what: tuple[float, float], *, among: int | None = None) -> list[Contrast]:
    """Each group's rate less that of all others together, of ``TEACHER_RATE``, of ``STUDENT_RATE`` or as ``DRIFT``.

    The intervals hold with 95 % for ``among`` contrasts at once (Bonferroni); without it, for those returned. Of two
    groups one says everything: the smaller.
    """
    demand(pairs.size > 1, "one group has no others", "from_the_rest", "give at least two groups")
    chosen = [int(pairs.n.argmin())] if pairs.size == 2 else range(pairs.size)
    own = np.array([_against_rest(pairs.n, group) for group in chosen])  # (P, G)
    none = np.zeros_like(own)
    weights = np.hstack([what[0] * own, what[1] * own])
    value, near, error = pairs.contrast(weights)
    teacher = np.hstack([own, none]) @ pairs.rates
    student = np.hstack([none, own]) @ pairs.rates
    z = pairs.quantile(1 - 0.025 / (among or len(own)))
    return [
        Contrast(
            group,
            float(teacher[at]),
            float(student[at]),
            float(value[at]),
            float(min(value[at], near[at] - z * error[at])),
            float(max(value[at], near[at] + z * error[at])),
            int(pairs.n[group]),
        )
        for at, group in enumerate(chosen)
    ]


def _against_rest(n: Ints, group: int) -> Floats:
    weights = -n / (n.sum() - n[group])
    weights[group] = 1.0
    found: Floats = weights
    return found


def _moments(counts: Floats) -> tuple[Floats, Floats]:
    """Rates (2G,), teacher first, and their covariance (2G, 2G), of counts (G, 4): none, student, teacher, both."""
    n = counts.sum(axis=1)
    _, student, teacher, both = (counts / n[:, None]).T
    t, s = teacher + both, student + both
    covariance = np.diag(np.concatenate([t * (1 - t) / n, s * (1 - s) / n]))
    at = np.arange(len(n))
    covariance[at, len(n) + at] = covariance[len(n) + at, at] = (both - s * t) / n
    return np.concatenate([t, s]), covariance
