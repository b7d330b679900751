"""The verdict: a lattice `allow < allow with duties < needs permission < unknown < forbid`; the worst wins.

Each subject (a teacher, a base, a data source) is judged alone. A statement of the user's can lift *needs
permission* and *unknown*, never *forbid*, and stays visible in the judgement.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Literal, Protocol

DISCLAIMER = "This is not legal advice."
Role = Literal["data", "teacher", "base"]


class Verdict(IntEnum):
    """Ordered from best to worst."""

    ALLOW = 0
    ALLOW_WITH_DUTIES = 1
    NEEDS_PERMISSION = 2
    UNKNOWN = 3
    FORBID = 4

    @property
    def words(self) -> str:
        """The verdict in plain words."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Subject:
    """What is judged. ``evidence`` says where the license was read; ``assured`` is false where that place does not
    speak for the content itself, as a package's metadata does not for third-party text inside it."""

    role: Role
    name: str
    address: str
    license: str | None
    evidence: str
    assured: bool = True


@dataclass(frozen=True)
class Judgement:
    """A verdict on one subject, with its duties and the reason; ``lifted_by`` names who lifted a worse verdict."""

    subject: Subject
    verdict: Verdict
    duties: tuple[str, ...]
    reason: str
    lifted_from: Verdict | None = None
    lifted_by: str | None = None


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


@dataclass(frozen=True)
class _Terms:
    id: str
    data: str
    model: str
    duties: tuple[str, ...]


@cache
def _table() -> dict[str, _Terms]:
    entries = tomllib.loads(files("stillhouse.rights").joinpath("terms.toml").read_text("utf-8"))["license"]
    table: dict[str, _Terms] = {}
    for entry in entries:
        for spdx in entry["ids"]:
            table[spdx.lower()] = _Terms(spdx, entry["data"], entry["model"], tuple(entry["duties"]))
        for alias in entry.get("aliases", ()):
            target = next((spdx for spdx in entry["ids"] if spdx.split("-")[0].lower() in alias.lower()), None)
            if target:
                table[alias.lower()] = _Terms(target, entry["data"], entry["model"], tuple(entry["duties"]))
    return table


def judge(subject: Subject, *, commercial: bool) -> Judgement:
    """Judge one subject by its license alone; no license, or one not in the table, is *unknown*."""
    if subject.license is None:
        return Judgement(subject, Verdict.UNKNOWN, (), "no license is stated")
    terms = _table().get(subject.license.strip().lower())
    if terms is None:
        return Judgement(subject, Verdict.UNKNOWN, (), f"the license {subject.license!r} is not in the terms table")
    subject = replace(subject, license=terms.id)
    if not subject.assured:
        reason = f"{terms.id} is declared in the {subject.evidence}; the rights in the content were not checked"
        return Judgement(subject, Verdict.UNKNOWN, terms.duties, reason)
    word = terms.data if subject.role == "data" else terms.model
    if word == "non-commercial":
        word = "forbid" if commercial else "allow-with-duties"
        reason = f"{terms.id} allows non-commercial use only; this run is {'' if commercial else 'non-'}commercial"
    else:
        reason = f"{terms.id}, stated in the {subject.evidence}"
    return Judgement(subject, Verdict[word.upper().replace("-", "_")], terms.duties, reason)


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
