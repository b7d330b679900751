"""Stage 1 by itself, in a process of its own: ``python -m bench.raw_run FOLDER`` with a recipe in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.raw import digest_of_rows
from stillhouse import cuts, documents
from stillhouse.documents import SPLITS
from stillhouse.raw import dedup, stage
from stillhouse.recipe import parse_recipe
from stillhouse.workplace import Places


def main() -> None:
    """Run the recipe's first stage, and say what came out."""
    folder = Path(sys.argv[1])
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))
    ranges = recipe.pop("ranges")
    if ranges:
        dedup.ROWS_IN_A_RANGE = 100_000 // ranges
    draft = folder / "1-raw"
    draft.mkdir()

    def progress(what: str, done: int, total: int) -> None:
        if what == "cleaning" and 4 * done > total:
            (folder / "cleaning").touch()

    places = Places(run=folder, draft=draft, cache=folder / "cache", answers=folder / "answers", base=folder)
    result = stage.run(parse_recipe(recipe), places, progress)
    made = {"report": result.summary, "documents": "", "cuts": ""}
    if ranges:
        tables = [documents.read(draft, split) for split in SPLITS]
        tables = [
            table.append_column("split", [[name] * len(table)]) for name, table in zip(SPLITS, tables, strict=True)
        ]
        made |= {"documents": digest_of_rows(tables), "cuts": digest_of_rows([cuts.read(draft)])}
    (folder / "made.json").write_text(json.dumps(made), encoding="utf-8")


if __name__ == "__main__":
    main()
