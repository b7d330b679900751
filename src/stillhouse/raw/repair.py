"""Repairing text that was decoded with the wrong encoding, and only such text.

    is_suspect("cafÃ© “noir”")                 # True: these characters never stand side by side in real text
    repair_text("cafÃ© “noir”")                # "café “noir”"
    repair_text("“ﬁne” ＡＢＣ &amp; co.")       # unchanged: curly quotes, ligatures, widths and entities are no faults

The work is ftfy's (Robyn Speer), which takes 10 to 100 µs per 300 characters of faultless text; a test of about one
microsecond decides whether ftfy sees the text at all, and misses none that it would change.
"""

from __future__ import annotations

import re

from ftfy import TextFixerConfig, fix_text
from ftfy.badness import MOJIBAKE_CATEGORIES, is_bad

# What ftfy may mend: wrong decodings, C1 controls (as Windows-1252, which is what browsers do), halves of surrogate
# pairs, terminal colors, and control characters without a meaning in text. Line breaks stay as they are: U+2028 is
# a legal character, and the whitespace step decides about it. So does the normalization step about NFC.
_CONFIG = TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=False,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    normalization=None,
    explain=False,
)

_OF = MOJIBAKE_CATEGORIES
# these are faults wherever they stand; the control characters are those that ftfy removes
_FAULTS = "\x00-\x08\x0b\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufeff\ufff9-\ufffd\ud800-\udfff"
_CAPITALS = _OF["upper_accented"] + "Ù"
_LETTERS = _OF["lower_accented"] + _CAPITALS + _OF["kaomoji"]
_OPENING = _OF["start_punctuation"].replace("‚", "")
_CLOSING = _OF["end_punctuation"]
_SIGNS = "°‚" + _OF["currency"] + _OF["numeric"] + _OF["law"] + _OF["box"]
_ODD = _CLOSING + _SIGNS + _OF["bad"]
# The characters that give a wrong decoding away are rare, so the text is searched for them, and their neighbors are
# looked at: this narrows ftfy's own test (is_bad of version 6.3) to a few windows of text. In "(?<=xy)" the y is the
# character just found.
_TRIGGER = re.compile(
    f"[{_FAULTS}{_OF['bad']}{_CAPITALS}{_OPENING}{_CLOSING}{_SIGNS}œЂ]"
    "(?:"
    f"(?<=([{_FAULTS}]))"  # group 1: no need to look further
    f"|(?<=[{_SIGNS}])(?:(?=[´{_LETTERS}{_OPENING}{_ODD}])|(?<=[β{_LETTERS}{_OPENING}{_ODD}].))"
    f"|(?<=[{_OPENING}])(?<=[{_LETTERS}{_ODD}].)"
    f"|(?<=[{_CLOSING}])(?:(?=[{_LETTERS}{_OPENING}{_ODD}])|(?<=[{_LETTERS}].)(?=\\w)|(?<=[{_ODD}].))"
    f"|(?<=[{_CAPITALS}])(?:(?=[{_LETTERS}{_OPENING}{_ODD}{_OF['common']}])|(?<=[{_LETTERS}{_ODD}{_OF['lower_common']}].)"
    "|((?<=[ÂÃ])(?= )))"  # group 2: here is_bad depends on the start of the line, which a window does not show
    f"|(?<=[{_OF['bad']}])(?:(?=[^\x00-\x7f])|(?<=[^\x00-\x7f].))"
    "|(?<=[ВГРСΒΓΞΟ].)(?=[ВГРСΒΓΞΟ])"
    "|(?<=[Œœ])(?=[^A-Za-z])"
    "|(?<=[вВ]Ђ)"
    ")",
    re.DOTALL,
)
_WINDOW = 6  # characters; the longest sequence that ftfy calls bad has six


def is_suspect(text: str) -> bool:
    """Whether ftfy might change this text; ``False`` means that it would not."""
    for found in _TRIGGER.finditer(text):
        at = found.start()
        if found.lastindex or is_bad(text[max(0, at - _WINDOW) : at + _WINDOW + 1]):
            return True
    return False


def repair_text(text: str) -> str:
    """The text with wrong decodings undone and invisible control characters gone; faultless text comes back as it is.

    Lone surrogates, which no UTF-8 file can hold, become U+FFFD. Repairing twice changes nothing more.
    """
    return fix_text(text, _CONFIG) if is_suspect(text) else text
