"""Distillation of language models: the cost of a step, the choice of a loss, replay, students, and the chat recipe.

All parts together take hours. ``--part`` measures one and leaves the others as ``results/distill.json`` has them; every
part says on which day and on which code it was measured, and one that never was misses its bar. Parts and runs that
``--work`` holds from the same code are not measured again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.report import RESULTS, Figure, machine, timed
from stillhouse.store import now

ROOT = Path(__file__).parents[1]
Part = Callable[..., list[Figure]]
# part: (module of this folder, function); each takes quick and work
PARTS: dict[str, tuple[str, str]] = {
    "step": ("distill_step", "step_figures"),
    "losses": ("distill_losses", "loss_figures"),
    "replay": ("distill_replay", "replay_figures"),
    "students": ("distill_students", "student_figures"),
    "chat": ("distill_chat", "chat_figures"),
    "chat losses": ("distill_chat", "best_loss_figures"),
}


def figures(*, quick: bool, work: Path, only: str | None = None) -> list[Figure]:
    """Every figure of distillation; the heavy parts come last. only: the one part to measure, with what it needs."""
    digest = code_digest()[:16]
    parts = work / f"parts-{digest}{'-quick' if quick else ''}"
    parts.mkdir(exist_ok=True)
    known = _earlier(RESULTS / f"distill{'-quick' if quick else ''}.json")
    found: list[Figure] = []
    for name, (module, function) in PARTS.items():
        path = parts / f"{name.replace(' ', '-')}.json"
        if not path.exists() and only in (None, name):
            place = work / (name.replace(" ", "-") if name != "chat losses" else "chat")
            place.mkdir(exist_ok=True)
            with timed(name):
                made = part(module, function)(quick=quick, work=place)
            stamp = Figure(f"[{name}]", f"measured {now()[:10]}, {machine()['processor']}, code {digest}")
            path.write_text(json.dumps([asdict(figure) for figure in (stamp, *made)]), encoding="utf-8")
        if path.exists():
            found += _figures(json.loads(path.read_text("utf-8")))
        else:
            found += known.get(name) or [Figure(f"[{name}]", 0, "times measured", (">=", 1))]
    return found


def _earlier(path: Path) -> dict[str, list[Figure]]:
    """The parts that a result file holds, each under a figure with its name in brackets."""
    parts: dict[str, list[Figure]] = {}
    rows = _figures(json.loads(path.read_text("utf-8"))["figures"]) if path.exists() else []
    for figure in rows:
        if figure.name.startswith("["):
            here = parts.setdefault(figure.name.strip("[]"), [])
        here.append(figure)
    return {name: figures for name, figures in parts.items() if isinstance(figures[0].value, str)}


def part(module: str, function: str) -> Part:
    """A part's function; imported late, so that one part does not cost the others their memory."""
    return partial(getattr(import_module(f"bench.{module}"), function))


def code_digest(roots: Sequence[str] = ("src/stillhouse", "bench", "recipes")) -> str:
    """SHA-256 over every file that can change a figure."""
    digest = hashlib.sha256()
    for root in roots:
        for path in sorted((ROOT / root).rglob("*")):
            if path.is_file() and "results" not in path.parts and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    return [Figure(row["name"], row["value"], row["unit"], tuple(row["bar"]) if row["bar"] else None) for row in rows]
