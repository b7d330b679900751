"""The chunked head: the same loss and gradients as with all logits at once, whatever the chunk, head and loss."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch

import tiny_models
from stillhouse.distill.chunked import Head, chosen_of, head_loss, head_of
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import Name, TokenLoss, token_losses
from stillhouse.errors import StillhouseError

N, H, V = 23, 12, 37
NAMES: tuple[Name, ...] = get_args(Name)
HEADS: dict[str, dict[str, Any]] = {
    "plain": {},
    "scaled": {"scale": 0.3},
    "capped": {"cap": 4.0},
    "both": {"scale": 2.0, "cap": 5.0},
    "padded": {"real": 30},
}


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def setup(dtype: torch.dtype, head: dict[str, Any], *, bias: bool = False) -> tuple[torch.Tensor, Head, Any]:
    hidden = random(N, H, seed=1, dtype=dtype).requires_grad_()
    weight = random(V, H, seed=2, dtype=dtype).requires_grad_()
    offset = random(V, seed=3, dtype=dtype).requires_grad_() if bias else None
    size = head.get("real") or V
    target = Target("dense", size, random(N, size, seed=4).softmax(-1).to(dtype))
    gold = torch.randint(size, (N,), generator=torch.Generator().manual_seed(5))
    return hidden, Head(weight, offset, **head), (target, gold)


def plain(hidden: torch.Tensor, head: Head, target: Target, gold: torch.Tensor, loss: TokenLoss) -> torch.Tensor:
    logits = hidden @ head.weight.T
    logits = (logits if head.bias is None else logits + head.bias) * head.scale
    logits = logits if head.cap is None else head.cap * torch.tanh(logits / head.cap)
    return token_losses(logits[:, : head.real], target, gold, loss)["loss"]


@pytest.mark.parametrize("chunk", [1, 7, 512, None])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("bias", [False, True])
def test_a_chunk_changes_nothing(name: Name, chunk: int | None, head: str, bias: bool) -> None:
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        loss = TokenLoss(name, hard_weight=0.0 if name == "cross-entropy" else 0.25)
        weights = torch.linspace(0.1, 1, N, dtype=dtype)
        hidden, made, (target, gold) = setup(dtype, HEADS[head], bias=bias)
        leaves = [leaf for leaf in (hidden, made.weight, made.bias) if leaf is not None]
        (plain(hidden, made, target, gold, loss) * weights).sum().backward()
        wanted = [leaf.grad.clone() for leaf in leaves if leaf.grad is not None]
        value = (plain(hidden, made, target, gold, loss) * weights).sum().item()
        for leaf in leaves:
            leaf.grad = None
        found = head_loss(hidden, made, target, gold, loss, weights=weights, chunk=chunk)
        (3.0 * found.total).backward()
        assert found.total.item() == pytest.approx(value, rel=tolerance, abs=tolerance)
        for leaf, gradient in zip(leaves, wanted, strict=True):
            assert leaf.grad is not None and torch.allclose(leaf.grad, 3.0 * gradient, atol=60 * tolerance)


def test_positions_without_weight_and_padded_ids_play_no_part() -> None:
    hidden, head, (target, gold) = setup(torch.float64, {"real": 30})
    weights = torch.ones(N, dtype=torch.float64)
    weights[::3] = 0
    head_loss(hidden, head, target, gold, TokenLoss(), weights=weights).total.backward()
    assert hidden.grad is not None and head.weight.grad is not None
    assert (hidden.grad[::3] == 0).all() and (hidden.grad[1::3].abs().sum(1) > 0).all()
    assert (head.weight.grad[30:] == 0).all()
    loud = head.weight.detach().clone()
    loud[30:] = 1e3
    louder = head_loss(hidden, Head(loud, real=30), target, gold, TokenLoss(), weights=weights)
    quiet = head_loss(hidden, head, target, gold, TokenLoss(), weights=weights)
    assert louder.total.item() == quiet.total.item()


def test_nothing_to_learn_from_is_a_zero_and_no_nan() -> None:
    hidden, head, (target, gold) = setup(torch.float64, {})
    found = head_loss(hidden, head, target, gold, TokenLoss(), weights=torch.zeros(N, dtype=torch.float64))
    found.total.backward()
    assert found.positions == 0 and found.total.item() == 0.0
    assert hidden.grad is not None and (hidden.grad == 0).all()


@pytest.mark.parametrize("chunk", [4, None])
def test_the_selection_takes_the_positions_where_the_student_is_least_sure(chunk: int | None) -> None:
    hidden, head, (target, gold) = setup(torch.float64, {})
    weights = torch.ones(N, dtype=torch.float64)
    weights[:5] = 0
    log_q = (hidden @ head.weight.T).log_softmax(-1).detach()
    entropy = -(log_q.exp() * log_q).sum(1)
    entropy[:5] = -1
    wanted = set(entropy.topk(9).indices.tolist())
    found = head_loss(hidden, head, target, gold, TokenLoss(), weights=weights, share=0.5, chunk=chunk)
    found.total.backward()
    assert hidden.grad is not None
    assert found.positions == 9
    assert set((hidden.grad.abs().sum(1) > 0).nonzero().squeeze(1).tolist()) == wanted


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_each_text_gives_its_own_share_whatever_its_batch_mates(share: float) -> None:
    hidden, head, (target, gold) = setup(torch.float64, {})
    lengths, at, apart, positions = (4, 1, N - 5), 0, 0.0, 0
    for length in lengths:
        part = slice(at, at + length)
        alone = head_loss(hidden[part], head, target[part], gold[part], TokenLoss(), share=share)
        apart, positions, at = apart + alone.total.item(), positions + alone.positions, at + length
    together = head_loss(hidden, head, target, gold, TokenLoss(), share=share, lengths=lengths)
    assert together.positions == positions == sum(chosen_of(length, share) for length in lengths) < N
    assert together.total.item() == pytest.approx(apart, rel=1e-12)


def test_under_autocast_the_gradients_are_near_those_in_full_precision() -> None:
    hidden, head, (target, gold) = setup(torch.float32, {})
    head_loss(hidden, head, target, gold, TokenLoss()).total.backward()
    assert hidden.grad is not None and head.weight.grad is not None
    wanted = hidden.grad.clone(), head.weight.grad.clone()
    hidden.grad = head.weight.grad = None
    with torch.autocast("cpu", torch.bfloat16):
        head_loss(hidden, head, target, gold, TokenLoss(), chunk=5).total.backward()
    for found, truth in zip((hidden.grad, head.weight.grad), wanted, strict=True):
        assert found is not None and found.dtype == torch.float32
        assert (found - truth).norm() < 0.02 * truth.norm()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2}),
        ("gemma2", {"head_dim": 8, "final_logit_softcapping": 3.0}),
        ("granite", {"logits_scaling": 4.0}),
        ("cohere", {"logit_scale": 0.25}),
    ],
)
def test_the_head_of_a_model_gives_its_logits_and_its_gradients(kind: str, settings: dict[str, Any]) -> None:
    sizes = {} if kind == "gpt2" else {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {} if kind == "gpt2" else {"num_attention_heads": 2, "num_key_value_heads": 2}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    model = tiny_models.decoder(kind, vocab_size=V, **sizes, **heads, **settings, **special).requires_grad_()
    ids = torch.arange(N).remainder(V).unsqueeze(0)
    target = Target("dense", V, random(N, V, seed=4, dtype=torch.float32).softmax(-1))
    gold = torch.arange(N).remainder(V)
    token_losses(model(input_ids=ids).logits[0], target, gold, TokenLoss())["loss"].sum().backward()
    wanted = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    model.zero_grad()
    hidden = model.base_model(input_ids=ids).last_hidden_state[0]
    head_loss(hidden, head_of(model), target, gold, TokenLoss(), chunk=6).total.backward()
    for name, one in model.named_parameters():
        if name in wanted:
            assert one.grad is not None and torch.allclose(one.grad, wanted[name], atol=2e-4, rtol=1e-3), name


def test_a_model_that_does_more_behind_its_head_is_refused() -> None:
    model = tiny_models.decoder("llama", vocab_size=V, hidden_size=16, intermediate_size=24, num_attention_heads=2)
    model.get_output_embeddings().register_forward_hook(lambda _, inputs, output: output + 1.0)
    with pytest.raises(StillhouseError, match="behind the head"):
        head_of(model)
