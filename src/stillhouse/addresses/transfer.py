"""Objects copied from a store to this disk, several at once: streamed, flushed, and only then given their name.

A file that bears an object's name is whole, and has the object's time; what was cut off lies in ``parts``. An object
that changes while it is read is read again.

    copied = copy_objects(address, client, "bucket/rows", {"a.jsonl": listed}, target, parts=parts, progress=None)
    copied["a.jsonl"].sha256
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any

from stillhouse.addresses.address import Progress
from stillhouse.addresses.buckets import ObjectAddress, cures
from stillhouse.addresses.listing import Listed
from stillhouse.errors import StillhouseError
from stillhouse.store import digest_of

_AT_ONCE = 8  # objects; a pyarrow client has that many threads of its own
_CHUNK = 8 << 20  # bytes; each is one request, and is asked for again by the client when it breaks off
_TRIES = 3  # readings of an object that keeps changing
_TELL = 0.25  # seconds


@dataclass(frozen=True)
class Copied:
    """An object that is here now. tag: the store's mark of this content, empty where it has none."""

    bytes: int
    tag: str
    sha256: str


@dataclass
class _State:
    """What the threads share."""

    stop: Event = field(default_factory=Event)
    lock: Lock = field(default_factory=Lock)
    done: int = 0

    def add(self, count: int) -> None:
        with self.lock:
            self.done += count


def copy_objects(
    address: ObjectAddress,
    client: Any,
    root: str,
    wanted: Mapping[str, Listed],
    target: Path,
    *,
    parts: Path,
    progress: Progress | None,
) -> dict[str, Copied]:
    """Copy the objects below ``root`` of the store under their relative names into ``target``.

    ``progress`` is called from this thread only. Raises :class:`StillhouseError` for the first one that fails, once
    the others have stopped; those that were whole by then stay.
    """
    if not wanted:
        return {}
    parts.mkdir(parents=True, exist_ok=True)
    state, total = _State(), sum(one.bytes for one in wanted.values())
    label = next(iter(wanted)) if len(wanted) == 1 else f"{len(wanted):,} objects of {address.authority}"

    def copy(name: str) -> Copied:
        part = parts / digest_of(name)[:32]
        copied = _copy(address, client, f"{root}/{name}", part, state)
        os.utime(part, ns=(wanted[name].changed, wanted[name].changed))
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        part.replace(target / name)
        return copied

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fetch") as pool:
        jobs = {name: pool.submit(copy, name) for name in wanted}
        pending: set[Future[Copied]] = set(jobs.values())
        try:
            while pending:
                finished, pending = wait(pending, timeout=_TELL, return_when=FIRST_EXCEPTION)
                for job in finished:
                    job.result()
                if progress is not None:
                    progress(label, state.done, total)
        except BaseException:
            state.stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return {name: job.result() for name, job in jobs.items()}


def tags_of(address: ObjectAddress, client: Any, root: str, names: Iterable[str]) -> dict[str, str]:
    """The tags that the objects have at this moment, by name; empty where the store has none."""
    named = list(names)
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tags") as pool:
        return dict(zip(named, pool.map(lambda name: _tag_now(address, client, f"{root}/{name}"), named), strict=True))


def _copy(address: ObjectAddress, client: Any, path: str, part: Path, state: _State) -> Copied:
    for _ in range(_TRIES):
        with cures(address):
            source = client.open_input_file(path)
        with source, part.open("wb") as sink:
            # several requests make up one reading: they belong together only if the tag is the same after the last
            tag, size, written, sha256 = _tag(source), source.size(), 0, hashlib.sha256()
            while written < size and not state.stop.is_set():
                with cures(address):
                    chunk = source.read(_CHUNK)
                if not chunk:
                    break
                sink.write(chunk)
                sha256.update(chunk)
                written += len(chunk)
                state.add(len(chunk))
            sink.flush()
            os.fsync(sink.fileno())
        if state.stop.is_set():
            raise StillhouseError("stopped, as another object failed", where=address.text, fix="try again")
        if written == size and _tag_now(address, client, path) == tag:
            return Copied(written, tag, sha256.hexdigest())
        state.add(-written)
    raise StillhouseError(
        f"{path.rpartition('/')[2]} changes while it is read",
        where=address.text,
        fix="wait until it is written, or name a copy that nobody writes to",
    )


def _tag_now(address: ObjectAddress, client: Any, path: str) -> str:
    with cures(address), client.open_input_file(path) as source:
        return _tag(source)


def _tag(source: Any) -> str:
    told = {name.casefold(): value for name, value in (source.metadata() or {}).items()}
    value = told.get("etag", b"")
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)
