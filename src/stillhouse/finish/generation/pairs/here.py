"""A judge that runs here: read by the likelihood of its choices, or by what it writes.

judge = judge_here(teacher, by="auto", criteria="Better is what is right.", max_tokens=256, batch_tokens=1024)
judge.read(questions, store=store)

The likelihood needs one pass over the question and leaves nothing to parse. It is not asked of a model whose template
opens a reasoning: what follows the prompt there is no choice yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.finish.generation.pairs.frame import CHOICES, Frame, control_tokens, without_controls
from stillhouse.finish.generation.pairs.reading import Choice, Judge, Reading, Readings, Tick, read_text
from stillhouse.store import digest_of
from stillhouse.teachers import LocalTeacher
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.generation import TextGenerator, stop_ids
from stillhouse.teachers.local import encode_answers
from stillhouse.teachers.reasoning import split
from stillhouse.teachers.templates import ChatTemplate, RowError

ANSWER_VERSION = "1"  # raise it when the meaning of a stored answer changes

By = Literal["auto", "likelihood", "text"]

_LEAD = "\n\nVerdict:"  # of a model without a chat template, which goes on with a text
_SEAMS = ("", " ")  # what may stand between question and choice
_NOT_A_NUMBER = "the judge's logits are not numbers (NaN or infinite)"


def judge_here(teacher: LocalTeacher, *, by: By, criteria: str, max_tokens: int, batch_tokens: int) -> Judge:
    """The judge that ``by`` asks for. max_tokens: of what it writes, reasoning included.

    Raises :class:`StillhouseError` where it cannot be asked in that way.
    """
    template = ChatTemplate(teacher.tokenizer) if teacher.tokenizer.chat_template else None
    frame = Frame(without_controls(control_tokens(teacher.tokenizer)), criteria)
    opened = bool(template and template.opens_reasoning)
    if by == "text" or (by == "auto" and opened):
        if template is None:
            raise StillhouseError(
                "a judge whose tokenizer has no chat template cannot be asked for words",
                where="finish.evaluate.judge.by",
                fix="set it to likelihood, or take an instruction-tuned model",
            )
        why = "its template opens a reasoning" if by == "auto" else "named in the recipe"
        return WritingJudge(teacher, frame, template, f"text: {why}", max_tokens, batch_tokens)
    why = "one pass, nothing to parse" if by == "auto" else "named in the recipe"
    return LikelihoodJudge(teacher, frame, template, f"likelihood: {why}", batch_tokens)


@dataclass(frozen=True)
class LikelihoodJudge:
    """Chooses what it holds most likely as the beginning of its answer."""

    teacher: LocalTeacher
    frame: Frame
    template: ChatTemplate | None
    by: str
    batch_tokens: int

    def read(self, questions: Sequence[str], *, store: AnswerStore, progress: Tick | None = None) -> Readings:
        """See :class:`stillhouse.finish.generation.pairs.reading.Judge`."""
        if not questions:
            return Readings([])
        sent = [_rendered(self.template, question) for question in questions]
        answers = self._answers(sent[0])
        head = digest_of(
            {"version": ANSWER_VERSION, "ask": "choice", "teacher": self.teacher.identity(), "answers": answers}
        )
        keys = [digest_of([head, text]) for text in sent]
        known: dict[str, Any] = store.get(keys)
        asked = self.teacher.questions(sent, answers)
        done, new = sum(key in known for key in keys), 0
        for batch in asked.batches(self.batch_tokens):
            rows = [row for row in batch if keys[row] not in known]
            if not rows:
                continue
            scores = self.teacher.score(asked, rows)
            fresh = {
                keys[row]: {"log_probs": [float(value) if math.isfinite(value) else None for value in scores[place]]}
                for place, row in enumerate(rows)
            }
            store.put(fresh)
            known |= fresh
            new, done = new + len(rows), done + len(rows)
            if progress:
                progress(done, len(keys))
        readings = [
            Reading.failed(key, text, f"too long: {asked.refused[row]}")
            if row in asked.refused
            else _likeliest(key, text, known[key]["log_probs"])
            for row, (key, text) in enumerate(zip(keys, sent, strict=True))
        ]
        return Readings(readings, {"new_answers": new})

    def _answers(self, first: str) -> list[str]:
        """The choices as they follow a question: without a space where the template's end allows it."""
        error: StillhouseError | None = None
        for seam in _SEAMS if self.template else reversed(_SEAMS):
            found = [seam + choice for choice in CHOICES]
            try:
                encode_answers(self.teacher.tokenizer, first, found)
            except StillhouseError as refused:
                error = refused
            else:
                return found
        raise StillhouseError(
            f"the judge's tokenizer cannot tell its choices apart: {error.problems[0].what if error else ''}",
            where="finish.evaluate.judge.by",
            fix="set it to text, or take another judge",
        )


