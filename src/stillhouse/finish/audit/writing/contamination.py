"""The contamination flag: test items that stand in the training, and what models score on them and on the others.

    drafts = contamination(test_texts, training_texts, scores={"teacher": right, "student": right})

Items are found by their n-grams as stage 1 finds them (:mod:`stillhouse.overlap.search`), here once more at the end:
what was cut there, what came into the training behind it, and what was never looked for are different things. A flag
does not say that a figure is wrong; it says that it is not known to be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.writing.judging import Draft, not_judged, reported
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.overlap.search import Item, build_index, scan, verdict
from stillhouse.statistics import Flags, Floats, mean_of, resample
from stillhouse.statistics.resampling import percentile_interval

PROBE = "contamination"
_FEWEST = 5  # items on either side, below which a difference of scores says nothing


def flagged(items: Sequence[str], training: Sequence[str]) -> tuple[Flags, Flags]:
    """Of each item (n,): whether a row of the training holds it, and whether one shares any telling n-gram with it."""
    index = build_index([Item(str(place), text) for place, text in enumerate(items)])
    held, touched = np.zeros(len(items), dtype=bool), np.zeros(len(items), dtype=bool)
    for hit in scan(training, index):
        touched[hit.item] = True
        held[hit.item] |= verdict(hit) == "cut"
    return held, touched


def contamination(
    items: Sequence[str],
    training: Sequence[str],
    *,
    name: str = "test items",
    scores: Mapping[str, ArrayLike] | None = None,
    limit: float = 0.01,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Draft]:
    """items: (n,) texts that figures are made of. training: what the student learned from, as texts. scores: by model,
    one for each item (n,). limit: the share of items in the training that no figure suffers from.

    All items are looked at, so the share is no estimate and has no interval.
    """
    about = f"{name} that stand in the training"
    if not items or not training:
        return [not_judged(PROBE, about, words="There is no training text to look into." if items else f"No {name}.")]
    held, touched = flagged(items, training)
    count, n = int(held.sum()), len(items)
    share = count / n
    words = f"{count} of {n} {name} stand in the training"
    words += f"; {int((touched & ~held).sum())} more share a run of words with it." if (touched & ~held).any() else "."
    first = Finding(
        PROBE, about, "failed" if share > limit else "passed", None, share, share, None, None, limit, n, words
    )
    drafts = [Draft(first)]
    if scores and count >= _FEWEST and n - count >= _FEWEST:
        drafts.append(
            _gap(held, {model: np.asarray(one, dtype=float) for model, one in scores.items()}, resamples, seed)
        )
    return drafts


def _gap(held: Flags, scores: Mapping[str, Floats], resamples: int, seed: int) -> Draft:
    """How much better the student is on flagged items than on others, less how much better its teacher is."""

    def beyond(values: Floats) -> float:
        return float(values[held].mean() - values[~held].mean())

    student, teacher = scores[STUDENT], scores.get(TEACHER)
    judged_by = student if teacher is None else student - teacher
    draws = [
        resample(mean_of(judged_by[mask]), int(mask.sum()), seed=seed + place, resamples=resamples)
        for place, mask in enumerate((held, ~held))
    ]
    value = percentile_interval(beyond(judged_by), draws[0] - draws[1], int(held.sum()))
    count = int(held.sum())
    return reported(
        PROBE,
        "scores of items in the training, less those of the others",
        teacher=None if teacher is None else beyond(teacher),
        student=beyond(student),
        value=value.value,
        lower=value.lower,
        upper=value.upper,
        n=count,
        words=(
            f"On the {count} items that stand in the training the student scores {float(student[held].mean()):.3f},"
            f" on the others {float(student[~held].mean()):.3f}."
        ),
    )
