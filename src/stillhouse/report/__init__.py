"""A run as one page for people: flow, cuts, strength, gates, audit, size and speed, samples, rights, warnings.

path = write_report(Path("runs/quickstart"))          # runs/quickstart/report.html

It renders what is sealed so far, and computes no number of its own. The page is one file: it needs no network, no
script and no other file.
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.store import write_atomically

REPORT = "report.html"


def write_report(run_folder: Path, output: Path | None = None) -> Path:
    """Write the report of ``run_folder`` to ``output``, by default beside its stages; returns where.

    Raises :class:`StillhouseError` where no stage is sealed.
    """
    from stillhouse.report.data import read_run
    from stillhouse.report.page import render

    path = output or run_folder / REPORT
    write_atomically(path, render(read_run(run_folder)).encode("utf-8"))
    return path
