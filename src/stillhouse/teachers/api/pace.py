"""How fast may be asked: a token bucket for requests and one for tokens, and what the server says of its own limits.

pace = Pace(Limits(requests_per_minute=600, tokens_per_minute=100_000))
await pace.turn(tokens=900)           # returns when the call may go
pace.heed(headers, tokens=900)        # x-ratelimit-*, from every response
pace.back(tokens=900, spent=412)      # the call is over
pace.hold(2.0)                        # a Retry-After holds all calls
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from stillhouse.teachers.api.outcomes import Trouble

T = TypeVar("T")

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LOOK = 0.25  # seconds after which a waiting call looks whether more is left than it thought
_EPOCH = 1e9  # a larger number is a moment, not a length of time
_EPOCH_MS = 1e12


@dataclass(frozen=True)
class Limits:
    """How calls are made; nothing here changes an answer or its key.

    requests_per_minute, tokens_per_minute: no limit when ``None``; the server's own are heeded either way. timeout:
    seconds for one attempt. deadline: seconds for further attempts, from the first that failed. attempts: requests
    for one answer. asks: how often an unusable answer under the rule "retry" is asked for in all. first_delay,
    longest_delay: seconds between attempts, doubled each time. patience: the longest pause, in seconds, that a
    limits may ask for; what would have to wait longer fails as rate limited.
    """

    concurrency: int = 8
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout: float = 120.0
    deadline: float = 600.0
    attempts: int = 6
    asks: int = 3
    first_delay: float = 0.5
    longest_delay: float = 30.0
    patience: float = 900.0


class Bucket:
    """A token bucket that holds a second's worth. A cost above that is taken as a debt, paid off by waiting."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, self._rate)
        self._level = self._most
        self._clock = clock
        self._seen = clock()

    def wait(self, cost: float) -> float:
        """Seconds until ``cost`` may be taken."""
        self._fill()
        return max(0.0, (min(cost, self._most) - self._level) / self._rate)

    def take(self, cost: float) -> None:
        """Take ``cost``; a negative one gives back what an estimate took too much."""
        self._fill()
        self._level = min(self._most, self._level - cost)

    def _fill(self) -> None:
        moment = self._clock()
        self._level = min(self._most, self._level + (moment - self._seen) * self._rate)
        self._seen = moment


class Pace:
    """Lets calls go one after another, each when it may."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience = limits.patience
        self._clock = clock
        self._requests = _bucket(limits.requests_per_minute, clock)
        self._tokens = _bucket(limits.tokens_per_minute, clock)
        self._held_until = -math.inf
        self._left = {"requests": math.inf, "tokens": math.inf}  # as the server last said
        self._renewed = {"requests": -math.inf, "tokens": -math.inf}
        self._flying = {"requests": 0, "tokens": 0}  # on their way, so the server may not have counted them yet
        self._line = asyncio.Lock()

    async def turn(self, tokens: int) -> None:
        """Wait for a call of ``tokens`` (an estimate); raises :class:`Trouble` when that exceeds the patience."""
        async with self._line:  # first come, first served: a large call is not overtaken for ever
            while (wait := self._wait(tokens)) > 0:
                if wait > self._patience:
                    raise Trouble("rate limited", f"the limits ask to wait {wait:.0f} seconds", again=False)
                await asyncio.sleep(min(wait, _LOOK))
            for name, bucket, cost in self._costs(tokens):
                self._left[name] -= cost
                self._flying[name] += cost
                if bucket is not None:
                    bucket.take(cost)

    def back(self, tokens: int, spent: int) -> None:
        """A call has come to its end: ``tokens`` were estimated, ``spent`` is what it took."""
        for name, bucket, cost in self._costs(tokens):
            self._flying[name] -= cost
            if bucket is not None and name == "tokens":
                bucket.take(spent - tokens)

    def hold(self, seconds: float) -> None:
        """Let no call go for so long."""
        self._held_until = max(self._held_until, self._clock() + seconds)

    def heed(self, headers: Mapping[str, str], tokens: int) -> None:
        """Remember what a response, to a call of ``tokens``, says is left, and when that is renewed."""
        for name, suffixes, cost in (("requests", ("-requests", ""), 1), ("tokens", ("-tokens",), tokens)):
            for suffix in suffixes:
                left = _number(headers.get(f"x-ratelimit-remaining{suffix}"))
                reset = read_duration(headers.get(f"x-ratelimit-reset{suffix}"))
                if left is not None and reset is not None:
                    self._left[name] = left - (self._flying[name] - cost)
                    self._renewed[name] = self._clock() + reset
                    break

    def _costs(self, tokens: int) -> tuple[tuple[str, Bucket | None, int], ...]:
        return ("requests", self._requests, 1), ("tokens", self._tokens, tokens)

    def _wait(self, tokens: int) -> float:
        moment = self._clock()
        waits = [0.0, self._held_until - moment]
        for name, bucket, cost in self._costs(tokens):
            if bucket is not None:
                waits.append(bucket.wait(cost))
            if self._renewed[name] <= moment:
                self._left[name] = math.inf  # the server's word has run out
            elif self._left[name] < cost:
                waits.append(self._renewed[name] - moment)
        return max(waits)


async def persist(
    attempt: Callable[[], Awaitable[T]],
    limits: Limits,
    pace: Pace,
    *,
    mended: Callable[[Trouble], bool] = lambda trouble: False,
) -> T:
    """The outcome of ``attempt``, tried again as the limits allow; raises the last :class:`Trouble`.

    mended: told of each trouble, says whether its cause was just taken away, so that it does not count. What a server
    asks to wait holds every call, not just this one.
    """
    started: float | None = None
    number = 0
    while True:
        try:
            return await attempt()
        except Trouble as trouble:
            if mended(trouble):
                continue
            number += 1
            started = started or time.monotonic()
            longest = min(limits.longest_delay, limits.first_delay * 2 ** (number - 1))
            delay = random.uniform(longest / 2, longest)  # noqa: S311 - it spreads retries and guards no secret
            if trouble.wait is not None:
                pace.hold(trouble.wait)
                delay = max(delay, trouble.wait)
            left = limits.deadline - (time.monotonic() - started)
            if not trouble.again or number >= limits.attempts or delay > left:
                raise
        await asyncio.sleep(delay)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait: ``retry-after-ms``, or ``retry-after`` as seconds or as a date."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if text is None or seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())


def read_duration(text: str | None) -> float | None:
    """Seconds of ``1m30s``, ``20ms``, ``1.5``, or of a moment as seconds or milliseconds since 1970."""
    value = _number(text)
    if text is None or value is None:
        parts = _DURATION.findall(text or "")
        whole = "".join(number + unit for number, unit in parts) == (text or "").strip()
        return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts and whole else None
    if value > _EPOCH:
        value = value / (1000 if value > _EPOCH_MS else 1) - datetime.now(UTC).timestamp()
    return max(0.0, value)


def _bucket(per_minute: float | None, clock: Callable[[], float]) -> Bucket | None:
    return None if per_minute is None else Bucket(per_minute, clock)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
