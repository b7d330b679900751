"""Answers in text: what the teacher wrote about each document, sample by sample, with its verdict.

Wrong and cut-off answers are rows like the others, marked as such; what is learned from is decided later.

    Text(answers, header).write(folder)
    of_each = Text.read(folder).answers_for(ids)       # N tuples of answers, in the order of their samples
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.errors import StillhouseError

SCHEMA_VERSION = 1
_FILE = Path("signals") / "text.parquet"
_HEADER = b"stillhouse.signal"
_COLUMNS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("asked", pa.string(), nullable=False),
        pa.field("teacher", pa.string(), nullable=False),
        pa.field("sample", pa.int32(), nullable=False),
        pa.field("reasoning", pa.string()),
        pa.field("answer", pa.string(), nullable=False),
        pa.field("finish_reason", pa.string(), nullable=False),
        pa.field("prompt_tokens", pa.int32(), nullable=False),
        pa.field("answer_tokens", pa.int32(), nullable=False),
        pa.field("verified", pa.bool_()),
        pa.field("verdict", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class TextAnswer:
    """One answer to one document.

    asked: the hash of all that changed the answer. sample: its number, from 0. reasoning: what was thought before the
    answer, ``None`` where there was none. finish_reason: ``stop`` when it is whole, ``length`` when it was cut off.
    answer_tokens: tokens written, reasoning included. verified: right, wrong, or ``None`` when it was not or could
    not be checked. verdict: the reason for that, in words.
    """

    id: str
    asked: str
    teacher: str
    sample: int
    reasoning: str | None
    answer: str
    finish_reason: str
    prompt_tokens: int
    answer_tokens: int
    verified: bool | None = None
    verdict: str = ""

    @property
    def key(self) -> str:
        """What token distributions along this answer are stored under."""
        return f"{self.id}#{self.sample}"

    @property
    def incomplete(self) -> str:
        """Why it is no whole answer, empty where it is one."""
        if self.finish_reason != "stop":
            return f"not whole: finish reason {self.finish_reason}"
        return "" if self.answer.strip() else "there is no answer"


@dataclass(frozen=True)
class Text:
    """Answers in text. header: teacher, prompt, template and sampling, as written by stage 2."""

    answers: tuple[TextAnswer, ...]
    header: Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write ``signals/text.parquet`` below ``folder``, rows in the order of id and sample.

        Raises ``ValueError`` when one teacher has two answers under the same id and sample.
        """
        rows = sorted(self.answers, key=_place)
        twice = [row for row, next_row in pairwise(rows) if _place(row) == _place(next_row)]
        if twice:
            raise ValueError(f"two answers for sample {twice[0].sample} of document {twice[0].id}")
        header = {"schema": SCHEMA_VERSION, "kind": "Text", **self.header}
        columns = _COLUMNS.with_metadata({_HEADER: json.dumps(header, sort_keys=True)})
        path = folder / _FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema=columns), path)

    @classmethod
    def read(cls, folder: Path) -> Text:
        """Read what :meth:`write` wrote; another kind or schema is refused, never guessed."""
        path = folder / _FILE
        table = pq.read_table(path)
        header = json.loads((table.schema.metadata or {}).get(_HEADER, b"{}"))
        if header.get("schema") != SCHEMA_VERSION or header.get("kind") != "Text":
            raise StillhouseError(
                f"not a Text signal of schema {SCHEMA_VERSION}",
                where=str(path),
                fix="run stage 2 again",
            )
        return cls(tuple(TextAnswer(**row) for row in table.to_pylist()), header)

    def answers_for(self, ids: Sequence[str]) -> list[tuple[TextAnswer, ...]]:
        """The answers to each of ``ids``; raises :class:`StillhouseError` when one has none."""
        found: dict[str, list[TextAnswer]] = {}
        for row in sorted(self.answers, key=_place):
            found.setdefault(row.id, []).append(row)
        missing = [identifier for identifier in ids if identifier not in found]
        if missing:
            raise StillhouseError(
                f"{len(missing)} documents have no answer of the teacher, the first is {missing[0]}",
                where=str(_FILE),
                fix="run stage 2 again",
            )
        return [tuple(found[identifier]) for identifier in ids]


def _place(row: TextAnswer) -> tuple[str, int, str]:
    return row.id, row.sample, row.teacher
