"""The losses of language models: laws that hold for every loss, form and dtype, and the matrix of what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from stillhouse.distill.targets import FORMS, Target
from stillhouse.distill.token_losses import Name, TokenLoss, check, entropy, token_losses, value_and_gradient, way
from stillhouse.errors import StillhouseError
from stillhouse.ferment.sampling import sparse_rows, uniforms
from stillhouse.signals.rows import Layout, decode, encode

V, N = 40, 9
NAMES: tuple[Name, ...] = get_args(Name)
EXACT = [(name, form) for name in NAMES for form in FORMS if way(name, form) == "exact" and name != "cross-entropy"]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def logits(seed: int = 0, rows: int = N, size: int = V, scale: float = 2.0) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def gold(seed: int = 0, rows: int = N, size: int = V) -> torch.Tensor:
    return torch.randint(size, (rows,), generator=torch.Generator().manual_seed(seed + 100))


def target_of(teacher: torch.Tensor, form: str, *, k: int = 8, draw: int = 0, m: int = 12) -> Target:
    """A target that has been through the store's own coding where the form is sparse."""
    probs = teacher.softmax(-1)
    size = teacher.shape[1]
    if form == "dense":
        return Target("dense", size, probs)
    if form == "top-k":
        top, ids = probs.topk(min(k, size), dim=-1)
        exact = torch.full((len(probs),), top.shape[1])
        return Target("top-k", size, top, ids, (1 - top.sum(1)).clamp_min(0), exact)
    layout = Layout(size, 2, m, ())
    follow = gold(rows=len(teacher), size=size).numpy()
    numbers = uniforms(seed=0, draw=draw, document="a", length=len(teacher), layout=layout)
    blob = encode(sparse_rows(teacher.float(), follow, numbers, layout), layout)
    return Target.of_distributions(decode([blob], [follow], layout), form="sparse", vocabulary=size)


def gradient(student: torch.Tensor, target: Target, loss: TokenLoss, follow: torch.Tensor) -> torch.Tensor:
    leaf = student.clone().requires_grad_()
    token_losses(leaf, target, follow, loss)["loss"].sum().backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), EXACT)
def test_a_student_that_is_the_teacher_loses_nothing_and_learns_nothing(name: Name, form: str, dtype: Any) -> None:
    same = logits().to(dtype)
    target = target_of(same.float() if dtype != torch.float64 else same, form)
    loss = TokenLoss(name)
    assert token_losses(same, target, gold(), loss)["loss"].abs().max() < 2e-6
    assert gradient(same, target, loss, gold()).abs().max() < 2e-6


@pytest.mark.parametrize(("name", "form"), [(n, f) for n in NAMES for f in FORMS if way(n, f) != "refused"])
def test_gradients_are_those_of_the_value_and_sum_to_zero(name: Name, form: str) -> None:
    target, student = target_of(logits(1), form), logits(2).requires_grad_()
    target = Target(target.form, V, target.probs.double(), target.ids, *(t for t in (target.tail, target.exact)))
    loss = TokenLoss(name)
    assert torch.autograd.gradcheck(lambda z: token_losses(z, target, gold(), loss)["loss"], (student,))
    assert gradient(student.detach(), target, loss, gold()).sum(1).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "form"), EXACT)
