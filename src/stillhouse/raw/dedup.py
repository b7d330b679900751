"""Copies among all prepared rows: exact ones by their keys, near ones proposed by their band keys and then verified.

    copies = remove_copies(rows, tasks, near, conflicts="vote", scratch=folder, engine=engine, progress=silent)
    copies.linked                                       # verified pairs, which a split must keep together

Exactly one row of each set of equal texts stays: the first in the order of the recipe's sources and of the rows in
them; rows of an earlier set come before all others. What a row's copies are does not depend on how the keys were cut
into ranges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.engine import Engine
from stillhouse.raw.fate import Places, Rows
from stillhouse.raw.keyed import key_ranges, read_range
from stillhouse.raw.near import Candidates, candidate_pairs, choose, own_passages, similarities
from stillhouse.raw.prepare import BAND_ENTRY, NO_LABEL, NearPlan, PieceTask, table_at
from stillhouse.raw.reading import PIECE_ROWS, PLACES_OF_A_FILE, open_arrow
from stillhouse.workplace import Progress

EXACT = np.dtype([("survivor", "<i8"), ("place", "<i8"), ("label", "<i4")])
PAIRS_AT_ONCE = 20_000
ROWS_IN_A_RANGE = 2_000_000  # of keys that one worker holds at a time
EXACTLY = "exact copies"
OWN_PASSAGE = 8  # tokens in a row that the other text has not, from which a similar text is no copy
Conflicts = Literal["ask-teacher", "vote", "drop"]
_IN_FILE = (1 << PLACES_OF_A_FILE) - 1


Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Copies:
    """What was found about copies. linked: (n, 2) row numbers of verified pairs, which the split keeps together.

    conflicts: sets of equal texts with different gold labels. other_label, own_passage: pairs of near copies that stay,
    since their gold labels differ, or the row that would leave has a passage of its own. bounded_buckets: sets of
    proposals too large to compare all with all.
    """

    linked: Places
    conflicts: int
    other_label: int
    own_passage: int
    bounded_buckets: int


def gather(
    engine: Engine, work: Callable[[Item], Result], items: Sequence[Item], what: str, progress: Progress
) -> list[Result]:
    """The results of all items, in order, with progress."""
    found: list[Result] = []
    for result in engine.each(work, items):
        found.append(result)
        progress(what, len(found), len(items))
    return found


def remove_copies(
    rows: Rows,
    tasks: Sequence[PieceTask],
    near: NearPlan | None,
    *,
    conflicts: Conflicts,
    scratch: Path,
    engine: Engine,
    progress: Progress,
) -> Copies:
    """Let exact and near copies leave ``rows``; gold labels of the survivors are settled on the way."""
    ranges = max(1, len(rows.places) // ROWS_IN_A_RANGE)
    exact = gather(engine, find_exact, key_tasks([task.copies for task in tasks], ranges=ranges), EXACTLY, progress)
    settled = settle_labels(np.concatenate(exact), vote=conflicts == "vote")
    gone, survivors = rows.numbers(settled.copies[:, 0]), rows.numbers(settled.copies[:, 1])
    rows.cut(gone, "tail", "exact copy", matched=survivors, scores=np.ones(len(gone)))
    rows.labels[rows.numbers(np.array(list(settled.labels), np.int64))] = list(settled.labels.values())
    if conflicts == "drop":
        rows.cut(rows.numbers(np.array(settled.conflicts, np.int64)), "head", "conflicting labels")
    if near is None:
        return Copies(np.empty((0, 2), np.int64), len(settled.conflicts), 0, 0, 0)
    pairs, bounded = _proposed(rows, tasks, scratch, engine, progress)
    chunks = [pairs[start : start + PAIRS_AT_ONCE] for start in range(0, len(pairs), PAIRS_AT_ONCE)]
    verify = partial(verify_near, rows=tasks[0].table.parent, near=near, piece_rows=tasks[0].piece_rows)
    compared = gather(engine, verify, chunks, "comparing", progress)
    similarity = np.concatenate([np.empty(0), *(one.similarity for one in compared)])
    own = np.concatenate([np.empty((0, 2), np.int64), *(one.own for one in compared)])
    # two texts in one frame that both say something of their own are no copies of each other
    frame = (own >= OWN_PASSAGE).all(axis=1)
    true = (similarity >= near.threshold) & ~frame
    linked, similarity, own = rows.numbers(pairs[true]), similarity[true], own[true]
    # a word that turns the label makes no copy but a lesson: both stay, on the same side of the split
    known = rows.labels[linked]
    other = (known != NO_LABEL).all(axis=1) & (known[:, 0] != known[:, 1])
    rank = np.where(rows.earlier, 0, np.where(rows.labels != NO_LABEL, 1, 2))
    priority = (rank * len(rows.places) + np.arange(len(rows.places)))[linked]
    # nor does a row leave that says something of its own, as a reply under what it quotes
    leaving = priority.argmax(axis=1)
    says = np.take_along_axis(own, leaving[:, None], axis=1)[:, 0] >= OWN_PASSAGE
    # earlier rows do not remove each other: each of them keeps its copies out
    alike = ~other & ~says & ~rows.earlier[linked].all(axis=1)
    found = choose(linked[alike], similarity[alike], threshold=near.threshold, priority=priority[alike])
    rows.cut(found.removed, "tail", "near copy", matched=found.kept, scores=found.similarity, threshold=near.threshold)
    return Copies(linked, len(settled.conflicts), int(other.sum()), int((says & ~other).sum() + frame.sum()), bounded)


def _proposed(
    rows: Rows, tasks: Sequence[PieceTask], scratch: Path, engine: Engine, progress: Progress
) -> tuple[Places, int]:
    """Pairs of places (n, 2) that may be near copies, of rows that stay or are earlier; how many sets were bounded."""
    left = scratch / "left.npy"
    stays = rows.earlier.copy()
    stays[rows.staying] = True
    np.save(left, rows.places[~stays], allow_pickle=False)
    bands = [task.bands for task in tasks]
    entries = sum(path.stat().st_size for path in bands) // BAND_ENTRY.itemsize
    keys = key_tasks(bands, ranges=max(1, entries // ROWS_IN_A_RANGE))
    found = gather(engine, partial(propose_near, gone=left), keys, "near copies", progress)
    return np.unique(np.concatenate([one.pairs for one in found]), axis=0), sum(one.bounded for one in found)


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


@dataclass(frozen=True)
class Compared:
    """True Jaccard similarity (n,) of pairs, and the longest passage of its own of either text (n, 2), in tokens."""

    similarity: npt.NDArray[np.float64]
    own: npt.NDArray[np.int64]


def verify_near(pairs: Places, *, rows: Path, near: NearPlan, piece_rows: int = PIECE_ROWS) -> Compared:
    """Compare pairs of places (n, 2), whose texts lie in the tables of the folder ``rows``."""
    places, ends = np.unique(pairs, return_inverse=True)
    texts = texts_at(places, rows, piece_rows)
    ends = ends.reshape(-1, 2)
    similarity = similarities(texts, ends, words=near.words, characters=near.characters)
    own = np.zeros(ends.shape, np.int64)
    true = similarity >= near.threshold
    own[true] = own_passages(texts, ends[true])
    return Compared(similarity, own)


def texts_at(places: npt.NDArray[np.int64], rows: Path, piece_rows: int) -> list[str]:
    """The texts at some places, ascending."""
    starts = places - (places & _IN_FILE) % piece_rows
    texts: list[str] = []
    for start in np.unique(starts):
        wanted = places[starts == start] - start
        texts += open_arrow(table_at(rows, int(start))).column("text").take(pa.array(wanted)).to_pylist()
    return texts
