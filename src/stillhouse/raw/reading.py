"""Reads source files into pieces: files of some thousand rows each, which any worker can take on.

    read_file(ReadTask(source, path, label="movie", folder=folder, number=0))   # FileRead(rows=8123, licenses={"MIT"})
    for piece in pieces_of(folder): ...

Each source file is read by one worker, from its first row to its last, so that line numbers are right and nothing
depends on how many workers there are. A piece holds its rows as they stood, and what could not be parsed beside them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import pyarrow as pa

from stillhouse.raw.lines import Row, Unreadable
from stillhouse.raw.mapping import Mapping, SourcePlan
from stillhouse.raw.sources import Format, read_file_rows
from stillhouse.store import reached, write_json

PIECE_ROWS = 10_000
PLACES_OF_A_FILE = 40  # bits of a row's place that number the rows of one file
_DONE = "done.json"
_SCHEMA = pa.schema(
    [
        pa.field("origin", pa.string(), nullable=False),
        pa.field("values", pa.string()),  # JSON; null where the row could not be read
        pa.field("fault", pa.string()),
        pa.field("raw", pa.string()),
    ]
)


@dataclass(frozen=True)
class ReadTask:
    """One file of a source. number: its position among all files of all sources; folder: where its pieces go.

    piece_rows: rows of a piece.
    """

    source: SourcePlan
    path: Path
    label: str
    number: int
    folder: Path
    piece_rows: int = PIECE_ROWS


@dataclass(frozen=True)
class FileRead:
    """What a file held: rows, those that were read, and the different licenses that they state."""

    task: ReadTask
    rows: int
    readable: int
    licenses: tuple[str | None, ...]

    @property
    def pieces(self) -> list[tuple[Path, int]]:
        """Each piece with the place of its first row."""
        starts = range(0, self.rows, self.task.piece_rows)
        return [
            (self.task.folder / f"{start}.arrow", (self.task.number << PLACES_OF_A_FILE) + start) for start in starts
        ]


def read_file(task: ReadTask) -> FileRead:
    """Read one file into its pieces, unless that was done before.

    Raises :class:`StillhouseError` for a file that cannot be read at all, and a mapping that does not fit its rows.
    """
    done = task.folder / _DONE
    if done.exists():
        found = json.loads(done.read_text("utf-8"))
        return FileRead(task, found["rows"], found["readable"], tuple(found["licenses"]))
    shutil.rmtree(task.folder, ignore_errors=True)
    task.folder.mkdir(parents=True)
    mapping = Mapping(task.source)
    licenses: dict[str | None, None] = {}
    rows = readable = 0
    source = read_file_rows(
        task.path,
        label=task.label,
        format=cast(Format, task.source.format),
        fields=task.source.fields,
        encoding=task.source.encoding,
        quoting=task.source.quoting,
    )
    while part := list(islice(source, task.piece_rows)):
        first = next((row for row in part if isinstance(row, Row)), None)
        if not readable and first is not None:
            mapping.check_columns(first)
        if task.source.license is not None:
            licenses |= {mapping.stated_license(row): None for row in part if isinstance(row, Row)}
        _write(task.folder / f"{rows}.arrow", part)
        readable += sum(isinstance(row, Row) for row in part)
        rows += len(part)
    write_json(done, {"rows": rows, "readable": readable, "licenses": list(licenses)})
    reached("piece-read")
    return FileRead(task, rows, readable, tuple(licenses))


def read_piece(path: Path) -> Iterator[Row | Unreadable]:
    """The rows of a piece, as :func:`stillhouse.raw.sources.read` gave them."""
    columns = open_arrow(path).to_pydict()
    for origin, values, fault, raw in zip(*(columns[name] for name in _SCHEMA.names), strict=True):
        yield Unreadable(origin, fault, raw) if values is None else Row(origin, json.loads(values))


def _write(path: Path, rows: list[Row | Unreadable]) -> None:
    read = [row if isinstance(row, Row) else None for row in rows]
    lost = [row if isinstance(row, Unreadable) else None for row in rows]
    table = pa.table(
        {
            "origin": [row.origin for row in rows],
            "values": [
                None if row is None else json.dumps(row.values, ensure_ascii=False, default=str) for row in read
            ],
            "fault": [None if row is None else row.reason for row in lost],
            "raw": [None if row is None else row.raw for row in lost],
        },
        schema=_SCHEMA,
    )
    write_arrow(path, table)


def open_arrow(path: Path) -> pa.Table:
    """A table that :func:`write_arrow` wrote, memory-mapped: only what is looked at is read."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def write_arrow(path: Path, table: pa.Table) -> None:
    """Write a table under a temporary name first, so that under its own name it is whole."""
    draft = path.with_suffix(".part")
    with pa.OSFile(str(draft), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    draft.replace(path)
