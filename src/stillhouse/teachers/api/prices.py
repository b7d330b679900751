"""Money and tokens: an estimate before, a cap on the way, a bill after.

prices = Prices(prompt=0.15, answer=0.60)                # per million tokens; or known_prices("some-model")
estimate(calls, prices).money_at_most
purse = Purse(Budget(money=5.0), prices)                  # what a client spends from
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.teachers.api.calls import Call
from stillhouse.teachers.api.outcomes import Trouble
from stillhouse.teachers.api.parse import Usage

_MILLION = 1_000_000
_BYTES_A_TOKEN = 4  # of English text in a large vocabulary; an estimate, never a limit
_SAMPLE = 1000  # tokens at which a price that depends on the length is read: that of short prompts


@dataclass(frozen=True)
class Prices:
    """Money per million tokens. cached: of prompt tokens that the server had in its cache, where it says so."""

    prompt: float
    answer: float
    cached: float | None = None
    currency: str = "USD"

    def of(self, prompt: int, answer: int, cached: int = 0) -> float:
        """The price of so many tokens; ``cached`` of the prompt's."""
        cached_price = self.prompt if self.cached is None else self.cached
        return ((prompt - cached) * self.prompt + cached * cached_price + answer * self.answer) / _MILLION


@dataclass(frozen=True)
class Budget:
    """The most that a run may spend: tokens of prompts and answers, and money. ``None`` is no cap."""

    tokens: int | None = None
    money: float | None = None


@dataclass(frozen=True)
class Bill:
    """What was spent. answers: usable or not. unconfirmed_tokens: at most so many more may be charged for attempts
    that ended without an answer, such as a connection that was cut. money: ``None`` without prices."""

    answers: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    unconfirmed_tokens: int = 0
    money: float | None = None
    unconfirmed_money: float | None = None


@dataclass(frozen=True)
class Estimate:
    """What calls may cost. Tokens are typical for prompts and the most for answers; money_at_most cannot be passed."""

    calls: int
    prompt_tokens: int
    answer_tokens_at_most: int
    money: float | None
    money_at_most: float | None


def estimate(calls: Iterable[Call], prices: Prices | None = None) -> Estimate:
    """Estimate before asking; no tokenizer is needed, and calls are not kept."""
    number = prompt = most_prompt = answer = 0
    for call in calls:
        most, longest = call.tokens_at_most()
        number, most_prompt, answer = number + 1, most_prompt + most, answer + longest
        prompt += most if isinstance(call.prompt, tuple) else -(-most // _BYTES_A_TOKEN)
    money = None if prices is None else prices.of(prompt, answer)
    return Estimate(number, prompt, answer, money, None if prices is None else prices.of(most_prompt, answer))


class Purse:
    """Reserves the most that a call can cost before it is asked, and settles what it did cost."""

    def __init__(self, budget: Budget, prices: Prices | None) -> None:
        if budget.money is not None and prices is None:
            raise StillhouseError(
                "a budget in money needs prices",
                where="the budget of the API teacher",
                fix="give the prices per million tokens, or a budget in tokens",
            )
        self._budget, self._prices = budget, prices
        self._answers = self._prompt = self._answer = 0
        self._unconfirmed = (0, 0)
        self._money = 0.0
        self._reserved = (0, 0)
        self._released = asyncio.Event()
        self._released.set()
        self._closed = ""

    async def reserve(self, call: Call) -> tuple[int, int]:
        """Set the call's dearest outcome aside, once calls on their way have left enough; see :meth:`set_aside`."""
        while self._over(call) and any(self._reserved) and not self._closed:
            if self._released.is_set():
                self._released = asyncio.Event()  # a new one, since one belongs to one event loop
            await self._released.wait()
        return self.set_aside(call)

    def set_aside(self, call: Call) -> tuple[int, int]:
        """Set the call's dearest outcome aside; raises :class:`Trouble` when that could pass the budget.

        After that no call is let through, not even a shorter one: an order by length would skew what is learnt.
        """
        self._closed = self._closed or self._over(call)
        if self._closed:
            raise Trouble("budget", self._closed, again=False)
        most = call.tokens_at_most()
        self._reserved = _add(self._reserved, most)
        return most

    def _over(self, call: Call) -> str:
        """What the call could pass, in words; empty when it fits."""
        open_tokens = _add(_add(self._reserved, call.tokens_at_most()), self._unconfirmed)
        tokens = self._prompt + self._answer + sum(open_tokens)
        if self._budget.tokens is not None and tokens > self._budget.tokens:
            return f"the next call could pass {self._budget.tokens:,} tokens"
        if self._budget.money is None or self._prices is None:
            return ""
        over = self._money + self._prices.of(*open_tokens) > self._budget.money
        return f"the next call could pass {self._budget.money:g} {self._prices.currency}" if over else ""

    def settle(self, reserved: tuple[int, int], usage: Usage) -> int:
        """Count an answer and return its tokens. Where the server counts none, the most that it can be is counted."""
        self._release(reserved)
        prompt = reserved[0] if usage.prompt is None else usage.prompt
        answer = reserved[1] if usage.answer is None else usage.answer
        self._answers += 1
        self._prompt += prompt
        self._answer += answer
        if self._prices is not None:
            self._money += self._prices.of(prompt, answer, min(usage.cached or 0, prompt))
        return prompt + answer

    def lose(self, reserved: tuple[int, int], *, paid: bool) -> None:
        """Count an attempt without an answer; ``paid``: whether it may be charged for."""
        self._release(reserved)
        if paid:
            self._unconfirmed = _add(self._unconfirmed, reserved)

    def bill(self) -> Bill:
        """What was spent so far."""
        priced = self._prices is not None
        return Bill(
            answers=self._answers,
            prompt_tokens=self._prompt,
            answer_tokens=self._answer,
            unconfirmed_tokens=sum(self._unconfirmed),
            money=self._money if priced else None,
            unconfirmed_money=self._prices.of(*self._unconfirmed) if self._prices is not None else None,
        )

    def _release(self, reserved: tuple[int, int]) -> None:
        self._reserved = _add(self._reserved, (-reserved[0], -reserved[1]))
        self._released.set()


def known_prices(model: str, provider: str | None = None) -> Prices | None:
    """The list price of short prompts, from the package genai-prices, or ``None`` where it or the model is unknown."""
    if find_spec("genai_prices") is None:
        return None
    library: Any = import_module("genai_prices")

    def price(**tokens: int) -> float:
        found = library.calc_price(library.Usage(**tokens), model_ref=model, provider_id=provider)
        return float(found.total_price) * _MILLION / _SAMPLE

    try:
        prompt = price(input_tokens=_SAMPLE)
        return Prices(prompt, price(output_tokens=_SAMPLE), price(input_tokens=_SAMPLE, cache_read_tokens=_SAMPLE))
    except LookupError:
        return None


def _add(first: tuple[int, int], second: tuple[int, int]) -> tuple[int, int]:
    return first[0] + second[0], first[1] + second[1]
