"""Comparing two models on the same items: intervals, one-sided bounds, exact tests, per-class scores.

Plain arrays in, frozen dataclasses out; whatever draws takes a seed. A stage asks::

    kept = retention(teacher_correct, student_correct, chance=0.25, margin=0.03, seed=0)
    kept.difference_lower_95     # the bound that decides non-inferiority
    kept.not_certified           # why the chance-corrected ratio is missing, or None

Two-sided intervals describe: Wilson's for one accuracy, a percentile bootstrap for what is made of several. The
one-sided bounds of :func:`retention` decide, and come from a score test. In simulations of paired answers (accuracies
0.4 to 0.95, 3 to 30 % discordant items, n=200 and n=2000) they covered 94.4 to 96.2 %, and up to 97.6 % at n=200 when
every discordant item was the teacher's; in like simulations the percentile bootstrap covered 92.3 to 96.0 % and the
normal bound 88.0 to 95.1 %. With clusters (10 to 50 of 4 to 20 items) they covered 94.3 to 95.7 %.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillhouse.errors import StillhouseError

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Metric = Callable[[Floats], Floats]  # weights (B, n) -> one value per resample (B,), or k of them (B, k)

_CHUNK = 1 << 21  # weights held at once: 16 MB of doubles
# The four outcomes of a pair, in the order every count vector below uses: both right, student only, teacher only, none.
_STUDENT = np.array([1.0, 1.0, 0.0, 0.0])
_TEACHER = np.array([1.0, 0.0, 1.0, 0.0])


@dataclass(frozen=True)
class Interval:
    """A value with its two-sided 95 % interval, from ``n`` items."""

    value: float
    lower: float
    upper: float
    n: int


@dataclass(frozen=True)
class McNemar:
    """``b`` items only the first model got right, ``c`` only the second; two-sided exact ``p_value``."""

    b: int
    c: int
    p_value: float


@dataclass(frozen=True)
class Retention:
    """How much of the teacher's accuracy T the student's S kept, over the same ``n`` items.

    ``ratio`` is S/T, ``chance_corrected`` (S - chance)/(T - chance), ``difference`` S - T (negative: the student is
    worse). A ``*_lower_95`` is the one-sided 95 % lower bound. ``non_inferior`` is None when no margin was asked for.
    """

    n: int
    teacher: Interval
    student: Interval
    difference: Interval
    difference_lower_95: float
    ratio: Interval | None
    ratio_lower_95: float | None
    chance_corrected: Interval | None
    chance_corrected_lower_95: float | None
    not_certified: str | None
    non_inferior: bool | None


# ---- one proportion --------------------------------------------------------------------------------------------


def proportion(correct: ArrayLike) -> Interval:
    """The share of true items of ``correct`` (n,), with Wilson's 95 % interval (Wilson 1927); n == 0 is an error."""
    flags = _flags(correct, "proportion")
    value = float(flags.mean())
    z = float(_scipy("special").ndtri(0.975))
    lower, upper = _wilson(value, flags.size, z)
    return Interval(value, lower, upper, flags.size)


