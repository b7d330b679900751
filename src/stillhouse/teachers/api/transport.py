"""One HTTP exchange with an endpoint: a JSON value comes back, or a Trouble with a reason.

async with Transport(endpoint, key, limits) as transport:
    body = await transport.post("/chat/completions", call.body(endpoint), heed=lambda headers: None)

Errors of the HTTP library hold the request, and with it the key: none of them leaves this module.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from stillhouse.errors import StillhouseError
from stillhouse.teachers.api.calls import Endpoint
from stillhouse.teachers.api.outcomes import Trouble
from stillhouse.teachers.api.pace import Limits, retry_after
from stillhouse.teachers.api.secret import Key, clean

if TYPE_CHECKING:
    import httpx2

Heed = Callable[[Mapping[str, str]], None]

_LARGEST = 64 * 2**20  # bytes of one response; a server that never stops sending must not fill the memory
_AGAIN = frozenset({408, 409, 425, 429})
_SHOWN = 500  # characters of a server's own words


class Transport:
    """Connections to one endpoint. Redirects are not followed: they would carry the key elsewhere."""

    def __init__(self, endpoint: Endpoint, key: Key | None, limits: Limits) -> None:
        if find_spec("httpx2") is None:
            raise StillhouseError(
                "teachers behind an API need the package httpx2",
                where=endpoint.url,
                fix="pip install 'stillhouse[api]'",
            )
        import httpx2

        self.endpoint = endpoint
        self.answered = False  # whether the server ever gave a response that was no error
        self._key = key
        self._timeout = limits.timeout
        self._http = httpx2.AsyncClient(
            timeout=httpx2.Timeout(limits.timeout, connect=min(limits.timeout, 15.0)),
            limits=httpx2.Limits(
                max_connections=limits.concurrency, max_keepalive_connections=limits.concurrency, keepalive_expiry=30.0
            ),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, body: Mapping[str, Any], *, heed: Heed | None = None) -> Any:
        """The JSON value that a JSON body is answered with; ``heed`` is given the headers of any response."""
        return await self._whole("POST", path, heed=heed, json=body)

    async def get(self, path: str) -> Any:
        """The JSON value at a path."""
        return await self._whole("GET", path)

    async def upload(self, path: str, name: str, content: bytes, **fields: str) -> Any:
        """The JSON value that a form with one file is answered with."""
        return await self._whole("POST", path, data=fields, files={"file": (name, content, "application/jsonl")})

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of a file, without their ends, as they arrive; the last may be cut."""
        rest = b""
        async with self._open("GET", path) as response:
            async for chunk in response.aiter_bytes():
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line
                if len(rest) > _LARGEST:
                    raise Trouble("unreadable response", "a line larger than 64 MiB", again=False)
        if rest:
            yield rest

    def decode(self, data: bytes) -> Any:
        """The JSON value in ``data``, without the key; raises :class:`Trouble` when there is none."""
        try:
            return clean(json.loads(data), self._key)
        except (ValueError, RecursionError):
            raise Trouble("unreadable response", "the body is no JSON", paid=True) from None

    def user_fault(self, what: str, fix: str) -> StillhouseError:
        """The error of something that asking again does not mend."""
        where = f"{self.endpoint.url}, model {self.endpoint.model}"
        return StillhouseError(what, where=where, fix=f"{fix}; what was answered so far is kept")

    async def _whole(self, method: str, path: str, *, heed: Heed | None = None, **content: Any) -> Any:
        data = bytearray()
        try:
            async with asyncio.timeout(self._timeout), self._open(method, path, heed, **content) as response:
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > _LARGEST:
                        raise Trouble("unreadable response", "more than 64 MiB", again=False, paid=True)
        except TimeoutError:
            raise Trouble("timed out", f"no whole answer in {self._timeout:g} seconds", paid=True) from None
        body = self.decode(bytes(data))
        error = body.get("error") if isinstance(body, Mapping) else None
        if error:  # some hosts report the failure of a model behind them with status 200
            code = error.get("code") if isinstance(error, Mapping) else None
            self._refuse(code if isinstance(code, int) and 400 <= code < 600 else 502, body, None)
        self.answered = True
        return body

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, heed: Heed | None = None, **content: Any
    ) -> AsyncIterator[httpx2.Response]:
        """A response of status 200; whatever goes wrong until its end is a :class:`Trouble`."""
        import httpx2

        headers = httpx2.Headers({} if self._key is None else self._key.header())  # it hides the value when shown
        try:
            async with self._http.stream(method, self.endpoint.url + path, headers=headers, **content) as response:
                if heed is not None:
                    heed(response.headers)
                if response.status_code != 200:
                    data = await _beginning(response)
                    try:
                        body = self.decode(data)
                    except Trouble:
                        body = clean(data.decode("utf-8", "replace"), self._key)
                    self._refuse(response.status_code, body, retry_after(response.headers))
                yield response
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError):
            raise Trouble("no connection", "the server cannot be reached") from None
        except httpx2.PoolTimeout:
            raise Trouble("timed out", "no free connection") from None
        except httpx2.TimeoutException:
            raise Trouble("timed out", f"nothing came for {self._timeout:g} seconds", paid=True) from None
        except httpx2.InvalidURL:
            raise self.user_fault("this is no URL that can be asked", "correct it") from None
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise Trouble("connection lost", type(error).__name__, paid=True) from None

    def _refuse(self, status: int, body: Any, wait: float | None) -> None:
        """Raise what a response other than a success means."""
        code, words = _error_of(body)
        detail = f"{status}: {words}" if words else str(status)
        if status == 401:
            raise self.user_fault(f"the server refuses the key ({detail})", "give a valid key for this endpoint")
        if status == 402 or code == "insufficient_quota":
            raise self.user_fault(f"the account has no credit left ({detail})", "top it up and run again")
        if status == 429:
            raise Trouble("rate limited", detail, wait=wait, status=status)
        if status >= 500 or status in _AGAIN:
            raise Trouble("server error", detail, wait=wait, status=status)
        raise Trouble("rejected by the server", detail, again=False, status=status)


async def _beginning(response: httpx2.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_bytes():
        data += chunk
        if len(data) > 2**16:
            break
    return bytes(data)


def _error_of(body: Any) -> tuple[str, str]:
    """Code and message of an error body, whatever its shape."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if isinstance(error, Mapping):
        words = error.get("message") or error.get("detail") or error.get("type") or ""
        return str(error.get("code") or ""), str(words)[:_SHOWN]
    return "", str(error)[:_SHOWN]
