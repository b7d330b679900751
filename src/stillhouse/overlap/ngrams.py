r"""Words as decontamination compares them, and the hashes of all their n-grams at once.

Case, punctuation, spacing and the form of Unicode are of no account::

    words_of("Don\u2019t  PANIC!")                       # ["dont", "panic"]
    batch = Batch.of([words_of(text) for text in texts], {word: hash_of(word) for word in wanted})
    keys = batch.windows(13)                        # (words - 12,), also those that cross two texts

A character of a script written without spaces (Han, kana, Thai, Lao, Khmer, Burmese) is a word of its own.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

_ASCII_WORD = re.compile(r"[a-z0-9]+")
# besides letters and digits: the combining marks that Python does not count as letters, by their blocks
_WORD = re.compile(r"[\w\u0300-\u036f\u0591-\u05c7\u0610-\u065f\u0900-\u0963\u0966-\u0eff\u0f18-\u109f\u1780-\u17d3]+")
_ALONE = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
# apostrophes, soft hyphens and what is not seen: they stand inside words
_INSIDE = re.compile("['\u2018\u2019\u02bc\u00ad\u200b-\u200f\u2060\ufe00-\ufe0f\ufeff]")

_KEY = b"stillhouse n-grams 1"
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64
_INVERSE = pow(_MULTIPLIER, -1, 2**64)


def words_of(text: str) -> list[str]:
    """The words of a text in NFKC and without case; apostrophes vanish, other punctuation parts words."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower().replace("'", ""))
    # removed before and after: NFKC may depend on what was between two characters
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _INSIDE.sub("", text)).casefold())
    return _WORD.findall(_ALONE.sub(r" \g<0> ", _INSIDE.sub("", text)).replace("_", " "))


def weight_of(words: Iterable[str]) -> float:
    """How many words these are: a character of a script without spaces counts as half a word."""
    return sum(0.5 if _ALONE.fullmatch(word) else 1.0 for word in words)


def hash_of(word: str) -> int:
    """64 bits of a keyed hash, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8, key=_KEY).digest())


@dataclass(frozen=True)
class Batch:
    """Texts as one run of w words: ``document`` (w,) is the text of each, ``bounds`` (texts + 1,) where texts begin."""

    texts: Sequence[Sequence[str]]
    document: Ints
    bounds: Ints
    _sums: Keys
    _scale: Keys

    @classmethod
    def of(cls, texts: Sequence[Sequence[str]], hashes: Mapping[str, int]) -> Batch:
        """Look each word up in ``hashes``; one that is not there is in no n-gram that is looked for and counts as 0."""
        bounds = np.concatenate([[0], np.cumsum([len(text) for text in texts], dtype=np.int64)])
        total = int(bounds[-1])
        words = np.fromiter(map(hashes.get, chain.from_iterable(texts), repeat(0)), np.uint64, total)
        # sums[i] adds word j < i times multiplier^j, modulo 2^64: the polynomial of Rabin & Karp as prefix sums
        sums = np.zeros(total + 1, np.uint64)
        np.cumsum(words * _powers(_MULTIPLIER, total), out=sums[1:])
        return cls(texts, np.repeat(np.arange(len(texts)), np.diff(bounds)), bounds, sums, _powers(_INVERSE, total))

    def windows(self, length: int) -> Keys:
        """The hash of the ``length`` words that begin at each place, (max(0, w - length + 1),)."""
        count = max(0, self.document.size - length + 1)
        keys: Keys = (self._sums[length : length + count] - self._sums[:count]) * self._scale[:count]
        return keys

    def inside(self, at: Ints, length: int) -> Ints:
        """Those of the places ``at`` whose ``length`` words are of one text."""
        kept: Ints = at[self.document[at] == self.document[at + length - 1]]
        return kept


def _powers(base: int, count: int) -> Keys:
    """1, base, base^2, … modulo 2^64 (count,)."""
    factors = np.full(count, base, np.uint64)
    factors[:1] = 1
    return np.cumprod(factors)
