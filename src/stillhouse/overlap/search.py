"""Decontamination: finds rows that hold items of a benchmark or of the run's own held-out documents.

An item is looked for by its n-grams (13 words), or as a whole where it is shorter::

    index = build_index([Item("gsm8k:17", question, answer), Item("test:3", document)])
    for hit in scan(texts, index):                  # one for each row and item
        if verdict(hit) == "cut":                   # the others are listed for review
            ...

A public paragraph is quoted by many and a stock question asked by many, so one shared n-gram of a long item proves
nothing, nor does a short question without its answer: :func:`verdict` weighs how much was found. What says nothing at
all is not even listed: n-grams in more than :data:`STOCK_ITEMS` different items (a common passage, a template), those
that the caller names as ``common``, and items under :data:`FEW_WORDS` words inside longer text. What many documents
hold is found by a second look at the rows that had hits::

    seen = count_documents(texts_with_hits, index)  # pieces may be counted apart and added
    index = build_index(items, common=index.keys[seen > 20])
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillhouse.overlap.ngrams import Batch, Ints, Keys, hash_of, weight_of, words_of

Kind = Literal["n-gram", "whole", "question and answer", "question only"]

SIZE = 13  # words of an n-gram, as GPT-3's training data was checked (Brown et al. 2020, appendix C)
SHORT_WORDS = 8  # a shorter text is often asked or said by chance: it takes its answer too, or most of the row
FEW_WORDS = 4  # a shorter item counts only as the whole document
ANSWER_WINDOW = 50  # words after a question in which its answer is looked for
STOCK_ITEMS = 5  # different items; more share a passage or a template
MIN_SHARE = 0.5  # of a long item, or of a row that is little more than a short item
LONG_COPY = 200  # words; a quotation is shorter, so this much of a long item is a copy from a smaller share on
LONG_SHARE = 0.25  # less is the frame of a newsletter, or its footer
EXCERPT = 200  # characters

_CHUNK = 2048  # documents looked at together: their words still fit a processor's cache


@dataclass(frozen=True)
class Item:
    """A question with its gold answer, or a document (``answer`` None); ``name`` says where it comes from."""

    name: str
    text: str
    answer: str | None = None


@dataclass(frozen=True)
class Hit:
    """Item number ``item`` found in text number ``row``.

    ``share`` (0 to 1): of the item's words, those in an n-gram that was found; 1 for an item found whole. It counts
    words and not n-grams, because one changed word spoils 13 n-grams. ``words`` is their number (a character of a
    script without spaces as half a word), ``row_share`` their share of the row's words. ``excerpt``: the longest run
    of them, at most 200 characters, without case and punctuation.
    """

    row: int
    item: int
    kind: Kind
    share: float
    words: float
    row_share: float
    excerpt: str


@dataclass(frozen=True)
class Table:
    """The n-grams of one length: ``keys`` (m,) sorted, the ``items`` (m,) they are in, their first words' ``places``.

    ``likely`` (2^b,) is True at the top b bits of every key: one look spares most searches.
    """

    length: int
    keys: Keys
    items: Ints
    places: Ints
    likely: NDArray[np.bool_]

    def matches(self, batch: Batch) -> tuple[Ints, Ints]:
        """All pairs (found,), (found,) of a place in the batch and an n-gram of the table that are equal."""
        keys = batch.windows(self.length)
        shift = np.uint64(65 - self.likely.size.bit_length())
        at = batch.inside(np.flatnonzero(self.likely[keys >> shift]), self.length)
        begin = np.searchsorted(self.keys, keys[at], "left")
        number = np.searchsorted(self.keys, keys[at], "right") - begin
        at, offset = np.repeat(at, number), np.repeat(np.cumsum(number) - number - begin, number)
        return at, np.arange(at.size) - offset


@dataclass(frozen=True)
class Index:
    """Items ready to be looked for, equal on every machine; made by :func:`build_index`.

    ``keys`` (k,) are the sorted hashes of the distinct n-grams of full ``size``; ``findable`` (items,) how many words
    of each item can be found, ``weights`` (items,) what one of its words weighs, ``hashes`` those of all their words.
    """

    items: tuple[Item, ...]
    size: int
    keys: Keys
    tables: tuple[Table, ...]
    findable: Ints
    weights: NDArray[np.float64]
    answers: tuple[list[str], ...]
    hashes: dict[str, int]


def build_index(
    items: Iterable[Item], *, size: int = SIZE, stock_items: int = STOCK_ITEMS, common: ArrayLike = ()
) -> Index:
    """Index ``items`` by n-grams of ``size`` words, without those in more than ``stock_items`` different items.

    ``common`` (c,) are further keys to ignore. An item that would lose all its n-grams keeps them, for it must remain
    findable; only one without any word can not be found.
    """
    items = tuple(items)
    texts = [words_of(item.text) for item in items]
    hashes = {word: hash_of(word) for word in set(chain.from_iterable(texts))}
    batch = Batch.of(texts, hashes)
    counts = np.diff(batch.bounds)
    lengths = np.minimum(counts, size)
    first: dict[tuple[str, ...], int] = {}  # copies of an item are one item to the stock rule
    original = np.array([first.setdefault(tuple(text), number) for number, text in enumerate(texts)], np.int64)
    findable = lengths.copy()
    tables = []
    for length in sorted(set(lengths.tolist()) - {0}):
        keys = batch.windows(length)
        at = batch.inside(np.arange(keys.size), length)
        at = at[lengths[batch.document[at]] == length]
        if length == size:
            ignored = np.union1d(_shared(keys[at], original[batch.document[at]], stock_items), _as_keys(common))
            kept = ~np.isin(keys[at], ignored)
            owner = batch.document[at]
            at = at[kept | (np.bincount(owner, kept, len(items))[owner] == 0)]
            findable = np.maximum(findable * (counts < size), _covered(at, batch.document[at], size, len(items)))
        tables.append(_table(length, keys[at], batch.document[at], at - batch.bounds[batch.document[at]]))
    full = [table.keys for table in tables if table.length == size]
    return Index(
        items,
        size,
        np.unique(full[0]) if full else np.zeros(0, np.uint64),
        tuple(tables),
        findable,
        np.array([weight_of(text) / max(1, len(text)) for text in texts], np.float64),
        tuple(words_of(item.answer or "") for item in items),
        hashes,
    )


def scan(texts: Sequence[str], index: Index, *, answers: Sequence[str | None] | None = None) -> list[Hit]:
    """All items found in ``texts`` (n,), one hit for each row and item, ordered by row and item.

    ``answers`` (n,) are the rows' own answer parts where they are kept apart from the text; gold answers of short
    questions are looked for there too. A row's hits depend on that row and the index alone.
    """
    hits = []
    for start in range(0, len(texts), _CHUNK):
        batch = Batch.of([words_of(text) for text in texts[start : start + _CHUNK]], index.hashes)
        for table in index.tables:
            for row, item, at, places in _found(batch, table):
                words, at = batch.texts[row], at - batch.bounds[row]
                hit: Hit | None
                if table.length == index.size:
                    hit = _by_ngrams(start + row, item, words, at, places, index)
                else:
                    given = words_of((answers[start + row] if answers else None) or "")
                    hit = _as_a_whole(start + row, item, words, at.tolist(), table.length, given, index)
                if hit:
                    hits.append(hit)
    return sorted(hits, key=lambda hit: (hit.row, hit.item))


def verdict(hit: Hit, *, min_share: float = MIN_SHARE) -> Literal["cut", "review"]:
    """``cut`` where a row holds the item, ``review`` where it may only quote or ask what many do.

    An item of full n-gram size: ``min_share`` of its words, or 200 words that are a quarter of it; one sentence of a
    long document is a quotation. A shorter item: with its answer, or from 8 words on, or as half of the row, since a
    row that *is* a test question teaches it, whoever answers.
    """
    if hit.kind == "n-gram":
        held = hit.share >= min_share or (hit.words >= LONG_COPY and hit.share >= LONG_SHARE)
    else:
        held = hit.kind == "question and answer" or hit.words >= SHORT_WORDS or hit.row_share >= MIN_SHARE
    return "cut" if held else "review"


def count_documents(texts: Sequence[str], index: Index) -> Ints:
    """How many of ``texts`` hold each of ``index.keys`` (k,); counts of pieces add up to those of the whole."""
    seen = np.zeros(index.keys.size, np.int64)
    for table in (table for table in index.tables if table.length == index.size):
        for start in range(0, len(texts), _CHUNK):
            batch = Batch.of([words_of(text) for text in texts[start : start + _CHUNK]], index.hashes)
            at, entry = table.matches(batch)
            key = np.searchsorted(index.keys, table.keys[entry])
            held = np.unique(batch.document[at] * index.keys.size + key)
            seen += np.bincount(held % index.keys.size, minlength=index.keys.size)
    return seen


def _found(batch: Batch, table: Table) -> Iterator[tuple[int, int, Ints, Ints]]:
    """Row, item, the places in the batch (ascending) and in the item, for each row and item that share n-grams."""
    at, entry = table.matches(batch)
    row, item = batch.document[at], table.items[entry]
    order = np.lexsort((at, item, row))
    at, row, item, places = at[order], row[order], item[order], table.places[entry[order]]
    starts = np.flatnonzero((np.diff(row, prepend=-1) != 0) | (np.diff(item, prepend=-1) != 0)).tolist()
    for start, end in pairwise([*starts, at.size]):
        yield int(row[start]), int(item[start]), at[start:end], places[start:end]


def _by_ngrams(row: int, item: int, words: Sequence[str], at: Ints, places: Ints, index: Index) -> Hit:
    at, places = np.unique(at), np.unique(places)
    found = _length_of_union(places, index.size)
    runs = np.split(at, np.flatnonzero(np.diff(at) > 1) + 1)
    longest = max(runs, key=len)
    return Hit(
        row,
        item,
        "n-gram",
        share=found / int(index.findable[item]),
        words=found * float(index.weights[item]),
        row_share=_length_of_union(at, index.size) / len(words),
        excerpt=_excerpt(words[longest[0] : longest[-1] + index.size]),
    )


def _as_a_whole(
    row: int, item: int, words: Sequence[str], starts: list[int], length: int, given: list[str], index: Index
) -> Hit | None:
    answer = index.answers[item]
    weight = length * float(index.weights[item])
    if weight < FEW_WORDS and (starts[0] > 0 or words[length:] not in ([], answer)):
        return None
    # a letter names a choice, and as a word of running text it is nothing
    letter = len(answer) == 1 and len(answer[0]) == 1 and answer[0].isalpha()
    kind: Kind = "question only" if answer and weight < SHORT_WORDS else "whole"
    excerpt = words[starts[0] : starts[0] + length]
    for start in starts if answer else ():
        after = words[start + length : start + length + ANSWER_WINDOW]
        if _holds(given, answer) or (_holds(after, answer) and not letter):
            kind, excerpt = "question and answer", [*words[start : start + length], "…", *answer]
            break
    return Hit(row, item, kind, 1.0, weight, length / len(words), _excerpt(excerpt))


def _holds(words: Sequence[str], part: Sequence[str]) -> bool:
    return any(words[at : at + len(part)] == part for at in range(len(words) - len(part) + 1))


def _excerpt(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) <= EXCERPT else text[: EXCERPT - 1] + "…"


def _length_of_union(starts: Ints, size: int) -> int:
    """How many places lie in the runs of ``size`` places that begin at ``starts``, ascending and distinct."""
    return size + int(np.minimum(np.diff(starts), size).sum())


def _covered(at: Ints, owner: Ints, size: int, owners: int) -> Ints:
    """The same as :func:`_length_of_union` for each of many owners (owners,), whose places follow each other."""
    gap = np.minimum(np.diff(at, append=at[-1:] + size), size)
    gap[np.diff(owner, append=-1) != 0] = size
    return np.bincount(owner, gap, owners).astype(np.int64)


def _shared(keys: Keys, owner: Ints, limit: int) -> Keys:
    """The keys that more than ``limit`` different owners have."""
    order = np.lexsort((owner, keys))
    keys, owner = keys[order], owner[order]
    new = np.ones(keys.size, np.bool_)
    new[1:] = (keys[1:] != keys[:-1]) | (owner[1:] != owner[:-1])
    found, owners = np.unique(keys[new], return_counts=True)
    return found[owners > limit]


def _table(length: int, keys: Keys, items: Ints, places: Ints) -> Table:
    order = np.argsort(keys, kind="stable")
    bits = min(24, keys.size.bit_length() + 4)
    likely = np.zeros(1 << bits, np.bool_)
    likely[keys >> np.uint64(64 - bits)] = True
    return Table(length, keys[order], items[order], places[order], likely)


def _as_keys(keys: ArrayLike) -> Keys:
    return np.asarray(keys).astype(np.uint64)
