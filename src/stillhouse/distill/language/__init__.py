"""Training of language models: lessons packed into rows, the loss at their learned tokens, and the run around it.

trained = train_language(model, lessons=lessons, held=held, signals=stored, loss=TokenLoss(), settings=settings,
                         output=Path("out"))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from stillhouse.distill.language.lessons import Gold, Lesson, Live, Signals, Stored
from stillhouse.distill.language.on_policy import OnPolicy, OnPolicyPlan
from stillhouse.distill.language.run import (
    Execution,
    LanguageRun,
    LanguageSettings,
    autocast_of,
    check_run,
    measure,
    measure_each,
)
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.distill.training_run import Progress, joined

__all__ = [
    "Execution",
    "Gold",
    "LanguageSettings",
    "LanguageTrained",
    "Lesson",
    "Live",
    "OnPolicy",
    "OnPolicyPlan",
    "Signals",
    "Stored",
    "autocast_of",
    "measure",
    "measure_each",
    "train_language",
]


@dataclass(frozen=True)
class LanguageTrained:
    """How a run went: its steps, the one whose weights were kept, the log's entry about it, and the whole log.

    packing: whether lessons shared rows, and why.
    """

    steps: int
    best_step: int
    best: dict[str, float]
    log: list[dict[str, float]]
    packing: str


def train_language(
    model: Any,
    *,
    lessons: Sequence[Lesson],
    held: Sequence[Lesson],
    signals: Signals,
    loss: TokenLoss,
    settings: LanguageSettings,
    output: Path,
    held_signals: Signals | None = None,
    on_policy: OnPolicy | None = None,
    real: int | None = None,
    execution: Execution | None = None,
    save_checkpoints: bool = True,
    progress: Progress | None = None,
) -> LanguageTrained:
    """Train a causal language model in place; the weights nearest to the teacher on ``held`` end up in it.

    The loss of a step is the sum over its learned tokens, divided by their number, however the step is taken apart.
    AdamW, a linear warm-up, then linearly down to zero, gradients clipped at norm 1. ``output`` receives
    ``training.jsonl`` and, with ``save_checkpoints``, ``checkpoints/``; a run that was killed is resumed by calling it
    again with the same arguments and ends with the weights it would have had.

    held_signals: of the held-out lessons, where others than ``signals``. real: outputs of the head that mean something.
    Raises :class:`StillhouseError` where there is nothing to learn, or a number is none.
    """
    execution = execution or Execution()
    check_run(lessons, held, loss, signals, model)
    before = torch.get_num_threads()
    torch.manual_seed(settings.seed)
    try:
        torch.set_num_threads(execution.threads or before)
        run = LanguageRun(
            model,
            lessons=lessons,
            held=held,
            signals=signals,
            held_signals=held_signals or signals,
            loss=loss,
            settings=settings,
            execution=execution,
            on_policy=on_policy,
            real=real,
            output=output,
            save_checkpoints=save_checkpoints,
            progress=progress,
            world=_world(),
        )
        kept = run.finish(use_cpu=execution.use_cpu)
    finally:
        torch.set_num_threads(before)
    return LanguageTrained(run.steps, int(kept["step"]), kept, run.log, run.packing_reason)


def _world() -> int:
    """Processes that share each step: those of a launcher, else one."""
    return int(torch.distributed.get_world_size()) if joined() else 1
