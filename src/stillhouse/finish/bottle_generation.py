"""A bottle of ``text-generation``: answers to questions and conversations, from the weights that ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import Answer, AskTeacher, Bottle, Messages, no_bottle
from stillhouse.finish.generation.answers import answer_each
from stillhouse.finish.generation.speaker import Speaker


@dataclass(frozen=True)
class Writer(Bottle):
    """A bottle of ``text-generation``, opened in transformers."""

    speaker: Speaker

    @classmethod
    def load(cls, folder: Path, label: dict[str, Any]) -> Writer:
        """The model in the precision that ``label`` names."""
        try:
            precision = str(label["shipped"]["precision"])
        except (KeyError, TypeError) as error:
            raise no_bottle(folder) from error
        return cls(folder, label, Speaker.load("student", folder, precision=precision))

    def answer(
        self, prompts: Sequence[str | Messages], *, max_tokens: int | None = None, system: str = "", batch_size: int = 8
    ) -> list[Answer]:
        """Greedy answers, in the order of ``prompts``: questions, or conversations that end with one.

        A model without a chat template goes on from the text. max_tokens: ``None`` for 256, or half of what the model
        takes where that is less. system: put before conversations that have no system message. Raises
        :class:`StillhouseError` for a prompt that leaves no room for the answer.
        """
        chats = [
            messages_of(prompt, system) if self.speaker.template or not isinstance(prompt, str) else prompt
            for prompt in prompts
        ]
        written = answer_each(self.speaker, chats, max_tokens=max_tokens, batch_size=batch_size)
        return [Answer(one.text, one.finish_reason) for one in written]

    def records(
        self, prompts: Sequence[str | Messages], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[dict[str, object]]:
        """The answer to each text; what cannot be asked has its reason in the place of it."""
        if teacher is not None:
            raise self._cannot("passes nothing on to a teacher", "answer")
        found: list[dict[str, object]] = []
        for start in range(0, len(prompts), batch_size):
            part = prompts[start : start + batch_size]
            try:
                answers: list[Answer | str] = list(self.answer(part, batch_size=batch_size))
            except StillhouseError:
                answers = [self._one(prompt) for prompt in part]
            found += [
                {"error": one} if isinstance(one, str) else {"answer": one.text, "finish_reason": one.finish_reason}
                for one in answers
            ]
        return found

    def _one(self, prompt: str | Messages) -> Answer | str:
        try:
            return self.answer([prompt])[0]
        except StillhouseError as error:
            return error.problems[0].what


def messages_of(prompt: str | Messages, system: str) -> Messages:
    """A question as a conversation, with a system message where one is given and there is none."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if system and messages and messages[0]["role"] != "system":
        return [{"role": "system", "content": system}, *messages]
    return messages
