"""Wildcards with the meaning they have in a shell, for paths on disk and members of archives alike.

``*`` and ``?`` stay within one folder, ``**`` as a whole part crosses any number of folders (also none),
``[ab]`` and ``[!ab]`` are sets, and no wildcard matches a leading dot: hidden names must be written out.

    pattern_regex("model/**/*.json").fullmatch("model/1_Pooling/config.json")
"""

from __future__ import annotations

import re
from functools import lru_cache

_VISIBLE = r"(?!\.)[^/]+"


@lru_cache(maxsize=256)
def pattern_regex(pattern: str) -> re.Pattern[str]:
    """A regular expression for ``fullmatch`` on relative POSIX paths; ``re.error`` on a set like ``[z-a]``."""
    parts = pattern.split("/")
    pieces: list[str] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part != "**":
            pieces.append(_part(part) + ("" if last else "/"))
        elif last:
            pieces.append(f"(?:{_VISIBLE}/)*{_VISIBLE}")
        elif parts[index + 1] != "**":  # neighbors say nothing more, and would make matching slow
            pieces.append(f"(?:{_VISIBLE}/)*")
    return re.compile("".join(pieces), re.DOTALL)


def has_wildcard(part: str) -> bool:
    """Whether ``part`` holds a wildcard."""
    return any(character in part for character in "*?[")


def wants_hidden(pattern: str) -> bool:
    """Whether ``pattern`` writes out a hidden name, so that hidden folders must be looked into."""
    return any(part.startswith(".") for part in pattern.split("/"))


def _part(part: str) -> str:
    pieces = [r"(?!\.)"] if part[:1] in ("*", "?", "[") else []
    index = 0
    while index < len(part):
        character = part[index]
        index += 1
        end = part.find("]", index + (part[index : index + 1] == "!") + 1) if character == "[" else -1
        if character == "*":
            # a run of stars is one star
            pieces.append("" if pieces and pieces[-1] == "[^/]*" else "[^/]*")
        elif character == "?":
            pieces.append("[^/]")
        elif end >= 0:
            pieces.append(_set(part[index:end]))
            index = end + 1
        else:
            pieces.append(re.escape(character))
    return "".join(pieces)


def _set(body: str) -> str:
    negated = body.startswith("!")
    body = body[1:] if negated else body
    # everything but the range sign is meant literally
    escaped = "".join(character if character == "-" else re.escape(character) for character in body)
    return f"(?!/)[{'^' if negated else ''}{escaped}]"
