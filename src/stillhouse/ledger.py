"""The ledger: what happened in a run, one JSON object a line, appended and never rewritten.

ledger = Ledger(run_folder / "ledger.jsonl", run_id)
ledger.append("stage-sealed", stage="1-raw", rows_in=10)
for entry in ledger.entries(): ...
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stillhouse.store import canonical, now

LEDGER_SCHEMA = 1


class Ledger:
    """An append-only file. A line torn by a crash is cut off when the ledger is opened again."""

    def __init__(self, path: Path, run_id: str) -> None:
        self.path = path
        self.run_id = run_id
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            data = path.read_bytes()
            whole = data.rfind(b"\n") + 1
            if whole < len(data):
                with path.open("r+b") as stream:
                    stream.truncate(whole)

    def append(self, event: str, **facts: Any) -> None:
        """Write one event and flush it to disk before returning."""
        entry = {"schema": LEDGER_SCHEMA, "time": now(), "run": self.run_id, "event": event, **facts}
        with self.path.open("ab") as stream:
            stream.write(canonical(entry).encode("utf-8") + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def entries(self) -> Iterator[dict[str, Any]]:
        """All whole lines, oldest first."""
        if self.path.exists():
            with self.path.open("rb") as stream:
                for line in stream:
                    if line.endswith(b"\n"):
                        yield json.loads(line)
