"""Training a student classifier on a teacher's probabilities, on the ``Trainer`` of transformers.

The weights that are best on the validation texts end up in the model that was given. A run that was killed is
resumed by calling it again with the same arguments, and ends with the weights it would have had, bit for bit,
on the same machine with the same number of threads::

    model, tokenizer = keep_layers(Path("encoder"), labels=["no", "yes"], keep=3, seed=7)
    trained = train(
        model, tokenizer, texts=texts, target_probs=probs, validation_texts=held, validation_probs=held_probs,
        output=Path("out"), epochs=2, batch_size=16, learning_rate=3e-4, warmup_share=0.1, weight_decay=0.01,
        temperature=1.0, hard_weight=0.0, hard_labels=None, max_length=64, seed=7, evaluations=4,
        save_checkpoints=True,
    )
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillhouse.distill.classifier_run import ClassifierRun, Settings, Trained
from stillhouse.distill.training_run import Progress, no_op
from stillhouse.errors import StillhouseError

__all__ = ["Progress", "Trained", "train"]

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    texts: Sequence[str],
    target_probs: NDArray[np.floating[Any]],  # (N, K)
    validation_texts: Sequence[str],
    validation_probs: NDArray[np.floating[Any]],  # (M, K)
    output: Path,
    epochs: float,
    batch_size: int,
    learning_rate: float,
    warmup_share: float,
    weight_decay: float,
    temperature: float,
    hard_weight: float,
    hard_labels: Sequence[int] | None,  # (N,)
    max_length: int,
    seed: int,
    evaluations: int,
    save_checkpoints: bool,
    threads: int | None = None,
    use_cpu: bool = True,
    progress: Progress | None = None,
) -> Trained:
    """Train ``model`` in place and leave in it the weights that agreed best with the teacher.

    The loss of an example is ``(1 - hard_weight) · soft_label_kl + hard_weight · cross_entropy``, the second
    against ``hard_labels`` or, where None, the teacher's argmax; a batch takes the mean. AdamW, a linear
    warm-up over ``warmup_share`` of the steps, then linearly down to zero, gradients clipped at norm 1; only
    parameters with ``requires_grad`` move. After each of ``evaluations`` equal stretches the student is
    compared with the teacher on the validation texts; ties go to the lower KL, then to the earlier step.

    ``output`` receives ``training.jsonl`` (the log) and, with ``save_checkpoints``, ``checkpoints/`` with the
    best and the newest. ``threads`` sets torch's threads for the run. ``progress`` hears (step, steps,
    numbers) after each step: ``{"loss": …}``, or the whole log entry where the step ended with an evaluation.
    Global random states are reseeded.

    Raises :class:`StillhouseError` for arguments that make no sense or do not fit each other, targets or
    losses that are not finite, weights that receive no gradient, and checkpoints of another run in
    ``output``.
    """
    import torch

    settings = Settings(
        epochs,
        batch_size,
        learning_rate,
        warmup_share,
        weight_decay,
        temperature,
        hard_weight,
        max_length,
        seed,
        evaluations,
    )
    _check_settings(settings)
    classes = int(model.config.num_labels)
    targets = _check_probabilities("target_probs", target_probs, len(texts), classes)
    held = _check_probabilities("validation_probs", validation_probs, len(validation_texts), classes)
    hard = _check_hard_labels(hard_labels, targets)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise no_op("every parameter of the student is frozen")

    encoded = tokenizer(list(texts), truncation=True, max_length=max_length)
    rows = [
        {
            **{key: encoded[key][row] for key in encoded},
            "target_probs": targets[row],
            "hard_labels": hard[row],
        }
        for row in range(len(texts))
    ]
    run = ClassifierRun(
        model, tokenizer, settings, rows, list(validation_texts), held, output, save_checkpoints, progress
    )
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        kept = run.finish(use_cpu=use_cpu)
        return Trained(run.steps, int(kept["step"]), kept["agreement"], run.log)
    finally:
        torch.set_num_threads(before)


def _check_settings(settings: Settings) -> None:
    faults = {
        "epochs": settings.epochs > 0,
        "batch_size": settings.batch_size >= 1,
        "learning_rate": settings.learning_rate > 0,
        "warmup_share": 0 <= settings.warmup_share <= 1,
        "weight_decay": settings.weight_decay >= 0,
        "temperature": settings.temperature > 0,
        "hard_weight": 0 <= settings.hard_weight <= 1,
        "max_length": settings.max_length >= 3,  # a special token, a token of text, a special token
        "evaluations": settings.evaluations >= 1,
        "seed": settings.seed >= 0,
    }
    for name, fits in faults.items():
        value = getattr(settings, name)
        if not fits or not math.isfinite(value):
            raise StillhouseError(
                f"{name} is {value}",
                where="training",
                fix="shares lie between 0 and 1, the others are above 0",
            )


def _check_probabilities(
    name: str, probs: NDArray[np.floating[Any]], rows: int, classes: int
) -> NDArray[np.float64]:  # (rows, classes)
    if rows == 0:
        raise StillhouseError(f"there are no texts for {name}", where="training", fix="give at least one row")
    if probs.shape != (rows, classes):
        raise StillhouseError(
            f"{name} has shape {probs.shape} for {rows} texts and a student with {classes} classes",
            where="training",
            fix="give one row per text and one column per label of the student, in the same order",
        )
    wide = np.asarray(probs, dtype=np.float64)
    wrong = ~np.isfinite(wide).all(axis=1) | (wide < 0).any(axis=1) | (np.abs(wide.sum(axis=1) - 1) > 1e-3)
    if wrong.any():
        raise StillhouseError(
            f"{int(wrong.sum())} rows of {name} are not finite probabilities that sum to 1",
            where=f"{name}, row {int(wrong.argmax())}",
            fix="give the softmax of the teacher's logits, and drop the rows that it could not answer",
        )
    return wide


def _check_hard_labels(hard_labels: Sequence[int] | None, targets: NDArray[np.float64]) -> list[int]:
    if hard_labels is None:
        return [int(label) for label in targets.argmax(axis=1)]
    labels = [int(label) for label in hard_labels]
    if len(labels) != len(targets) or not all(0 <= label < targets.shape[1] for label in labels):
        raise StillhouseError(
            f"hard_labels does not give each of {len(targets)} texts one of {targets.shape[1]} classes",
            where="training",
            fix="give one class index per text, counted from 0",
        )
    return labels
