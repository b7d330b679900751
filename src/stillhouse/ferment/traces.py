"""Reasoning traces: which answers are right, and the share of them per prompt.

Nothing is dropped here: every answer keeps its mark, and which to learn from is chosen in stage 3. Reasoning and answer
are taken apart by :mod:`stillhouse.teachers.reasoning`.

    marked = judge(answers, lambda answer: numeric(answer, gold))
    pass_rate(marked).rate
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stillhouse.ferment.verifiers import Verdict
from stillhouse.signals.text import TextAnswer


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


def judge(answers: Sequence[TextAnswer], verify: Callable[[str], Verdict]) -> list[TextAnswer]:
    """The same answers with ``verified`` and ``verdict`` filled in, in the same order.

    An answer that was cut off or is empty is wrong without being looked at: what stands there so far may be right by
    chance.
    """
    return [_mark(answer, answer.incomplete, verify) for answer in answers]


def _mark(answer: TextAnswer, incomplete: str, verify: Callable[[str], Verdict]) -> TextAnswer:
    verdict = Verdict(False, incomplete) if incomplete else verify(answer.answer)
    return replace(answer, verified=verdict.right, verdict=verdict.why)


def pass_rate(answers: Sequence[TextAnswer]) -> PassRate:
    """Of the judged answers to one prompt."""
    checked = [answer.verified for answer in answers if answer.verified is not None]
    return PassRate(sum(checked), len(checked), len(answers))
