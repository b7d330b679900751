"""The audit of groups: is anybody treated worse by the student than by its teacher?

    findings = audit_groups(gold, teacher_probs, student_probs, {"dialect": [...]}, ["harmless", "toxic"],
                            resamples=2000, seed=0)
    [finding.words for finding in findings if finding.status == "failed"]

Judged, with Holm's correction over every test of the audit, further tests ``beside`` these included: for each group
column and label, that the student holds no two groups further apart than the teacher does, in true and in false
positive rate, by more than ``gap_limit``; and that the student's worst group is no more than ``worst_margin`` of
accuracy below the teacher's. ``passed`` is shown within the limit (one-sided 95 % bound), ``failed`` shown beyond it,
``not certified`` neither, with the number of documents that would tell. A student that does what its teacher does fails
nothing: what it inherits is reported.

Of two labels only the last is spoken of, since the rates of the other say the same. Selection rates are reported and
not judged: where labels are not equally frequent in the groups, a student that errs less has a wider gap.
An audit is conditional on this one student; nothing here speaks of a method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.typing import ArrayLike

from stillhouse.finish.audit.columns import Answers, Column, Slice, flagged
from stillhouse.finish.audit.described import calibration, gaps, inherited, named_groups, parting
from stillhouse.finish.audit.findings import Finding, Status
from stillhouse.finish.audit.rates import Metric
from stillhouse.finish.audit.wording import points, some
from stillhouse.statistics import Excess, driven_apart, holm, worst_loss

SMALLEST = 30  # documents; a rate of fewer has an interval of 30 points and more
_ALPHA = 0.05
_RATES: tuple[Metric, ...] = ("true positive rate", "false positive rate")


@dataclass(frozen=True)
class GroupAudit:
    """The tests of all group columns, not yet decided, and what is only reported."""

    tests: tuple[_Test, ...]
    reported: tuple[Finding, ...]

    @property
    def p_values(self) -> list[float]:
        """Of each test, before any correction."""
        return [test.excess.p_value for test in self.tests]

    def findings(self, *, beside: Sequence[float] = ()) -> list[Finding]:
        """All findings. beside: p-values of further tests of the same audit, among which Holm's correction counts."""
        adjusted = holm([*self.p_values, *beside])[: len(self.tests)]
        return [*(_finding(test, float(p)) for test, p in zip(self.tests, adjusted, strict=True)), *self.reported]


@dataclass(frozen=True)
class _Test:
    probe: str
    what: tuple[str, ...]
    column: Column
    part: Slice
    excess: Excess
    limit: float


def audit_groups(
    gold: ArrayLike,
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    groups: Mapping[str, Sequence[str | None]],
    labels: Sequence[str],
    *,
    gap_limit: float = 0.02,
    worst_margin: float = 0.03,
    resamples: int = 2000,
    seed: int,
    smallest: int = SMALLEST,
    clusters: ArrayLike | None = None,
) -> list[Finding]:
    """The findings of :func:`group_audit`, with nothing beside it."""
    return group_audit(
        gold,
        teacher_probs,
        student_probs,
        groups,
        labels,
        gap_limit=gap_limit,
        worst_margin=worst_margin,
        resamples=resamples,
        seed=seed,
        smallest=smallest,
        clusters=clusters,
    ).findings()


def group_audit(
    gold: ArrayLike,
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    groups: Mapping[str, Sequence[str | None]],
    labels: Sequence[str],
    *,
    gap_limit: float = 0.02,
    worst_margin: float = 0.03,
    resamples: int = 2000,
    seed: int,
    smallest: int = SMALLEST,
    clusters: ArrayLike | None = None,
) -> GroupAudit:
    """Tests and findings about every group column: first what is judged, then what is reported.

    gold: label numbers (N,); probabilities (N, K); groups: name -> a value, or None, for each document; clusters:
    (N,), documents of one template or author, which are then taken as one. Groups with fewer than ``smallest``
    documents, or with so few of the kind that a rate counts, are not judged by it: each column has a finding that names
    the ones, and another that names the others. Both are ``not certified``, since nobody looked.
    """
    answers = Answers.of(gold, teacher_probs, student_probs, labels, clusters)
    columns = [Column.of(name, values, len(answers.gold)) for name, values in groups.items()]
    spoken = range(len(labels)) if len(labels) > 2 else range(1, 2)
    tests: list[_Test] = []
    reported: list[Finding] = []
    for column in columns:
        known = answers.where(column.known)
        parts = {
            (metric, label): Slice.of(column, known, flagged(known, metric, label), smallest)
            for label in spoken
            for metric in _RATES
        }
        right = Slice.of(column, known, flagged(known, "accuracy", 0), smallest)
        tests += _tests(column, known.labels, parts, right, gap_limit, worst_margin)
        reported += _not_judged(column, parts, right, smallest)
        if right.pairs is not None:
            reported += named_groups(column, known.labels, parts)
            reported += gaps(column, known, parts, resamples=resamples, seed=seed)
            reported += calibration(column, known, right, resamples=resamples, seed=seed)
            reported += parting(column, known, right)
            reported += inherited(column, known, smallest)
    return GroupAudit(tuple(tests), tuple(reported))


