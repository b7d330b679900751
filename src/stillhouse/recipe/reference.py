"""The recipe's reference, made from the model itself: a JSON Schema for editors, a table for people."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, TypeAdapter

from stillhouse.recipe.classification import Classification
from stillhouse.recipe.fields import Leaf, leaves
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.load import TASKS


def as_json_schema() -> str:
    """JSON Schema of the whole recipe: one schema for each task."""
    either: TypeAdapter[Classification | Generation] = TypeAdapter(
        Annotated[Classification | Generation, Field(discriminator="task")]
    )
    return json.dumps(either.json_schema(), indent=2) + "\n"


def as_markdown() -> str:
    """One row per field: what it does, its default, and what a change makes run again."""
    lines = [
        "# Recipe fields",
        "",
        "Made by `stillhouse schema --markdown`. `*` stands for a position in a list. A change of a field makes the",
        "named step run again, and those after it that read its result; an empty cell: nothing runs again.",
    ]
    tables = {task: [_row(leaf) for leaf in leaves(kind)] for task, kind in TASKS.items()}
    first, *others = tables.values()
    shared = [row for row in first if all(row in other for other in others)]
    lines += _table("Every task", shared)
    for task, rows in tables.items():
        lines += _table(f"`{task}`", [row for row in rows if row not in shared])
    return "\n".join(lines) + "\n"


def _table(title: str, rows: list[str]) -> list[str]:
    return ["", f"## {title}", "", "| field | what it does | default | runs again |", "|---|---|---|---|", *rows]


def _row(leaf: Leaf) -> str:
    default = "" if leaf.default is None else f"`{json.dumps(leaf.default, default=str, ensure_ascii=False)}`"
    again = leaf.enters if leaf.kind == "result" else ""
    return f"| `{leaf.path}` | {leaf.description} | {default.replace('|', chr(92) + '|')} | {again} |"
