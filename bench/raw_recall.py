"""What a deduplication found of the planted copies, and what it removed that nobody planted.

    found = recall(kept_ids, planted.truth)
    found.near[4].rate, found.near_close[4].rate       # of copies with four edits: all, those of similarity >= 0.8
    found.false_removals.rate, found.exact["verbatim"].rate

A planted pair counts as found when its two rows are not both kept: which of them stays is the tool's own rule. A
removed row is a false removal unless a row of its cluster of planted copies stays, so a tool that keeps none of a
cluster is charged for it once. Copies in scripts without spaces are counted by themselves: their edits are of
characters, and tools that cut texts at spaces have a word or two to compare. Rows of boilerplate, short and empty rows
are counted apart: empty ones are equal, and boilerplate shares most of its shingles, so whether these go is policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow.parquet as pq

from bench.raw_rows import UNSPACED
from bench.report import Figure

CLOSE = 0.8  # Jaccard similarity of a pair that a tool with this threshold is asked to find
Key = TypeVar("Key", str, int)
APART = ("boilerplate", "short", "empty")


@dataclass(frozen=True)
class Share:
    """``found`` of so many."""

    found: int
    of: int

    @property
    def rate(self) -> float:
        """Found over all; 0 of 0 is 0."""
        return self.found / self.of if self.of else 0.0


@dataclass(frozen=True)
class Recall:
    """Copies found, and rows removed wrongly.

    exact: by variant. near: by number of edits, of texts with spaces. near_close: the same, of pairs with a similarity
    of at least 0.8. unspaced_close: as near_close, of texts without spaces, by shingles of characters.
    false_removals: of all rows but those counted apart. apart: removed rows by kind. dead: clusters without survivor.
    """

    exact: dict[str, Share]
    near: dict[int, Share]
    near_close: dict[int, Share]
    unspaced_close: dict[int, Share]
    false_removals: Share
    false_ids: tuple[str, ...]
    apart: dict[str, Share]
    dead: int


def recall(kept: Collection[str], truth: Path) -> Recall:
    """Hold the ids that stay against the truth table; ``kept`` are those that *deduplication* left.

    Rows that another step removed belong to ``kept`` here.
    """
    stays = set(kept)
    table = pq.read_table(truth, columns=["id", "kind", "variant", "copy_of", "edits", "jaccard", "lang"])
    rows = list(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))
    clusters: dict[str, list[str]] = defaultdict(list)
    exact: dict[str, list[bool]] = defaultdict(list)
    near: dict[int, list[bool]] = defaultdict(list)
    close: dict[int, list[bool]] = defaultdict(list)
    unspaced: dict[int, list[bool]] = defaultdict(list)
    for row, kind, variant, copy_of, edits, similarity, language in rows:
        if copy_of is None:
            continue
        clusters[copy_of].append(row)
        found = not (row in stays and copy_of in stays)
        if kind == "near copy" and language in UNSPACED:
            unspaced[edits].extend([found] * (similarity >= CLOSE))
        elif kind == "near copy":
            near[edits].append(found)
            close[edits].extend([found] * (similarity >= CLOSE))
        else:
            exact[variant or kind].append(found)
    alive = {source for source, copies in clusters.items() if source in stays or not stays.isdisjoint(copies)}
    apart: dict[str, list[bool]] = defaultdict(list)
    false, judged = [], 0
    for row, kind, _, copy_of, *_ in rows:
        if kind in APART:
            apart[kind].append(row not in stays)
            continue
        judged += 1
        source = copy_of or row
        # a cluster that died as a whole is one false removal: that of its source
        wrong = row not in stays and source not in alive and source == row
        false.extend([row] * wrong)
    return Recall(
        exact=_shares(exact),
        near=_shares(near),
        near_close=_shares(close),
        unspaced_close=_shares(unspaced),
        false_removals=Share(len(false), judged),
        false_ids=tuple(false),
        apart=_shares(apart),
        dead=len(clusters) - len(alive),
    )


def figures(name: str, found: Recall, *, false_bar: float | None = 0.001) -> list[Figure]:
    """The recall of one tool as figures; ``false_bar`` is what its rate of false removals may reach."""
    bar = None if false_bar is None else ("<=", 100 * false_bar)
    close = {f"{n} edits, similarity >= {CLOSE}": share for n, share in found.near_close.items()}
    unspaced = {f"without spaces, similarity >= {CLOSE}": _joined(found.unspaced_close)}
    near = {f"{n} edits": share for n, share in found.near.items()}
    return [
        *(_figure(f"{name}: exact copies found, {kind}", share) for kind, share in found.exact.items()),
        *(
            _figure(f"{name}: near copies found, {kind}", share)
            for kind, share in {**near, **close, **unspaced}.items()
        ),
        Figure(f"{name}: false removals of {found.false_removals.of}", 100 * found.false_removals.rate, "%", bar),
        Figure(f"{name}: clusters of which nothing stays", found.dead),
        *(_figure(f"{name}: removed, {kind}", share) for kind, share in found.apart.items()),
    ]


def _figure(name: str, share: Share) -> Figure:
    return Figure(f"{name} ({share.of})", 100 * share.rate, "%")


def _joined(shares: dict[int, Share]) -> Share:
    return Share(sum(share.found for share in shares.values()), sum(share.of for share in shares.values()))


def _shares(found: dict[Key, list[bool]]) -> dict[Key, Share]:
    return {key: Share(sum(values), len(values)) for key, values in sorted(found.items())}
