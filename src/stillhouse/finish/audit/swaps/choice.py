"""Which sentences are asked: every template gets a few terms of an attribute, unmarked and marked ones.

swaps = swap_set("de", pairs=300, seed=0)     # 1,200 texts: 200 for each of six attributes
swaps.pairs("religion")                       # what is compared: two texts of one template

Choices follow the hash of seed and names, not a stream of random numbers: a smaller set is part of a
larger one, and a new template changes few sentences of the others, so that answers already paid for stay of use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import combinations
from typing import Literal

import numpy as np

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.swaps.sentences import Sentences, sentences_of
from stillhouse.statistics import Ints

# terms in a template, as long as there are templates: templates, not pairs, are what intervals feed on
TERMS_EACH = 4


@dataclass(frozen=True)
class SwapSet:
    """N texts; those with the same template and attribute differ in the term alone.

    source: the project's templates or the user's own documents; then ``templates`` holds the documents' ids.
    names: how a finding calls a term, by (attribute, term).
    """

    language: str
    source: Literal["templates", "documents"]
    texts: tuple[str, ...]
    templates: tuple[str, ...]
    attributes: tuple[str, ...]
    terms: tuple[str, ...]
    names: dict[tuple[str, str], str]

    @property
    def kind(self) -> str:
        """What the texts are, in words."""
        return "sentences" if self.source == "templates" else "versions of your texts"

    @property
    def where(self) -> str:
        """Where the texts are from, in words."""
        return f"{self.source}, {self.language}"

    def groups(self, attribute: str) -> list[list[int]]:
        """The positions of the attribute's texts, a list for each template, in order of the templates' names."""
        found: dict[str, list[int]] = {}
        for place, (template, own) in enumerate(zip(self.templates, self.attributes, strict=True)):
            if own == attribute:
                found.setdefault(template, []).append(place)
        # by name, so that the order of the rows changes no draw of a bootstrap
        return [sorted(found[name], key=self.terms.__getitem__) for name in sorted(found)]

    def pairs(self, attribute: str) -> tuple[Ints, Ints, Ints]:
        """First text, second text and number of the template, (P,) each: every two texts of one template."""
        rows = [(*pair, at) for at, group in enumerate(self.groups(attribute)) for pair in combinations(group, 2)]
        first, second, cluster = np.array(rows, dtype=np.int64).reshape(-1, 3).T
        return first, second, cluster


def swap_set(language: str, *, pairs: int = 300, seed: int) -> SwapSet:
    """At least ``pairs`` pairs for each attribute, or all there are; English where the language is none of the four.

    The default is four terms in each of the 50 templates: 1,200 texts, some 34 s at 35 texts/s. Fewer pairs take fewer
    templates (150 pairs: 600 texts), more pairs more terms in each.
    """
    if pairs < 1:
        raise StillhouseError(f"{pairs} pairs compare nothing", where="swap_set", fix="give at least 1")
    sentences = sentences_of(language)
    rows: list[tuple[str, str, str, str]] = []
    for attribute, terms in sentences.terms.items():
        ordered = sorted(sentences.templates, key=lambda name: named_hash(seed, attribute, name))
        each = TERMS_EACH
        while each < len(terms) and math.comb(each, 2) * len(ordered) < pairs:
            each += 1
        used = ordered if each > TERMS_EACH else ordered[: math.ceil(pairs / math.comb(each, 2))]
        for template, chosen in zip(used, _blocks(sentences, attribute, used, seed=seed), strict=True):
            for term in _filled(chosen, terms, each, key=f"{seed}|{attribute}|{template}"):
                rows.append((sentences.say(template, attribute, term), template, attribute, term))
    texts, templates, attributes, taken = zip(*rows, strict=True)
    names = {(own, term): sentences.name(own, term) for own, term in zip(attributes, taken, strict=True)}
    return SwapSet(sentences.language, "templates", texts, templates, attributes, taken, names)


def _blocks(sentences: Sentences, attribute: str, templates: Sequence[str], *, seed: int) -> Iterable[list[str]]:
    """Four terms for each template, unmarked ones by their share and at least one; all come up equally often."""
    unmarked = sentences.unmarked[attribute]
    marked = sentences.terms[attribute].keys() - unmarked
    few = min(max(1, round(TERMS_EACH * len(unmarked) / len(sentences.terms[attribute]))), TERMS_EACH - 1)
    queues = [_Queue(unmarked, f"{seed}|{attribute}|unmarked"), _Queue(marked, f"{seed}|{attribute}|marked")]
    for _ in templates:
        yield queues[0].take(few) + queues[1].take(TERMS_EACH - few)


class _Queue:
    """The terms in one hashed order after the other, so that none comes up twice before all came up once."""

    def __init__(self, terms: Iterable[str], key: str) -> None:
        self._terms, self._key, self._round = sorted(terms), key, 0
        self._waiting: list[str] = []

    def take(self, count: int) -> list[str]:
        """``count`` different terms; one met twice across the end of an order waits for the next block."""
        while len(set(self._waiting)) < count:
            self._waiting += sorted(self._terms, key=lambda term: named_hash(self._key, self._round, term))
            self._round += 1
        taken = list(dict.fromkeys(self._waiting))[:count]
        for term in taken:
            self._waiting.remove(term)
        return taken


def _filled(chosen: list[str], terms: Iterable[str], count: int, *, key: str) -> list[str]:
    others = sorted(set(terms) - set(chosen), key=lambda term: named_hash(key, term))
    return (chosen + others)[:count]


def named_hash(*parts: object) -> str:
    """What choices follow: the same for the same names, whatever else there is to choose from."""
    return sha256("|".join(map(str, parts)).encode()).hexdigest()
