"""Progress in a file or a pipe: one line a report, and no rate where there was no time to measure one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from stillhouse import progress
from stillhouse.progress import progress_on

LONG = "asking the teacher (bfloat16: this CPU multiplies it natively) about every document of every split"


def test_a_long_report_is_one_line_without_a_rate_that_was_not_measured() -> None:
    stream = io.StringIO()
    with progress_on(Console(file=stream, width=80)) as report:
        report(LONG, 0, 5)
        report(LONG, 3, 5)  # too soon after the first to be told
        report(LONG, 5, 5)
        report("next [1]", 0, 0)
    assert stream.getvalue() == f"  {LONG}: 5 of 5\n"


def test_the_same_done_once_more_has_a_rate_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, clock = io.StringIO(), iter([0.0, 2.0, 100.0, 102.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.progress_on(Console(file=stream, width=80)) as report:
        for done, total in ((0, 10), (10, 10), (1, 4), (4, 4)):
            report("asking", done, total)
    assert stream.getvalue() == "  asking: 10 of 10, 5.0/s\n  asking: 4 of 4, 1.5/s\n"
