"""One training run: its log, its best weights so far, its guards, and how it goes on after a kill.

:func:`stillhouse.distill.train.train` makes one for a classifier, :func:`stillhouse.distill.language.train_language`
one for a language model, and asks it to finish; the trainer reports each batch and step to it.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillhouse.distill import checkpoints
from stillhouse.errors import StillhouseError
from stillhouse.stock import quiet
from stillhouse.store import write_atomically

if TYPE_CHECKING:
    from torch import Tensor

Progress = Callable[[int, int, dict[str, float]], None]

# A gradient may vanish in one batch by chance; in all of the first five it says that nothing is learned.
_GRADIENT_STEPS = 5


class TrainingRun(ABC):
    """What every training run has; ``steps`` has to be known before it starts.

    evaluations: equal stretches, after each of which the student is measured. Global random states are the trainer's.
    """

    def __init__(
        self,
        model: Any,
        *,
        steps: int,
        evaluations: int,
        output: Path,
        save_checkpoints: bool,
        progress: Progress | None,
    ) -> None:
        self.model, self.steps, self.progress = model, steps, progress
        self.leads = not joined() or _group().get_rank() == 0
        self.output, self.folder, self.save_checkpoints = output, output / "checkpoints", save_checkpoints
        stretches = min(evaluations, steps)
        self.evaluate_at = {round(steps * (index + 1) / stretches) for index in range(stretches)}
        self.log: list[dict[str, float]] = []
        self.losses: list[float] = []
        self.largest_gradient = 0.0
        self.best_weights: dict[str, Tensor] = {}

    @abstractmethod
    def make_trainer(self, *, use_cpu: bool) -> Any:
        """A trainer that neither prints, nor evaluates, nor saves of its own accord, and reports to this run."""

    @abstractmethod
    def evaluate(self, step: int, learning_rate: float) -> dict[str, float]:
        """The entry of the log for ``step``."""

    @abstractmethod
    def best(self) -> dict[str, float]:
        """The best entry of the log; among equals the earliest."""

    @abstractmethod
    def material(self) -> Iterator[bytes]:
        """All that decides the result beside the starting weights: settings, rows, targets."""

    def finish(self, *, use_cpu: bool) -> dict[str, float]:
        """Train to the end, from the newest whole checkpoint if any; put the best weights in the model.

        Returns the log's entry about them.
        """
        self.output.mkdir(parents=True, exist_ok=True)
        self.fingerprint = self._fingerprint() if self.save_checkpoints else ""
        whole = self._checkpoints() if self.save_checkpoints else []
        newest = whole[-1] if whole else None
        if newest is not None:
            self.log = list(newest.log)
            wanted = self.best()["step"]
            self.best_weights = next(found for found in whole if found.step == wanted).weights()
        if newest is None or newest.step < self.steps:
            with quiet():
                trainer = self.make_trainer(use_cpu=use_cpu)
                trainer.train(resume_from_checkpoint=str(newest.folder) if newest else None)
        self._write_log()
        self.model.load_state_dict(self.best_weights, strict=False)  # tied weights are kept once
        self.model.eval()
        return self.best()

    def note_loss(self, step: int, loss: float) -> None:
        """Take in the loss of the batch of ``step``; stop where it is not a number."""
        self.stop_unless_finite("the loss", step, loss)
        self.losses.append(loss)

    def note_gradient(self, step: int) -> None:
        """Take in the gradients of one of the first steps; stop where all of them were zero."""
        if step > _GRADIENT_STEPS or self.largest_gradient > 0:
            return
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                # clipping scales by the norm: one gradient that is not finite leaves none that is
                self.stop_unless_finite("a gradient", step, size := float(parameter.grad.abs().max()))
                self.largest_gradient = max(self.largest_gradient, size)
        if step == min(_GRADIENT_STEPS, self.steps) and self.largest_gradient == 0:
            raise no_op(f"no gradient reached the student in the first {step} steps")

    def end_step(self, step: int, learning_rate: float) -> bool:
        """Evaluate if ``step`` ends a stretch, tell ``progress``; return whether a checkpoint is due."""
        numbers = {"loss": self.losses[-1]}
        due = step in self.evaluate_at
        if due:
            numbers = self.evaluate(step, learning_rate)
            self.log.append(numbers)
            self.losses.clear()
            if self.best() is numbers:
                self.best_weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self._write_log()
        if self.progress is not None and self.leads:
            self.progress(step, self.steps, dict(numbers))
        return due and self.save_checkpoints

    def seal(self, step: int) -> None:
        """Mark the checkpoint just written as whole and delete those of no more use."""
        if joined():
            _group().barrier()  # each process writes a part of it
        if not self.leads:
            return
        checkpoints.seal(checkpoints.folder_of(self.folder, step), self.fingerprint, self.log)
        checkpoints.prune(self.folder, keep={step, int(self.best()["step"])})

    def stop_unless_finite(self, what: str, step: int, number: float) -> None:
        """Raise :class:`StillhouseError` for a number that is none."""
        if not math.isfinite(number):
            raise StillhouseError(
                f"{what} is {number} at step {step} of {self.steps}",
                where="training",
                fix="lower the learning rate, or lengthen the warm-up",
            )

    def _checkpoints(self) -> list[checkpoints.Checkpoint]:
        """Whole ones, after the first process has cleared away the others."""
        if not self.leads:
            _group().barrier()
        found = checkpoints.find(self.folder, self.fingerprint)
        if self.leads and joined():
            _group().barrier()
        return found

    def _write_log(self) -> None:
        if not self.leads:
            return
        lines = "".join(json.dumps(entry) + "\n" for entry in self.log)
        write_atomically(self.output / "training.jsonl", lines.encode("utf-8"))

    def _fingerprint(self) -> str:
        """A digest of all that decides the result: the material and the starting weights."""
        import torch

        digest = hashlib.sha256()
        for part in self.material():
            digest.update(part)
        digest.update(self.model.config.to_json_string().encode())
        for name, tensor in self.model.state_dict().items():
            raw = tensor.detach().cpu().flatten().view(torch.uint8)  # numpy knows no bfloat16
            digest.update(name.encode() + raw.numpy().tobytes())
        return digest.hexdigest()


def _group() -> Any:
    from torch import distributed

    return distributed


def joined() -> bool:
    """Whether this is one of several processes that train together."""
    return bool(_group().is_available() and _group().is_initialized())


def no_op(why: str) -> StillhouseError:
    """Return the error for a run that would change nothing."""
    return StillhouseError(
        f"no-op: {why}, so training would change nothing",
        where="training",
        fix="unfreeze the student, and check that it does not already answer exactly as the teacher",
    )
