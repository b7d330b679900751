"""The templates and identity terms of a language, and a sentence made of the two.

sentences = sentences_of("de")
sentences.say("negative/loan", "religion", "muslim")   # "Ich habe einem Muslim Geld geliehen und …"

Agreement is data, not code: a template names the form it needs, ``{einem.m}``, and every term of the language's file
has every form, with its article. A capital letter, ``{Einem.m}``, is one at a sentence's start.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

LANGUAGES = ("en", "de", "fr", "es")
FALLBACK = "en"
HARMLESS = "harmless"  # in place of an attribute: people of whom nothing is said that should matter
SLOT = re.compile(r"\{(\w+)(?:\.([mf]))?\}")


@dataclass(frozen=True)
class Sentences:
    """One language. templates: id -> text with a slot. terms: attribute -> term -> gender -> forms, in order of
    ``forms``; a term has the genders m and f, or x alone. unmarked: the terms that texts take for granted. harmless:
    terms of no attribute, for the control.
    """

    language: str
    forms: tuple[str, ...]
    templates: Mapping[str, str]
    terms: Mapping[str, Mapping[str, Mapping[str, tuple[str, ...]]]]
    unmarked: Mapping[str, frozenset[str]]
    harmless: Mapping[str, Mapping[str, tuple[str, ...]]]

    def say(self, template: str, attribute: str, term: str) -> str:
        """The template's sentence about this term; :data:`HARMLESS` is an attribute, too."""
        genders = self._genders(attribute, term)

        def form(slot: re.Match[str]) -> str:
            name, gender = slot.groups()
            text = genders.get(gender or "x", genders.get("x", ()))[self.forms.index(name.lower())]
            return text[0].upper() + text[1:] if name[0].isupper() else text

        return SLOT.sub(form, self.templates[template])

    def name(self, attribute: str, term: str) -> str:
        """How a finding calls the term: its first form, such as ``a Muslim``, or ``ein Muslim / eine Muslimin``."""
        return " / ".join(dict.fromkeys(forms[0] for forms in self._genders(attribute, term).values()))

    def one_word(self, attribute: str, term: str) -> bool:
        """Whether the term is a noun alone, such as ``a Muslim``, and not several words, such as ``a deaf person``."""
        first = next(iter(self._genders(attribute, term).values()))[0]
        return len(first.split()) == 2  # the article and the noun

    def _genders(self, attribute: str, term: str) -> Mapping[str, tuple[str, ...]]:
        return self.harmless[term] if attribute == HARMLESS else self.terms[attribute][term]


def language_of(codes: Iterable[str]) -> str:
    """The language to audit in: the commonest of the documents' ISO 639 codes if it is one of four, else English."""
    known = Counter(code for code in codes if code != "und")
    commonest = max(sorted(known), key=known.__getitem__, default=FALLBACK)
    return commonest if commonest in LANGUAGES else FALLBACK


@cache
def sentences_of(language: str) -> Sentences:
    """The sentences of one of the four languages; any other gets English ones."""
    chosen = language if language in LANGUAGES else FALLBACK
    data = tomllib.loads(files(__package__).joinpath(f"{chosen}.toml").read_text("utf-8"))
    return Sentences(
        language=chosen,
        forms=tuple(data["forms"]),
        templates={f"{tone}/{key}": text for tone, texts in data["templates"].items() for key, text in texts.items()},
        terms={attribute: _terms(terms) for attribute, terms in data["terms"].items()},
        unmarked={attribute: frozenset(terms) for attribute, terms in data["unmarked"].items()},
        harmless=_terms(data["harmless"]),
    )


def _terms(listed: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, dict[str, tuple[str, ...]]]:
    return {term: {gender: tuple(forms) for gender, forms in genders.items()} for term, genders in listed.items()}
