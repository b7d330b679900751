"""Conversations and plain texts as the token ids that a model reads, with the places of those that are learned.

sequence = conversation(ChatTemplate(tokenizer), messages)       # every turn of the assistant is learned
sequence.ids[slice(*sequence.spans[0])]                          # the first answer, with the end of its turn
sequence = plain(tokenizer, "A text to be continued.")           # all but its first token
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.reasoning import CLOSE, Trace, join, split
from stillhouse.teachers.templates import ChatTemplate, Joined, Message, RowError, text_ids


@dataclass(frozen=True)
class TokenSequence:
    """ids: all that the model reads. spans: [start, end) places in them that are learned; rising, apart, start >= 1."""

    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return sum(end - start for start, end in self.spans)

    @property
    def start(self) -> int:
        """The first learned place; distributions are stored about ``ids[start:]``."""
        return self.spans[0][0]


def asked(document: Mapping[str, Any], system: str = "") -> tuple[Message, ...]:
    """A document's turns up to where an answer is asked for; a plain text is a turn of the user.

    system: put in front where the document has no system message of its own.
    """
    turns = turns_asked(document["messages"] or (), system)
    return turns or turns_asked([{"role": "user", "content": document["text"]}], system)


def turns_asked(turns: Sequence[Message], system: str = "") -> tuple[Message, ...]:
    """Turns up to where an answer is asked for, with ``system`` in front as in :func:`asked`; of none, none."""
    found: list[Message] = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
    while found and found[-1]["role"] == "assistant":
        found.pop()
    if system and found and found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": system})
    return tuple(found)


def said(answer: TextAnswer, opened: bool) -> str:
    """Reasoning and answer as a teacher wrote them after its prompt. opened: the prompt opens the reasoning itself."""
    trace = Trace(answer.reasoning, answer.answer, closed=answer.finish_reason == "stop" or bool(answer.answer))
    return join(trace, "keep", opened=opened)


def conversation(
    template: ChatTemplate, messages: Sequence[Message], *, turns: Literal["all", "last"] = "all", finished: bool = True
) -> TokenSequence:
    """A conversation, learned turn by turn of the assistant: each as it must follow what is asked with up to there.

    An answer is learned with the end of its turn; ``finished=False`` says that the last one was cut off and has none.
    turns: ``all`` of the assistant's, or the ``last`` only. Where a template writes earlier turns in another way than
    it asked for them (some leave out old reasoning), those turns are read and not learned. Where it opens the reasoning
    in the prompt, an answer without any closes it first. Raises :class:`RowError` where there is nothing to learn, or
    the template refuses.
    """
    answered = [place for place, turn in enumerate(messages) if turn["role"] == "assistant" and turn["content"]]
    if not answered or answered[-1] != len(messages) - 1:
        said = "no turn of the assistant" if not answered else "no turn of the assistant at its end"
        raise RowError(f"the conversation has {said}: there is nothing to learn from")
    last = _joined(template, messages, answered[-1], finished)
    spans = [(last.prompt_length, len(last.ids))]
    for place in reversed(answered[:-1] if turns == "all" else []):
        earlier = _joined(template, messages, place, True)
        if last.ids[: len(earlier.ids)] == earlier.ids:  # else it is shown in another way later on
            spans.insert(0, (earlier.prompt_length, len(earlier.ids)))
    return TokenSequence(last.ids, tuple(spans))


def _joined(template: ChatTemplate, messages: Sequence[Message], place: int, finished: bool) -> Joined:
    content = messages[place]["content"]
    if template.opens_reasoning and finished:
        content = join(split(content, opened=CLOSE in content), "keep", opened=True)
    return template.join(messages[:place], content, finished=finished)


def plain(tokenizer: Any, text: str) -> TokenSequence:
    """A text whose every token but the first is learned, and then its end, if the tokenizer has an end token."""
    ids = text_ids(tokenizer, text)
    if tokenizer.eos_token_id is not None:
        ids = (*ids, int(tokenizer.eos_token_id))
    if len(ids) < 2:
        raise RowError("the text has a single token: there is nothing that it is learned from")
    return TokenSequence(ids, ((1, len(ids)),))


def shortened(sequence: TokenSequence, most: int) -> TokenSequence:
    """The first ``most`` tokens; raises :class:`RowError` when none of them is learned."""
    spans = tuple((start, min(end, most)) for start, end in sequence.spans if start < most)
    if not spans:
        raise RowError(f"what is learned begins at token {sequence.start}, beyond the {most} that are read")
    return TokenSequence(sequence.ids[: min(most, spans[-1][1])], spans)
