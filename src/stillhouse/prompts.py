"""Prompts: rendered once, hashed whole. Only the declared placeholders are ever replaced.

prompt = Prompt(question="Review: {text}\\nSentiment:", answer=" {label}", words={"good": "good", "bad": "bad"},
                examples=(("fine film", "good"),), separator="\\n\\n", instruction="", chat=False)
prompt.render("a dull evening")
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_PLACEHOLDER = re.compile(r"\{(text|label)\}")


@dataclass(frozen=True)
class Prompt:
    """A few-shot question about one text.

    question holds ``{text}``; answer holds ``{label}`` and is what the teacher would say next; words maps each label
    to the word that stands for it; examples are (text, label) pairs; separator stands between turns of a plain
    prompt; with ``chat`` the turns become messages of the model's own chat template.
    """

    question: str
    answer: str
    words: Mapping[str, str]
    examples: Sequence[tuple[str, str]]
    separator: str
    instruction: str
    chat: bool

    def identity(self) -> dict[str, Any]:
        """All that changes what the teacher sees, as a JSON value for hashing."""
        return asdict(self) | {"words": dict(self.words), "examples": [list(pair) for pair in self.examples]}

    def answer_for(self, label: str) -> str:
        """The continuation that stands for ``label``."""
        return fill(self.answer, label=self.words[label])

    def render(self, text: str) -> str:
        """The plain text about ``text``, up to where the answer begins."""
        opening = [self.instruction] if self.instruction else []
        turns = [fill(self.question, text=shot) + self.answer_for(label) for shot, label in self.examples]
        return self.separator.join([*opening, *turns, fill(self.question, text=text)])

    def messages(self, text: str) -> list[dict[str, str]]:
        """The same as a chat: a system message where there is an instruction, the examples as turns, the question."""
        messages = [{"role": "system", "content": self.instruction}] if self.instruction else []
        for shot, label in self.examples:
            messages.append({"role": "user", "content": fill(self.question, text=shot)})
            messages.append({"role": "assistant", "content": self.answer_for(label).strip()})
        return [*messages, {"role": "user", "content": fill(self.question, text=text)}]


def fill(template: str, **values: str) -> str:
    """Replace ``{text}`` and ``{label}`` where given, in one pass: braces inside the values stay as they are."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), template)


def placeholders(template: str) -> set[str]:
    """The declared placeholders that a template uses."""
    return set(_PLACEHOLDER.findall(template))
