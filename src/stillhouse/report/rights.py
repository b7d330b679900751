"""What went into a run and on what rights, as the label or the ledger has it.

rights = Rights.read(label.get("rights"), run_started, recipe)
rights.subjects[0].verdict, rights.duties
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.finish.label import use_words
from stillhouse.rights import DISCLAIMER


@dataclass(frozen=True)
class Document:
    """A text that decided. dated, read: ISO dates; ``None`` where it has none."""

    title: str
    dated: str | None
    read: str


@dataclass(frozen=True)
class Subject:
    """A teacher, a base or data. identity: revision, version or digest. lifted_by: who answers for it."""

    role: str
    name: str
    address: str
    identity: str
    license: str
    verdict: str
    reason: str
    lifted_by: str | None
    lifted_from: str | None
    documents: Sequence[Document]
    warnings: Sequence[str]


@dataclass(frozen=True)
class Duty:
    """What is owed, to whom, and by which clause; whom and clause are known of a bottled run."""

    words: str
    terms: str
    subjects: Sequence[str]


@dataclass(frozen=True)
class Statement:
    """Who answers for what the evidence does not show."""

    who: str
    when: str
    why: str
    reference: str | None


@dataclass(frozen=True)
class Rights:
    """use: the declared one, in words."""

    use: str
    subjects: Sequence[Subject]
    duties: Sequence[Duty]
    statement: Statement | None
    disclaimer: str

    @classmethod
    def read(
        cls, label: Mapping[str, Any] | None, started: Mapping[str, Any], recipe: Mapping[str, Any]
    ) -> Rights | None:
        """label: its field `rights`. started: the ledger's last `run-started`, where there is no label."""
        rows = label["subjects"] if label else started.get("rights")
        if not rows:
            return None
        declared = label or recipe.get("rights") or {}
        said = label["statement"] if label else started.get("statement")
        duties = (
            [Duty(row["words"], f"{row['terms']}, {row['clause']}", row["subjects"]) for row in label["duties"]]
            if label
            else [Duty(words, row["license"], [row["name"]]) for row in rows for words in row["duties"]]
        )
        known = {"use", "commercial", "regions"} <= set(declared)
        return cls(
            use=use_words(dict(declared)) if known else "",
            subjects=[_subject(row) for row in rows],
            duties=duties,
            statement=Statement(said["who"], said["when"], said["why"], said.get("reference")) if said else None,
            disclaimer=DISCLAIMER,
        )


def _subject(row: Mapping[str, Any]) -> Subject:
    return Subject(
        **{key: str(row[key] or "") for key in ("role", "name", "address", "identity", "license", "verdict", "reason")},
        lifted_by=row["lifted_by"],
        lifted_from=row["lifted_from"],
        documents=[Document(one["title"], one["dated"], one["read"]) for one in row["documents"]],
        warnings=row["warnings"],
    )
