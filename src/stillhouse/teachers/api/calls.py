"""Calls: what is asked of an endpoint, the request body that asks it, and the key of its answer.

endpoint = Endpoint("https://example.org/v1", "some-model")
call = Call.chat("Is this a fruit: apple?", labels=("yes", "no"), max_tokens=8)
call.key(endpoint)             # SHA-256 of all that changes the answer
call.body(endpoint)            # what is sent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from stillhouse.errors import StillhouseError
from stillhouse.store import digest_of

ANSWER_VERSION = "api-1"  # raise it when the meaning of a stored answer changes

_PORTS = {"http": 80, "https": 443}
_MESSAGE_COST = 16  # tokens, at most, that a chat template puts around one message
_OPENROUTER = "openrouter.ai"


@dataclass(frozen=True)
class Endpoint:
    """A server that speaks the OpenAI protocol, and one of its models.

    url: its base, up to and with ``/v1``; it must hold no credentials, since it is part of every answer's key.
    extra: further fields of every request body. length_field: how the server calls the limit of answer tokens.
    """

    url: str
    model: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    length_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _normal_url(self.url))
        if urlsplit(self.url).hostname == _OPENROUTER:
            # only hosts and models whose terms let their text train another model, as far as OpenRouter knows
            provider = {"enforce_distillable_text": True} | dict(self.extra.get("provider", {}))
            object.__setattr__(self, "extra", {**self.extra, "provider": provider})

    def identity(self) -> dict[str, Any]:
        """All of the endpoint that changes an answer, as a JSON value."""
        return {"kind": "api", "url": self.url, "model": self.model, "extra": dict(self.extra)}


def _normal_url(url: str) -> str:
    """The URL in one spelling; refused when it holds what a secret could hide in."""
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in _PORTS or not host:
        raise StillhouseError(
            "this is no http or https address",
            where="the URL of the API teacher",
            fix="give the base of the API, such as http://127.0.0.1:8080/v1",
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise StillhouseError(
            "the URL holds a user name, a password or a query, in which a secret would be written down",
            where=f"the URL of the API teacher at {host}",
            fix="give the bare URL, and the key apart from it",
        )
    shown = f"[{host}]" if ":" in host else host
    place = shown if port in (None, _PORTS[parts.scheme]) else f"{shown}:{port}"
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))


@dataclass(frozen=True)
class Call:
    """One question. Exactly one of ``messages`` (chat) and ``prompt`` (completion: text or token ids) is given.

    max_tokens: the longest answer, reasoning included. temperature, top_p, seed: ``None`` leaves the server's own.
    top: how many log-probabilities a token of the answer shall come with. prompt_top: the same of the prompt's tokens
    (vLLM). labels: the answer is constrained to ``{"label": one of them}``. schema: a JSON schema of the answer.
    sample: number of the draw, where one question is asked several times. extra: further fields of the body.
    """

    messages: Sequence[Mapping[str, str]] = ()
    prompt: str | tuple[int, ...] | None = None
    max_tokens: int = 512
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    top: int | None = None
    prompt_top: int | None = None
    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    sample: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.messages) == (self.prompt is not None):
            raise ValueError("a call has either messages or a prompt")
        if self.labels and self.schema is not None:
            raise ValueError("a call has either labels or a schema")

    @classmethod
    def chat(cls, question: str, *, system: str = "", **options: Any) -> Call:
        """A chat of one question, after a system message where one is given."""
        opening = [{"role": "system", "content": system}] if system else []
        return cls(messages=(*opening, {"role": "user", "content": question}), **options)

    @property
    def path(self) -> str:
        """Where the call goes, below the endpoint's URL."""
        return "/chat/completions" if self.messages else "/completions"

    def key(self, endpoint: Endpoint) -> str:
        """The answer store's key: the hash of all that changes the answer."""
        asked = {"path": self.path, "body": self._fields(), "sample": self.sample}
        return digest_of([ANSWER_VERSION, endpoint.identity(), asked])

    def capped(self, most: int | None) -> Call:
        """The call as it is sent to a server that gives at most so many log-probabilities a token."""
        if most is None:
            return self
        top = None if self.top is None else min(self.top, most)
        return replace(self, top=top, prompt_top=None if self.prompt_top is None else min(self.prompt_top, most))

    def body(self, endpoint: Endpoint) -> dict[str, Any]:
        """The request's JSON body."""
        fields = self._fields()
        fields[endpoint.length_field] = fields.pop("max_tokens")
        return {"model": endpoint.model, **fields, **endpoint.extra}

    def tokens_at_most(self) -> tuple[int, int]:
        """Tokens of prompt and answer that no tokenizer of bytes or larger pieces can exceed."""
        if isinstance(self.prompt, tuple):
            return len(self.prompt), self.max_tokens
        texts = [self.prompt] if self.prompt is not None else [text for turn in self.messages for text in turn.values()]
        size = sum(len(text.encode("utf-8")) for text in texts)
        return size + _MESSAGE_COST * (len(self.messages) + 1), self.max_tokens

    def _fields(self) -> dict[str, Any]:
        ask = {"messages": [dict(turn) for turn in self.messages]} if self.messages else {"prompt": self.prompt}
        fields: dict[str, Any] = {**ask, "max_tokens": self.max_tokens}
        optional: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "stop": list(self.stop) or None,
        }
        # draws of one question differ by their seed, where one is set
        optional["seed"] = None if self.seed is None else self.seed + self.sample
        if self.messages and self.top is not None:
            optional |= {"logprobs": True, "top_logprobs": self.top}
        else:
            optional["logprobs"] = self.top
        optional |= {"prompt_logprobs": self.prompt_top, "response_format": self._response_format()}
        return fields | {name: value for name, value in optional.items() if value is not None} | dict(self.extra)

    def _response_format(self) -> dict[str, Any] | None:
        if self.labels:
            properties = {"label": {"type": "string", "enum": list(self.labels)}}
            schema: Mapping[str, Any] = {"type": "object", "properties": properties, "required": ["label"]}
            return _format("label", {**schema, "additionalProperties": False})
        return None if self.schema is None else _format("answer", self.schema)


def _format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": dict(schema)}}
