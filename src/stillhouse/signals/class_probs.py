"""Class probabilities: what the teacher thinks of each label, per document, raw and calibrated.

signal = ClassProbs.read(folder)
probabilities = signal.probabilities_for(ids)      # (N, K), or an error that names the missing ids
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError

SCHEMA_VERSION = 2
_HEADER = b"stillhouse.signal"

Floats = npt.NDArray[np.float64]


def apply_bias(log_probs: Floats, bias: Floats) -> Floats:
    """Probabilities (N, K), rows sum to one: softmax of log_probs (N, K) + bias (K,)."""
    shifted = log_probs + bias
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    weights = np.exp(shifted)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True)
class ClassProbs:
    """Label probabilities of a teacher.

    ids: N document ids. asked: N hashes of all that changed the answer. labels: K names, in column order.
    log_probs: (N, K) raw log-probabilities of the label words. probs: (N, K) calibrated, rows sum to one.
    header: teachers, prompt and calibration, as written by stage 2. teachers: N names as in the ledger's rights, joined
    by ``+`` where several answered, so that each row leads to the verdicts it was made under. name: of one teacher's
    own answers beside the signal that is taught.
    """

    ids: tuple[str, ...]
    asked: tuple[str, ...]
    labels: tuple[str, ...]
    log_probs: Floats
    probs: Floats
    header: Mapping[str, Any]
    teachers: tuple[str, ...]
    name: str | None = None

    def write(self, folder: Path) -> None:
        """Write ``signals/class_probs.parquet`` (or ``class_probs-<name>.parquet``) below ``folder``, in id order."""
        order = sorted(range(len(self.ids)), key=lambda row: self.ids[row])
        header = {"schema": SCHEMA_VERSION, "kind": "ClassProbs", "labels": list(self.labels), **self.header}
        columns = {
            "id": pa.array([self.ids[row] for row in order], pa.string()),
            "asked": pa.array([self.asked[row] for row in order], pa.string()),
            "teacher": pa.array([self.teachers[row] for row in order], pa.string()).dictionary_encode(),
            "log_probs": _lists(self.log_probs[order], len(self.labels)),
            "probs": _lists(self.probs[order], len(self.labels)),
        }
        table = pa.table(columns).replace_schema_metadata({_HEADER: json.dumps(header, sort_keys=True)})
        path = _path(folder, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)

    @classmethod
    def read(cls, folder: Path, name: str | None = None) -> ClassProbs:
        """Read what :meth:`write` wrote; another kind or schema is refused, never guessed."""
        path = _path(folder, name)
        table = pq.read_table(path)
        header = json.loads((table.schema.metadata or {}).get(_HEADER, b"{}"))
        if header.get("schema") != SCHEMA_VERSION or header.get("kind") != "ClassProbs":
            raise StillhouseError(
                f"not a ClassProbs signal of schema {SCHEMA_VERSION}",
                where=str(path),
                fix="run stage 2 again",
            )
        labels = tuple(header["labels"])
        return cls(
            ids=tuple(table["id"].to_pylist()),
            asked=tuple(table["asked"].to_pylist()),
            labels=labels,
            log_probs=_matrix(table["log_probs"], len(labels)),
            probs=_matrix(table["probs"], len(labels)),
            header=header,
            teachers=tuple(table["teacher"].to_pylist()),
            name=name,
        )

    def rows_of(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Row numbers of ``ids``; raises :class:`StillhouseError` when one has no signal."""
        place = {identifier: row for row, identifier in enumerate(self.ids)}
        missing = [identifier for identifier in ids if identifier not in place]
        if missing:
            raise StillhouseError(
                f"{len(missing)} documents have no teacher signal, the first is {missing[0]}",
                where=str(_path(Path(), self.name)),
                fix="run stage 2 again",
            )
        return np.array([place[identifier] for identifier in ids], dtype=np.int64)

    def probabilities_for(self, ids: Sequence[str]) -> Floats:
        """Calibrated probabilities (N, K) in the order of ``ids``."""
        return self.probs[self.rows_of(ids)]


def _path(folder: Path, name: str | None) -> Path:
    return folder / "signals" / ("class_probs.parquet" if name is None else f"class_probs-{name}.parquet")


def _lists(values: Floats, width: int) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1), pa.float64()), width)


def _matrix(column: pa.ChunkedArray, width: int) -> Floats:
    flat = column.combine_chunks().flatten() if len(column) else pa.array([], pa.float64())
    return np.asarray(flat.to_numpy(zero_copy_only=False), dtype=np.float64).reshape(-1, width)
