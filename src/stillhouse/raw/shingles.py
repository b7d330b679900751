"""Shingles: a text as hashed runs of consecutive tokens, which near copies share and other texts do not.

found = shingles("Fine film, all in all.", words=3, characters=4)       # uint64, sorted, each once
batch = shingle_texts(texts, words=3, characters=4)
batch.values[batch.offsets[0] : batch.offsets[1]]                       # the first text's, in the order of the text

A text is compared as NFKC, case-folded, without invisible characters. Its tokens are the runs of letters, digits and
combining marks; everything else only separates. In scripts that put no space between words (Han, kana, Thai, Khmer,
...) each letter is a token of its own, with its marks. A shingle has ``words`` tokens if it starts with a word and
``characters`` tokens if it starts with such a letter: the rule looks at one place in the text and never at the text
as a whole, so mixed texts need no decision that a small edit could tip over.

A text's beginning and end are padded, so every token is in exactly as many shingles as a shingle has tokens: a changed
last word weighs as much as one in the middle (and templates that end in the one word that matters stay apart).
Order counts within a shingle; where a shingle stands, and how often, does not.

A text with fewer tokens than the longer of the two sizes has no shingles and is near to nothing: compare it exactly.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

# letters of scripts written without spaces between words (Unicode Standard, Scripts.txt; UAX #14 classes SA and ID)
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19DF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x1B00, 0x1B7F),  # Balinese
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark and zero
    (0x3041, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana
    (0x3400, 0x4DBF),  # Han
    (0x4E00, 0x9FFF),  # Han
    (0xA000, 0xA4CF),  # Yi
    (0xA980, 0xA9FF),  # Javanese, Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0x1AFF0, 0x1B16F),  # kana
    (0x20000, 0x3FFFF),  # Han
)
# default-ignorable characters: they neither show nor separate (Unicode Standard, DerivedCoreProperties.txt)
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_LAST = 0x3FFFF  # no letter is assigned beyond; this one is no character and separates
_SEPARATOR, _LETTER, _MARK, _LONE, _LONE_MARK = range(5)
_BLOCK = 1 << 17  # characters that are turned into arrays together, about 60 bytes each

U64 = NDArray[np.uint64]


@dataclass(frozen=True)
class Shingles:
    """Shingles of n texts: text i has ``values[offsets[i]:offsets[i + 1]]``, repeats included.

    values: (m,) uint64, hashes good in every bit; offsets: (n + 1,) int64.
    """

    values: U64
    offsets: NDArray[np.int64]


def shingles(text: str, *, words: int, characters: int) -> U64:
    """The set of one text's shingles: uint64, sorted, each once; empty if the text is too short to have any."""
    return np.unique(shingle_texts([text], words=words, characters=characters).values)


def shingle_texts(texts: Sequence[str], *, words: int, characters: int) -> Shingles:
    """Shingles of every text, each as if it were alone; sizes in tokens, at least 1."""
    blocks = list(shingle_blocks(texts, words=words, characters=characters))
    values = np.concatenate([np.empty(0, np.uint64), *(block.values for block in blocks)])
    counts = np.concatenate([np.zeros(1, np.int64), *(np.diff(block.offsets) for block in blocks)])
    return Shingles(values, counts.cumsum())


def shingle_blocks(texts: Sequence[str], *, words: int, characters: int) -> Iterator[Shingles]:
    """The same for one stretch of texts after another, few enough for the arrays to stay in the processor's cache."""
    if words < 1 or characters < 1:
        raise ValueError(f"a shingle has at least one token, not {words} words or {characters} characters")
    block: list[str] = []
    size = 0
    for text in texts:
        block.append(_folded(text))
        size += len(block[-1])
        if size >= _BLOCK:
            yield _shingled(block, words, characters)
            block, size = [], 0
    if block:
        yield _shingled(block, words, characters)


