"""Top log-probabilities as servers give them, made the same: k entries a token, sorted, unique, finite.

positions = read_chat(choice["logprobs"]["content"], asked=20)
positions[0].top[0].token, positions[0].top[0].log_prob
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from stillhouse.teachers.api.outcomes import Fault

LEAST = -9999.0  # stands for minus infinity, which JSON cannot say; the value that OpenAI's API uses for it
_SLACK = 0.005  # what rounding may add to a sum of probabilities
_AGREE = 0.01  # how far apart two values of one log-probability may lie


class Entry(NamedTuple):
    """A token that could stand at a position; ``id`` is its number, where the server says it."""

    token: str
    log_prob: float
    id: int | None = None


class Position(NamedTuple):
    """The k likeliest tokens of one position, and the one that stands there (where the server says which)."""

    top: tuple[Entry, ...]
    chosen: Entry | None = None


Positions = tuple[Position | None, ...]  # None: the prompt's first token, about which nothing was predicted


class RefusedError(Exception):
    """Log-probabilities that cannot be used, with the reason."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault: Fault = fault
        self.detail = detail


def read_chat(content: object, *, asked: int) -> Positions:
    """The ``logprobs.content`` of a chat choice; llama.cpp gives completions in this form too."""
    if not isinstance(content, list):
        raise RefusedError("no log-probs", "the server gave none")
    positions = []
    for place, item in enumerate(content):
        if not isinstance(item, Mapping):
            raise RefusedError("no log-probs", f"none at token {place}")
        positions.append(_position(item, item.get("top_logprobs"), place))
    return _level(positions, asked)


def read_legacy(found: Mapping[str, Any], *, asked: int) -> Positions:
    """The ``logprobs`` of a completions choice: parallel lists of tokens, values and ``{token: value}``."""
    tokens, values, tops = (found.get(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not (isinstance(tokens, list) and isinstance(values, list) and isinstance(tops, list)):
        raise RefusedError("no log-probs", "the server gave none")
    if not len(tokens) == len(values) == len(tops):
        raise RefusedError("no log-probs", f"{len(tokens)} tokens came with {len(tops)} lists")
    positions: list[Position | None] = []
    for place, (token, value, top) in enumerate(zip(tokens, values, tops, strict=True)):
        pairs = top.items() if isinstance(top, Mapping) else ()
        items = [{"token": name, "logprob": number} for name, number in pairs]
        positions.append(_position({"token": token, "logprob": value}, items, place))
    return _level(positions, asked)


def read_prompt(found: object, *, asked: int, ids: Sequence[int] | None) -> Positions:
    """vLLM's ``prompt_logprobs``: per token of the prompt ``{id: {logprob, decoded_token}}``, the first null.

    ids: the prompt, where it was sent as token ids; then each position names the token that stands there.
    """
    if not isinstance(found, list) or not found:
        raise RefusedError("no log-probs", "the server gave none for the prompt")
    if ids is not None and len(found) != len(ids):
        raise RefusedError("no log-probs", f"{len(ids)} prompt tokens came with {len(found)} lists")
    positions: list[Position | None] = []
    for place, top in enumerate(found):
        if top is None and place == 0:
            positions.append(None)
            continue
        if not isinstance(top, Mapping):
            raise RefusedError("no log-probs", f"none at token {place} of the prompt")
        items = [
            {"token": value.get("decoded_token") or "", "logprob": value.get("logprob"), "id": int(number)}
            for number, value in top.items()
            if isinstance(value, Mapping) and number.isdecimal()
        ]
        said = next((item for item in items if ids is not None and item["id"] == ids[place]), None)
        positions.append(_position(said, items, place))
    return _level(positions, asked)


def as_json(positions: Positions) -> list[Any]:
    """Positions as a JSON value; :func:`from_json` reads it back."""
    return [
        None if position is None else {"top": [list(entry) for entry in position.top], "chosen": position.chosen}
        for position in positions
    ]


def from_json(value: Sequence[Any]) -> Positions:
    """What :func:`as_json` wrote."""
    return tuple(
        None
        if item is None
        else Position(tuple(Entry(*entry) for entry in item["top"]), item["chosen"] and Entry(*item["chosen"]))
        for item in value
    )


def _position(chosen: Mapping[str, Any] | None, items: object, place: int) -> Position:
    if not isinstance(items, list):
        raise RefusedError("no log-probs", f"none at token {place}")
    best: dict[object, Entry] = {}
    for item in items:
        entry, identity = _entry(item, place)
        if identity not in best or best[identity].log_prob < entry.log_prob:
            best[identity] = entry
    top = tuple(sorted(best.values(), key=lambda entry: (-entry.log_prob, entry.token)))
    mass = math.fsum(math.exp(entry.log_prob) for entry in top)
    if mass > 1 + _SLACK:
        raise RefusedError(
            "not a distribution", f"the probabilities at token {place} sum to {mass:.3f}; scaled by a temperature?"
        )
    if chosen is None:
        return Position(top)
    said, identity = _entry(chosen, place)
    if identity in best and abs(best[identity].log_prob - said.log_prob) > _AGREE:
        raise RefusedError("not a distribution", f"the token at {place} has two log-probabilities")
    return Position(top, said)


def _entry(item: object, place: int) -> tuple[Entry, object]:
    """An entry, and what tells it from others: its id, else its bytes, else its text."""
    found = item if isinstance(item, Mapping) else {}
    value, token, number, raw = (found.get(name) for name in ("logprob", "token", "id", "bytes"))
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not isinstance(token, str):
        raise RefusedError("not a number", f"the log-probability at token {place} is {value!r}")
    if value > _SLACK:
        raise RefusedError("not a distribution", f"a probability above one at token {place}")
    number = number if isinstance(number, int) else None
    identity: object = number if number is not None else tuple(raw) if isinstance(raw, list) and raw else token
    return Entry(token, float(max(min(value, 0), LEAST)), number), identity


def _level(positions: Iterable[Position | None], asked: int) -> Positions:
    """Cut every position to one k: what was asked, or the fewest that any position has (a server that caps)."""
    found = tuple(positions)
    k = min([asked, *(len(position.top) for position in found if position is not None)])
    if k < min(1, asked):
        raise RefusedError("no log-probs", "a token came without any")
    return tuple(None if position is None else position._replace(top=position.top[:k]) for position in found)
