"""The layouts in which rows hold their text: one column, a chat, a prompt with its completion, an instruction, a pair.

    layout = layout_of({"prompt", "completion", "id"})            # Layout("prompt and completion", …)
    parts = layout.parts({"prompt": "Two and two?", "completion": "Four."})      # a prompt and a completion
    joined(parts)                                                               # "Two and two?\nFour."

A document of one text is all its parts, one after the other. What was asked and what was answered stay apart here, so
that a task which needs them apart, and the search for benchmark questions with their answers, can have them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stillhouse.errors import StillhouseError


class Part(NamedTuple):
    """One piece of a document's text, and what it is: ``text``, ``prompt``, ``completion``, or a turn's role."""

    role: str
    text: str


class NotThisLayout(Exception):
    """A row does not hold what its layout asks for; ``str()`` of it says what is wrong."""


@dataclass(frozen=True)
class Layout:
    """columns: which of a row's columns it takes. parts: reads one row; raises :class:`NotThisLayout`."""

    name: str
    columns: tuple[str, ...]
    parts: Callable[[Mapping[str, object]], tuple[Part, ...]]


def layout_of(columns: Collection[str]) -> Layout:
    """The layout that the column names tell; the first that fits in the order of :data:`LAYOUTS`.

    Raises :class:`StillhouseError`, naming the columns that are there, when none fits.
    """
    for layout, needed in LAYOUTS:
        if needed <= set(columns):
            return layout
    raise StillhouseError(
        f"no column is known to hold the text; the file has {', '.join(sorted(columns))}",
        where="the columns",
        fix="name the column in `columns.text`",
    )


def joined(parts: tuple[Part, ...]) -> str:
    """All parts as one text, a line apart; turns of a chat are led by their role."""
    chat = any(part.role not in _PLAIN for part in parts)
    return "\n".join(f"{part.role}: {part.text}" if chat else part.text for part in parts if part.text)


_PLAIN = ("text", "text_pair", "prompt", "completion")


def _string(values: Mapping[str, object], name: str) -> str:
    value = values.get(name)
    if value is None:
        return ""
    if isinstance(value, list | dict):
        raise NotThisLayout(f"column {name!r} holds a {type(value).__name__}, not text")
    return str(value)


def _columns(*roles: tuple[str, str]) -> Callable[[Mapping[str, object]], tuple[Part, ...]]:
    def parts(values: Mapping[str, object]) -> tuple[Part, ...]:
        return tuple(Part(role, _string(values, name)) for role, name in roles)

    return parts


def _instruction(values: Mapping[str, object]) -> tuple[Part, ...]:
    asked = [_string(values, "instruction"), _string(values, "input")]
    return (Part("prompt", "\n".join(text for text in asked if text)), Part("completion", _string(values, "output")))


def _chat(column: str) -> Callable[[Mapping[str, object]], tuple[Part, ...]]:
    def parts(values: Mapping[str, object]) -> tuple[Part, ...]:
        turns: Any = values.get(column)
        if isinstance(turns, str):  # CSV cells, and some Parquet files, hold the list as JSON
            try:
                turns = json.loads(turns)
            except ValueError as error:
                raise NotThisLayout(f"column {column!r} is no JSON: {error}") from error
        if not isinstance(turns, list):
            raise NotThisLayout(f"column {column!r} holds no list of turns")
        return turns_of(turns, column)

    return parts


def turns_of(turns: list[Any], column: str) -> tuple[Part, ...]:
    """The turns of a chat, each an object with ``role`` and ``content``; raises :class:`NotThisLayout`."""
    return tuple(_turn(turn, column, number) for number, turn in enumerate(turns, start=1))


def _turn(turn: object, column: str, number: int) -> Part:
    if not isinstance(turn, Mapping):
        raise NotThisLayout(f"turn {number} of {column!r} is no object with `role` and `content`")
    role = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if isinstance(content, list):  # the parts of a turn that may also hold pictures
        content = "\n".join(str(piece["text"]) for piece in content if isinstance(piece, Mapping) and "text" in piece)
    if not isinstance(role, str) or not (content is None or isinstance(content, str)):
        raise NotThisLayout(f"turn {number} of {column!r} has no `role`, or its `content` is no text")
    return Part({"human": "user", "gpt": "assistant"}.get(role, role), content or "")


# the first whose columns are all there is taken
LAYOUTS: tuple[tuple[Layout, frozenset[str]], ...] = (
    (
        Layout("pair", ("text", "text_pair"), _columns(("text", "text"), ("text_pair", "text_pair"))),
        frozenset({"text", "text_pair"}),
    ),
    (Layout("text", ("text",), _columns(("text", "text"))), frozenset({"text"})),
    (Layout("chat", ("messages",), _chat("messages")), frozenset({"messages"})),
    (Layout("chat", ("conversations",), _chat("conversations")), frozenset({"conversations"})),
    (
        Layout(
            "prompt and completion",
            ("prompt", "completion"),
            _columns(("prompt", "prompt"), ("completion", "completion")),
        ),
        frozenset({"prompt", "completion"}),
    ),
    (
        Layout("instruction", ("instruction", "input", "output"), _instruction),
        frozenset({"instruction", "output"}),
    ),
)
