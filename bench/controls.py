"""What gold labels would have reached: the controls of the quickstart, beside its student and teacher.

They take about as long as the main job itself, and are no part of its time.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq

from bench.quickstart import QUICK, run_once
from bench.report import Figure


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Accuracy of every control, and the number of gold labels that would equal the student."""
    size = QUICK if quick else []
    kinds = "{kinds: [tfidf-gold]}" if quick else "{}"
    run = run_once(work, "with-controls", [*size, f"controls={kinds}"])
    rows = json.loads((run["folder"] / "4-judge" / "evaluation.json").read_text("utf-8"))["rows"]
    accuracy = {row["artifact"]: row for row in rows if (row["metric"], row["slice"]) == ("accuracy", "all")}
    table = pq.read_table(run["folder"] / "3-controls" / "predictions.parquet").to_pylist()
    seen = {row["artifact"]: row["gold_labels"] for row in table}
    shipped = run["summary"]["exported"]["artifact"]
    found = [
        Figure("teacher accuracy on gold", accuracy["teacher"]["value"]),
        Figure("exported student, no gold label in training", accuracy[shipped]["value"]),
    ]
    found += [
        Figure(f"{name}, trained on {count} gold labels", accuracy[name]["value"]) for name, count in seen.items()
    ]
    return [*found, Figure("gold labels that would equal this student", run["summary"]["gold_equivalent"]["reading"])]
