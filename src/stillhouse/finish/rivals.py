"""What the student is compared with: plain baselines taught by the same teacher, and the controls where they ran.

artifacts = baselines(Path("1-raw"), signal, test.texts, seed=0)
answers, gold_labels = controls(Path("3-controls"), test.ids, labels=("bad", "good"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stillhouse import documents
from stillhouse.baselines import fit_tfidf, majority
from stillhouse.finish.evaluate import Answers
from stillhouse.signals import ClassProbs


def baselines(raw: Path, signal: ClassProbs, texts: Sequence[str], *, seed: int) -> dict[str, Answers]:
    """Answers about ``texts`` of majority and TF-IDF, both on the teacher's labels of the training documents."""
    taught = set(signal.ids)
    rows = [row for row in documents.read(raw, "train").to_pylist() if row["id"] in taught]
    targets = np.asarray(signal.probabilities_for([row["id"] for row in rows]).argmax(axis=1), dtype=np.int64)
    tfidf = fit_tfidf([row["text"] for row in rows], targets, seed=seed)
    return {
        "majority": Answers(majority(targets, len(texts))),
        "tfidf-teacher": Answers(tfidf(texts)),
    }


def controls(folder: Path, ids: Sequence[str], *, labels: Sequence[str]) -> tuple[dict[str, Answers], dict[str, int]]:
    """What the controls in their sealed ``folder`` answered about ``ids``, and how many gold labels each saw."""
    table = pq.read_table(folder / "predictions.parquet").to_pylist()
    said = {(row["artifact"], row["id"]): labels.index(row["predicted"]) for row in table}
    seen = {row["artifact"]: row["gold_labels"] for row in table}
    answers = {name: Answers(np.array([said[name, identifier] for identifier in ids], dtype=np.int64)) for name in seen}
    return answers, seen
