"""The controls of a language model: what the same student is without its teacher. They are measured, never shipped.

Reads ``1-raw``, ``2-ferment`` and ``3-distill``; writes a model folder for each control: ``ce/``, the same start,
lessons, order and number of steps with plain cross-entropy on the answers, and ``untrained/``, the start itself.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from stillhouse.causal import save_causal
from stillhouse.cuts import Balance
from stillhouse.distill.beginning import begin
from stillhouse.distill.stage_generation import LIBRARIES, train
from stillhouse.errors import Problem
from stillhouse.recipe.generation import Generation
from stillhouse.store import reached, scratch_folder
from stillhouse.workplace import Places, Progress, StageResult

__all__ = ["LIBRARIES", "VERSION", "check", "run"]

VERSION = 2


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Nothing can be said of this step before the work that stage 3 does not say."""
    return []


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    start = json.loads((places.sealed("distill") / "start.json").read_text("utf-8"))
    made = begin(recipe, places, progress, start=start)
    kept = len(made.train.lessons) + len(made.held.lessons)
    balance = Balance(made.rows_in, kept, len(made.cuts), 0).check("3-controls")
    summary: dict[str, object] = {**asdict(balance), "controls": list(recipe.controls)}
    if "untrained" in recipe.controls:
        save_causal(made.model, made.tokenizer, places.draft / "untrained", ends=made.train.ends)
    if "ce" in recipe.controls:
        output = scratch_folder(places.draft) / "ce"
        trained, model = train(
            recipe,
            places,
            made,
            output=output,
            progress=progress,
            what="training the control",
            control=True,
        )
        (output / "training.jsonl").replace(places.draft / "training.jsonl")
        save_causal(model, made.tokenizer, places.draft / "ce", ends=made.train.ends)
        summary["ce"] = {
            "steps": trained.steps,
            "best_step": trained.best_step,
            "best": {name: round(value, 6) for name, value in trained.best.items()},
        }
    reached("controls-written")
    return StageResult(summary)
