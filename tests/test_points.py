"""Cut points: what leaves, what is promised, and when nothing can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stillhouse.distill import points

SCORES = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1))


@given(SCORES, st.floats(0.01, 0.99))
def test_a_quantile_never_takes_more_than_its_share_and_never_parts_equal_scores(
    scores: np.ndarray, share: float
) -> None:
    leaves = points.quantile(scores, share).leaves(scores)
    assert leaves.sum() <= share * len(scores) + 1e-6
    assert not set(scores[leaves]) & set(scores[~leaves])
    assert not leaves.any() or scores[leaves].min() > scores[~leaves].max(initial=-math.inf)


def test_a_quantile_of_different_scores_takes_exactly_its_share() -> None:
    scores = np.random.default_rng(0).permutation(200) / 200
    assert points.quantile(scores, 0.35).leaves(scores).sum() == 70


@given(SCORES, st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_takes_a_part_of_what_a_lower_one_takes(
    scores: np.ndarray, one: float, other: float
) -> None:
    low, high = (points.at(min(one, other)).leaves(scores), points.at(max(one, other)).leaves(scores))
    assert (low | ~high).all()


@given(SCORES, st.floats(0.01, 0.99), st.data())
def test_rows_without_a_score_stay_and_others_leave_as_if_theirs_were_the_lowest(
    scores: np.ndarray, share: float, data: st.DataObject
) -> None:
    unknown = data.draw(arrays(np.bool_, len(scores)))
    point = points.quantile(np.where(unknown, np.nan, scores), share)
    leaves = point.leaves(np.where(unknown, np.nan, scores))
    assert not leaves[unknown].any() and (point.threshold is None or math.isfinite(point.threshold))
    assert (leaves == points.quantile(np.where(unknown, -1.0, scores), share).leaves(scores) & ~unknown).all()


def test_harm_among_rows_without_a_score_counts_since_they_stay() -> None:
    scores = np.linspace(0, 1, 1000)
    bad = np.zeros(1000, dtype=bool)
    scores[:200], bad[:200] = np.nan, True
    point = points.risk(scores, bad, epsilon=0.1)
    assert point.threshold is None and "no threshold can promise" in point.why


def test_a_rule_takes_what_it_applies_to_and_a_score_that_is_no_number_takes_nothing() -> None:
    assert points.hard().leaves(np.array([0.0, 1.0, np.nan, 0.0])).tolist() == [False, True, False, False]


@pytest.mark.parametrize("of", ["kept", "lost"])
def test_a_promise_of_risk_is_broken_in_no_more_than_one_draw_of_twenty(of: str) -> None:
    """Harm rises with the score; the truth is known, since the draws are from a known curve."""
    random = np.random.default_rng(1)
    grid = np.linspace(0, 1, 100_001)
    curve = 0.02 + 0.5 * grid**3
    draws, broken, cut = 600, 0, 0
    epsilon = 0.06
    for _ in range(draws):
        scores = random.random(1000)
        bad = random.random(1000) < 0.02 + 0.5 * scores**3
        point = points.risk(scores, bad, epsilon=epsilon, of=of)
        if "bound" not in point.evidence:
            continue  # nothing is promised
        stays = ~point.leaves(grid)
        cut += not stays.all()
        kept = curve[stays].mean() if stays.any() else 0.0
        broken += (kept if of == "kept" else (1 - curve)[~stays].sum() / (1 - curve).sum()) > epsilon
    assert broken / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    assert cut > draws / 2  # a promise that is kept by never cutting would be no use


def test_a_promise_that_cannot_be_right_is_seldom_made() -> None:
    """Harm is everywhere, a hair more than is promised."""
    random = np.random.default_rng(7)
    draws = 400
    made = sum(
        "bound" in points.risk(random.random(300), random.random(300) < 0.102, epsilon=0.1).evidence
        for _ in range(draws)
    )
    assert made / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)


def test_of_more_calibration_rows_a_risk_point_can_promise_more() -> None:
    random = np.random.default_rng(2)

    def kept(number: int) -> float:
        scores = random.random(number)
        point = points.risk(scores, random.random(number) < 0.3 * scores**2, epsilon=0.08)
        return 0.0 if point.threshold is None else float((scores <= point.threshold).mean())

    assert np.mean([kept(60) for _ in range(20)]) < np.mean([kept(2000) for _ in range(20)])


def test_where_all_may_stay_nothing_leaves_and_every_point_is_a_number_that_can_be_written() -> None:
    scores = np.linspace(0, 1, 200)
    point = points.risk(scores, np.zeros(200, dtype=bool), epsilon=0.05)
    assert point.threshold is None and "no row has to leave" in point.why
    everything = points.risk(scores, np.ones(200, dtype=bool) & (scores > 0), epsilon=0.97, of="lost")
    assert everything.threshold is None or math.isfinite(everything.threshold)


def test_what_cannot_be_promised_cuts_nothing_and_says_why() -> None:
    scores = np.linspace(0, 1, 30)
    point = points.risk(scores, np.ones(30, dtype=bool), epsilon=0.05)
    assert point.threshold is None and "30 calibration rows" in point.why
    assert not point.leaves(scores).any()


def test_a_mixture_is_cut_between_its_two_kinds_and_one_kind_is_refused() -> None:
    random = np.random.default_rng(3)
    low, high = random.normal(-3, 0.7, 900), random.normal(3, 0.7, 100)
    scores = 1 / (1 + np.exp(-np.concatenate([low, high])))
    point = points.mixture(scores)
    leaves = point.leaves(scores)
    assert leaves[900:].mean() > 0.98 and leaves[:900].mean() < 0.01
    alone = 1 / (1 + np.exp(-random.normal(0, 1, 1000)))
    assert points.mixture(alone).threshold is None and "not of two kinds" in points.mixture(alone).why
    assert points.mixture(np.full(50, 0.5)).threshold is None


def test_rows_of_which_a_score_says_nothing_are_no_kind_of_their_own() -> None:
    random = np.random.default_rng(4)
    some = 1 / (1 + np.exp(-random.normal(-1, 1, 300)))
    scores = np.concatenate([np.zeros(2000), some, np.full(10, np.nan)])
    assert points.mixture(scores).threshold is None and points.mixture(scores).evidence["rows"] == 300
    two = np.concatenate([some / 20, 1 - some / 20])
    assert points.mixture(np.concatenate([np.zeros(2000), two])).threshold == points.mixture(two).threshold


@given(SCORES)
def test_a_mixture_is_the_same_whatever_the_order_of_the_rows(scores: np.ndarray) -> None:
    one, other = points.mixture(scores).threshold, points.mixture(scores[::-1]).threshold
    assert (one is None) == (other is None) and (one is None or one == pytest.approx(other, abs=1e-3))
