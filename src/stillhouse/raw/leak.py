"""Held-out documents found again among the others: the run's own test and validation texts, looked for in the rest.

for hits in engine.each(partial(find_leaks, index=index), tasks): ...     # (place, item, detail, share)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.overlap.search import Index, count_documents, scan, verdict
from stillhouse.raw.reading import open_arrow

COMMON = 8  # rows; what more of them hold is no one's text


@dataclass(frozen=True)
class LeakTask:
    """Some rows of one table of prepared rows."""

    table: Path
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """A row that holds a held-out item: its number in its table, the item's, how it was found, the item's share."""

    row: int
    item: int
    detail: str
    share: float


@dataclass(frozen=True)
class Touched:
    """The task's rows that hold any n-gram of an item, and by how many of them each of the index's keys is held."""

    task: LeakTask
    held: npt.NDArray[np.int64]


def touch(task: LeakTask, *, index: Index) -> Touched:
    """The first look: which rows are to be looked at again, and what is in many of them."""
    texts = _texts(task)
    rows = sorted({hit.row for hit in scan(texts, index)})
    held = count_documents([texts[row] for row in rows], index)
    return Touched(LeakTask(task.table, task.rows[rows]), held)


def boilerplate(index: Index, touched: Sequence[Touched]) -> npt.NDArray[np.uint64]:
    """The keys that more rows hold than a leaked text is in."""
    held = sum((one.held for one in touched), np.zeros(index.keys.size, np.int64))
    return index.keys[held > COMMON]


def find_leaks(task: LeakTask, *, index: Index) -> list[Leak]:
    """The held-out items that the rows hold; a passing quotation is none."""
    return [
        Leak(int(task.rows[hit.row]), hit.item, f"{hit.kind}, {hit.share:.0%} of it: {hit.excerpt}", hit.share)
        for hit in scan(_texts(task), index)
        if verdict(hit) == "cut"
    ]


def _texts(task: LeakTask) -> list[str]:
    texts: list[str] = open_arrow(task.table).column("text").take(pa.array(task.rows)).to_pylist()
    return texts
