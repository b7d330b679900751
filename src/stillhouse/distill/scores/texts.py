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


def refused(texts: Sequence[str]) -> Floats:
    """1 for texts in which a model refuses, speaks of itself as a machine, or names itself; see
    :mod:`stillhouse.refusals`, which knows four languages and passes over what is quoted."""
    return np.array([1.0 if find(text) else 0.0 for text in texts])


def injected(texts: Sequence[str]) -> Floats:
    """1 for texts that order a model to drop its instructions, to show them, or that hold control tokens of chats.

    Rules for the plain forms in English: they find what is copied, not what is disguised.
    """
    return np.array([1.0 if any(pattern.search(text) for pattern in _INJECTIONS) else 0.0 for text in texts])
