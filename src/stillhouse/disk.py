"""What answers, models, downloads and runs hold on disk, and how it is freed by choice.

for one in holdings(runs=Path("runs"), answers=Path("answers/answers.sqlite"), cache=Path("cache")): print(one)
free(one)
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stillhouse.errors import StillhouseError

Kind = Literal["run", "answers", "converted", "download", "unfinished"]

_MEANING: dict[Kind, str] = {
    "run": "running its recipe again makes it anew",
    "answers": "paid answers: freeing them means paying again",
    "converted": "converted again from its GGUF file when it is needed",
    "download": "fetched again when it is needed",
    "unfinished": "left by an interrupted fetch or conversion",
}


@dataclass(frozen=True)
class Holding:
    """Something on disk. name: what to call it when freeing. detail: what it is, in words."""

    name: str
    kind: Kind
    path: Path
    bytes: int
    detail: str

    @property
    def meaning(self) -> str:
        """What freeing it costs."""
        return _MEANING[self.kind]


def holdings(*, runs: Path, answers: Path, cache: Path) -> list[Holding]:
    """Everything that these three places hold, the largest first within each kind."""
    found = [*_runs(runs), *_answers(answers), *_cached(cache)]
    order = list(_MEANING)
    return sorted(found, key=lambda one: (order.index(one.kind), -one.bytes, one.name))


def free(holding: Holding) -> None:
    """Delete a holding, whole; what a recipe needs of it is made or fetched again, answers are paid again."""
    if holding.kind == "answers":
        for suffix in ("", "-wal", "-shm"):
            holding.path.with_name(holding.path.name + suffix).unlink(missing_ok=True)
    elif holding.path.is_dir():
        shutil.rmtree(holding.path)
    else:
        holding.path.unlink(missing_ok=True)


def select(found: list[Holding], names: list[str]) -> list[Holding]:
    """The holdings of these names, or of these kinds; raises :class:`StillhouseError` for a name that is nowhere."""
    chosen = {one.name: one for name in names for one in found if name in (one.name, one.kind)}
    unknown = [name for name in names if not any(name in (one.name, one.kind) for one in found)]
    if unknown:
        raise StillhouseError(
            f"there is nothing called {', '.join(unknown)}",
            where="--free",
            fix="use a name or a kind from the list that `stillhouse cache` prints",
        )
    return list(chosen.values())


def _runs(folder: Path) -> Iterator[Holding]:
    for run in sorted(folder.iterdir()) if folder.is_dir() else []:
        if (run / "recipe.lock.yaml").is_file():
            sealed = sorted(path.parent.name for path in run.glob("*/manifest.json"))
            yield Holding(f"run/{run.name}", "run", run, _size(run), f"sealed: {', '.join(sealed) or 'nothing'}")


def _answers(path: Path) -> Iterator[Holding]:
    if not path.is_file():
        return
    size = sum(file.stat().st_size for file in path.parent.glob(path.name + "*"))
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
            (count,) = store.execute("SELECT COUNT(*) FROM answers").fetchone()
        detail = f"{count:,} answers"
    except sqlite3.Error as error:
        detail = f"cannot be read: {error}"
    yield Holding("answers", "answers", path, size, detail)


def _cached(cache: Path) -> Iterator[Holding]:
    for folder in sorted((cache / "converted").glob("*")):
        kind: Kind = "unfinished" if folder.suffix == ".part" else "converted"
        yield Holding(f"converted/{folder.name}", kind, folder, _size(folder), _architecture(folder))
    for parent in ("pypi", "hub"):
        for entry in sorted((cache / parent).glob("*")):
            kind = "unfinished" if entry.suffix in (".part", ".draft") else "download"
            yield Holding(f"{parent}/{entry.name}", kind, entry, _size(entry), _origin(entry))


def _architecture(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        return f"{', '.join(config['architectures'])}, float32 safetensors"
    except (OSError, ValueError, KeyError, TypeError):
        return "a converted model"


def _origin(entry: Path) -> str:
    if entry.name == "archives":
        return "archives as they were fetched"
    record = entry / "facts.json" if entry.is_dir() else entry
    try:
        return str(json.loads(record.read_text("utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        return "a download"


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and not file.is_symlink())
