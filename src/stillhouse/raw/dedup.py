"""Exact deduplication: exactly one survivor per set of equal texts, chosen by a rule.

The survivor is the first in the order of the recipe's sources and of the rows in them. Copies that carry different
gold labels make the survivor's label unknown: an arbitrary one would be a wrong answer with no sign of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stillhouse.raw.clean import duplicate_key


@dataclass(frozen=True)
class Candidate:
    """A row on its way to become a document."""

    origin: str
    source: str
    license: str
    text: str
    label: str | None
    groups: tuple[str | None, ...]


@dataclass(frozen=True)
class Copy:
    """A row that leaves because it equals another."""

    row: Candidate
    survivor: Candidate


@dataclass(frozen=True)
class Deduplicated:
    """survivors and copies together are the rows that came in; conflicts: survivors whose copies disagreed."""

    survivors: tuple[Candidate, ...]
    copies: tuple[Copy, ...]
    conflicts: tuple[Candidate, ...]


def deduplicate(rows: Sequence[Candidate]) -> Deduplicated:
    """Keep the first of each set of equal texts."""
    first: dict[str, int] = {}
    survivors: list[Candidate] = []
    labels: list[set[str]] = []
    copies: list[tuple[Candidate, int]] = []
    for row in rows:
        place = first.setdefault(duplicate_key(row.text), len(survivors))
        if place == len(survivors):
            survivors.append(row)
            labels.append(set())
        else:
            copies.append((row, place))
        if row.label is not None:
            labels[place].add(row.label)
    conflicts = tuple(row for row, seen in zip(survivors, labels, strict=True) if len(seen) > 1)
    settled = [
        replace(row, label=next(iter(seen)) if len(seen) == 1 else None)
        for row, seen in zip(survivors, labels, strict=True)
    ]
    return Deduplicated(tuple(settled), tuple(Copy(row, settled[place]) for row, place in copies), conflicts)
