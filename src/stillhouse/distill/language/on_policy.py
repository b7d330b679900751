"""A last stretch of training on the student's own answers, each token of which a live teacher judges.

The stretch is made of groups of steps. At the start of a group the student answers some prompts; a share of the
group's steps learn from those answers, the others from stored signals as before.

    on_policy = OnPolicy(prompts, tokenizer, signals=Live(teacher), loss=TokenLoss("skew-reverse-kl"), plan=plan, …)
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stillhouse.distill.language.lessons import Lesson, Signals
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.generation import TextGenerator


@dataclass(frozen=True)
class OnPolicyPlan:
    """steps: of the stretch. share: of them that learn from own answers. prompts: answered at a time, once in
    ``refresh`` steps. max_tokens, temperature: of the student's answers."""

    steps: int
    share: float
    prompts: int
    refresh: int
    max_tokens: int
    temperature: float
    seed: int = 0


class OnPolicy:
    """Own answers as lessons. prompts: (key, ids) of each prompt that may be drawn. stop_ids: what ends an answer."""

    def __init__(
        self,
        prompts: Sequence[tuple[str, tuple[int, ...]]],
        tokenizer: Any,
        *,
        signals: Signals,
        loss: TokenLoss,
        plan: OnPolicyPlan,
        context: int,
        stop_ids: frozenset[int],
        positions: float = 1.0,
    ) -> None:
        self.prompts, self.tokenizer, self.signals, self.loss, self.plan = prompts, tokenizer, signals, loss, plan
        self.context, self.stop_ids, self.positions = context, stop_ids, positions
        self._answered: dict[int, list[Lesson]] = {}

    def is_own(self, step: int, before: int) -> bool:
        """Whether a step of the run, from 0, learns from own answers; ``before`` steps come before the stretch.

        Own steps are spread evenly over each group, and the first of a group is one.
        """
        return step >= before and self._place(step - before) is not None

    def _place(self, step: int) -> int | None:
        """Which of its group's own steps this step of the stretch is."""
        within, own = step % self.plan.refresh, self._own_steps
        places = [round(number * self.plan.refresh / own) for number in range(own)]
        return places.index(within) if within in places else None

    @property
    def _own_steps(self) -> int:
        return max(1, min(self.plan.refresh, round(self.plan.share * self.plan.refresh)))

    def borders(self, evaluate_at: set[int], before: int, steps: int) -> set[int]:
        """Evaluations, and with them checkpoints, moved to where a group ends, so that a resumed run answers anew."""
        size = self.plan.refresh
        moved = {step: before + math.ceil((step - before) / size) * size for step in evaluate_at if step > before}
        return {min(steps, moved.get(step, step)) for step in evaluate_at}

    def lessons(self, student: Any, step: int) -> list[Lesson]:
        """What a step of the stretch learns from: its share of the answers that its group's student gave."""
        group, place = step // self.plan.refresh, self._place(step)
        assert place is not None  # noqa: S101 - asked about own steps only
        if group not in self._answered:
            self._answered = {group: self._answer(student, group)}
        return self._answered[group][place :: self._own_steps]

    def _answer(self, student: Any, group: int) -> list[Lesson]:
        """Answers of the student as it is, drawn from streams of their own; its training mode is as before."""
        random = np.random.default_rng([self.plan.seed, group])
        count = max(self._own_steps, min(self.plan.prompts, len(self.prompts)))
        drawn = random.choice(len(self.prompts), size=count, replace=len(self.prompts) < count)
        chosen = [self.prompts[place] for place in drawn.tolist()]
        sampling = Sampling(self.plan.max_tokens, temperature=self.plan.temperature, seed=self.plan.seed)
        was_training = student.training
        student.eval()
        try:
            generator = TextGenerator(student, self.tokenizer, context=self.context, stop_ids=self.stop_ids)
            keys = [f"{key}@{group}.{place}" for place, (key, _) in enumerate(chosen)]
            asks = sampling.asks(keys, [ids for _, ids in chosen])
            found: dict[str, Lesson] = {}
            for rows in generator.batches(asks, sampling, batch_tokens=4096):
                for row, made in zip(rows, generator.answer([asks[row] for row in rows], sampling), strict=True):
                    prompt = asks[row].prompt
                    whole = (*prompt, *made.ids)
                    if made.ids:
                        found[keys[row]] = Lesson(keys[row], whole, ((len(prompt), len(whole)),))
        finally:
            student.train(was_training)
        return [found[key] for key in keys if key in found]

    def describe(self) -> str:
        """All of it that changes the result, for the run's fingerprint."""
        return json.dumps([asdict(self.plan), asdict(self.loss), self.positions, [key for key, _ in self.prompts]])
