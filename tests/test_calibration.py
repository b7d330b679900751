"""Calibration: what each method promises about the mean, on any log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.ferment.calibration import batch_bias, matched_bias, uniform_bias
from stillhouse.signals import apply_bias


def log_probs(seed: int, labels: int = 3, rows: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 2, (rows, labels)) + rng.normal(0, 2, labels)


@examples(0.2)
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_matched_calibration_gives_exactly_the_prior(seed: int, labels: int) -> None:
    prior = np.random.default_rng(seed + 1).dirichlet(np.full(labels, 5.0))
    values = log_probs(seed, labels)
    assert apply_bias(values, matched_bias(values, prior)).mean(axis=0) == pytest.approx(prior, abs=1e-6)


@given(st.integers(0, 10_000))
def test_a_preference_for_a_word_is_taken_out_entirely(seed: int) -> None:
    values = log_probs(seed)
    shifted = values + np.array([3.0, -1.0, 0.5])
    prior = np.full(3, 1 / 3)
    once = apply_bias(values, matched_bias(values, prior))
    again = apply_bias(shifted, matched_bias(shifted, prior))
    assert once == pytest.approx(again, abs=1e-6)


def test_calibration_never_changes_the_order_of_two_texts_within_a_label_pair() -> None:
    values = log_probs(0, 2)
    for bias in (matched_bias(values, np.array([0.3, 0.7])), batch_bias(values), uniform_bias(values[:3])):
        before = values[:, 1] - values[:, 0]
        after = np.log(apply_bias(values, bias))
        assert (np.argsort(before) == np.argsort(after[:, 1] - after[:, 0])).all()


def test_a_content_free_input_becomes_undecided() -> None:
    values = log_probs(3, 4, 1)
    assert apply_bias(values, uniform_bias(values))[0] == pytest.approx(np.full(4, 0.25))


@given(st.integers(0, 1000))
def test_probabilities_sum_to_one_and_ignore_a_constant(seed: int) -> None:
    values = log_probs(seed)
    probs = apply_bias(values, np.zeros(3))
    assert probs.sum(axis=1) == pytest.approx(np.ones(len(values)))
    assert probs == pytest.approx(apply_bias(values + 5.0, np.zeros(3)))
