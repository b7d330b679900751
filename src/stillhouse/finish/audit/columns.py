"""What an audit of groups works on: what both models answered, and one group column of the documents.

answers = Answers.of(gold, teacher_probs, student_probs, labels, clusters=None)
column = Column.of("dialect", ["north", None, "south", …])
column.answers(answers)                       # of the documents whose group is known
flagged(answers, "true positive rate", 1)     # which documents it counts, and which of them each model flags
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.rates import Metric, Tally
from stillhouse.statistics import Flags, Floats, GroupPairs, Ints
from stillhouse.statistics.inputs import as_members

_WHERE = "audit_groups"


@dataclass(frozen=True)
class Answers:
    """N documents: gold (N,), probabilities (N, K) and the most probable labels (N,); member: cluster numbers (N,)."""

    gold: Ints
    teacher_probs: Floats
    student_probs: Floats
    teacher: Ints
    student: Ints
    labels: tuple[str, ...]
    member: Ints | None

    @classmethod
    def of(
        cls,
        gold: ArrayLike,
        teacher_probs: ArrayLike,
        student_probs: ArrayLike,
        labels: Sequence[str],
        clusters: ArrayLike | None,
    ) -> Answers:
        """Raises :class:`StillhouseError` where the parts do not fit each other."""
        truth, teacher, student = np.asarray(gold), np.asarray(teacher_probs, float), np.asarray(student_probs, float)
        shape = (len(truth), len(labels))
        if truth.ndim != 1 or not shape[0] or teacher.shape != shape or student.shape != shape or shape[1] < 2:
            raise StillhouseError(
                f"gold {truth.shape}, teacher {teacher.shape} and student {student.shape} do not fit {shape[1]} labels",
                where=_WHERE,
                fix="give one gold label and a row of probabilities of each model for every document",
            )
        if not (np.isfinite(teacher).all() and np.isfinite(student).all()):
            raise StillhouseError(
                "a probability is not finite", where=_WHERE, fix="leave documents without an answer out, and count them"
            )
        if truth.dtype.kind not in "iu" or truth.min() < 0 or truth.max() >= shape[1]:
            raise StillhouseError(
                f"gold holds something else than label numbers from 0 to {shape[1] - 1}",
                where=_WHERE,
                fix="give the place of each gold label among the labels",
            )
        member = None if clusters is None else as_members(clusters, shape[0])
        return cls(
            truth.astype(np.int64),
            teacher,
            student,
            teacher.argmax(axis=1),
            student.argmax(axis=1),
            tuple(labels),
            member,
        )

    def where(self, keep: Flags) -> Answers:
        """Of some documents, clusters numbered anew."""
        member = None if self.member is None else np.unique(self.member[keep], return_inverse=True)[1]
        return Answers(
            self.gold[keep],
            self.teacher_probs[keep],
            self.student_probs[keep],
            self.teacher[keep],
            self.student[keep],
            self.labels,
            member,
        )


@dataclass(frozen=True)
class Column:
    """One group column: its name, the groups' names in order, and group numbers (M,) of the documents that have one."""

    name: str
    groups: tuple[str, ...]
    known: Flags
    group: Ints

    @classmethod
    def of(cls, name: str, values: Sequence[str | None], n: int) -> Column:
        """From one value for each of ``n`` documents; None where it is not known."""
        if len(values) != n:
            raise StillhouseError(
                f"group column {name!r} has {len(values)} values for {n} documents",
                where=_WHERE,
                fix="give one value, or None, for every document",
            )
        known = np.array([value is not None for value in values], dtype=np.bool_)
        names, group = np.unique(
            np.array([value for value in values if value is not None], dtype=str), return_inverse=True
        )
        return cls(name, tuple(names.tolist()), known, group.astype(np.int64))

    def place(self, *groups: int) -> str:
        """The column, or one of its groups, as slices are named elsewhere: ``group:dialect=north``."""
        return f"group:{self.name}" + "".join(f"={self.groups[group]}" for group in groups)


class Flagged(NamedTuple):
    """Documents that a rate counts (M,), and which documents (M,) each model flags."""

    counted: Flags
    teacher: Flags
    student: Flags


def flagged(answers: Answers, metric: Metric, label: int) -> Flagged:
    """What a rate of ``label`` against the rest is made of."""
    if metric == "accuracy":
        return Flagged(
            np.ones(len(answers.gold), np.bool_), answers.teacher == answers.gold, answers.student == answers.gold
        )
    counted = np.ones(len(answers.gold), dtype=np.bool_)
    if metric in ("true positive rate", "false positive rate"):
        counted = (answers.gold == label) == (metric == "true positive rate")
    return Flagged(counted, answers.teacher == label, answers.student == label)


@dataclass(frozen=True)
class Slice:
    """The groups of a column that have enough documents of one kind, numbered anew, and their paired rates."""

    groups: tuple[int, ...]
    small: tuple[int, ...]
    pairs: GroupPairs | None

    @classmethod
    def of(cls, column: Column, answers: Answers, flags: Flagged, smallest: int) -> Slice:
        """Groups with fewer than ``smallest`` counted documents are left out; with fewer than two nothing is paired."""
        size = np.bincount(column.group[flags.counted], minlength=len(column.groups))
        groups = np.nonzero(size >= smallest)[0]
        small = tuple(np.nonzero(size < smallest)[0].tolist())
        if len(groups) < 2:
            return cls(tuple(groups.tolist()), small, None)
        keep = flags.counted & np.isin(column.group, groups)
        member = None if answers.member is None else np.unique(answers.member[keep], return_inverse=True)[1]
        pairs = GroupPairs.of(
            np.searchsorted(groups, column.group[keep]), len(groups), flags.teacher[keep], flags.student[keep], member
        )
        return cls(tuple(groups.tolist()), small, pairs)


def tally_of(column: Column, answers: Answers, groups: Sequence[int]) -> Tally:
    """Cell counts of the documents of some groups, numbered anew."""
    keep = np.isin(column.group, groups)
    part = answers.where(keep)
    return Tally.of(
        part.gold,
        part.teacher,
        part.student,
        np.searchsorted(np.asarray(groups), column.group[keep]),
        groups=len(groups),
        labels=len(answers.labels),
        member=part.member,
    )
