"""What an answer must be, and the rule for each way in which it is not.

checks = Checks(labels=("yes", "no"), rules={"cut off": "keep"})
checks.judge(answer)               # None, or ("off-list label", "the answer is none of the labels")
checks.rule("off-list label")      # "retry"
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stillhouse.teachers.api.labels import read_label
from stillhouse.teachers.api.outcomes import RULES, Fault, Rule
from stillhouse.teachers.api.parse import Answer


@dataclass(frozen=True)
class Checks:
    """Demands on answers. They change what counts as an answer, not what the teacher says: no key holds them.

    labels: the text must be one of them. json: the text must be JSON. is_refusal: tells refusals in words, where the
    server does not mark them. rules: what differs from :data:`RULES`.
    """

    labels: tuple[str, ...] = ()
    json: bool = False
    is_refusal: Callable[[str], bool] | None = None
    rules: Mapping[Fault, Rule] = field(default_factory=dict)

    def rule(self, fault: Fault) -> Rule:
        """The rule for a fault."""
        return self.rules.get(fault, RULES[fault])

    def judge(self, answer: Answer) -> tuple[Fault, str] | None:
        """The first fault that makes an answer unusable, with a few words about it, or ``None``."""
        return next((found for found in self.faults(answer) if self.rule(found[0]) != "keep"), None)

    def faults(self, answer: Answer) -> list[tuple[Fault, str]]:
        """All faults of an answer, whatever the rules say of them."""
        text, found = answer.text, list[tuple[Fault, str]]()
        if answer.refusal or answer.finish == "filter":
            found.append(("refusal", answer.refusal or "stopped by the server's filter"))
        elif self.is_refusal is not None and self.is_refusal(text):
            found.append(("refusal", "the answer is a refusal in words"))
        if answer.finish == "length":
            found.append(("cut off", f"the answer ended at {answer.usage.answer or 'its limit of'} tokens"))
        demanding = self.json or bool(self.labels)
        # what was cut off while it still reasoned has no text yet: asked again, it would be cut off again
        if not text.strip() and (demanding or answer.finish != "length"):
            found.append(("empty", "the answer holds no text"))
        elif self.json and not _is_json(text):
            found.append(("broken JSON", "the answer is no JSON value"))
        elif self.labels and (fault := read_label(text, self.labels).fault):
            words = "the answer is none of the labels" if fault == "off-list label" else "it names several labels"
            found.append((fault, words))
        if answer.fault:
            found.append((answer.fault, answer.detail))
        return found


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
