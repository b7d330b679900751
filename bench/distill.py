"""Distillation of language models: the cost of a step, the choice of a loss, replay, students, and the chat recipe.

Each part keeps its figures in the work folder under the digest of the code and the recipes that made them. With
``--work`` a part measured on the same code is not measured again, and the report says which ones were taken from there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib import import_module
from pathlib import Path

from bench.report import Figure, timed

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


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of distillation; the heavy parts come last."""
    parts = work / f"parts-{code_digest()[:16]}{'-quick' if quick else ''}"
    parts.mkdir(exist_ok=True)
    found, reused = [], []
    for name, (module, function) in PARTS.items():
        path = parts / f"{name.replace(' ', '-')}.json"
        if path.exists():
            reused.append(name)
        else:
            place = work / name.replace(" ", "-") if name != "chat losses" else work / "chat"
            place.mkdir(exist_ok=True)
            with timed(name):
                made = part(module, function)(quick=quick, work=place)
            path.write_text(json.dumps([asdict(figure) for figure in made]), encoding="utf-8")
        found += [Figure(f"[{name}]", ""), *_read(path)]
    return [*found, Figure("parts measured earlier, on this code", ", ".join(reused) or "none")]


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


def _read(path: Path) -> list[Figure]:
    rows = json.loads(path.read_text("utf-8"))
    return [Figure(row["name"], row["value"], row["unit"], tuple(row["bar"]) if row["bar"] else None) for row in rows]
