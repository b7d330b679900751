"""Reads the files a user has into plain rows, and loses none: what cannot be parsed comes back with its reason.

    for row in read([Path("reviews.csv.gz")], name="movie"):
        if isinstance(row, Row):
            row.origin, row.values                      # "movie:2", {"text": "A fine film.", "label": "NA"}
        else:
            row.origin, row.reason, row.raw             # "movie:3", "3 cells for 2 columns", ...

Text is read as UTF-8 whatever the locale, compressed or not; memory does not grow with the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from stillhouse.errors import StillhouseError
from stillhouse.raw.delimited import read_delimited
from stillhouse.raw.lines import Row, Unreadable, is_blank, lines, opened, suffix_of, unreadable, without_end
from stillhouse.raw.records import read_lines

__all__ = ["Format", "Row", "Unreadable", "files_of", "format_of", "read", "read_file_rows"]

Format = Literal["auto", "jsonl", "csv", "tsv", "parquet", "text", "arrow"]
_SUFFIXES: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".text": "text",
    ".arrow": "arrow",
    ".feather": "arrow",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
# what `datasets` writes beside its data files
_BESIDE_ARROW = ("state.json", "dataset_info.json", "dataset_dict.json")


def read(
    files: Sequence[Path],
    *,
    name: str,
    format: Format = "auto",
    fields: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> Iterator[Row | Unreadable]:
    """The rows of all files, in order, one by one.

    ``name`` starts every origin (``movie:17``; of several files ``movie:part-2.csv:17``). ``fields`` names the columns
    of CSV or TSV without a header line; ``quoting`` says whether quotation marks group cells there. A line of a text
    file becomes the column ``text``. A folder stands for the data set that ``datasets`` saved in it.

    Raises :class:`StillhouseError` where a whole file is at fault: missing, empty, binary, broken off, of no known
    format, without a usable header; and where the files together hold no row.
    """
    found = False
    for path, label in files_of(files, name=name):
        for row in read_file_rows(path, label=label, format=format, fields=fields, encoding=encoding, quoting=quoting):
            found = True
            yield row
    if not found:
        raise nothing_to_read(files, name)


def nothing_to_read(files: Sequence[Path], name: str) -> StillhouseError:
    """The error for files that together hold no row."""
    where = str(files[0]) if len(files) == 1 else name
    return StillhouseError("there is no row to read", where=where, fix="check the path, or the header line")


def files_of(files: Sequence[Path], *, name: str) -> list[tuple[Path, str]]:
    """Each data file with the label that starts the origins of its rows: ``movie``, or of several ``movie:part-2.csv``.

    A folder stands for the data set that ``datasets`` saved in it.
    """
    paths = _data_files(files)
    base = Path(os.path.commonpath([path.absolute().parent for path in paths])) if paths else Path()
    several = len(paths) > 1
    return [(path, f"{name}:{path.absolute().relative_to(base).as_posix()}" if several else name) for path in paths]


def read_file_rows(
    path: Path,
    *,
    label: str,
    format: Format = "auto",
    fields: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quoting: bool = True,
) -> Iterator[Row | Unreadable]:
    """The rows of one file; ``label`` starts their origins. The rest is as for :func:`read`."""
    kind = format_of(path) if format == "auto" else format
    if fields and kind not in _DELIMITERS:
        raise StillhouseError(
            f"`fields` names the columns of CSV or TSV files, and this is read as {kind}",
            where=str(path),
            fix="remove `fields`, or set `format`",
        )
    yield from _rows_of(path, kind, label, fields, encoding, quoting)


def format_of(path: Path) -> Format:
    """The format by the file's ending (a compression's ending aside), else by its first bytes.

    Raises :class:`StillhouseError` when neither tells.
    """
    known = _SUFFIXES.get(suffix_of(path))
    if known:
        return known
    try:
        with path.open("rb") as file:
            magic = file.read(6)
    except OSError as error:
        raise StillhouseError(f"the file cannot be read: {error}", where=str(path), fix="check the path") from error
    if magic.startswith(b"PAR1"):
        return "parquet"
    if magic == b"ARROW1":
        return "arrow"
    raise StillhouseError(
        f"the ending {path.suffix!r} does not tell the format",
        where=str(path),
        fix="set `format` to jsonl, csv, tsv, parquet, text or arrow",
    )


def _rows_of(
    path: Path, kind: Format, label: str, fields: Sequence[str] | None, encoding: str, quoting: bool
) -> Iterator[Row | Unreadable]:
    if kind == "jsonl":
        return read_lines(path, label=label, encoding=encoding)
    if kind == "text":
        return _read_text(path, label=label, encoding=encoding)
    if kind in ("parquet", "arrow"):
        # pyarrow's Parquet part takes a while to load, and most runs read text
        from stillhouse.raw.tables import read_arrow, read_parquet

        _refuse_empty(path)
        return read_parquet(path, label=label) if kind == "parquet" else read_arrow(path, label=label)
    delimiter = _DELIMITERS[kind]
    return read_delimited(path, label=label, delimiter=delimiter, fields=fields, encoding=encoding, quoting=quoting)


def _read_text(path: Path, *, label: str, encoding: str) -> Iterator[Row | Unreadable]:
    with opened(path, encoding=encoding) as source:
        for line in lines(source):
            if is_blank(line.text):
                continue
            origin = f"{label}:{line.number}"
            if line.fault:
                yield unreadable(origin, line.fault, line.text)
            else:
                yield Row(origin, {"text": without_end(line.text)})


def _data_files(files: Sequence[Path]) -> list[Path]:
    """The files to read: folders opened, and what ``datasets`` keeps beside its data left out."""
    paths: list[Path] = []
    for file in files:
        if not file.is_dir():
            paths.append(file)
            continue
        inside = sorted(file.rglob("*.arrow"))
        if not inside:
            raise StillhouseError(
                "the folder holds no data set saved by `datasets`",
                where=str(file),
                fix="name the files in it, for example with data/*.jsonl",
            )
        paths += inside
    folders = {path.parent for path in paths if path.suffix == ".arrow"}
    if not folders:
        return paths
    # dataset_dict.json lies one folder above the data
    beside = folders | {folder.parent for folder in folders}
    kept = [path for path in paths if not (path.name in _BESIDE_ARROW and path.parent in beside)]
    return [path for path in kept if path.suffix != ".arrow" or _is_data(path)]


def _is_data(path: Path) -> bool:
    """Whether an Arrow file is data, by the list that ``datasets`` keeps beside it (if there is one).

    Beside the data may lie caches of earlier computations, which would double the rows.
    """
    try:
        state = json.loads((path.parent / "state.json").read_text(encoding="utf-8"))
        listed = {entry["filename"] for entry in state["_data_files"]}
    except (OSError, ValueError, LookupError, TypeError):
        return True
    return path.name in listed


def _refuse_empty(path: Path) -> None:
    if path.is_file() and path.stat().st_size == 0:
        raise StillhouseError("the file is empty", where=str(path), fix="remove it, or fetch it again")
