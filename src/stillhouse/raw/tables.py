"""Rows of Parquet and Arrow files, read piece by piece (what ``datasets`` saves is a folder of the latter).

for row in read_parquet(path, label="movie"):
    ...                                             # Row or Unreadable, one per row
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import date, time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError
from stillhouse.raw.lines import Row, Unreadable, refuse_repeated, unreadable

BATCH_ROWS = 1000
_FEATHER_1 = b"FEA1"
_FILE = b"ARROW1"


def read_parquet(path: Path, *, label: str) -> Iterator[Row | Unreadable]:
    """Every row of a Parquet file (origin ``label:row``, from 1).

    Raises :class:`StillhouseError` for a file that is missing, torn or not Parquet.
    """
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            refuse_repeated(file.schema_arrow.names, path, fix="rename one of them")
            yield from _rows(file.iter_batches(batch_size=BATCH_ROWS), label)
    except (pa.ArrowException, OSError) as error:
        raise _torn(path, "Parquet", error) from error


def read_arrow(path: Path, *, label: str) -> Iterator[Row | Unreadable]:
    """Every row of an Arrow file, as a stream or with a footer (Feather 2); origin ``label:row``, from 1.

    Raises :class:`StillhouseError` for a file that is missing, torn or not Arrow.
    """
    try:
        with pa.memory_map(str(path)) as source:
            magic = source.read(6)
            if magic.startswith(_FEATHER_1):
                raise pa.ArrowInvalid("Feather version 1 is no longer written or read")
            source.seek(0)
            reader = pa.ipc.open_file(source) if magic == _FILE else pa.ipc.open_stream(source)
            with reader:
                refuse_repeated(reader.schema.names, path, fix="rename one of them")
                stream = iter(reader) if magic != _FILE else map(reader.get_batch, range(reader.num_record_batches))
                yield from _rows(stream, label)
    except (pa.ArrowException, OSError) as error:
        raise _torn(path, "Arrow", error) from error


def _rows(batches: Iterator[pa.RecordBatch], label: str) -> Iterator[Row | Unreadable]:
    number = 0
    for whole in batches:
        for start in range(0, whole.num_rows, BATCH_ROWS):
            batch = _readable(whole.slice(start, BATCH_ROWS))
            try:
                rows: list[dict[str, object]] = batch.to_pylist()
            except (ValueError, OverflowError):
                yield from _one_by_one(batch, label, number)
                number += batch.num_rows
                continue
            for values in rows:
                number += 1
                yield Row(f"{label}:{number}", {name: _plain(value) for name, value in values.items()})


def _one_by_one(batch: pa.RecordBatch, label: str, number: int) -> Iterator[Row | Unreadable]:
    """The rows of a batch in which some value has no Python form, for example text that is not valid UTF-8."""
    for index in range(batch.num_rows):
        origin = f"{label}:{number + index + 1}"
        values: dict[str, object] = {}
        try:
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                values[name] = _plain(column[index].as_py())
        except (ValueError, OverflowError) as error:
            yield unreadable(origin, f"column {name!r}: {error}", str(values))
        else:
            yield Row(origin, values)


def _readable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times as text (with a zone: in UTC), durations as whole numbers: nanoseconds have no plain Python form."""
    columns = []
    for column in batch.columns:
        kind = column.type
        if pa.types.is_timestamp(kind):
            column = column.cast(pa.timestamp(kind.unit)).cast(pa.string())
        elif pa.types.is_time64(kind):
            column = column.cast(pa.string())
        elif pa.types.is_duration(kind):
            column = column.cast(pa.int64())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _plain(value: object) -> object:
    """The value in the types a row may hold; bytes that are no UTF-8 become Base64."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return base64.b64encode(value).decode("ascii")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value)


def _torn(path: Path, kind: str, error: Exception) -> StillhouseError:
    return StillhouseError(
        f"the file cannot be read as {kind}: {error}", where=str(path), fix="fetch it again, or set `format`"
    )
