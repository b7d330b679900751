"""Which tokens two models have in common, so that their distributions can be compared token by token.

shared = align(teacher.tokenizer, student.tokenizer)      # None: they split text in unlike ways
shared.own(ids)                                           # the teacher's ids as the student's, None if one is missing

Heads may be padded beyond the tokenizer, and a student's vocabulary may be a part of its teacher's with other ids.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from stillhouse.statistics import Ints


@dataclass(frozen=True)
class Alignment:
    """Tokens that both have: (S,) ids in the reference and (S,) in the other, in the order of the reference's.

    words: how many tokens (reference, other) mean something. same: every token of both has the same id.
    """

    reference: Ints
    other: Ints
    words: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether nothing has to be looked up."""
        full = len(self.reference) == self.words[0] == self.words[1]
        return full and bool((self.reference == self.other).all())

    def own(self, ids: Sequence[int]) -> list[int] | None:
        """Reference ids as the other's."""
        found = self._table[np.asarray(ids, dtype=np.int64)]
        return None if (found < 0).any() else [int(key) for key in found]

    @cached_property
    def _table(self) -> Ints:
        table = np.full(self.words[0], -1, dtype=np.int64)
        table[self.reference] = self.other
        return table


def align(reference: Any, other: Any) -> Alignment | None:
    """The tokens that both tokenizers have, or ``None`` where they are not of one kind.

    They are of one kind where they treat text alike before and after it is split, and every token of ``other`` is one
    of the reference's: then ids that stand for a text in the one stand for it in the other, too.
    """
    if _manner(reference) != _manner(other):
        return None
    ids, own = reference.get_vocab(), other.get_vocab()
    if not own.keys() <= ids.keys():
        return None
    pairs = sorted((ids[token], key) for token, key in own.items())
    columns = np.array(pairs, dtype=np.int64)
    return Alignment(columns[:, 0], columns[:, 1], (len(reference), len(other)))


def _manner(tokenizer: Any) -> Any:
    """What a tokenizer does beside looking tokens up; a slow one is known by its class alone."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return type(tokenizer).__name__
    state = json.loads(backend.to_str())
    model = state["model"]
    options = {name: model.get(name) for name in ("type", "byte_fallback", "continuing_subword_prefix")}
    return {"model": options, **{name: state.get(name) for name in ("normalizer", "pre_tokenizer", "decoder")}}
