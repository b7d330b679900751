"""Findings: what every probe of the audit leaves, one row for each thing that it looked at.

finding = Finding("swap", "religion", "passed", teacher=0.05, student=0.05, value=0.0, lower=-0.01, upper=0.01, …)
as_row(finding)          # for audit.json
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Status = Literal["passed", "failed", "not certified", "reported"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    probe: by which kind of test. about: what, such as "TPR gap, label=toxic, group:dialect". teacher, student: their
    figures. value: what is judged, mostly student − teacher, with its two-sided 95 % interval. limit: what value
    may not exceed. n: items. words: one plain sentence for the label. needed: items that would tell, if n is too few.

    passed: shown to lie within the limit. failed: shown to lie beyond it. not certified: neither. reported: no limit.
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


def as_row(finding: Finding) -> dict[str, Any]:
    """The finding as a JSON value."""
    return asdict(finding)
