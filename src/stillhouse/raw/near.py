"""Near copies: candidates by MinHash and banding, verified by true Jaccard, and the rule that says which one stays.

rows, keys = band_keys(texts, threshold=0.7, words=5, characters=4, seed=0)             # which texts, (rows, bands)
found = candidate_pairs(keys[:, 0], places[rows], order=keys[:, 1])                     # places (n, 2), lower first
same = similarities(texts, found.pairs, words=5, characters=4)                          # (n,), here places = indices
matches = choose(found.pairs, same, threshold=0.7)                                      # who leaves, and for whom
places, cluster = components(found.pairs[same >= 0.7])                                  # what no split may part

Every result depends on the texts, their places and the seed alone: not on batches, partitions, processes or the order
of arrival. A place is an integer that no two rows share; lower means earlier in the sources, and breaks every tie.

With 5 words, 4 characters and a threshold of 0.7, e changed tokens far apart in a text of n are found if e / n is below
about 3.5 % of words or 4.4 % of characters; rows of up to 24 words that differ in one word stay apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stillhouse.errors import StillhouseError
from stillhouse.raw.shingles import U64, mixed, shingle_blocks, stream

I64 = NDArray[np.int64]
F64 = NDArray[np.float64]

_PASSAGE = 3  # tokens that two texts must have in a row for these to be no passage of one's own
_RECALL = 0.95  # of pairs that are exactly as similar as the threshold; more similar ones are found more surely


@dataclass(frozen=True)
class Candidates:
    """pairs: places (n, 2) int64, lower first, each once, sorted; bounded: buckets too big for all their pairs."""

    pairs: I64
    bounded: int


@dataclass(frozen=True)
class Matches:
    """Row ``removed[i]`` leaves because of row ``kept[i]``: places (n,) int64 by rising ``removed``; float64 (n,)."""

    removed: I64
    kept: I64
    similarity: F64


def banding(threshold: float, *, permutations: int) -> tuple[int, int]:
    """Number of bands and of minima in each: the most selective banding that still finds what it must.

    A pair of Jaccard similarity s shares a band of r minima with probability s**r and one of b bands with
    1 - (1 - s**r)**b (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, section 3.4). Of all r with
    b = permutations // r, the largest is taken that finds a pair with s = threshold at 0.95 or more: among those
    that keep this promise it proposes the fewest dissimilar pairs.

    Raises :class:`StillhouseError` if no banding of so few permutations finds such pairs.
    """
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _RECALL:
            return bands, rows
    raise StillhouseError(
        f"{permutations} permutations cannot find texts whose similarity is {threshold:g}",
        where="near duplicates",
        fix="raise the threshold or the number of permutations",
    )


def band_keys(
    texts: Sequence[str], *, threshold: float, words: int, characters: int, seed: int, permutations: int = 128
) -> tuple[I64, U64]:
    """Indices of the texts that have shingles (n,), and their keys (n, bands): equal keys make a candidate pair.

    The number of a band is part of its keys, so keys of all bands may share one table.
    """
    bands, rows = banding(threshold, permutations=permutations)
    numbers = stream(seed, bands * rows + rows)
    multipliers = (numbers[: bands * rows] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
    weights = numbers[bands * rows :] | np.uint64(1)
    found: list[I64] = [np.empty(0, np.int64)]
    keys: list[U64] = [np.empty((0, bands), np.uint64)]
    start = 0
    for block in shingle_blocks(texts, words=words, characters=characters):
        counts = np.diff(block.offsets)
        some = np.flatnonzero(counts)
        if len(some):
            found.append(some + start)
            keys.append(_keys(block.values, block.offsets[some], multipliers.reshape(bands, rows), weights))
        start += len(counts)
    return np.concatenate(found), np.concatenate(keys)


def _keys(values: U64, starts: I64, multipliers: NDArray[np.uint32], weights: U64) -> U64:
    """Keys (texts, bands) of texts whose shingles begin at ``starts`` and end where the next one's begin.

    A permutation is a multiplication by an odd number modulo 2**32. That would be too weak for hashes with structure;
    here every bit of a shingle is mixed already, and what is left is to order the same set in many ways.
    """
    hashes = (values >> np.uint64(32)).astype(np.uint32)
    permuted = np.empty_like(hashes)
    keys = np.empty((len(multipliers), len(starts)), np.uint64)
    for band, row in enumerate(multipliers):
        total = np.full(len(starts), band, np.uint64)
        for multiplier, weight in zip(row, weights, strict=True):
            np.multiply(hashes, multiplier, out=permuted)
            total += np.minimum.reduceat(permuted, starts) * weight
        keys[band] = mixed(total)
    return keys.T


def candidate_pairs(keys: U64, places: I64, *, order: U64, bucket_limit: int = 32, neighbours: int = 4) -> Candidates:
    """All pairs of rows with the same key, in buckets of up to ``bucket_limit`` rows.

    A bigger bucket is boilerplate or a much-copied text. Its pairs would grow with the square of its rows, so it is
    bounded: each row is paired with the first by place, and with the next ``neighbours`` by ``order`` (ties by place).
    Pass another band's keys as ``order``: rows that agree there too then stand together. So there are at most
    max((bucket_limit - 1) / 2, neighbours + 1) pairs for each row.

    keys, places, order: (n,) each; all rows with a key must be in the same call, rows of other keys may be.
    """
    by = np.lexsort((places, order, keys))
    keys, places = keys[by], places[by]
    starts = np.flatnonzero(_differs(keys))
    sizes = np.diff(np.append(starts, len(keys)))
    big = sizes > bucket_limit
    reach = np.repeat(starts + sizes, sizes) - np.arange(len(keys)) - 1  # rows behind this one in its bucket
    reach[np.repeat(big, sizes)] = np.minimum(reach[np.repeat(big, sizes)], neighbours)
    left, right = [], []
    rows = np.flatnonzero(reach)
    step = 1
    while len(rows):
        left.append(places[rows])
        right.append(places[rows + step])
        step += 1
        rows = rows[reach[rows] >= step]
    if big.any():
        left.append(np.repeat(np.minimum.reduceat(places, starts)[big], sizes[big]))
        right.append(places[np.repeat(big, sizes)])
    return Candidates(_unique(left, right), int(big.sum()))


def _unique(left: list[I64], right: list[I64]) -> I64:
    if not left:
        return np.empty((0, 2), np.int64)
    one, other = np.concatenate(left), np.concatenate(right)
    low, high = np.minimum(one, other), np.maximum(one, other)
    by = np.lexsort((high, low))
    pairs: I64 = np.stack((low[by], high[by]), axis=1)
    fresh = np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1))
    kept: I64 = pairs[fresh & (low[by] != high[by])]
    return kept


def similarities(texts: Sequence[str], pairs: I64, *, words: int, characters: int) -> F64:
    """True Jaccard similarity (n,) of the shingle sets of each pair of texts; ``pairs`` (n, 2) are indices.

    Sets of 64-bit hashes stand for the sets of shingles: in a pair of texts of a million shingles each, two different
    ones are taken for equal with a probability below 1e-6. A text without shingles is similar to none: 0.
    """
    used, ends = np.unique(pairs, return_inverse=True)
    sets: list[U64] = []
    for block in shingle_blocks([texts[index] for index in used], words=words, characters=characters):
        sets += [_set(part) for part in np.split(block.values, block.offsets[1:-1])]
    found = np.zeros(len(pairs))
    for row, (left, right) in enumerate(ends.reshape(-1, 2).tolist()):
        both = np.concatenate((sets[left], sets[right]))
        if len(both):
            both.sort()
            shared = int(np.count_nonzero(both[1:] == both[:-1]))
            found[row] = shared / (len(both) - shared)
    return found


def _set(values: U64) -> U64:
    values = np.sort(values)
    return values[_differs(values)]


def _differs(values: U64) -> NDArray[np.bool_]:
    """Where a value differs from the one before it."""
    found = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=found[1:])
    return found


def own_passages(texts: Sequence[str], pairs: I64) -> I64:
    """Tokens (n, 2) of the longest passage of each text of a pair that the other has not: a reply under what it quotes.

    ``pairs`` (n, 2) are indices. A token belongs to such a passage if it lies in no three tokens that both texts have,
    so that single changed words, even close together, make no passage.
    """
    used, ends = np.unique(pairs, return_inverse=True)
    parts: list[U64] = []
    for block in shingle_blocks([texts[i] for i in used], words=_PASSAGE, characters=_PASSAGE):
        parts += np.split(block.values, block.offsets[1:-1])
    found = np.zeros((len(pairs), 2), np.int64)
    for row, (left, right) in enumerate(ends.reshape(-1, 2).tolist()):
        found[row] = _longest_run(parts[left], parts[right]), _longest_run(parts[right], parts[left])
    return found


def _longest_run(mine: U64, other: U64) -> int:
    """Tokens of the longest stretch of shingles that the other has not; a stretch of r tokens spoils r + 2 of them."""
    shared = np.flatnonzero(np.isin(mine, other))
    borders = np.concatenate(([-1], shared, [len(mine)]))
    return max(0, int(np.diff(borders).max()) - 1 - (_PASSAGE - 1))


def choose(pairs: I64, similarity: F64, *, threshold: float, priority: I64 | None = None) -> Matches:
    """Which rows leave: those with a verified match among the rows that stay and are better.

    In order of priority (lower is better) a row leaves if and only if its similarity to a better row that stayed is
    at least ``threshold``; it names the most similar of these, among equals the best. So the best row of a cluster
    stays, every removed row is truly similar to the row it names, rows that stay have no verified match with each
    other, and no chain of small steps removes a row that resembles none of those that stay. To clean a new set against
    an earlier one, give the earlier rows the better priority and leave out the pairs of two of them.

    pairs: places (n, 2), in any order; similarity: (n,); priority: (n, 2), that of each row in ``pairs``, the same
    wherever the row stands and different for different rows; by default the place itself.
    """
    priority = pairs if priority is None else priority
    true = (similarity >= threshold) & (pairs[:, 0] != pairs[:, 1])
    pairs, priority, similarity = pairs[true], priority[true], similarity[true]
    worse = np.argmax(priority, axis=1)
    each = np.arange(len(pairs))
    leaving, staying = pairs[each, worse], pairs[each, 1 - worse]
    # by row in order of priority, and of each row the best match first
    by = np.lexsort((priority[each, 1 - worse], -similarity, priority[each, worse]))
    matches: dict[int, tuple[int, float]] = {}
    for row, better, value in zip(leaving[by].tolist(), staying[by].tolist(), similarity[by].tolist(), strict=True):
        if row not in matches and better not in matches:
            matches[row] = (better, value)
    removed = sorted(matches)
    return Matches(
        np.array(removed, np.int64),
        np.array([matches[row][0] for row in removed], np.int64),
        np.array([matches[row][1] for row in removed], np.float64),
    )


def components(pairs: I64) -> tuple[I64, I64]:
    """The places in ``pairs`` (n, 2), rising, and the lowest place that each is connected to by any chain of pairs."""
    places, ends = np.unique(pairs, return_inverse=True)
    left, right = ends.reshape(-1, 2).T
    root = np.arange(len(places))
    while (root[left] != root[right]).any():
        low, high = np.minimum(root[left], root[right]), np.maximum(root[left], root[right])
        np.minimum.at(root, high, low)  # each root hangs itself below the lowest it meets
        while (root[root] != root).any():
            root = root[root]
    return places, places[root]
