"""Entries sorted by a key, one file per piece, so that all entries of a range of keys can be met across the pieces.

    write_entries(folder / "3.npy", entries)            # any structured array with a field "key" of unsigned 64 bits
    for low, high in key_ranges(4): met = read_range(paths, low, high)

This is the shuffle of stage 1: pieces are made in parallel, then each worker takes one range of keys and finds there
every entry that could belong together, wherever it was made. The number of ranges changes nothing in the result.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_END = 1 << 64


def write_entries(path: Path, entries: npt.NDArray[Any]) -> None:
    """Write a structured array (n,), sorted by its field ``key`` (uint64)."""
    np.save(path, entries[np.argsort(entries["key"], kind="stable")], allow_pickle=False)


def key_ranges(count: int) -> list[tuple[int, int]]:
    """``count`` ranges [low, high) that together hold every 64-bit key."""
    borders = [_END * number // count for number in range(count + 1)]
    return list(pairwise(borders))


def read_range(paths: Sequence[Path], low: int, high: int) -> npt.NDArray[Any]:
    """All entries with ``low <= key < high`` of all files, in the order of the files; only those are read."""
    found = []
    for path in paths:
        entries = np.load(path, mmap_mode="r", allow_pickle=False)
        # a search by hand: `searchsorted` would read the whole file for the keys between the other fields
        places, key_at = range(len(entries)), lambda place, entries=entries: int(entries["key"][place])
        start, end = (bisect_left(places, border, key=key_at) for border in (low, high))
        found.append(np.array(entries[start:end]))
    return np.concatenate(found)
