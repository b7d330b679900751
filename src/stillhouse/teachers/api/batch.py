"""The same calls as batch files: cheaper and slower, results matched by the call's key and never by their place.

with AnswerStore(path) as store:
    asked = ask_in_batches(calls, client, store=store, folder=Path("batches"))

Interrupted anywhere and called again, it goes on with the batches that were handed in.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.store import digest_of, now, producer, write_json
from stillhouse.teachers.api.asking import Asked, Progress, Tally
from stillhouse.teachers.api.calls import Call, Endpoint
from stillhouse.teachers.api.client import ApiClient
from stillhouse.teachers.api.outcomes import Failure, Trouble
from stillhouse.teachers.api.pace import Pace, persist
from stillhouse.teachers.api.parse import Answer, read_response
from stillhouse.teachers.api.transport import Transport

SCHEMA = 1
_MARK = "stillhouse"  # the metadata field by which a batch is found again
_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_WASTED = frozenset({"failed", "cancelled"})


def request_line(key: str, call: Call, endpoint: Endpoint) -> str:
    """One line of a batch file."""
    url = urlsplit(endpoint.url).path + call.path
    line = {"custom_id": key, "method": "POST", "url": url, "body": call.body(endpoint)}
    return json.dumps(line, ensure_ascii=False, allow_nan=False)


@dataclass
class Results:
    """What the files of one batch hold, by key. Read it line by line with :meth:`line`."""

    wanted: Mapping[str, Call]
    answers: dict[str, Answer] = field(default_factory=dict)
    losses: dict[str, Failure] = field(default_factory=dict)
    oddities: Counter[str] = field(default_factory=Counter)

    def line(self, value: Any) -> None:
        """Take in one line, already decoded. The first answer under a key counts; an answer outdoes an error."""
        key = value.get("custom_id") if isinstance(value, Mapping) else None
        if not isinstance(key, str) or key not in self.wanted:
            self.oddities["unknown ids"] += 1
            return
        if key in self.answers:
            self.oddities["repeated ids"] += 1
            return
        response = value.get("response")
        response = response if isinstance(response, Mapping) else {}
        status = response.get("status_code")
        if status == 200:
            try:
                self.answers[key] = read_response(response.get("body"), self.wanted[key])
                self.losses.pop(key, None)
            except Trouble as trouble:
                self.losses[key] = Failure(key, trouble.reason, trouble.detail)
            return
        error = value.get("error") or response.get("body") or {}
        detail = json.dumps(error, ensure_ascii=False)[:500]
        expired = isinstance(error, Mapping) and error.get("code") == "batch_expired"
        self.losses[key] = Failure(key, "missing from the batch" if expired else "rejected by the server", detail)


def ask_in_batches(
    calls: Sequence[Call],
    client: ApiClient,
    *,
    store: AnswerStore,
    folder: Path,
    most: int = 50_000,
    poll_seconds: float = 60.0,
    progress: Progress | None = None,
) -> Asked:
    """Ask all calls that the store has no answer to through the endpoint's batch files, ``most`` calls in each.

    folder: remembers the batches that were handed in. An unusable answer is not asked again within the same call.
    Calls of one endpoint path only (all chats or all completions), as the protocol demands.
    """
    job = _Job(calls, client, store, folder, poll_seconds, progress)
    try:
        return asyncio.run(job.run(most))
    except Trouble as trouble:
        raise StillhouseError(
            f"the batch cannot be handled: {trouble}",
            where=client.endpoint.url,
            fix="run again later: what was handed in is remembered and not handed in twice",
        ) from None


class _Job:
    def __init__(
        self,
        calls: Sequence[Call],
        client: ApiClient,
        store: AnswerStore,
        folder: Path,
        poll_seconds: float,
        progress: Progress | None,
    ) -> None:
        self._client, self._folder, self._poll_seconds = client, folder, poll_seconds
        self._store = store
        self._calls = {call.key(client.endpoint): call for call in calls}
        self._tally = Tally(store, client.checks, progress, len(self._calls))
        self._oddities: Counter[str] = Counter()
        self._pace = Pace(client.limits)

    async def run(self, most: int) -> Asked:
        self._folder.mkdir(parents=True, exist_ok=True)
        limits, endpoint = self._client.limits, self._client.endpoint
        async with Transport(endpoint, self._client.key, limits) as transport:
            for path in sorted(self._folder.glob("*.batch.json")):
                await self._collect_earlier(transport, path)
            fresh = list(self._tally.new(self._calls.values(), self._client, ()))
            for start in range(0, len(fresh), most):
                await self._ask(transport, fresh[start : start + most])
        return self._tally.asked(self._client.bill(), self._oddities)

    async def _collect_earlier(self, transport: Transport, path: Path) -> None:
        """Bring in a batch that an earlier run handed in; what it lacks is asked anew."""
        try:
            record = json.loads(path.read_text("utf-8"))
            batch = str(record["batch"])
            if record["schema"] != SCHEMA or record["endpoint"] != self._client.endpoint.identity():
                return
        except (ValueError, KeyError, TypeError):
            return  # not ours, or harmed: the server still has the batch, and it is found there by its mark
        try:
            results, _ = await self._collect(transport, batch, self._calls)
        except Trouble as trouble:
            if trouble.status != 404:
                raise
            path.rename(self._done(batch))  # the server has forgotten it
            return
        known = self._store.get(results.answers)
        self._store.put({key: answer.as_json() for key, answer in results.answers.items() if key not in known})
        if not results.oddities["unknown ids"]:  # else it may hold answers to calls that a later run asks
            path.rename(self._done(batch))

    def _done(self, batch: str) -> Path:
        """Where a batch is remembered whose results are in."""
        return self._folder / f"{digest_of(batch)[:32]}.done.json"

    async def _ask(self, transport: Transport, calls: Sequence[Call]) -> None:
        reserved = {}
        for call in calls:
            key = call.key(self._client.endpoint)
            try:
                reserved[key] = self._client.purse.set_aside(call)
            except Trouble as trouble:
                self._tally.failure(Failure(key, trouble.reason, trouble.detail))
        if not reserved:
            return
        name = digest_of(sorted(reserved))[:32]
        path = self._folder / f"{name}.batch.json"
        batch = await self._hand_in(transport, name, list(reserved))
        identity = self._client.endpoint.identity()
        record = {"schema": SCHEMA, "producer": producer(), "created": now(), "batch": batch, "endpoint": identity}
        write_json(path, record)
        results, status = await self._collect(transport, batch, {key: self._calls[key] for key in reserved})
        for key, most in reserved.items():
            if key in results.answers:
                self._client.purse.settle(most, results.answers[key].usage)
                self._tally.result(key, results.answers[key])
                continue
            self._client.purse.lose(most, paid=False)
            missing = Failure(key, "missing from the batch", f"the batch ended as {status}")
            self._tally.failure(results.losses.get(key, missing))
        path.rename(self._done(batch))

    async def _hand_in(self, transport: Transport, name: str, keys: Sequence[str]) -> str:
        """The id of the batch called ``name``: one that is there already, else a new one."""
        endpoint = self._client.endpoint
        lines = [request_line(key, self._calls[key], endpoint) for key in keys]
        content = ("\n".join(lines) + "\n").encode("utf-8")
        url = urlsplit(endpoint.url).path + self._calls[keys[0]].path

        async def attempt() -> str:
            # before every attempt: the last may have succeeded without our hearing of it
            found = await self._find(transport, name)
            if found:
                return found
            file = await transport.upload("/files", f"{name}.jsonl", content, purpose="batch")
            order = {
                "input_file_id": _field(file, "id"),
                "endpoint": url,
                "completion_window": "24h",
                "metadata": {_MARK: name},
            }
            return _field(await transport.post("/batches", order), "id")

        return await persist(attempt, self._client.limits, self._pace)

    async def _find(self, transport: Transport, name: str) -> str:
        try:
            listed = await transport.get("/batches?limit=100")
        except Trouble as trouble:
            if trouble.again:
                raise
            return ""  # a server without such a list
        found = listed.get("data") if isinstance(listed, Mapping) else None
        for one in found if isinstance(found, list) else ():
            if isinstance(one, Mapping) and (one.get("metadata") or {}).get(_MARK) == name:
                batch = _field(one, "id")
                # a batch whose results are in brings nothing more: its failures are asked anew
                if one.get("status") not in _WASTED and not self._done(batch).exists():
                    return batch
        return ""

    async def _collect(self, transport: Transport, batch: str, wanted: Mapping[str, Call]) -> tuple[Results, str]:
        """Wait for the end of a batch and read what it brought, whole or not."""
        limits = self._client.limits
        while True:
            state = await persist(lambda: transport.get(f"/batches/{batch}"), limits, self._pace)
            status = _field(state, "status")
            if status in _ENDED:
                break
            await asyncio.sleep(self._poll_seconds)

        async def attempt() -> Results:
            results = Results(wanted)
            for name in ("output_file_id", "error_file_id"):
                if state.get(name):
                    async for line in transport.lines(f"/files/{state[name]}/content"):
                        if line.strip():
                            self._line(transport, line, results)
            return results

        results = await persist(attempt, limits, self._pace)
        self._oddities += results.oddities
        faults = state.get("errors") if isinstance(state.get("errors"), Mapping) else {}
        words = [str(one.get("message")) for one in faults.get("data") or () if isinstance(one, Mapping)]
        return results, ": ".join([status, *words[:1]])

    def _line(self, transport: Transport, line: bytes, results: Results) -> None:
        try:
            value = transport.decode(line)
        except Trouble:
            results.oddities["torn lines"] += 1
            return
        results.line(value)


def _field(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, str):
        raise Trouble("unreadable response", f"no {name} in it", again=False)
    return found
