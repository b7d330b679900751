"""A bottle of ``text-classification``: labels and their probabilities, from the exported artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.finish.bottle import Bottle, Messages, no_bottle
from stillhouse.finish.export.onnx import OnnxClassifier


@dataclass(frozen=True)
class Classifier(Bottle):
    """A bottle of ``text-classification``, opened in onnxruntime."""

    labels: tuple[str, ...]
    classifier: Any

    @classmethod
    def load(cls, folder: Path, label: dict[str, Any], *, threads: int | None = None) -> Classifier:
        """The artifact that ``label`` names."""
        try:
            artifact = folder / label["shipped"]["file"]
            labels = tuple(label["labels"])
            longest = int(label["shipped"]["max_length"])
        except (ValueError, KeyError, TypeError) as error:
            raise no_bottle(folder) from error
        return cls(folder, label, labels, OnnxClassifier(artifact, folder, max_length=longest, threads=threads))

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Probabilities (N, K), columns in the order of ``labels``."""
        return np.asarray(self.classifier.predict_proba(texts, batch_size=batch_size), dtype=np.float32)

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> list[tuple[str, float]]:
        """The most probable label of each text, and its probability."""
        probs = self.predict_proba(texts, batch_size=batch_size)
        best = probs.argmax(axis=1)
        return [(self.labels[index], float(row[index])) for index, row in zip(best, probs, strict=True)]

    def records(self, prompts: Sequence[str | Messages], *, batch_size: int = 32) -> list[dict[str, object]]:
        """Label and probability of each text."""
        found = self.predict([str(prompt) for prompt in prompts], batch_size=batch_size)
        return [{"label": label, "probability": round(share, 6)} for label, share in found]
