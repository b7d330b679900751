"""The training run of a language model: which rows make which step, what each says, and how the student is measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stillhouse.distill.chunked import Head, chosen_of, head_logits, head_loss, head_of
from stillhouse.distill.language.lessons import Gold, Lesson, Signals
from stillhouse.distill.language.on_policy import OnPolicy
from stillhouse.distill.language.packing import Batch, Row, batch_of, packs, plan_steps, states_of
from stillhouse.distill.token_losses import TokenLoss, check
from stillhouse.distill.training_run import Progress, TrainingRun, no_op
from stillhouse.errors import StillhouseError
from stillhouse.stock import context_of

_MICRO_TOKENS = 2048  # tokens whose activations exist at a time


@dataclass(frozen=True)
class LanguageSettings:
    """The numbers of a run; with lessons, signals and starting weights they decide every bit of the result.

    step_tokens: of one step, prompts included. row_tokens: length of a packed row. extra_steps: after the epochs.
    positions: share of the learned tokens that count, where the student is least sure. precision: of the products.
    """

    epochs: float
    step_tokens: int
    row_tokens: int
    learning_rate: float
    warmup_share: float
    weight_decay: float
    evaluations: int
    seed: int
    positions: float = 1.0
    extra_steps: int = 0
    precision: str = "float32"

    def __post_init__(self) -> None:
        sound = {
            "epochs": self.epochs > 0,
            "step_tokens": self.step_tokens >= 1,
            "row_tokens": self.row_tokens >= 2,
            "learning_rate": self.learning_rate > 0,
            "warmup_share": 0 <= self.warmup_share <= 1,
            "weight_decay": self.weight_decay >= 0,
            "evaluations": self.evaluations >= 1,
            "positions": 0 < self.positions <= 1,
            "extra_steps": self.extra_steps >= 0,
            "precision": self.precision in ("float32", "bfloat16"),
        }
        for name, fits in sound.items():
            if not fits:
                raise StillhouseError(
                    f"{name} is {getattr(self, name)}",
                    where=f"distill.train.{name}",
                    fix="shares lie between 0 and 1, the others are above 0",
                )


@dataclass(frozen=True)
class Execution:
    """How the work is done, which changes no result beyond rounding."""

    threads: int | None = None
    use_cpu: bool = True
    checkpointing: bool = False
    report_to: tuple[str, ...] = ()
    micro_tokens: int = _MICRO_TOKENS


class LanguageRun(TrainingRun):
    """A language model on stored signals and, in a last stretch, on its own answers."""

    def __init__(
        self,
        model: Any,
        *,
        lessons: Sequence[Lesson],
        held: Sequence[Lesson],
        signals: Signals,
        held_signals: Signals,
        loss: TokenLoss,
        settings: LanguageSettings,
        execution: Execution,
        on_policy: OnPolicy | None,
        real: int | None,
        output: Path,
        save_checkpoints: bool,
        progress: Progress | None,
        world: int = 1,
    ) -> None:
        self.lessons, self.held = list(lessons), list(held)
        self.signals, self.held_signals = signals, held_signals
        self.loss, self.settings, self.execution, self.on_policy = loss, settings, execution, on_policy
        self.packed, self.packing_reason = packs(model)
        self.head = head_of(model, real=real)
        plan = plan_steps(
            [len(lesson) for lesson in self.lessons],
            row_tokens=settings.row_tokens,
            step_tokens=settings.step_tokens,
            epochs=settings.epochs,
            seed=settings.seed,
            packed=self.packed,
        )
        self.epoch_steps = len(plan)
        plan += _more(plan, settings.extra_steps)
        self.plan = plan
        self.micros = [self._micros(rows) for rows in plan]
        widest = max(map(len, self.micros))
        self.world = world
        self.accumulation = math.ceil(widest / world)
        self.tokens = [[self.lessons[one].learned for row in rows for one in row] for rows in plan]
        self.sums: dict[str, float] = {}
        self.counted, self.step_loss = 0, 0.0
        self.trainer: Any = None
        super().__init__(
            model,
            steps=len(plan),
            evaluations=settings.evaluations,
            output=output,
            save_checkpoints=save_checkpoints,
            progress=progress,
        )
        if on_policy is not None:
            self.evaluate_at = on_policy.borders(self.evaluate_at, self.epoch_steps, self.steps)

    def _micros(self, rows: Sequence[Row]) -> list[list[Row]]:
        """A step's rows in parts whose activations fit: as many as there are tokens for, at least one row each."""
        parts: list[list[Row]] = []
        for row in rows:
            longest = max(
                sum(len(self.lessons[one]) for one in other) for other in (row, *(parts[-1] if parts else ()))
            )
            if parts and (len(parts[-1]) + 1) * longest <= self.execution.micro_tokens:
                parts[-1].append(row)
            else:
                parts.append([row])
        return parts

    def make_trainer(self, *, use_cpu: bool) -> Any:
        """See :class:`TrainingRun`."""
        from stillhouse.distill.language.trainer import build

        self.trainer = build(self, use_cpu=use_cpu)
        return self.trainer

    def part_loss(self, model: Any, step: int, part: int) -> Tensor:
        """The share of step ``step``, from 0, that its part ``part`` has in the loss; parts of a step add up to it."""
        if self.on_policy is not None and self.on_policy.is_own(step, self.epoch_steps):
            lessons = self.on_policy.lessons(self.model, step - self.epoch_steps)
            rows: list[list[Row]] = [[(number,) for number in range(len(lessons))]]
            signals, loss = self.on_policy.signals, self.on_policy.loss
            learned, share = [lesson.learned for lesson in lessons], self.on_policy.positions
        else:
            lessons, rows, signals, loss = self.lessons, self.micros[step], self.signals, self.loss
            learned, share = self.tokens[step], self.settings.positions
        here = rows[part] if part < len(rows) else []
        batch = batch_of(here, lessons) if here else _nothing()
        with self.autocast():
            states = states_of(model, batch)
            target = None if not here or not loss.needs_teacher else signals.targets(batch.lessons)
            found = head_loss(
                states,
                self.head,
                target,
                batch.gold.to(states.device),
                loss if here else TokenLoss("cross-entropy"),
                share=share,
                lengths=[lesson.learned for lesson in batch.lessons],
            )
        value = found.total / max(1, sum(chosen_of(one, share) for one in learned))
        self.note_part(step, float(value.detach()), found.terms, found.positions)
        return value

    def note_part(self, step: int, value: float, terms: dict[str, float], positions: int) -> None:
        """Take in what one part of a step says; the run stops where it is not a number."""
        self.stop_unless_finite("the loss", step + 1, value)
        self.step_loss += value
        for name, total in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + total
        self.counted += positions

    def end_step(self, step: int, learning_rate: float) -> bool:
        """See :class:`TrainingRun`."""
        self.losses.append(self.step_loss)
        self.step_loss = 0.0
        return super().end_step(step, learning_rate)

    def autocast(self) -> Any:
        """Products in the settings' precision; weights and sums stay in float32."""
        return autocast_of(self.model, self.settings.precision)

    def evaluate(self, step: int, learning_rate: float) -> dict[str, float]:
        """The student on the held-out lessons: ``held_kl`` to the stored signal (up to a constant, where that holds
        draws), the share of tokens whose likeliest is the teacher's, and the loss of the answers themselves."""
        found = measure(self.model, self.head, self.held, self.held_signals, self.autocast)
        self.stop_unless_finite("the loss on the validation answers", step, sum(found.values()))
        done = min(step, self.epoch_steps)
        entry = {
            "step": step,
            "epoch": round(self.settings.epochs * done / self.epoch_steps, 4),
            "loss": float(np.mean(self.losses)),
            **{name: total / max(1, self.counted) for name, total in self.sums.items()},
            "tokens": self.counted,
            "learning_rate": learning_rate,
            **found,
        }
        self.sums, self.counted = {}, 0
        if self.execution.report_to:
            self.trainer.log(dict(entry))
        return entry

    def best(self) -> dict[str, float]:
        """The entry nearest to the teacher on the held-out lessons; among equals the earliest."""
        name = "held_kl" if "held_kl" in self.log[0] else "held_nll"
        return min(self.log, key=lambda entry: (entry[name], entry["step"]))

    def material(self) -> Iterator[bytes]:
        """Settings, lessons, and what the signals say of the first of them."""
        yield json.dumps([asdict(self.settings), asdict(self.loss), self.packed], sort_keys=True).encode()
        for lesson in (*self.lessons, *self.held):
            yield lesson.key.encode() + np.asarray(lesson.ids, np.int64).tobytes() + repr(lesson.spans).encode()
        if self.on_policy is not None:
            yield self.on_policy.describe().encode()


