"""A sequence classifier on this machine as a teacher: its own classes, mapped to the recipe's labels by name.

teacher = ClassifierTeacher.load(files, placement)
teacher.answers(prompt, ["good", "bad"])     # the names of its classes, from `ferment.prompt.words`
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.addresses import Files
from stillhouse.device import Placement
from stillhouse.errors import StillhouseError
from stillhouse.prompts import Prompt
from stillhouse.store import digest_of
from stillhouse.student import load_classifier, max_length
from stillhouse.teachers.capabilities import CLASSIFIER, require
from stillhouse.teachers.protocol import Capability, Questions


class ClassifierTeacher:
    """A loaded classifier with its tokenizer. Made by :meth:`load`. It reads the text alone, no prompt."""

    capabilities: frozenset[Capability] = CLASSIFIER

    def __init__(self, model: Any, tokenizer: Any, weights_digest: str, placement: Placement) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.placement = placement
        self._weights_digest = weights_digest

    @classmethod
    def load(cls, files: Files, placement: Placement) -> ClassifierTeacher:
        """Load the classifier that ``files`` holds; raises :class:`StillhouseError` when it is none."""
        import torch

        require(files, "label-probabilities", what="a text classifier")
        config = next(path for path in files.files if path.name == "config.json")
        model, tokenizer = load_classifier(config.parent)
        model = model.to(getattr(torch, placement.dtype)).requires_grad_(False).to(placement.device)
        return cls(model, tokenizer, files.digest, placement)

    def identity(self) -> dict[str, Any]:
        """Weights, tokenizer and precision."""
        return {
            "kind": "classifier",
            "weights": self._weights_digest,
            "tokenizer": digest_of(self.tokenizer.backend_tokenizer.to_str()),
            "precision": self.placement.dtype,
        }

    def render(self, prompt: Prompt, text: str) -> str:
        """The text itself."""
        return text

    def answers(self, prompt: Prompt, labels: Sequence[str]) -> list[str]:
        """The classes that stand for the labels."""
        return [prompt.words[label] for label in labels]

    def questions(self, prompts: Sequence[str], answers: Sequence[str]) -> Questions:
        """Tokenize N texts; each answer is the number of the class of that name. Raises :class:`StillhouseError` where
        the names and the classes are not the same set."""
        classes = {str(name): index for index, name in self.model.config.id2label.items()}
        if set(answers) != set(classes):
            raise StillhouseError(
                f"the teacher's classes are {', '.join(classes)}, the recipe asks for {', '.join(answers)}",
                where="ferment.prompt.words",
                fix="name the teacher's class for each label, as in `words: {good: POSITIVE, bad: NEGATIVE}`",
            )
        longest = max_length(self.tokenizer, self.model.config)
        encoded = self.tokenizer(list(prompts))["input_ids"] if prompts else []
        refused = {
            row: f"the text has {len(ids)} tokens, the teacher takes {longest}"
            for row, ids in enumerate(encoded)
            if len(ids) > longest
        }
        return Questions((), tuple(map(tuple, encoded)), tuple((classes[answer],) for answer in answers), refused)

    def score(self, questions: Questions, rows: Sequence[int]) -> npt.NDArray[np.float64]:
        """See :class:`stillhouse.teachers.protocol.Teacher`; rows of one length, so that no padding is computed."""
        import torch

        ids = torch.tensor([list(questions.rest[row]) for row in rows], device=self.model.device)
        with torch.inference_mode():
            log_probs = self.model(input_ids=ids).logits.float().log_softmax(-1)
        chosen = log_probs[:, [answer[0] for answer in questions.answers]]
        return np.asarray(chosen.double().cpu().numpy(), dtype=np.float64)


def is_classifier(folder: Path) -> bool:
    """Whether a model folder holds a sequence classifier, by its config."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return any(str(name).endswith("ForSequenceClassification") for name in config.get("architectures") or [])
    except (OSError, ValueError, AttributeError):
        return False
