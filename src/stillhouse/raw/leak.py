"""Held-out documents found again among the others: the run's own test and validation texts, looked for in the rest.

for hits in engine.each(partial(find_leaks, index=index), tasks): ...     # (place, item, detail, share)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.raw.decontaminate import Index, scan, verdict


@dataclass(frozen=True)
class LeakTask:
    """Some rows of one table of prepared rows."""

    table: Path
    rows: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Leak:
    """A row that holds a held-out item: its place, the item's number, how it was found, and the share of the item."""

    place: int
    item: int
    detail: str
    share: float


def find_leaks(task: LeakTask, *, index: Index) -> list[Leak]:
    """The held-out items that the rows hold; a passing quotation is none."""
    with pa.memory_map(str(task.table)) as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all().select(["place", "text"]).take(pa.array(task.rows))
    places = table.column("place").to_pylist()
    return [
        Leak(places[hit.row], hit.item, f"{hit.kind}, {hit.share:.0%} of it: {hit.excerpt}", hit.share)
        for hit in scan(table.column("text").to_pylist(), index)
        if verdict(hit) == "cut"
    ]
