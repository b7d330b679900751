"""Tasks of lm-evaluation-harness for a model that writes, bound to the recipe: looked at early, asked, and told.

The harness is an extra, and is imported only where the recipe names tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.addresses import Files, peek, resolve
from stillhouse.errors import Problem
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.recipe.finish_generation import Harness
from stillhouse.recipe.generation import Generation
from stillhouse.store import package_version
from stillhouse.workplace import Places, Progress

if TYPE_CHECKING:
    from stillhouse.finish.harness.rows import Figures
    from stillhouse.finish.harness.tasks import Listing

ASKED = "harness.jsonl"  # every prompt as each model got it, and what it said


def harness_problems(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Names that mean no task, and tasks that cannot be asked; of a folder that has still to be fetched, later."""
    listing = _looked_at(recipe, cache, base)
    return [*listing.problems, *_unknown_figures(recipe, listing)] if listing else []


def _unknown_figures(recipe: Generation, listing: Listing) -> list[Problem]:
    """Benchmarks that name a figure which their task, by what its file says, will not have."""
    settings, found = recipe.finish.evaluate.harness, []
    for place, one in enumerate(settings.benchmarks if settings else ()):
        known = [metrics for leaf in listing.leaves.get(one.task, ()) if (metrics := leaf.metrics) is not None]
        figures = sorted(set.intersection(*known)) if known else None
        if figures is not None and one.metric.partition(",")[0] not in figures:
            where = f"finish.evaluate.harness.benchmarks.{place}.metric"
            fix = f"it has {', '.join(figures)}" if figures else "name its tasks one by one"
            found.append(Problem(f"the task {one.task!r} has no figure {one.metric!r}", where, fix))
    return found


def harness_fetches(recipe: Generation, cache: Path, base: Path) -> tuple[str, ...]:
    """The data sets that the tasks would fetch, by name."""
    listing = _looked_at(recipe, cache, base)
    return listing.fetching if listing else ()


def _looked_at(recipe: Generation, cache: Path, base: Path) -> Listing | None:
    settings = recipe.finish.evaluate.harness
    if settings is None or package_version("lm_eval") == "absent":  # the plan says so
        return None
    files = peek(settings.include, cache=cache, base=base) if settings.include else None
    if settings.include and files is None:
        return None
    return _listing(settings, files)


def _listing(settings: Harness, files: Files | None) -> Listing:
    from stillhouse.finish.harness.tasks import look

    return look(settings.tasks, files.root if files else None)


def harness_of(
    recipe: Generation, places: Places, speakers: Mapping[str, Speaker], progress: Progress
) -> Figures | None:
    """What all models reach on the recipe's tasks, if it names any; what they were asked is left in the draft."""
    settings = recipe.finish.evaluate.harness
    if settings is None:
        return None
    from stillhouse.finish.harness.measure import ask_tasks
    from stillhouse.finish.harness.rows import dump, figures
    from stillhouse.finish.harness.tasks import load

    progress("tasks: reading", 0, 1)
    files = resolve(settings.include, cache=places.cache, base=places.base) if settings.include else None
    listing = _listing(settings, files)
    asked = ask_tasks(
        speakers,
        load(listing, folder=places.cache / "harness"),
        limit=settings.limit,
        few_shot=settings.few_shot,
        template=settings.template,
        data=listing.data,
        progress=progress,
    )
    dump(asked, places.draft / ASKED)
    sure = recipe.finish.evaluate
    return figures(asked, tuple(speakers), margin=sure.margin, resamples=sure.resamples, seed=sure.seed)
