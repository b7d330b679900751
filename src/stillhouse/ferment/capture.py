"""Asking the teacher about every document, once: known answers come from the store, the rest is asked in batches.

captured = capture(teacher, prompt, labels, ids, texts, store=store, batch_tokens=1024, progress=tick)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.answers import AnswerStore
from stillhouse.prompts import Prompt
from stillhouse.store import digest_of
from stillhouse.teachers import Questions, Teacher

ANSWER_VERSION = "1"  # raise it when the meaning of a stored answer changes


@dataclass(frozen=True)
class Failure:
    """A text that the teacher gave no usable answer about. lost: no answer came at all, and one may come later."""

    row: int
    reason: str
    raw: str
    lost: bool = False


@dataclass(frozen=True)
class Captured:
    """Answers about N texts.

    log_probs: (N, K), NaN in failed rows. asked: N keys of the answer store. new_answers, new_tokens: what was asked
    this time. prefix_tokens: how many tokens all prompts share. facts: what else happened, for the ledger.
    """

    log_probs: npt.NDArray[np.float64]
    asked: tuple[str, ...]
    failures: tuple[Failure, ...]
    new_answers: int
    new_tokens: int
    prefix_tokens: int
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is a usable answer."""
        return np.asarray(np.isfinite(self.log_probs).all(axis=1))


def question_keys(teacher: Teacher, prompt: Prompt, labels: Sequence[str], rendered: Sequence[str]) -> list[str]:
    """The answer store's keys: the hash of all that changes an answer."""
    common = {
        "version": ANSWER_VERSION,
        "ask": "label-probabilities",
        "teacher": teacher.identity(),
        "answers": teacher.answers(prompt, labels),
    }
    head = digest_of(common)
    return [digest_of([head, text]) for text in rendered]


def capture(
    teacher: Teacher,
    prompt: Prompt,
    labels: Sequence[str],
    rendered: Sequence[str],
    *,
    store: AnswerStore,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None = None,
) -> Captured:
    """Answers about N rendered prompts. Every batch is committed to the store before the next is asked."""
    keys = question_keys(teacher, prompt, labels, rendered)
    known: dict[str, Any] = store.get(keys)
    questions = teacher.questions(rendered, teacher.answers(prompt, labels))
    done = len({row for row in range(len(keys)) if keys[row] in known})
    new = tokens = 0
    for batch in questions.batches(batch_tokens):
        open_rows = [row for row in batch if keys[row] not in known]
        if not open_rows:
            continue
        scores = teacher.score(questions, open_rows)
        fresh = {
            keys[row]: {"log_probs": [_number(value) for value in scores[place]]} for place, row in enumerate(open_rows)
        }
        store.put(fresh)
        known |= fresh
        new += len(open_rows)
        tokens += sum(len(questions.rest[row]) for row in open_rows)
        done += len(open_rows)
        if progress:
            progress(done, len(keys))
    return _collect(keys, known, questions, rendered, len(labels), new, tokens)


def _number(value: float) -> float | None:
    # JSON has no NaN or infinity: an answer that is no number is kept as null and becomes a failure
    return float(value) if math.isfinite(value) else None


def _collect(
    keys: Sequence[str],
    known: dict[str, Any],
    questions: Questions,
    rendered: Sequence[str],
    labels: int,
    new: int,
    tokens: int,
) -> Captured:
    log_probs = np.full((len(keys), labels), np.nan)
    failures = []
    for row, key in enumerate(keys):
        if row in questions.refused:
            failures.append(Failure(row, f"too long: {questions.refused[row]}", rendered[row]))
            continue
        values = known[key]["log_probs"]
        if len(values) != labels or any(value is None for value in values):
            failures.append(Failure(row, "the teacher's answer is not a number (NaN or infinite)", str(values)))
            continue
        log_probs[row] = values
    return Captured(log_probs, tuple(keys), tuple(failures), new, tokens, len(questions.prefix))
