"""What every stage is handed, and what it returns: folders, a way to report progress, a summary.

A stage is one function ``run(recipe, places, progress) -> StageResult``: it reads sealed folders of the run, writes
its draft, and leaves the sealing to ``execute.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# what is being done, how much is done, out of how many (0: unknown)
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


FOLDERS = {
    "raw": "1-raw",
    "ferment": "2-ferment",
    "scores": "3-scores",
    "cuts": "3-cuts",
    "distill": "3-distill",
    "controls": "3-controls",
    "judge": "4-judge",
    "finish": "4-finish",
}


@dataclass(frozen=True)
class Places:
    """run: the run's folder with its sealed stages. draft: where to write. cache, answers: shared stores.
    base: the recipe's folder, from which relative addresses start."""

    run: Path
    draft: Path
    cache: Path
    answers: Path
    base: Path

    def sealed(self, step: str) -> Path:
        """The sealed folder of an earlier step."""
        return self.run / FOLDERS[step]


@dataclass(frozen=True)
class StageResult:
    """summary: what came out, the same on every run. facts: what happened this time, for the ledger."""

    summary: dict[str, Any]
    facts: dict[str, Any] = field(default_factory=dict)
