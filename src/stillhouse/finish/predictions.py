"""What every artifact said about every test document: two runs can then be compared document by document.

write_predictions(folder, test, artifacts, labels=("bad", "good"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.finish.evaluate import Answers
from stillhouse.finish.held_out import HeldOut

PREDICTIONS = "predictions.parquet"


def write_predictions(folder: Path, test: HeldOut, artifacts: Mapping[str, Answers], *, labels: Sequence[str]) -> None:
    """One row for each artifact and document: ``id``, ``gold``, ``artifact``, ``predicted``, ``probability``."""
    columns: dict[str, list[Any]] = {"id": [], "gold": [], "artifact": [], "predicted": [], "probability": []}
    for name, answers in artifacts.items():
        columns["id"] += test.ids
        columns["gold"] += [labels[number] for number in test.gold]
        columns["artifact"] += [name] * len(test.ids)
        columns["predicted"] += [labels[number] for number in answers.labels]
        sure = [None] * len(test.ids) if answers.probs is None else answers.probs.max(axis=1).tolist()
        columns["probability"] += sure
    kinds = {name: pa.float64() if name == "probability" else pa.string() for name in columns}
    table = pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})
    pq.write_table(table, folder / PREDICTIONS)
