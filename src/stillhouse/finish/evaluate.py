"""The test report as long rows: (artifact, metric, slice, value, lower, upper, n).

Every artifact is judged on the same documents, beside the teacher. Later work adds rows, not formats.

    rows = evaluate(gold, artifacts, labels=labels, slices={"group:dialect=x": mask}, resamples=2000, seed=0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.statistics import (
    Interval,
    Retention,
    bootstrap_macro_f1,
    calibration_error,
    clustered_proportion,
    mcnemar_exact,
    mean_of,
    proportion,
    recovered_gap,
    retention,
)

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

TEACHER = "teacher"
SMALLEST_SLICE = 30  # documents; fewer say nothing, and a column of names would flood the report


@dataclass(frozen=True)
class Answers:
    """What an artifact says about N documents: label numbers (N,), and probabilities (N, K) where it gives any."""

    labels: Ints
    probs: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, probs: npt.NDArray[Any]) -> Answers:
        """Answers whose labels are the most probable ones."""
        return cls(np.asarray(probs.argmax(axis=1), dtype=np.int64), np.asarray(probs, dtype=np.float64))

    def only(self, mask: Bools) -> Answers:
        """About the documents of ``mask`` (N,) alone."""
        return Answers(self.labels[mask], None if self.probs is None else self.probs[mask])


@dataclass(frozen=True)
class Row:
    """One figure. lower and upper are a two-sided 95 % interval, ``None`` where there is none."""

    artifact: str
    metric: str
    slice: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int


def evaluate(
    gold: Ints,
    artifacts: Mapping[str, Answers],
    *,
    labels: Sequence[str],
    slices: Mapping[str, Bools],
    resamples: int,
    seed: int,
    clusters: Sequence[str] | None = None,
) -> list[Row]:
    """Rows for every artifact against gold (N,) and, but for the teacher itself, against the teacher.

    clusters (N,): documents of equal name count together, in every interval.
    """
    teacher = artifacts[TEACHER]
    names = None if clusters is None else np.asarray(clusters)

    def share(artifact: str, metric: str, slice_name: str, flags: Bools, mask: Bools) -> Row:
        """Of the documents of ``mask``, which has some; those that are all of one cluster have no interval."""
        together = None if names is None else names[mask]
        if together is None:
            return _row(artifact, metric, slice_name, proportion(flags[mask]))
        if len(set(together)) == 1:
            return Row(artifact, metric, slice_name, float(flags[mask].mean()), None, None, int(mask.sum()))
        return _row(artifact, metric, slice_name, clustered_proportion(flags[mask], together))

    every: Bools = np.ones(len(gold), dtype=np.bool_)
    rows: list[Row] = []
    for name, answers in artifacts.items():
        correct = answers.labels == gold
        rows.append(share(name, "accuracy", "all", correct, every))
        f1 = bootstrap_macro_f1(gold, answers.labels, len(labels), resamples=resamples, seed=seed, clusters=clusters)
        rows.append(_row(name, "macro_f1", "all", f1))
        for index, label in enumerate(labels):
            here = gold == index
            if here.any():
                rows.append(share(name, "recall", f"label={label}", correct, here))
        for slice_name, mask in slices.items():
            if mask.any():
                rows.append(share(name, "accuracy", slice_name, correct, mask))
        if answers.probs is not None:
            error = calibration_error(answers.probs, gold)
            rows.append(Row(name, "calibration_error", "all", error, None, None, len(gold)))
        if name != TEACHER:
            agreed, wrong = answers.labels == teacher.labels, teacher.labels != gold
            rows.append(share(name, "agreement", "all", agreed, every))
            if wrong.any():
                rows.append(share(name, "inherited_errors", "all", agreed, wrong))
            test = mcnemar_exact(teacher.labels == gold, answers.labels == gold)
            rows.append(Row(name, "mcnemar_p", "against teacher", test.p_value, None, None, test.b + test.c))
    return rows


def retention_rows(name: str, kept: Retention, *, slice_name: str = "all") -> list[Row]:
    """The retention of one artifact as rows; a ratio that is not certified has no value."""
    rows = [
        _row(name, "retention_difference", slice_name, kept.difference),
        Row(name, "retention_difference_lower_95", slice_name, kept.difference_lower_95, None, None, kept.n),
    ]
    ratios = (
        ("retention_ratio", kept.ratio, kept.ratio_lower_95),
        ("retention_chance_corrected", kept.chance_corrected, kept.chance_corrected_lower_95),
    )
    for metric, interval, lower in ratios:
        uncertified = Row(name, metric, slice_name, None, None, None, kept.n)
        rows.append(uncertified if interval is None else _row(name, metric, slice_name, interval))
        rows.append(Row(name, f"{metric}_lower_95", slice_name, lower, None, None, kept.n))
    return rows


def retain(
    gold: Ints,
    teacher: Answers,
    other: Answers,
    *,
    labels: int,
    margin: float,
    resamples: int,
    seed: int,
    clusters: Sequence[str] | None = None,
) -> Retention:
    """What ``other`` keeps of the teacher's accuracy; chance is the better of guessing and the majority label.

    clusters (N,): documents of equal name are drawn together.
    """
    chance = max(1 / labels, float(np.bincount(gold, minlength=labels).max() / len(gold)))
    return retention(
        teacher.labels == gold,
        other.labels == gold,
        chance=min(chance, 0.999),  # a slice may hold one label alone, which a constant guess always hits
        margin=margin,
        seed=seed,
        resamples=resamples,
        clusters=clusters,
    )


def slice_retention_rows(
    name: str,
    gold: Ints,
    teacher: Answers,
    other: Answers,
    slices: Mapping[str, Bools],
    *,
    labels: int,
    margin: float,
    resamples: int,
    seed: int,
    clusters: Sequence[str] | None = None,
) -> list[Row]:
    """The retention in each slice that is large enough for an interval; one that is all of one cluster has none."""
    rows = []
    for slice_name, mask in slices.items():
        together = [one for one, here in zip(clusters, mask, strict=True) if here] if clusters else None
        if mask.sum() < SMALLEST_SLICE or (together and len(set(together)) == 1):
            continue
        kept = retain(
            gold[mask],
            teacher.only(mask),
            other.only(mask),
            labels=labels,
            margin=margin,
            resamples=resamples,
            seed=seed,
            clusters=together,
        )
        rows += retention_rows(name, kept, slice_name=slice_name)
    return rows


def gap_rows(
    name: str,
    gold: Ints,
    artifacts: Mapping[str, Answers],
    baselines: Sequence[str],
    *,
    resamples: int,
    seed: int,
    clusters: Sequence[str] | None = None,
) -> list[Row]:
    """How far ``name`` came from each baseline towards the teacher; a gap that is not certified has no value."""
    rows = []
    for baseline in baselines:
        columns = [artifacts[one].labels == gold for one in (TEACHER, name, baseline)]
        found = recovered_gap(
            mean_of(np.stack(columns, axis=1)),
            len(gold),
            better="higher",
            seed=seed,
            resamples=resamples,
            clusters=clusters,
        )
        metric = f"recovered_gap_over_{baseline}"
        empty = Row(name, metric, "all", None, None, None, found.n)
        rows.append(empty if found.value is None else _row(name, metric, "all", found.value))
        rows.append(Row(name, f"{metric}_lower_95", "all", found.lower_95, None, None, found.n))
    return rows


def gold_equivalent(curve: Sequence[tuple[int, float]], accuracy: float) -> tuple[int | None, str]:
    """How many gold labels reach ``accuracy``: log-linear between the points of (labels, accuracy).

    Returns the number, or ``None`` when it lies outside the curve, and the reading in words.
    """
    points = sorted(curve)
    if not points:
        return None, "not measured"
    if accuracy < points[0][1]:
        return None, f"fewer than {points[0][0]}"
    for (few, low), (many, high) in pairwise(points):
        if low <= accuracy <= high and high > low:
            share = (accuracy - low) / (high - low)
            number = round(float(np.exp(np.log(few) + share * (np.log(many) - np.log(few)))))
            return number, f"about {number}"
    return None, f"more than {points[-1][0]}"


def _row(artifact: str, metric: str, slice_name: str, interval: Interval) -> Row:
    return Row(artifact, metric, slice_name, interval.value, interval.lower, interval.upper, interval.n)
