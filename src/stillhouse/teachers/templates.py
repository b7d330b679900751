"""Chat templates: messages as token ids with one beginning, and a known border between prompt and answer.

A template is tried out once per model: whether it takes a system role, what it writes after an answer, and whether it
opens the reasoning itself.

    template = ChatTemplate(tokenizer)
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    ids = template.ids(messages)                # what the teacher sees
    taught = template.join(messages, "5")       # what the student is taught; taught.answer are the answer's ids
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stillhouse.errors import StillhouseError, first_line
from stillhouse.teachers.reasoning import OPEN

Message = Mapping[str, str]

_PROBE = "stillhouse probe"
_USER: Message = {"role": "user", "content": "a question"}
_WHERE = "the tokenizer's chat template"


class RowError(Exception):
    """One row cannot be asked or taught; the message is the reason, and other rows go on."""


@dataclass(frozen=True)
class Joined:
    """Token ids of a prompt and its answer together; the first ``prompt_length`` of them are the prompt's.

    split: whether the ``whole`` text was split into tokens at once, or prompt and answer ``apart``.
    """

    ids: tuple[int, ...]
    prompt_length: int
    split: Literal["whole", "apart"]

    @property
    def answer(self) -> tuple[int, ...]:
        """The ids that are learned: the answer's, with the end of the turn."""
        return self.ids[self.prompt_length :]


class ChatTemplate:
    """The chat template of one tokenizer.

    options: what the template itself takes, such as ``enable_thinking``. system: ``own`` where the template writes
    system messages, ``merged`` where it refuses or drops them (see :func:`merge_system`). ending: what the template
    writes after an answer, up to the end of the turn. end_of_turn: the id of that end, if it is a token of its own.
    opens_reasoning: whether a prompt already ends with ``<think>``.

    Raises :class:`StillhouseError` when there is no template or it cannot write a question and its answer.
    """

    def __init__(self, tokenizer: Any, options: Mapping[str, object] | None = None) -> None:
        if not tokenizer.chat_template:
            raise StillhouseError(
                "the tokenizer has no chat template, so it is not said how messages become text",
                where="the model's tokenizer",
                fix="use an instruction-tuned model, add a chat_template to the tokenizer, or ask with a plain prompt",
            )
        self._tokenizer = tokenizer
        self._options = dict(options or {})
        try:
            prompt = self._render([_USER], reply=True)
            self.system: Literal["own", "merged"] = "own" if self._takes_system() else "merged"
            self.ending, self.end_of_turn = self._find_ending()
        except RowError as error:
            raise StillhouseError(
                f"a question and its answer cannot be written: {error}",
                where=_WHERE,
                fix="use the template that belongs to the model, or ask with a plain prompt",
            ) from error
        self.opens_reasoning = prompt.rstrip().endswith(OPEN)

    def identity(self) -> dict[str, Any]:
        """All that changes what is rendered, as a JSON value for hashing."""
        return {"template": self._tokenizer.chat_template, "options": self._options, "system": self.system}

    def text(self, messages: Sequence[Message]) -> str:
        """The text up to where the answer begins; raises :class:`RowError` when the template refuses the messages."""
        return self._render(messages if self.system == "own" else merge_system(messages), reply=True)

    def ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The token ids of :meth:`text`, see :func:`text_ids`."""
        return text_ids(self._tokenizer, self.text(messages))

    def join(self, messages: Sequence[Message], answer: str, *, finished: bool = True) -> Joined:
        """Prompt, answer and, if it is ``finished``, the end of the turn; see :func:`join`.

        The answer stands right after the prompt that is asked with, also where the template would write a finished
        turn in another way: what is taught must begin with what will be asked.
        """
        return join(self._tokenizer, self.text(messages), answer, self.ending if finished else "")

    def _render(self, messages: Sequence[Message], *, reply: bool) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tokenize=False,
                    add_generation_prompt=reply,
                    **self._options,
                )
            )
        except Exception as error:  # a template is a program that may fail in any way
            raise RowError(first_line(error)) from error

    def _takes_system(self) -> bool:
        try:
            return _PROBE in self._render([{"role": "system", "content": _PROBE}, _USER], reply=True)
        except RowError:
            return False

    def _find_ending(self) -> tuple[str, int | None]:
        turns = self._render([_USER, {"role": "assistant", "content": _PROBE}], reply=False)
        _, found, tail = turns.rpartition(_PROBE)
        if not found:
            raise RowError("it leaves out what the assistant said")
        special = {token.content: key for key, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        ends = [(tail.find(token) + len(token), key) for token, key in special.items() if token in tail]
        if not ends:
            return tail, None
        # what follows the end of the turn, often a line break, is written before the next turn and never by the model
        length, end_of_turn = min(ends)
        return tail[:length], int(end_of_turn)


def render_ids(tokenizer: Any, messages: Sequence[Message]) -> tuple[int, ...]:
    """The ids that a model with ``tokenizer`` is asked with; for many rows keep one :class:`ChatTemplate`."""
    return ChatTemplate(tokenizer).ids(messages)


def text_ids(tokenizer: Any, text: str) -> tuple[int, ...]:
    """Token ids of a whole prompt: with exactly one beginning token, if the model has one, and no end token.

    A model has one if its template wrote it into ``text`` or its tokenizer puts it before any text. A token that is
    merely named in the tokenizer's settings is not added: a model that never saw it there would be asked in another
    way than it was trained.
    """
    return texts_ids(tokenizer, [text])[0]


def texts_ids(tokenizer: Any, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """The same of many texts at once."""
    found = [tuple(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []
    begin = tokenizer.bos_token_id
    if begin is None:
        return found
    added = list(tokenizer("a")["input_ids"])[:1] == [begin]
    return [_with_one(begin, ids, added) for ids in found]


def _with_one(begin: int, ids: tuple[int, ...], added: bool) -> tuple[int, ...]:
    written = next((place for place, key in enumerate(ids) if key != begin), len(ids))
    return (begin, *ids[written:]) if written or added else ids


def join(tokenizer: Any, prompt: str, answer: str, ending: str = "") -> Joined:
    """Token ids of ``prompt + answer + ending``; the prompt's own ids are always their beginning.

    Where a token would span the border, the answer is split into tokens on its own, as a model must write it that was
    asked with this prompt. Raises :class:`RowError` when that changes the text, or when the answer is empty.
    """
    if not answer:
        raise RowError("the answer is empty: there is nothing to learn")
    head, whole = text_ids(tokenizer, prompt), text_ids(tokenizer, prompt + answer + ending)
    if whole[: len(head)] == head:
        return Joined(whole, len(head), "whole")
    apart = (*head, *tokenizer(answer + ending, add_special_tokens=False)["input_ids"])
    if tokenizer.decode(apart) == tokenizer.decode(whole):
        return Joined(apart, len(head), "apart")
    raise RowError(
        f"the end of the prompt {prompt[-12:]!r} and the start of the answer {answer[:12]!r} share a token,"
        " and the answer alone is split into tokens of another text"
    )


def merge_system(messages: Sequence[Message]) -> list[Message]:
    """Put the leading system messages before the first user turn's text, with a blank line after each.

    Raises :class:`RowError` when no user turn follows them.
    """
    count = next((place for place, message in enumerate(messages) if message["role"] != "system"), len(messages))
    if not count:
        return list(messages)
    if count == len(messages) or messages[count]["role"] != "user":
        raise RowError("the template takes no system message, and no user turn follows to carry its text")
    contents = [message["content"] for message in messages[: count + 1]]
    return [{"role": "user", "content": "\n\n".join(contents)}, *messages[count + 1 :]]
