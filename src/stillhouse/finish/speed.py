"""How many texts a second a classifier labels, many at once and one at a time, on the same texts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from stillhouse.errors import StillhouseError


@dataclass(frozen=True)
class Speed:
    """Texts per second in a batch and one at a time; n texts were used for the batch figure."""

    batch_per_s: float
    single_per_s: float
    n: int


def measure(
    predict: Callable[[Sequence[str]], object],
    texts: Sequence[str],
    *,
    batch_texts: int,
    single_texts: int,
    repeats: int = 3,
) -> Speed:
    """Median of ``repeats`` after one warm-up; whatever ``predict`` does to a text, tokenizing included, counts.

    Where there are fewer texts than asked for, all are used. Raises :class:`StillhouseError` where there are none.
    """
    batch, single = list(texts[:batch_texts]), list(texts[:single_texts])
    if not batch or not single:
        raise StillhouseError(
            "there is no text to measure speed on",
            where="the speed measurement",
            fix="give at least one text, and ask for at least one in a batch and one alone",
        )
    predict(batch[: max(1, len(batch) // 8)])
    at_once = [_seconds(lambda: predict(batch)) for _ in range(repeats)]
    one_by_one = [_seconds(lambda: [predict([text]) for text in single]) for _ in range(repeats)]
    return Speed(len(batch) / median(at_once), len(single) / median(one_by_one), len(batch))


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return max(time.perf_counter() - started, 1e-9)
