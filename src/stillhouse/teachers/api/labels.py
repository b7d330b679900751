"""Labels out of answers: from the text, or from the log-probabilities of the answer's first token.

read_label(' "Positive." ', ("positive", "negative"))       # Label("positive", None)
label_probs(answer.top[0], ("positive", "negative"))        # LabelProbs(log_probs=(-0.1, -2.4), outside=0.02, ...)
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.errors import StillhouseError
from stillhouse.teachers.api.logprobs import Position
from stillhouse.teachers.api.outcomes import Fault

_FENCE = re.compile(r"\A\s*```[\w-]*\s*\n?(.*?)\n?\s*```\s*\Z", re.DOTALL)
_WRAP = " \t\r\n\"'`*_.,;:!?()[]“”‘’«»„"
_SHARED = 0.01  # of the probability: how much may lie on tokens that begin several labels


@dataclass(frozen=True)
class Label:
    """The label that an answer names, or what is wrong with it."""

    label: str | None
    fault: Fault | None


def read_label(text: str, labels: Sequence[str]) -> Label:
    """The one label that ``text`` is, apart from case, quotes, punctuation, a code fence or a JSON object around it.

    A label inside a longer sentence is none: that is off the list, and two labels are ambiguous. Nothing is drawn.
    """
    body = _unwrap(text)
    if body in labels:
        return Label(body, None)
    plain = _plain(body)
    same = [label for label in labels if plain and _plain(label) == plain]
    if len(same) == 1:
        return Label(same[0], None)
    return Label(None, "two labels" if len(same) > 1 or len(_mentioned(plain, labels)) > 1 else "off-list label")


@dataclass(frozen=True)
class LabelProbs:
    """Log-probabilities (K,) of the labels, as far as the first token of an answer tells.

    outside: probability of everything that begins no label. missing: labels of which no token was listed; their
    value is the most that an unlisted token can have.
    """

    log_probs: tuple[float, ...]
    outside: float
    missing: tuple[str, ...]


def label_probs(position: Position, labels: Sequence[str]) -> LabelProbs:
    """Sum, for each label, over the listed tokens that begin it and no other.

    Raises :class:`StillhouseError` when labels share their first token: then it does not tell them apart.
    """
    plain = [_plain(label) for label in labels]
    sums, shared, listed = [0.0] * len(labels), 0.0, 0.0
    for entry in position.top:
        mass = math.exp(entry.log_prob)
        listed += mass
        token = _plain(entry.token)
        begun = [place for place, label in enumerate(plain) if token and label.startswith(token)]
        if len(begun) == 1:
            sums[begun[0]] += mass
        elif begun:
            shared += mass
    if shared > _SHARED or len(set(plain)) < len(plain):
        raise StillhouseError(
            f"labels share their first token, which holds {shared:.0%} of the probability",
            where=f"the labels {', '.join(labels)}",
            fix="choose label words that begin differently, or ask for labels in text",
        )
    last = math.exp(position.top[-1].log_prob) if position.top else 1.0
    most = min(last, max(1.0 - listed, 1e-12))
    missing = tuple(label for label, mass in zip(labels, sums, strict=True) if mass == 0.0)
    log_probs = tuple(math.log(mass or most) for mass in sums)
    return LabelProbs(log_probs, max(0.0, 1.0 - sum(sums)), missing)


def _unwrap(text: str) -> str:
    """Take a code fence and a JSON object or string from around the label."""
    fenced = _FENCE.match(text)
    body = (fenced[1] if fenced else text).strip()
    if body[:1] not in ("{", '"'):
        return body
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if isinstance(value, dict):
        value = value.get("label", next(iter(value.values())) if len(value) == 1 else None)
    return value.strip() if isinstance(value, str) else body


def _plain(text: str) -> str:
    return " ".join(text.strip(_WRAP).casefold().split())


def _mentioned(plain: str, labels: Sequence[str]) -> set[str]:
    """Labels that stand in the text as whole words; a label inside a longer one does not count."""
    found = set()
    for label in sorted(map(_plain, labels), key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(label)}(?!\w)" if label else r"(?!)"
        plain, times = re.subn(pattern, " | ", plain)
        if times:
            found.add(label)
    return found
