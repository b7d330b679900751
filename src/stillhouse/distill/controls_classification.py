"""The controls: what the same student, or TF-IDF, reaches on gold labels. They are measured, never shipped.

Reads ``1-raw``; writes ``predictions.parquet`` with one row per control and test document.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse import documents
from stillhouse.baselines import fit_tfidf
from stillhouse.distill.stage_classification import base_folder, build_student, train_student
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.classification import Classification
from stillhouse.store import reached, scratch_folder
from stillhouse.student import predict_proba
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy", "scikit-learn")
_MOST_EPOCHS = 20  # a few labels are seen at most so often, however long the full training is

Predictions = np.ndarray[Any, Any]


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """Nothing can be said of this step before the work."""
    return []


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    assert recipe.controls is not None  # noqa: S101 - the plan has no such step otherwise
    number = {label: index for index, label in enumerate(recipe.labels)}
    gold: dict[str, tuple[list[str], Predictions]] = {}
    for split in documents.SPLITS:
        table = documents.read(places.sealed("raw"), split).to_pylist()
        known = [row for row in table if row["label"] is not None]
        gold[split] = (
            [row["text"] for row in known],
            np.array([number[row["label"]] for row in known], dtype=np.int64),
        )
    if len(np.unique(gold["train"][1])) < 2 or not len(gold["validation"][1]):
        raise StillhouseError(
            "the controls need gold labels of at least two kinds in the training and validation documents",
            where="controls",
            fix="map a gold label in `raw.sources.*.columns.label`, or remove the `controls` section",
        )
    test_ids = [row["id"] for row in documents.read(places.sealed("raw"), "test").to_pylist()]
    found: dict[str, Predictions] = {}
    available = len(gold["train"][1])
    seen = {"tfidf-gold": available, "student-gold": available}  # how many gold labels each control saw
    if "tfidf-gold" in recipe.controls.kinds:
        found["tfidf-gold"] = fit_tfidf(*gold["train"], seed=recipe.distill.train.seed)(gold["test"][0])
    for size in _sizes(recipe, available):
        name = "student-gold" if size is None else f"student-gold-{size}"
        seen[name] = size or available
        found[name] = _student_on_gold(recipe, places, progress, gold, size, name)
    columns = {
        "artifact": [name for name in found for _ in test_ids],
        "id": test_ids * len(found),
        "gold_labels": [seen[name] for name in found for _ in test_ids],
        "predicted": [recipe.labels[label] for predicted in found.values() for label in predicted],
    }
    pq.write_table(pa.table(columns), places.draft / "predictions.parquet")
    reached("controls-written")
    kept = len(test_ids)
    return StageResult({"rows_in": kept, "kept": kept, "cut": 0, "failed": 0, "controls": list(found)})


def _sizes(recipe: Classification, available: int) -> list[int | None]:
    assert recipe.controls is not None  # noqa: S101
    sizes: list[int | None] = [None] if "student-gold" in recipe.controls.kinds else []
    if "gold-curve" in recipe.controls.kinds:
        sizes += [size for size in sorted(recipe.controls.gold_curve) if size < available]
    return sizes


def _student_on_gold(
    recipe: Classification,
    places: Places,
    progress: Progress,
    gold: dict[str, tuple[list[str], Predictions]],
    size: int | None,
    name: str,
) -> Predictions:
    """The recipe's student, trained on the first ``size`` gold labels; few labels get more epochs, up to a limit."""
    texts, labels = gold["train"]
    size = len(texts) if size is None else size
    epochs = min(_MOST_EPOCHS * 1.0, recipe.distill.train.epochs * len(texts) / size)
    one_hot = np.eye(len(recipe.labels))
    # as many gold labels choose the checkpoint as a tenth of those that train: nobody has more to spare
    held_out = max(2, min(len(gold["validation"][0]), size // 10))
    base = base_folder(recipe, cache=places.cache, base=places.base)
    model, tokenizer = build_student(recipe, base, recipe.distill.train.seed)
    output = scratch_folder(places.draft) / name
    output.mkdir(exist_ok=True)
    train_student(
        recipe,
        model,
        tokenizer,
        train_on=(texts[:size], one_hot[labels[:size]]),
        validate_on=(gold["validation"][0][:held_out], one_hot[gold["validation"][1][:held_out]]),
        output=output,
        progress=progress,
        seed=recipe.distill.train.seed,
        epochs=epochs,
        what=f"control {name}",
    )
    probs = predict_proba(model, tokenizer, gold["test"][0], max_length=recipe.distill.train.max_length)
    shutil.rmtree(output)
    return np.asarray(probs.argmax(axis=1), dtype=np.int64)
