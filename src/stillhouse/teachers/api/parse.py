"""Responses into answers: the one place that knows what servers send back.

answer = read_response(body, call)     # an Answer; Trouble when the body is no answer at all
answer.text, answer.reasoning, answer.finish
Answer.from_json(answer.as_json())     # the record in the answer store
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from stillhouse.teachers.api.calls import Call
from stillhouse.teachers.api.logprobs import (
    Positions,
    RefusedError,
    as_json,
    from_json,
    read_chat,
    read_legacy,
    read_prompt,
)
from stillhouse.teachers.api.outcomes import Fault, Trouble
from stillhouse.teachers.reasoning import split

Finish = Literal["stop", "length", "filter", "tool", "unknown"]

_FINISH: Mapping[str, Finish] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "filter",
    "tool_calls": "tool",
    "function_call": "tool",
}


@dataclass(frozen=True)
class Usage:
    """Tokens as the server counts them; ``None`` where it does not say. Reasoning and cached tokens are parts."""

    prompt: int | None = None
    answer: int | None = None
    reasoning: int | None = None
    cached: int | None = None


@dataclass(frozen=True)
class Earlier:
    """An unusable answer that was asked again: what it said, what was wrong, what it cost."""

    raw: str
    fault: Fault
    usage: Usage


@dataclass(frozen=True)
class Answer:
    """What the teacher said to one call, as it said it; what it is worth is judged later.

    raw: the message, whole. aside: reasoning that the server gave in a field of its own. finish: why it ended.
    refusal: the server's own word that the teacher refused. model: as the server names it. top: L positions of the
    answer, prompt_top: those of the prompt, ``None`` where not asked for or refused; fault and detail: why refused.
    earlier: unusable answers to the same call before this one.
    """

    raw: str = ""
    aside: str = ""
    finish: Finish = "stop"
    refusal: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    top: Positions | None = None
    prompt_top: Positions | None = None
    fault: Fault | None = None
    detail: str = ""
    earlier: tuple[Earlier, ...] = ()

    @property
    def text(self) -> str:
        """The answer without the reasoning before it."""
        return split(self.raw).answer

    @property
    def reasoning(self) -> str:
        """The reasoning, given apart or before the answer (see :func:`split`); empty when there is none."""
        return "\n".join(part for part in (self.aside, split(self.raw).reasoning) if part)

    def as_json(self) -> dict[str, Any]:
        """The record for the answer store; fields at their defaults are left out."""
        plain: dict[str, Any] = {name: value for name, value in vars(self).items() if value != _DEFAULTS.get(name)}
        plain["usage"] = dict(vars(self.usage))
        for name in ("top", "prompt_top"):
            if plain.get(name) is not None:
                plain[name] = as_json(plain[name])
        if self.earlier:
            plain["earlier"] = [{**vars(one), "usage": dict(vars(one.usage))} for one in self.earlier]
        return plain

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` gave; KeyError or TypeError for another kind of record."""
        fields = dict(record)
        fields["usage"] = Usage(**fields["usage"])
        for name in ("top", "prompt_top"):
            if fields.get(name) is not None:
                fields[name] = from_json(fields[name])
        earlier = (Earlier(one["raw"], one["fault"], Usage(**one["usage"])) for one in fields.get("earlier", ()))
        return cls(**{**fields, "earlier": tuple(earlier)})

    def after(self, earlier: tuple[Earlier, ...]) -> Answer:
        """The same answer, with the unusable ones before it."""
        return replace(self, earlier=earlier)


_DEFAULTS = vars(Answer())


def read_response(body: object, call: Call) -> Answer:
    """The answer in a response's JSON body; raises :class:`Trouble` when it holds none."""
    choice = _choice(body)
    message = choice.get("message") if call.messages else choice
    if not isinstance(body, Mapping) or not isinstance(message, Mapping):
        raise _unreadable("a choice without a message")
    usage = _usage(body.get("usage"))
    answer = Answer(
        raw=_text(message.get("content") if call.messages else message.get("text")),
        aside=_text(message.get("reasoning_content") or message.get("reasoning")),
        finish=_finish(choice.get("finish_reason"), usage, call),
        refusal=_text(message.get("refusal")),
        model=_text(body.get("model")),
        usage=usage,
    )
    try:
        top = None if call.top is None else _top(choice.get("logprobs"), call.top)
        prompt_top = None
        if call.prompt_top is not None:
            found = choice.get("prompt_logprobs", body.get("prompt_logprobs"))
            ids = call.prompt if isinstance(call.prompt, tuple) else None
            prompt_top = read_prompt(found, asked=call.prompt_top, ids=ids)
    except RefusedError as error:
        return replace(answer, fault=error.fault, detail=error.detail)
    return replace(answer, top=top, prompt_top=prompt_top)


def _choice(body: object) -> Mapping[str, Any]:
    choices = body.get("choices") if isinstance(body, Mapping) else None
    found = [one for one in choices if isinstance(one, Mapping)] if isinstance(choices, list) else []
    first = next((one for one in found if one.get("index", 0) == 0), None)
    if first is None:
        raise _unreadable("no choice in it")
    if first.get("finish_reason") == "error":
        raise Trouble("server error", "the answer broke off at the server", paid=True)
    return first


def _unreadable(detail: str) -> Trouble:
    return Trouble("unreadable response", detail, paid=True)


def _text(value: object) -> str:
    if isinstance(value, list):  # parts, of which only the text is wanted
        return "".join(_text(part.get("text")) for part in value if isinstance(part, Mapping))
    return value if isinstance(value, str) else ""


def _finish(value: object, usage: Usage, call: Call) -> Finish:
    found = _FINISH.get(value, "unknown") if isinstance(value, str) else "unknown"
    # a server that gives no reason may have cut the answer all the same
    return "length" if found == "unknown" and (usage.answer or 0) >= call.max_tokens else found


def _usage(value: object) -> Usage:
    found = value if isinstance(value, Mapping) else {}
    details = found.get("completion_tokens_details")
    prompt_details = found.get("prompt_tokens_details")
    return Usage(
        prompt=_count(found.get("prompt_tokens")),
        answer=_count(found.get("completion_tokens")),
        reasoning=_count(details.get("reasoning_tokens")) if isinstance(details, Mapping) else None,
        cached=_count(prompt_details.get("cached_tokens")) if isinstance(prompt_details, Mapping) else None,
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _top(found: object, asked: int) -> Positions:
    if not isinstance(found, Mapping):
        raise RefusedError("no log-probs", "the server gave none")
    if "content" in found:
        return read_chat(found["content"], asked=asked)
    return read_legacy(found, asked=asked)
