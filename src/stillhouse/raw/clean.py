"""Cleaning one text, and the key under which two texts count as the same.

text = clean_text("  Fine\\tfilm ", unicode="NFC", whitespace="fold")      # "Fine film"
key = duplicate_key(text)                                                  # equal but for case and spacing
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

_SPACE = re.compile(r"\s+")


def clean_text(text: str, *, unicode: Literal["NFC", "NFKC", "none"], whitespace: Literal["fold", "keep"]) -> str:
    """The text as it becomes part of a document."""
    if unicode != "none":
        text = unicodedata.normalize(unicode, text)
    return _SPACE.sub(" ", text).strip() if whitespace == "fold" else text


def duplicate_key(text: str) -> str:
    """Texts with the same key are exact copies of each other."""
    return _SPACE.sub(" ", unicodedata.normalize("NFC", text)).strip().casefold()
