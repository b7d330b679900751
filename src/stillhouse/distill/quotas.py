"""Who may leave when a share of the rows has to: quotas for strata, so that a score does not decide about groups.

    strata = strata_of(classes, sources, groups)                    # (N,) one name for each row
    plan = quotas(strata, right, share=0.2)                         # {stratum: share that leaves}
    leaving = select(scores, strata, plan, ids=ids, at_random=...)  # (N,) True: leaves

Within a stratum the highest scores leave. Where a score follows a group it measures the group and not the row, so there
chance decides (DRoP, Vysogorets et al. 2024, arXiv 2404.05579).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from stillhouse.statistics.inputs import scipy_part
from stillhouse.store import digest_of

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

LIMIT = 1.25  # a stratum may lose so many times what any other loses, and no more
FOLLOWS = 0.6  # area under the curve from which a score is taken to tell a group from the rest
CHANCE = 0.05  # of a run in which no score follows any group, and one is taken to
_AND = " · "  # between the parts of a stratum's name
LEAST = 20  # rows of a stratum; fewer tell nothing


def strata_of(
    classes: Sequence[str] | None, sources: Sequence[str], groups: Mapping[str, Sequence[str | None]]
) -> list[str]:
    """The stratum of each row: class, where rows are of classes, × source × every group, as far as strata of
    :data:`LEAST` rows on average allow; group columns with most values are left out first. A row of no group is of the
    group ``none``."""
    chosen = sorted(groups, key=lambda name: (len(set(groups[name])), name))
    while True:
        known = [sources] if classes is None else [classes, sources]
        columns = [*known, *([value or "none" for value in groups[name]] for name in chosen)]
        strata = [_AND.join(parts) for parts in zip(*columns, strict=True)]
        if not chosen or len(strata) >= LEAST * len(set(strata)):
            return strata
        chosen.pop()


def quotas(strata: Sequence[str], right: Flags, *, share: float) -> dict[str, float]:
    """The share of each stratum that leaves, so that ``share`` of all rows does.

    right: (N,) whether a preliminary student, which had not seen the row, says what it is taught. What is *kept* of a
    stratum goes with 1 - recall, the share that the student gets wrong (DRoP, section 4): whom it serves badly keeps
    more. But nobody loses more than :data:`LIMIT` times what anybody else loses.
    """
    names, place = _numbered(strata)
    sizes = np.bincount(place, minlength=len(names)).astype(np.float64)
    # one row more of each kind than there are, so that a stratum of two rows is not taken at its word
    wrong = (np.bincount(place, weights=~right, minlength=len(names)) + 1) / (sizes + 2)
    kept = (1 - share) * wrong / np.average(wrong, weights=sizes)
    low, high = share / LIMIT**0.5, min(1.0, share * LIMIT**0.5)
    lost = _shifted(np.clip(1 - kept, 0, 1), sizes, share, low, high)
    return {name: float(one) for name, one in zip(names, lost, strict=True)}


def _shifted(wanted: Floats, sizes: Floats, share: float, low: float, high: float) -> Floats:
    """All moved by one number, and clipped, so that the mean over rows is the share."""
    bottom, top = -2.0, 2.0
    for _ in range(60):
        middle = (bottom + top) / 2
        if float(np.average(np.clip(wanted + middle, low, high), weights=sizes)) < share:
            bottom = middle
        else:
            top = middle
    found: Floats = np.clip(wanted + top, low, high)
    return found


def select(
    scores: Floats, strata: Sequence[str], plan: Mapping[str, float], *, ids: Sequence[str], at_random: Flags
) -> Flags:
    """Which rows leave: of each stratum its quota, rounded so that the whole number of rows is right.

    Sums are rounded along the strata, class by class, in the order of hashes: a class loses its share to a row, however
    small its strata are, and within it a part of a row is a chance of one.
    The highest scores first, draws in the order of the ids. at_random: (N,) rows whose stratum is cut by chance
    instead, which is the order of a hash of their ids.
    """
    names = sorted(plan)
    rows_of: dict[str, list[int]] = {name: [] for name in names}
    for row, name in enumerate(strata):
        rows_of[name].append(row)
    shuffled = sorted(names, key=lambda name: (digest_of([name.partition(_AND)[0]]), digest_of([name])))
    sums = np.cumsum([0.0, *(plan[name] * len(rows_of[name]) for name in shuffled)])
    numbers = dict(zip(shuffled, np.diff(np.floor(sums + 0.5 - 1e-9)).astype(int).tolist(), strict=True))
    leaving = np.zeros(len(scores), dtype=bool)
    for name in names:
        rows = rows_of[name]
        if rows and at_random[rows[0]]:
            ranked = sorted(rows, key=lambda row: digest_of(["by chance", ids[row]]))
        else:
            ranked = sorted(rows, key=lambda row: (-scores[row], ids[row]))
        leaving[ranked[: numbers[name]]] = True
    return leaving


def follows(
    scores: Floats, coarse: Sequence[str], groups: Mapping[str, Sequence[str | None]]
) -> tuple[Flags, list[str]]:
    """Where the score follows a group: rows (N,) of such strata, and each case in words.

    coarse: class × source of each row. A score follows a group within such a part where it ranks a row of the group
    above another one, or below it, with a probability of :data:`FOLLOWS` or more (Mann and Whitney's statistic), both
    sides with :data:`LEAST` rows, and further from one half than chance would bring any of the groups in one case of
    twenty (its normal approximation, Bonferroni).
    """
    found = np.zeros(len(scores), dtype=bool)
    cases: list[tuple[str, str, str, npt.NDArray[np.int64], float, float]] = []
    parts, part_of = _numbered(coarse)
    columns = {name: _numbered([value or "none" for value in groups[name]]) for name in sorted(groups)}
    order = np.argsort(part_of, kind="stable")
    for part, inside in zip(parts, np.split(order, np.cumsum(np.bincount(part_of))[:-1]), strict=False):
        ranks = scipy_part("stats").rankdata(scores[inside])
        for name, (values, value_of) in columns.items():
            mine = value_of[inside]
            sizes, sums = np.bincount(mine), np.bincount(mine, weights=ranks)
            large = np.nonzero((sizes >= LEAST) & (len(inside) - sizes >= LEAST))[0]
            for value in large[:1] if len(values) == 2 else large:  # of two, each is the other turned round
                n, others = int(sizes[value]), int(len(inside) - sizes[value])
                above = float((sums[value] - n * (n + 1) / 2) / n / others)
                chance = math.sqrt((n + others + 1) / (12 * n * others))
                cases.append((part, name, values[value], inside, above, chance))
    most = NormalDist().inv_cdf(1 - CHANCE / 2 / max(1, len(cases)))
    words = []
    for part, name, told, inside, above, chance in cases:
        if abs(above - 0.5) >= max(FOLLOWS - 0.5, most * chance):
            found[inside] = True
            words.append(
                f"{part}: it ranks {name} {told} {'above' if above > 0.5 else 'below'} the others"
                f" {max(above, 1 - above):.0%} of the time"
            )
    return found, words


def _numbered(values: Sequence[str]) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different values, in order, and the number of each row's (N,)."""
    names = sorted(set(values))
    number = {name: place for place, name in enumerate(names)}
    return names, np.array([number[one] for one in values], dtype=np.int64)
