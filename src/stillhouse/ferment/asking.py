"""A teacher ready to be asked: one that runs here, batch by batch, or one behind an endpoint, call by call.

asker = LocalAsker(teacher, batch_tokens=1024, threads=None)
captured = asker.ask(prompt, labels, texts, store=store, progress=tick)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from stillhouse.answers import AnswerStore
from stillhouse.device import cpu_threads
from stillhouse.ferment.capture import Captured, capture
from stillhouse.prompts import Prompt
from stillhouse.teachers import Teacher

Tick = Callable[[int, int], None]


class Asker(Protocol):
    """What stage 2 and a trial need of a teacher. precision: of its arithmetic, with the reason, as far as known."""

    @property
    def precision(self) -> str:
        """Its arithmetic, for the label."""
        ...

    @property
    def reason(self) -> str:
        """Why, or what it is that is asked."""
        ...

    def identity(self) -> dict[str, Any]:
        """All of the teacher that changes an answer, as a JSON value."""
        ...

    def ask(
        self, prompt: Prompt, labels: Sequence[str], texts: Sequence[str], *, store: AnswerStore, progress: Tick
    ) -> Captured:
        """Answers about N texts: known ones from the store, others asked for and committed before they count."""
        ...


@dataclass(frozen=True)
class LocalAsker:
    """A teacher that runs here."""

    teacher: Teacher
    batch_tokens: int
    threads: int | None

    @property
    def precision(self) -> str:
        """The dtype of its layers."""
        return self.teacher.placement.dtype

    @property
    def reason(self) -> str:
        """Why this dtype."""
        return self.teacher.placement.reason

    def identity(self) -> dict[str, Any]:
        """Weights, tokenizer, precision."""
        return self.teacher.identity()

    def ask(
        self, prompt: Prompt, labels: Sequence[str], texts: Sequence[str], *, store: AnswerStore, progress: Tick
    ) -> Captured:
        """See :class:`Asker`."""
        rendered = [self.teacher.render(prompt, text) for text in texts]
        with cpu_threads(self.threads):
            return capture(
                self.teacher,
                prompt,
                labels,
                rendered,
                store=store,
                batch_tokens=self.batch_tokens,
                progress=progress,
            )
