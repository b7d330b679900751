"""Stage 1 on rows of a test's own: a recipe over them, run to documents, cuts and report."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stillhouse import cuts, documents
from stillhouse.documents import SPLITS
from stillhouse.raw.stage import run
from stillhouse.recipe import parse_recipe
from stillhouse.workplace import Places, silent

# twelve lines that no rule objects to, of both labels, so that there is always something to test on
FILLER = [
    {"text": text, "label": label}
    for label, texts in {
        "good": (
            "the soup was warm and the waiter remembered our names",
            "a bright little shop where every shelf tells a story",
            "our guide knew each bird by its song and its shadow",
            "the train was early, clean and quiet all the way north",
            "she repaired the old clock in one patient afternoon",
            "fresh bread, ripe cheese and a table under the plum tree",
        ),
        "bad": (
            "the lamp broke twice before the first week was over",
            "nobody answered the phone and the parcel never came",
            "cold rooms, thin walls and a lift that smells of paint",
            "they charged us for towels that we had never asked for",
            "the map was wrong and the ferry had left an hour ago",
            "a dull speech read from paper to an empty hall of chairs",
        ),
    }.items()
    for text in texts
]


WORDS = ["river", "stone", "candle", "market", "winter", "garden", "letter", "bridge", "copper", "meadow", "violin"]
WORDS += ["harbor", "lantern", "orchard", "thunder"]


def sentence(seed: int, words: int = 30) -> str:
    """A sentence of its own: a seeded walk through the words, with numbers in it."""
    draw = random.Random(seed)
    return " ".join(f"{draw.choice(WORDS)}{draw.randrange(90)}" for _ in range(words))


def labelled_sentences(count: int, *, words: int = 30) -> list[dict[str, str]]:
    """Rows of such sentences, with both labels in turn."""
    return [{"text": sentence(number, words), "label": ("good", "bad")[number % 2]} for number in range(count)]


@dataclass(frozen=True)
class Outcome:
    """What stage 1 made of some rows."""

    folder: Path
    report: dict[str, Any]

    def documents(self) -> list[dict[str, Any]]:
        """All documents of all splits, each with its split."""
        return [{**row, "split": split} for split in SPLITS for row in documents.read(self.folder, split).to_pylist()]

    def texts(self) -> list[str]:
        """The texts of all documents, sorted."""
        return sorted(row["text"] for row in self.documents())

    def cuts(self) -> list[dict[str, Any]]:
        """The cut ledger."""
        rows: list[dict[str, Any]] = cuts.read(self.folder).to_pylist()
        return rows

    def cut(self, reason: str) -> list[dict[str, Any]]:
        """The rows that left for one reason."""
        return [row for row in self.cuts() if row["reason"] == reason]

    def tables(self) -> dict[str, pa.Table]:
        """Everything that must be the same however the work was cut up."""
        found = {split: documents.read(self.folder, split) for split in SPLITS}
        return {**found, "cuts": cuts.read(self.folder)}


def jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Rows as a JSON lines file."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def mapping(sources: Sequence[Mapping[str, Any]], **raw: Any) -> dict[str, Any]:
    """A recipe over ``sources``; its later stages are never run."""
    return {
        "name": "cellar",
        "labels": ["good", "bad"],
        "rights": {"commercial": False},
        "raw": {
            "split": {"test": 4, "validation": 2},
            "engine": {"kind": "here", "workers": 1},
            **raw,
            "sources": list(sources),
        },
        "ferment": {"teacher": {"kind": "local", "model": "pypi:nothing==1#*"}},
        "distill": {"student": {"kind": "keep-layers", "base": "pypi:nothing==1#*"}},
    }


def source(path: Path, name: str = "rows", **more: Any) -> dict[str, Any]:
    """A source of a recipe, with its label mapped."""
    return {"name": name, "data": str(path), "license": "CC0-1.0", "columns": {"label": "label"}, **more}


def distil_nothing(folder: Path, recipe: Mapping[str, Any]) -> Outcome:
    """Run stage 1 of a recipe into ``folder``."""
    draft = folder / "1-raw"
    draft.mkdir(parents=True, exist_ok=True)
    places = Places(run=folder, draft=draft, cache=folder / "cache", answers=folder / "answers", base=folder)
    result = run(parse_recipe(dict(recipe)), places, silent)
    assert result.summary == json.loads((draft / "report.json").read_text("utf-8"))
    return Outcome(draft, result.summary)


def of_rows(folder: Path, rows: Iterable[Mapping[str, object]], **raw: Any) -> Outcome:
    """Stage 1 over some rows and the filler behind them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = jsonl(folder / "rows.jsonl", [*rows, *FILLER])
    return distil_nothing(folder / "run", mapping([source(path)], **raw))
