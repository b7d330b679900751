"""Cleaning texts: repaired, normalized, judged for language and form, and freed of secrets and personal data.

    cleaner = Cleaner(secrets="redact", profile=SHORT)
    cleaner(["  Fine\\tfilm, write to jo@example.org "])   # [Cleaned("Fine film, write to <EMAIL>", "en", …)]
    duplicate_key(text)                                     # equal but for case and spacing

Each step can be turned off, and says what it did: in the text's notes, or as the reason for which it leaves. What a
text's neighbours are changes nothing.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.cuts import CutKind
from stillhouse.raw.credentials import find_credentials
from stillhouse.raw.html import html_to_text
from stillhouse.raw.language import identify
from stillhouse.raw.personal import find_personal
from stillhouse.raw.profiles import Profile
from stillhouse.raw.quality import judge_quality
from stillhouse.raw.repair import repair_text
from stillhouse.raw.spans import Span, redact

Handling = Literal["redact", "reject", "flag", "keep"]
UNDETERMINED = "und"


@dataclass(frozen=True)
class Leaves:
    """Why a text leaves: into which cut, the reason, and the score against the threshold where there is one."""

    cut: CutKind
    reason: str
    detail: str = ""
    score: float | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class Cleaned:
    """A cleaned text, its language, what was done to it, and why it leaves, if it does."""

    text: str
    language: str | None
    notes: tuple[str, ...] = ()
    leaves: Leaves | None = None


@dataclass(frozen=True)
class Cleaner:
    """The steps and their settings. profile: rules of form, ``None`` for none. languages: those to keep, empty: all."""

    repair: bool = True
    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    whitespace: Literal["fold", "keep"] = "fold"
    min_characters: int = 1
    max_characters: int = 50_000
    profile: Profile | None = None
    detect_language: bool = True
    languages: frozenset[str] = frozenset()
    secrets: Handling = "redact"
    personal: Handling = "redact"

    def __call__(self, texts: Sequence[str], *, html: bool = False) -> list[Cleaned]:
        """Every text cleaned, in the same order; ``html`` says that they are web pages."""
        mended = [self._mend(text, html) for text in texts]
        languages: list[str | None] = [None] * len(texts)
        if self.detect_language:
            languages = [found.code for found in identify([text for text, _ in mended])]
        return [self._judge(text, notes, language) for (text, notes), language in zip(mended, languages, strict=True)]

    def part(self, text: str, *, html: bool = False) -> str:
        """One part of a text, cleaned alike and not judged: a turn of a conversation whose whole has been judged."""
        text, _ = self._search(self._mend(text, html)[0])
        if self.whitespace == "fold":
            text, _ = self._search(" ".join(text.split()))
        return text

    def _mend(self, text: str, html: bool) -> tuple[str, list[str]]:
        notes: list[str] = []
        if html:
            text = html_to_text(text)
        if self.repair:
            repaired = repair_text(text)
            if repaired != text:
                notes.append("repaired")
            text = repaired
        return (text if self.unicode == "none" else unicodedata.normalize(self.unicode, text)), notes

    def _judge(self, text: str, notes: list[str], language: str | None) -> Cleaned:
        """Privacy first, since what leaves by another reason lies in the ledger with its text."""
        leaves: Leaves | None = None
        text, found = self._search(text)
        folded = " ".join(text.split()) if self.whitespace == "fold" else text
        if folded != text and self._searches():  # a number that a line break cut in two
            folded, more = self._search(folded)
            found += more
        for handling, reason, kinds in found:
            told = _counted(kinds)
            notes.append(f"{reason} {'kept' if handling == 'flag' else 'redacted'}: {told}")
            if handling == "reject":
                leaves = leaves or Leaves("head", reason, told, float(kinds.total()), 0.0)
        leaves = leaves or self._by_form(text, language)
        text = folded
        return Cleaned(text, language, tuple(notes), leaves or self._by_length(text))

    def _search(self, text: str) -> tuple[str, list[tuple[Handling, str, Counter[str]]]]:
        """The text with what is not to stay redacted, and what was found; redacting one kind can lay another bare."""
        found: list[tuple[Handling, str, Counter[str]]] = []
        for handling, reason, find in self._searches():
            spans = find(text)
            if spans:
                found.append((handling, reason, Counter(span.kind for span in spans)))
                text = text if handling == "flag" else redact(text, spans)
        if any(handling != "flag" for handling, _, _ in found):
            for handling, _, find in self._searches():
                text = text if handling == "flag" else redact(text, find(text))
        return text, found

    def _searches(self) -> list[tuple[Handling, str, Callable[[str], list[Span]]]]:
        both: list[tuple[Handling, str, Callable[[str], list[Span]]]] = [
            (self.secrets, "secret", find_credentials),
            (self.personal, "personal data", find_personal),
        ]
        return [search for search in both if search[0] != "keep"]

    def _by_form(self, text: str, language: str | None) -> Leaves | None:
        if not text.strip():
            return Leaves("head", "no text")
        if self.languages and language not in self.languages:
            return Leaves("tail", "another language", f"{language}, not {', '.join(sorted(self.languages))}")
        if self.profile is not None:
            judged = judge_quality(text, self.profile, language=language or UNDETERMINED)
            if judged is not None:
                return Leaves("tail", judged.reason, judged.rule, judged.score, judged.threshold)
        return None

    def _by_length(self, text: str) -> Leaves | None:
        length = len(text)
        if length < self.min_characters:
            return Leaves("tail", "too short", "", float(length), float(self.min_characters))
        if length > self.max_characters:
            return Leaves("tail", "too long", "", float(length), float(self.max_characters))
        return None


def duplicate_key(text: str) -> str:
    """Texts with the same key are exact copies of each other."""
    return " ".join(unicodedata.normalize("NFC", text).split()).casefold()


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(kind if number == 1 else f"{kind} ×{number}" for kind, number in sorted(kinds.items()))
