"""Vocabularies of teacher and student: padded heads are aligned, swapped ids refused, fewer tokens read as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

import tiny_chat
from stillhouse.distill.chunked import Head, head_loss
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import TokenLoss
from stillhouse.distill.vocabularies import Vocabularies, agree
from stillhouse.errors import StillhouseError
from tiny_world import language_tokenizer

WORDS = tiny_chat.tokenizer()
REAL = len(WORDS)
N = 6


def changed(change: Any) -> PreTrainedTokenizerFast:
    rules = json.loads(WORDS.backend_tokenizer.to_str())
    change(rules)
    made = Tokenizer.from_str(json.dumps(rules))
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>", pad_token="<|im_end|>")


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def target(size: int, form: str, seed: int = 1) -> Target:
    """A teacher's rows over ``size`` outputs, with some mass on those that mean nothing."""
    probs = random(N, size, seed=seed).softmax(-1)
    if form == "dense":
        return Target("dense", size, probs)
    top, ids = probs.topk(40, dim=-1)
    exact = torch.full((N,), 40)
    rest = (1 - top.sum(1)).clamp_min(0)
    if form == "top-k":
        return Target("top-k", size, top, ids, rest, exact)
    return Target("sparse", size, top / top.sum(1, keepdim=True), ids, torch.zeros(N), exact)


@pytest.mark.parametrize("form", ["dense", "top-k", "sparse"])
@pytest.mark.parametrize(("teacher", "student"), [(REAL + 12, REAL + 28), (REAL + 28, REAL + 12), (REAL, REAL + 12)])
def test_heads_of_other_sizes_are_compared_on_the_tokens_that_both_have(teacher: int, student: int, form: Any) -> None:
    found = agree(WORDS, teacher, WORDS, student)
    assert found.real == REAL and str(REAL) in found.words
    mine = found.of_student(target(teacher, form))
    assert mine.vocabulary == REAL
    if mine.ids is not None:
        assert (mine.ids < REAL).all()
    hidden, weight = random(N, 8, seed=2), random(student, 8, seed=3)
    gold = torch.arange(N)
    quiet = head_loss(hidden, Head(weight, real=found.head_real), mine, gold, TokenLoss()).total
    loud = weight.clone()
    loud[REAL:] = 1e3
    assert head_loss(hidden, Head(loud, real=found.head_real), mine, gold, TokenLoss()).total == quiet
    mass = mine.probs.sum(1) + (mine.tail if form == "top-k" else 0.0)
    assert torch.allclose(mass, torch.ones(N, dtype=torch.float64))


def test_equal_heads_change_nothing() -> None:
    found = agree(WORDS, REAL + 4, WORDS, REAL + 4)
    given = target(REAL + 4, "dense")
    assert found.same and found.head_real is None and found.of_student(given) is given


def swap(rules: dict[str, Any]) -> None:
    vocabulary = rules["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def other_merges(rules: dict[str, Any]) -> None:
    rules["model"]["merges"].reverse()


@pytest.mark.parametrize(
    ("student", "told"),
    [
        (changed(swap), "id .* is 'a' for the teacher and 'b' for the student"),
        (changed(other_merges), "different rules"),
        (language_tokenizer(), "different tokens"),
    ],
)
def test_what_cannot_be_compared_is_refused_and_the_way_out_is_named(student: Any, told: str) -> None:
    with pytest.raises(StillhouseError, match=told) as caught:
        agree(WORDS, 400, student, 400)
    assert "cross-entropy" in caught.value.problems[0].fix


def test_a_head_smaller_than_its_tokenizer_is_refused() -> None:
    with pytest.raises(StillhouseError, match=f"up to {REAL - 1}"):
        agree(WORDS, REAL - 1, WORDS, REAL)


@pytest.mark.parametrize("form", ["dense", "top-k", "sparse"])
def test_fewer_tokens_are_read_as_the_same_tokens_of_the_teacher(form: Any) -> None:
    kept = tuple(range(1, REAL, 2))
    found = Vocabularies(REAL, len(kept), len(kept), kept)
    whole = target(REAL, form)
    mine = found.of_student(whole)
    assert mine.vocabulary == len(kept)
    if form == "dense":
        wanted = whole.probs[:, list(kept)]
        assert torch.allclose(mine.probs, wanted / wanted.sum(1, keepdim=True))
        return
    assert whole.ids is not None and mine.ids is not None
    known = torch.isin(whole.ids, torch.tensor(kept))
    assert (mine.probs[~known] == 0).all()
    assert torch.tensor(kept)[mine.ids][known].equal(whole.ids[known])
    if form == "top-k":
        assert mine.tail is not None and torch.allclose(mine.probs.sum(1) + mine.tail, torch.ones(N).double())
