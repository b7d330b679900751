"""What stage 2 needs of a teacher, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from stillhouse.device import Placement
from stillhouse.prompts import Prompt

Capability = Literal["label-probabilities", "text", "next-token-distributions", "vectors"]


@dataclass(frozen=True)
class Questions:
    """Tokenized prompts about N documents.

    prefix: token ids that all prompts begin with, computed once. rest: N lists of ids that follow it.
    answers: K lists of ids, one for each label. refused: document number to the reason it cannot be asked.
    """

    prefix: tuple[int, ...]
    rest: tuple[tuple[int, ...], ...]
    answers: tuple[tuple[int, ...], ...]
    refused: dict[int, str]

    def batches(self, batch_tokens: int) -> list[list[int]]:
        """Document numbers in batches of equal length (no padding), at most ``batch_tokens`` tokens each.

        The plan depends on the questions alone and not on which are still open, so that an interrupted run computes
        the same batches, to the last bit, as an uninterrupted one.
        """
        order = [row for row in range(len(self.rest)) if row not in self.refused]
        order.sort(key=lambda row: (len(self.rest[row]), row))
        batches: list[list[int]] = []
        for row in order:
            length = len(self.rest[row])
            last = batches[-1] if batches else None
            if last and len(self.rest[last[0]]) == length and (len(last) + 1) * length <= batch_tokens:
                last.append(row)
            else:
                batches.append([row])
        return batches


class Teacher(Protocol):
    """A model that gives label probabilities here, batch by batch."""

    capabilities: frozenset[Capability]
    placement: Placement

    def identity(self) -> dict[str, Any]:
        """All of the teacher that changes an answer, as a JSON value: weights, tokenizer, precision."""
        ...

    def render(self, prompt: Prompt, text: str) -> str:
        """What it is asked about ``text``."""
        ...

    def answers(self, prompt: Prompt, labels: Sequence[str]) -> list[str]:
        """What stands for each of the K labels in its answer."""
        ...

    def questions(self, prompts: Sequence[str], answers: Sequence[str]) -> Questions:
        """Tokenize N rendered prompts and the K answers that may follow them."""
        ...

    def score(self, questions: Questions, rows: Sequence[int]) -> npt.NDArray[np.float64]:
        """Log-probabilities (len(rows), K) of the answers after the prompts of ``rows``, all of one length."""
        ...


def score_texts(
    teacher: Teacher,
    prompt: Prompt,
    labels: Sequence[str],
    texts: Sequence[str],
    *,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None = None,
) -> npt.NDArray[np.float64]:
    """Log-probabilities (N, K) of the labels for N texts, NaN where a text cannot be asked; nothing is kept.

    progress: hears (texts done, texts in all) after each batch.
    """
    questions = teacher.questions([teacher.render(prompt, text) for text in texts], teacher.answers(prompt, labels))
    scores = np.full((len(texts), len(labels)), np.nan)
    done = 0
    for rows in questions.batches(batch_tokens):
        scores[rows] = teacher.score(questions, rows)
        done += len(rows)
        if progress is not None:
            progress(done, len(texts))
    return scores
