"""Asking a teacher for answers in text, once: known ones come from the store, the rest is written and committed.

written = write_here(teacher, questions, sampling, store=store, batch_tokens=4096)
written = write_by_api(endpoint, client, questions, sampling, store=store)
written.answers, written.failures            # TextAnswers by document and sample; documents without one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stillhouse.answers import AnswerStore
from stillhouse.signals.text import TextAnswer
from stillhouse.store import digest_of
from stillhouse.teachers import LocalTeacher
from stillhouse.teachers.api import LOSSES, ApiClient, Call, Endpoint, ask, ask_in_batches
from stillhouse.teachers.drawing import Ask, Sampling
from stillhouse.teachers.generation import TextGenerator, stop_ids
from stillhouse.teachers.reasoning import split
from stillhouse.teachers.templates import ChatTemplate, Message, RowError

ANSWER_VERSION = "1"  # raise it when the meaning of a stored answer changes

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Question:
    """What is asked about a document."""

    id: str
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Unanswered:
    """A document, or one sample of it, without an answer. lost: none came at all, and one may come later."""

    id: str
    reason: str
    raw: str = ""
    lost: bool = False


@dataclass(frozen=True)
class Written:
    """Answers in the order of questions and samples, and what has none. new: written this time."""

    answers: tuple[TextAnswer, ...]
    failures: tuple[Unanswered, ...]
    new: int
    new_tokens: int
    facts: dict[str, Any] = field(default_factory=dict)


def write_here(
    teacher: LocalTeacher,
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    store: AnswerStore,
    batch_tokens: int,
    name: str = "teacher",
    progress: Tick | None = None,
) -> Written:
    """Answers of a model that runs here. Each batch is committed before the next is written, and no batch, order or
    interruption changes an answer."""
    template = ChatTemplate(teacher.tokenizer)
    identity = {
        "version": ANSWER_VERSION,
        "ask": "text",
        "teacher": teacher.identity(),
        "sampling": sampling.identity(),
    }
    head = digest_of(identity)
    failures: list[Unanswered] = []
    open_questions: list[tuple[Question, tuple[int, ...]]] = []
    for question in questions:
        try:
            open_questions.append((question, template.ids(question.messages)))
        except RowError as error:
            failures.append(Unanswered(question.id, str(error)))
    keys = [digest_of([head, list(ids)]) for _, ids in open_questions]
    asks = sampling.asks(keys, [ids for _, ids in open_questions])
    stored = [f"{one.key}:{one.sample}" for one in asks]
    known: dict[str, Any] = store.get(stored)
    ends = stop_ids(teacher.model, teacher.tokenizer, template.end_of_turn)
    generator = TextGenerator(teacher.model, teacher.tokenizer, context=teacher.context(), stop_ids=ends)
    refused = generator.refuse(asks, sampling)
    done, new, tokens = sum(key in known for key in stored), 0, 0
    for batch in generator.batches(asks, sampling, batch_tokens):
        rows = [row for row in batch if stored[row] not in known]
        if not rows:
            continue
        made = generator.answer([asks[row] for row in rows], sampling)
        fresh = {
            stored[row]: {
                "text": one.text,
                "finish_reason": one.finish_reason,
                "prompt_tokens": one.prompt_tokens,
                "answer_tokens": one.answer_tokens,
            }
            for row, one in zip(rows, made, strict=True)
        }
        store.put(fresh)
        known |= fresh
        new, done, tokens = new + len(fresh), done + len(fresh), tokens + sum(one.answer_tokens for one in made)
        if progress:
            progress(done, len(asks))
    owners = [question for question, _ in open_questions for _ in range(sampling.samples)]
    answers: list[TextAnswer] = []
    for row, (question, one, key) in enumerate(zip(owners, asks, stored, strict=True)):
        if row in refused:
            failures.append(Unanswered(question.id, f"too long: {refused[row]}"))
        elif known[key]["finish_reason"] == "not-a-number":
            failures.append(Unanswered(question.id, "the teacher's logits are not numbers (NaN or infinite)"))
        else:
            answers.append(_read(question.id, key, one, known[key], name, opened=template.opens_reasoning))
    return Written(tuple(answers), tuple(_once(failures)), new, tokens)


def _read(document: str, key: str, ask_: Ask, found: dict[str, Any], name: str, *, opened: bool) -> TextAnswer:
    trace = split(found["text"], opened=opened)
    return TextAnswer(
        id=document,
        asked=key,
        teacher=name,
        sample=ask_.sample,
        reasoning=trace.reasoning,
        answer=trace.answer,
        finish_reason=found["finish_reason"],
        prompt_tokens=found["prompt_tokens"],
        answer_tokens=found["answer_tokens"],
    )


def write_by_api(
    endpoint: Endpoint,
    client: ApiClient,
    questions: Sequence[Question],
    sampling: Sampling,
    *,
    store: AnswerStore,
    name: str = "teacher",
    batches: Path | None = None,
    poll_seconds: float = 60.0,
    progress: Tick | None = None,
) -> Written:
    """Answers of a model behind an endpoint. A sample without a usable answer is a failure with its reason.

    batches: where batch files are kept, if they are what it is asked with; they are looked at each ``poll_seconds``.
    """

    def calls() -> Iterator[tuple[Question, Call]]:
        for question in questions:
            for sample in range(sampling.samples):
                yield question, call_of(question.messages, sampling, sample)

    total = len(questions) * sampling.samples

    def tick(done: int, _: int | None) -> None:
        if progress:
            progress(done, total)

    every = (call for _, call in calls())
    if batches is None:
        asked = ask(every, client, store=store, progress=tick)
    else:
        asked = ask_in_batches(
            list(every), client, store=store, folder=batches, poll_seconds=poll_seconds, progress=tick
        )
    lost = {failure.key: failure for failure in asked.failures}
    answers: list[TextAnswer] = []
    failures: list[Unanswered] = []
    for question, call in calls():
        key = call.key(endpoint)
        found = asked.answers.get(key)
        if found is None:
            first = lost[key]
            reason = f"{first.reason}: {first.detail}" if first.detail else first.reason
            failures.append(Unanswered(question.id, reason, first.raw, first.reason in LOSSES))
            continue
        trace = split(found.raw)
        answers.append(
            TextAnswer(
                id=question.id,
                asked=key,
                teacher=name,
                sample=call.sample,
                reasoning=found.reasoning or None,
                answer=trace.answer,
                finish_reason="length" if found.finish == "length" else "stop",
                prompt_tokens=found.usage.prompt or 0,
                answer_tokens=found.usage.answer or 0,
            )
        )
    facts = {
        "bill": asdict(asked.spent),
        "calls": total,
        "faults": dict(asked.faults),
        "failed_calls": dict(Counter(failure.reason for failure in asked.failures)),
    }
    spent = asked.spent
    return Written(tuple(answers), tuple(failures), spent.answers, spent.prompt_tokens + spent.answer_tokens, facts)


def call_of(messages: Sequence[Message], sampling: Sampling, sample: int) -> Call:
    """What goes out for one sample."""
    return Call(
        messages=tuple(dict(message) for message in messages),
        max_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p if sampling.top_p < 1 else None,
        stop=sampling.stop,
        sample=sample,
    )


def _once(failures: Sequence[Unanswered]) -> list[Unanswered]:
    """One failure a document and reason: all samples of a prompt that is too long fail alike."""
    return list(dict.fromkeys(failures))
