"""The report of stage 1: what came in, what left and why, what was done to what stays, and from whom it was taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stillhouse.cuts import Balance
from stillhouse.documents import SPLITS, Split
from stillhouse.raw.fate import Places, Rows
from stillhouse.raw.prepare import NO_LABEL
from stillhouse.removal import Key, Rate, removal_rates

# the user's own choice of rows, and the split's: no acts of cleaning
LEFT_BY_WISH = "left out by `where`"
OF_THE_SPLIT = ("beyond raw.split.train", "beyond its source's weight", "set aside with a test copy")
REVIEWED = 100
NEAR_COPY = "near copy"
EATEN = 0.2  # share of a source


def report_of(
    rows: Rows,
    balance: Balance,
    counts: Mapping[str, Mapping[str, int]],
    splits: Mapping[Split, Places],
    *,
    copies_found: Mapping[str, int],
    taken: Counter[Key],
    labels: Sequence[str],
) -> dict[str, Any]:
    """``report.json``. taken: rows by stratum and reason.

    ``fairness`` has the removal rate of each source, language, gold label and group value against all other rows of its
    kind.
    ``doubtful`` lists the first rows that only may hold a benchmark item, for a person to look at.
    """
    used = np.concatenate([splits[name] for name in SPLITS])
    notes = rows.column("notes", used)
    doubtful = [(row, note) for row, some in zip(used.tolist(), notes, strict=True) for note in some if _doubt(note)]
    origins = rows.column("origin", np.array([row for row, _ in doubtful[:REVIEWED]], np.int64))
    taken = _by_cleaning(taken)
    rates = removal_rates(taken)
    return {
        **asdict(balance),
        "cuts": counts,
        "splits": {name: len(splits[name]) for name in SPLITS},
        "gold_labels": {name: _gold(rows, splits[name], labels) for name in SPLITS},
        "licenses": _licenses(rows, used),
        "languages": _counted(rows.column("language", used)),
        "changes": _counted([note.partition(":")[0] for some in notes for note in some if not _doubt(note)]),
        **copies_found,
        "doubtful_contamination": len(doubtful),
        "doubtful": [
            {"origin": origin, "why": note} for origin, (_, note) in zip(origins, doubtful[:REVIEWED], strict=True)
        ],
        "fairness": [asdict(rate) | {"reasons": [list(one) for one in rate.reasons]} for rate in rates],
        "alarms": [_alarm(rate) for rate in rates if rate.verdict == "alarm"] + _eaten(taken),
    }


def _by_cleaning(taken: Counter[Key]) -> Counter[Key]:
    """The counts without rows that were left out by wish; what the split left over has come through cleaning."""
    counts: Counter[Key] = Counter()
    for (kind, value, reason), number in taken.items():
        if reason != LEFT_BY_WISH:
            counts[kind, value, None if reason in OF_THE_SPLIT else reason] += number
    return counts


def _doubt(note: str) -> bool:
    return note.startswith("contamination?")


def _gold(rows: Rows, numbers: Places, labels: Sequence[str]) -> dict[str, int]:
    tally = Counter(rows.labels[numbers].tolist())
    named = {"unknown" if code == NO_LABEL else labels[code]: number for code, number in tally.items()}
    return dict(sorted(named.items()))


def _licenses(rows: Rows, used: Places) -> dict[str, dict[str, int]]:
    """How many documents were kept under each license, by source."""
    tally: dict[str, Counter[str]] = {}
    for source, license_id in zip(rows.column("source", used), rows.column("license", used), strict=True):
        tally.setdefault(source, Counter())[license_id] += 1
    return {source: dict(sorted(some.items())) for source, some in sorted(tally.items())}


def _counted(values: Sequence[str | None]) -> dict[str, int]:
    return dict(Counter(value for value in values if value is not None).most_common())


def _eaten(taken: Mapping[Key, int]) -> list[str]:
    """Sources of which near copies took much: rows that share a long frame look alike, whatever else they say."""
    sources: dict[str, Counter[str | None]] = {}
    for (kind, value, reason), number in taken.items():
        if kind == "source":
            sources.setdefault(value, Counter())[reason] += number
    return [
        f"source {name}: near copies took {reasons[NEAR_COPY]} of {reasons.total()} rows. If they share a long frame, "
        "take what differs as `columns.text`, raise `raw.duplicates.threshold`, or set `raw.duplicates.near: false`"
        for name, reasons in sorted(sources.items())
        if reasons[NEAR_COPY] > EATEN * reasons.total()
    ]


def _alarm(rate: Rate) -> str:
    why = ", ".join(f"{reason} ({number})" for reason, number in rate.reasons)
    others = rate.others or 0.0
    return (
        f"{rate.kind} {rate.value}: cleaning took {rate.removed} of {rate.rows} rows ({rate.rate:.1%}), "
        f"elsewhere {others:.1%}; most of all {why}"
    )