def autocast_of(model: Any, precision: str) -> Any:
    """Products in ``precision`` on the device of the model."""
    kind = next(model.parameters()).device.type
    return torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16")


def measure(
    model: Any, head: Head, lessons: Sequence[Lesson], signals: Signals, autocast: Callable[[], Any]
) -> dict[str, float]:
    """Means over the learned tokens of ``lessons``: held_nll and, with a teacher, held_kl and held_agreement.

    Where the teacher is stored sparsely, also the mass of each on the exact entries: teacher_mass, student_mass.
    """
    sums: dict[str, float] = {}
    for found in measure_each(model, head, lessons, signals, autocast):
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value
    return {name: value / max(1, sum(lesson.learned for lesson in lessons)) for name, value in sums.items()}


def measure_each(
    model: Any, head: Head, lessons: Sequence[Lesson], signals: Signals, autocast: Callable[[], Any]
) -> list[dict[str, float]]:
    """The same of each lesson, as sums over its learned tokens."""
    was_training = model.training
    model.eval()
    found = []
    try:
        with torch.no_grad():
            for lesson in lessons:
                batch = batch_of([(0,)], [lesson])
                with autocast():
                    logits = head_logits(states_of(model, batch), head)
                found.append(_compared(logits, batch, signals))
    finally:
        model.train(was_training)
    return found


