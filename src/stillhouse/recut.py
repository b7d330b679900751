"""Moving a cut of a run: what was scored stays, the point is another, and what follows has to run again.

moved = move(Path("runs/quickstart"), ["tail=0.35", "label-doubt=none"])
moved.steps                         # of the run as it now stands: which are cached, and which would run
moved.settings                      # what to write into the recipe, to keep it
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.execute import run as execute
from stillhouse.plan import Plan, PlannedStep, make_plan
from stillhouse.recipe import load_recipe
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.load import parse_recipe
from stillhouse.recipe.model import Recipe
from stillhouse.store import write_atomically
from stillhouse.workplace import Progress, silent

Cutting = Classification | Generation  # recipes that may have cuts


@dataclass(frozen=True)
class Moved:
    """recipe: as it stands now. settings: ``--set`` options that do the same to the recipe's own file."""

    recipe: Cutting
    base: Path
    steps: tuple[PlannedStep, ...]
    settings: tuple[str, ...]
    seconds: float


def recipe_of(run: Path) -> tuple[Cutting, Path]:
    """The recipe of a run, as it was given, and the folder that its relative addresses start from."""
    given, base = run / "recipe.yaml", run / "recipe.base"
    if not given.is_file() or not base.is_file():
        raise StillhouseError("there is no run here", where=str(run), fix="give a run folder, such as runs/quickstart")
    recipe = _cutting(load_recipe(given))
    if recipe.distill.cuts is None:
        raise StillhouseError("this run has no cuts", where=str(run), fix="set `distill.cuts` in its recipe")
    return recipe, Path(base.read_text("utf-8"))


def move(run: Path, moves: Sequence[str], *, progress: Progress = silent) -> Moved:
    """Cut again at other points, which takes seconds: scores are kept.

    Raises :class:`StillhouseError` for a cut that the run has not, a value that is none, a run that has no scores as
    its recipe asks for them, and where it is not found from here. A move that is refused leaves the run as it was.

    moves: ``tail=0.35`` (share that leaves), ``tail=pilot``, ``label-doubt=0.6`` (threshold), ``label-doubt=none``.
    """
    recipe, base = recipe_of(run)
    changed = recipe.model_dump(mode="json", exclude_unset=True)
    changed.get("finish", {}).pop("despite", None)  # what was said of another student is no reason to ship this one
    assert recipe.distill.cuts is not None  # noqa: S101 - recipe_of looked
    section = recipe.distill.cuts.model_dump(mode="json")
    for one in moves:
        name, _, value = one.partition("=")
        if name == "tail":
            _of_tail(section, one)["point"] = _tail(value, one)
        else:
            _head(section, name, one)["point"] = _point(value, one)
    changed.setdefault("distill", {})["cuts"] = section
    moved = _cutting(parse_recipe(changed))
    _refuse_more_than_a_move(moved, run, base)
    before = {path: path.read_bytes() for name in ("recipe.yaml", "recipe.lock.yaml") if (path := run / name).is_file()}
    started = time.perf_counter()
    try:
        execute(moved, base=base, progress=progress, until="cuts")
    except StillhouseError:
        for path, content in before.items():
            write_atomically(path, content)
        raise
    seconds = time.perf_counter() - started
    plan: Plan = make_plan(moved, base=base)
    names = {one.partition("=")[0] for one in moves}
    settings = []
    if "tail" in names:
        settings.append(f"distill.cuts.tail.point={json.dumps(section['tail']['point'])}")
    if names - {"tail"}:
        settings.append(f"distill.cuts.heads={json.dumps(section['heads'])}")
    return Moved(moved, base, plan.steps, tuple(settings), seconds)


def _refuse_more_than_a_move(recipe: Cutting, run: Path, base: Path) -> None:
    """A move is to take seconds; it neither starts a run anew nor asks a teacher."""
    folder = (Path(recipe.paths.runs) / recipe.name).resolve()
    if folder != run.resolve():
        raise StillhouseError(
            f"seen from this folder, the recipe of {run} runs in {folder}",
            where=f"{run}/recipe.yaml: name, paths.runs",
            fix="go to the folder that the run was started from, and move the cut there",
        )
    plan = make_plan(recipe, base=base)
    plan.raise_problems()
    for step in plan.steps:
        if step.name == "cuts":
            break
        if step.cached is None:
            raise StillhouseError(
                f"there are no scores to cut by: the step `{step.name}` has to run first ({step.why})",
                where=str(run),
                fix="run the recipe, up to the cuts at least: `stillhouse run`",
            )


def _cutting(recipe: Recipe) -> Cutting:
    if not isinstance(recipe, Classification | Generation):
        raise StillhouseError(
            f"recipes for `{recipe.task}` have no cuts", where="task", fix="look at the run: `stillhouse show`"
        )
    return recipe


def _of_tail(section: dict[str, Any], where: str) -> dict[str, Any]:
    if section["tail"] is None:
        raise StillhouseError(
            "nothing is scored of which there could be a tail",
            where=f"--move {where}",
            fix="name a score: `distill.cuts.tail: {score: no-prompt, point: {kind: none}}`, and run again",
        )
    found: dict[str, Any] = section["tail"]
    return found


def _tail(value: str, where: str) -> dict[str, Any]:
    if value in ("none", "pilot"):
        return {"kind": value}
    share = _number(value, where, "a share between 0 and 1, none or pilot")
    if not 0 <= share < 1:
        raise StillhouseError(f"{share:g} is no share", where=f"--move {where}", fix="give one from 0 to below 1")
    return {"kind": "quantile", "share": share} if share else {"kind": "none"}


def _head(section: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    for head in section["heads"]:
        if (head["name"] or head["score"]) == name:
            found: dict[str, Any] = head
            return found
    known = ", ".join(["tail", *(head["name"] or head["score"] for head in section["heads"])])
    raise StillhouseError(f"there is no cut {name!r}", where=f"--move {where}", fix=f"use one of {known}")


def _point(value: str, where: str) -> dict[str, Any]:
    if value in ("none", "hard", "mask", "mixture"):
        return {"kind": value}
    return {"kind": "given", "at": _number(value, where, "a threshold, none, hard, mask or mixture")}


def _number(value: str, where: str, wanted: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        raise StillhouseError(f"{value!r} is no number", where=f"--move {where}", fix=f"give {wanted}") from error
