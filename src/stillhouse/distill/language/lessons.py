"""What a language model is taught, as token ids, and what the teacher said about them.

lesson = Lesson("3f2a#0", ids=(1, 5, 7, 9, 2), spans=((3, 5),))         # the last two tokens are learned
signals = Stored(TokenDist.open(folder), {"3f2a#0": ids})
signals.targets([lesson])                                               # a Target with two rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from stillhouse.distill.chunked import head_logits, head_of
from stillhouse.distill.targets import Target
from stillhouse.distill.vocabularies import Vocabularies
from stillhouse.errors import StillhouseError
from stillhouse.signals import TokenDist
from stillhouse.signals.header import Form


@dataclass(frozen=True)
class Lesson:
    """A sequence and the places in it that are learned.

    key: what its distributions are stored under. ids: all that is read. spans: [start, end) places that are learned;
    rising, apart, start >= 1.
    """

    key: str
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def places(self) -> list[int]:
        """The learned places, in order."""
        return [place for start, end in self.spans for place in range(start, end)]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(end - start for start, end in self.spans)


class Rows(Protocol):
    """Distributions about N positions, of which slices can be looked at and masks chosen."""

    form: Form

    def __getitem__(self, rows: Any) -> Any: ...

    def __len__(self) -> int: ...


class Signals(Protocol):
    """Where the distributions about lessons come from."""

    form: Form

    def targets(self, lessons: Sequence[Lesson]) -> Any:
        """Rows about the learned places of each lesson, one lesson after the other."""
        ...


class Gold:
    """No teacher: for losses that look at nothing but the token that follows."""

    form: Form = "sparse"

    def targets(self, lessons: Sequence[Lesson]) -> None:
        """There are none."""
        return


class Stored:
    """Distributions that stage 2 stored, read by key and checked against the ids that the teacher read.

    whole: the ids that the teacher read of each lesson, where a lesson is shorter or has other ids. vocabularies: how
    the teacher's ids become the student's.
    """

    def __init__(
        self,
        stored: TokenDist,
        whole: Mapping[str, Sequence[int]],
        starts: Mapping[str, int],
        vocabularies: Vocabularies,
    ) -> None:
        self._stored, self._whole, self._starts, self._vocabularies = stored, whole, starts, vocabularies
        self.form: Form = stored.header.form

    def targets(self, lessons: Sequence[Lesson]) -> Target:
        """See :class:`Signals`; raises :class:`StillhouseError` for rows that are about other tokens, or no numbers."""
        parts = []
        for lesson in lessons:
            start = self._starts[lesson.key]
            rows = self._stored.read(lesson.key, self._whole[lesson.key], start)
            parts += [rows[begin - start : end - start] for begin, end in lesson.spans]
        target = Target.of_distributions(parts, form=self.form, vocabulary=self._stored.header.vocabulary)
        if not bool(torch.isfinite(target.probs).all()):
            raise StillhouseError(
                f"the stored distributions of {', '.join(lesson.key for lesson in lessons[:3])} are no numbers",
                where="2-ferment/signals",
                fix="run stage 2 again with a teacher whose weights are finite",
            )
        return self._vocabularies.of_student(target)


class LiveRows:
    """A live teacher's distributions about N positions: its states are kept, its logits made for what is looked at."""

    form: Form = "dense"

    def __init__(self, states: Tensor, head: Any, temperature: float, vocabularies: Vocabularies | None) -> None:
        self._states, self._head, self._temperature = states, head, temperature
        self._vocabularies = vocabularies

    def __len__(self) -> int:
        return len(self._states)

    def __getitem__(self, rows: Any) -> Target | LiveRows:
        """A slice as a dense :class:`Target`, a mask as fewer rows."""
        if not isinstance(rows, slice):
            return LiveRows(self._states[rows], self._head, self._temperature, self._vocabularies)
        with torch.no_grad(), torch.autocast(self._states.device.type, enabled=False):
            logits = head_logits(self._states[rows], self._head)
        if not bool(torch.isfinite(logits).all()):
            raise StillhouseError(
                "the teacher's logits are not numbers (NaN or infinite)",
                where="ferment.teacher",
                fix="load the teacher in float32 or bfloat16, and check its weights",
            )
        target = Target.of_logits(logits, temperature=self._temperature)
        return target if self._vocabularies is None else self._vocabularies.of_student(target)


class Live:
    """A loaded teacher that is asked while the student learns; always in eval mode, never with gradients.

    vocabularies: how its ids become the student's, where they are not the same; it is fed its own.
    """

    form: Form = "dense"

    def __init__(self, model: Any, *, temperature: float = 1.0, vocabularies: Vocabularies | None = None) -> None:
        self._model = model.eval().requires_grad_(False)
        self._temperature = temperature
        self._head, self._vocabularies = head_of(model), vocabularies

    def targets(self, lessons: Sequence[Lesson]) -> LiveRows:
        """See :class:`Signals`."""
        width = max(len(lesson) for lesson in lessons)
        # filled up on the right, where a causal model does not look
        ids = torch.tensor([[*self._own(lesson.ids), *[0] * (width - len(lesson))] for lesson in lessons])
        places = [row * width + place - 1 for row, lesson in enumerate(lessons) for place in lesson.places]
        device = self._head.weight.device
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            states = self._model.base_model(input_ids=ids.to(device), use_cache=False).last_hidden_state
        chosen = states.flatten(0, 1)[torch.tensor(places, device=device)]
        return LiveRows(chosen, self._head, self._temperature, self._vocabularies)

    def _own(self, ids: Sequence[int]) -> Sequence[int]:
        """A student's ids as the teacher's own."""
        table = self._vocabularies.teacher_ids if self._vocabularies else None
        return ids if table is None else [table[one] for one in ids]
