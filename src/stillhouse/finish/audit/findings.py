"""Findings: what an audit says, one row for each question that was put to teacher and student.

finding = Finding("group gap", "true positive rate, label=toxic, group:dialect", "failed", 0.03, 0.12, 0.09, …)
as_row(finding)                       # a dict for JSON; what is not a number becomes None
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["passed", "failed", "not certified", "reported"]


@dataclass(frozen=True)
class Finding:
    """One row of an audit. ``passed`` and ``failed`` are shown by the data, ``not certified`` is neither.

    probe: the kind of question. about: what it was put to. value: the quantity judged, usually student - teacher,
    with its two-sided 95 % interval; it may not exceed ``limit``. n: items behind it; needed: how many it would take
    to tell, where n is too small. words: one plain sentence for the label. advice: what to try, where the finding knows
    it better than its gate.
    """

    probe: str
    about: str
    status: Status
    teacher: float | None
    student: float | None
    value: float | None
    lower: float | None
    upper: float | None
    limit: float | None
    n: int
    words: str
    needed: int | None = None
    advice: str = ""


def as_row(finding: Finding) -> dict[str, str | float | int | None]:
    """The finding as a dict that JSON can hold."""
    row: dict[str, str | float | int | None] = asdict(finding)
    return {key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()}
