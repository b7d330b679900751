"""Whether the value of a key that names a secret is one: drawn at random, made by a person, or only a placeholder.

is_random("q7Zt0PmX4vRb81Ls", shortest=16)      # True
is_random("oauth2_client_token", shortest=16)   # False: words
is_placeholder("<your-token>")                  # True
"""

from __future__ import annotations

import math
import re
from collections import Counter

# bits per character below which a value counts as repeated or counted out, whatever its alphabet: 3.0 is truffleHog's
# published threshold for hexadecimal strings of 20 characters, and eight different characters have just as much
_ENTROPY = 3.0
# words, abbreviations and numbers have longer runs of one class than random text: its mean is 2.1 in hexadecimal and
# 1.6 in base 62, that of identifiers 3 and above
_RUN = 2.8
_RUNS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^A-Za-z0-9]+")
_PLACEHOLDER = re.compile(
    r"[<>…]|\$\{|\{\{|\$\(|%\(|^\$\w+$|^\{.*\}$|^%\w+%$|\*\*\*|\.\.\.|x{4}|0{8}|12345|abcdef"
    r"|change.?me|dummy|example|foobar|insert|null|passwd|password|placeholder|redacted|replace|sample|secret|todo"
    r"|undefined|your",
    re.IGNORECASE,
)
_FILLER = re.compile(r"x{4}|0{8}|example|\.\.\.|your", re.IGNORECASE)
_HEX = re.compile(r"[0-9a-f]{20,}|[0-9A-F]{20,}")
_TOY = re.compile(
    r"^(?:pass|pw|pwd|passw0rd|test\w*|admin\w*|root|user\w*|guest|postgres|none|token|value|key)$", re.IGNORECASE
)
_HUMAN = re.compile(r"(?=[^a-zA-Z]*[a-zA-Z])(?=[^0-9]*[0-9])[\w.@$!%*#?&^+~=-]{8,}", re.ASCII)
_TRIAL = re.compile(r"test|pass|admin|user|demo|foo|abc|sha\d|md5|utf|base64|bcrypt|argon", re.IGNORECASE)


def entropy(value: str) -> float:
    """Shannon's entropy of the characters, bits per character."""
    counts, length = Counter(value).values(), len(value)
    return math.log2(length) - sum(count * math.log2(count) for count in counts) / length if length else 0.0


def is_filler(value: str) -> bool:
    """Whether a value in a provider's format was filled with a few characters over and over, or says that it is one."""
    return bool(_FILLER.search(value)) or len(set(value)) < 8


def is_placeholder(value: str) -> bool:
    """Whether the value of a key stands for one, is a toy, or is the same few characters over and over."""
    return bool(_PLACEHOLDER.search(value) or _TOY.match(value)) or len(set(value)) < min(4, len(value))


def is_secret(value: str, *, password: bool) -> bool:
    """Whether the value of a key that names a secret is one; a password may be short and made by a person."""
    return is_random(value, shortest=8 if password else 16) or (password and is_human_password(value))


def is_random(value: str, *, shortest: int) -> bool:
    """Whether the value looks drawn at random: letters and digits in short runs, many different characters."""
    if len(value) < shortest or " " in value or is_placeholder(value):
        return False
    if not any(c.isdigit() for c in value) or not any(c.isalpha() for c in value):
        return False
    short_runs = _HEX.fullmatch(value) or len(value) / len(_RUNS.findall(value)) <= _RUN
    return bool(short_runs) and entropy(value) >= min(_ENTROPY, math.log2(shortest) - 0.5)


def is_human_password(value: str) -> bool:
    """Whether the value is made as people make passwords: letters and digits, with a mark or without a separator."""
    if not _HUMAN.fullmatch(value) or is_placeholder(value) or _TRIAL.search(value):
        return False
    marked = any(c in "@$!%*#?&^+~" for c in value)
    return marked or (value.isalnum() and sum(c.isdigit() for c in value) >= 2)
