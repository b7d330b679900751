"""The recipe that ``stillhouse new`` writes: short, commented, and valid as it stands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from stillhouse.errors import StillhouseError
from stillhouse.recipe.load import load_recipe


def write_recipe(
    path: Path, *, data: str, labels: Sequence[str], teacher: str, base: str, text: str, label: str
) -> None:
    """Write a recipe and read it back; raises :class:`StillhouseError` when a file is already there."""
    if path.exists():
        raise StillhouseError("the file already exists", where=str(path), fix="choose another name, or remove it")
    quoted = [json.dumps(name, ensure_ascii=False) for name in labels]
    name = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in path.stem).lstrip("._-")
    lines = [
        f"name: {name or 'recipe'}",
        "task: text-classification",
        f"labels: [{', '.join(quoted)}]",
        "",
        "rights:",
        "  use: internal            # internal, served or distributed",
        "  commercial: true",
        "  # statement:             # lifts an unknown verdict, and is printed on the label",
        "  #   who: …",
        "  #   when: 2026-01-31",
        "  #   why: …",
        "  #   covers: [mine]",
        "",
        "raw:",
        "  sources:",
        "    - name: mine",
        f"      data: {json.dumps(data, ensure_ascii=False)}",
        "      # license: CC-BY-4.0  # SPDX id, when you know it",
        "      # owner: our team     # or whose it is, where it is your own",
        "      columns:",
        f"        text: {json.dumps(text, ensure_ascii=False)}",
        f"        label: {json.dumps(label, ensure_ascii=False)}   # gold, for the test split only",
        "  split: {test: 500, validation: 200}",
        "",
        "ferment:",
        "  teacher:",
        "    kind: local",
        f"    model: {json.dumps(teacher, ensure_ascii=False)}",
        "    # license: Apache-2.0",
        "  prompt:",
        '    question: "Text: {text}\\nLabel:"',
        '    answer: " {label}"',
        '    examples: []           # two to eight, like: - {text: "…", label: …}',
        "  calibration: {kind: matched}   # add `prior:` when you know the shares of the labels",
        "",
        "distill:",
        "  student:",
        "    kind: keep-layers",
        f"    base: {json.dumps(base, ensure_ascii=False)}",
        "    keep: 3",
        "    # license: Apache-2.0",
        "",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        load_recipe(path)
    except StillhouseError:
        path.unlink()
        raise
