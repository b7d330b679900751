"""How far long work has come, for people: a bar with rates on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from stillhouse.workplace import Progress as Report

_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress_on(err: Console) -> Iterator[Report]:
    """A progress reporter: a bar with rates on a terminal, plain lines elsewhere."""
    if err.is_terminal:
        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=err,
            transient=True,
        ) as bars:
            yield _Bars(bars)
    else:
        yield _Lines(err)


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self.bars = bars
        self.current: tuple[str, Any] | None = None
        self.start = (0.0, 0)
        self.done = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        if self.current is None or self.current[0] != what or done < self.done:  # the same may be done once more
            if self.current is not None:
                self.bars.remove_task(self.current[1])
            self.current = (what, self.bars.add_task(what, total=total or None, rate=""))
            self.start = (time.monotonic(), done)
        self.done = done
        elapsed = time.monotonic() - self.start[0]
        rate = f"{(done - self.start[1]) / elapsed:.1f}/s" if elapsed > 1 else ""
        self.bars.update(self.current[1], completed=done, total=total or None, rate=rate)


class _Lines:
    def __init__(self, err: Console) -> None:
        self.err = err
        self.what = ""
        self.last = 0.0
        self.start = (0.0, 0)
        self.done = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        moment = time.monotonic()
        again, self.done = done < self.done, done  # the same may be done once more
        if what != self.what or again:
            self.what, self.last, self.start = what, moment, (moment, done)
            return
        if moment - self.last >= _SECONDS_BETWEEN_LINES or (total and done >= total):
            self.last = moment
            elapsed = moment - self.start[0]
            rate = f", {(done - self.start[1]) / elapsed:.1f}/s" if elapsed > 1 else ""
            # as one line however long: nothing is known of the width of a file or a pipe
            self.err.print(f"  {escape(what)}: {done}{f' of {total}' if total else ''}{rate}", soft_wrap=True)
