"""The training run of a classifier: its rows, their batches, and how it is compared with the teacher."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stillhouse.distill.batches import plan_batches
from stillhouse.distill.training_run import Progress, TrainingRun
from stillhouse.student import predict_proba

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


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


class ClassifierRun(TrainingRun):
    """A classifier on a teacher's probabilities."""

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
        self.tokenizer, self.settings, self.rows = tokenizer, settings, rows
        self.validation_texts, self.validation_probs = validation_texts, validation_probs
        self.batches = plan_batches(
            [len(row["input_ids"]) for row in rows],
            settings.batch_size,
            epochs=settings.epochs,
            seed=settings.seed,
        )
        super().__init__(
            model,
            steps=len(self.batches),
            evaluations=settings.evaluations,
            output=output,
            save_checkpoints=save_checkpoints,
            progress=progress,
        )

    def make_trainer(self, *, use_cpu: bool) -> Any:
        """See :class:`TrainingRun`."""
        from stillhouse.distill.trainer import build  # heavy, and it needs this module

        return build(self, use_cpu=use_cpu)

    def best(self) -> dict[str, float]:
        """The entry with the highest agreement; among equals the lowest KL, then the earliest."""
        return best(self.log)

    def evaluate(self, step: int, learning_rate: float) -> dict[str, float]:
        """Agreement and KL on the validation texts."""
        settings = self.settings
        answers = predict_proba(self.model, self.tokenizer, self.validation_texts, max_length=settings.max_length)
        self.stop_unless_finite("an answer on the validation texts", step, float(answers.sum()))
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

    def material(self) -> Iterator[bytes]:
        """Settings, token ids, targets."""
        yield json.dumps(asdict(self.settings), sort_keys=True).encode()
        for row in self.rows:
            yield np.asarray(row["input_ids"], dtype=np.int64).tobytes()
            yield row["target_probs"].tobytes() + bytes(str(row["hard_labels"]), "ascii")
        yield json.dumps(self.validation_texts).encode() + self.validation_probs.tobytes()


def best(log: Sequence[dict[str, float]]) -> dict[str, float]:
    """The entry with the highest agreement; among equals the lowest KL, then the earliest."""
    return min(log, key=lambda entry: (-entry["agreement"], entry["validation_kl"], entry["step"]))
