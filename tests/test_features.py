"""Losses on what a teacher computes inside, on labels of their own, and over groups: laws of each."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

from stillhouse.distill.features import hidden_cosine, hidden_mse, relation_kl
from stillhouse.distill.losses import group_balanced, multi_label_kl
from stillhouse.errors import StillhouseError

B, L, H = 3, 7, 12
LOSSES: dict[str, Callable[..., torch.Tensor]] = {
    "mse": hidden_mse,
    "cosine": hidden_cosine,
    **{f"relations of {heads}": partial(relation_kl, heads=heads) for heads in (1, 3, 4)},
}


def states(seed: int, width: int = H, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(B, L, width, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def mask() -> torch.Tensor:
    found = torch.ones(B, L)
    found[1, 4:], found[2, 2:] = 0, 0
    return found


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_student_that_is_the_teacher_loses_nothing(name: str, dtype: Any) -> None:
    same = states(1, dtype=dtype)
    assert LOSSES[name](same, same.clone(), mask()).abs().max() < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_padding_and_batch_mates_play_no_part_and_the_gradient_is_the_values(name: str) -> None:
    loss, student, teacher = LOSSES[name], states(1), states(2)
    whole = loss(student, teacher, mask())
    assert (whole > 0).all()
    loud = student.clone()
    loud[1, 4:], loud[2, 2:] = 1e3, -1e3
    assert torch.allclose(loss(loud, teacher, mask()), whole)
    assert torch.allclose(loss(student[1:2, :4], teacher[1:2, :4], mask()[1:2, :4]), whole[1:2])
    leaf = student.requires_grad_()
    assert torch.autograd.gradcheck(lambda one: loss(one, teacher, mask()), (leaf,))
    loss(leaf, teacher, mask()).sum().backward()
    assert leaf.grad is not None and (leaf.grad[1, 4:] == 0).all() and (leaf.grad[2, 2:] == 0).all()
    assert loss(leaf.detach(), teacher, torch.zeros(B, L)).tolist() == [0.0] * B


def test_relations_compare_models_of_different_widths_and_are_blind_to_rotations() -> None:
    student, teacher = states(1, 8), states(2, 12)
    assert (relation_kl(student, teacher, mask(), heads=4) > 0).all()
    rotation, _ = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    assert relation_kl(teacher @ rotation, teacher, mask(), heads=1).abs().max() < 1e-9
    with pytest.raises(StillhouseError, match="5 heads"):
        relation_kl(student, teacher, mask(), heads=5)
    with pytest.raises(StillhouseError, match="relation_kl"):
        hidden_mse(student, teacher, mask())


def test_hidden_losses_by_hand() -> None:
    one, two = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]]), torch.tensor([[[0.0, 1.0], [6.0, 8.0]]])
    both = torch.ones(1, 2)
    assert hidden_mse(one, two, both).item() == pytest.approx((1 + 12.5) / 2)
    assert hidden_cosine(one, two, both).item() == pytest.approx(0.5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_labels_of_their_own_are_distributions_over_yes_and_no(temperature: float) -> None:
    logits = torch.tensor([[0.5, -2.0, 3.0]], dtype=torch.float64)
    assert multi_label_kl(logits, logits.sigmoid(), temperature=temperature).abs().max() < 1e-12
    target = torch.tensor([[0.9, 0.2, 0.5]], dtype=torch.float64)
    p, q = torch.sigmoid(torch.logit(target) / temperature), torch.sigmoid(logits / temperature)
    wanted = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).sum() * temperature**2
    assert multi_label_kl(logits, target, temperature=temperature).item() == pytest.approx(wanted.item())
    sure = torch.tensor([[0.0, 1.0, 1.0]])
    leaf = logits.float().requires_grad_()
    value = multi_label_kl(leaf, sure, temperature=temperature)
    value.sum().backward()
    assert value.isfinite().all() and leaf.grad is not None and leaf.grad.isfinite().all()


def test_each_group_counts_the_same() -> None:
    losses = torch.tensor([1.0, 1.0, 1.0, 5.0, 2.0, 2.0])
    groups = torch.tensor([0, 0, 0, 7, -1, -1])
    assert group_balanced(losses, groups).mean().item() == pytest.approx((1 + 5 + 2) / 3)
    assert torch.allclose(group_balanced(losses, torch.zeros(6)), losses)
    doubled = group_balanced(losses.repeat(2), groups.repeat(2))
    assert doubled.mean().item() == pytest.approx((1 + 5 + 2) / 3)
