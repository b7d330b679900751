"""Documents with planted faults, and the truth about each row: the material of the raw benches.

    planted = write(Path("work/documents"), count=100_000, seed=0)
    planted.documents        # JSONL files with id, text, label, author_group, lang
    planted.truth            # Parquet, one row per document: kind, variant, copy_of, edits, jaccard, lang, value, item
    planted.benchmark        # JSONL with id, question, answer: what contaminated rows quote

Lengths are log-normal with median 300 and 95th percentile 1,500 characters over all rows; one row in ten is not
ASCII. The same count and seed give the same bytes whatever the shards; memory does not grow with the count.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.raw_rows import Document, Rows, benchmark_items

BLOCK = 4096
_TRUTH = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("variant", pa.string()),
        pa.field("copy_of", pa.string()),
        pa.field("edits", pa.int32()),
        pa.field("jaccard", pa.float64()),
        pa.field("lang", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("item", pa.string()),
    ]
)


@dataclass(frozen=True)
class Planted:
    """Files of one set of documents; ``characters`` of all texts, ``size`` in bytes of the documents' files."""

    documents: tuple[Path, ...]
    truth: Path
    benchmark: Path
    rows: int
    characters: int
    size: int


def write(path: Path, *, count: int, seed: int, shards: int = 1) -> Planted:
    """Write ``count`` documents in files of equal numbers of rows into the folder ``path``."""
    path.mkdir(parents=True, exist_ok=True)
    files = tuple(path / f"documents-{shard:03d}.jsonl" for shard in range(shards))
    truth, benchmark = path / "truth.parquet", path / "benchmark.jsonl"
    items = benchmark_items(seed)
    benchmark.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    encode = json.JSONEncoder(ensure_ascii=False).encode
    row = characters = 0
    with ExitStack() as stack:
        ledger = stack.enter_context(pq.ParquetWriter(truth, _TRUTH, compression="zstd"))
        outputs = [stack.enter_context(file.open("w", encoding="utf-8", newline="\n")) for file in files]
        for block in documents(count=count, seed=seed, items=items):
            for document in block:
                outputs[row * shards // count].write(encode(document.columns()) + "\n")
                characters += len(document.text)
                row += 1
            ledger.write_table(_truth_of(block, row - len(block)))
    return Planted(files, truth, benchmark, row, characters, sum(file.stat().st_size for file in files))


def documents(*, count: int, seed: int, items: list[dict[str, str]]) -> Iterator[list[Document]]:
    """The documents in blocks; kinds have their shares exactly, but for rounding."""
    rows = Rows(seed, items)
    for start in range(0, count, BLOCK):
        yield rows.block(start, min(start + BLOCK, count))


def read_truth(planted: Planted) -> list[dict[str, Any]]:
    """The truth as rows; for small sets."""
    rows: list[dict[str, Any]] = pq.read_table(planted.truth).to_pylist()
    return rows


def _truth_of(block: list[Document], start: int) -> pa.Table:
    columns = {name: [getattr(document, name) for document in block] for name in _TRUTH.names[1:]}
    return pa.table({"row": range(start, start + len(block)), **columns}, schema=_TRUTH)
