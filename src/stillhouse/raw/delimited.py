"""Comma and tab separated rows. Every cell stays the text it is; only an empty cell is missing (None).

    for row in read_delimited(path, label="movie", delimiter=",", fields=None, encoding="utf-8", quoting=True):
        ...                                             # Row or Unreadable, one per record

With ``quoting`` the rules of RFC 4180 hold, strictly: a quotation mark that opens a cell must close it. Leniency would
let one stray mark swallow thousands of rows, so a record with such a mark is unreadable and reading goes on at the
next line.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from stillhouse.errors import StillhouseError
from stillhouse.raw.lines import (
    Line,
    Row,
    Unreadable,
    is_blank,
    lines,
    opened,
    refuse_repeated,
    unreadable,
    without_end,
)

LONGEST_RECORD = 10_000  # lines; bounds what an opening mark that is never closed makes us read twice
_LONGEST_CELL = 2**31 - 1  # characters; the largest limit that the csv module takes on every platform
_ADVICE = "; `quoting: false` takes quotation marks as text"


class _Record(NamedTuple):
    number: int
    cells: list[str]
    fault: str
    raw: str


def read_delimited(
    path: Path, *, label: str, delimiter: str, fields: Sequence[str] | None, encoding: str, quoting: bool
) -> Iterator[Row | Unreadable]:
    """Every record as a row (origin ``label:line``, the record's first line); blank lines are skipped.

    ``fields`` names the columns of a file without a header line; otherwise the first record does, its names without
    outer spaces and an empty name replaced by ``column_<position>``. Raises :class:`StillhouseError` for a header
    that cannot be read or names a column twice, and for a file that is no text (see :func:`opened`).
    """
    with opened(path, encoding=encoding) as source:
        split = _quoted if quoting else _unquoted
        records = split(lines(source), delimiter)
        names = list(fields) if fields else _header(records, path)
        refuse_repeated(names, path, fix="rename one of them in the header, or in `fields`")
        for record in records:
            origin = f"{label}:{record.number}"
            if record.fault:
                yield unreadable(origin, record.fault, record.raw)
            elif len(record.cells) != len(names):
                counts = f"{_count(len(record.cells), 'cell')} for {_count(len(names), 'column')}"
                yield unreadable(origin, counts, record.raw)
            else:
                yield Row(origin, dict(zip(names, (cell or None for cell in record.cells), strict=True)))


def _unquoted(source: Iterator[Line], delimiter: str) -> Iterator[_Record]:
    for line in source:
        if not _is_blank_record(line.text, delimiter):
            yield _Record(line.number, without_end(line.text).split(delimiter), line.fault, line.text)


def _quoted(source: Iterator[Line], delimiter: str) -> Iterator[_Record]:
    csv.field_size_limit(_LONGEST_CELL)  # of the whole process; the module has no other switch
    feed = _Feed(source)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    after_fault = False
    while True:
        feed.taken.clear()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first = feed.give_back()
            after_fault = True
            yield _Record(first.number, [], first.fault or _reason(error), first.text)
            continue
        raw = "".join(line.text for line in feed.taken)
        if not cells or _is_blank_record(raw, delimiter):
            continue
        fault = next((line.fault for line in feed.taken if line.fault), "")
        # the lines after a broken record may be the rest of its text: a mark inside a cell gives them away
        after_fault = after_fault and '""' not in raw and any('"' in cell for cell in cells)
        if after_fault:
            fault = fault or "a quotation mark inside a cell, after a record with unmatched ones" + _ADVICE
        yield _Record(feed.taken[0].number, cells, fault, raw)


class _Feed:
    """Lines for the csv reader, which remembers what the current record took and can take lines back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self.taken: list[Line] = []
        self._source = source
        self._returned: deque[Line] = deque()

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if len(self.taken) >= LONGEST_RECORD:
            raise StopIteration  # to the reader the file ends here, inside a quoted cell: an error
        line = self._returned.popleft() if self._returned else next(self._source)
        self.taken.append(line)
        return line.text

    def give_back(self) -> Line:
        """Return all lines of the current record but its first, which is the result."""
        first, *others = self.taken
        self._returned.extendleft(reversed(others))
        return first


def _is_blank_record(raw: str, delimiter: str) -> bool:
    return is_blank(raw) and delimiter not in raw


def _header(records: Iterator[_Record], path: Path) -> list[str]:
    header = next(records, None)
    if header is None or header.fault:
        raise StillhouseError(
            f"the header cannot be read: {header.fault if header else 'there is none'}",
            where=f"{path}, line {header.number if header else 1}",
            fix="mend the first line, or name the columns with `fields`",
        )
    return [cell.strip() or f"column_{position}" for position, cell in enumerate(header.cells, start=1)]


def _reason(error: csv.Error) -> str:
    message = str(error)
    if "new-line" in message:
        return "a carriage return inside the line"
    if "end of data" in message:
        return "a quotation mark is opened and never closed" + _ADVICE
    return "text follows a closing quotation mark" + _ADVICE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
