"""Reasoning traces: which answers are right, the share of them per prompt, and which to learn from.

Nothing is dropped here. Every answer keeps its mark and every choice its reason, since leaving out wrong traces is not
always a gain. Reasoning and answer are taken apart by :mod:`stillhouse.teachers.reasoning`.

    marked = judge(answers, lambda answer: numeric(answer, gold))
    chosen = reject(marked, most=4)          # one Choice for each answer, with its reason
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stillhouse.ferment.verifiers import Verdict
from stillhouse.signals.text import TextAnswer

Preference = Literal["first", "shortest", "majority"]


@dataclass(frozen=True)
class PassRate:
    """How many of a prompt's answers are right, of those that could be checked, of all."""

    right: int
    checked: int
    answers: int

    @property
    def rate(self) -> float | None:
        """The share of right answers among the checked, ``None`` when none was."""
        return self.right / self.checked if self.checked else None


@dataclass(frozen=True)
class Choice:
    """Whether an answer is learned from, and why or why not."""

    chosen: bool
    why: str


def judge(answers: Sequence[TextAnswer], verify: Callable[[str], Verdict]) -> list[TextAnswer]:
    """The same answers with ``verified`` and ``verdict`` filled in, in the same order.

    An answer that was cut off or is empty is wrong without being looked at: what stands there so far may be right by
    chance.
    """
    return [_mark(answer, _incomplete(answer), verify) for answer in answers]


def _mark(answer: TextAnswer, incomplete: str, verify: Callable[[str], Verdict]) -> TextAnswer:
    verdict = Verdict(False, incomplete) if incomplete else verify(answer.answer)
    return replace(answer, verified=verdict.right, verdict=verdict.why)


def pass_rate(answers: Sequence[TextAnswer]) -> PassRate:
    """Of the judged answers to one prompt."""
    checked = [answer.verified for answer in answers if answer.verified is not None]
    return PassRate(sum(checked), len(checked), len(answers))


def reject(answers: Sequence[TextAnswer], *, most: int) -> list[Choice]:
    """Rejection sampling over the answers to one prompt: one choice for each, in their order.

    Chosen are whole answers found right, the first ``most`` of them, each text once.
    """
    choices: list[Choice] = []
    seen: dict[tuple[str | None, str], int] = {}
    for answer in answers:
        content = (answer.reasoning, answer.answer)
        refusal = _incomplete(answer) or ("" if answer.verified else f"not found right: {answer.verdict}")
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
    whole = [place for place, answer in enumerate(answers) if not _incomplete(answer)]
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
    return Choice(False, _incomplete(answer) or answer.verdict or "answers found right come first")


def _incomplete(answer: TextAnswer) -> str:
    if answer.finish_reason != "stop":
        return f"not whole: finish reason {answer.finish_reason}"
    return "" if answer.answer.strip() else "there is no answer"


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
