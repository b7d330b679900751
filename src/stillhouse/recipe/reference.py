"""The recipe's reference, made from the model itself: a JSON Schema for editors, a table for people."""

from __future__ import annotations

import json

from stillhouse.recipe.fields import leaves
from stillhouse.recipe.model import Recipe


def as_json_schema() -> str:
    """JSON Schema of the whole recipe."""
    return json.dumps(Recipe.model_json_schema(), indent=2) + "\n"


def as_markdown() -> str:
    """One row per field: what it does, its default, and what a change makes run again."""
    lines = [
        "# Recipe fields",
        "",
        "Made by `stillhouse schema --markdown`. `*` stands for a position in a list. A change of a field makes the",
        "named step run again, and those after it that read its result; an empty cell: nothing runs again.",
        "",
        "| field | what it does | default | runs again |",
        "|---|---|---|---|",
    ]
    for leaf in leaves(Recipe):
        default = "" if leaf.default is None else f"`{json.dumps(leaf.default, default=str, ensure_ascii=False)}`"
        again = leaf.enters if leaf.kind == "result" else ""
        lines.append(f"| `{leaf.path}` | {leaf.description} | {default.replace('|', chr(92) + '|')} | {again} |")
    return "\n".join(lines) + "\n"
