"""Asking a hostile server, in a test or as a process that is killed.

``python api_client.py URL STORE ROWS KILL_AT LOG KEY`` asks about ROWS rows and kills itself, without any clean-up,
right after the KILL_AT-th commit (0: never).
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hostile_server import HostileServer
from stillhouse import store
from stillhouse.answers import AnswerStore
from stillhouse.teachers.api import ApiClient, Asked, Call, Checks, Endpoint, Key, Limits, ask

LABELS = ("yes", "no")
CHECKS = Checks(labels=LABELS)
QUICK = Limits(concurrency=16, timeout=10, first_delay=0.01, longest_delay=0.05)
HASTY = replace(QUICK, timeout=0.6)  # where a server hangs


def question(row: int) -> Call:
    """What is asked about a row; 64 log-probabilities are more than the server gives."""
    return Call.chat(f"Is this good? [{row}]", system="Say yes or no.", top=64, max_tokens=16)


def keys_of(server: HostileServer, rows: Iterable[int]) -> dict[str, int]:
    """Which row an answer's key belongs to."""
    return {question(row).key(Endpoint(server.url, "tiny")): row for row in rows}


def asked_of(server: HostileServer, store: Path, rows: Iterable[int], *, key: str = "", **options: Any) -> Asked:
    """What becomes of the rows; the answers are read out of the store."""
    client = ApiClient(
        Endpoint(server.url, "tiny"), key=Key(key) if key else None, **{"limits": QUICK, "checks": CHECKS, **options}
    )
    with AnswerStore(store) as answers:
        asked = ask([question(row) for row in rows], client, store=answers)
        return replace(asked, answers=dict(asked.answers))


@dataclass(frozen=True)
class Resumed:
    """What came of a run that was killed and resumed. reasons: failed row -> reason. again: rows that were asked
    again though their answer was saved. known: answers that the last process found saved. printed: by all processes."""

    answers: tuple[int, ...]
    reasons: dict[int, str]
    again: tuple[int, ...]
    known: int
    printed: str


def killed_and_resumed(server: HostileServer, folder: Path, rows: int, kills: Sequence[int], key: str) -> Resumed:
    """Ask about the rows in processes that are killed after so many commits each, and in a last one that is not."""
    by_key = keys_of(server, range(rows))
    saved: dict[int, int] = {}  # row -> calls about it when its answer was first found saved
    printed = ""
    for kill_at in (*kills, 0):
        arguments = [
            server.url,
            str(folder / "answers.sqlite"),
            str(rows),
            str(kill_at),
            str(folder / "debug.log"),
            key,
        ]
        process = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=False)
        if process.returncode != (-signal.SIGKILL if kill_at else 0):
            raise RuntimeError(process.stderr)
        printed += process.stdout + process.stderr
        with AnswerStore(folder / "answers.sqlite") as answers:
            for found in answers.get(by_key):
                saved.setdefault(by_key[found], server.calls[by_key[found]])
    outcome = json.loads(process.stdout)
    return Resumed(
        answers=tuple(by_key[found] for found in outcome["answers"]),
        reasons={by_key[found]: reason for found, reason in outcome["failures"].items()},
        again=tuple(row for row, calls in saved.items() if server.calls[row] != calls),
        known=outcome["known"],
        printed=printed,
    )


def memory_growth(folder: Path, calls: int, first: int) -> tuple[int, int]:
    """Bytes of objects that live at the last call and not at the ``first``, and the rows that came of all calls.

    The server is another process, so that nothing of it is counted.
    """
    size: dict[int, int] = {}
    arguments = [sys.executable, str(Path(__file__).parent / "hostile_server.py"), "3"]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout and server.stdin
        limits = replace(HASTY, concurrency=4)  # few are on their way when it is counted
        client = ApiClient(Endpoint(server.stdout.readline().strip(), "tiny"), limits=limits, checks=CHECKS)

        def asked_for() -> Iterator[Call]:
            for row in range(calls):
                if row in (first, calls - 1):
                    gc.collect()
                    size[row] = tracemalloc.get_traced_memory()[0]
                yield question(row)

        tracemalloc.start()
        try:
            with AnswerStore(folder / "answers.sqlite") as answers:
                asked = ask(asked_for(), client, store=answers)
        finally:
            tracemalloc.stop()
        server.stdin.close()
    return size[calls - 1] - size[first], len(asked.answers) + len(asked.failures)


def main() -> None:
    """Ask, and print what became of it."""
    url, path, rows, kill_at, log = sys.argv[1:6]
    logging.basicConfig(filename=log, level=logging.DEBUG)
    commits = 0

    def observe(point: str) -> None:
        nonlocal commits
        commits += point == "answers-committed"
        if commits == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    store.observe_commit_points(observe)
    key = Key(sys.argv[6])
    client = ApiClient(Endpoint(url, "tiny"), key=key, limits=QUICK, checks=CHECKS)
    with AnswerStore(Path(path)) as answers:
        asked = ask([question(row) for row in range(int(rows))], client, store=answers)
        failures = {failure.key: failure.reason for failure in asked.failures}
        sys.stdout.write(json.dumps({"answers": list(asked.answers), "failures": failures, "known": asked.known}))


if __name__ == "__main__":
    main()
