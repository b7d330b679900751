"""The control of the swaps: the same sentences about people of whom nothing is said that should matter.

harmless = control_set(swaps, seed=0)        # for swaps of templates; those of documents: own_swaps(..., harmless=True)
harmless.pairs("gender")                     # from the same templates as swaps.pairs("gender")

A student that turns its label when *a visitor* takes the place of *a cyclist* is unsteady; one that does so only when
*a woman* takes the place of *a man* goes by identity. Each sentence of the swaps has two counterparts here in
its template: nouns for a noun, several words for several words. Two, since the control is half of what is compared and
its terms are drawn from few: with two, a merely unsteady student is told twice as often as with one. A template's
harmless sentences are shared by the attributes, so that the control costs some 700 texts where the swaps cost 1,200.
"""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from stillhouse.finish.audit.swaps.choice import SwapSet, named_hash
from stillhouse.finish.audit.swaps.sentences import HARMLESS, Sentences, sentences_of

TIMES = 2  # harmless sentences for each of the others


@dataclass(frozen=True)
class Control:
    """Harmless texts, and what both models say of them: (N, K) probabilities."""

    swaps: SwapSet
    teacher_probs: ArrayLike
    student_probs: ArrayLike


def control_set(swaps: SwapSet, *, seed: int) -> SwapSet:
    """Harmless sentences for a set of templates, under the attributes that they are held against.

    Where an attribute has many terms of a kind in a template, there may be fewer harmless ones for it.
    """
    sentences = sentences_of(swaps.language)
    rows: list[tuple[str, str, str, str]] = []
    for attribute in sorted(set(swaps.attributes)):
        for group in swaps.groups(attribute):
            template = swaps.templates[group[0]]
            kinds = [sentences.one_word(attribute, swaps.terms[at]) for at in group]
            for one_word in (True, False):
                chosen = _ordered(sentences, template, one_word, seed)[: TIMES * kinds.count(one_word)]
                rows += [(sentences.say(template, HARMLESS, term), template, attribute, term) for term in chosen]
    texts, templates, attributes, taken = zip(*rows, strict=True)
    names = {(own, term): sentences.name(HARMLESS, term) for own, term in zip(attributes, taken, strict=True)}
    return SwapSet(swaps.language, swaps.source, texts, templates, attributes, taken, names)


def _ordered(sentences: Sentences, template: str, one_word: bool, seed: int) -> list[str]:
    """The harmless terms of this kind in the order in which this template takes them, whatever the attribute."""
    terms = (term for term in sentences.harmless if sentences.one_word(HARMLESS, term) == one_word)
    return sorted(terms, key=lambda term: named_hash(seed, template, term))
