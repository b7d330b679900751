"""Documents: what is taught about, one Parquet file per split.

Columns: ``id`` (derived from the content, unique), the task's input (``text``), ``label`` (gold, where known),
``group_*`` (for the audit), ``source``, ``license``, ``language`` (``und``: not determined), ``notes`` (what cleaning
did to the text), ``origin`` (source and line). Documents for ``text-generation`` have ``messages`` too, the turns of a
conversation with their roles (null for a plain text), and a ``label`` that is any text.

    write(folder, "train", [table, another], groups=["region"])
    table = read(folder, "train")
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError
from stillhouse.store import canonical

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SCHEMA_VERSION = "2"
GROUP_PREFIX = "group_"


def content_id(fields: Mapping[str, str]) -> str:
    """An id that depends on the content alone: the first 128 bits of SHA-256 over the named input fields."""
    return hashlib.sha256(canonical(dict(fields)).encode("utf-8")).hexdigest()[:32]


MESSAGES = pa.list_(pa.struct([pa.field("role", pa.string()), pa.field("content", pa.string())]))


def schema(groups: Sequence[str] = (), *, messages: bool = False) -> pa.Schema:
    """The Arrow schema of documents with the given group names; ``messages``: for ``text-generation``."""
    columns = [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        *([pa.field("messages", MESSAGES)] if messages else []),
        pa.field("label", pa.string()),
        *(pa.field(GROUP_PREFIX + group, pa.string()) for group in groups),
        pa.field("source", pa.string(), nullable=False),
        pa.field("license", pa.string(), nullable=False),
        pa.field("language", pa.string()),
        pa.field("notes", pa.list_(pa.string()), nullable=False),
        pa.field("origin", pa.string(), nullable=False),
    ]
    return pa.schema(columns, metadata={"stillhouse.documents": SCHEMA_VERSION})


def path_of(folder: Path, split: Split) -> Path:
    """Where the documents of a split lie below a ``1-raw`` folder."""
    return folder / "documents" / f"{split}.parquet"


def write(
    folder: Path, split: Split, tables: Iterable[pa.Table], groups: Sequence[str] = (), *, messages: bool = False
) -> None:
    """Write the rows of one split, in the order given, a table at a time; columns beyond the schema are left out."""
    path = path_of(folder, split)
    path.parent.mkdir(parents=True, exist_ok=True)
    wanted = schema(groups, messages=messages)
    with pq.ParquetWriter(path, wanted) as writer:
        for table in tables:
            writer.write_table(table.select(wanted.names).cast(wanted))


def read(folder: Path, split: Split) -> pa.Table:
    """The documents of one split; raises :class:`StillhouseError` when the file is not what this version writes."""
    path = path_of(folder, split)
    table = pq.read_table(path)
    found = (table.schema.metadata or {}).get(b"stillhouse.documents", b"").decode()
    if found != SCHEMA_VERSION:
        raise StillhouseError(
            f"documents of schema {found or 'unknown'}, this version reads {SCHEMA_VERSION}",
            where=str(path),
            fix="run stage 1 again",
        )
    return table
