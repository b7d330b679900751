"""Who was asked and gave no usable answer: kept in the stage's folder, or reason enough to leave the stage open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError


class Failure(NamedTuple):
    """id: of the document. raw: what was sent back."""

    id: str
    teacher: str
    reason: str
    raw: str


_SCHEMA = pa.schema([(name, pa.string()) for name in Failure._fields])


def write_failures(draft: Path, failures: Iterable[Failure]) -> None:
    """Write ``failures.parquet`` into the stage's draft."""
    rows = [failure._asdict() for failure in failures]
    pq.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA), draft / "failures.parquet")


def refuse_missing(lost: Sequence[str], asked: int, *, allowed: float, teacher: str) -> None:
    """Leave the stage open where too many answers may still come: what came is in the answer store.

    lost: the reasons of those. asked: how many there should be. allowed: the share of them that may be missing.
    """
    if len(lost) <= allowed * asked:
        return
    reasons = Counter(reason.partition(":")[0] for reason in lost)
    told = ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
    raise StillhouseError(
        f"{len(lost)} of {asked} questions are still without an answer of {teacher} ({told}); the first: {lost[0]}",
        where="ferment",
        fix="mend that and run again: what was answered is kept and not asked again; or allow more with "
        "`ferment.missing`",
    )
