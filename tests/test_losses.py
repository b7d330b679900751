"""The distillation losses: worked examples, their laws, and their gradients."""

from __future__ import annotations

import math

import pytest
import torch

from stillhouse.distill.losses import cross_entropy, soft_label_kl


def probabilities(rows: int, classes: int, *, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, classes, generator=generator, dtype=torch.float64).softmax(dim=-1)


def test_soft_label_kl_worked_out_by_hand() -> None:
    # p = (3/4, 1/4), q = (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2)
    logits, target = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_label_kl(logits, target, temperature=1.0).item() == pytest.approx(expected, abs=1e-12)

    # T = 2: p = (0.9, 0.1) becomes (3, 1) / 4, the square roots of 9 to 1; then four times the same sum
    target = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    assert soft_label_kl(logits, target, temperature=2.0).item() == pytest.approx(4 * expected, abs=1e-12)


def test_cross_entropy_worked_out_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, math.log(3.0)]], dtype=torch.float64)
    losses = cross_entropy(logits, torch.tensor([1, 0]))
    assert losses.tolist() == pytest.approx([math.log(4 / 3), math.log(4)], abs=1e-12)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_equal_to_the_teacher_has_no_loss_and_no_gradient(temperature: float) -> None:
    target = probabilities(6, 3, seed=1)
    logits = (target.log() + 5.0).requires_grad_()  # a shift of all logits changes nothing
    losses = soft_label_kl(logits, target, temperature=temperature)
    losses.sum().backward()
    assert losses.abs().max() < 1e-12
    assert logits.grad is not None and logits.grad.abs().max() < 1e-12


def test_the_loss_is_positive_and_its_gradient_sums_to_zero() -> None:
    target, labels = probabilities(20, 4, seed=2), torch.arange(20) % 4
    logits = probabilities(20, 4, seed=3).log().requires_grad_()
    for losses in (soft_label_kl(logits, target, temperature=3.0), cross_entropy(logits, labels)):
        assert losses.shape == (20,) and bool((losses > 0).all())
        (gradient,) = torch.autograd.grad(losses.sum(), logits)
        assert gradient.sum(dim=-1).abs().max() < 1e-12


def test_the_gradient_keeps_its_size_as_the_temperature_rises() -> None:
    target = probabilities(50, 3, seed=4)
    logits = probabilities(50, 3, seed=5).log().requires_grad_()
    sizes = []
    for temperature in (10.0, 100.0, 1000.0):
        (gradient,) = torch.autograd.grad(soft_label_kl(logits, target, temperature=temperature).sum(), logits)
        sizes.append(gradient.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.15)
    assert sizes[2] == pytest.approx(sizes[1], rel=0.02)


def test_gradients_agree_with_finite_differences() -> None:
    target, labels = probabilities(4, 3, seed=6), torch.tensor([0, 1, 2, 1])
    logits = probabilities(4, 3, seed=7).log().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_label_kl(x, target, temperature=2.0), logits)
    assert torch.autograd.gradcheck(lambda x: cross_entropy(x, labels), logits)


def test_an_example_does_not_hear_of_its_batch_mates() -> None:
    target, logits = probabilities(8, 3, seed=8), probabilities(8, 3, seed=9).log()
    together = soft_label_kl(logits, target, temperature=2.0)
    alone = [soft_label_kl(logits[i : i + 1], target[i : i + 1], temperature=2.0).item() for i in range(8)]
    assert together.tolist() == pytest.approx(alone, abs=1e-14)


def test_a_teacher_without_doubt_gives_the_cross_entropy() -> None:
    logits = torch.tensor([[0.3, -1.0, 2.0]], requires_grad=True)
    sure = soft_label_kl(logits, torch.tensor([[0.0, 0.0, 1.0]]), temperature=1.0)
    sure.sum().backward()
    assert sure.item() == pytest.approx(cross_entropy(logits, torch.tensor([2])).item(), rel=1e-6)
    assert logits.grad is not None and bool(logits.grad.isfinite().all())


@pytest.mark.parametrize(
    ("given", "lifted"),
    [(torch.float16, torch.float32), (torch.bfloat16, torch.float32), (torch.float64, torch.float64)],
)
def test_half_precision_is_lifted_and_double_is_kept(given: torch.dtype, lifted: torch.dtype) -> None:
    logits = torch.zeros(2, 2, dtype=given)
    assert soft_label_kl(logits, torch.full((2, 2), 0.5), temperature=1.0).dtype == lifted
    assert cross_entropy(logits, torch.tensor([0, 1])).dtype == lifted
