"""What a teacher said about N positions, as tensors that a loss takes: every probability, or a few of them.

target = Target.of_distributions(distributions, form="sparse", vocabulary=49152)   # replayed from the store
target = Target.of_logits(teacher_logits)                                          # live
target[10:20].to("cuda")                                                           # some positions, moved
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from stillhouse.signals.header import Form

if TYPE_CHECKING:
    from torch import Tensor

    from stillhouse.signals import Distribution

FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class Target:
    """A teacher's next-token distributions about N positions.

    form: as the store names it. ``dense``: probs is (N, V) and ids is ``None``. ``sparse``: exact entries and unbiased
    draws; a row's probs (N, S) sum to one, and their expectation over the draws is the teacher's row. ``top-k``: exact
    entries only; ``tail`` (N,) is the mass outside them. Unused columns have id 0 and probability 0; no id stands twice
    in a row of ``top-k``, but drawn ids may. exact: (N,) how many leading columns are exact. All tensors share a device
    and hold no gradient; probs and tail are float32 or wider.
    """

    form: Form
    vocabulary: int
    probs: Tensor
    ids: Tensor | None = None  # (N, S), int64
    tail: Tensor | None = None  # (N,)
    exact: Tensor | None = None  # (N,), int64

    def __len__(self) -> int:
        return len(self.probs)

    def __getitem__(self, rows: Any) -> Target:
        """The positions that a slice, an index tensor or a mask chooses."""
        return Target(self.form, self.vocabulary, *(None if one is None else one[rows] for one in self._tensors()))

    def to(self, device: Any) -> Target:
        """The same on another device."""
        return Target(self.form, self.vocabulary, *(None if one is None else one.to(device) for one in self._tensors()))

    def _tensors(self) -> tuple[Any, ...]:
        return self.probs, self.ids, self.tail, self.exact

    @classmethod
    def of_logits(cls, logits: Tensor, *, temperature: float = 1.0) -> Target:
        """Every probability, from a live teacher's logits (N, V)."""
        wide = logits.detach()
        wide = wide if wide.element_size() > 4 else wide.float()
        return cls("dense", int(logits.shape[-1]), (wide / temperature).softmax(-1))

    @classmethod
    def of_distributions(cls, parts: Sequence[Distribution], *, form: Form, vocabulary: int) -> Target:
        """Stored rows of several documents, one after the other."""
        import torch

        if form == "dense":
            return cls("dense", vocabulary, torch.from_numpy(np.concatenate([part.probs for part in parts])))
        width = max((part.ids.shape[1] for part in parts), default=0)
        rows = sum(map(len, parts))
        ids, probs = np.zeros((rows, width), np.int64), np.zeros((rows, width), np.float32)
        at = 0
        for part in parts:
            here = slice(at, at + len(part))
            ids[here, : part.ids.shape[1]], probs[here, : part.probs.shape[1]] = part.ids, part.probs
            at += len(part)
        tail = np.concatenate([np.zeros(0, np.float32), *(part.tail for part in parts)])
        exact = np.concatenate([np.zeros(0, np.int64), *(part.exact.astype(np.int64) for part in parts)])
        return cls(form, vocabulary, *map(torch.from_numpy, (probs, ids, tail, exact)))
