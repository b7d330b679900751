"""Reasoning traces: reasoning and answer apart, the share of right answers per prompt, and which to learn from.

Nothing is dropped here. Every answer keeps its mark and every choice its reason, since leaving out wrong traces is not
always a gain.

    trace = split("<think>\\n2 + 3 is 5\\n</think>\\n\\nIt is 5.", opened=False)
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

OPEN, CLOSE = "<think>", "</think>"

Reasoning = Literal["keep", "strip"]
Preference = Literal["first", "shortest", "majority"]


@dataclass(frozen=True)
class Trace:
    """reasoning: ``None`` where there is none. closed: false where it never ended, so that there is no answer."""

    reasoning: str | None
    answer: str
    closed: bool = True


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


def split(text: str, *, opened: bool) -> Trace:
    """Reasoning and answer of what a model wrote, each without surrounding white space.

    opened: the prompt itself ended with ``<think>``, so the text begins inside the reasoning. Otherwise reasoning is
    what stands between a tag that begins the text and the first closing tag; tags further on are part of the answer.
    """
    body = text.lstrip()
    tagged = body.startswith(OPEN)
    if not (opened or tagged):
        return Trace(None, text.strip())
    reasoning, close, answer = (body.removeprefix(OPEN) if tagged else text).partition(CLOSE)
    return Trace(reasoning.strip(), answer.strip(), closed=bool(close))


def join(trace: Trace, rule: Reasoning, *, opened: bool) -> str:
    """The text that the student is taught to write after the prompt.

    rule: ``keep`` writes the reasoning before the answer, ``strip`` the answer alone. Where the prompt has opened the
    reasoning, the tag is not opened again, and without reasoning it is closed at once. :func:`split` gives back
    reasoning and answer of a closed trace; a trace that never closed has no answer and is written open.
    """
    reasoning = trace.reasoning if rule == "keep" else None
    if reasoning is None and not opened:
        return trace.answer
    start = "" if opened else f"{OPEN}\n"
    end = f"\n{CLOSE}\n\n{trace.answer}" if trace.closed else ""
    return start + (reasoning or "") + end


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
