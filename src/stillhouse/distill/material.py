"""What a language model learns from: documents with their answers, chosen, and turned into token ids.

taught = choose(documents, answers, plan, system="")       # rows to learn from, and the cut of each left out
lessons = as_lessons(taught.rows, tokenizer, max_length=1024, turns="all")
lessons.lessons, lessons.whole, lessons.cuts
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from stillhouse.cuts import Cut, CutKind
from stillhouse.distill.choice import Choice, Preference, best_of, reject
from stillhouse.distill.language.lessons import Lesson
from stillhouse.refusals import find
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.sequences import TokenSequence, asked, conversation, plain, said, shortened
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
    spoken_as_machine: Literal["learn", "cut"] = "cut"


@dataclass(frozen=True)
class Row:
    """A document with an answer of the teacher, or with what it holds itself.

    key: what its distributions are stored under. messages: all turns or, with an ``answer``, those before it; ``None``
    for a plain text.
    """

    key: str
    document: Mapping[str, Any]
    messages: tuple[Message, ...] | None
    answer: TextAnswer | None = None

    def said(self, turns: Turns = "all") -> str:
        """What is learned of it, as text: the answer, the assistant's turns, or the whole of a plain text."""
        if self.answer is not None:
            return self.answer.answer
        if self.messages is None:
            return str(self.document["text"])
        spoken = [one["content"] for one in self.messages if one["role"] == "assistant"]
        return "\n".join(spoken if turns == "all" else spoken[-1:])

    @property
    def told(self) -> str:
        """What the model was told before: all other turns; of a plain text nothing."""
        return "\n".join(one["content"] for one in self.messages or () if one["role"] != "assistant")

    def unasked(self) -> Row:
        """The same after turns that say nothing."""
        if self.messages is None:
            return self
        silent = ({**one, "content": one["content"] if one["role"] == "assistant" else ""} for one in self.messages)
        return replace(self, messages=tuple(silent))

    def cut(self, kind: CutKind, reason: str, detail: str = "") -> Cut:
        """This row, taken out."""
        content = self.document["text"] if self.answer is None else self.answer.answer
        origin = self.document["origin"]
        return Cut(STAGE, kind, reason, self.document["source"], origin, id=self.key, detail=detail, content=content)


@dataclass(frozen=True)
class Taught:
    """Rows to learn from, and the cuts of those left out."""

    rows: tuple[Row, ...]
    cuts: tuple[Cut, ...]


def given(documents: Sequence[Mapping[str, Any]]) -> Taught:
    """Documents whose own turns, or whole text, are learned."""

    def turns(document: Mapping[str, Any]) -> tuple[Message, ...] | None:
        found = document["messages"]
        return tuple({"role": one["role"], "content": one["content"]} for one in found) if found else None

    return Taught(tuple(Row(document["id"], document, turns(document)) for document in documents), ())


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
            spoken = _spoken_as_machine(row) if plan.spoken_as_machine == "cut" else None
            if choice.chosen and spoken is not None:
                cuts.append(row.cut("head", *spoken))
            elif choice.chosen:
                rows.append(row)
            else:
                cuts.append(row.cut(*_kind(answer), choice.why))
    return Taught(tuple(rows), tuple(cuts))


def _spoken_as_machine(row: Row) -> tuple[str, str] | None:
    """The reason to cut an answer in which the teacher refuses or speaks of itself, and what it says; what the prompt
    says too does not count."""
    assert row.answer is not None  # noqa: S101 - answers are looked at here
    prompt = "\n".join(one["content"] for one in row.messages or ())
    found = find(row.answer.answer, prompt)
    if not found:
        return None
    worst = next((one for one in found if one.kind == "refusal"), found[0])
    return ("refusal" if worst.kind == "refusal" else "speaks as a machine"), f"{worst.rule}: {worst.text}"


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
    return Row(answer.key, document, asked(document, system), answer)


@dataclass(frozen=True)
class Lessons:
    """lessons: what is fed. whole: the sequence of each as the teacher reads it, by key. cuts: rows that cannot be
    taught. ends: ids that end a turn."""

    lessons: tuple[Lesson, ...]
    whole: Mapping[str, TokenSequence]
    cuts: tuple[Cut, ...]
    ends: tuple[int, ...]


def as_lessons(
    rows: Sequence[Row],
    tokenizer: Any,
    *,
    max_length: int,
    turns: Turns = "all",
    stored: Mapping[str, int] | None = None,
) -> Lessons:
    """Token ids of every row, with the tokenizer's own chat template.

    stored: how many tokens the teacher's distributions are about, by key, where such are learned. A row is learned no
    further than the teacher read it, and one without distributions is cut.
    """
    template = ChatTemplate(tokenizer) if any(row.messages is not None for row in rows) else None
    lessons: list[Lesson] = []
    whole: dict[str, TokenSequence] = {}
    cuts: list[Cut] = []
    for row in rows:
        try:
            sequence = _sequence(row, tokenizer, template, turns)
            if stored is not None:
                if row.key not in stored:
                    raise RowError("the teacher gave no distributions along it")
                sequence = shortened(sequence, sequence.start + stored[row.key])
            fed = shortened(sequence, max_length)
        except RowError as error:
            cuts.append(row.cut("head", "nothing to learn from", str(error)))
            continue
        whole[row.key] = sequence
        lessons.append(Lesson(row.key, fed.ids, fed.spans))
    ends = () if template is None or template.end_of_turn is None else (template.end_of_turn,)
    return Lessons(tuple(lessons), whole, tuple(cuts), ends)


def _sequence(row: Row, tokenizer: Any, template: ChatTemplate | None, turns: Turns) -> TokenSequence:
    if row.messages is None or template is None:
        return plain(tokenizer, row.document["text"])
    if row.answer is None:
        return conversation(template, row.messages, turns=turns)
    messages = (*row.messages, {"role": "assistant", "content": said(row.answer, template.opens_reasoning)})
    return conversation(template, messages, turns="last", finished=row.answer.finish_reason == "stop")
