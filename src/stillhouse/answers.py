"""The answer store: what teachers said, kept outside the runs so that no answer is paid for twice.

A row is keyed by the hash of all that changes an answer (teacher, precision, prompt, label words, sampling). What
does not change an answer, such as batch size, budget or the run's name, is not in the key.

    with AnswerStore(path) as store:
        known = store.get(keys)                      # {key: answer}
        store.put({key: {"logprobs": [-0.1, -2.3]}})   # committed before it returns
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.store import canonical, now, producer, reached

SCHEMA = 1
_CHUNK = 500  # keys per query: SQLite limits the number of bound values


class AnswerStore:
    """A SQLite file in write-ahead mode: many readers, one writer, whole batches or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(
                "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer BLOB NOT NULL,"
                " checksum TEXT NOT NULL, created TEXT NOT NULL, times_paid INTEGER NOT NULL DEFAULT 1)"
                " WITHOUT ROWID;"
            )
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA),))
            self._db.execute("INSERT OR IGNORE INTO meta VALUES ('producer', ?)", (producer(),))
            (found,) = self._db.execute("SELECT value FROM meta WHERE name='schema'").fetchone()
        except sqlite3.OperationalError:
            raise  # the disk's fault, not the file's
        except sqlite3.DatabaseError as error:
            raise StillhouseError(
                f"the answer store cannot be read: {error}",
                where=str(path),
                fix="move the file away to start a new store, or restore it from a backup",
            ) from error
        if found != str(SCHEMA):
            raise StillhouseError(
                f"the answer store has schema {found}, this version reads {SCHEMA}",
                where=str(path),
                fix="use another `paths.answers`, or the stillhouse version that wrote it",
            )

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; further calls fail."""
        self._db.close()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """Answers by key, for those that are there and whole. A corrupt answer is a miss."""
        wanted = list(dict.fromkeys(keys))
        known: dict[str, Any] = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(chunk))
            # only question marks are put into the statement; the keys are bound
            query = f"SELECT key, answer, checksum FROM answers WHERE key IN ({marks})"  # noqa: S608
            for key, answer, checksum in self._db.execute(query, chunk):
                if hashlib.sha256(answer).hexdigest() == checksum:
                    known[key] = json.loads(answer)
        return known

    def put(self, answers: Mapping[str, Any]) -> None:
        """Commit a batch in one transaction; it counts only once this returns."""
        moment = now()
        rows = []
        for key, answer in answers.items():
            blob = canonical(answer).encode("utf-8")
            rows.append((key, blob, hashlib.sha256(blob).hexdigest(), moment))
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(
                "INSERT INTO answers (key, answer, checksum, created) VALUES (?, ?, ?, ?)"
                " ON CONFLICT(key) DO UPDATE SET answer=excluded.answer, checksum=excluded.checksum,"
                " created=excluded.created, times_paid=times_paid+1",
                rows,
            )
        reached("answers-committed")

    def count(self) -> int:
        """How many answers the store holds."""
        (number,) = self._db.execute("SELECT COUNT(*) FROM answers").fetchone()
        return int(number)

    def most_often_paid(self) -> int:
        """The largest number of times that one answer was paid for: 1 when all is well, 0 when empty."""
        (number,) = self._db.execute("SELECT COALESCE(MAX(times_paid), 0) FROM answers").fetchone()
        return int(number)
