"""Vectors of a teacher, one for each document: embeddings in float16, or in 8 bits with a scale of their own.

One Arrow file, memory-mapped when read. An 8-bit number is off by at most half a scale, 1/254 of its row's largest.

    Vectors(ids, asked, values, header={"teacher": revision}).write(folder, "int8")
    signal = Vectors.read(folder, expect={"teacher": revision})
    signal.values_for(ids)                             # (N, D) float32
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse.errors import Problem, StillhouseError, first_line
from stillhouse.store import canonical, write_atomically

SCHEMA_VERSION = 1
_FILE = Path("signals") / "vectors.arrow"
_HEADER = b"stillhouse.signal"
_LARGEST = 127

Precision = Literal["float16", "int8"]


@dataclass(frozen=True)
class Vectors:
    """Vectors of a teacher.

    ids: N document ids. asked: N hashes of all that changed the answer. values: (N, D) float32. header: teacher,
    pooling and the like, as JSON values.
    """

    ids: tuple[str, ...]
    asked: tuple[str, ...]
    values: npt.NDArray[np.float32]
    header: Mapping[str, Any]

    def write(self, folder: Path, precision: Precision) -> None:
        """Write ``signals/vectors.arrow`` below ``folder``, rows in id order; vectors must be finite."""
        values = np.asarray(self.values, dtype=np.float32)
        with np.errstate(over="ignore"):
            stored, scales = _stored(values, precision)
        if not (np.isfinite(values).all() and np.isfinite(stored).all()):
            row = int(np.flatnonzero(~(np.isfinite(values) & np.isfinite(stored)).all(axis=1))[0])
            raise StillhouseError(
                f"the vector of document {self.ids[row]} does not fit {precision}: NaN, infinite, or above 65,504",
                where=str(_FILE),
                fix="store vectors in int8, or normalize them",
            )
        order = np.argsort(np.array(self.ids), kind="stable")
        stored, scales = stored[order], scales[order]
        columns = {
            "id": pa.array([self.ids[row] for row in order], pa.string()),
            "asked": pa.array([self.asked[row] for row in order], pa.string()),
            "scale": pa.array(scales, pa.float32()),
            "vector": pa.array([row.tobytes() for row in stored], pa.binary(stored.dtype.itemsize * stored.shape[1])),
        }
        about = {
            "schema": SCHEMA_VERSION,
            "kind": "Vectors",
            "precision": precision,
            "width": values.shape[1],
            "header": dict(self.header),
        }
        about["sha256"] = _digest([about, columns["id"].to_pylist(), columns["asked"].to_pylist()], scales, stored)
        batch = pa.record_batch(columns)
        schema = batch.schema.with_metadata({_HEADER: canonical(about)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as stream:
            stream.write_batch(batch.replace_schema_metadata(schema.metadata))
        write_atomically(folder / _FILE, sink.getvalue().to_pybytes())

    @classmethod
    def read(cls, folder: Path, *, expect: Mapping[str, Any] | None = None) -> Vectors:
        """Read what :meth:`write` wrote; ``expect``: header fields that must have the given values.

        Raises :class:`StillhouseError` on another kind, schema or header, and on corrupt bytes.
        """
        path = folder / _FILE
        try:
            with pa.ipc.open_file(pa.memory_map(str(path))) as reader:
                about = json.loads((reader.schema.metadata or {}).get(_HEADER, b"{}"))
                batch = reader.get_batch(0)
            batch.validate(full=True)
            if (about["schema"], about["kind"]) != (SCHEMA_VERSION, "Vectors"):
                raise ValueError(f"no vectors of schema {SCHEMA_VERSION}")
            sealed = about.pop("sha256")
            if about["precision"] not in get_args(Precision):
                raise ValueError(f"vectors in {about['precision']}")
            ids, asked = batch.column("id").to_pylist(), batch.column("asked").to_pylist()
            scales = batch.column("scale").to_numpy()
            kind = np.dtype("<f2" if about["precision"] == "float16" else "i1")
            stored = np.frombuffer(b"".join(batch.column("vector").to_pylist()), dtype=kind)
            stored = stored.reshape(len(ids), about["width"])
            if _digest([about, ids, asked], scales, stored) != sealed:
                raise ValueError("its bytes are not those that were written")
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise StillhouseError(
                f"the vectors cannot be read: {first_line(error)}",
                where=str(path),
                fix="run stage 2 again",
            ) from error
        again = "run stage 2 again, or use the teacher and settings that the header names"
        problems = [
            Problem(f"the vectors were made with {name} {about['header'].get(name)!r}, not {value!r}", str(path), again)
            for name, value in (expect or {}).items()
            if about["header"].get(name) != value
        ]
        if problems:
            raise StillhouseError.several(problems)
        values = stored.astype(np.float32) * scales[:, None]
        return cls(tuple(ids), tuple(asked), values, about["header"])

    def values_for(self, ids: Sequence[str]) -> npt.NDArray[np.float32]:
        """Vectors (N, D) in the order of ``ids``; raises :class:`StillhouseError` when one has no vector."""
        place = {identifier: row for row, identifier in enumerate(self.ids)}
        missing = [identifier for identifier in ids if identifier not in place]
        if missing:
            raise StillhouseError(
                f"{len(missing)} documents have no vector, the first is {missing[0]}",
                where=str(_FILE),
                fix="run stage 2 again",
            )
        return self.values[[place[identifier] for identifier in ids]]


def _stored(values: npt.NDArray[np.float32], precision: Precision) -> tuple[npt.NDArray[Any], npt.NDArray[np.float32]]:
    """Rows as they are stored, and the number (N,) that each is multiplied with when it is read."""
    if precision == "float16":
        return values.astype("<f2"), np.ones(len(values), dtype=np.float32)
    scales = np.abs(values).max(axis=1, initial=0.0) / np.float32(_LARGEST)
    steps = np.divide(values, scales[:, None], out=np.zeros_like(values), where=scales[:, None] > 0)
    return np.nan_to_num(np.rint(steps)).astype("i1"), scales.astype(np.float32)


def _digest(about: list[Any], scales: npt.NDArray[np.float32], stored: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256(canonical(about).encode())
    digest.update(scales.astype("<f4").tobytes())
    digest.update(stored.tobytes())
    return digest.hexdigest()
