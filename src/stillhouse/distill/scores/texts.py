"""Scores that a text alone decides, by rules: 1 where one applies, else 0. Cost: microseconds a row."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from stillhouse.distill.scores.labels import Floats
from stillhouse.refusals import find

_TOLD = r"(?:above|earlier|foregoing|preceding|previous|prior)"
_ORDERS = r"(?:commands?|directions?|guidelines?|instructions?|orders?|prompts?|rules?)"
_INJECTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:disregard|forget|ignore|override)(?: (?:all|any|everything|of|the|these|those|your)){{0,4}} {_TOLD}"
        rf"(?: {_ORDERS}\b|[.,;:!]|$)",
        rf"\b(?:disregard|forget|ignore|override) (?:all (?:of )?)?your (?:\w+ )?{_ORDERS}\b",
        r"\b(?:print|repeat|reveal|show|tell me) (?:\w+ ){0,3}(?:system|hidden|initial)"
        r" (?:message|prompt|instructions?)\b",
        r"\byou are now (?:DAN\b|in developer mode\b|(?:an? )?(?:jailbroken|uncensored|unrestricted)\b)",
        r"<\|(?:im_start|im_end|system|endoftext|start_header_id|eot_id)\|>|\[/?INST\]|<</?SYS>>",
    )
)


# what personal data and secrets become where stage 1 redacts them; names of several parts are no HTML
_REDACTED = re.compile(r"<(?:CARD|EMAIL|IBAN|IP|MAC|PHONE|WALLET|[A-Z]+(?:_[A-Z]+)+)>")
_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]*(?=\s)|\n")

Places = list[tuple[int, int]]  # [start, end) in a text, rising, apart


def refused(texts: Sequence[str], prompts: Sequence[str] | None = None) -> Floats:
    """1 for texts in which a model refuses, speaks of itself as a machine, or names itself; see
    :mod:`stillhouse.refusals`, which knows four languages and passes over what is quoted, or what the prompt said."""
    told = prompts if prompts is not None else [""] * len(texts)
    return np.array([1.0 if find(text, prompt) else 0.0 for text, prompt in zip(texts, told, strict=True)])


def injected(texts: Sequence[str]) -> Floats:
    """1 for texts that order a model to drop its instructions, to show them, or that hold control tokens of chats.

    Rules for the plain forms in English: they find what is copied, not what is disguised.
    """
    return np.array([1.0 if any(pattern.search(text) for pattern in _INJECTIONS) else 0.0 for text in texts])


def redacted(texts: Sequence[str]) -> Floats:
    """1 for texts with a placeholder that stands for personal data or a secret, such as ``<EMAIL>``."""
    return np.array([1.0 if _REDACTED.search(text) else 0.0 for text in texts])


def places(score: str, text: str, prompt: str = "") -> Places:
    """Where the rule of a score applies in a text: whole sentences of ``refusal`` and ``injection``, since half a
    refusal is still one; placeholders alone of ``redacted``."""
    match score:
        case "refusal":
            return _sentences(text, [(one.start, one.end) for one in find(text, prompt)])
        case "injection":
            return _sentences(text, [one.span() for pattern in _INJECTIONS for one in pattern.finditer(text)])
        case "redacted":
            return [one.span() for one in _REDACTED.finditer(text)]
        case _:
            raise ValueError(f"{score} is no rule with places")


def _sentences(text: str, spans: Places) -> Places:
    """The spans, widened to the sentences or lines that they touch, joined where they meet."""
    ends = [one.end() for one in _SENTENCE_END.finditer(text)]
    found: Places = []
    for start, end in sorted(spans):
        start = max((one for one in ends if one <= start), default=0)
        end = min((one for one in ends if one >= end), default=len(text))
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found
