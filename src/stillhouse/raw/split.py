"""The split: by a seeded hash of each document's id, so that it depends on neither row order nor neighbours."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from stillhouse.documents import Split
from stillhouse.errors import StillhouseError


def split_documents(
    ids: Sequence[str], labelled: Sequence[bool], *, seed: int, test: int, validation: int, train: int | None
) -> dict[Split, list[int]]:
    """Row numbers of each split, in hash order; rows beyond ``train`` are in none.

    The test split takes documents with a gold label only. Raises :class:`StillhouseError` when there are too few.
    """
    gold = [row for row in _shuffled(ids, f"test:{seed}") if labelled[row]]
    if len(gold) < test:
        raise StillhouseError(
            f"the test split needs {test} documents with a gold label, there are {len(gold)}",
            where="raw.split.test",
            fix="lower it, or map a gold label for more rows in `raw.sources.*.columns.label`",
        )
    held_out = gold[:test]
    taken = set(held_out)
    # a shuffle of its own: the first of the same one would be short of the documents that the test took
    rest = [row for row in _shuffled(ids, f"train:{seed}") if row not in taken]
    if len(rest) <= validation:
        raise StillhouseError(
            f"{len(rest)} documents are left after the test split, validation takes {validation} of them "
            "and none is left to train on",
            where="raw.split",
            fix="lower `raw.split.test` or `raw.split.validation`, or add rows",
        )
    end = len(rest) if train is None else validation + train
    return {"train": rest[validation:end], "validation": rest[:validation], "test": held_out}


def _shuffled(ids: Sequence[str], salt: str) -> list[int]:
    return sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{salt}:{ids[row]}".encode()).digest())
