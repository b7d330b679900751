"""What a judge said to one question: its choice, or why there is none, with its own words.

reading = read_text(key, "**B**", sent=question)       # reading.choice == "B"

A choice is read only where the text is one, apart from case, quotes, marks and a JSON object around it; nothing is
guessed from a longer sentence. What cannot be read is unparsed, which is never a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from stillhouse.answers import AnswerStore
from stillhouse.finish.generation.pairs.frame import CHOICES, Frame
from stillhouse.teachers.api import read_label

Choice = Literal["A", "B", "tie"]
Tick = Callable[[int, int], None]

# the frame calls them "answer A" and "answer B", and so may the judge
_WORDS: dict[str, Choice] = {"A": "A", "B": "B", "tie": "tie", "answer A": "A", "answer B": "B"}


@dataclass(frozen=True)
class Reading:
    """key: in the answer store. sent: what the judge was shown. choice: ``None`` where there is none, and ``reason``
    says why. answered: whether anything came. lost: nothing came, and something may come later. raw: what it said.
    shares: probabilities of A, B and tie, where they were read instead of words."""

    key: str
    sent: str
    choice: Choice | None
    raw: str = ""
    reason: str = ""
    answered: bool = True
    lost: bool = False
    shares: tuple[float, ...] | None = None

    @classmethod
    def failed(cls, key: str, sent: str, reason: str, *, lost: bool = False) -> Reading:
        """A question that was not answered."""
        return cls(key, sent, None, reason=reason, answered=False, lost=lost)


@dataclass(frozen=True)
class Readings:
    """One for each question, in their order. facts: what happened this time, for the ledger."""

    readings: Sequence[Reading]
    facts: dict[str, Any] = field(default_factory=dict)


class Judge(Protocol):
    """A model that compares. by: how its choices are read, with the reason."""

    @property
    def frame(self) -> Frame:
        """What it is shown."""
        ...

    @property
    def by(self) -> str:
        """How its choices are read."""
        ...

    def read(self, questions: Sequence[str], *, store: AnswerStore, progress: Tick | None = None) -> Readings:
        """Its choice about each question: from the store where it is known, else asked for and committed."""
        ...


def read_text(key: str, text: str, *, sent: str, raw: str | None = None, trouble: str = "") -> Reading:
    """text: the answer without reasoning. raw: all that was written. trouble: what is known to be wrong with it."""
    found = read_label(text, tuple(_WORDS)).label
    whole = text if raw is None else raw
    if found is not None:
        return Reading(key, sent, _WORDS[found], whole)
    return Reading(key, sent, None, whole, trouble or f"it is none of {', '.join(CHOICES)}")
