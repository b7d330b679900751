"""What an audit found: one noun for every probe, ready for the label.

Finding(probe="swap", about="flip rate, religion", status="failed", teacher=0.02, student=0.09, value=0.07, …)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not certified", "reported"]


@dataclass(frozen=True)
class Finding:
    probe: str  # "group gap", "worst group", "calibration", "parting", "swap", "identity", ...
    about: str  # e.g. "TPR gap, label=toxic, group:dialect"
    status: Status
    teacher: float | None
    student: float | None
    value: float | None  # the quantity judged: usually student - teacher
    lower: float | None  # two-sided 95 % interval
    upper: float | None
    limit: float | None  # value may not exceed it
    n: int
    words: str  # one plain sentence for the label
    needed: int | None = None  # items that would be needed, where n is too small
