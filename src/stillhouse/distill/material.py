"""What a language model learns from: documents with their answers, chosen, and turned into token ids.

taught = choose(documents, answers, plan)                 # Taught rows, and the cut of each answer left out
lessons, unfit = as_lessons(taught.rows, tokenizer, max_length=1024, turns="all")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from stillhouse.cuts import Cut, CutKind
from stillhouse.distill.choice import Choice, Preference, best_of, reject
from stillhouse.distill.language.lessons import Lesson
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.sequences import TokenSequence, conversation, plain, shortened
from stillhouse.teachers.templates import ChatTemplate, Message, RowError

STAGE = "3-distill"
Turns = Literal["all", "last"]


@dataclass(frozen=True)
class ChoicePlan:
    """Which answers are learned from, as the recipe's ``distill.choose`` says."""

    answers: Literal["all", "right", "best"] = "all"
    most: int = 1
    prefer: Preference = "first"
    cut_off: Literal["learn", "cut"] = "cut"


@dataclass(frozen=True)
class Row:
    """A document and, where the teacher was asked, one answer. Exactly one of ``messages`` and ``text`` is given.

    key: what its distributions are stored under. finished: whether the last turn is whole.
    """

    key: str
    document: Mapping[str, Any]
    messages: tuple[Message, ...] | None
    text: str | None
    finished: bool = True

    def cut(self, kind: CutKind, reason: str, detail: str = "") -> Cut:
        """This row, taken out."""
        content = self.text if self.messages is None else "\n".join(turn["content"] for turn in self.messages)
        return Cut(
            STAGE,
            kind,
            reason,
            self.document["source"],
            self.document["origin"],
            id=self.key,
            detail=detail,
            content=content or "",
        )


@dataclass(frozen=True)
class Taught:
    """Rows to learn from, and the cuts of those left out."""

    rows: tuple[Row, ...]
    cuts: tuple[Cut, ...]


def given(documents: Sequence[Mapping[str, Any]]) -> Taught:
    """Documents whose own turns, or whole text, are learned."""
    return Taught(tuple(_row(document["id"], document, document["messages"]) for document in documents), ())


def choose(
    documents: Sequence[Mapping[str, Any]], answers: Sequence[TextAnswer], plan: ChoicePlan, *, system: str = ""
) -> Taught:
    """Documents with the teacher's answers; a document without one has failed before, and is passed over."""
    of_document = {
        identifier: list(group)
        for identifier, group in groupby(
            sorted(answers, key=lambda one: (one.id, one.sample)), key=lambda answer: answer.id
        )
    }
    rows: list[Row] = []
    cuts: list[Cut] = []
    for document in documents:
        found = of_document.get(document["id"], [])
        for answer, choice in zip(found, _choices(found, plan), strict=True):
            row = _answered(document, answer, system)
            if choice.chosen:
                rows.append(row)
            else:
                cuts.append(row.cut(*_kind(answer), choice.why))
    return Taught(tuple(rows), tuple(cuts))


def _kind(answer: TextAnswer) -> tuple[CutKind, str]:
    """Into which cut an answer goes that is not learned from, and the reason that is counted."""
    if not answer.answer.strip():
        return "head", "empty answer"
    if answer.finish_reason != "stop":
        return "head", "cut-off answer"
    if answer.verified is False:
        return "head", "wrong answer"
    return "tail", "another answer was chosen"


def _choices(answers: Sequence[TextAnswer], plan: ChoicePlan) -> list[Choice]:
    if plan.answers == "right":
        return reject(answers, most=plan.most)
    if plan.answers == "best":
        return best_of(answers, prefer=plan.prefer)
    return [_whole(answer, plan) for answer in answers]


def _whole(answer: TextAnswer, plan: ChoicePlan) -> Choice:
    learned = plan.cut_off == "learn" and answer.finish_reason == "length" and bool(answer.answer.strip())
    return Choice(learned or not answer.incomplete, answer.incomplete or "whole")


def _answered(document: Mapping[str, Any], answer: TextAnswer, system: str) -> Row:
    raise NotImplementedError


def _row(key: str, document: Mapping[str, Any], messages: Sequence[Message] | None, *, finished: bool = True) -> Row:
    turns = None if messages is None else tuple(messages)
    return Row(key, document, turns, None if turns is not None else str(document["text"]), finished)


def as_lessons(
    rows: Sequence[Row], tokenizer: Any, *, max_length: int, turns: Turns = "all"
) -> tuple[list[Lesson], list[Cut]]:
    """Token ids of every row, with the tokenizer's own chat template; and the cuts of rows that cannot be taught."""
    template = ChatTemplate(tokenizer) if any(row.messages is not None for row in rows) else None
    lessons: list[Lesson] = []
    cuts: list[Cut] = []
    for row in rows:
        try:
            whole = _sequence(row, tokenizer, template, turns)
            fed = shortened(whole, max_length)
        except RowError as error:
            cuts.append(row.cut("head", "nothing to learn from", str(error)))
            continue
        lessons.append(Lesson(row.key, fed.ids, fed.spans))
    return lessons, cuts


def _sequence(row: Row, tokenizer: Any, template: ChatTemplate | None, turns: Turns) -> TokenSequence:
    if row.messages is None or template is None:
        return plain(tokenizer, row.text or "")
    return conversation(template, row.messages, turns=turns, finished=row.finished)
