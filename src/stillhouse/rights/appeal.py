"""After the verdict: what a statement lifts, what stops a run, and the nearest use that would be allowed.

A statement of the user's can lift *needs permission* and *unknown*, never *forbid*, and stays visible.

    judgements = lift(judgements, statement)
    stop = refusals(judgements)
    would_change(stop[0], use, table=table)       # the other uses with the fewest changes, if any is allowed
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Protocol, get_args

from stillhouse.rights.judging import judge
from stillhouse.rights.subjects import Use
from stillhouse.rights.terms import Release, StudentKind, Table
from stillhouse.rights.verdict import Judgement, Verdict


class LiftingStatement(Protocol):
    """What a statement must say to lift a verdict."""

    @property
    def who(self) -> str:
        """Who answers for it."""
        ...

    @property
    def covers(self) -> tuple[str, ...]:
        """Names or roles of the subjects it speaks for."""
        ...


def lift(judgements: Iterable[Judgement], statement: LiftingStatement | None) -> list[Judgement]:
    """Apply a statement: what it covers and may lift becomes *allow with duties*, and says by whom."""
    lifted = []
    for judgement in judgements:
        covered = statement is not None and {judgement.subject.name, judgement.subject.role} & set(statement.covers)
        if statement and covered and judgement.verdict in (Verdict.NEEDS_PERMISSION, Verdict.UNKNOWN):
            judgement = replace(
                judgement,
                verdict=Verdict.ALLOW_WITH_DUTIES,
                lifted_from=judgement.verdict,
                lifted_by=statement.who,
            )
        lifted.append(judgement)
    return lifted


def worst(judgements: Iterable[Judgement]) -> Verdict:
    """The worst verdict; *allow* when there is nothing to judge."""
    return max((judgement.verdict for judgement in judgements), default=Verdict.ALLOW)


def refusals(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The judgements that stop the run."""
    return [judgement for judgement in judgements if judgement.verdict > Verdict.ALLOW_WITH_DUTIES]


def would_change(judgement: Judgement, use: Use, *, table: Table, base_terms: Iterable[str] = ()) -> list[Use]:
    """The nearest other uses for which the subject would be allowed: as few changes as possible, or none at all."""
    bases = tuple(base_terms)
    found: dict[int, list[Use]] = {}
    for student, release, commercial in product(get_args(StudentKind), get_args(Release), (True, False)):
        other = replace(use, student=student, release=release, commercial=commercial)
        changes = (student != use.student) + (release != use.release) + (commercial != use.commercial)
        again = judge(judgement.subject, other, table=table, base_terms=bases)
        if changes and again.verdict <= Verdict.ALLOW_WITH_DUTIES:
            found.setdefault(changes, []).append(other)
    return found[min(found)] if found else []
