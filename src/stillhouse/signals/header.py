"""The header of stored token distributions: all that changes a row, and how a reader's expectations are checked.

header = Header(teacher=revision, tokenizer=digest, template=digest, vocabulary=49152, precision="bfloat16")
header.check({"tokenizer": digest}, where=folder)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from stillhouse.errors import Problem, StillhouseError
from stillhouse.signals.rows import MOST_BITS, Layout
from stillhouse.store import canonical

SCHEMA_VERSION = 1

Form = Literal["sparse", "top-k", "dense"]


@dataclass(frozen=True)
class Header:
    """All that changes a stored row.

    teacher, tokenizer, template: revision and digests, as the teacher's identity gives them. vocabulary: size of the
    teacher's head. temperature, precision: of the teacher. form: ``sparse`` (exact entries and draws), ``top-k`` (exact
    entries and the tail's mass, m = 0), ``dense`` (every probability in float32, for tests). k: exact entries at least;
    m: draws for a tail of mass one, and every probability of 1/m or more is exact. always: ids that are exact in every
    row. seed, draw: where the draws come from; another ``draw`` of the same seed is a fresh one.
    """

    teacher: str
    tokenizer: str
    template: str
    vocabulary: int
    precision: str
    form: Form = "sparse"
    k: int = 1
    m: int = 30
    always: tuple[int, ...] = ()
    temperature: float = 1.0
    seed: int = 0
    draw: int = 0

    def __post_init__(self) -> None:
        sound = {
            "form": self.form in get_args(Form),
            "vocabulary": 1 <= self.vocabulary <= 1 << (MOST_BITS - 1),
            "k": 0 <= self.k < 4096,
            "m": 0 <= self.m < 4096 and (self.m > 0) == (self.form == "sparse"),
            "always": len(set(self.always)) == len(self.always)
            and all(0 <= token < self.vocabulary for token in self.always),
            "temperature": self.temperature > 0,
        }
        wrong = [name for name, holds in sound.items() if not holds]
        if wrong:
            raise StillhouseError(
                f"no header can hold this: {', '.join(f'{name}={getattr(self, name)}' for name in wrong)}",
                where="the header of signals/token_dist",
                fix="set m above 0 in the sparse form, to 0 in others; `always` holds different ids of the vocabulary",
            )

    @property
    def layout(self) -> Layout:
        """What encoder and decoder of a blob have to agree on."""
        return Layout(self.vocabulary, self.k, self.m, self.always)

    def as_json(self) -> str:
        """Canonical JSON, as the files hold it."""
        return canonical({"schema": SCHEMA_VERSION, "kind": "TokenDist", **asdict(self)})

    @classmethod
    def from_json(cls, text: bytes, where: Path) -> Header:
        """Read what :meth:`as_json` wrote; another kind or schema is refused, never guessed."""
        try:
            found = json.loads(text)
            if (found.pop("schema"), found.pop("kind")) == (SCHEMA_VERSION, "TokenDist"):
                return cls(**{**found, "always": tuple(found["always"])})
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # a torn header is refused like one of another schema
        raise StillhouseError(
            f"no token distributions of schema {SCHEMA_VERSION}", where=str(where), fix="run stage 2 again"
        )

    def check(self, expected: Mapping[str, Any], where: Path) -> None:
        """Raise :class:`StillhouseError` with every field that has not the expected value."""
        found = asdict(self)
        problems = [
            Problem(
                f"the token distributions were made with {name} {found.get(name)!r}, not {value!r}",
                str(where),
                "run stage 2 again, or use the teacher, tokenizer and settings that the header names",
            )
            for name, value in expected.items()
            if found.get(name) != value
        ]
        if problems:
            raise StillhouseError.several(problems)
