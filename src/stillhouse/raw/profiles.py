"""The thresholds of the quality rules, one set per domain; ``replace`` overrules single ones.

    PROFILES["web"].fewest_words                           # 50
    gentle = replace(PROFILES["web"], fewest_words=None)   # one rule off, or another threshold

The thresholds of ``web`` were published for pages of the web: Gopher (Rae et al. 2021, appendix A.1.1 and table A1),
C4 (Raffel et al. 2020, section 2.2) and FineWeb (Penedo et al. 2024, section 3.6). They throw away good chats, tickets
and titles; for those, ``chat`` and ``short`` have only rules that nothing readable breaks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Profile:
    """The thresholds; ``None`` switches a rule off. ``fewest`` must be reached, ``most`` may not be exceeded.

    Shares lie between 0 and 1. Lines are those with something in them, words what white space separates. Text in a
    script without spaces (a fifth or more of it Chinese, Japanese, Thai, Lao, Khmer or Burmese) has one word per
    character; rules about the length and kind of words, about sentence ends and short lines do not apply to it, and
    of the runs of words only that of ten.
    """

    fewest_letters_or_digits: int | None = None
    fewest_words: int | None = None
    most_words: int | None = None
    most_of_one_letter: float | None = None  # of the letters and digits; applies from 30 on
    most_of_one_word: float | None = None  # of the words; applies from 20 on
    fewest_letters_per_word: float | None = None  # on average; other letters than a to z count by their UTF-8 bytes
    most_letters_per_word: float | None = None
    most_hash_signs_per_word: float | None = None
    most_ellipses_per_word: float | None = None
    most_bullet_lines: float | None = None
    most_ellipsis_lines: float | None = None
    fewest_words_with_letter: float | None = None
    fewest_stop_words: int | None = None  # different ones of eight; only for text known to be English
    most_placeholders: int | None = None  # "lorem ipsum"
    most_curly_brackets: int | None = None
    fewest_sentences: int | None = None
    fewest_punctuated_lines: float | None = None
    most_short_lines: float | None = None  # of fewer than 30 characters
    most_line_breaks_per_word: float | None = None
    most_duplicate_lines: float | None = None
    most_duplicate_paragraphs: float | None = None
    most_duplicate_line_characters: float | None = None
    most_duplicate_paragraph_characters: float | None = None
    most_in_top_2_words: float | None = None
    most_in_top_3_words: float | None = None
    most_in_top_4_words: float | None = None
    most_in_repeated_5_words: float | None = None
    most_in_repeated_6_words: float | None = None
    most_in_repeated_7_words: float | None = None
    most_in_repeated_8_words: float | None = None
    most_in_repeated_9_words: float | None = None
    most_in_repeated_10_words: float | None = None


# A passage has to stand there more than 20 times (50 in a chat, where quoting is common) before its tenth words count.
SHORT = Profile(
    fewest_letters_or_digits=1, most_of_one_letter=0.8, most_of_one_word=0.8, most_in_repeated_10_words=0.95
)
CHAT = replace(SHORT, most_in_repeated_10_words=0.98)
WEB = Profile(
    fewest_letters_or_digits=1,
    most_of_one_letter=0.8,
    most_of_one_word=0.8,
    # Gopher
    fewest_words=50,
    most_words=100_000,
    fewest_letters_per_word=3,
    most_letters_per_word=10,
    most_hash_signs_per_word=0.1,
    most_ellipses_per_word=0.1,
    most_bullet_lines=0.9,
    most_ellipsis_lines=0.3,
    fewest_words_with_letter=0.8,
    fewest_stop_words=2,
    # C4
    most_placeholders=0,
    most_curly_brackets=0,
    fewest_sentences=3,
    # FineWeb
    fewest_punctuated_lines=0.12,
    most_short_lines=0.67,
    most_line_breaks_per_word=0.3,  # in datatrove's filter of that name, not in the paper
    most_duplicate_line_characters=0.1,  # Gopher: 0.2
    # Gopher, table A1
    most_duplicate_lines=0.3,
    most_duplicate_paragraphs=0.3,
    most_duplicate_paragraph_characters=0.2,
    most_in_top_2_words=0.2,
    most_in_top_3_words=0.18,
    most_in_top_4_words=0.16,
    most_in_repeated_5_words=0.15,
    most_in_repeated_6_words=0.14,
    most_in_repeated_7_words=0.13,
    most_in_repeated_8_words=0.12,
    most_in_repeated_9_words=0.11,
    most_in_repeated_10_words=0.1,
)
PROFILES = {"web": WEB, "chat": CHAT, "short": SHORT}
