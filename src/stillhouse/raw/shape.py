"""A text as the quality rules see it: its words, lines and repeated parts, each computed when first asked for.

shape = Shape("Buy now!\nBuy now!", language="en")
shape.words, shape.lines                  # ["Buy", "now!", "Buy", "now!"], ["Buy now!", "Buy now!"]
shape.duplicate_lines                     # (0.5, 0.5)
"""

from __future__ import annotations

import re
from functools import cached_property

from stillhouse.raw.repetition import Repetition, duplicate_shares, repetition

_PARAGRAPHS = re.compile(r"\n\s*\n")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Shape:
    """A text cut up, without the white space around it.

    text; words: what white space separates, or the single characters if ``unspaced``; distinct: different words;
    size: characters that are no white space; language: an ISO 639 code.
    """

    def __init__(self, text: str, language: str) -> None:
        self.text = text.strip()
        self.words = self.text.split()
        self.language = language
        self.size = sum(map(len, self.words))
        self.unspaced = self._is_unspaced()
        if self.unspaced:
            self.words = list("".join(self.words))
        self.distinct = set(self.words)

    def _is_unspaced(self) -> bool:
        if self.text.isascii() or not _UNSPACED.search(self.text):
            return False
        return 5 * len(_UNSPACED.findall(self.text)) >= self.size

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @cached_property
    def duplicate_lines(self) -> tuple[float, float]:
        return duplicate_shares(self.lines)

    @cached_property
    def duplicate_paragraphs(self) -> tuple[float, float]:
        return duplicate_shares(_PARAGRAPHS.split(self.text))

    @cached_property
    def repetition(self) -> Repetition:
        return repetition(self.words)

    def per_word(self, count: int) -> float | None:
        return count / len(self.words) if self.words else None

    def per_line(self, count: int) -> float | None:
        return count / len(self.lines) if self.lines else None
