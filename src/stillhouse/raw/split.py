"""The split: whole units drawn by a seeded hash, the labels in their shares, and no copy on two sides.

A *unit* is what must stay on one side: rows of one near-duplicate cluster or with one value of a group column (an
author, a conversation), and whatever hangs together through both. Equal ids are one unit too::

    division = split_documents(ids, labels, clusters=clusters, groups=[authors], seed=0, test=1000, validation=300)
    division.splits["test"]                         # row numbers
    straddling(pairs, division.sides())             # copy pairs on two sides: 0

What holds when a row is added, where all units are single rows and there is one stratum: at most three other rows
change their side (one leaves the test, one the validation, one a limited ``train``). Every stratum whose quota moves
adds as many changes as its quota moves by. A row that joins two units may move both, and what they displace.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillhouse.documents import SPLITS, Split
from stillhouse.errors import StillhouseError

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Draws = NDArray[np.uint64]

# How much of a unit may lie beyond the quotas of its strata: first nothing, then up to half (as many documents go where
# they are wanted as where they are not), and last whatever fills the split.
_TOLERANCES = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class Division:
    """Where each of n rows goes; every row is in exactly one of the five lists, each in the order of the draw.

    ``aside``: rows without a gold label whose unit is in the test split, set aside with a test copy. ``beyond``: rows
    that a limited ``train`` did not take.
    """

    splits: dict[Split, list[int]]
    aside: list[int]
    beyond: list[int]

    def sides(self) -> NDArray[np.int8]:
        """The split of each row (n,), as its place in :data:`~stillhouse.documents.SPLITS`; -1 for none."""
        taken = sum(map(len, self.splits.values()))
        found = np.full(taken + len(self.aside) + len(self.beyond), -1, np.int8)
        for place, name in enumerate(SPLITS):
            found[self.splits[name]] = place
        return found


def split_documents(
    ids: Sequence[str],
    labels: Sequence[str | None],
    *,
    clusters: ArrayLike | None = None,
    groups: Sequence[Sequence[str | None]] = (),
    strata: Sequence[Sequence[str | None]] = (),
    stratify: bool = True,
    seed: int,
    test: int,
    validation: int,
    train: int | None = None,
) -> Division:
    """Divide n documents by whole units; the outcome depends on ids, relations and seed, not on the order of rows.

    ``labels`` (n,) are the gold labels, None where unknown; ``clusters`` (n,) whole numbers; each column of ``groups``
    and ``strata`` (n,) values, where None groups with nothing. Test and validation keep the shares of the gold labels
    among the rows they draw from, unless ``stratify`` is off, and within each label those of the first column of
    ``strata``, and so on, by largest remainder. The test draws from rows with a gold label only, validation from all
    rows that the test's units leave.

    ``test``, ``validation`` and ``train`` (None: the rest) count documents and are met exactly where all units are
    single rows; else a unit that does not fit is passed over for smaller ones later in the draw, and the split stays
    short by less than the smallest unit left over. Raises :class:`StillhouseError` when there are too few documents,
    or when the units are so large that less than half of a split can be filled.
    """
    gold = np.fromiter((label is not None for label in labels), np.bool_, len(ids))
    if gold.sum() < test:
        raise StillhouseError(
            f"the test split needs {test} documents with a gold label, there are {gold.sum()}",
            where="raw.split.test",
            fix="lower it, or map a gold label for more rows in `raw.sources.*.columns.label`",
        )
    unit = _units(ids, clusters, groups)
    digests = _digests(ids, seed)
    first = _smallest(ids, unit)
    # a shuffle of its own for what is not test: the first of the same one would be short of what the test took
    test_draw, rest_draw = digests[first, 0], digests[first, 1]
    # sorted, so that where two strata tie not even the order of the rows decides
    kinds = (labels, *strata) if stratify else strata
    levels = [_codes(column, sorted(set(column) - {None}, key=str)) for column in kinds]

    in_test = _take(unit, test_draw, levels, gold, test, "test")
    free = ~in_test
    rest = int(free.sum())
    if rest <= validation:
        raise StillhouseError(
            f"{rest} documents are left after the test split, validation takes {validation} of them "
            "and none is left to train on",
            where="raw.split",
            fix="lower `raw.split.test` or `raw.split.validation`, or add rows",
        )
    in_validation = _take(unit, rest_draw, levels, free, validation, "validation")
    left = free & ~in_validation
    in_train = left if train is None else _take(unit, rest_draw, [], left, train, "train")

    def ordered(rows: Flags, draw: Draws) -> list[int]:
        chosen = np.flatnonzero(rows)
        return [int(row) for row in chosen[np.lexsort((digests[chosen, 0], draw[unit[chosen]]))]]

    return Division(
        {
            "train": ordered(in_train, rest_draw),
            "validation": ordered(in_validation, rest_draw),
            "test": ordered(in_test & gold, test_draw),
        },
        aside=ordered(in_test & ~gold, test_draw),
        beyond=ordered(left & ~in_train, rest_draw),
    )


def straddling(pairs: ArrayLike, sides: ArrayLike) -> int:
    """How many copy ``pairs`` (m, 2) of row numbers lie on two ``sides`` (n,); rows in no split (-1) are on none."""
    both = np.asarray(sides)[np.asarray(pairs, np.int64).reshape(-1, 2)]
    return int(((both[:, 0] != both[:, 1]) & (both >= 0).all(axis=1)).sum())


def _units(ids: Sequence[str], clusters: ArrayLike | None, groups: Sequence[Sequence[str | None]]) -> Ints:
    """The unit of each row (n,), numbered from 0: connected components of the relations.

    Each round hooks every root below the smallest root next to it, then flattens all trees (algorithm S of Liu & Tarjan
    2019), so that a chain through many groups takes a few rounds and not one for each link.
    """
    relations = [_codes(column, dict.fromkeys(column)) for column in groups]
    if len(set(ids)) < len(ids):
        relations.append(_codes(ids, dict.fromkeys(ids)))
    if clusters is not None:
        relations.append(np.unique(np.asarray(clusters), return_inverse=True)[1].astype(np.int64))
    one, other = [], []
    for codes in relations:
        rows = np.flatnonzero(codes >= 0)
        _, at, value = np.unique(codes[rows], return_index=True, return_inverse=True)
        leader = rows[at][value]
        one.append(leader[leader != rows])
        other.append(rows[leader != rows])
    a, b = (np.concatenate([*ends, np.zeros(0, np.int64)]) for ends in (one, other))
    root = np.arange(len(ids))
    while (root[a] != root[b]).any():
        np.minimum.at(root, np.maximum(root[a], root[b]), np.minimum(root[a], root[b]))
        while (root[root] != root).any():
            root = root[root]
    return np.unique(root, return_inverse=True)[1].astype(np.int64)


def _codes(values: Sequence[str | None], names: Iterable[str | None]) -> Ints:
    """Each value (n,) as its place among ``names``, None as -1."""
    place = {name: code for code, name in enumerate(names)} | {None: -1}
    return np.fromiter(map(place.__getitem__, values), np.int64, len(values))


def _digests(ids: Sequence[str], seed: int) -> Draws:
    """Two independent draws for each row (n, 2), the test's and the rest's, from its id and the seed alone.

    The same draws as ever, so that a new version moves as few documents of an old recipe as it must.
    """
    salts = [hashlib.sha256(f"{side}:{seed}:".encode()) for side in ("test", "train")]
    drawn = bytearray()
    for identifier in ids:
        for salt in salts:
            salted = salt.copy()
            salted.update(identifier.encode())
            drawn += salted.digest()[:8]
    return np.frombuffer(bytes(drawn), ">u8").reshape(-1, 2).astype(np.uint64)


def _smallest(ids: Sequence[str], unit: Ints) -> Ints:
    """For each unit (units,), its row with the smallest id."""
    _, first, size = np.unique(unit, return_index=True, return_counts=True)
    for row in np.flatnonzero(size[unit] > 1).tolist():
        if ids[row] < ids[first[unit[row]]]:
            first[unit[row]] = row
    return first


def _take(unit: Ints, draw: Draws, levels: Sequence[Ints], eligible: Flags, wanted: int, name: Split) -> Flags:
    """The rows (n,) of the units drawn for one split: ``wanted`` eligible rows, strata in their shares."""
    rows = np.flatnonzero(eligible)
    stratum, quota = _quotas([level[rows] for level in levels], draw[unit[rows]], min(wanted, rows.size))
    # what each unit holds, in the order of the draw: entries of (unit, stratum, number)
    held, number = np.unique(unit[rows] * quota.size + stratum, return_counts=True)
    order = np.argsort(draw[held // quota.size], kind="stable")
    owner, kind = np.divmod(held[order], quota.size)
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    sizes = np.add.reduceat(number[order], starts).tolist() if starts.size else []
    kinds, numbers, bounds = kind.tolist(), number[order].tolist(), [*starts.tolist(), owner.size]

    left, room, taken = quota.tolist(), int(quota.sum()), np.zeros(draw.size, np.bool_)
    waiting: Sequence[int] = range(len(sizes))
    for tolerance in _TOLERANCES:
        passed = []
        for this in waiting if room else ():
            entries = range(bounds[this], bounds[this + 1])
            beyond = sum(max(0, numbers[i] - max(0, left[kinds[i]])) for i in entries)
            if sizes[this] > room or beyond > tolerance * sizes[this]:
                passed.append(this)
                continue
            taken[owner[bounds[this]]] = True
            room -= sizes[this]
            for i in entries:
                left[kinds[i]] -= numbers[i]
            if not room:
                break
        waiting = passed
    filled = min(wanted, rows.size) - room
    if 2 * filled < min(wanted, rows.size):
        raise StillhouseError(
            f"whole units of copies and groups fill only {filled} of {wanted} documents of the {name} split",
            where=f"raw.split.{name}",
            fix=f"ask for more than {wanted} documents, or keep together by a column with smaller groups",
        )
    return taken[unit]


def _quotas(levels: Sequence[Ints], draw: Draws, wanted: int) -> tuple[Ints, Ints]:
    """The stratum of each row (n,), numbered from 0, and how many rows of each are wanted (strata,).

    Level by level, each stratum's quota goes to its parts by largest remainder (Hamilton's rule); of equal remainders
    first to the part whose first unit is drawn first: by name, the many strata of one row would go alphabetically.
    """
    stratum, quota = np.zeros(draw.size, np.int64), np.array([wanted])
    for level in levels:
        width = int(level.max(initial=0)) + 2
        part, inside, size = np.unique(stratum * width + level + 1, return_inverse=True, return_counts=True)
        parent = part // width
        first = np.full(part.size, np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(first, inside, draw)
        whole, remainder = np.divmod(quota[parent] * size, np.bincount(stratum)[parent])
        missing = quota - np.bincount(parent, whole, minlength=quota.size).astype(np.int64)
        order = np.lexsort((first, -remainder, parent))
        rank = np.arange(part.size) - np.searchsorted(parent, parent)
        whole[order] += rank < missing[parent]
        stratum, quota = inside.astype(np.int64), whole
    return stratum, quota
