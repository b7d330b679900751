"""How much of a text repeats itself: lines and paragraphs, single words and letters, and runs of words.

    duplicate_shares(["buy now", "hello", "buy now"])             # (0.33, 0.37): of the pieces, of their characters
    repetition(["buy", "now"] * 20).duplicate[5]                  # 0.95 of the characters repeat earlier text

The measures are those of Gopher (Rae et al. 2021, appendix A.1.1, table A1). Where the paper leaves a choice, the
milder one is taken: what stands first is never counted as repeated, and what occurs once is no repetition. White
space is not counted, so all shares are of the visible characters.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

TOP = range(2, 5)
DUPLICATE = range(5, 11)


@dataclass(frozen=True)
class Repetition:
    """Shares of the words' characters, by length ``n`` of the run of words; a length that is missing has share 0.

    top: of the most common run, times its number of occurrences, for ``n`` of 2 to 4 (at most 1: occurrences overlap).
    duplicate: within runs that occurred before, for ``n`` of 5 to 10; a character counts once.
    """

    top: dict[int, float]
    duplicate: dict[int, float]


def repetition(words: Sequence[str]) -> Repetition:
    """Measure the repeated runs of two to ten words.

    A run of n words repeats only if its first and its last n - 1 words do. So each length looks only at what was
    repeated at the one before, and for ordinary text there is nothing left after two or three of them.
    """
    found = Repetition({}, {})
    often = {word for word, count in Counter(words).items() if count > 1}
    ends = list(accumulate(map(len, words), initial=0))
    # where the runs that occur more than once start, and which of them stands there
    names: dict[int, object] = {start: word for start, word in enumerate(words) if word in often}
    for n in range(2, DUPLICATE.stop):
        places: defaultdict[tuple[object, object], list[int]] = defaultdict(list)
        for start, name in names.items():
            following = names.get(start + 1)
            if following is not None:
                places[name, following].append(start)
        repeated = [starts for starts in places.values() if len(starts) > 1]
        if not repeated:
            break
        if n in TOP:
            count, size = max((len(starts), ends[starts[0] + n] - ends[starts[0]]) for starts in repeated)
            found.top[n] = min(1.0, count * size / ends[-1])
        if n in DUPLICATE:
            found.duplicate[n] = _covered(repeated, n, ends) / ends[-1]
        names = {start: name for name, starts in enumerate(repeated) for start in starts}
        names = dict(sorted(names.items()))
    return found


def _covered(repeated: list[list[int]], n: int, ends: list[int]) -> int:
    """The number of characters in runs that occurred before."""
    covered = done = 0
    for start in sorted(start for starts in repeated for start in starts[1:]):
        covered += ends[start + n] - ends[max(start, done)]
        done = start + n
    return covered


def duplicate_shares(pieces: Sequence[str]) -> tuple[float, float]:
    """The share of the pieces that equal an earlier one, and the share of the characters in those; 0 of nothing."""
    distinct = set(pieces)
    if len(distinct) == len(pieces):
        return 0.0, 0.0
    size = sum(map(len, pieces))
    repeated = size - sum(map(len, distinct))
    return (len(pieces) - len(distinct)) / len(pieces), repeated / max(size, 1)


def share_of_one_letter(text: str, size: int, *, enough: float) -> float:
    """The share of the most common letter or digit among all of them; ``size``: characters that are no white space.

    Where it cannot exceed ``enough``, 0 may come back instead, which is faster: it cannot when a few letters, counted
    first, are common enough together, and none of them alone.
    """
    first = [text.count(letter) for letter in set(text[:10]) if letter.isalnum()]
    if first and max(first) <= enough * sum(first) and sum(first) >= (1 - enough) * size:
        return 0.0
    counts = [text.count(letter) for letter in set(text) if letter.isalnum()]
    return max(counts) / sum(counts) if counts else 0.0


def share_of_one_word(words: Sequence[str], distinct: int, *, enough: float) -> float:
    """The share of the most common word; 0 may come back where it cannot exceed ``enough``."""
    # every other word occurs at least once
    if len(words) - distinct + 1 <= enough * len(words):
        return 0.0
    return max(Counter(words).values()) / len(words)
