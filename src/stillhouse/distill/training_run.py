"""One training run: its log, its best weights so far, its guards, and how it goes on after a kill.

:func:`stillhouse.distill.train.train` makes one and asks it to finish; the trainer reports each batch and
step to it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillhouse.distill import checkpoints
from stillhouse.distill.batches import plan_batches
from stillhouse.errors import StillhouseError
from stillhouse.store import write_atomically
from stillhouse.student import predict_proba, quiet

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Progress = Callable[[int, int, dict[str, float]], None]

# A gradient may vanish in one batch by chance; in all of the first five it says that nothing is learned.
_GRADIENT_STEPS = 5


@dataclass(frozen=True)
class Trained:
    """How a run went: its steps, the one whose weights were kept, and one entry per evaluation.

    An entry has ``step``, ``epoch``, ``loss`` (mean over the steps since the entry before),
    ``learning_rate``, ``agreement`` (share of validation texts whose argmax is the teacher's) and
    ``validation_kl`` (nats per text).
    """

    steps: int
    best_step: int
    best_agreement: float
    log: list[dict[str, float]]


@dataclass(frozen=True)
class Settings:
    """The numbers of a run; together with data and starting weights they decide every bit of the result."""

    epochs: float
    batch_size: int
    learning_rate: float
    warmup_share: float
    weight_decay: float
    temperature: float
    hard_weight: float
    max_length: int
    seed: int
    evaluations: int


class TrainingRun:
    """One training run: the order of its rows, its log, its best weights, how it goes on after a kill."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        settings: Settings,
        rows: list[dict[str, Any]],
        validation_texts: list[str],
        validation_probs: NDArray[np.float64],
        output: Path,
        save_checkpoints: bool,
        progress: Progress | None,
    ) -> None:
        self.model, self.tokenizer, self.settings, self.rows = model, tokenizer, settings, rows
        self.validation_texts, self.validation_probs = validation_texts, validation_probs
        self.output, self.folder, self.save_checkpoints = output, output / "checkpoints", save_checkpoints
        self.progress = progress
        self.batches = plan_batches(
            [len(row["input_ids"]) for row in rows],
            settings.batch_size,
            epochs=settings.epochs,
            seed=settings.seed,
        )
        self.steps = len(self.batches)
        stretches = min(settings.evaluations, self.steps)
        self.evaluate_at = {round(self.steps * (index + 1) / stretches) for index in range(stretches)}
        self.log: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.largest_gradient = 0.0
        self.best_weights: dict[str, Tensor] = {}

    def finish(self, *, use_cpu: bool) -> Trained:
        """Train to the end, from the newest whole checkpoint if any; put the best weights in the model."""
        self.output.mkdir(parents=True, exist_ok=True)
        self.fingerprint = self._fingerprint() if self.save_checkpoints else ""
        whole = checkpoints.find(self.folder, self.fingerprint) if self.save_checkpoints else []
        newest = whole[-1] if whole else None
        if newest is not None:
            self.log = list(newest.log)
            wanted = checkpoints.best(self.log)["step"]
            self.best_weights = next(found for found in whole if found.step == wanted).weights()
        if newest is None or newest.step < self.steps:
            from stillhouse.distill.trainer import build  # heavy, and it needs this module

            with quiet():
                trainer = build(self, use_cpu=use_cpu)
                trainer.train(resume_from_checkpoint=str(newest.folder) if newest else None)
        self._write_log()
        self.model.load_state_dict(self.best_weights)
        self.model.eval()
        kept = checkpoints.best(self.log)
        return Trained(self.steps, int(kept["step"]), kept["agreement"], self.log)

    def note_loss(self, step: int, loss: float) -> None:
        """Take in the loss of the batch of ``step``; stop where it is not a number."""
        self._stop_unless_finite("the loss", step, loss)
        self.losses.append(loss)

    def note_gradient(self, step: int) -> None:
        """Take in the gradients of one of the first steps; stop where all of them were zero."""
        if step > _GRADIENT_STEPS or self.largest_gradient > 0:
            return
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                # clipping scales by the norm: one gradient that is not finite leaves none that is
                self._stop_unless_finite("a gradient", step, size := float(parameter.grad.abs().max()))
                self.largest_gradient = max(self.largest_gradient, size)
        if step == min(_GRADIENT_STEPS, self.steps) and self.largest_gradient == 0:
            raise no_op(f"no gradient reached the student in the first {step} steps")

    def end_step(self, step: int, learning_rate: float) -> bool:
        """Evaluate if ``step`` ends a stretch, tell ``progress``; return whether a checkpoint is due."""
        numbers = {"loss": self.losses[-1]}
        due = step in self.evaluate_at
        if due:
            numbers = self._evaluate(step, learning_rate)
            self.log.append(numbers)
            self.losses.clear()
            if checkpoints.best(self.log) is numbers:
                self.best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self._write_log()
        if self.progress is not None:
            self.progress(step, self.steps, dict(numbers))
        return due and self.save_checkpoints

    def seal(self, step: int) -> None:
        """Mark the checkpoint just written as whole and delete those of no more use."""
        checkpoints.seal(checkpoints.folder_of(self.folder, step), self.fingerprint, self.log)
        checkpoints.prune(self.folder, keep={step, int(checkpoints.best(self.log)["step"])})

    def _evaluate(self, step: int, learning_rate: float) -> dict[str, float]:
        settings = self.settings
        answers = predict_proba(self.model, self.tokenizer, self.validation_texts, max_length=settings.max_length)
        self._stop_unless_finite("an answer on the validation texts", step, float(answers.sum()))
        target = self.validation_probs
        smallest = np.finfo(np.float32).tiny
        gap = np.log(np.maximum(target, smallest)) - np.log(np.maximum(answers, smallest))
        return {
            "step": step,
            "epoch": sum(map(len, self.batches[:step])) / len(self.rows),
            "loss": float(np.mean(self.losses)),
            "learning_rate": learning_rate,
            "agreement": float(np.mean(answers.argmax(axis=1) == target.argmax(axis=1))),
            "validation_kl": float((target * gap).sum(axis=1).mean()),
        }

    def _stop_unless_finite(self, what: str, step: int, number: float) -> None:
        if not math.isfinite(number):
            raise StillhouseError(
                f"{what} is {number} at step {step} of {self.steps}",
                where="training",
                fix="lower the learning rate, or lengthen the warm-up",
            )

    def _write_log(self) -> None:
        lines = "".join(json.dumps(entry) + "\n" for entry in self.log)
        write_atomically(self.output / "training.jsonl", lines.encode("utf-8"))

    def _fingerprint(self) -> str:
        """Return a digest of all that decides the result: settings, token ids, targets, starting weights."""
        import torch

        digest = hashlib.sha256(json.dumps(asdict(self.settings), sort_keys=True).encode())
        for row in self.rows:
            digest.update(np.asarray(row["input_ids"], dtype=np.int64).tobytes())
            digest.update(row["target_probs"].tobytes() + bytes(str(row["hard_labels"]), "ascii"))
        digest.update(json.dumps(self.validation_texts).encode() + self.validation_probs.tobytes())
        digest.update(self.model.config.to_json_string().encode())
        for name, tensor in self.model.state_dict().items():
            raw = tensor.detach().cpu().flatten().view(torch.uint8)  # numpy knows no bfloat16
            digest.update(name.encode() + raw.numpy().tobytes())
        return digest.hexdigest()


def no_op(why: str) -> StillhouseError:
    """Return the error for a run that would change nothing."""
    return StillhouseError(
        f"no-op: {why}, so training would change nothing",
        where="training",
        fix="unfreeze the student, and check that it does not already answer exactly as the teacher",
    )
