"""The one error root.

Raise :class:`StillhouseError` for whatever the user can mend: it says what happened, where (recipe key, file and
line), and what to change. The command line prints it and exits with 1; anything else that escapes is our bug and
exits with 2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault: what happened, where, and the cure."""

    what: str
    where: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}\n  where: {self.where}\n  fix:   {self.fix}"


class StillhouseError(Exception):
    """One or several faults that the user can mend, all reported at once."""

    def __init__(self, what: str, *, where: str, fix: str) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, fix),)
        super().__init__(str(self.problems[0]))

    def __reduce__(self) -> tuple[Callable[[list[Problem]], StillhouseError], tuple[list[Problem]]]:
        # so that it crosses from a worker to whoever asked
        return StillhouseError.several, (list(self.problems),)

    @classmethod
    def several(cls, problems: list[Problem]) -> StillhouseError:
        """Join several problems into one error; ``problems`` must not be empty."""
        first = problems[0]
        error = cls(first.what, where=first.where, fix=first.fix)
        error.problems = tuple(problems)
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error


def first_line(error: BaseException) -> str:
    """What another library says went wrong, without what may follow; the error's name where it says nothing."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
