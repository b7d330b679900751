"""The vocabulary's matrix and the loss behind it, a chunk of positions at a time, with a backward pass of their own.

The logits of a batch (positions × vocabulary) never exist: each chunk's are made, turned into their gradient in place,
multiplied into the gradients of the hidden states and of the matrix, and dropped.

    head = head_of(student)                                       # tried out: refused where it is not all there is
    found = head_loss(hidden, head, target, gold, TokenLoss())    # hidden (N, H) from the layers below
    (found.total / tokens).backward()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import TokenLoss, check, value_and_gradient
from stillhouse.errors import StillhouseError

_CHUNK = 2**23  # logits, 32 MiB in float32: little beside the activations, and enough to make the products worth it
_ROWS = 2**13  # of the matrix, whose gradient grows so many rows at a time
_TOLERANCE = 1e-3  # of logits: far above float32 rounding, far below any real difference


@dataclass(frozen=True)
class Head:
    """How hidden states become logits: scale · (hidden @ weight.T + bias), then cap · tanh(· / cap) if there is a cap.

    weight: (V, H), often tied to the embeddings; both uses add to its gradient. real: ids that have a meaning; outputs
    beyond them are padding, take no part in the loss and get no gradient.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    cap: float | None = None
    real: int | None = None


@dataclass(frozen=True)
class HeadLoss:
    """total: the sum of the loss over the positions, with gradient. terms: sums of its parts. positions: how many
    positions it is about, after the selection."""

    total: Tensor
    terms: dict[str, float]
    positions: int


def head_of(model: Any, *, real: int | None = None) -> Head:
    """The head of a causal language model; raises :class:`StillhouseError` where it does more than a :class:`Head`."""
    layer, config = model.get_output_embeddings(), model.config
    scale = 1.0 / (getattr(config, "logits_scaling", None) or 1.0) * (getattr(config, "logit_scale", None) or 1.0)
    cap = getattr(config, "final_logit_softcapping", None)
    head = Head(layer.weight, getattr(layer, "bias", None), scale, cap, real)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ids = torch.arange(1, 9, device=layer.weight.device).remainder(layer.weight.shape[0]).unsqueeze(0)
            hidden = _body(model)(input_ids=ids, use_cache=False).last_hidden_state
            wanted = model(input_ids=ids, use_cache=False).logits.float()
            found = head_logits(hidden.flatten(0, 1), Head(head.weight, head.bias, scale, cap)).unflatten(0, (1, -1))
            off = float((found.float() - wanted).abs().max())
    finally:
        model.train(was_training)
    if not bool(wanted.isfinite().all()):
        raise StillhouseError(
            "the model's logits are not numbers (NaN or infinite)",
            where=type(model).__name__,
            fix="check its weights, or load it in float32 or bfloat16",
        )
    allowed = max(_TOLERANCE, 2 * torch.finfo(model.dtype).eps) * max(1.0, float(wanted.abs().max()))
    if not off <= allowed:
        raise StillhouseError(
            f"{type(model).__name__} changes its logits behind the head (by {off:.2g}), so that the loss cannot be"
            " computed a chunk at a time",
            where="distill.student.base",
            fix="use a student of another architecture",
        )
    return head


def _body(model: Any) -> Any:
    """The layers below the head, also of a model with low-rank updates around it."""
    return (model.get_base_model() if hasattr(model, "peft_config") else model).base_model


