"""Reasoning and answer of what a model wrote, apart and together again.

    trace = split("<think>\\n2 + 3 is 5\\n</think>\\n\\nIt is 5.")     # Trace("2 + 3 is 5", "It is 5.")
    join(trace, "strip", opened=False)                            # "It is 5."

Models whose template opens the reasoning in the prompt write only its end; a model that is cut off writes only its
beginning. Tags that stand in the midst of an answer are words of the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

OPEN, CLOSE = "<think>", "</think>"

Reasoning = Literal["keep", "strip"]

# several of them, since a model may open again what it or the prompt has opened
_OPENINGS = re.compile(rf"\A(?:\s*{OPEN})+")


@dataclass(frozen=True)
class Trace:
    """reasoning: ``None`` where there is none. closed: false where it never ended, so that there is no answer."""

    reasoning: str | None
    answer: str
    closed: bool = True


def split(text: str, *, opened: bool = False) -> Trace:
    """Reasoning and answer of what a model wrote; white space beside the tags belongs to neither.

    Reasoning begins with the text, at an opening tag or without one, and ends at the first closing tag, wherever it
    comes before any opening tag in the midst of the text. After an opening tag without a closing one all is reasoning,
    and the answer is empty. A text without reasoning is an answer as it stands.

    opened: the prompt is known to end with ``<think>``, so that a text without tags is reasoning that was cut off.
    """
    rest = _OPENINGS.sub("", text)
    before, close, after = rest.partition(CLOSE)
    if not (opened or rest != text or (close and OPEN not in before)):
        return Trace(None, text)
    return Trace(before.strip(), after.lstrip(), closed=bool(close))


def join(trace: Trace, rule: Reasoning, *, opened: bool) -> str:
    """The text that the student is taught to write after the prompt.

    rule: ``keep`` writes the reasoning before the answer, ``strip`` the answer alone. Where the prompt has opened the
    reasoning, the tag is not opened again, and without reasoning it is closed at once. :func:`split` gives back
    reasoning and answer of a closed trace; a trace that never closed has no answer and is written open.
    """
    reasoning = trace.reasoning if rule == "keep" else None
    if reasoning is None and not opened:
        return trace.answer
    start = "" if opened else f"{OPEN}\n"
    end = f"\n{CLOSE}\n\n{trace.answer}" if trace.closed else ""
    return start + (reasoning or "") + end
