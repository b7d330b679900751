"""Many calls to one endpoint: bounded, paced, retried, each by itself, each answer handed over before it counts.

client = ApiClient(Endpoint("https://example.org/v1", "some-model"), key=Key("sk-..."))
await client.run(calls, on_result=lambda key, answer: store.put({key: answer.as_json()}), on_failure=failures.append)
client.bill()
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator

from stillhouse.errors import StillhouseError
from stillhouse.teachers.api.calls import Call, Endpoint
from stillhouse.teachers.api.checks import Checks
from stillhouse.teachers.api.outcomes import Failure, Trouble
from stillhouse.teachers.api.pace import Limits, Pace, persist
from stillhouse.teachers.api.parse import Answer, Earlier, read_response
from stillhouse.teachers.api.prices import Bill, Budget, Prices, Purse
from stillhouse.teachers.api.secret import Key
from stillhouse.teachers.api.transport import Transport

OnResult = Callable[[str, Answer], None]
OnFailure = Callable[[Failure], None]


class ApiClient:
    """Asks one endpoint. Calls come from an iterator and nothing of them is kept: memory does not grow with them.

    budget: for all that this client is ever asked to do.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        key: Key | None = None,
        limits: Limits | None = None,
        budget: Budget | None = None,
        prices: Prices | None = None,
        checks: Checks | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.key = key
        self.limits = limits or Limits()
        self.checks = checks or Checks()
        self.purse = Purse(budget or Budget(), prices)
        self._most_top: int | None = None  # the server's cap on log-probabilities, once it has told
        self._stop: StillhouseError | None = None

    def bill(self) -> Bill:
        """What this client has spent so far."""
        return self.purse.bill()

    async def run(self, calls: Iterable[Call], *, on_result: OnResult, on_failure: OnFailure) -> None:
        """Ask all calls. Each ends in exactly one of ``on_result`` (usable or not) and ``on_failure`` (no answer).

        Raises :class:`StillhouseError` when the user has to mend something (a wrong key, no credit, a wrong URL);
        the calls on their way are brought to their end before.
        """
        pace = Pace(self.limits)
        source = iter(calls)
        self._stop = None
        async with Transport(self.endpoint, self.key, self.limits) as transport:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(self.limits.concurrency):
                        group.create_task(self._work(source, transport, pace, on_result, on_failure))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None  # a fault of the callbacks, such as a full disk
        if self._stop is not None:
            raise self._stop

    async def _work(
        self, source: Iterator[Call], transport: Transport, pace: Pace, on_result: OnResult, on_failure: OnFailure
    ) -> None:
        for call in source:
            key = call.key(self.endpoint)
            try:
                answer = await self._answer(call, transport, pace)
            except Trouble as trouble:
                if not transport.answered and (trouble.reason == "no connection" or trouble.status == 404):
                    self._stop = transport.user_fault(str(trouble), "check the URL, the model's name and the server")
                on_failure(Failure(key, trouble.reason, trouble.detail))
            except StillhouseError as error:
                self._stop = error
            else:
                on_result(key, answer)
            if self._stop is not None:
                return

    async def _answer(self, call: Call, transport: Transport, pace: Pace) -> Answer:
        """The answer to a call: the first usable one, else the last; raises :class:`Trouble` when none came."""
        earlier: list[Earlier] = []
        last: Answer | None = None
        while True:
            try:
                answer = await self._attempts(call, transport, pace)
            except Trouble:
                if last is None:
                    raise
                return last  # it was paid for
            last = answer.after(tuple(earlier))
            found = self.checks.judge(answer)
            if found is None or self.checks.rule(found[0]) != "retry" or len(earlier) + 1 >= self.limits.asks:
                return last
            earlier.append(Earlier(answer.raw, found[0], answer.usage))

    async def _attempts(self, call: Call, transport: Transport, pace: Pace) -> Answer:
        """One answer, after as many attempts as the limits allow."""
        sent = call

        async def attempt() -> Answer:
            nonlocal sent
            sent = call.capped(self._most_top)
            return await self._attempt(sent, transport, pace)

        return await persist(attempt, self.limits, pace, mended=lambda trouble: self._lower(sent, trouble))

    async def _attempt(self, call: Call, transport: Transport, pace: Pace) -> Answer:
        reserved = await self.purse.reserve(call)
        estimate = sum(reserved)
        try:
            await pace.turn(estimate)
        except BaseException:
            self.purse.lose(reserved, paid=False)
            raise
        try:
            body = await transport.post(
                call.path, call.body(self.endpoint), heed=lambda headers: pace.heed(headers, estimate)
            )
            answer = read_response(body, call)
        except BaseException as error:
            self.purse.lose(reserved, paid=getattr(error, "paid", not isinstance(error, StillhouseError)))
            pace.back(estimate, spent=0)
            raise
        pace.back(estimate, spent=self.purse.settle(reserved, answer.usage))
        return answer

    def _lower(self, sent: Call, trouble: Trouble) -> bool:
        """Learn the server's cap on log-probabilities from its refusal; whether to ask again because of it."""
        if trouble.status not in (400, 422) or "logprob" not in trouble.detail.lower().replace("_", ""):
            return False
        asked = max(sent.top or 0, sent.prompt_top or 0)
        numbers = [int(number) for number in re.findall(r"\d+", trouble.detail.partition(":")[2])]
        cap = max((number for number in numbers if 0 < number < asked), default=None)
        if cap is None:
            return False
        self._most_top = min(cap, self._most_top or cap)
        return True
