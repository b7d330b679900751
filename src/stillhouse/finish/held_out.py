"""The test split that the teacher answered: texts, gold labels, what the teacher said, and slices.

test = HeldOut.read(Path("1-raw"), signal, labels=("bad", "good"))
test.texts, test.gold, test.slices["group:dialect=x"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse import documents
from stillhouse.errors import StillhouseError
from stillhouse.finish.evaluate import Bools, Ints
from stillhouse.signals import ClassProbs


@dataclass(frozen=True)
class HeldOut:
    """N documents, in the order of their file. gold: label numbers (N,). teacher_probs: (N, K), calibrated.

    slices: name -> mask (N,), one for each value of each group column and, where there are several, for each source.
    columns: name -> value of each document, of every group column and of ``source``. languages: ISO 639 codes.
    unanswered: test documents that the teacher gave no answer about.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    gold: Ints
    teacher_probs: npt.NDArray[np.float64]
    slices: Mapping[str, Bools]
    columns: Mapping[str, Sequence[str | None]]
    languages: Sequence[str]
    unanswered: int

    @classmethod
    def read(cls, raw: Path, signal: ClassProbs, *, labels: Sequence[str]) -> HeldOut:
        """From stage 1's folder ``raw``; raises :class:`StillhouseError` where the teacher answered none of it."""
        answered = set(signal.ids)
        table = documents.read(raw, "test").to_pylist()
        rows = [row for row in table if row["id"] in answered]
        if not rows:
            raise StillhouseError(
                "the teacher answered about no test document",
                where="2-ferment/failures.parquet",
                fix="see the reasons there",
            )
        ids = [row["id"] for row in rows]
        return cls(
            ids=ids,
            texts=[row["text"] for row in rows],
            gold=np.array([labels.index(row["label"]) for row in rows], dtype=np.int64),
            teacher_probs=signal.probabilities_for(ids),
            slices=slices_of(rows),
            columns={
                key.removeprefix(documents.GROUP_PREFIX): [row[key] for row in rows]
                for key in rows[0]
                if key.startswith(documents.GROUP_PREFIX) or key == "source"
            },
            languages=[row["language"] or "und" for row in rows],
            unanswered=len(table) - len(rows),
        )

    def clusters(self, name: str | None) -> list[str] | None:
        """Which documents are drawn together: those of equal value in the group column, or ``source``, of that name.

        A document without a value stands for itself. Raises :class:`StillhouseError` where all have the same.
        """
        if name is None:
            return None
        found = zip(self.columns[name], self.ids, strict=True)
        members = [f"={value}" if value is not None else identifier for value, identifier in found]
        if len(set(members)) == 1:
            raise StillhouseError(
                f"every test document has the same {name}, so nothing says how one {name} differs from another",
                where="finish.evaluate.clusters",
                fix="name another column, or none",
            )
        return members

    @property
    def groups(self) -> dict[str, Sequence[str | None]]:
        """The group columns, without the source."""
        return {name: values for name, values in self.columns.items() if name != "source"}


def slices_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Bools]:
    """Masks over documents, one for each value of each group column and, where there are several, for each source."""
    keys = [key for key in rows[0] if key.startswith(documents.GROUP_PREFIX)]
    if len({row["source"] for row in rows}) > 1:
        keys.append("source")
    found: dict[str, Bools] = {}
    for key in keys:
        for value in sorted({row[key] for row in rows if row[key] is not None}):
            name = f"group:{key.removeprefix(documents.GROUP_PREFIX)}={value}" if key != "source" else f"source={value}"
            found[name] = np.array([row[key] == value for row in rows])
    return found
