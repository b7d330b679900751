"""Whether a student's tokens are its teacher's, and how the teacher's distributions are read in the student's ids.

    vocabularies = agree(teacher_tokenizer, 49152, student_tokenizer, 49280)
    vocabularies.words                                    # "49152 of 49280 outputs are shared …"
    target = vocabularies.of_student(target)              # ids and probabilities as the student knows them

Logits of different tokenizers cannot be compared: then the answers alone are learned, each model with its own ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stillhouse.errors import StillhouseError

if TYPE_CHECKING:
    from torch import Tensor

    from stillhouse.distill.targets import Target


@dataclass(frozen=True)
class Vocabularies:
    """How a teacher's ids become a student's.

    teacher, student: outputs of both heads. real: ids that both know and that mean something. teacher_ids: of a student
    with fewer tokens the teacher's id of each of its own, else ``None``: they are the same.
    """

    teacher: int
    student: int
    real: int
    teacher_ids: tuple[int, ...] | None = None

    @property
    def same(self) -> bool:
        """Whether nothing has to be changed."""
        return self.teacher == self.student and self.teacher_ids is None

    @property
    def head_real(self) -> int | None:
        """Outputs of the student's head that take part in the loss; ``None``: all."""
        return None if self.same or self.real == self.student else self.real

    @property
    def words(self) -> str:
        """In plain words, for the log."""
        if self.teacher_ids is not None:
            return f"the student knows {len(self.teacher_ids)} of the teacher's {self.teacher} tokens"
        if self.same:
            return f"both heads have {self.teacher} outputs"
        return f"{self.real} tokens are shared; the heads have {self.teacher} (teacher) and {self.student} outputs"

    def of_student(self, target: Target) -> Target:
        """The target in the student's ids.

        The teacher's mass on tokens that the student does not have, padding mostly, leaves; what is left is scaled to
        the row's former sum, so that it is the teacher's choice among the tokens that both have.
        """
        import torch

        if self.same:
            return target
        probs, size = target.probs, self.real
        if target.ids is None:
            chosen = list(range(size)) if self.teacher_ids is None else list(self.teacher_ids)
            kept = probs[:, chosen]
            return replace(target, vocabulary=len(chosen), probs=_scaled(kept, probs))
        new_ids = self._lookup(target.ids)
        known = new_ids >= 0
        kept = torch.where(known, probs, 0.0)
        ids = new_ids.clamp_min(0)
        if target.form == "top-k":
            assert target.tail is not None  # noqa: S101 - the form has one
            return replace(target, vocabulary=size, ids=ids, probs=kept, tail=target.tail + (probs - kept).sum(1))
        return replace(target, vocabulary=size, ids=ids, probs=_scaled(kept, probs))

    def _lookup(self, ids: Tensor) -> Tensor:
        import torch

        table = torch.full((self.teacher,), -1, dtype=torch.int64)
        if self.teacher_ids is None:
            table[: self.real] = torch.arange(self.real)
        else:
            table[torch.tensor(self.teacher_ids)] = torch.arange(len(self.teacher_ids))
        return table.to(ids.device)[ids]


def _scaled(kept: Tensor, before: Tensor) -> Tensor:
    left = kept.sum(1, keepdim=True)
    return kept * (before.sum(1, keepdim=True) / left.clamp_min(1e-30))


def agree(
    teacher_tokenizer: Any,
    teacher_head: int,
    student_tokenizer: Any,
    student_head: int,
    *,
    teacher_ids: Sequence[int] | None = None,
) -> Vocabularies:
    """How the two vocabularies go together; raises :class:`StillhouseError` where distributions cannot be compared.

    teacher_ids: for a student whose vocabulary was trimmed, the teacher's id of each of its tokens.
    """
    if teacher_ids is not None:
        return Vocabularies(teacher_head, student_head, len(teacher_ids), tuple(teacher_ids))
    teacher_words, student_words = teacher_tokenizer.get_vocab(), student_tokenizer.get_vocab()
    if teacher_words != student_words:
        raise _different(teacher_words, student_words)
    if _rules(teacher_tokenizer) != _rules(student_tokenizer):
        raise StillhouseError(
            "teacher and student have the same tokens, and split texts into them by different rules",
            where="distill.student.base",
            fix="use a student with the teacher's own tokenizer files, or learn from answers alone"
            " (`ferment.distributions.form: none`, `distill.loss.name: cross-entropy`)",
        )
    real = max(teacher_words.values(), default=-1) + 1
    if real > min(teacher_head, student_head):
        raise StillhouseError(
            f"the tokenizer has ids up to {real - 1}, the heads {teacher_head} and {student_head} outputs",
            where="distill.student.base",
            fix="use the tokenizer that belongs to the model",
        )
    return Vocabularies(teacher_head, student_head, real)


def _different(teacher: dict[str, int], student: dict[str, int]) -> StillhouseError:
    places = {number: word for word, number in teacher.items()}
    others = {number: word for word, number in student.items()}
    first = next(number for number in sorted({*places, *others}) if places.get(number) != others.get(number))
    return StillhouseError(
        f"teacher and student have different tokens: id {first} is {places.get(first)!r} for the teacher and"
        f" {others.get(first)!r} for the student, so their distributions cannot be compared",
        where="distill.student.base",
        fix="learn from answers alone (`ferment.distributions.form: none`, `distill.loss.name: cross-entropy`): each"
        " model is then fed its own ids. Aligning logits across tokenizers is not built yet",
    )


def _rules(tokenizer: Any) -> dict[str, Any]:
    """All that decides how a text is split, without what a caller last set."""
    rules: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return {name: rules[name] for name in ("normalizer", "pre_tokenizer", "model", "added_tokens")}
