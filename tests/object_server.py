"""An object store on loopback that speaks as much of S3 as reading takes, and misbehaves where it is told to.

with ObjectServer() as server:
    server.put("bucket/data/a.jsonl", b"...")
    server.address("bucket/data/*.jsonl")     # s3://bucket/data/*.jsonl?endpoint_override=127.0.0.1:...
    server.gets, server.lists                 # keys whose content was asked for; how many pages were listed

Listing comes in pages of two keys. No signature is checked: what is denied is denied by name.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

LONG_AGO = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAGE = 2  # keys of one page of a listing


@dataclass(frozen=True)
class Stored:
    """An object: its bytes, when it was written, and the tag that changes with the bytes."""

    content: bytes
    changed: datetime

    @property
    def tag(self) -> str:
        """As S3 makes it of an object that was written in one piece."""
        return f'"{hashlib.md5(self.content, usedforsecurity=False).hexdigest()}"'


class ObjectServer:
    """Serves in threads of its own; everything it is told takes effect at once."""

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.denied: set[str] = set()  # keys, and "list" or "list bucket" for listings
        self.cut: Counter[str] = Counter()  # key -> how many more answers break off in the middle of their body
        self.on_get: Callable[[str], None] = lambda key: None  # called before a content is looked up
        self.gets: list[str] = []
        self.heads: list[str] = []
        self.lists = 0
        self.seen: list[str] = []  # every request line, and its Authorization header
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def place(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self._server.server_port}"

    def put(self, key: str, content: bytes, *, changed: datetime | None = None) -> None:
        """Write an object; unless told otherwise it was written long ago, or a minute after what was there."""
        before = self.objects.get(key)
        later = before.changed + timedelta(minutes=1) if before else LONG_AGO
        self.objects[key] = Stored(content, changed or later)

    def address(self, path: str, *, more: str = "") -> str:
        """The address of what lies under ``bucket/key``."""
        return f"s3://{path}?endpoint_override={self.place}&scheme=http&region=here{more}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    store: ObjectServer

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def _serve(self, *, body: bool) -> None:
        store, url = self.store, urlsplit(self.path)
        store.seen.append(f"{self.command} {self.path} {self.headers.get('Authorization', '')}")
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if not any(name.startswith(f"{bucket}/") for name in store.objects):
            return self._refuse(404, "NoSuchBucket", body)
        if not key:
            if store.denied & {"list", f"list {bucket}"}:
                return self._refuse(403, "AccessDenied", body)
            return self._list(bucket, query) if body else self._answer(200, b"", {})
        full = f"{bucket}/{key}"
        (store.gets if body else store.heads).append(full)
        if full in store.denied:
            return self._refuse(403, "AccessDenied", body)
        if body:
            store.on_get(full)
        stored = store.objects.get(full)
        if stored is None:
            return self._refuse(404, "NoSuchKey", body)
        return self._send_object(full, stored, body)

    def _send_object(self, key: str, stored: Stored, body: bool) -> None:
        headers = {"ETag": stored.tag, "Last-Modified": format_datetime(stored.changed, usegmt=True)}
        content, status, asked = stored.content, 200, self.headers.get("Range", "")
        if body and asked.startswith("bytes="):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last or len(content)), len(content) - 1)
            if start >= len(content):
                return self._refuse(416, "InvalidRange", body)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            content, status = content[start : end + 1], 206
        if body and self.store.cut[key] > 0:
            self.store.cut[key] -= 1
            self._answer(status, content[: len(content) // 2], headers, length=len(content))
            self.close_connection = True
            return None
        return self._answer(status, content if body else b"", headers, length=len(content))

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        self.store.lists += 1
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        page = min(PAGE, int(query.get("max-keys", PAGE)))
        entries: dict[str, Stored | None] = {}  # None: a common prefix
        for name in sorted(self.store.objects):
            place, _, key = name.partition("/")
            if place != bucket or not key.startswith(prefix):
                continue
            folder, mark, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            entries |= {f"{prefix}{folder}{mark}": None} if mark else {key: self.store.objects[name]}
        after = query.get("continuation-token") or query.get("start-after", "")
        rest = [item for item in sorted(entries.items()) if item[0] > after]
        chosen, more = rest[:page], len(rest) > page
        pieces = [f"<Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(chosen)}</KeyCount>"]
        pieces.append(f"<MaxKeys>{page}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>")
        if more:
            pieces.append(f"<NextContinuationToken>{escape(chosen[-1][0])}</NextContinuationToken>")
        for key, stored in chosen:
            if stored is None:
                pieces.append(f"<CommonPrefixes><Prefix>{escape(key)}</Prefix></CommonPrefixes>")
                continue
            changed = stored.changed.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            pieces.append(
                f"<Contents><Key>{escape(key)}</Key><LastModified>{changed}</LastModified>"
                f"<ETag>{escape(stored.tag)}</ETag><Size>{len(stored.content)}</Size></Contents>"
            )
        text = f'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>{"".join(pieces)}</ListBucketResult>'
        self._answer(200, text.encode(), {"Content-Type": "application/xml"})

    def _refuse(self, status: int, code: str, body: bool) -> None:
        text = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
        self._answer(status, text.encode() if body else b"", {"Content-Type": "application/xml"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str], *, length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
