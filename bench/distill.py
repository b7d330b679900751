"""Distillation of language models: the cost of a step, the choice of a loss, replay, students, and the chat recipe.

All parts together take hours. ``--part`` measures one and leaves the others as ``results/distill.json`` has them.
"""

from __future__ import annotations

from pathlib import Path

from bench.parts import measured
from bench.report import Figure

PARTS: dict[str, tuple[str, str]] = {
    "step": ("distill_step", "step_figures"),
    "losses": ("distill_losses", "loss_figures"),
    "replay": ("distill_replay", "replay_figures"),
    "students": ("distill_students", "student_figures"),
    "chat": ("distill_chat", "chat_figures"),
    "chat losses": ("distill_chat", "best_loss_figures"),
}


def figures(*, quick: bool, work: Path, only: str | None = None) -> list[Figure]:
    """Every figure of distillation; the heavy parts come last."""
    return measured("distill", PARTS, quick=quick, work=work, only=only, places={"chat losses": "chat"})
