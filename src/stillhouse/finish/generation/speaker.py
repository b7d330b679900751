"""A loaded language model that is judged: teacher, student or control, with its tokenizer and chat template.

student = Speaker.load("student", Path("bottle"), precision="bfloat16")
student.sequence(passage)          # what it reads and what of it counts, in its own ids
student.prompt(messages)           # the ids that it is asked with
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from stillhouse.causal import load_causal
from stillhouse.finish.generation.passages import Passage
from stillhouse.stock import context_of
from stillhouse.teachers.generation import TextGenerator, stop_ids
from stillhouse.teachers.reasoning import Trace, split
from stillhouse.teachers.sequences import TokenSequence, conversation, plain, shortened
from stillhouse.teachers.templates import ChatTemplate, Message, RowError, text_ids


@dataclass(frozen=True)
class Speaker:
    """context: the longest sequence it takes, in tokens. ends: ids that end its answers; of a student those that its
    folder names, so that it is judged as it will be used."""

    name: str
    model: Any
    tokenizer: Any
    context: int
    ends: frozenset[int]

    @classmethod
    def load(cls, name: str, folder: Path, *, precision: str = "float32", device: str = "cpu") -> Speaker:
        """From a model folder; raises :class:`StillhouseError` where it holds no causal language model."""
        model, tokenizer = load_causal(folder, dtype=precision)
        return cls.of(name, model.requires_grad_(False).to(device), tokenizer)

    @classmethod
    def of(cls, name: str, model: Any, tokenizer: Any, *, asked_by_template: bool = False) -> Speaker:
        """A loaded model. asked_by_template: the template's end of turn ends an answer, too, as when a teacher is
        asked."""
        end = ChatTemplate(tokenizer).end_of_turn if asked_by_template and tokenizer.chat_template else None
        context = context_of(model)
        return cls(name, model, tokenizer, context, stop_ids(model, tokenizer, end))

    @cached_property
    def template(self) -> ChatTemplate | None:
        """Its chat template, if it has one."""
        return ChatTemplate(self.tokenizer) if self.tokenizer.chat_template else None

    @property
    def words(self) -> int:
        """Tokens that mean something; a head may be padded beyond them."""
        return len(self.tokenizer)

    @cached_property
    def generator(self) -> TextGenerator:
        """Writes its answers."""
        return TextGenerator(self.model, self.tokenizer, context=self.context, stop_ids=self.ends)

    def sequence(self, passage: Passage, most: int) -> TokenSequence:
        """The passage in its own ids, cut off at ``most`` tokens and at what it takes; raises :class:`RowError`."""
        if passage.messages is None:
            found = plain(self.tokenizer, passage.text)
        elif self.template is None:
            raise RowError("it has no chat template")
        else:
            found = conversation(self.template, passage.messages, turns=passage.turns, finished=passage.whole)
        return shortened(found, min(most, self.context))

    def learned_bytes(self, sequence: TokenSequence) -> int:
        """Bytes of the text that counts, control tokens aside: what unlike tokenizers have in common."""
        texts = [
            self.tokenizer.decode(list(sequence.ids[start:end]), skip_special_tokens=True)
            for start, end in sequence.spans
        ]
        return sum(len(text.encode("utf-8")) for text in texts)

    def prompt(self, messages: Sequence[Message] | None, text: str) -> tuple[int, ...]:
        """Ids up to where its answer begins; of plain ``text`` without messages, the text's."""
        return text_ids(self.tokenizer, self.prompt_text(messages, text))

    def prompt_text(self, messages: Sequence[Message] | None, text: str) -> str:
        """The same as text, byte for byte; raises :class:`RowError` where it cannot be asked so."""
        if messages is None:
            return text
        if self.template is None:
            raise RowError("it has no chat template")
        return self.template.text(messages)

    def trace(self, text: str, *, chat: bool) -> Trace:
        """Reasoning and answer of what it wrote."""
        return split(text, opened=bool(chat and self.template and self.template.opens_reasoning))
