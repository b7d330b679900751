"""The cuts: what is found of planted harm, whether it pays, whom it costs, and what a promise of risk is worth.

Three planted sets go through the real steps; ten cheap students learn what the cuts left, and everything; the
pilot is held against full runs of the quickstart's own student at every share; answers of a chat model are planted
with harm and waste of their own; proxies of a model that writes are held against students taught in full. Over an hour
on two cores.
"""

from __future__ import annotations

from pathlib import Path

from bench.parts import measured
from bench.report import Figure

PARTS: dict[str, tuple[str, str]] = {
    "planted": ("cuts_planted", "planted_figures"),
    "seeds": ("cuts_students", "seed_figures"),
    "groups": ("cuts_students", "group_figures"),
    "promises": ("cuts_points", "promise_figures"),
    "pilot": ("cuts_points", "pilot_figures"),
    "many": ("cuts_many", "many_figures"),
    "moving": ("cuts_points", "moving_figures"),
    "writing": ("cuts_writing", "writing"),
    "prices": ("cuts_prices", "price_figures"),
    "dynamics": ("cuts_dynamics", "dynamics"),
}


def figures(*, quick: bool, work: Path, only: str | None = None) -> list[Figure]:
    """Every figure of the cuts. ``work`` keeps runs and answers of all parts; nothing in it is asked for again."""
    return measured("cuts", PARTS, quick=quick, work=work, only=only, places=dict.fromkeys(PARTS, "."))
