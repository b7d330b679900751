"""Copies among all prepared rows: exact ones by their keys, near ones proposed by their band keys and then verified.

    found = np.concatenate(list(engine.each(find_exact, key_tasks(paths, ranges=4))))
    proposed = list(engine.each(partial(propose_near, gone=path), key_tasks(bands, ranges=4)))
    similarity = np.concatenate(list(engine.each(partial(verify_near, near=near), chunks)))

Exactly one row of each set of equal texts stays: the first in the order of the recipe's sources and of the rows in
them; rows of an earlier set come before all others. What a row's copies are does not depend on how the keys were cut
into ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.raw.keyed import key_ranges, read_range
from stillhouse.raw.near import Candidates, candidate_pairs, similarities
from stillhouse.raw.prepare import NO_LABEL, NearPlan
from stillhouse.raw.reading import PIECE_ROWS, PLACES_OF_A_FILE

EXACT = np.dtype([("survivor", "<i8"), ("place", "<i8"), ("label", "<i4")])
PAIRS_AT_ONCE = 20_000
_IN_FILE = (1 << PLACES_OF_A_FILE) - 1


@dataclass(frozen=True)
class KeyTask:
    """One range of keys over all pieces."""

    paths: tuple[Path, ...]
    low: int
    high: int


def key_tasks(paths: Sequence[Path], *, ranges: int) -> list[KeyTask]:
    """The whole key space over ``paths``, cut into so many tasks."""
    return [KeyTask(tuple(paths), low, high) for low, high in key_ranges(ranges)]


def find_exact(task: KeyTask) -> npt.NDArray[Any]:
    """Every row that has an equal, its survivor and its gold label (``EXACT``); survivors name themselves."""
    entries = read_range(task.paths, task.low, task.high)
    entries = entries[np.lexsort((entries["place"], entries["rest"], entries["key"]))]
    if not len(entries):
        return np.empty(0, EXACT)
    same = (entries["key"][1:] == entries["key"][:-1]) & (entries["rest"][1:] == entries["rest"][:-1])
    number = np.cumsum(np.append(True, ~same)) - 1
    starts = np.flatnonzero(np.append(True, ~same))
    several = (np.bincount(number) > 1)[number]
    found = np.empty(int(several.sum()), EXACT)
    found["survivor"] = entries["place"][starts][number[several]]
    found["place"], found["label"] = entries["place"][several], entries["label"][several]
    return found


@dataclass(frozen=True)
class Settled:
    """What copies say of each survivor: the rows that leave, gold labels by survivor, and who contradict each other.

    copies: (n, 2) place and survivor of each row that leaves. labels: by survivor's place the label that its copies
    agree on or vote for, ``NO_LABEL`` where they do neither. conflicts: survivors whose copies carry different labels.
    """

    copies: npt.NDArray[np.int64]
    labels: dict[int, int]
    conflicts: tuple[int, ...]


def settle_labels(exact: npt.NDArray[Any], *, vote: bool) -> Settled:
    """Decide each set of equal texts; with ``vote`` a strict majority of the known labels wins."""
    exact = exact[np.lexsort((exact["place"], exact["survivor"]))]
    leaving = exact[exact["place"] != exact["survivor"]]
    known = exact[exact["label"] != NO_LABEL]
    labels: dict[int, int] = {}
    conflicts: list[int] = []
    survivors, starts = np.unique(known["survivor"], return_index=True)
    ends = np.append(starts, len(known))[1:]
    for survivor, start, end in zip(survivors.tolist(), starts.tolist(), ends.tolist(), strict=True):
        part = known["label"][start:end]
        values, counts = np.unique(part, return_counts=True)
        labels[survivor] = int(values[0])
        if len(values) > 1:
            conflicts.append(survivor)
            most = counts == counts.max()
            labels[survivor] = int(values[most][0]) if vote and most.sum() == 1 else NO_LABEL
    return Settled(np.stack((leaving["place"], leaving["survivor"]), axis=1), labels, tuple(conflicts))


def propose_near(task: KeyTask, *, gone: Path) -> Candidates:
    """Pairs of rows that may be near copies, without the rows listed in ``gone`` (a sorted ``.npy`` of places)."""
    entries = read_range(task.paths, task.low, task.high)
    entries = entries[~np.isin(entries["place"], np.load(gone, allow_pickle=False))]
    return candidate_pairs(entries["key"], entries["place"], order=entries["order"])


def verify_near(
    pairs: npt.NDArray[np.int64], *, rows: Path, near: NearPlan, piece_rows: int = PIECE_ROWS
) -> npt.NDArray[np.float64]:
    """True Jaccard similarity (n,) of pairs of places (n, 2), whose texts lie in the tables of the folder ``rows``."""
    places, ends = np.unique(pairs, return_inverse=True)
    texts = texts_at(places, rows, piece_rows)
    return similarities(texts, ends.reshape(-1, 2), words=near.words, characters=near.characters)


def texts_at(places: npt.NDArray[np.int64], rows: Path, piece_rows: int) -> list[str]:
    """The texts at some places, ascending."""
    starts = places - (places & _IN_FILE) % piece_rows
    texts: list[str] = []
    for start in np.unique(starts):
        wanted = places[starts == start] - start
        with pa.memory_map(str(rows / f"{int(start):016x}.arrow")) as source, pa.ipc.open_file(source) as reader:
            column = reader.read_all().column("text")
            texts += column.take(pa.array(wanted)).to_pylist()
    return texts
