"""Rules of length, form and repetition: the first one that a text breaks, with its score and threshold.

    judge_quality(text, PROFILES["web"])                   # None: keep it
    judge_quality("ha" * 200, PROFILES["short"])           # None
    judge_quality("?!", PROFILES["short"])
    # Judged(rule="fewest_letters_or_digits", reason="no letter or digit", score=0.0, threshold=1.0)

The thresholds, and who published them, are in :mod:`stillhouse.raw.profiles`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from stillhouse.raw.profiles import Profile
from stillhouse.raw.repetition import share_of_one_letter, share_of_one_word
from stillhouse.raw.shape import Shape

SHORT_LINE = 30  # characters (FineWeb)
FEWEST_LETTERS, FEWEST_WORDS = 30, 20  # below, a text repeats one letter or one word without being worthless
STOP_WORDS = frozenset(("the", "be", "to", "of", "and", "that", "have", "with"))  # Gopher

_READABLE = re.compile(r"[^\W_]")
_LETTER = re.compile(r"[^\W\d_]")
_ENDS = ".!?…。！？؟۔।։"
_QUOTES = "\"'”’»)"
_SENTENCE = re.compile(rf"[{_ENDS}][{re.escape(_QUOTES)}]*(?!\S)")
_SENTENCE_ENDS = (*_ENDS, '"', "”", "»")  # C4: a terminal mark or an end quotation mark
_ELLIPSES = ("...", "…")
_BULLETS = ("•", "‣", "▪", "▫", "◦", "●", "○", "■", "□", "·", "- ", "* ", "+ ")


class Judged(NamedTuple):
    """The first rule that a text breaks: its key in the profile, what is wrong in words, the score, the threshold."""

    rule: str
    reason: str
    score: float
    threshold: float


def judge_quality(text: str, profile: Profile, *, language: str = "und") -> Judged | None:
    """The first rule, in the order of :data:`RULES`, that the text breaks, or ``None`` if it breaks none.

    Pass the text before its white space is folded: many rules are about lines. ``language`` is an ISO 639 code; the
    stop words are English ones, so their rule applies to ``en`` only.
    """
    shape = Shape(text, language)
    for rule, threshold in _active(profile):
        score = rule.measure(shape, threshold)
        if score is not None and (score < threshold if rule.at_least else score > threshold):
            return Judged(rule.key, rule.reason, float(score), float(threshold))
    return None


class Rule(NamedTuple):
    """A key of the profile, its reason in words, whether the threshold must be reached, and the measure.

    A measure gets the threshold because some can stop as soon as it is safe, and gives ``None`` where the rule does
    not apply.
    """

    key: str
    reason: str
    at_least: bool
    measure: Callable[[Shape, float], float | None]


def _letters_or_digits(shape: Shape, enough: float) -> float:
    if enough <= 1:
        return 1 if _READABLE.search(shape.text) else 0
    return len(_READABLE.findall(shape.text))


def _one_letter(shape: Shape, enough: float) -> float | None:
    if len(shape.text) < FEWEST_LETTERS:
        return None
    share = share_of_one_letter(shape.text, shape.size, enough=enough)
    if share > enough and sum(map(str.isalnum, shape.text)) < FEWEST_LETTERS:
        return None
    return share


def _one_word(shape: Shape, enough: float) -> float | None:
    if len(shape.words) < FEWEST_WORDS:
        return None
    return share_of_one_word(shape.words, len(shape.distinct), enough=enough)


def _letters_per_word(shape: Shape, _: float) -> float | None:
    return None if shape.unspaced else shape.per_word(shape.size)


def _bytes_per_word(shape: Shape, _: float) -> float | None:
    """As letters per word, but a Korean syllable or a Vietnamese vowel with its tone counts as more than one."""
    return None if shape.unspaced else shape.per_word(len("".join(shape.words).encode("utf-8", "surrogatepass")))


def _ellipses(text: str) -> int:
    return text.count("...") + text.count("…")


def _ellipsis_lines(shape: Shape, _: float) -> float | None:
    return shape.per_line(sum(line.endswith(_ELLIPSES) for line in shape.lines))


def _bullet_lines(shape: Shape, _: float) -> float | None:
    return shape.per_line(sum(line.startswith(_BULLETS) for line in shape.lines))


def _words_with_letter(shape: Shape, enough: float) -> float | None:
    if shape.unspaced:
        return None
    only_letters = shape.per_word(sum(map(str.isalpha, shape.words)))
    if only_letters is None or only_letters >= enough:
        return only_letters  # the fast half of the answer is already enough
    return shape.per_word(sum(1 for word in shape.words if word.isalpha() or _LETTER.search(word)))


def _stop_words(shape: Shape, enough: float) -> float | None:
    if shape.language != "en":
        return None
    found = len(STOP_WORDS.intersection(shape.words))
    if found < enough:  # look again, with capitals and with punctuation attached
        found = len(STOP_WORDS.intersection(re.findall(r"\w+", shape.text.lower())))
    return found


def _sentences(shape: Shape, enough: float) -> float | None:
    if shape.unspaced:
        return None
    return sum(1 for _ in islice(_SENTENCE.finditer(shape.text), math.ceil(enough)))


def _punctuated_lines(shape: Shape, _: float) -> float | None:
    if shape.unspaced:
        return None
    return shape.per_line(sum(line.endswith(_SENTENCE_ENDS) for line in shape.lines))


def _short_lines(shape: Shape, _: float) -> float | None:
    if shape.unspaced:
        return None
    return shape.per_line(sum(len(line) < SHORT_LINE for line in shape.lines))


def _top(n: int) -> Rule:
    def measure(shape: Shape, _: float) -> float | None:
        return None if shape.unspaced else shape.repetition.top.get(n, 0.0)

    return Rule(f"most_in_top_{n}_words", f"one phrase of {n} words makes up too much", False, measure)


def _repeated(n: int) -> Rule:
    def measure(shape: Shape, enough: float) -> float | None:
        if shape.unspaced and n < 10:
            return None
        if shape.size - len(shape.distinct) <= enough * shape.size:
            return 0.0  # the first occurrence of a word, one character at least, never repeats anything
        return shape.repetition.duplicate.get(n, 0.0)

    return Rule(f"most_in_repeated_{n}_words", f"too much lies in repeated passages of {n} words", False, measure)


# The order is part of the behavior: cheap rules first, and the first broken one gives the reason.
RULES = (
    Rule("fewest_letters_or_digits", "no letter or digit", True, _letters_or_digits),
    Rule("fewest_words", "too few words", True, lambda shape, _: len(shape.words)),
    Rule("most_words", "too many words", False, lambda shape, _: len(shape.words)),
    Rule("most_of_one_letter", "one letter over and over", False, _one_letter),
    Rule("most_of_one_word", "one word over and over", False, _one_word),
    Rule("fewest_letters_per_word", "words too short", True, _bytes_per_word),
    Rule("most_letters_per_word", "words too long", False, _letters_per_word),
    Rule(
        "most_hash_signs_per_word", "too many hash signs", False, lambda shape, _: shape.per_word(shape.text.count("#"))
    ),
    Rule("most_ellipses_per_word", "too many ellipses", False, lambda shape, _: shape.per_word(_ellipses(shape.text))),
    Rule("most_bullet_lines", "too many lines are bullet points", False, _bullet_lines),
    Rule("most_ellipsis_lines", "too many lines end in an ellipsis", False, _ellipsis_lines),
    Rule("fewest_words_with_letter", "too few words have a letter", True, _words_with_letter),
    Rule("fewest_stop_words", "too few of the commonest English words", True, _stop_words),
    Rule("most_placeholders", "placeholder text", False, lambda shape, _: shape.text.lower().count("lorem ipsum")),
    Rule("most_curly_brackets", "curly brackets", False, lambda shape, _: shape.text.count("{")),
    Rule("fewest_sentences", "too few sentences", True, _sentences),
    Rule("fewest_punctuated_lines", "too few lines end like a sentence", True, _punctuated_lines),
    Rule("most_short_lines", "too many short lines", False, _short_lines),
    Rule(
        "most_line_breaks_per_word",
        "too many line breaks",
        False,
        lambda shape, _: shape.per_word(shape.text.count("\n")),
    ),
    Rule("most_duplicate_lines", "too many repeated lines", False, lambda shape, _: shape.duplicate_lines[0]),
    Rule(
        "most_duplicate_paragraphs",
        "too many repeated paragraphs",
        False,
        lambda shape, _: shape.duplicate_paragraphs[0],
    ),
    Rule(
        "most_duplicate_line_characters",
        "too much lies in repeated lines",
        False,
        lambda shape, _: shape.duplicate_lines[1],
    ),
    Rule(
        "most_duplicate_paragraph_characters",
        "too much lies in repeated paragraphs",
        False,
        lambda shape, _: shape.duplicate_paragraphs[1],
    ),
    *map(_top, (2, 3, 4)),
    *map(_repeated, range(5, 11)),
)


@lru_cache(maxsize=64)
def _active(profile: Profile) -> tuple[tuple[Rule, float], ...]:
    """The rules that the profile switches on, with their thresholds."""
    thresholds = ((rule, getattr(profile, rule.key)) for rule in RULES)
    return tuple((rule, threshold) for rule, threshold in thresholds if threshold is not None)