def _tests(
    column: Column,
    labels: Sequence[str],
    parts: Mapping[tuple[Metric, int], Slice],
    right: Slice,
    gap_limit: float,
    worst_margin: float,
) -> list[_Test]:
    found = [
        _Test(
            "group gap",
            (metric, f"label={labels[label]}"),
            column,
            part,
            driven_apart(part.pairs, gap_limit),
            gap_limit,
        )
        for (metric, label), part in parts.items()
        if part.pairs is not None
    ]
    if right.pairs is not None:
        loss = worst_loss(right.pairs, worst_margin)
        found.append(_Test("worst group", ("accuracy",), column, right, loss, worst_margin))
    return found


def _finding(test: _Test, p: float) -> Finding:
    excess, limit = test.excess, test.limit
    status: Status = "not certified"
    if p < _ALPHA:
        status = "failed"
    elif excess.upper_95 <= limit:
        status = "passed"
    names = [test.column.groups[test.part.groups[place]] for place in (excess.first, excess.second)]
    if test.probe == "group gap":
        change = f"{points(excess.value)} wider" if excess.value > 0 else "no wider"
        words = (
            f"{test.column.name}: between {names[0]} and {names[1]} the {test.what[0]} ({test.what[1]}) differs by "
            f"{points(excess.student)} with the student and by {points(excess.teacher)} with the teacher, {change}"
        )
    else:
        words = (
            f"{test.column.name}: the student's worst-served group is {names[0]} with an accuracy of "
            f"{excess.student:.3f}, the teacher's is {names[1]} with {excess.teacher:.3f}"
        )
    verdict = {
        "failed": f"shown to be beyond the limit of {points(limit)}",
        "passed": f"shown to be within the limit of {points(limit)}",
        "not certified": f"not shown to be within the limit of {points(limit)}, nor beyond it",
        "reported": "",
    }[status]
    interval = f"95 % interval {points(excess.lower)} to {points(excess.upper)}"
    short = status == "not certified" and excess.needed > excess.n
    hardest = test.column.groups[test.part.groups[excess.hardest]]
    tail = f"; {hardest} has {excess.n:,} such documents, about {excess.needed:,} would tell" if short else ""
    return Finding(
        test.probe,
        ", ".join([*test.what, test.column.place()]),
        status,
        excess.teacher,
        excess.student,
        excess.value,
        excess.lower,
        excess.upper,
        limit,
        excess.n,
        f"{words} ({interval}; {verdict}{tail}).",
        excess.needed if short else None,
    )


def _not_judged(
    column: Column, parts: Mapping[tuple[Metric, int], Slice], right: Slice, smallest: int
) -> list[Finding]:
    """Groups that are too small for any rate, and those that are large enough, but have too few of a label."""
    rare = {group for part in parts.values() for group in part.small} - set(right.small)
    told = (
        ("small groups", right.small, f"fewer than {smallest} documents"),
        ("few of a label", sorted(rare), f"fewer than {smallest} documents with, or without, one of the labels"),
    )
    return [_too_few(column, probe, groups, why, smallest) for probe, groups, why in told if groups]


def _too_few(column: Column, probe: str, groups: Sequence[int], why: str, smallest: int) -> Finding:
    one = len(groups) == 1
    told = "it was not judged" if one else "they were not judged"
    told += "" if probe == "small groups" else " by those rates"
    words = (
        f"{column.name}: {some([column.groups[group] for group in groups])} {'has' if one else 'have'} {why}: {told}."
    )
    n = sum(int((column.group == group).sum()) for group in groups)
    return Finding(probe, column.place(), "not certified", None, None, None, None, None, None, n, words, smallest)
