"""Scores of a classifier class by class: confusion, recall, macro F1 and calibration, with bootstrap intervals.

Classes are whole numbers 0 to k-1, one per item::

    table = confusion(labels, predictions, k)                   # (k, k), label by prediction
    macro_f1(table), recall_per_class(table)                    # a number, and (k,) with nan where a class is empty
    bootstrap_macro_f1(labels, predictions, k, seed=0).lower    # of a 95 % interval
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.statistics.inputs import Flags, Floats, Ints, as_class_pairs, as_classes, demand, scipy_part
from stillhouse.statistics.proportions import Interval
from stillhouse.statistics.resampling import Metric, percentile_interval, resample, units_of


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error of ``probabilities`` (N, K) against ``labels`` (N,), between 0 and 1.

    The mean over items of |accuracy - confidence| in equal-width bins (low, high] of the top probability (Guo et al.
    2017).
    """
    p = np.asarray(probabilities, dtype=np.float64)
    demand(
        p.ndim == 2 and p.size > 0 and bins >= 1 and bool(((p >= 0) & (p <= 1 + 1e-6)).all()),
        f"there is no calibration error of an array of shape {p.shape} in {bins} bins",
        "calibration_error",
        "give probabilities (N, K) from 0 to 1, one row per item, and at least one bin",
    )
    truth = as_classes(labels, p.shape[1], p.shape[0], "calibration_error")
    confidence = p.max(axis=1)
    inside = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(inside, (p.argmax(axis=1) == truth) - confidence, minlength=bins)
    return float(np.abs(gap).sum() / truth.size)


def confusion(labels: ArrayLike, predictions: ArrayLike, k: int) -> Ints:
    """Counts (k, k) of items by label (row) and prediction (column); both inputs (N,) hold classes 0 to k-1."""
    truth, guess = as_class_pairs(labels, predictions, k, "confusion")
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
    """Macro F1 with its percentile bootstrap interval; a class absent from a resample is left out of its mean.

    Where every answer is right, or every one alike, the rule of three of the smallest class with a label bounds it.
    """
    truth, guess = as_class_pairs(labels, predictions, k, "bootstrap_macro_f1")
    hits, support, guessed = (_totals(c, k, w) for c, w in ((truth, truth == guess), (truth, None), (guess, None)))

    def metric(weights: Floats) -> Floats:
        return _macro_f1(hits(weights), support(weights), guessed(weights))

    draws = resample(metric, truth.size, seed=seed, resamples=resamples, clusters=clusters)
    smallest = np.unique(truth, return_counts=True)[1].min()
    units = min(units_of(truth.size, clusters), int(smallest))
    value = float(metric(np.ones((1, truth.size)))[0])
    return percentile_interval(value, draws, truth.size, span=(0.0, 1.0), units=units)


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
    truth, guess = as_class_pairs(labels, predictions, k, "bootstrap_recall")
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
    return tuple(percentile_interval(float(values[c]), draws[:, c], int(sizes[c]), span=(0.0, 1.0)) for c in range(k))


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
    demand(
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
    per_class = scipy_part("sparse").csr_array((kept, (classes, np.arange(n))), shape=(k, n))

    def metric(weights: Floats) -> Floats:
        totals: Floats = np.ascontiguousarray((per_class @ weights.T).T)
        return totals

    return metric
