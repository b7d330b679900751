"""Stage 3: builds the student and trains it on the teacher's signals. Gold labels are never read here.

Reads ``1-raw``, ``2-ferment`` and, where the recipe has cuts, ``3-cuts``, whose heart it learns; writes ``student/`` (a
stock transformers folder) and ``training.jsonl``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stillhouse import cuts, documents
from stillhouse.addresses import Files, peek, resolve
from stillhouse.cuts import Balance
from stillhouse.device import place
from stillhouse.distill.students import check_base, from_config, keep_layers
from stillhouse.distill.train import Trained, train
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.classification import Classification, FromConfig, KeepLayers
from stillhouse.signals import ClassProbs
from stillhouse.store import reached, scratch_folder
from stillhouse.student import save_student
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    signal = ClassProbs.read(places.sealed("ferment"))
    taught = set(signal.ids)
    left = _left(recipe, places)
    split: dict[str, tuple[list[str], np.ndarray[Any, Any]]] = {}
    rows_in = 0
    for name in ("train", "validation"):
        table = documents.read(places.sealed("raw"), name)
        rows_in += len(table)
        pairs = [
            (identifier, text)
            for identifier, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
            if identifier in taught and identifier not in left
        ]
        split[name] = ([text for _, text in pairs], signal.probabilities_for([pair[0] for pair in pairs]))
    base = base_folder(recipe, cache=places.cache, base=places.base)
    model, tokenizer = build_student(recipe, base, recipe.distill.train.seed)
    trained = train_student(
        recipe,
        model,
        tokenizer,
        train_on=split["train"],
        validate_on=split["validation"],
        output=scratch_folder(places.draft),
        progress=progress,
        seed=recipe.distill.train.seed,
        epochs=recipe.distill.train.epochs,
    )
    (scratch_folder(places.draft) / "training.jsonl").replace(places.draft / "training.jsonl")
    save_student(model, tokenizer, places.draft / "student")
    reached("student-written")
    kept = len(split["train"][0]) + len(split["validation"][0])
    # a document that the teacher failed on has no signal: it was counted as failed in stage 2 and never came here
    balance = Balance(kept, kept, 0, 0).check("3-distill")
    summary = {
        "rows_in": balance.rows_in,
        "kept": balance.kept,
        "cut": balance.cut,
        "failed": balance.failed,
        "without_signal": rows_in - len(left) - kept,
        "left_in_cuts": len(left),
        "trained_on": len(split["train"][0]),
        "gold_labels_used": 0,
        "parameters": int(model.num_parameters()),
        "steps": trained.steps,
        "best_step": trained.best_step,
        "best_validation_agreement": trained.best_agreement,
    }
    return StageResult(summary)


def _left(recipe: Classification, places: Places) -> set[str]:
    """Ids of the documents that the step `cuts` took out."""
    if recipe.distill.cuts is None:
        return set()
    table = cuts.read(places.sealed("cuts"))
    return set(table["id"].to_pylist())


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the student before any work, if the model that it starts from is already here."""
    student = recipe.distill.student
    try:
        files = peek(student.base, cache=cache, base=base)
        if files is not None:
            folder = _folder_of(files)
            if isinstance(student, KeepLayers):
                check_base(folder, student.keep)
    except StillhouseError as error:
        return list(error.problems)
    return []


def base_folder(recipe: Classification, *, cache: Path, base: Path) -> Path:
    """The folder of the model that the student starts from, fetched if need be."""
    return _folder_of(resolve(recipe.distill.student.base, cache=cache, base=base))


def _folder_of(files: Files) -> Path:
    config = next((path for path in files.files if path.name == "config.json"), None)
    if config is None:
        raise StillhouseError(
            "there is no config.json among the files",
            where=f"distill.student.base: {files.address}",
            fix="point the address at a transformers model folder",
        )
    return config.parent


def build_student(recipe: Classification, base: Path, seed: int) -> tuple[Any, Any]:
    """An untrained student and its tokenizer, as the recipe's section says."""
    student = recipe.distill.student
    match student:
        case KeepLayers():
            return keep_layers(base, labels=recipe.labels, keep=student.keep, seed=seed)
        case FromConfig():
            return from_config(
                base,
                labels=recipe.labels,
                seed=seed,
                layers=student.layers,
                hidden_size=student.hidden_size,
                heads=student.heads,
                intermediate_size=student.intermediate_size,
            )


def train_student(
    recipe: Classification,
    model: Any,
    tokenizer: Any,
    *,
    train_on: tuple[list[str], np.ndarray[Any, Any]],
    validate_on: tuple[list[str], np.ndarray[Any, Any]],
    output: Path,
    progress: Progress,
    seed: int,
    epochs: float,
    what: str = "training the student",
) -> Trained:
    """Train ``model`` in place on (texts, probabilities (N, K)) with the recipe's settings."""
    settings, loss = recipe.distill.train, recipe.distill.loss
    return train(
        model,
        tokenizer,
        texts=train_on[0],
        target_probs=train_on[1],
        validation_texts=validate_on[0],
        validation_probs=validate_on[1],
        output=output,
        epochs=epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_share=settings.warmup_share,
        weight_decay=settings.weight_decay,
        temperature=loss.temperature,
        hard_weight=loss.hard_weight,
        hard_labels=None,
        max_length=settings.max_length,
        seed=seed,
        evaluations=settings.evaluations,
        save_checkpoints=True,
        threads=settings.threads,
        use_cpu=place(settings.device, "float32").device == "cpu",
        progress=lambda done, total, _: progress(what, done, total),
    )
