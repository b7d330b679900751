"""Streams of composed text in any of the nine languages: templates filled with words drawn by Zipf's law, in blocks.

    stream = stream_of("de")
    texts = stream.documents(lengths, rng)       # lengths in characters, one text for each

A word of rank r in its class has a probability proportional to (r + 2.7) to the power of -1.1, Mandelbrot's form of
Zipf's law. Texts of a block are cut from one long run of sentences, so drawing costs some ten nanoseconds a word.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from bench.raw_languages import LANGUAGES, Language

Ints = npt.NDArray[np.int64]

SHIFT, EXPONENT = 2.7, 1.1
OPEN_CELLS, CLOSED_CELLS = 1 << 17, 1 << 10  # of the table that turns a random number into a word
LEAST_SENTENCES = 2  # one alone may come twice by chance, which would be a copy that nobody planted
STOPS = {"zh": ("。", "，", "？"), "ja": ("。", "、", "？"), "ar": (".", "،", "؟"), "el": (".", ",", ";")}
SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou"]


def numbered_word(number: int) -> str:
    """A made-up word of at least three syllables that no other number has."""
    parts: list[str] = []
    while number or len(parts) < 3:
        number, digit = divmod(number, len(SYLLABLES))
        parts.append(SYLLABLES[digit])
    return "".join(parts)


def made_up(language: Language, endings: str, count: int, chance: random.Random) -> list[str]:
    """``count`` different words of one or more syllables and an ending; ``.`` in a list stands for nothing."""
    onsets, nuclei, codas, ends = (
        [part.replace(".", "") for part in parts.split()] or [""]
        for parts in (language.onsets, language.nuclei, language.codas, endings)
    )
    found: dict[str, None] = {}
    while len(found) < count:
        syllables = chance.choice((1, 1, 1, 2)) if language.spaced else chance.choice((1, 1, 2))
        core = "".join(chance.choice(onsets) + chance.choice(nuclei) + chance.choice(codas) for _ in range(syllables))
        last = chance.choice([onset for onset in onsets if len(onset) == 1]) if language.spaced else ""
        found[core + last + chance.choice(ends)] = None
    return list(found)


@dataclass(frozen=True)
class Stream:
    """Compiled tables of one language.

    pieces: every written form with the space before it. cells: numbers of pieces; the slot s draws from
    ``cells[offset[s] + (random & mask[s])]``. slots: those of all templates, one after the other.
    """

    pieces: list[str]
    widths: Ints
    cells: Ints
    offset: Ints
    mask: Ints
    slots: Ints
    starts: Ints
    sizes: Ints
    mean: float
    skip: int

    def documents(self, lengths: Ints, rng: np.random.Generator) -> list[str]:
        """One text for each of ``lengths`` (characters), cut at the sentence's end that is nearest."""
        enough = int(1.2 * lengths.sum() / self.mean) + LEAST_SENTENCES * len(lengths) + 32
        numbers, ends = self._sentences(enough, rng)
        characters = np.cumsum(self.widths[numbers])[ends - 1]
        cuts = np.searchsorted(characters, np.cumsum(lengths) - self.mean / 2) + 1
        least = LEAST_SENTENCES * np.arange(1, len(lengths) + 1)
        cuts = np.maximum.accumulate(np.maximum(cuts, LEAST_SENTENCES) - least) + least
        assert cuts[-1] <= enough, "too few sentences drawn"
        words = list(map(self.pieces.__getitem__, numbers[: ends[cuts[-1] - 1]].tolist()))
        bounds = [0, *ends[cuts - 1].tolist()]
        return ["".join(words[start:end])[self.skip :] for start, end in pairwise(bounds)]

    def _sentences(self, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
        """Numbers of the pieces of ``count`` sentences, and where each ends among them."""
        picks = rng.integers(0, len(self.sizes), count)
        sizes = self.sizes[picks]
        ends = np.cumsum(sizes)
        slots = self.slots[np.repeat(self.starts[picks] - ends + sizes, sizes) + np.arange(ends[-1])]
        drawn = rng.integers(0, OPEN_CELLS, len(slots))
        return self.cells[self.offset[slots] + (drawn & self.mask[slots])], ends


@cache
def stream_of(code: str) -> Stream:
    """The stream of a language of :data:`LANGUAGES`; always the same tables."""
    language = LANGUAGES[code]
    chance = random.Random(f"words of {code}")
    words = {
        name: [*kind.real.split(), *made_up(language, kind.endings, kind.made_up, chance)]
        for name, kind in language.open.items()
    }
    words |= {name: listed.split() for name, listed in language.closed.items()}
    stop, comma, question = STOPS.get(code, (".", ",", "?"))
    words |= {".": [stop, stop, stop, stop, "!"] if language.spaced else [stop], ",": [comma], "?": [question]}
    tables = _Tables(language, words)
    templates = [line.split() for line in language.templates.splitlines()]
    slots = [[tables.slot(name, first=place == 0) for place, name in enumerate(names)] for names in templates]
    return tables.stream(slots)


class _Tables:
    """Collects the slots that templates ask for, and the pieces that these draw."""

    def __init__(self, language: Language, words: dict[str, list[str]]) -> None:
        self.language, self.words = language, words
        self.numbers: dict[str, int] = {}
        self.known: dict[tuple[str, bool], int] = {}
        self.cells: list[Ints] = []

    def slot(self, name: str, *, first: bool) -> int:
        """The slot of a class or of a literal word; ``first`` of a sentence is capitalized."""
        key = (name, first)
        if key not in self.known:
            self.known[key] = len(self.cells)
            self.cells.append(self._drawn(name, first=first))
        return self.known[key]

    def _drawn(self, name: str, *, first: bool) -> Ints:
        words = self.words.get(name, [name])
        space = "" if name in (".", ",", "?") or not self.language.spaced else " "
        forms = [self._written(word, name, first=first) for word in words]
        numbers = np.array([self.numbers.setdefault(space + form, len(self.numbers)) for form in forms])
        if len(numbers) == 1:
            return numbers
        size = OPEN_CELLS if name in self.language.open else CLOSED_CELLS
        # stops are drawn evenly, words by their rank
        weights = np.ones(len(numbers)) if name == "." else (np.arange(len(numbers)) + 1 + SHIFT) ** -EXPONENT
        summed = np.cumsum(weights / weights.sum())
        cells: Ints = numbers[np.searchsorted(summed, (np.arange(size) + 0.5) / size).clip(max=len(numbers) - 1)]
        return cells

    def _written(self, word: str, name: str, *, first: bool) -> str:
        capital = first or (name == "N" and self.language.capital_nouns)
        return word[0].upper() + word[1:] if capital else word

    def stream(self, templates: list[list[int]]) -> Stream:
        pieces = list(self.numbers)
        widths = np.array([len(piece) for piece in pieces])
        counts = np.array([len(cells) for cells in self.cells])
        sizes = np.array([len(slots) for slots in templates])
        expected = np.array([widths[cells].mean() for cells in self.cells])
        slots = np.array([slot for template in templates for slot in template])
        return Stream(
            pieces=pieces,
            widths=widths,
            cells=np.concatenate(self.cells),
            offset=np.cumsum(counts) - counts,
            mask=counts - 1,
            slots=slots,
            starts=np.cumsum(sizes) - sizes,
            sizes=sizes,
            mean=float(expected[slots].sum() / len(templates)),
            skip=1 if self.language.spaced else 0,
        )