def test_no_divergence_is_negative_and_low_precision_is_near_the_truth(name: Name, form: str, dtype: Any) -> None:
    for scale in (0.01, 1.0, 6.0):
        teacher = logits(3)
        student = (teacher + logits(4, scale=scale)).to(dtype)
        target = target_of(teacher, form)
        values = token_losses(student, target, gold(), TokenLoss(name))["loss"]
        truth = token_losses(student.double(), target, gold(), TokenLoss(name))["loss"]
        assert values.min() > -1e-6
        assert torch.allclose(values.double(), truth, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_top_k_of_the_whole_vocabulary_is_dense_and_fewer_never_say_more(name: Name) -> None:
    teacher, student = logits(5), logits(6)
    loss = TokenLoss(name)
    dense = token_losses(student, target_of(teacher, "dense"), gold(), loss)["loss"]
    whole = token_losses(student, target_of(teacher, "top-k", k=V), gold(), loss)["loss"]
    assert torch.allclose(dense, whole, atol=1e-9)
    before = torch.zeros(N, dtype=torch.float64)
    for k in (1, 3, 10, 30):
        value = token_losses(student, target_of(teacher, "top-k", k=k), gold(), loss)["loss"]
        assert (value <= dense + 1e-9).all()
        assert (value >= before - 1e-9).all()  # a finer list sees more
        before = value


@pytest.mark.parametrize("hard", [0.0, 0.4])
def test_the_mean_over_draws_is_dense_within_its_standard_error(hard: float) -> None:
    teacher, one, other = logits(7), logits(8), logits(9)
    loss, follow = TokenLoss("forward-kl", hard_weight=hard), gold()
    dense = target_of(teacher, "dense")
    wanted = gradient(one, dense, loss, follow)
    difference = token_losses(one, dense, follow, loss)["loss"] - token_losses(other, dense, follow, loss)["loss"]
    gradients, differences = [], []
    for draw in range(400):
        drawn = target_of(teacher, "sparse", draw=draw)
        gradients.append(gradient(one, drawn, loss, follow))
        values = [token_losses(student, drawn, follow, loss)["loss"] for student in (one, other)]
        differences.append(values[0] - values[1])
    for found, truth in ((torch.stack(gradients), wanted), (torch.stack(differences), difference)):
        error = found.std(0) / math.sqrt(len(found))
        if found.ndim == 3:  # an entry that no draw has hit yet has no spread to estimate its error from
            error = torch.maximum(error, (teacher.softmax(-1) / (12 * len(found))).sqrt())
        z = (found.mean(0) - truth).abs() / error.clamp_min(1e-5)
        assert z.max() < 4.5 and z.square().mean() < 1.35


@pytest.mark.parametrize(("name", "form"), [(n, f) for n in NAMES for f in FORMS if way(n, f) != "refused"])
def test_a_position_does_not_know_its_neighbours(name: Name, form: str) -> None:
    target, student, loss = target_of(logits(1), form), logits(2), TokenLoss(name)
    whole = token_losses(student, target, gold(), loss)["loss"]
    order = torch.randperm(N, generator=torch.Generator().manual_seed(1))
    mixed = token_losses(student[order], target[order], gold()[order], loss)["loss"]
    assert torch.allclose(whole[order], mixed, atol=1e-12)
    assert torch.allclose(token_losses(student[3:4], target[3:4], gold()[3:4], loss)["loss"], whole[3:4], atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cross-entropy"])
def test_temperature_keeps_the_size_of_the_gradient(name: Name) -> None:
    teacher, student = logits(1, scale=0.5), logits(2, scale=0.5)
    sizes = []
    for temperature in (1.0, 2.0, 4.0, 8.0):
        target = Target.of_logits(teacher, temperature=temperature)
        sizes.append(float(gradient(student, target, TokenLoss(name, temperature=temperature), gold()).norm()))
    assert max(sizes) < 2 * min(sizes)


def test_a_hand_computed_value() -> None:
    target = Target("dense", 3, torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64))
    student = torch.tensor([[0.25, 0.25, 0.5]], dtype=torch.float64).log() + 3.0
    follow = torch.tensor([2])
    forward = token_losses(student, target, follow, TokenLoss("forward-kl"))
    assert forward["loss"].item() == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2))
    assert forward["hard"].item() == pytest.approx(math.log(2))
    mixed = token_losses(student, target, follow, TokenLoss("forward-kl", hard_weight=0.25))
    assert mixed["loss"].item() == pytest.approx(0.75 * 0.25 * math.log(2) + 0.25 * math.log(2))
    middle = [0.375, 0.25, 0.375]
    half = sum(0.5 * p * math.log(p / m) for p, m in zip([0.5, 0.25, 0.25], middle, strict=True))
    half += sum(0.5 * q * math.log(q / m) for q, m in zip([0.25, 0.25, 0.5], middle, strict=True))
    assert token_losses(student, target, follow, TokenLoss("jsd"))["loss"].item() == pytest.approx(4 * half)


