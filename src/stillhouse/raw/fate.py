"""What becomes of every prepared row: one table over all pieces, in which rows leave by and by, each with its reason.

    rows = Rows.open(tables, labels=labels, groups=groups)
    rows.cut(copies[:, 0], "tail", "exact copy", matched=copies[:, 1])
    rows.staying                                        # row numbers, in the order of the sources
    rows.removed()                                      # the cut ledger, piece by piece

The texts stay in the files (memory-mapped); what is held for each row is a place, some codes and its fate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.cuts import SCHEMA as CUT_SCHEMA
from stillhouse.cuts import CutKind
from stillhouse.documents import GROUP_PREFIX
from stillhouse.raw.prepare import NO_LABEL
from stillhouse.raw.reading import open_arrow

Places = npt.NDArray[np.int64]
CHUNK = 50_000
_STAYS = -1


class Rows:
    """All prepared rows in the order of their places. ``labels``: gold labels by code, ``NO_LABEL`` where unknown."""

    def __init__(self, parts: Sequence[pa.Table], labels: Sequence[str] | None, groups: Sequence[str]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._starts = np.cumsum([0, *map(len, self._parts)])
        self.table = table = pa.concat_tables(parts)
        self.groups = tuple(groups)
        self.places: Places = table.column("place").to_numpy()
        self.earlier: npt.NDArray[np.bool_] = table.column("earlier").to_numpy()
        codes = pc.index_in(table.column("label"), pa.array(list(labels or ()), pa.string())).fill_null(NO_LABEL)
        self.labels: npt.NDArray[np.int32] = codes.to_numpy().astype(np.int32)
        self._reasons: list[tuple[CutKind, str]] = []
        self._fate = np.full(len(self.places), _STAYS, np.int32)
        self._matched = np.full(len(self.places), -1, np.int64)
        self._scores = np.full(len(self.places), np.nan)
        self._thresholds = np.full(len(self.places), np.nan)
        self._details: dict[int, str] = {}
        reasons, kinds = table.column("reason"), table.column("cut")
        before = pc.is_valid(reasons).to_numpy()
        self._cut_before: npt.NDArray[np.bool_] = before & ~self.earlier
        self._left: npt.NDArray[np.bool_] = before | self.earlier
        mine = pa.array(self._cut_before)
        self._early = Counter(zip(kinds.filter(mine).to_pylist(), reasons.filter(mine).to_pylist(), strict=True))

    @classmethod
    def open(cls, tables: Sequence[Path], *, labels: Sequence[str] | None, groups: Sequence[str]) -> Rows:
        """Memory-map the tables of all pieces, given in the order of their places."""
        return cls([open_arrow(path) for path in tables], labels, groups)

    @property
    def staying(self) -> Places:
        """Numbers of the rows that have not left."""
        return np.flatnonzero(~self._left & (self._fate == _STAYS))

    @property
    def rows_in(self) -> int:
        """All rows of the sources; those of earlier sets are not counted."""
        return int((~self.earlier).sum())

    def numbers(self, places: Places) -> Places:
        """The row numbers of some places."""
        return np.asarray(np.searchsorted(self.places, places), dtype=np.int64)

    def cut(
        self,
        rows: Places,
        kind: CutKind,
        reason: str,
        *,
        matched: Places | None = None,
        scores: npt.NDArray[np.float64] | None = None,
        threshold: float | None = None,
        details: Sequence[str] | None = None,
    ) -> None:
        """Let rows leave, by their numbers. ``matched``: numbers of the rows they were found to match.

        Rows that have left, and rows of earlier sets, stay as they are: the first reason counts.
        """
        fresh = ~self._left[rows] & (self._fate[rows] == _STAYS)
        if (kind, reason) not in self._reasons:
            self._reasons.append((kind, reason))
        now = rows[fresh]
        self._fate[now] = self._reasons.index((kind, reason))
        if matched is not None:
            self._matched[now] = matched[fresh]
        if scores is not None:
            self._scores[now] = scores[fresh]
        if threshold is not None:
            self._thresholds[now] = threshold
        if details is not None:
            self._details |= {int(row): text for row, text, new in zip(rows, details, fresh, strict=True) if new}

    def counts(self) -> dict[str, dict[str, int]]:
        """How many rows left, by cut and reason."""
        tally: Counter[tuple[str, str]] = Counter(self._early)
        for code, number in enumerate(np.bincount(self._fate[self._fate >= 0], minlength=len(self._reasons)).tolist()):
            if number:
                tally[self._reasons[code]] += number
        found: dict[str, dict[str, int]] = {"head": {}, "tail": {}}
        for (kind, reason), number in sorted(tally.items()):
            found[kind][reason] = number
        return found

    def reasons(self) -> list[str | None]:
        """Why each row of the sources left; ``None`` for those that stay."""
        late = [reason for _, reason in self._reasons]
        early = self.table.column("reason").to_pylist()
        return [
            before if before is not None else (late[code] if code >= 0 else None)
            for before, code, other in zip(early, self._fate.tolist(), self.earlier.tolist(), strict=True)
            if not other
        ]

    def column(self, name: str, rows: Places) -> list[Any]:
        """One column's values at some rows."""
        values: list[Any] = self._take(rows, [name]).column(name).to_pylist()
        return values

    def _take(self, rows: Places, names: Sequence[str] | None = None) -> pa.Table:
        """Some rows in the order asked for. Piece by piece: a take over all would join all texts first."""
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        by = np.argsort(owner, kind="stable")
        owners, firsts = np.unique(owner[by], return_index=True)
        found = [self.table.slice(0, 0) if names is None else self.table.select(names).slice(0, 0)]
        for at, some in zip(owners.tolist(), np.split(by, firsts)[1:], strict=True):
            part = self._parts[at] if names is None else self._parts[at].select(names)
            found.append(part.take(pa.array(rows[some] - self._starts[at])))
        back = np.empty(len(rows), np.int64)
        back[by] = np.arange(len(rows))
        return pa.concat_tables(found).combine_chunks().take(pa.array(back))

    def documents(self, rows: Places, labels: Sequence[str] | None) -> pa.Table:
        """Some rows with the gold label that was settled for each; where labels are any text, with their own."""
        part = self._take(rows)
        if labels is None:
            return part
        codes = self.labels[rows]
        gold = pa.array(list(labels), pa.string()).take(pa.array(codes, mask=codes == NO_LABEL))
        return part.set_column(part.schema.get_field_index("label"), "label", gold)

    def removed(self) -> Iterator[pa.Table]:
        """The rows of the cut ledger, some thousand at a time: by cut, reason and place."""
        late = np.flatnonzero(self._fate >= 0)
        early = np.flatnonzero(self._cut_before)
        keys = [(*self._reasons[code], int(row)) for row, code in zip(late, self._fate[late].tolist(), strict=True)]
        kinds = self.column("cut", early)
        named = self.column("reason", early)
        keys += list(zip(kinds, named, early.tolist(), strict=True))
        keys.sort()
        for start in range(0, len(keys), CHUNK):
            yield self._ledger(keys[start : start + CHUNK])

    def _ledger(self, keys: list[tuple[str, str, int]]) -> pa.Table:
        numbers = np.array([row for _, _, row in keys], np.int64)
        part = self._take(numbers)
        late = self._fate[numbers] >= 0
        matched = self._matched[numbers]
        has = matched >= 0
        names = self._take(matched[has], ["id", "origin"])
        ids: list[str | None] = [None] * len(keys)
        origins: list[str] = [""] * len(keys)
        for at, name, origin in zip(
            np.flatnonzero(has).tolist(),
            names.column("id").to_pylist(),
            names.column("origin").to_pylist(),
            strict=True,
        ):
            ids[at], origins[at] = name, origin
        details = [
            self._details.get(int(row), f"of {origin}" if origin else before)
            for row, origin, before in zip(numbers, origins, part.column("detail").to_pylist(), strict=True)
        ]
        return pa.table(
            {
                "stage": ["1-raw"] * len(keys),
                "cut": [kind for kind, _, _ in keys],
                "reason": [reason for _, reason, _ in keys],
                "source": part.column("source"),
                "origin": part.column("origin"),
                "id": part.column("id"),
                "matched_id": pa.array(ids, pa.string()),
                "score": _either(late, self._scores[numbers], part.column("score")),
                "threshold": _either(late, self._thresholds[numbers], part.column("threshold")),
                "detail": details,
                "content": pc.if_else(pa.array(late), part.column("text"), part.column("content")),
            },
            schema=CUT_SCHEMA,
        )

    def strata(self, labels: Sequence[str]) -> Counter[tuple[str, str, str | None]]:
        """Numbers of rows by source, language, gold label and each group, and by the reason for which they left."""
        counts: Counter[tuple[str, str, str | None]] = Counter()
        reasons = self.reasons()
        mine = pa.array(~self.earlier)
        columns = {"source": "source", "language": "language", "label": "label"} | {
            f"group {name}": GROUP_PREFIX + name for name in self.groups
        }
        for kind, name in columns.items():
            values = self.table.column(name).filter(mine).to_pylist()
            for (value, reason), number in Counter(zip(values, reasons, strict=True)).items():
                if value is not None and (kind != "label" or value in labels):
                    counts[kind, value, reason] += number
        return counts


def _either(
    late: npt.NDArray[np.bool_], mine: npt.NDArray[np.float64], before: pa.ChunkedArray
) -> pa.Array | pa.ChunkedArray:
    return pc.if_else(pa.array(late), pa.array(mine, mask=np.isnan(mine)), before)