def clopper_pearson_upper(k: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided upper bound of a proportion, ``k`` of ``n`` seen (Clopper & Pearson 1934).

    With k = 0 it is the exact form of the rule of three, about 3/n.
    """
    _check_counts(k, n, confidence, "clopper_pearson_upper")
    return 1.0 if k == n else float(_scipy("special").betaincinv(k + 1, n - k, confidence))


def clopper_pearson_lower(k: int, n: int, confidence: float = 0.95) -> float:
    """Exact one-sided lower bound of a proportion, ``k`` of ``n`` seen (Clopper & Pearson 1934)."""
    _check_counts(k, n, confidence, "clopper_pearson_lower")
    return 0.0 if k == 0 else float(_scipy("special").betaincinv(k, n - k + 1, 1.0 - confidence))


# ---- the bootstrap ---------------------------------------------------------------------------------------------


def resample(metric: Metric, n: int, *, seed: int, resamples: int = 2000, clusters: ArrayLike | None = None) -> Floats:
    """Values of ``metric`` over ``resamples`` draws of ``n`` items with replacement: (B,) or (B, k).

    ``metric`` gets weights (b, n), how often each item was drawn, and is called once per chunk of rows. A row sums to
    n without clusters; with ``clusters`` (n,) whole clusters are drawn and the sum varies, so divide by it. Quantities
    computed from the same weights are paired.
    """
    _demand(
        n >= 1 and resamples >= 1,
        f"a bootstrap cannot be made of {n} items and {resamples} resamples",
        "resample",
        "give at least one item and one resample",
    )
    rng = np.random.default_rng(seed)
    member = None if clusters is None else _members(clusters, n)
    units = n if member is None else int(member.max()) + 1
    rows = max(1, _CHUNK // n)
    parts = []
    for start in range(0, resamples, rows):
        b = min(rows, resamples - start)
        # one flat bincount: several times faster than rng.multinomial, and the same distribution
        drawn = rng.integers(0, units, size=(b, units)) + np.arange(b)[:, None] * units
        counts = np.bincount(drawn.ravel(), minlength=b * units).reshape(b, units).astype(np.float64)
        parts.append(metric(counts if member is None else counts[:, member]))
    return np.concatenate(parts)


def bootstrap(
    metric: Metric, n: int, *, seed: int, resamples: int = 2000, clusters: ArrayLike | None = None
) -> Interval:
    """The percentile bootstrap interval of a ``metric`` that gives one value per row of weights (see ``resample``)."""
    value = float(metric(np.ones((1, n)))[0])
    draws = resample(metric, n, seed=seed, resamples=resamples, clusters=clusters)
    return _percentile(value, draws, n)


def mean_of(values: ArrayLike) -> Metric:
    """The metric that averages ``values`` (n,), or each column of (n, k); a difference is the mean of differences."""
    columns = np.asarray(values, dtype=np.float64)

    def metric(weights: Floats) -> Floats:
        total = weights.sum(axis=1)
        mean: Floats = weights @ columns / (total if columns.ndim == 1 else total[:, None])
        return mean

    return metric


# ---- what the student kept -------------------------------------------------------------------------------------


def retention(
    teacher_correct: ArrayLike,
    student_correct: ArrayLike,
    *,
    chance: float,
    margin: float | None = None,
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> Retention:
    """Compare paired answers (n,) and (n,) of teacher and student; ``chance`` is the accuracy of a blind guess.

    The student is ``non_inferior`` when the lower bound of S - T lies above ``-margin`` (accuracy, 0.01 = one point).
    With ``clusters`` (n,), items of one document or template, every interval and bound takes the cluster as its unit.
    A ratio to a teacher not clearly above chance means nothing: it is None and ``not_certified`` says why.

    Interval and bound differ by design where no item is discordant: the interval is then [0, 0], the bound stays
    below 0, because n equal answers do not prove two equal models.
    """
    teacher, student = _pair(teacher_correct, student_correct, "retention")
    _demand(0.0 <= chance < 1.0, f"chance is {chance}", "retention", "give an accuracy from 0 to below 1")
    if margin is not None:
        _demand(0.0 < margin <= 1.0, f"the margin is {margin}", "retention", "give it as a share: 0.03 for 3 points")
    n = teacher.size
    member = np.arange(n) if clusters is None else _members(clusters, n)
    pairs = _Pairs(teacher.astype(np.float64), student.astype(np.float64), member)
    draws = resample(
        mean_of(np.stack([pairs.teacher, pairs.student], axis=1)),
        n,
        seed=seed,
        resamples=resamples,
        clusters=None if clusters is None else member,
    )
    difference = float((pairs.student - pairs.teacher).mean())
    difference_lower = pairs.lower(lambda x: _STUDENT - _TEACHER - x, difference, floor=-1.0)
    ratio, ratio_lower, _ = _kept(pairs, draws, 0.0)
    corrected, corrected_lower, reason = _kept(pairs, draws, chance)
    return Retention(
        n=n,
        teacher=pairs.accuracy(_TEACHER),
        student=pairs.accuracy(_STUDENT),
        difference=_percentile(difference, draws[:, 1] - draws[:, 0], n),
        difference_lower_95=difference_lower,
        ratio=ratio,
        ratio_lower_95=ratio_lower,
        chance_corrected=corrected,
        chance_corrected_lower_95=corrected_lower,
        not_certified=reason,
        non_inferior=None if margin is None else difference_lower > -margin,
    )


def _kept(pairs: _Pairs, draws: Floats, chance: float) -> tuple[Interval | None, float | None, str | None]:
    """(S - chance)/(T - chance) with its one-sided lower bound, or the reason why neither can be stated."""
    t, s = float(pairs.teacher.mean()), float(pairs.student.mean())
    effective, quantile = pairs.effective(_TEACHER, 0.95)
    t_lower = _wilson(t, float(effective.sum()), quantile)[0]
    if t_lower <= chance:
        return (
            None,
            None,
            f"not certified: the teacher's accuracy {t:.3f} on {pairs.teacher.size} items is not clearly above "
            f"chance {chance:.3f} (one-sided 95 % lower bound {t_lower:.3f})",
        )
    value = (s - chance) / (t - chance)
    # the student is at worst always wrong, so nothing lies below this ratio to a teacher at its own lower bound
    floor = -chance / (t_lower - chance)
    lower = pairs.lower(lambda x: _STUDENT - x * _TEACHER - (1.0 - x) * chance, value, floor=floor)
    above = draws[:, 0] > chance  # a resampled teacher at or below chance has no ratio
    ratios = (draws[above, 1] - chance) / (draws[above, 0] - chance)
    return _percentile(value, ratios, pairs.teacher.size), lower, None


@dataclass(frozen=True)
class _Pairs:
    """Paired answers as 0.0 and 1.0 (n,), and the cluster number of each item (n,)."""

    teacher: Floats
    student: Floats
    member: Ints

    def effective(self, weights: Floats, level: float) -> tuple[Floats, float]:
        """Outcome counts (4,) of independent items worth as much, and the quantile of ``level`` that goes with them.

        The counts are divided by the design effect of the mean of ``weights`` (4,), the variance between clusters
        over that of independent items (Kish 1965), and few clusters widen the quantile to Student's. For clusters of
        one item nothing changes.
        """
        cell = (3 - 2 * self.student - self.teacher).astype(np.int64)
        counts = np.bincount(cell, minlength=4).astype(np.float64)
        n, units = cell.size, int(self.member.max()) + 1
        off = weights[cell] - weights[cell].mean()
        independent = float(off @ off) * n / max(n - 1, 1)
        sums = np.bincount(self.member, off, minlength=units)
        between = float(sums @ sums) * units / max(units - 1, 1)
        # no variance to learn from: take the items of a cluster for one; few clusters can look better than independent
        effect = n / units if independent < 1e-9 else max(between / independent, 0.5)
        quantile = _scipy("special").ndtri(level) if units == n else _scipy("special").stdtrit(units - 1, level)
        return counts / effect, float(quantile)

    def accuracy(self, weights: Floats) -> Interval:
        """Accuracy of ``_TEACHER`` or ``_STUDENT`` with Wilson's interval on the effective number of items."""
        effective, quantile = self.effective(weights, 0.975)
        value = float(effective @ weights / effective.sum())
        return Interval(value, *_wilson(value, float(effective.sum()), quantile), self.member.size)

    def lower(self, weights: Callable[[float], Floats], start: float, *, floor: float) -> float:
        """One-sided 95 % bound: the smallest x in [floor, start] at which "E[weights(x)] = 0" is not rejected."""
        counts, quantile = self.effective(weights(start), 0.95)
        low, high = floor, start
        for _ in range(34):  # bisection to 1e-10 of the range; the score may be infinite at its floor
            x = (low + high) / 2
            if _score(counts, weights(x)) > quantile:
                low = x
            else:
                high = x
        return low


def _score(counts: Floats, weights: Floats) -> float:
    """Score statistic of "the mean of ``weights`` (4,) is 0" for multinomial ``counts`` (4,).

    The variance is taken at the maximum likelihood under that hypothesis, p_j ~ counts_j / (1 + m weights_j) (Aitchison
    & Silvey 1958). For S - T - x it is Tango's (1998) statistic for paired proportions; its coverage holds where the
    sample's own variance is too small because few items are discordant.
    """
    total, n = float(counts @ weights), float(counts.sum())
    highest, lowest = float(weights.max()), float(weights.min())
    if highest <= 0.0 or lowest >= 0.0:  # no distribution on the outcomes has mean 0, save at a 0 weight
        return math.copysign(math.inf, total) if total else 0.0
    # plain floats: four terms are too few for array arithmetic; an outcome never seen may still have a probability
    terms: list[tuple[float, float]] = [
        (count + 1e-8 * n, w) for count, w in zip(counts.tolist(), weights.tolist(), strict=True)
    ]

    def mean(m: float) -> float:  # falls with m
        return sum(count * w / (1 + m * w) for count, w in terms)

    low, high = -(1 - 1e-12) / highest, -(1 - 1e-12) / lowest
    if mean(low) <= 0.0:
        m = low
    elif mean(high) >= 0.0:
        m = high
    else:
        m = float(_scipy("optimize").brentq(mean, low, high, xtol=1e-13, rtol=1e-12))
    shares = [(count / (1 + m * w), w) for count, w in terms]
    variance = sum(share * w * w for share, w in shares) / sum(share for share, _ in shares)
    return total / math.sqrt(n * variance)


def mcnemar_exact(a_correct: ArrayLike, b_correct: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of paired answers (n,): are the discordant items split evenly?

    A small p-value says "different"; a large one never says "equal".
    """
    a, b = _pair(a_correct, b_correct, "mcnemar_exact")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    tail = float(_scipy("special").bdtr(min(only_a, only_b), only_a + only_b, 0.5))
    return McNemar(only_a, only_b, min(1.0, 2.0 * tail))


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p-values (m,), in the order given; reject where they fall below the level."""
    p = np.asarray(p_values, dtype=np.float64)
    _demand(
        p.ndim == 1 and bool(((p >= 0) & (p <= 1)).all()),
        "these are not p-values",
        "holm",
        "give a flat list of numbers from 0 to 1",
    )
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1)), 1.0)
    return adjusted


