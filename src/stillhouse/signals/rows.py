"""The bytes of one sequence: rows of sparse next-token distributions, packed into a blob and unpacked again.

A row has *exact* entries (the token that follows, the header's `always` ids, the likeliest ids) and *draws* from the
rest, which share the rest's mass equally. Ids are sorted, so that each costs some 13 bits at a vocabulary of 49,152.
`docs/signals.md` gives every bit.

    blob = encode(rows, layout)                        # SparseRows, as ferment/sampling.py makes them
    (distribution,) = decode([blob], [gold], layout)
    distribution.ids, distribution.probs, distribution.tail
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_WINDOW = 4  # bytes that are looked at to read one packed number
MOST_BITS = 8 * _WINDOW - 7


def _shares() -> npt.NDArray[np.float64]:
    """The share of what is left that each of the 256 codes stands for; fine near 0, 1/2 and 1, and both ends exact."""
    x = (np.arange(256) - 127.5) / 127.5
    shares = 1 / (1 + np.exp(-16 * x * np.abs(x)))
    shares[0], shares[255] = 0.0, 1.0
    return np.asarray(shares, dtype=np.float64)


SHARES = _shares()


@dataclass(frozen=True)
class Layout:
    """How rows are laid out: what encoder and decoder have to agree on.

    vocabulary: size of the teacher's head. k, m: at least k exact entries, m draws for a tail of mass one.
    always: ids that are exact in every row.
    """

    vocabulary: int
    k: int
    m: int
    always: tuple[int, ...]

    @property
    def forced(self) -> int:
        """Entries whose id costs nothing: the token that follows, then `always`."""
        return 1 + len(self.always)

    @property
    def most_exact(self) -> int:
        """The largest number of exact entries with an id: at most m probabilities can reach 1/m."""
        return min(max(self.k, self.m), self.vocabulary)

    @property
    def low_bits(self) -> int:
        """Bits of an id that are stored as they are; the rest is stored as its distance from the id before."""
        return max(1, self.vocabulary // max(1, self.k, self.m)).bit_length() - 1

    @property
    def exact_bits(self) -> int:
        """Bits of the number of exact entries with an id."""
        return self.most_exact.bit_length()

    @property
    def count_bits(self) -> int:
        """Bits of both counts of a row: exact entries with an id in the low bits, draws above them."""
        return self.exact_bits + self.m.bit_length()


@dataclass(frozen=True)
class SparseRows:
    """Rows ready to be packed; entries beyond a row's count are ignored.

    codes: (L, F + E) bytes, shares of what is left: forced entries first, then exact ones. exact: (L,) how many exact
    entries have an id. exact_ids: (L, E), rising. draws: (L,). draw_ids: (L, J), rising; an id may come twice.
    """

    codes: Bytes
    exact: Ints
    exact_ids: Ints
    draws: Ints
    draw_ids: Ints

    def __len__(self) -> int:
        return len(self.exact)

    def __getitem__(self, rows: slice) -> SparseRows:
        return SparseRows(*(field[rows] for field in self._fields()))

    @classmethod
    def joined(cls, parts: Sequence[SparseRows]) -> SparseRows:
        """Rows of several parts of one layout, one after the other; there must be at least one part."""
        return cls(*(np.concatenate(fields) for fields in zip(*(part._fields() for part in parts), strict=True)))

    def _fields(self) -> tuple[npt.NDArray[Any], ...]:
        return self.codes, self.exact, self.exact_ids, self.draws, self.draw_ids


@dataclass(frozen=True)
class Distribution:
    """What the teacher said about L tokens, one row each.

    ids: (L, S) token ids; columns that a row does not need hold id 0 with probability 0.
    probs: (L, S) probabilities; the expectation over draws is the teacher's distribution.
    exact: (L,) how many leading columns are exact; those after them are draws, with their weights.
    tail: (L,) mass outside the exact columns. With draws, a row's probabilities sum to one; without, to 1 - tail.
    """

    ids: npt.NDArray[np.int32]
    probs: npt.NDArray[np.float32]
    exact: npt.NDArray[np.int32]
    tail: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Distribution:
        return Distribution(self.ids[rows], self.probs[rows], self.exact[rows], self.tail[rows])

    def dense(self, vocabulary: int) -> npt.NDArray[np.float32]:
        """The same as a full matrix (L, vocabulary), for tests."""
        full = np.zeros((len(self), vocabulary), dtype=np.float32)
        np.add.at(full, (np.arange(len(self))[:, None], self.ids), self.probs)
        return full


def encode(rows: SparseRows, layout: Layout) -> bytes:
    """Pack rows into four sections, each starting on a whole byte: counts, codes, low bits of ids, high bits of ids.

    A row's exact ids and its draws are two rising runs. The high bits of an id are the zeros between its one and the
    one of the id before it in the run (Elias 1974, Fano 1971).
    """
    bits = layout.low_bits
    ids = np.concatenate([rows.exact_ids, rows.draw_ids], axis=1)
    used = np.concatenate([_first(rows.exact, rows.exact_ids), _first(rows.draws, rows.draw_ids)], axis=1)
    high = np.diff(ids >> bits, axis=1, prepend=0)
    high[:, rows.exact_ids.shape[1] :][:, :1] = rows.draw_ids[:, :1] >> bits
    ones = np.cumsum(high[used] + 1) - 1
    unary = np.zeros(int(ones[-1]) + 1 if len(ones) else 0, dtype=np.uint8)
    unary[ones] = 1
    return (
        _pack(rows.exact | (rows.draws << layout.exact_bits), layout.count_bits)
        + rows.codes[_first(rows.exact + layout.forced, rows.codes)].tobytes()
        + _pack(ids[used] & ((1 << bits) - 1), bits)
        + np.packbits(unary, bitorder="little").tobytes()
    )


def decode(
    blobs: Sequence[bytes | memoryview], gold: Sequence[npt.NDArray[np.integer[Any]]], layout: Layout
) -> list[Distribution]:
    """Unpack blobs of several sequences at once; gold: for each the tokens (L,) that its rows are about.

    Raises :class:`ValueError` when a blob does not hold what its counts ask for.
    """
    lengths = np.array([len(tokens) for tokens in gold], dtype=np.int64)
    ends = np.cumsum(lengths)
    at = (lengths * layout.count_bits + 7) // 8
    counts = _unpack([blob[:end] for blob, end in zip(blobs, at.tolist(), strict=True)], lengths, layout.count_bits)
    exact, draws = counts & ((1 << layout.exact_bits) - 1), counts >> layout.exact_bits
    coded, listed = exact + layout.forced, exact + draws

    per_blob = _sums(listed, ends)
    code_end = at + _sums(coded, ends)
    low_end = code_end + (per_blob * layout.low_bits + 7) // 8
    bounds = list(zip(blobs, at.tolist(), code_end.tolist(), low_end.tolist(), strict=True))
    codes = np.frombuffer(b"".join(blob[start:end] for blob, start, end, _ in bounds), dtype=np.uint8)
    low = _unpack([blob[start:end] for blob, _, start, end in bounds], per_blob, layout.low_bits)
    high = _runs([blob[start:] for blob, _, _, start in bounds], per_blob, np.stack([exact, draws], axis=1), lengths)

    width = layout.forced + int(exact.max(initial=0))
    shares = np.zeros((len(counts), width))
    shares[np.arange(width) < coded[:, None]] = SHARES[codes]
    left = np.cumprod(1 - shares, axis=1)
    tail = left[:, -1]

    columns = np.arange(int(listed.max(initial=0)))
    used = columns < listed[:, None]
    ids = np.zeros((len(counts), layout.forced + len(columns)), dtype=np.int32)
    ids[:, 0] = np.concatenate([np.zeros(0, dtype=np.int64), *gold])
    ids[:, 1 : layout.forced] = layout.always
    ids[:, layout.forced :][used] = (high << layout.low_bits) | low
    probs = np.zeros(ids.shape, dtype=np.float32)
    probs[:, 0] = shares[:, 0]
    probs[:, 1:width] = shares[:, 1:] * left[:, :-1]
    weights = tail / np.maximum(draws, 1)
    probs[:, layout.forced :] += np.where(used & (columns >= exact[:, None]), weights[:, None], 0.0)

    whole = Distribution(ids, probs, coded.astype(np.int32), tail.astype(np.float32))
    return [whole[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


def _runs(sections: Sequence[bytes | memoryview], numbers: Ints, runs: Ints, lengths: Ints) -> Ints:
    """High bits of the ids of all rows; numbers: ids in each section, runs: (L, 2) ids in each run."""
    data = np.frombuffer(b"".join(sections), dtype=np.uint8)
    ones = np.flatnonzero(np.unpackbits(data, bitorder="little"))
    if len(ones) != numbers.sum():
        raise ValueError("a blob has more or fewer ids than its counts say")
    starts = 8 * _starts(np.array([len(section) for section in sections], dtype=np.int64))
    zeros = ones - np.arange(len(ones)) - np.repeat(starts - _starts(numbers), numbers)
    runs, first = runs.reshape(-1), _starts(runs.reshape(-1))
    # a run starts at zero again, that is, at what the run before it reached inside the same section
    reached = np.append(zeros, 0)[first - 1]
    reached[first == np.repeat(_starts(numbers), 2 * lengths)] = 0
    return np.asarray(zeros - np.repeat(reached, runs), dtype=np.int64)


def _first(counts: Ints, matrix: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """A mask (L, S) of the first ``counts`` (L,) columns of each row."""
    return np.arange(matrix.shape[1]) < counts[:, None]


def _starts(sizes: Ints) -> Ints:
    return np.cumsum(sizes) - sizes


def _sums(counts: Ints, ends: Ints) -> Ints:
    """Sums of a count (L,) over the rows of each sequence; sequences may be empty."""
    return np.diff(np.concatenate([[0], np.cumsum(counts)])[ends], prepend=0)


def _pack(values: Ints, bits: int) -> bytes:
    """Numbers of ``bits`` bits each, the lowest bit first, filled up to a whole byte."""
    return np.packbits((values[:, None] >> np.arange(bits)) & 1, bitorder="little").tobytes()


def _unpack(sections: Sequence[bytes | memoryview], numbers: Ints, bits: int) -> Ints:
    """The numbers of ``bits`` bits in several sections, each of which starts on a whole byte."""
    data = b"".join([*sections, bytes(_WINDOW)])
    windows = np.ndarray((len(data) - _WINDOW + 1,), dtype="<u4", buffer=data, strides=(1,))
    starts = 8 * _starts(np.array([len(section) for section in sections], dtype=np.int64))
    place = np.arange(int(numbers.sum())) * bits + np.repeat(starts - bits * _starts(numbers), numbers)
    return np.asarray((windows[place >> 3] >> (place & 7)) & ((1 << bits) - 1), dtype=np.int64)