def mixed(values: U64) -> U64:
    """A bijection of 64 bits whose every output bit depends on every input bit (finalizer of SplitMix64: Steele, Lea
    and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def stream(seed: int, count: int) -> U64:
    """The first numbers of SplitMix64 from this seed: the same on every machine."""
    steps = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return mixed(steps + np.uint64(seed % 2**64))


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold()


def _shingled(texts: Sequence[str], words: int, characters: int) -> Shingles:
    hashes, lone, counts = _tokens(texts)
    longest = max(words, characters)
    enough = counts >= longest
    kept = np.repeat(enough, counts)
    hashes, lone, lengths = hashes[kept], lone[kept], counts[enough]
    offsets = np.zeros(len(texts) + 1, np.int64)
    if not len(hashes):
        return Shingles(hashes, offsets)
    # one line of tokens with longest - 1 zeros before each text and after the last: no shingle reaches another text
    gap = longest - 1
    width = lengths + gap
    inside = np.arange(width.sum()) - np.repeat(np.cumsum(width) - lengths, width)  # below zero in the padding
    token = inside >= 0
    line = np.zeros(len(inside) + gap, np.uint64)
    line[: len(inside)][token] = hashes
    token_size = np.where(lone, characters, words)
    lead = token_size[np.cumsum(lengths) - lengths]  # a shingle that starts in the padding: as the first token says
    size = np.repeat(lead, width)
    full = inside > -size  # a shingle that starts here has a token
    size[token] = token_size
    total = np.zeros(len(inside), np.uint64)
    # one odd multiplier for each place in a shingle, so that order counts
    for index, multiplier in enumerate(stream(1, longest) | np.uint64(1)):
        term = line[index : index + len(inside)] * multiplier
        total += term if index < min(words, characters) else np.where(size > index, term, np.uint64(0))
    offsets[1:][enough] = lengths + lead - 1
    return Shingles(mixed(total[full]), offsets.cumsum())


def _tokens(texts: Sequence[str]) -> tuple[U64, NDArray[np.bool_], NDArray[np.int64]]:
    """Of all tokens in a row: hash, whether it is a letter of an unspaced script; and the number in each text."""
    kinds_of, values_of = _alphabet()
    codes = np.frombuffer("\n".join(["", *texts, ""]).encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = kinds_of.take(codes, mode="clip")  # the last of the table separates, and so does all beyond
    before = np.concatenate((kinds[:1], kinds[:-1]))
    starts = np.flatnonzero(
        (kinds == _LONE) | ((before == _SEPARATOR) & (kinds != _SEPARATOR)) | ((before >= _LONE) & (kinds == _LETTER))
    )
    if not len(starts):
        return np.empty(0, np.uint64), np.empty(0, np.bool_), np.zeros(len(texts), np.int64)
    lengths = np.diff(np.append(starts, len(codes)))  # of each token and the separators behind it, which count as zero
    within = np.arange(starts[0], len(codes)) - np.repeat(starts, lengths)
    # a random value for the letter times one for its place, summed mod 2**64 (multilinear hashing: Lemire and Kaser,
    # "Strongly universal string hashing is fast", The Computer Journal 2014)
    factors = stream(2, int(lengths.max())) | np.uint64(1)
    terms = values_of.take(codes[starts[0] :], mode="clip") * factors[within]
    hashes = np.add.reduceat(terms, starts - starts[0])
    bounds = np.cumsum([1, *(len(text) + 1 for text in texts)])
    return mixed(hashes), kinds[starts] == _LONE, np.diff(np.searchsorted(starts, bounds))


@cache
def _alphabet() -> tuple[NDArray[np.uint8], U64]:
    """Of every code point up to the last letter: its kind, and a random value that is zero for separators."""
    kinds = np.zeros(_LAST + 1, np.uint8)
    categories = [unicodedata.category(chr(code)) for code in range(_LAST + 1)]
    kinds[[category[0] in "LN" for category in categories]] = _LETTER
    kinds[[category in ("Mn", "Mc") for category in categories]] = _MARK
    for start, stop in _UNSPACED:
        part = kinds[start : stop + 1]
        part[part == _MARK] = _LONE_MARK
        part[part == _LETTER] = _LONE
    return kinds, np.where(kinds == _SEPARATOR, np.uint64(0), stream(3, _LAST + 1))