def test_the_ends_of_a_family_are_its_named_losses() -> None:
    teacher, student = logits(1), logits(2)
    target = target_of(teacher, "dense")

    def value(name: Name, alpha: float | None = None, beta: float | None = None) -> torch.Tensor:
        return token_losses(student, target, gold(), TokenLoss(name, alpha=alpha, beta=beta))["loss"]

    forward, reverse = value("forward-kl"), value("reverse-kl")
    assert torch.allclose(value("jsd", 1e-6), forward, rtol=1e-4)
    assert torch.allclose(value("jsd", 1 - 1e-6), reverse, rtol=1e-4)
    assert torch.allclose(value("skew-forward-kl", 1e-9), forward, rtol=1e-4)
    assert torch.allclose(value("skew-reverse-kl", 1e-9), reverse, rtol=1e-4)
    assert torch.allclose(value("alpha-beta", 1.0, 1e-6), forward, rtol=1e-4)
    assert torch.allclose(value("alpha-beta", 1e-6, 1.0), reverse, rtol=1e-4)
    hellinger = 4 * (1 - (teacher.softmax(-1) * student.softmax(-1)).sqrt().sum(1))
    assert torch.allclose(value("alpha-beta", 0.5, 0.5), hellinger, rtol=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "cross-entropy"])
def test_mass_outside_the_list_is_seen(name: Name) -> None:
    teacher = torch.full((1, 50), math.log(0.3 / 45), dtype=torch.float64)
    teacher[0, :5] = math.log(0.7 / 5)
    student = torch.full((1, 50), math.log(0.01 / 45), dtype=torch.float64)
    student[0, :5] = math.log(0.99 / 5)
    target = target_of(teacher, "top-k", k=5)
    assert token_losses(student, target, gold(rows=1), TokenLoss(name))["loss"].item() > 0.05
    pull = gradient(student, target, TokenLoss(name), gold(rows=1))
    assert (pull[0, :5] > 0).all() and (pull[0, 5:] < 0).all()


