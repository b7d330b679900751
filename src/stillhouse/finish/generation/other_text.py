"""Text that the teacher did not write: read from a file by its ending, a column of it by name.

passages = read_texts(files, column="text", most=200)

JSON lines, CSV, TSV and Parquet have columns; a text file is one text for each paragraph.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

from stillhouse.addresses import Files
from stillhouse.errors import StillhouseError, first_line
from stillhouse.finish.generation.passages import Passage

_WHERE = "finish.evaluate.other_text"
_FIX = "give a .jsonl, .csv, .tsv, .parquet or .txt file, and name its column in `other_text.text`"


def read_texts(files: Files, *, column: str, most: int) -> list[Passage]:
    """At most ``most`` texts that are not empty, chosen by a hash of what they say, the same for any order of rows.

    Raises :class:`StillhouseError` where there is none, or a file cannot be read so.
    """
    texts = {text for path in files.files for text in _texts(path, column) if text.strip()}
    if not texts:
        raise StillhouseError("there is no text to measure perplexity on", where=f"{_WHERE}: {files.address}", fix=_FIX)
    keyed = sorted((hashlib.sha256(text.encode("utf-8")).hexdigest(), text) for text in texts)
    return [Passage(key[:32], None, text) for key, text in keyed[:most]]


def _texts(path: Path, column: str) -> Iterator[str]:
    try:
        if path.suffix in (".txt", ".text", ".md"):
            yield from (part.strip() for part in re.split(r"\n\s*\n", path.read_text("utf-8")))
            return
        table = _table(path)
    except (OSError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise StillhouseError(
            f"the file cannot be read: {first_line(error)}", where=f"{_WHERE}: {path}", fix=_FIX
        ) from error
    if column not in table.column_names:
        raise StillhouseError(
            f"there is no column {column!r}; the file has {', '.join(table.column_names)}",
            where=f"{_WHERE}: {path}",
            fix=_FIX,
        )
    yield from (str(value) for value in table[column].to_pylist() if value is not None)


def _table(path: Path) -> pa.Table:
    match path.suffix:
        case ".parquet" | ".pq":
            return pq.read_table(path)
        case ".jsonl" | ".ndjson" | ".json":
            return pyarrow.json.read_json(path)
        case ".csv" | ".tsv":
            parse = pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",", newlines_in_values=True)
            return pyarrow.csv.read_csv(path, parse_options=parse)
        case _:
            raise pa.ArrowInvalid(f"files that end in {path.suffix or 'nothing'} are not known here")
