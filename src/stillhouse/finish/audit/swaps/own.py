"""Swaps in the user's own texts: a document that names a listed person once, and the same about another.

swaps = own_swaps(texts, ids, language="en", seed=0)
swaps.texts            # "an old woman waited", "a young woman waited", …
own_swaps(texts, ids, language="en", seed=0, harmless=True).texts     # the control: "a seated woman waited", …

English only: in German, French and Spanish articles, adjectives and participles further on agree with the person, and
no word list can mend them. In English it is tried only where nothing else in the text can be at odds with the new word:
the attribute is named once, by a noun after a determiner, a plural, or an adjective before a word for a person; no
neighbor is a name; for gender, no pronoun or title tells the gender again. Everything else is left alone.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.finish.audit.swaps.control import TIMES

_ARTICLE = re.compile(r"\b([Aa])n?(\s+)$")
_WORD_BEFORE = re.compile(r"([\w'’-]+)\s+$")
_WORD_AFTER = re.compile(r"\s+([\w'’-]+)")
_SENTENCE_START = re.compile(r"(?:^|[.!?…]['\"”’)]*\s+|\n\s*)['\"“‘(]*$")


@dataclass(frozen=True)
class _Words:
    """Interchangeable words (word -> term), and what must stand beside one of them."""

    attribute: str
    place: str  # "determined", "plural" or "before a person"
    terms: Mapping[str, str]


@dataclass(frozen=True)
class _Lists:
    sets: tuple[_Words, ...]
    persons: frozenset[str]
    determiners: frozenset[str]
    gendered: frozenset[str]
    known: Mapping[str, re.Pattern[str]]  # attribute -> any of its words
    harmless: Mapping[str, Mapping[str, str]]  # place -> word -> term, of no attribute

    def swapped(
        self, text: str, attribute: str, *, key: str, variants: int, harmless: bool = False
    ) -> list[tuple[str, str]]:
        """The text itself and up to ``variants`` others, each with its term; nothing where no swap is safe.

        harmless: texts with harmless words in the same place instead, ``TIMES`` as many, and not the text itself.
        """
        found = list(self.known[attribute].finditer(text))
        if len(found) != 1:
            return []
        start, end = found[0].span()
        old, before, after = text[start:end], text[:start], text[end:]
        if attribute == "gender" and self.gendered & {word.lower() for word in re.findall(r"\w+", before + after)}:
            return []
        words = next((one for one in self._of(attribute, old.lower()) if self._fits(one, old, before, after)), None)
        if words is None:
            return []
        terms = {word.lower(): term for word, term in words.terms.items()}
        mine = terms.pop(old.lower())
        others = sorted((word for word in words.terms if word.lower() in terms), key=lambda word: _hash(key, word))
        listed = next(word for word in words.terms if word.lower() == old.lower())
        if harmless:
            place = self.harmless[words.place]
            taken = sorted(place, key=lambda word: _hash(key, word))[: TIMES * (1 + len(others[:variants]))]
            return [(_with_article(before, word) + _written(word, old, before) + after, place[word]) for word in taken]
        return [(text, mine)] + [
            (_with_article(before, word) + _cased(word, listed, old) + after, words.terms[word])
            for word in others[:variants]
        ]

    def _of(self, attribute: str, word: str) -> list[_Words]:
        return [one for one in self.sets if one.attribute == attribute and word in {name.lower() for name in one.terms}]

    def _fits(self, words: _Words, old: str, before: str, after: str) -> bool:
        previous, following = _WORD_BEFORE.search(before), _WORD_AFTER.match(after)
        starts = bool(_SENTENCE_START.search(before))
        named = following is not None and following[1][0].isupper()
        named |= previous is not None and not starts and previous[1][0].isupper() and not _opens(before, previous[1])
        # a capital where the list has none, and no sentence begins: a title
        listed = next(word for word in words.terms if word.lower() == old.lower())
        if named or (old[0].isupper() and listed[0].islower() and not starts):
            return False
        if words.place == "determined":
            return previous is not None and previous[1].lower() in self.determiners
        if words.place == "before a person":
            return following is not None and following[1].lower() in self.persons
        return True


def own_swaps(
    texts: Sequence[str],
    ids: Sequence[str],
    *,
    language: str,
    documents: int = 30,
    variants: int = 2,
    harmless: bool = False,
    seed: int,
) -> SwapSet:
    """Up to ``documents`` texts for each attribute, chosen by the hash of their ids, and ``variants`` swaps of each.

    harmless: of the same documents versions with harmless words in the same place, twice as many: the control.

    The default costs no more than 540 texts, some 16 s at 35 texts/s, and usually far fewer; the control up to twice
    that. Give texts of one language; one other than English gives an empty set, to which :func:`audit_swaps` has
    nothing to say.
    """
    if len(texts) != len(ids) or len(set(ids)) != len(ids):
        raise StillhouseError(
            f"{len(texts)} texts and {len(set(ids))} different ids do not go together",
            where="own_swaps",
            fix="give every text an id of its own",
        )
    if language != "en":
        return SwapSet(language, "documents", (), (), (), (), {})
    lists = _lists()
    order = sorted(range(len(texts)), key=lambda at: _hash(seed, ids[at]))
    rows: list[tuple[str, str, str, str]] = []
    for attribute in lists.known:
        used = 0
        for at in order:
            if used == documents:
                break
            key = f"{seed}|{ids[at]}"
            made = lists.swapped(texts[at], attribute, key=key, variants=variants, harmless=harmless)
            rows += [(text, ids[at], attribute, term) for text, term in made]
            used += bool(made)
    names = {(attribute, term): f"“{term}”" for _, _, attribute, term in rows}
    columns = [tuple(row[at] for row in rows) for at in range(4)]
    return SwapSet("en", "documents", columns[0], columns[1], columns[2], columns[3], names)


@cache
def _lists() -> _Lists:
    data = tomllib.loads(files(__package__).joinpath("own_en.toml").read_text("utf-8"))
    sets = tuple(_Words(one["attribute"], one["place"], one["words"]) for one in data["sets"])
    known: dict[str, list[str]] = {}
    for one in sets:
        known.setdefault(one.attribute, []).extend(one.terms)
    return _Lists(
        sets=sets,
        persons=frozenset(data["persons"]),
        determiners=frozenset(data["determiners"]),
        gendered=frozenset(data["gendered"]),
        known={
            # whole words; a hyphen makes another word of it
            attribute: re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, sorted(words)))})(?![\w-])", re.IGNORECASE)
            for attribute, words in known.items()
        },
        harmless=data["harmless"],
    )


def _opens(before: str, word: str) -> bool:
    """Whether the word right before begins its sentence."""
    return bool(_SENTENCE_START.search(before[: before.rindex(word)]))


def _with_article(before: str, word: str) -> str:
    """``a`` or ``an`` before the new word, as its first letter wants it; the list has no word where that is wrong."""
    vowel = word[0].lower() in "aeiou"
    return _ARTICLE.sub(lambda found: found[1] + ("n" if vowel else "") + found[2], before)


def _cased(word: str, listed: str, old: str) -> str:
    """The new word in the way the old one was written, against the way the list has both."""
    if old == listed:
        return word
    if len(old) > 1 and old.isupper():
        return word.upper()
    return word.lower() if old.islower() else word[0].upper() + word[1:]


def _written(word: str, old: str, before: str) -> str:
    """A word of lower case where the old one stood, which the language may write with a capital anywhere."""
    if len(old) > 1 and old.isupper():
        return word.upper()
    return word[0].upper() + word[1:] if old[0].isupper() and _SENTENCE_START.search(before) else word


def _hash(*parts: object) -> str:
    return sha256("|".join(map(str, parts)).encode()).hexdigest()
