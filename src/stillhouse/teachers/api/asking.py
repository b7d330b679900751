"""Asking, with memory: what the answer store holds is not asked, what comes is committed, what fails is a row.

with AnswerStore(path) as store:
    asked = ask(calls, client, store=store, progress=lambda done, total: None)
asked.answers[call.key(endpoint)].text, asked.failures, asked.spent
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from stillhouse.answers import AnswerStore
from stillhouse.teachers.api.calls import Call
from stillhouse.teachers.api.checks import Checks
from stillhouse.teachers.api.client import ApiClient
from stillhouse.teachers.api.outcomes import Failure, Fault
from stillhouse.teachers.api.parse import Answer
from stillhouse.teachers.api.prices import Bill

Progress = Callable[[int, int | None], None]  # calls done, and of how many where that is known

_LOOK_UP = 256  # calls whose answers are looked for at once


class StoredAnswers(Mapping[str, Answer]):
    """Usable answers by key, read from the store when they are asked for: only the keys are in memory."""

    def __init__(self, store: AnswerStore, keys: Iterable[str]) -> None:
        self._store = store
        self._keys = dict.fromkeys(keys)

    def __getitem__(self, key: str) -> Answer:
        if key not in self._keys:
            raise KeyError(key)
        return Answer.from_json(self._store.get([key])[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@dataclass(frozen=True)
class Asked:
    """What became of the calls: each key is in ``answers`` or in ``failures``, never in both.

    spent: this time. known: how many were in the store before. faults: how often each was found, kept answers
    included. oddities: what was wrong with a batch's results (unknown or repeated ids, torn lines), counted.
    """

    answers: Mapping[str, Answer]
    failures: tuple[Failure, ...]
    spent: Bill
    known: int
    faults: Mapping[Fault, int]
    oddities: Mapping[str, int] = field(default_factory=dict)


class Tally:
    """Keeps the books of one asking: which calls are new, what was answered, what failed."""

    def __init__(self, store: AnswerStore, checks: Checks, progress: Progress | None, total: int | None) -> None:
        self._store, self._checks = store, checks
        self._progress, self._total = progress, total
        self._seen: set[str] = set()
        self._answered: list[str] = []
        self._failures: list[Failure] = []
        self._faults: Counter[Fault] = Counter()
        self._known = 0

    def new(self, calls: Iterable[Call], client: ApiClient, again: Collection[Fault]) -> Iterator[Call]:
        """Calls without an answer in the store, each once; the others are counted as known."""
        source = iter(calls)
        while chunk := list(islice(source, _LOOK_UP)):
            by_key = {call.key(client.endpoint): call for call in chunk}
            keys = [key for key in by_key if key not in self._seen]
            self._seen.update(keys)
            stored = self._store.get(keys)
            for key in keys:
                answer = read_record(stored.get(key))
                if answer is None or any(fault in again for fault, _ in self._checks.faults(answer)):
                    yield by_key[key]
                else:
                    self._known += 1
                    self._note(key, answer)

    def result(self, key: str, answer: Answer) -> None:
        """Commit an answer; it counts only then."""
        self._store.put({key: answer.as_json()})
        self._note(key, answer)

    def failure(self, failure: Failure) -> None:
        """Count a call without an answer."""
        self._failures.append(failure)
        self._tick()

    def asked(self, spent: Bill, oddities: Mapping[str, int] | None = None) -> Asked:
        """The outcome."""
        answers = StoredAnswers(self._store, self._answered)
        return Asked(answers, tuple(self._failures), spent, self._known, dict(self._faults), oddities or {})

    def _note(self, key: str, answer: Answer) -> None:
        self._faults.update(fault for fault, _ in self._checks.faults(answer))
        found = self._checks.judge(answer)
        if found is None:
            self._answered.append(key)
        else:
            self._failures.append(Failure(key, *found, raw=answer.raw))
        self._tick()

    def _tick(self) -> None:
        if self._progress is not None:
            self._progress(len(self._answered) + len(self._failures), self._total)


def ask(
    calls: Iterable[Call],
    client: ApiClient,
    *,
    store: AnswerStore,
    progress: Progress | None = None,
    again: Collection[Fault] = (),
) -> Asked:
    """Ask all calls that the store has no answer to. Where an event loop runs already, await :func:`ask_async`.

    again: faults for which a stored answer is asked for once more, such as after a server was mended.
    Raises :class:`StillhouseError` when the user has to mend something first.
    """
    return asyncio.run(ask_async(calls, client, store=store, progress=progress, again=again))


async def ask_async(
    calls: Iterable[Call],
    client: ApiClient,
    *,
    store: AnswerStore,
    progress: Progress | None = None,
    again: Collection[Fault] = (),
) -> Asked:
    """See :func:`ask`."""
    tally = Tally(store, client.checks, progress, len(calls) if isinstance(calls, Sized) else None)
    await client.run(tally.new(calls, client, again), on_result=tally.result, on_failure=tally.failure)
    return tally.asked(client.bill())


def read_record(record: Any) -> Answer | None:
    """The answer that a stored record holds; one that cannot be read is a miss."""
    try:
        return None if record is None else Answer.from_json(record)
    except (KeyError, TypeError, ValueError):
        return None
