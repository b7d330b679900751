"""What every artifact said about every test document: two runs can then be compared document by document.

write_predictions(folder, test, artifacts, labels=("bad", "good"))
samples = side_by_side(test, teacher, student, labels=("bad", "good"))
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
SAMPLES = 12


def side_by_side(
    test: HeldOut, teacher: Answers, student: Answers, *, labels: Sequence[str], most: int = SAMPLES
) -> list[dict[str, Any]]:
    """Some test documents with both answers, for the report; the first by id, which is a hash, and never by quality."""

    def said(answers: Answers, place: int) -> dict[str, Any]:
        return {
            "text": labels[answers.labels[place]],
            "probability": None if answers.probs is None else float(answers.probs[place].max()),
            "right": bool(answers.labels[place] == test.gold[place]),
        }

    chosen = sorted(range(len(test.ids)), key=lambda place: test.ids[place])[:most]
    return [
        {
            "id": test.ids[place],
            "asked": test.texts[place],
            "gold": labels[test.gold[place]],
            "answers": {"teacher": said(teacher, place), "student": said(student, place)},
        }
        for place in chosen
    ]


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
