"""Matching what a teacher computes inside: hidden states, and the relations between tokens that its attention makes.

    loss = hidden_mse(student_states, teacher_states, mask)                   # (B,), equal widths
    loss = relation_kl(student_queries, teacher_queries, mask, heads=12)      # (B,), widths may differ

One number per example, summed over its tokens and divided by their number; padding plays no part. Arithmetic is in
float32, or float64 where it is given. No gradient reaches the teacher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillhouse.errors import StillhouseError

if TYPE_CHECKING:
    from torch import Tensor


def hidden_mse(
    student: Tensor,  # (B, L, H)
    teacher: Tensor,  # (B, L, H)
    mask: Tensor,  # (B, L), 1 where a token counts
) -> Tensor:  # (B,)
    """Mean squared difference of hidden states, over the width and the tokens that count.

    Source: Jiao et al. 2020 (TinyBERT), arXiv 1909.10351, eq. 8, for equal widths.
    """
    one, two = _pair(student, teacher)
    return _mean((one - two).square().mean(-1), mask)


def hidden_cosine(
    student: Tensor,  # (B, L, H)
    teacher: Tensor,  # (B, L, H)
    mask: Tensor,  # (B, L)
) -> Tensor:  # (B,)
    """1 - cosine of hidden states, over the tokens that count; between 0 and 2, whatever their size.

    Source: Sanh et al. 2019 (DistilBERT), arXiv 1910.01108, section 3.
    """
    import torch

    one, two = _pair(student, teacher)
    return _mean(1 - torch.nn.functional.cosine_similarity(one, two, dim=-1), mask)


def relation_kl(
    student: Tensor,  # (B, L, H_s), queries, keys or values of one layer
    teacher: Tensor,  # (B, L, H_t), the same of the teacher
    mask: Tensor,  # (B, L)
    *,
    heads: int,
) -> Tensor:  # (B,)
    """KL between how tokens relate to each other, in nats per token and head.

    Vectors are split anew into ``heads`` heads; a token's relations are the softmax of its scaled products with all
    tokens that count. Widths, and the models' own numbers of heads, may differ. Raises :class:`StillhouseError` where
    ``heads`` does not divide both widths.

    Source: Wang et al. 2021 (MiniLMv2), arXiv 2012.15828, section 3.1.
    """
    for name, width in (("student", student.shape[-1]), ("teacher", teacher.shape[-1])):
        if width % heads:
            raise StillhouseError(
                f"{heads} heads do not divide the {name}'s width of {width}",
                where="the number of relation heads",
                fix="choose a common divisor of both widths",
            )
    log_q, log_p = (_relations(one, mask, heads) for one in (student, teacher.detach()))
    p = log_p.exp()
    each = (p * (log_p - log_q).masked_fill(p == 0, 0.0)).sum(-1).mean(1)  # (B, L)
    return _mean(each, mask)


def _relations(vectors: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Log-probabilities (B, heads, L, L) of each token's relations to those that count."""
    import torch

    wide = _widen(vectors)
    split = wide.unflatten(-1, (heads, -1)).transpose(1, 2)  # (B, heads, L, H / heads)
    products = split @ split.transpose(-1, -2) / split.shape[-1] ** 0.5
    away = torch.finfo(products.dtype).min
    return products.masked_fill(mask[:, None, None, :] == 0, away).log_softmax(-1)


def _pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if student.shape != teacher.shape:
        raise StillhouseError(
            f"the student's states have shape {tuple(student.shape)}, the teacher's {tuple(teacher.shape)}",
            where="the layers that are matched",
            fix="match layers of one width, or their relations (`relation_kl`)",
        )
    one = _widen(student)
    return one, _widen(teacher.detach()).to(one)


def _mean(each: Tensor, mask: Tensor) -> Tensor:
    """Means (B,) of (B, L) over the tokens that count; 0 where none does."""
    counted = mask.to(each)
    return (each.masked_fill(mask == 0, 0.0) * counted).sum(-1) / counted.sum(-1).clamp_min(1)


def _widen(values: Tensor) -> Tensor:
    return values if values.element_size() > 4 else values.float()
