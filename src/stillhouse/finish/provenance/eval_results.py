"""Results on public benchmarks in the hub's format, ``.eval_results/*.yaml``, one file for each benchmark.

    write_eval_results(bottle, [Benchmark("org/benchmark", "default", 0.41, "ab12…", "2026-11-26")])

The hub puts such a file on the leaderboard of the data set that it names, so it may hold nothing but that benchmark's
own task, run as the benchmark says. What was measured on held-out documents of a run is no such thing: it has no id on
the hub, and a made-up one would be a false entry in somebody else's table. It stays in the card's ``model-index``, with
a data set of type ``private``. Source: https://huggingface.co/docs/hub/eval-results
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stillhouse.store import write_atomically

FOLDER = ".eval_results"


@dataclass(frozen=True)
class Benchmark:
    """A result. dataset, task: as the hub knows the benchmark. revision: of the data set. date: ISO 8601.

    notes: how it was run, where that is not the benchmark's default.
    """

    dataset: str
    task: str
    value: float
    revision: str | None = None
    date: str | None = None
    notes: str | None = None


def write_eval_results(bottle: Path, results: Sequence[Benchmark]) -> list[str]:
    """Write the files, and return their names; no results, no files."""
    by_dataset: dict[str, list[dict[str, Any]]] = {}
    for one in results:
        dataset = {"id": one.dataset, "task_id": one.task, **({"revision": one.revision} if one.revision else {})}
        told = {"dataset": dataset, "value": one.value, "date": one.date, "notes": one.notes}
        by_dataset.setdefault(one.dataset, []).append({key: value for key, value in told.items() if value is not None})
    names = []
    for dataset_id, entries in by_dataset.items():
        name = f"{FOLDER}/{re.sub(r'[^A-Za-z0-9._-]+', '-', dataset_id)}.yaml"
        write_atomically(bottle / name, yaml.safe_dump(entries, sort_keys=False, allow_unicode=True).encode("utf-8"))
        names.append(name)
    return names
