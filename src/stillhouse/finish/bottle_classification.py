"""A bottle of ``text-classification``: labels and their probabilities, from the exported artifact.

bottle.predict(["a fine film"])                        # [("positive", 0.97)]
bottle.predict(["a fine film"], teacher=ask)           # where the student is not sure enough, the teacher's answer
bottle.sorted_out(["a fine film"], teacher=ask)        # the same, with who said it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.finish.abstain import Abstaining, answered
from stillhouse.finish.bottle import AskTeacher, Bottle, Messages, no_bottle
from stillhouse.finish.export.onnx import OnnxClassifier


@dataclass(frozen=True)
class Sorted:
    """A label with its probability, and who said it. abstained: the student was not sure enough.

    failure: why the teacher, who was asked, gave no usable answer; the label is the student's then.
    """

    label: str
    probability: float
    by: Literal["student", "teacher"] = "student"
    abstained: bool = False
    failure: str | None = None


@dataclass(frozen=True)
class Classifier(Bottle):
    """A bottle of ``text-classification``, opened in onnxruntime. abstaining: when it passes on, if it ever does."""

    labels: tuple[str, ...]
    classifier: Any
    abstaining: Abstaining | None = None

    @classmethod
    def load(cls, folder: Path, label: dict[str, Any], *, threads: int | None = None) -> Classifier:
        """The artifact that ``label`` names."""
        try:
            artifact = folder / label["shipped"]["file"]
            labels = tuple(label["labels"])
            longest = int(label["shipped"]["max_length"])
        except (ValueError, KeyError, TypeError) as error:
            raise no_bottle(folder) from error
        if longest < 1 or len(labels) < 2:
            raise no_bottle(folder)
        abstaining = Abstaining.of_row(label["abstain"]) if label.get("abstain") else None
        opened = OnnxClassifier(artifact, folder, max_length=longest, threads=threads)
        return cls(folder, label, labels, opened, abstaining)

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Probabilities (N, K), columns in the order of ``labels``."""
        found = np.asarray(self.classifier.predict_proba(texts, batch_size=batch_size), dtype=np.float32)
        if len(found) and found.shape[1] != len(self.labels):
            raise StillhouseError(
                f"the model tells {found.shape[1]} labels apart, and its label.json names {len(self.labels)}",
                where=str(self.folder),
                fix="take the bottle again from where it was made",
            )
        return found

    def predict(
        self, texts: Sequence[str], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[tuple[str, float]]:
        """The most probable label of each text, and its probability. teacher: asked where the student abstains."""
        return [(one.label, one.probability) for one in self.sorted_out(texts, batch_size=batch_size, teacher=teacher)]

    def sorted_out(
        self, texts: Sequence[str], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[Sorted]:
        """The label of each text and who said it; ``teacher`` is asked about those that the student passes on, only.

        Raises :class:`StillhouseError` where a teacher is given and the bottle has no threshold.
        """
        if teacher is not None and self.abstaining is None:
            raise StillhouseError(
                "this bottle has no threshold for abstaining, so nothing can be passed on",
                where=str(self.folder),
                fix="leave --cascade out, or bottle the student with `finish.abstain`",
            )
        probs = self.predict_proba(texts, batch_size=batch_size)
        threshold = self.abstaining.threshold if self.abstaining else 0.0
        found = [
            Sorted(self.labels[int(row.argmax())], float(row.max()), abstained=not sure)
            for row, sure in zip(probs, answered(probs, threshold), strict=True)
        ]
        passed_on = [place for place, one in enumerate(found) if one.abstained]
        if teacher is not None and passed_on:
            said = teacher([texts[place] for place in passed_on])
            for place, one in zip(passed_on, said, strict=True):
                found[place] = _of_teacher(found[place], one)
        return found

    def records(
        self, prompts: Sequence[str | Messages], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[dict[str, object]]:
        """Label and probability of each text; ``abstained``, ``by`` and ``teacher_failed`` where there is reason to."""
        found = self.sorted_out([str(prompt) for prompt in prompts], batch_size=batch_size, teacher=teacher)
        return [_record(one, asked=teacher is not None) for one in found]


def _of_teacher(own: Sorted, said: tuple[str, float] | str) -> Sorted:
    if isinstance(said, str):
        return Sorted(own.label, own.probability, abstained=True, failure=said)
    return Sorted(said[0], said[1], by="teacher", abstained=True)


def _record(one: Sorted, *, asked: bool) -> dict[str, object]:
    record: dict[str, object] = {"label": one.label, "probability": round(one.probability, 6)}
    if one.abstained:
        record["abstained"] = True
    if asked:
        record["by"] = one.by
    if one.failure is not None:
        record["teacher_failed"] = one.failure
    return record
