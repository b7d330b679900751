"""Masks: tokens of an answer that are read and not learned, while the row stays.

    found = places_of(tokenizer, sequence, find)        # find: text -> places in it; token places in the sequence
    lesson = without(lesson, found)                     # None where nothing is left to learn
    write(folder, {"3f2a#0": [7, 8]}); read(folder)

Learned and masked tokens together are all tokens of the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.distill.language.lessons import Lesson
from stillhouse.teachers.sequences import TokenSequence

FILE = "masks.parquet"
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("places", pa.list_(pa.int32()), nullable=False),
    ]
)

Places = Mapping[str, Sequence[int]]


def places_of(tokenizer: Any, sequence: TokenSequence, find: Callable[[str], Sequence[tuple[int, int]]]) -> list[int]:
    """Places in the sequence of the learned tokens that touch what ``find`` finds in their text.

    The end of a turn belongs to no sentence and is never found.
    """
    special = set(tokenizer.all_special_ids)
    found: list[int] = []
    for start, end in sequence.spans:
        ids = list(sequence.ids[start:end])
        while ids and ids[-1] in special:
            ids.pop()
        spans = find(_text(tokenizer, ids))
        if not spans:
            continue
        # a token's text is what it adds; one that completes a letter adds none, and shares the letter
        borders = [len(_text(tokenizer, ids[:count])) for count in range(len(ids) + 1)]
        for place, (left, right) in enumerate(pairwise(borders)):
            left = min(left, right - 1)
            if any(left < last and right > first for first, last in spans):
                found.append(start + place)
    return found


def _text(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))


def without(lesson: Lesson, masked: Collection[int]) -> Lesson | None:
    """The lesson without the masked places; ``None`` where none is left."""
    gone = set(masked)
    spans: list[tuple[int, int]] = []
    for start, end in lesson.spans:
        for place in range(start, end):
            if place in gone:
                continue
            if spans and spans[-1][1] == place and place > start:
                spans[-1] = (spans[-1][0], place + 1)
            else:
                spans.append((place, place + 1))
    return replace(lesson, spans=tuple(spans)) if spans else None


def write(folder: Path, masks: Mapping[str, Places]) -> None:
    """Write ``masks.parquet``. masks: by the name of their cut, token places by the id of the row."""
    rows = [
        {"id": identifier, "name": name, "places": list(places)}
        for name, of_rows in sorted(masks.items())
        for identifier, places in sorted(of_rows.items())
        if len(places)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), folder / FILE)


def read(folder: Path) -> dict[str, dict[str, list[int]]]:
    """What :func:`write` wrote; of a folder without masks, none."""
    path = folder / FILE
    found: dict[str, dict[str, list[int]]] = {}
    for row in pq.read_table(path).to_pylist() if path.exists() else ():
        found.setdefault(row["name"], {})[row["id"]] = row["places"]
    return found
