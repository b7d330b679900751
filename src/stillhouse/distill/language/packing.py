"""Lessons packed into rows of a given length, and rows into steps: a pure function of lengths, seed and sizes.

    steps = plan_steps(lengths, row_tokens=512, step_tokens=4096, epochs=2, seed=0)     # lists of rows, of lessons
    batch = batch_of(rows, lessons)                       # ids, positions that restart, places that predict

No lesson is split, each is in one row an epoch, and none sees another of its row: positions restart, from which
transformers makes an attention mask of blocks. Whether a model heeds them is tried out once.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stillhouse.distill.language.lessons import Lesson
from stillhouse.stock import quiet

Row = tuple[int, ...]  # numbers of the lessons in it

_TOLERANCE = 1e-3  # of logits in float32


def pack(lengths: Sequence[int], row_tokens: int, order: Sequence[int]) -> list[Row]:
    """Rows of at most ``row_tokens`` tokens, lessons in the order given into the fullest row with room (best fit).

    A lesson that is longer has a row of its own.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for lesson in order:
        need = lengths[lesson]
        at = bisect_left(room, (need, -1))
        if at < len(room):
            left, row = room.pop(at)
        else:
            left, row = max(row_tokens, need), len(rows)
            rows.append([])
        rows[row].append(lesson)
        if left > need:
            insort(room, (left - need, row))
    return [tuple(row) for row in rows]


def plan_steps(
    lengths: Sequence[int], *, row_tokens: int, step_tokens: int, epochs: float, seed: int, packed: bool = True
) -> list[list[Row]]:
    """The rows of every step of the run, in order.

    Every epoch shuffles the lessons, packs them, shuffles the rows, and takes ``step_tokens // row_tokens`` of them a
    step. Without packing each lesson is a row, neighbors are of like length, and a step holds ``step_tokens`` with the
    padding. The last epoch is cut where ``epochs`` is not whole; at least one step is left.
    """
    steps: list[list[Row]] = []
    per_epoch = 0
    for epoch in range(math.ceil(epochs)):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(lengths)).tolist()
        if packed:
            rows = pack(lengths, row_tokens, order)
            shuffled = [rows[place] for place in random.permutation(len(rows)).tolist()]
            size = max(1, step_tokens // row_tokens)
            fresh = [shuffled[at : at + size] for at in range(0, len(shuffled), size)]
        else:
            fresh = _alike(lengths, order, step_tokens)
            fresh = [fresh[place] for place in random.permutation(len(fresh)).tolist()]
        per_epoch = len(fresh)
        steps += fresh
    return steps[: max(1, round(per_epoch * (epochs - math.ceil(epochs) + 1)) + len(steps) - per_epoch)]


def _alike(lengths: Sequence[int], order: Sequence[int], step_tokens: int) -> list[list[Row]]:
    fresh: list[list[Row]] = []
    for lesson in sorted(order, key=lambda one: -lengths[one]):
        if fresh and (len(fresh[-1]) + 1) * lengths[fresh[-1][0][0]] <= step_tokens:
            fresh[-1].append((lesson,))
        else:
            fresh.append([(lesson,)])
    return fresh


@dataclass(frozen=True)
class Batch:
    """ids, positions: (B, L). places: (N,) in the flat (B·L) states, those that predict a learned token. gold: (N,)
    those tokens. lessons: whose tokens they are, in order."""

    ids: Tensor
    positions: Tensor
    places: Tensor
    gold: Tensor
    lessons: tuple[Lesson, ...]


def batch_of(rows: Sequence[Row], lessons: Sequence[Lesson]) -> Batch:
    """The rows as tensors. Padding is known by its place, never by its id, and starts a sequence of its own."""
    width = max(sum(len(lessons[number]) for number in row) for row in rows)
    ids, positions = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    places: list[int] = []
    gold: list[int] = []
    order: list[Lesson] = []
    for line, row in enumerate(rows):
        at = 0
        for number in row:
            lesson = lessons[number]
            ids[line, at : at + len(lesson)] = lesson.ids
            positions[line, at : at + len(lesson)] = np.arange(len(lesson))
            learned = lesson.places
            places += [line * width + at + place - 1 for place in learned]
            gold += [lesson.ids[place] for place in learned]
            order.append(lesson)
            at += len(lesson)
        positions[line, at:] = np.arange(width - at)
    chosen, following = (torch.tensor(one, dtype=torch.int64) for one in (places, gold))
    return Batch(torch.from_numpy(ids), torch.from_numpy(positions), chosen, following, tuple(order))


def states_of(model: Any, batch: Batch) -> Tensor:
    """Hidden states (N, H) at the places that predict learned tokens, through the model's own forward pass.

    The outermost module is called, since a wrapper around it may have to know (gradients of several processes).
    """
    device = next(model.parameters()).device
    output = model(
        input_ids=batch.ids.to(device),
        position_ids=batch.positions.to(device),
        use_cache=False,
        output_hidden_states=True,
        logits_to_keep=1,
    )
    states: Tensor = output.hidden_states[-1].flatten(0, 1)[batch.places.to(device)]
    return states


def packs(model: Any) -> tuple[bool, str]:
    """Whether lessons that share a row give what they give alone, and the reason; the trial's ids are fixed and few."""
    size = model.config.get_text_config().vocab_size
    lessons = [
        Lesson(str(number), tuple((7919 * place + number + 1) % size for place in range(length)), ((1, length),))
        for number, length in enumerate((5, 8, 3))
    ]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), quiet():
            together = states_of(model, batch_of([(0, 1), (2,)], lessons)).float()
            alone = torch.cat([states_of(model, batch_of([(one,)], lessons)) for one in range(3)]).float()
    except Exception as error:  # what a model does with positions that restart cannot be foreseen
        return False, f"one lesson a row: the model fails on packed rows with {type(error).__name__}"
    finally:
        model.train(was_training)
    off = float((together - alone).abs().max() / alone.abs().max())
    if not off <= _TOLERANCE:
        return False, f"one lesson a row: packing moves the hidden states by {off:.1g} of their size"
    return True, f"packed: as a lesson alone, to {off:.1g}"
