"""Where row work runs: processes of this machine, or tasks on a Ray cluster; the same functions and results on both.

    with open_engine(workers=2) as engine:
        for result in engine.each(functools.partial(clean_piece, folder=folder), pieces): ...

Work is a function of one item (a plain function of a module, or ``functools.partial`` of one) that reads and writes
files by path and returns something small. It must give the same on every call: when a worker dies, its item is done
again by another. Results come in the order of the items, however many workers there are, so nothing downstream can tell
where they were made. On a cluster the paths must lead to the same files from every machine.

A process that works for this one never imports the caller's main script (``loky``), so a script without a guard works.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from stillhouse.errors import StillhouseError

Item = TypeVar("Item")
Result = TypeVar("Result")
DEATHS = 3  # so often a whole set of workers may die before the work is held to be what kills them
AHEAD = 2  # items on their way for each worker
PATIENCE = 10.0  # seconds for a cluster elsewhere to answer at all


class Engine(Protocol):
    """workers: how many items are worked on at a time."""

    workers: int

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """``work(item)`` for each item, in the order of the items."""
        ...


@contextmanager
def open_engine(*, workers: int | None = None, ray: bool = False, address: str | None = None) -> Iterator[Engine]:
    """An engine, closed at the end. workers: ``None`` for all cores. ray: on Ray, at ``address`` or one started here.

    Raises :class:`StillhouseError` when Ray is not installed, or the cluster cannot be reached.
    """
    if ray:
        with _cluster(workers, address) as cluster:
            yield cluster
        return
    here = _Here(workers or _cores())
    try:
        yield here
    finally:
        here.close()


class _Here:
    """Processes of this machine; a single item, or a single worker, needs none."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: Any = None

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self.workers == 1 or len(items) < 2:
            yield from map(work, items)
            return
        from loky.process_executor import BrokenProcessPool

        done = deaths = 0
        while done < len(items):
            try:
                for result in self._in_order(work, items[done:]):
                    done += 1
                    yield result
            except BrokenProcessPool as error:
                self.close()
                deaths += 1
                if deaths == DEATHS:
                    raise _died(deaths) from error

    def _in_order(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if self._pool is None:
            from loky import ProcessPoolExecutor

            self._pool = ProcessPoolExecutor(self.workers)
        waiting: list[Any] = []
        for item in items:
            waiting.append(self._pool.submit(work, item))
            if len(waiting) >= AHEAD * self.workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(kill_workers=True)
            self._pool = None


@dataclass
class _Ray:
    """Tasks on a cluster. Ray itself does a dead worker's task again."""

    ray: Any
    workers: int

    def each(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        task = self.ray.remote(max_retries=DEATHS)(_call)
        shared = self.ray.put(work)
        waiting: list[Any] = []
        for item in items:
            waiting.append(task.remote(shared, item))
            if len(waiting) >= AHEAD * self.workers:
                yield self._result(waiting.pop(0))
        while waiting:
            yield self._result(waiting.pop(0))

    def _result(self, reference: Any) -> Any:
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.WorkerCrashedError as error:
            raise _died(DEATHS) from error
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(getattr(error, "cause", None), Exception) else error from None


def _cores() -> int:
    """The cores that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(work: Callable[[Item], Result], item: Item) -> Result:
    return work(item)


@contextmanager
def _cluster(workers: int | None, address: str | None) -> Iterator[_Ray]:
    try:
        import ray
    except ImportError as error:
        raise StillhouseError(
            "Ray is not installed", where="raw.engine.kind", fix="pip install 'stillhouse[ray]'"
        ) from error
    # Ray reports its use to its makers unless told not to, and this is the one way to tell it
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # noqa: TID251
    _start(ray, workers, address)
    try:
        yield _Ray(ray, workers or max(1, int(ray.cluster_resources().get("CPU", 1))))
    finally:
        ray.shutdown()


def _start(ray: Any, workers: int | None, address: str | None) -> None:
    """Join the cluster at ``address``, or start one here."""
    if address:
        _knock(address)
    try:
        ray.init(
            address=address or "local",
            num_cpus=None if address else workers,
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except Exception as error:  # a start that takes longer than Ray's 30 seconds has no class of its own
        if address:
            what, where, fix = "the Ray cluster cannot be reached", "raw.engine.address", "check the address"
        else:
            what, where = "Ray did not start on this machine", "raw.engine.kind"
            fix = "run again when the machine is less busy, or use `here`"
        raise StillhouseError(f"{what}: {error}", where=where, fix=fix) from error


def _knock(address: str) -> None:
    """Raise where nothing listens at ``[ray://]host:port``: Ray itself would go on asking for a quarter of an hour."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdigit():  # `auto`, or a name that Ray itself resolves
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise StillhouseError(
            f"the Ray cluster cannot be reached: nothing answers at {host}:{port} ({error})",
            where="raw.engine.address",
            fix="check the address, and that the cluster is up",
        ) from error


def _died(times: int) -> StillhouseError:
    return StillhouseError(
        f"workers died {times} times in the middle of row work, most likely for want of memory",
        where="raw.engine",
        fix="set fewer `workers`; what was finished is kept, so run again and it goes on",
    )
