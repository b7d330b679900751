"""License texts: recognised by what they say, whatever file, name or layout they come in.

A text is reduced to its words (Unicode NFKC, case folded, copyright notices dropped), found by how it starts, and
compared by the SHA-256 of everything from there to its end. So line breaks, quotation marks and the holder's name do
not matter, and one changed or added word does.

    found = recognise(path.read_text(), table_of_known_texts)
    found.match     # "same", "altered" or "none"
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

_GOES_ON = re.compile(r"[.;:]\s+\w+\s+\w+\s+\w+")  # a sentence after the holder's name is part of the text
_RESERVED = re.compile(r"all rights reserved\.?", re.I)
_WORD = re.compile(r"[^\W_]+")
_COPYRIGHT = re.compile(r"[\s#*/>-]*(?:copyright\s*(?:\(c\)|©|\[|<|\d{4})|(?:\(c\)|©)\s*\d{4})", re.I)
_START_WORDS = 8
_LONGEST_PREAMBLE = 24  # a title, an "SPDX-License-Identifier" line, "All rights reserved."
_NO_TITLE = frozenset({"not", "no", "may", "must", "shall", "only", "except", "without", "unless", "prohibited"})
# marks that differ between copies of one text
_MARKS = str.maketrans({"’": "'", "‘": "'", "\u00ad": None})


class KnownText(Protocol):
    """The first words of a text that was read, and the hash of all its words."""

    @property
    def start(self) -> str:
        """The first words, normalized."""
        ...

    @property
    def sha256(self) -> str:
        """SHA-256 over all words from the start on."""
        ...


@dataclass(frozen=True)
class Recognised:
    """What a text is. same: word for word one that was read. altered: it begins like one, and goes on otherwise.
    sha256 is that of the text from where it starts, for a terms file of one's own."""

    match: Literal["same", "altered", "none"]
    terms: str | None
    start: str
    sha256: str


def words_of(text: str) -> list[str]:
    """The words that count, in order."""
    kept, opens = [], True
    for line in text.splitlines():
        # a notice stands in a paragraph of its own; the same words inside a sentence are part of the text
        notice = opens and _COPYRIGHT.match(line) is not None and not _GOES_ON.search(_RESERVED.sub("", line))
        opens = notice or not line.strip()
        if not notice:
            kept.append(line)
    return _WORD.findall(unicodedata.normalize("NFKC", "\n".join(kept)).translate(_MARKS).casefold())


def start_of(text: str) -> str:
    """The first words of a text, as a terms file states them."""
    return " ".join(words_of(text)[:_START_WORDS])


def hash_of(text: str) -> str:
    """The hash of all words of a text, as a terms file states it."""
    return _hash(words_of(text))


def recognise(text: str, known: Iterable[tuple[str, KnownText]]) -> Recognised:
    """Find ``text`` among ``known`` pairs of (terms id, text). Several may start alike; the hash decides."""
    words = words_of(text)
    altered: str | None = None
    for terms, candidate in known:
        at = _find(words, candidate.start.split())
        if at is None:
            continue
        if _hash(words[at:]) == candidate.sha256:
            return Recognised("same", terms, candidate.start, candidate.sha256)
        altered = altered or terms
    here = " ".join(words[:_START_WORDS])
    return Recognised("altered" if altered else "none", altered, here, _hash(words))


def _find(words: list[str], start: list[str]) -> int | None:
    for at in range(min(len(words), _LONGEST_PREAMBLE + 1)):
        if words[at : at + len(start)] == start:
            return at if not _NO_TITLE & set(words[:at]) else None
    return None


def _hash(words: list[str]) -> str:
    return hashlib.sha256(" ".join(words).encode("utf-8")).hexdigest()