def items_needed(
    discordant_rate: float, margin: float, true_drop: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Test items for which non-inferiority within ``margin`` is shown with ``power`` at one-sided level ``alpha``.

    All rates are shares of items. The paired normal approximation (z_alpha + z_power)^2 (p_d - d^2) / (margin - d)^2,
    where d = ``true_drop`` and d^2 <= |d| <= p_d, the ``discordant_rate``.
    """
    _demand(
        0.0 < discordant_rate <= 1.0 and abs(true_drop) <= discordant_rate,
        f"a drop of {true_drop} cannot come from a discordant rate of {discordant_rate}",
        "items_needed",
        "give shares of items, the drop no larger than the discordant rate",
    )
    _demand(
        true_drop < margin <= 1.0,
        f"no number of items shows a drop of {true_drop} to be within {margin}",
        "items_needed",
        "give a margin above the true drop",
    )
    _demand(
        0.0 < alpha < 1.0 and 0.0 < power < 1.0,
        f"alpha {alpha} and power {power} are no probabilities",
        "items_needed",
        "give both strictly between 0 and 1",
    )
    z = float(_scipy("special").ndtri(1.0 - alpha) + _scipy("special").ndtri(power))
    needed = z * z * (discordant_rate - true_drop**2) / (margin - true_drop) ** 2
    return max(1, math.ceil(needed))


# ---- scores per class ------------------------------------------------------------------------------------------


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of ``probabilities`` (N, K) against ``labels`` (N,), between 0 and 1.

    The mean over items of |accuracy - confidence| in equal-width bins (low, high] of the top probability (Guo et al.
    2017).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    _demand(
        p.ndim == 2 and p.size > 0 and bins >= 1 and bool(((p >= 0) & (p <= 1 + 1e-6)).all()),
        f"there is no calibration error of an array of shape {p.shape} in {bins} bins",
        "calibration_error",
        "give probabilities (N, K) from 0 to 1, one row per item, and at least one bin",
    )
    truth = _classes(labels, p.shape[1], p.shape[0], "calibration_error")
    confidence = p.max(axis=1)
    inside = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(inside, (p.argmax(axis=1) == truth) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / truth.size)


def confusion(labels: ArrayLike, predictions: ArrayLike, k: int) -> Ints:
    """Counts (k, k) of items by label (row) and prediction (column); both inputs (N,) hold classes 0 to k-1."""
    truth, guess = _both(labels, predictions, k, "confusion")
    return np.bincount(truth * k + guess, minlength=k * k).reshape(k, k).astype(np.int64)


def recall_per_class(table: ArrayLike) -> Floats:
    """Recall (k,) of each class of a :func:`confusion` table (k, k); nan where the class has no items."""
    return _recall(*_margins(table)[:2])


def macro_f1(table: ArrayLike) -> float:
    """Mean F1 over the classes of a :func:`confusion` table (k, k) that have a label or a prediction."""
    return float(_macro_f1(*_margins(table)))


def bootstrap_macro_f1(
    labels: ArrayLike,
    predictions: ArrayLike,
    k: int,
    *,
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> Interval:
    """Macro F1 with its percentile bootstrap interval; a class absent from a resample is left out of its mean."""
    truth, guess = _both(labels, predictions, k, "bootstrap_macro_f1")
    hits, support, guessed = (_totals(c, k, w) for c, w in ((truth, truth == guess), (truth, None), (guess, None)))
    return bootstrap(
        lambda weights: _macro_f1(hits(weights), support(weights), guessed(weights)),
        truth.size,
        seed=seed,
        resamples=resamples,
        clusters=clusters,
    )


def bootstrap_recall(
    labels: ArrayLike,
    predictions: ArrayLike,
    k: int,
    *,
    seed: int,
    resamples: int = 2000,
    clusters: ArrayLike | None = None,
) -> tuple[Interval, ...]:
    """Recall of each of the k classes with its percentile bootstrap interval; ``n`` is the items of that class.

    A class without items is nan throughout. A class of few items has a narrow interval by luck: trust
    :func:`proportion` there.
    """
    truth, guess = _both(labels, predictions, k, "bootstrap_recall")
    hits, support = _totals(truth, k, truth == guess), _totals(truth, k, None)
    draws = resample(
        lambda weights: _recall(hits(weights), support(weights)),
        truth.size,
        seed=seed,
        resamples=resamples,
        clusters=clusters,
    )
    table = confusion(truth, guess, k)
    values, sizes = recall_per_class(table), table.sum(axis=1)
    return tuple(_percentile(float(values[c]), draws[:, c], int(sizes[c])) for c in range(k))


def _recall(hits: Floats, support: Floats) -> Floats:
    recall: Floats = np.divide(hits, support, out=np.full(support.shape, np.nan), where=support > 0)
    return recall


def _macro_f1(hits: Floats, support: Floats, guessed: Floats) -> Floats:
    """F1 = 2 hits / (labels + predictions), averaged over the last axis where the denominator is not 0."""
    both = support + guessed
    f1 = np.divide(2 * hits, both, out=np.zeros(both.shape), where=both > 0)
    mean: Floats = f1.sum(axis=-1) / (both > 0).sum(axis=-1)
    return mean


def _margins(table: ArrayLike) -> tuple[Floats, Floats, Floats]:
    counts = np.asarray(table, dtype=np.float64)
    _demand(
        counts.ndim == 2 and counts.shape[0] == counts.shape[1] and counts.sum() > 0,
        f"an array of shape {counts.shape} is no confusion table with items in it",
        "macro_f1 and recall_per_class",
        "give the (k, k) table of statistics.confusion, made from at least one item",
    )
    return np.diagonal(counts).copy(), counts.sum(axis=1), counts.sum(axis=0)


def _totals(classes: Ints, k: int, only: Flags | None) -> Metric:
    """The metric that sums weights (b, n) per class into (b, k), over the items marked in ``only`` (n,)."""
    n = classes.size
    kept = np.ones(n) if only is None else only.astype(np.float64)
    # sparse: the cost grows with the items, not with items times classes
    per_class = _scipy("sparse").csr_array((kept, (classes, np.arange(n))), shape=(k, n))

    def metric(weights: Floats) -> Floats:
        totals: Floats = np.ascontiguousarray((per_class @ weights.T).T)
        return totals

    return metric


# ---- small parts -----------------------------------------------------------------------------------------------


def _percentile(value: float, draws: Floats, n: int) -> Interval:
    known = draws[~np.isnan(draws)]  # a resample without the class, or without a usable teacher, says nothing
    if math.isnan(value) or known.size == 0:
        return Interval(value, math.nan, math.nan, n)
    lower, upper = np.quantile(known, [0.025, 0.975])
    return Interval(value, float(lower), float(upper), n)


def _wilson(share: float, n: float, z: float) -> tuple[float, float]:
    spread = z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * share * (1 - share) + spread * spread / 4) / (1 + spread)
    # rounding must not leave the value outside its own interval
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _demand(met: bool, what: str, where: str, fix: str) -> None:
    if not met:
        raise StillhouseError(what, where=f"statistics.{where}", fix=fix)


def _flags(values: ArrayLike, where: str) -> Flags:
    given = np.asarray(values)
    usable = given.ndim == 1 and given.size > 0 and bool(np.isin(given, (0, 1)).all())
    _demand(
        usable,
        f"an array of shape {given.shape} is no flat list of right and wrong",
        where,
        "give at least one item, each true or false",
    )
    return given.astype(np.bool_)


def _pair(a: ArrayLike, b: ArrayLike, where: str) -> tuple[Flags, Flags]:
    one, two = _flags(a, where), _flags(b, where)
    _demand(
        one.size == two.size,
        f"{one.size} items against {two.size} make no pairs",
        where,
        "score both models on the same items, in the same order",
    )
    return one, two


def _members(clusters: ArrayLike, n: int) -> Ints:
    """Number the clusters of the items 0, 1, … in sorted order of their names."""
    names = np.asarray(clusters)
    _demand(
        names.shape == (n,),
        f"{names.shape} cluster names do not fit {n} items",
        "resample",
        "give one cluster per item",
    )
    found, member = np.unique(names, return_inverse=True)
    _demand(
        found.size > 1 or n == 1,
        "all items lie in one cluster, so nothing says how clusters differ",
        "resample",
        "give at least two clusters, or none",
    )
    return member.astype(np.int64)


def _classes(values: ArrayLike, k: int, n: int | None, where: str) -> Ints:
    given = np.asarray(values)
    usable = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu" and n in (None, given.size)
    _demand(
        usable and bool(((given >= 0) & (given < k)).all()),
        f"these are not the classes of {'the' if n is None else n} items among {k}",
        where,
        f"give one whole number from 0 to {k - 1} per item",
    )
    return given.astype(np.int64)


def _both(labels: ArrayLike, predictions: ArrayLike, k: int, where: str) -> tuple[Ints, Ints]:
    truth = _classes(labels, k, None, where)
    return truth, _classes(predictions, k, truth.size, where)


def _check_counts(k: int, n: int, confidence: float, where: str) -> None:
    _demand(
        n >= 1 and 0 <= k <= n and 0.0 < confidence < 1.0,
        f"{k} of {n} at confidence {confidence} has no bound",
        where,
        "give counts with 0 <= k <= n and n >= 1, and a confidence between 0 and 1",
    )


def _scipy(part: str) -> ModuleType:
    """The module ``scipy.<part>``, loaded on first use: the command line imports this file and must start fast."""
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise StillhouseError(
            "comparing models needs scipy, which is not installed",
            where="statistics",
            fix="install the parts that distill and finish: pip install 'stillhouse[distill,finish]'",
        ) from error