def head_loss(
    hidden: Tensor,  # (N, H)
    head: Head,
    target: Target | None,  # N positions; None for a loss that needs no teacher
    gold: Tensor,  # (N,)
    loss: TokenLoss,
    *,
    weights: Tensor | None = None,  # (N,)
    share: float = 1.0,
    lengths: Sequence[int] | None = None,
    chunk: int | None = None,
) -> HeadLoss:
    """The loss summed over N positions, with its gradients for ``hidden`` and the head already made.

    weights: how much each position counts, 1 if not given. share: only so many of the positions with a weight, those
    where the student's entropy is highest, are learned from; they are found before the head is run with gradients
    (Jin et al. 2026, arXiv 2602.01395). lengths: of the texts that the positions belong to, one after the other; each
    gives its own share, so that what is learned of a text does not depend on its batch mates; all one text if not
    given. chunk: positions whose logits exist at a time.

    The products are in autocast's precision where it is on; logits, loss and the matrix's gradient are in float32 or
    wider, since hundreds of small summands would be lost in bfloat16's 8 bits.
    """
    if target is None and loss.needs_teacher:
        raise ValueError(f"{loss.name} needs a target")
    if target is not None and loss.needs_teacher:
        check(loss, target.form)
    weights = torch.ones(len(hidden), device=hidden.device) if weights is None else weights
    chunk = chunk or max(1, _CHUNK // head.weight.shape[0])
    counted = weights > 0
    if share < 1:
        counted = counted & _least_sure(hidden, head, counted, share, lengths or (len(hidden),), chunk)
    if not bool(counted.all()):
        hidden, gold, weights = hidden[counted], gold[counted], weights[counted]
        target = None if target is None else target[counted]
    total, *parts = _HeadLoss.apply(hidden, head.weight, head.bias, head, target, gold, loss, weights, chunk)
    return HeadLoss(total, dict(zip(("soft", "hard"), map(float, parts), strict=True)), len(hidden))


class _HeadLoss(torch.autograd.Function):
    """Makes the gradients in its forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        head: Head,
        target: Target | None,
        gold: Tensor,
        loss: TokenLoss,
        weights: Tensor,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        precision = _precision(hidden)
        matrix = (weight if head.real is None else weight[: head.real]).to(precision)
        offset = None if bias is None else (bias if head.real is None else bias[: head.real])
        wide = torch.float64 if precision == torch.float64 else torch.float32
        sums = torch.zeros(3, dtype=torch.float64, device=hidden.device)
        of_hidden = torch.empty_like(hidden)
        of_matrix = torch.zeros(weight.shape, dtype=wide, device=weight.device)
        of_bias = None if bias is None else torch.zeros(bias.shape, dtype=wide, device=bias.device)
        rows_of_matrix = of_matrix[: len(matrix)]
        for start in range(0, len(hidden), chunk):
            here = slice(start, start + chunk)
            states = hidden[here].to(precision)
            logits = _capped((states @ matrix.T).to(wide), offset, head)
            slope = None if head.cap is None else 1 - (logits / head.cap) ** 2
            part = target[here] if target is not None else _no_target(len(states), len(matrix), logits)
            found, gradient = value_and_gradient(logits, part, gold[here], loss, weights[here])
            sums += torch.stack([found["loss"], found["soft"], found["hard"]]).to(sums)
            if slope is not None:
                gradient = gradient * slope
            if of_bias is not None:
                of_bias[: len(matrix)] += head.scale * gradient.sum(0)
            narrow = (gradient.mul_(head.scale) if head.scale != 1 else gradient).to(precision)
            of_hidden[here] = narrow @ matrix
            if precision == wide:
                rows_of_matrix.addmm_(narrow.T, states)
                continue
            for first in range(0, len(matrix), _ROWS):  # a sum of two precisions takes room for a copy in the wider one
                rows_of_matrix[first : first + _ROWS] += narrow[:, first : first + _ROWS].T @ states
        ctx.save_for_backward(of_hidden, of_matrix, of_bias)
        ctx.weight_dtype = weight.dtype
        total, soft, hard = sums[0].to(wide), sums[1].clone(), sums[2].clone()
        ctx.mark_non_differentiable(soft, hard)
        return total, soft, hard

    @staticmethod
    def backward(ctx: Any, *outside: Tensor) -> tuple[Tensor | None, ...]:
        of_hidden, of_matrix, of_bias = ctx.saved_tensors
        scale = outside[0]
        # in place: the activations are all still there, and a copy would be what the memory has to be large enough for
        return (
            of_hidden.mul_(scale.to(of_hidden)),
            of_matrix.mul_(scale).to(ctx.weight_dtype) if ctx.needs_input_grad[1] else None,
            None if of_bias is None else (of_bias * scale).to(ctx.weight_dtype),
            *[None] * 6,
        )


def _precision(hidden: Tensor) -> torch.dtype:
    kind = hidden.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype


def _capped(logits: Tensor, bias: Tensor | None, head: Head) -> Tensor:
    """Logits as the model would give them, from the bare products."""
    if bias is not None:
        logits = logits + bias
    if head.scale != 1:
        logits = logits * head.scale
    return logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)


def head_logits(hidden: Tensor, head: Head) -> Tensor:
    """(N, V) in float32 or wider, without gradient."""
    precision = _precision(hidden)
    products = hidden.to(precision) @ head.weight[: head.real].to(precision).T
    wide = products if products.element_size() > 4 else products.float()
    return _capped(wide, None if head.bias is None else head.bias[: head.real], head)


def _no_target(rows: int, vocabulary: int, like: Tensor) -> Target:
    """Stands in where only the token that follows counts."""
    nothing = like.new_zeros(rows, 0)
    return Target("sparse", vocabulary, nothing, nothing.long(), like.new_ones(rows), like.new_zeros(rows).long())


def chosen_of(counted: int, share: float) -> int:
    """How many of a text's counted positions are learned from: at least one where there is any."""
    return min(counted, max(1, round(share * counted)))


def _least_sure(
    hidden: Tensor, head: Head, counted: Tensor, share: float, lengths: Sequence[int], chunk: int
) -> Tensor:
    """A mask (N,) of the ``share`` of each text's counted positions where the student's entropy is highest; draws go
    to the earlier position."""
    hidden, head = hidden.detach(), replace(head, weight=head.weight.detach())
    entropies = torch.full((len(hidden),), -torch.inf, device=hidden.device)
    for places in counted.nonzero().squeeze(1).split(chunk):
        log_q = head_logits(hidden[places], head).log_softmax(-1)
        entropies[places] = -(log_q.exp() * log_q).nan_to_num().sum(1).to(entropies)
    chosen, at = torch.zeros_like(counted), 0
    for length in lengths:
        here = slice(at, at + length)
        kept = chosen_of(int(counted[here].sum()), share)
        chosen[at + entropies[here].sort(descending=True, stable=True).indices[:kept]] = True
        at += length
    return chosen
