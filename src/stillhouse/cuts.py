"""The cut ledger: every row that leaves, at whatever stage, with the reason.

*Head* is what would harm, *tail* what costs without teaching. Document cuts are made before the teacher is paid,
signal cuts after; both are rows of the same table. Nothing is deleted: the row's content stays in the ledger.

    cuts = [Cut(stage="1-raw", cut="tail", reason="exact copy", origin="movie:7", ...)]
    write(folder, cuts)
    Balance(rows_in=10, kept=9, cut=1, failed=0).check("1-raw")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

CutKind = Literal["head", "tail"]
SCHEMA_VERSION = "1"

SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("cut", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("matched_id", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("threshold", pa.float64()),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("content", pa.string(), nullable=False),
    ],
    metadata={"stillhouse.cuts": SCHEMA_VERSION},
)


@dataclass(frozen=True)
class Cut:
    """One removal: which row, by which stage, into which cut, why, and by what score against what threshold."""

    stage: str
    cut: CutKind
    reason: str
    source: str
    origin: str
    id: str | None = None
    matched_id: str | None = None
    score: float | None = None
    threshold: float | None = None
    detail: str = ""
    content: str = ""


@dataclass(frozen=True)
class Balance:
    """Rows in = kept + cut + failed, at every stage."""

    rows_in: int
    kept: int
    cut: int
    failed: int

    def check(self, stage: str) -> Balance:
        """Return itself, or raise :class:`AssertionError`: a row that vanished is our bug, not the user's."""
        if self.rows_in != self.kept + self.cut + self.failed:
            raise AssertionError(f"{stage}: rows do not add up: {self}")
        return self


def write(folder: Path, cuts: Iterable[Cut]) -> None:
    """Write ``cuts.parquet``, ordered by reason and origin so that equal cuts give equal files."""
    rows = sorted((asdict(cut) for cut in cuts), key=lambda row: (row["cut"], row["reason"], row["origin"]))
    write_tables(folder, [pa.Table.from_pylist(rows, schema=SCHEMA)])


def write_tables(folder: Path, tables: Iterable[pa.Table]) -> None:
    """Write ``cuts.parquet`` from tables of :data:`SCHEMA`, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(folder / "cuts.parquet", SCHEMA) as writer:
        for table in tables:
            writer.write_table(table)


def read(folder: Path) -> pa.Table:
    """The cut ledger of one stage; an empty table when the stage cut nothing."""
    path = folder / "cuts.parquet"
    return pq.read_table(path) if path.exists() else SCHEMA.empty_table()


def counts(cuts: Iterable[Cut]) -> dict[str, dict[str, int]]:
    """How many rows by cut and reason: ``{"head": {...}, "tail": {...}}``."""
    tally = Counter((cut.cut, cut.reason) for cut in cuts)
    found: dict[str, dict[str, int]] = {"head": {}, "tail": {}}
    for (kind, reason), number in sorted(tally.items()):
        found[kind][reason] = number
    return found
