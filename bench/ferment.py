"""Fermentation: the sparse signal store, endpoints that misbehave, prefix reuse against the plain loop."""

from __future__ import annotations

from pathlib import Path

from bench.ferment_api import api_figures
from bench.ferment_signals import signal_figures
from bench.quickstart import RECIPE, naive_figures
from bench.report import Figure, timed
from stillhouse.execute import run
from stillhouse.recipe import load_recipe


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of fermentation."""
    root = RECIPE.parents[1]
    places = [f"paths.runs={work / 'runs'}", f"paths.cache={root / 'cache'}", "name=prompts"]
    with timed("raw material"):
        finished = run(load_recipe(RECIPE, places), base=RECIPE.parent, until="raw")
    found = signal_figures(quick=quick, work=work)
    found += api_figures(quick=quick, work=work)
    with timed("prefix reuse and the plain loop"):
        found += naive_figures(work, finished.folder, texts=4 if quick else 48, quick=quick)
    return found
