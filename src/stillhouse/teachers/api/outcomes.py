"""What can become of a call that gave no usable answer: named reasons, the rules about them, failures as rows.

Failure(key, "cut off", "the answer reached 512 tokens", raw="It was a dark and")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

# of answers that came and were paid for
Fault = Literal[
    "cut off",
    "empty",
    "refusal",
    "off-list label",
    "two labels",
    "broken JSON",
    "not a number",
    "not a distribution",
    "no log-probs",
]
# of calls to which no answer came; a later run asks them again
Loss = Literal[
    "budget",
    "rate limited",
    "server error",
    "timed out",
    "no connection",
    "connection lost",
    "unreadable response",
    "rejected by the server",
    "missing from the batch",
]
Reason = Fault | Loss
LOSSES: frozenset[str] = frozenset(get_args(Loss))

# retry: ask again, and keep the last answer as a failure if none was usable; reject: a failure; keep: an answer
Rule = Literal["retry", "reject", "keep"]

RULES: Mapping[Fault, Rule] = MappingProxyType(
    {
        "cut off": "reject",
        "empty": "retry",
        "refusal": "reject",
        "off-list label": "retry",
        "two labels": "retry",
        "broken JSON": "retry",
        "not a number": "retry",
        "not a distribution": "reject",
        "no log-probs": "reject",
    }
)


@dataclass(frozen=True)
class Failure:
    """A call without a usable answer. key: as in the answer store. detail: more words. raw: what the teacher said."""

    key: str
    reason: Reason
    detail: str = ""
    raw: str = ""


class Trouble(Exception):
    """One attempt that brought no answer. Never carries the request, since that carries the key.

    again: whether another attempt may help. wait: seconds that the server asks for. paid: whether the server may
    have charged for it all the same.
    """

    def __init__(
        self,
        reason: Loss,
        detail: str,
        *,
        again: bool = True,
        wait: float | None = None,
        paid: bool = False,
        status: int | None = None,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: Loss = reason
        self.detail = detail
        self.again = again
        self.wait = wait
        self.paid = paid
        self.status = status
