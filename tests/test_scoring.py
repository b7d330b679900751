"""Scores are those of plain passes over whole prompts, whatever is shared, batched or kept between calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from stillhouse.teachers.local import common_prefix
from stillhouse.teachers.protocol import Questions
from stillhouse.teachers.scoring import Scorer

VOCABULARY = 50
ANSWERS = ((3,), (4, 9), (4, 8, 11), (17,))
_COMMON = {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_SIZE = {**_COMMON, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "max_position_embeddings": 64}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {**_SIZE, "num_attention_heads": 6, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "llama, one head for all": ("llama", {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 1}),
    "llama, wide heads": ("llama", {**_SIZE, "num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 16}),
    "qwen2": ("qwen2", {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 2}),
    "gpt2": ("gpt2", {**_COMMON, "n_embd": 24, "n_layer": 3, "n_head": 4, "n_positions": 64}),
    "granite": ("granite", {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 2, "logits_scaling": 3.0}),
    "mistral, all visible": (
        "mistral",
        {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": None},
    ),
    "mistral, window": ("mistral", {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 6}),
    "gemma2, soft cap": ("gemma2", {**_SIZE, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6}),
    "mamba": ("mamba", {**_COMMON, "hidden_size": 24, "num_hidden_layers": 2, "state_size": 4}),
    "bloom, own attention": ("bloom", {**_COMMON, "hidden_size": 24, "n_layer": 3, "n_head": 4}),
}
WAYS = {"mistral, window": "copied", "gemma2, soft cap": "copied", "bloom, own attention": "copied", "mamba": "anew"}


def _model(kind: str, dtype: torch.dtype = torch.float64) -> Any:
    name, size = KINDS[kind]
    return tiny_models.decoder(name, **size).to(dtype)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(kind: str) -> Any:
    return _model(kind)


@pytest.fixture(scope="module")
def scorer(model: Any) -> Scorer:
    return Scorer(model)


@pytest.fixture(scope="module")
def tolerance(kind: str) -> float:
    """What float64 leaves; some models weigh in float32 whatever they are given."""
    return {"gemma2, soft cap": 1e-5, "mamba": 1e-5}.get(kind, 1e-9)


def _naive(model: Any, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> np.ndarray:
    table = np.zeros((len(prompts), len(answers)))
    for row, prompt in enumerate(prompts):
        for column, answer in enumerate(answers):
            ids = torch.tensor([[*prompt, *answer]])
            logits = model(input_ids=ids, use_cache=False).logits[0].double().log_softmax(-1)
            table[row, column] = sum(logits[len(prompt) - 1 + place, token] for place, token in enumerate(answer))
    return table


def _prompts(prefix: int, rest: int, rows: int) -> tuple[tuple[int, ...], list[list[int]]]:
    random = np.random.default_rng([prefix, rest, rows])
    return tuple(random.integers(3, VOCABULARY, prefix).tolist()), random.integers(3, VOCABULARY, (rows, rest)).tolist()


@pytest.mark.parametrize(("prefix_length", "rest_length", "rows"), [(0, 5, 3), (1, 1, 1), (9, 1, 4), (4, 6, 3)])
def test_scores_are_those_of_whole_prompts_alone(
    scorer: Scorer, model: Any, tolerance: float, prefix_length: int, rest_length: int, rows: int
) -> None:
    prefix, rest = _prompts(prefix_length, rest_length, rows)
    prompts = [[*prefix, *ids] for ids in rest]
    for answers in (ANSWERS, ANSWERS[:1]):
        scores = scorer.score(prefix=prefix, rest=rest, answers=answers)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, _naive(model, prompts, answers), atol=tolerance)


def test_the_cheapest_way_that_is_right_is_taken(scorer: Scorer, kind: str) -> None:
    assert scorer.way == WAYS.get(kind, "shared"), scorer.why
    assert scorer.way in scorer.why or "not copied" in scorer.why


def test_the_prefix_may_change_and_come_back(scorer: Scorer) -> None:
    first, second = _prompts(5, 3, 2), _prompts(6, 4, 2)
    alone = [scorer.score(prefix=prefix, rest=rest, answers=ANSWERS) for prefix, rest in (first, second)]
    again = scorer.score(prefix=first[0], rest=first[1], answers=ANSWERS)
    np.testing.assert_array_equal(again, alone[0])
    assert np.abs(alone[1] - alone[0]).max() > 1e-3


def test_batch_mates_and_their_order_do_not_matter(scorer: Scorer, tolerance: float) -> None:
    prefix, rest = _prompts(6, 4, 5)
    together = scorer.score(prefix=prefix, rest=rest, answers=ANSWERS)
    turned = scorer.score(prefix=prefix, rest=rest[::-1], answers=ANSWERS)
    alone = [scorer.score(prefix=prefix, rest=[ids], answers=ANSWERS)[0] for ids in rest]
    np.testing.assert_allclose(turned[::-1], together, atol=tolerance)
    np.testing.assert_allclose(alone, together, atol=tolerance)


def test_where_the_prefix_ends_does_not_matter(scorer: Scorer, tolerance: float) -> None:
    prefix, rest = _prompts(6, 4, 3)
    whole = scorer.score(prefix=prefix, rest=rest, answers=ANSWERS)
    for cut in range(len(prefix)):
        longer = [[*prefix[cut:], *ids] for ids in rest]
        np.testing.assert_allclose(
            scorer.score(prefix=prefix[:cut], rest=longer, answers=ANSWERS), whole, atol=tolerance
        )


def test_the_model_is_left_as_it_was(scorer: Scorer, model: Any) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    settings = model.config._attn_implementation, torch.backends.mkldnn.enabled
    before = model(input_ids=ids).logits
    prefix, rest = _prompts(4, 2, 2)
    scorer.score(prefix=prefix, rest=rest, answers=ANSWERS)
    with pytest.raises(IndexError):
        scorer.score(prefix=prefix, rest=[[VOCABULARY]], answers=ANSWERS)
    assert (model.config._attn_implementation, torch.backends.mkldnn.enabled) == settings
    assert not model.get_output_embeddings()._forward_pre_hooks
    assert torch.equal(model(input_ids=ids).logits, before)


def test_lower_precision_costs_no_more_than_in_a_plain_pass() -> None:
    prefix, rest = _prompts(7, 5, 3)
    prompts = [[*prefix, *ids] for ids in rest]
    for dtype, floor in ((torch.float32, 1e-4), (torch.bfloat16, 0.05)):
        model = _model("llama", dtype)
        scorer = Scorer(model)
        assert scorer.way == "shared", scorer.why
        scores, plain = scorer.score(prefix=prefix, rest=rest, answers=ANSWERS), _naive(model, prompts, ANSWERS)
        exact = _naive(model.double(), prompts, ANSWERS)
        assert np.abs(scores - exact).max() <= 2 * np.abs(plain - exact).max() + floor


@given(
    st.lists(st.integers(1, 9), max_size=40),
    st.sets(st.integers(0, 39)),
    st.integers(1, 30),
)
def test_batches_hold_every_row_once(lengths: list[int], refused: set[int], limit: int) -> None:
    rest = tuple((0,) * length for length in lengths)
    questions = Questions((), rest, ((1,),), dict.fromkeys(refused, "too long"))
    batches = questions.batches(limit)
    assert sorted(row for batch in batches for row in batch) == [row for row in range(len(rest)) if row not in refused]
    for batch in batches:
        (length,) = {lengths[row] for row in batch}
        assert len(batch) == 1 or len(batch) * length <= limit  # a text that is longer alone is still asked


@given(st.lists(st.lists(st.integers(0, 2), max_size=6).map(tuple), min_size=1, max_size=6))
def test_the_common_prefix_begins_all_and_no_longer_one_does(sequences: list[tuple[int, ...]]) -> None:
    prefix = common_prefix(sequences)
    assert all(ids[: len(prefix)] == prefix for ids in sequences)
    assert len({ids[: len(prefix) + 1] for ids in sequences}) > 1 or min(map(len, sequences)) == len(prefix)


def test_nothing_shares_nothing() -> None:
    assert common_prefix([]) == ()
