"""Which of a prompt's answers are learned from: one choice for each answer, with its reason.

Nothing is dropped here, since leaving out wrong traces is not always a gain: what is not chosen goes to the cuts.

    chosen = reject(answers, most=4)          # TextAnswers of one prompt -> one Choice for each
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.signals.text import TextAnswer

Preference = Literal["first", "shortest", "majority"]


@dataclass(frozen=True)
class Choice:
    """Whether an answer is learned from, and why or why not."""

    chosen: bool
    why: str


def reject(answers: Sequence[TextAnswer], *, most: int) -> list[Choice]:
    """Rejection sampling over the answers to one prompt: one choice for each, in their order.

    Chosen are whole answers found right, the first ``most`` of them, each text once.
    """
    choices: list[Choice] = []
    seen: dict[tuple[str | None, str], int] = {}
    for answer in answers:
        content = (answer.reasoning, answer.answer)
        refusal = answer.incomplete or ("" if answer.verified else f"not found right: {answer.verdict}")
        if not refusal and content in seen:
            refusal = f"the same as sample {seen[content]}"
        if not refusal and len(seen) == most:
            refusal = f"{most} right answers are chosen already"
        if not refusal:
            seen[content] = answer.sample
        choices.append(Choice(not refusal, refusal or "found right"))
    return choices


def best_of(answers: Sequence[TextAnswer], *, prefer: Preference, allow_wrong: bool = False) -> list[Choice]:
    """At most one of the answers to one prompt: one choice for each, in their order.

    Whole answers compete: right ones if there are any, else unchecked ones, else with ``allow_wrong`` wrong ones.
    prefer: ``first`` of them, ``shortest`` by tokens, or the first that gives the answer of the ``majority`` of them
    (white space and case aside); draws go to the smaller sample number.
    """
    whole = [place for place, answer in enumerate(answers) if not answer.incomplete]
    marks = (True, None, False) if allow_wrong else (True, None)
    groups = [[place for place in whole if answers[place].verified is mark] for mark in marks]
    rivals = next((group for group in groups if group), [])
    best = min(rivals, key=lambda place: _rank(answers, rivals, place, prefer), default=None)
    return [_choice(answer, place in rivals, place == best, prefer) for place, answer in enumerate(answers)]


def _rank(answers: Sequence[TextAnswer], rivals: Sequence[int], place: int, prefer: Preference) -> tuple[int, int]:
    if prefer == "shortest":
        return answers[place].answer_tokens, answers[place].sample
    if prefer == "majority":
        votes = Counter(_folded(answers[rival].answer) for rival in rivals)
        return -votes[_folded(answers[place].answer)], answers[place].sample
    return 0, answers[place].sample


def _choice(answer: TextAnswer, rival: bool, best: bool, prefer: Preference) -> Choice:
    if best:
        return Choice(True, f"the best by `{prefer}`")
    if rival:
        return Choice(False, f"another is preferred by `{prefer}`")
    return Choice(False, answer.incomplete or answer.verdict or "answers found right come first")


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