def _compared(logits: Tensor, batch: Batch, signals: Signals) -> dict[str, float]:
    log_q = logits.log_softmax(-1)
    gold = batch.gold.to(logits.device).unsqueeze(1)
    found = {"held_nll": -float(log_q.gather(1, gold).sum())}
    if isinstance(signals, Gold):
        return found
    target = signals.targets(batch.lessons)
    target = target[0 : len(target)].to(logits.device)
    probs = target.probs.to(log_q)
    at = log_q if target.ids is None else log_q.gather(1, target.ids)
    tiny = torch.finfo(probs.dtype).tiny
    terms = probs * (probs.clamp_min(tiny).log() - at.masked_fill(probs == 0, 0.0))
    found["held_kl"] = float(terms.sum())
    likeliest = probs.argmax(1) if target.ids is None else _likeliest(target)
    found["held_agreement"] = float((log_q.argmax(1) == likeliest).sum())
    if target.ids is not None and target.tail is not None:
        found["teacher_mass"] = float((1 - target.tail).sum())
        exact = torch.arange(probs.shape[1], device=probs.device) < target.exact.unsqueeze(1)
        found["student_mass"] = float((at.exp() * (exact & (probs > 0))).sum())
    return found


def _likeliest(target: Any) -> Tensor:
    """The likeliest id of each row: it is always stored exactly, since k is at least 1."""
    exact = torch.arange(target.probs.shape[1], device=target.probs.device) < target.exact.unsqueeze(1)
    best = torch.where(exact, target.probs, -1.0).argmax(1, keepdim=True)
    chosen: Tensor = target.ids.gather(1, best).squeeze(1)
    return chosen


def _more(plan: list[list[Row]], steps: int) -> list[list[Row]]:
    """Steps for a last stretch: those of the run again, from its beginning."""
    return [plan[place % len(plan)] for place in range(steps)]


def _nothing() -> Batch:
    """A batch of one token of which nothing is learned: a process without a part of a step still takes part in it."""
    one = torch.zeros((1, 1), dtype=torch.int64)
    none = torch.zeros(0, dtype=torch.int64)
    return Batch(one, one, none, none, ())


def check_run(lessons: Sequence[Lesson], held: Sequence[Lesson], loss: TokenLoss, signals: Signals, model: Any) -> None:
    """Raise :class:`StillhouseError` for a run that cannot teach anything."""
    for name, found in (("training", lessons), ("validation", held)):
        if not any(lesson.learned for lesson in found):
            raise StillhouseError(
                f"there is nothing to learn from: the {name} documents hold no token of an answer",
                where="distill",
                fix="give rows with answers, or let the teacher answer (`ferment.answers.kind: ask`); see the cuts",
            )
    if loss.needs_teacher:
        if isinstance(signals, Gold):
            raise StillhouseError(
                f"{loss.name} needs the teacher's distributions, and there are none",
                where="distill.loss.name",
                fix="use cross-entropy, or store them: `ferment.distributions.form: sparse`",
            )
        check(loss, signals.form)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise no_op("every parameter of the student is frozen")
    context = context_of(model)
    long = [lesson for lesson in lessons if len(lesson) > context]
    if long:
        raise StillhouseError(
            f"{len(long)} lessons are longer than the {context} tokens that the student takes",
            where="distill.train.max_length",
            fix=f"set it to {context} or less",
        )
