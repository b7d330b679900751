"""Held-out passages: text whose tokens every model is asked about, and the prompts that every model answers.

passages = answered(rows, texts)          # test documents with what the teacher wrote about them
own = given(rows)                         # those whose data hold an answer, or which are plain texts
prompts = choose_prompts(rows, most=200)  # gold labels first, then by hash
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.sequences import said, turns_asked
from stillhouse.teachers.templates import Message

Document = Mapping[str, Any]  # a row of documents: id, messages or None, text, label, group_*, source

_PLAIN_PROMPT = 200  # characters of a plain text that are given to be continued


@dataclass(frozen=True)
class Passage:
    """A conversation that ends with an answer, or, where ``messages`` is ``None``, the plain ``text``.

    document: whose id it bears; several passages of one document are one cluster. turns: which turns of the assistant
    count. whole: false where the answer was cut off, so that its end is none.
    """

    document: str
    messages: tuple[Message, ...] | None
    text: str = ""
    turns: Literal["all", "last"] = "all"
    whole: bool = True


@dataclass(frozen=True)
class Prompt:
    """What is asked: messages that end with a user turn or, where there are none, a text to be continued. gold: the
    document's label."""

    document: str
    messages: tuple[Message, ...] | None
    text: str
    gold: str | None

    @property
    def words(self) -> str:
        """All that the model is told, for people and for finding quotations."""
        return self.text if self.messages is None else "\n\n".join(message["content"] for message in self.messages)


def answered(
    documents: Sequence[Document], answers: Mapping[str, TextAnswer], *, system: str = "", opened: bool = False
) -> list[Passage]:
    """Documents with the teacher's answer, those without one left out.

    system: put before conversations that have no system message. opened: the prompt opens the reasoning itself.
    """
    found = []
    for row in documents:
        answer = answers.get(row["id"])
        if answer is None or not (answer.answer or answer.reasoning):
            continue
        turns = turns_asked(row.get("messages") or (), system)
        messages = (*turns, {"role": "assistant", "content": said(answer, opened)})
        found.append(Passage(row["id"], messages, turns="last", whole=answer.finish_reason == "stop"))
    return found


def given(documents: Sequence[Document], *, turns: Literal["all", "last"] = "all") -> list[Passage]:
    """Documents that hold an answer themselves, and plain texts; of a mere prompt there is nothing to ask about."""
    found = []
    for row in documents:
        messages = row.get("messages")
        if not messages:
            found.append(Passage(row["id"], None, row["text"]))
        elif messages[-1]["role"] == "assistant":
            found.append(Passage(row["id"], _plain(messages), turns=turns))
    return found


def choose_prompts(documents: Sequence[Document], *, most: int, system: str = "") -> list[Prompt]:
    """At most ``most`` prompts: those with a gold label first, and within each by a hash of the id, never by quality.

    A plain text is begun, and its end is for the models to write.
    """

    def place(row: Document) -> tuple[bool, str]:
        return row["label"] is None, hashlib.sha256(row["id"].encode("utf-8")).hexdigest()

    found = []
    for row in sorted(documents, key=place)[:most]:
        messages = turns_asked(row.get("messages") or (), system)
        text = "" if messages else _beginning(row["text"])
        if messages or text:
            found.append(Prompt(row["id"], messages or None, text, row["label"]))
    return found


def _plain(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple({"role": message["role"], "content": message["content"]} for message in messages)


def _beginning(text: str) -> str:
    """The first half of a plain text at most, up to a space."""
    most = min(_PLAIN_PROMPT, len(text) // 2)
    return text[:most].rpartition(" ")[0]
