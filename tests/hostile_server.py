"""An API server on loopback that does everything wrong that servers do, the same way for the same seed.

with HostileServer(seed=1) as server:
    endpoint = Endpoint(server.url, "tiny")
    server.calls[7], server.paid[7]           # requests about row 7; whole answers sent about it

A prompt names its row as ``[7]``; what goes wrong depends on seed, row and how often the row was asked. It can also
be run as a process: ``python hostile_server.py SEED`` prints its URL and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
import sys
import threading
import time
from collections import Counter
from email.utils import formatdate
from typing import Any, Self

CAP = 20  # log-probabilities that the server gives at most
VOCABULARY = 90
_ROW = re.compile(r"\[(\d+)\]")
_HEAD = "HTTP/1.1 {} X\r\ncontent-type: application/json\r\n"

# of these a row meets a few, then it is answered
PASSING = (
    "429 with seconds",
    "429 with a date",
    "429 without",
    "500",
    "503 in HTML",
    "hang",
    "cut",
    "cut chunk",
    "half JSON",
    "reset",
    "error with 200",
    "empty",
    "null content",
    "NaN",
    "off-list",
    "two labels",
)
# a row that has one of these has it for good
LASTING = ("length", "refusal", "scaled", "always 500", "rejected", "fenced", "more than k", "twice", "reasoning")
# of which these end as a failure, for the reason given
FATE = {
    "length": "cut off",
    "refusal": "refusal",
    "scaled": "not a distribution",
    "always 500": "server error",
    "rejected": "rejected by the server",
}


def label(row: int) -> str:
    """The right answer about a row."""
    return "yes" if row * 7 % 3 == 0 else "no"


def distribution(row: int, place: int = 0) -> list[tuple[str, float]]:
    """The true log-probabilities of all tokens at one place of the answer about a row, the likeliest first."""
    chance = random.Random(f"{row}:{place}")
    first = label(row) if place == 0 else "."
    logits = {first: 9.0, **{f"t{number}": chance.gauss(0, 2) for number in range(VOCABULARY - 1)}}
    total = math.log(sum(math.exp(value) for value in logits.values()))
    return sorted(((token, value - total) for token, value in logits.items()), key=lambda pair: -pair[1])


class HostileServer:
    """Serves in a thread of its own. ``hostile=0`` is a well-behaved server, 1 the worst."""

    def __init__(
        self,
        seed: int = 0,
        *,
        hostile: float = 1.0,
        key: str = "",
        hang: float = 30.0,
        window: tuple[int, float] | None = None,
        delay: float = 0.0,
    ) -> None:
        self.seed, self.hostile, self.key, self.hang, self.delay = seed, hostile, key, hang, delay
        self.window = window  # so many requests in so many seconds; more are refused
        self.calls: Counter[int] = Counter()
        self.paid: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.times: list[float] = []
        self.bodies: list[dict[str, Any]] = []  # the last few
        self.most_at_once = self._at_once = 0
        self.too_fast = 0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.spoil_batches = True
        self._window: tuple[float, int] = (0.0, 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._ready = threading.Event()
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def fate(self, row: int) -> str:
        """What a row has for good, or ``""``."""
        chance = random.Random(f"{self.seed}:{row}")
        return chance.choice(LASTING) if chance.random() < 0.2 * self.hostile else ""

    def expected(self, row: int) -> str:
        """The reason why a row ends as a failure, or ``""``."""
        return FATE.get(self.fate(row), "")

    def fault(self, row: int, times: int) -> str:
        """What goes wrong when a row is asked for the ``times``-th time."""
        chance = random.Random(f"{self.seed}:{row}:{times}")
        # at most two in a row, so that a client that tries six times gets its answer
        return chance.choice(PASSING) if times % 3 and chance.random() < 0.4 * self.hostile else self.fate(row)

    # ---- the wire

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._talk, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (header := (await reader.readline()).decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    goes_on = await self._respond(method, path, headers, body, writer)
                finally:
                    self._at_once -= 1
                if not goes_on:
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection stays open."""
        said = headers.get("authorization", "")
        if self.key and said != f"Bearer {self.key}":
            return await self._send(writer, 401, {"error": {"message": f"wrong key: {said}"}})
        if self.window and not self._within(writer):
            return await self._send(writer, 429, {"error": {"message": f"slow down, {said}"}}, self._left())
        if path.startswith(("/v1/files", "/v1/batches")):
            return await self._batch(method, path, headers, body, writer)
        asked = json.loads(body)
        text = asked["messages"][-1]["content"] if "messages" in asked else str(asked["prompt"])
        row = int(_ROW.findall(text)[-1])
        self.bodies = [*self.bodies[-20:], asked]
        self.times.append(time.monotonic())
        top = asked.get("top_logprobs") or asked.get("logprobs") or asked.get("prompt_logprobs") or 0
        if top > CAP:
            words = f"Requested sample logprobs of {top}, which is greater than max allowed: {CAP}"
            return await self._send(writer, 400, {"error": {"message": words, "code": 400}})
        self.calls[row] += 1
        fault = self.fault(row, self.calls[row])
        self.faults[fault] += 1
        if self.delay:
            await asyncio.sleep(self.delay)
        return await self._misbehave(fault, row, asked, said, writer)

    async def _misbehave(
        self, fault: str, row: int, asked: dict[str, Any], said: str, writer: asyncio.StreamWriter
    ) -> bool:
        error = {"error": {"message": f"something went wrong for {said}"}}
        whole = json.dumps(response(row, asked, fault, said)).encode()
        length = f"content-length: {len(whole)}\r\n\r\n"
        if fault == "hang":
            await asyncio.sleep(self.hang)
        elif fault == "cut":
            writer.write((_HEAD.format(200) + length).encode() + whole[: len(whole) // 2])
        elif fault == "cut chunk":
            writer.write((_HEAD.format(200) + "transfer-encoding: chunked\r\n\r\nffff\r\n").encode() + whole[:40])
        elif fault == "half JSON":
            writer.write((_HEAD.format(200) + "connection: close\r\n\r\n").encode() + whole[: len(whole) // 2])
        elif fault == "reset":
            writer.transport.abort()
        elif fault in ("500", "always 500"):
            return await self._send(writer, 500, error)
        elif fault == "503 in HTML":
            return await self._send(writer, 503, f"<html>come back later, {said}</html>")
        elif fault == "error with 200":
            return await self._send(writer, 200, {"error": {"message": f"upstream failed for {said}", "code": 502}})
        elif fault == "rejected":
            return await self._send(writer, 400, {"error": {"message": f"context of 4096 tokens exceeded, {said}"}})
        elif fault.startswith("429"):
            wait = {"seconds": "0", "date": formatdate(time.time() - 1, usegmt=True)}.get(fault.split()[-1])
            return await self._send(writer, 429, error, {} if wait is None else {"retry-after": wait})
        else:
            self.paid[row] += 1
            return await self._send(writer, 200, whole)
        await writer.drain()
        return False

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: object, headers: dict[str, str] | None = None
    ) -> bool:
        data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
        lines = {"content-length": str(len(data)), **(self._left() if self.window else {}), **(headers or {})}
        head = _HEAD.format(status) + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(head.encode() + b"\r\n" + data)
        await writer.drain()
        return True

    # ---- rate limits

    def _within(self, writer: asyncio.StreamWriter) -> bool:
        assert self.window
        began, count = self._window
        if time.monotonic() - began >= self.window[1]:
            began, count = time.monotonic(), 0
        self._window = (began, count + 1)
        self.too_fast += count >= self.window[0]
        return count < self.window[0]

    def _left(self) -> dict[str, str]:
        assert self.window
        left = max(0, self.window[0] - self._window[1])
        reset = max(0.0, self._window[0] + self.window[1] - time.monotonic())
        return {
            "x-ratelimit-remaining-requests": str(left),
            "x-ratelimit-reset-requests": f"{math.ceil(reset * 1000)}ms",
        }

    # ---- batches

    async def _batch(
        self, method: str, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> bool:
        parts = path.partition("?")[0].split("/")[2:]
        if method == "POST" and parts == ["files"]:
            boundary = headers["content-type"].partition("boundary=")[2].encode()
            part = next(one for one in body.split(b"--" + boundary) if b"filename=" in one)
            name = f"file-{len(self.files)}"
            self.files[name] = part.partition(b"\r\n\r\n")[2].rstrip(b"\r\n")
            return await self._send(writer, 200, {"id": name})
        if method == "POST":
            order = json.loads(body)
            batch = {"id": f"batch-{len(self.batches)}", "status": "validating", "polls": 0, **order}
            self.batches[batch["id"]] = batch
            return await self._send(writer, 200, batch)
        if parts == ["batches"]:
            return await self._send(writer, 200, {"data": list(self.batches.values())})
        if parts[0] == "files":
            return await self._send(writer, 200, self.files[parts[1]])
        batch = self.batches[parts[1]]
        batch["polls"] += 1
        if batch["polls"] == 2:
            self._finish(batch)
        return await self._send(writer, 200, batch)

    def _finish(self, batch: dict[str, Any]) -> None:
        """Write the results: shuffled, some twice, some of nobody, some missing, some expired, the last one torn."""
        chance, good, bad = random.Random(f"{self.seed}:{batch['id']}"), [], []
        for line in self.files[batch["input_file_id"]].split(b"\n"):
            order = json.loads(line)
            row = int(_ROW.findall(order["body"]["messages"][-1]["content"])[-1])
            self.calls[row] += 1
            fate = chance.random() if self.spoil_batches else 1.0
            if fate < 0.05:
                continue
            if fate < 0.1:
                bad.append({"custom_id": order["custom_id"], "response": None, "error": {"code": "batch_expired"}})
                continue
            self.paid[row] += 1
            body = response(row, order["body"], "", "")
            good.append(
                {"custom_id": order["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
            )
        if self.spoil_batches:
            stray = response(999, {"messages": []}, "", "")
            good += [*chance.sample(good, len(good) // 10), {"custom_id": "nobody's", "response": {"body": stray}}]
            chance.shuffle(good)
        written = b"\n".join(json.dumps(one).encode() for one in good)
        torn = b'\n{"custom_id": "' + good[0]["custom_id"].encode()[:9] if self.spoil_batches and good else b""
        names = {"output_file_id": written + torn, "error_file_id": b"\n".join(json.dumps(one).encode() for one in bad)}
        for name, content in names.items():
            batch[name] = f"{batch['id']}-{name}"
            self.files[batch[name]] = content
        batch["status"] = "expired" if bad else "completed"


class Scripted(HostileServer):
    """A server whose faults are given: row -> what goes wrong at each call about it; else nothing does."""

    def __init__(self, script: dict[int, list[str]], **options: Any) -> None:
        super().__init__(**options)
        self.script = script

    def fault(self, row: int, times: int) -> str:
        script = self.script.get(row, [])
        return script[min(times, len(script)) - 1] if script else ""


def response(row: int, asked: dict[str, Any], fault: str, said: str) -> dict[str, Any]:
    """The body of a response about a row, spoilt by ``fault``."""
    right = label(row)
    constrained = json.dumps({"label": right}) if "response_format" in asked else right
    content: str | None = {
        "empty": "  ",
        "null content": None,
        "off-list": f"perhaps, as {said} asks",
        "two labels": "yes or no",
        "length": "I think that the",
        "refusal": "",
        "fenced": f"```json\n{json.dumps({'label': right})}\n```",
        "reasoning": f"<think>Let me see: yes, no?</think>\n\n{right}",
    }.get(fault, constrained)
    finish = {"length": "length", "null content": None}.get(fault, "stop")
    k = asked.get("top_logprobs") or (asked.get("logprobs") if "prompt" in asked else 0) or 0
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    if "prompt" in asked:
        choice["text"] = content
        lists = [_spoil(distribution(row, place), k, fault) for place in range(2)]
        choice["logprobs"] = k and {
            "tokens": [one[0][0] for one in lists],
            "token_logprobs": [one[0][1] for one in lists],
            "top_logprobs": [dict(one) for one in lists],
        }
    else:
        choice["message"] = {"role": "assistant", "content": content, "refusal": "No." if fault == "refusal" else None}
        lists = [_spoil(distribution(row, place), k, fault) for place in range(2)]
        choice["logprobs"] = k and {
            "content": [
                {
                    **dict(zip(("token", "logprob"), one[0], strict=True)),
                    "top_logprobs": [{"token": token, "logprob": value} for token, value in one],
                }
                for one in lists
            ]
        }
    if asked.get("prompt_logprobs"):
        said_ids = asked["prompt"] if isinstance(asked["prompt"], list) else [3, 1, 2]
        choice["prompt_logprobs"] = [None, *(_prompt_list(asked["prompt_logprobs"], one) for one in said_ids[1:])]
    size = len(json.dumps(asked)) // 4
    usage = {"prompt_tokens": size, "completion_tokens": 5, "total_tokens": size + 5}
    return {"id": "x", "object": "y", "model": "tiny-2026", "choices": [choice], "usage": usage}


def _spoil(pairs: list[tuple[str, float]], k: int, fault: str) -> list[tuple[str, float]]:
    """The first k of a distribution, spoilt."""
    if fault == "more than k":
        return pairs[: k + 1]
    top = pairs[:k]
    if fault == "scaled":
        return [(token, value / 3) for token, value in top]
    if fault == "NaN":
        return [*top[:-1], (top[-1][0], math.nan)] if top else []
    if fault == "twice":
        return [top[0], *top] if top else []
    return top


def _prompt_list(k: int, said: int) -> dict[str, dict[str, object]]:
    """vLLM's form: the token that stands there first, likely or not, then the k likeliest."""
    values = {number: -0.5 * (number + 1) - 0.6 for number in range(k)}
    values = {said: values.get(said, -50.0), **values}
    return {str(number): {"logprob": value, "decoded_token": f"t{number}"} for number, value in values.items()}


def main() -> None:
    """Serve as a process."""
    with HostileServer(int(sys.argv[1]), key=sys.argv[2] if len(sys.argv) > 2 else "") as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
