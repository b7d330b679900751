"""The scores of a run, one row for each training and validation document or answer: what stage 3 knows before it cuts.

Scored(ids, splits, predicted, columns).write(folder)
scored = Scored.read(folder)
scored.columns["ease"]                       # (N,)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError

SCHEMA_VERSION = "1"
_FILE = "scores.parquet"
_SCHEMA = b"stillhouse.scores"
_SCORE = "score_"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """ids, splits: N, training rows first. predicted: (N, K) by proxies that did not see the row; (N, 0) without any.
    columns: (N,) by the name of the score; higher leaves sooner."""

    ids: tuple[str, ...]
    splits: tuple[str, ...]
    predicted: Floats
    columns: Mapping[str, Floats]

    def write(self, folder: Path) -> None:
        """Write ``scores.parquet`` below ``folder``."""
        columns = {
            "id": pa.array(self.ids, pa.string()),
            "split": pa.array(self.splits, pa.string()),
            "predicted": pa.array(list(self.predicted), pa.list_(pa.float64(), self.predicted.shape[1] or -1)),
            **{_SCORE + name: pa.array(values, pa.float64()) for name, values in self.columns.items()},
        }
        pq.write_table(pa.table(columns).replace_schema_metadata({_SCHEMA: SCHEMA_VERSION}), folder / _FILE)

    @classmethod
    def read(cls, folder: Path) -> Scored:
        """Read what :meth:`write` wrote; another schema is refused."""
        table = pq.read_table(folder / _FILE)
        if (table.schema.metadata or {}).get(_SCHEMA, b"").decode() != SCHEMA_VERSION:
            raise StillhouseError(
                f"not scores of schema {SCHEMA_VERSION}", where=str(folder / _FILE), fix="run the step `scores` again"
            )
        told = pc.list_flatten(table["predicted"]).to_numpy().astype(np.float64, copy=False)
        predicted = told.reshape(len(table), told.size // max(1, len(table)))
        names = [name for name in table.column_names if name.startswith(_SCORE)]
        return cls(
            tuple(table["id"].to_pylist()),
            tuple(table["split"].to_pylist()),
            predicted,
            {name.removeprefix(_SCORE): np.asarray(table[name].to_numpy(), dtype=np.float64) for name in names},
        )

    def of_split(self, split: str) -> Scored:
        """The rows of one split."""
        rows = np.array([one == split for one in self.splits], dtype=bool)
        ids = tuple(one for one, mine in zip(self.ids, rows, strict=True) if mine)
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Scored(ids, (split,) * len(ids), self.predicted[rows], columns)