@dataclass(frozen=True)
class WritingJudge:
    """Writes its choice, greedily."""

    teacher: LocalTeacher
    frame: Frame
    template: ChatTemplate
    by: str
    max_tokens: int
    batch_tokens: int

    def read(self, questions: Sequence[str], *, store: AnswerStore, progress: Tick | None = None) -> Readings:
        """See :class:`stillhouse.finish.generation.pairs.reading.Judge`."""
        sampling = Sampling(max_new_tokens=self.max_tokens)
        sent = [_rendered(self.template, question) for question in questions]
        head = digest_of(
            {
                "version": ANSWER_VERSION,
                "ask": "choice in words",
                "teacher": self.teacher.identity(),
                "sampling": sampling.identity(),
            }
        )
        keys = [digest_of([head, text]) for text in sent]
        known: dict[str, Any] = store.get(keys)
        model, tokenizer = self.teacher.model, self.teacher.tokenizer
        ends = stop_ids(model, tokenizer, self.template.end_of_turn)
        generator = TextGenerator(model, tokenizer, context=self.teacher.context(), stop_ids=ends)
        asks = sampling.asks(keys, [_ids(self.template, question) for question in questions])
        refused = generator.refuse(asks, sampling)
        done, new = sum(key in known for key in keys), 0
        for batch in generator.batches(asks, sampling, self.batch_tokens):
            rows = [row for row in batch if keys[row] not in known]
            if not rows:
                continue
            made = generator.answer([asks[row] for row in rows], sampling)
            fresh = {
                keys[row]: {"text": one.text, "finish_reason": one.finish_reason}
                for row, one in zip(rows, made, strict=True)
            }
            store.put(fresh)
            known |= fresh
            new, done = new + len(rows), done + len(rows)
            if progress:
                progress(done, len(keys))
        readings = [
            Reading.failed(key, text, f"too long: {refused[row]}")
            if row in refused
            else self._read(key, text, known[key])
            for row, (key, text) in enumerate(zip(keys, sent, strict=True))
        ]
        return Readings(readings, {"new_answers": new})

    def _read(self, key: str, sent: str, found: dict[str, Any]) -> Reading:
        if found["finish_reason"] == "not-a-number":
            return Reading.failed(key, sent, _NOT_A_NUMBER)
        trace = split(found["text"], opened=self.template.opens_reasoning)
        cut = f"cut off at {self.max_tokens} tokens" if found["finish_reason"] == "length" else ""
        return read_text(key, trace.answer if trace.closed else "", sent=sent, raw=found["text"], trouble=cut)


def _likeliest(key: str, sent: str, log_probs: Sequence[float | None]) -> Reading:
    values = np.array([math.nan if value is None else value for value in log_probs])
    if not np.isfinite(values).all():
        return Reading.failed(key, sent, _NOT_A_NUMBER)
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    choices: tuple[Choice, ...] = ("A", "B", "tie")
    return Reading(key, sent, choices[int(values.argmax())], shares=tuple(round(float(one), 6) for one in shares))


def _rendered(template: ChatTemplate | None, question: str) -> str:
    """The text up to where the choice begins."""
    if template is None:
        return question + _LEAD
    try:
        return template.text([{"role": "user", "content": question}])
    except RowError as error:
        raise StillhouseError(
            f"the judge's chat template refuses a question: {error}",
            where="finish.evaluate.judge.model",
            fix="take a model whose template takes a turn of the user",
        ) from error


def _ids(template: ChatTemplate, question: str) -> tuple[int, ...]:
    return template.ids([{"role": "user", "content": question}])
