"""What the modules of this package share: array types, checks of what a caller gave, and scipy loaded late.

The checks turn an array-like into an array of one known type, or say what is wrong with it::

    teacher, student = paired_flags(teacher_correct, student_correct, "retention")  # two (n,) of bool, same n
    truth, guess = as_class_pairs(labels, predictions, k, "confusion")              # two (N,) of int64, 0 to k-1

``where`` is the public function that was called: its name goes into the StillhouseError.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stillhouse.errors import StillhouseError

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def demand(met: bool, what: str, where: str, fix: str) -> None:
    """Raise the StillhouseError (what, where, fix) unless the condition is ``met``."""
    if not met:
        raise StillhouseError(what, where=f"statistics.{where}", fix=fix)


def as_flags(values: ArrayLike, where: str) -> Flags:
    """Right and wrong (n,), n >= 1, given as booleans or as the numbers 0 and 1."""
    given = np.asarray(values)
    usable = given.ndim == 1 and given.size > 0 and bool(np.isin(given, (0, 1)).all())
    demand(
        usable,
        f"an array of shape {given.shape} is no flat list of right and wrong",
        where,
        "give at least one item, each true or false",
    )
    return given.astype(np.bool_)


def paired_flags(a: ArrayLike, b: ArrayLike, where: str) -> tuple[Flags, Flags]:
    """Right and wrong of two models, (n,) and (n,), as :func:`as_flags`; unequal lengths are an error."""
    one, two = as_flags(a, where), as_flags(b, where)
    demand(
        one.size == two.size,
        f"{one.size} items against {two.size} make no pairs",
        where,
        "score both models on the same items, in the same order",
    )
    return one, two


def as_members(clusters: ArrayLike, n: int) -> Ints:
    """Number the clusters of the items 0, 1, … in sorted order of their names (n,); one cluster for all is an error."""
    names = np.asarray(clusters)
    demand(
        names.shape == (n,),
        f"{names.shape} cluster names do not fit {n} items",
        "resample",
        "give one cluster per item",
    )
    found, member = np.unique(names, return_inverse=True)
    demand(
        found.size > 1 or n == 1,
        "all items lie in one cluster, so nothing says how clusters differ",
        "resample",
        "give at least two clusters, or none",
    )
    return member.astype(np.int64)


def as_classes(values: ArrayLike, k: int, n: int | None, where: str) -> Ints:
    """Class numbers 0 to k-1, one for each of ``n`` items, or of any positive number of items where n is None."""
    given = np.asarray(values)
    usable = given.ndim == 1 and given.size > 0 and given.dtype.kind in "iu" and n in (None, given.size)
    demand(
        usable and bool(((given >= 0) & (given < k)).all()),
        f"these are not the classes of {'the' if n is None else n} items among {k}",
        where,
        f"give one whole number from 0 to {k - 1} per item",
    )
    return given.astype(np.int64)


def as_class_pairs(labels: ArrayLike, predictions: ArrayLike, k: int, where: str) -> tuple[Ints, Ints]:
    """Labels and predictions, (N,) and (N,), as :func:`as_classes`; unequal lengths are an error."""
    truth = as_classes(labels, k, None, where)
    return truth, as_classes(predictions, k, truth.size, where)


def scipy_part(part: str) -> ModuleType:
    """The module ``scipy.<part>``, loaded on first use: the command line imports this file and must start fast."""
    try:
        return importlib.import_module(f"scipy.{part}")
    except ImportError as error:
        raise StillhouseError(
            "comparing models needs scipy, which is not installed",
            where="statistics",
            fix="install the parts that distill and finish: pip install 'stillhouse[distill,finish]'",
        ) from error