@pytest.mark.parametrize(("name", "form"), [(n, f) for n in NAMES for f in FORMS if way(n, f) != "refused"])
def test_padding_of_minus_infinity_and_flat_zeros_leave_everything_finite(name: Name, form: str) -> None:
    teacher, student = logits(1).float(), logits(2).float()
    teacher[:, 30:], student[:, 35:] = -torch.inf, -1e30
    target = target_of(teacher, form)
    leaf = student.requires_grad_()
    values = token_losses(leaf, target, gold(size=30), TokenLoss(name))["loss"]
    values.sum().backward()
    assert values.isfinite().all() and leaf.grad is not None and leaf.grad.isfinite().all()
    one_hot = torch.full((2, V), -200.0)  # a student that is surer than float32 can say
    one_hot[:, 0] = 200.0
    sums, pull = value_and_gradient(one_hot, target[:2], gold(size=30)[:2], TokenLoss(name), torch.ones(2))
    assert all(value.isfinite() for value in sums.values()) and pull.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("hard", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("gate", [None, 1.2])
@pytest.mark.parametrize(("name", "form"), [(n, f) for n in NAMES for f in FORMS if way(n, f) != "refused"])
def test_the_closed_form_is_the_gradient(name: Name, form: str, hard: float, gate: float | None, dtype: Any) -> None:
    if name == "cross-entropy" or (gate and not hard and "reverse" not in name):
        hard, gate = 0.0, None
    loss = TokenLoss(name, hard_weight=hard, entropy_gate=gate)
    target, student = target_of(logits(1), form), logits(2).to(dtype)
    weights = torch.tensor([0.0, 1.0, 0.5] * 3)
    wide = student.double() if dtype == torch.float64 else student.float()
    leaf = wide.clone().requires_grad_()
    terms = token_losses(leaf, target, gold(), loss)
    (terms["loss"] * weights).sum().backward()
    sums, found = value_and_gradient(student.clone(), target, gold(), loss, weights)
    for part, values in terms.items():
        assert float(sums[part]) == pytest.approx((values.detach() * weights).sum().item(), rel=1e-5, abs=1e-5)
    assert leaf.grad is not None and torch.allclose(found, leaf.grad, atol=2e-6)
    assert found[0].abs().max() == 0


def test_the_closed_form_with_a_temperature() -> None:
    loss = TokenLoss(temperature=3.0)
    target, student = Target.of_logits(logits(1), temperature=3.0), logits(2)
    sums, found = value_and_gradient(student.clone(), target, gold(), loss, torch.ones(N))
    assert torch.allclose(found, gradient(student, target, loss, gold()), atol=1e-9)
    assert float(sums["loss"]) == pytest.approx(float(token_losses(student, target, gold(), loss)["loss"].sum()))


def test_each_term_moves_the_student_in_its_own_way() -> None:
    target, student = target_of(logits(1), "dense"), logits(2)
    pulls = [gradient(student, target, TokenLoss(hard_weight=share), gold()) for share in (0.0, 0.5, 1.0)]
    assert all(pull.norm() > 0.1 for pull in pulls)
    assert torch.allclose(pulls[1], (pulls[0] + pulls[2]) / 2, atol=1e-12)
    assert (pulls[0] - pulls[2]).norm() > 0.1


def test_gates_go_by_the_entropy_of_the_teacher() -> None:
    teacher = torch.stack([torch.zeros(V), torch.nn.functional.one_hot(torch.tensor(3), V) * 20.0]).double()
    student, follow = logits(2, rows=2), torch.tensor([3, 3])
    target = target_of(teacher, "dense")
    assert torch.allclose(entropy(target), torch.tensor([math.log(V), 0.0], dtype=torch.float64), atol=1e-5)
    plain = token_losses(student, target, follow, TokenLoss())
    gated = token_losses(student, target, follow, TokenLoss(hard_weight=0.5, entropy_gate=1.0))["loss"]
    assert gated[0] == plain["loss"][0]
    assert gated[1] == pytest.approx(float((plain["soft"][1] + plain["hard"][1]) / 2))
    reverse = token_losses(student, target, follow, TokenLoss("reverse-kl"))["loss"]
    added = token_losses(student, target, follow, TokenLoss("reverse-kl", entropy_gate=1.0))["loss"]
    assert added[0] == pytest.approx(float(reverse[0] + plain["loss"][0])) and added[1] == reverse[1]
    for form in ("top-k", "sparse"):
        assert (entropy(target_of(logits(1), form)) <= entropy(target_of(logits(1), "dense")) + 1e-4).all()


@pytest.mark.parametrize("name", [name for name in NAMES if way(name, "sparse") == "refused"])
def test_what_draws_cannot_give_is_refused_with_the_way_out(name: Name) -> None:
    with pytest.raises(StillhouseError, match="top-k"):
        check(TokenLoss(name), "sparse")
    with pytest.raises(StillhouseError, match="linear"):
        token_losses(logits(1), target_of(logits(2), "sparse"), gold(), TokenLoss(name))


@pytest.mark.parametrize(
    "numbers",
    [
        {"alpha": 0.5},
        {"name": "jsd", "alpha": 0.0},
        {"name": "skew-reverse-kl", "alpha": 1.0},
        {"name": "alpha-beta", "beta": -1.0},
        {"temperature": 0.0},
        {"hard_weight": 1.5},
        {"entropy_gate": 0.8},
        {"name": "cross-entropy", "temperature": 2.0},
        {"name": "klx"},
    ],
)
def test_numbers_that_a_loss_does_not_have_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(StillhouseError, match=str(next(reversed(numbers.values())))):
        TokenLoss(**numbers)


def test_the_sum_over_a_stored_row_is_its_mass(tmp_path: object) -> None:
    target = target_of(logits(1), "sparse")
    assert np.allclose(target.probs.sum(1), 1, atol=1e-5)


def test_the_page_about_losses_has_the_matrix_that_is_kept() -> None:
    page = (Path(__file__).parents[1] / "docs" / "losses.md").read_text("utf-8")
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| `")
    ]
    assert [row[0] for row in rows] == list(NAMES)
    for name, _, *ways, _ in rows:
        assert ways == [way(name, form) for form in ("dense", "sparse", "top-k")]  # type: ignore[arg-type]
