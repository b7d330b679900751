"""Quotas: the number that leaves is the number that was asked for, and no stratum pays for the others."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.distill.quotas import LIMIT, follows, quotas, select, strata_of

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=200)


@given(ROWS, st.floats(0.05, 0.9))
def test_the_share_is_kept_and_no_stratum_loses_more_than_the_limit(rows: list[tuple[str, bool]], share: float) -> None:
    strata, right = [row[0] for row in rows], np.array([row[1] for row in rows])
    plan = quotas(strata, right, share=share)
    assert np.average([plan[one] for one in strata]) == pytest.approx(share, abs=1e-6)
    assert max(plan.values()) <= LIMIT * min(plan.values()) + 1e-9


@given(ROWS, st.floats(0.05, 0.9), st.integers(0, 1000))
def test_so_many_rows_leave_as_were_asked_for_whatever_their_order(
    rows: list[tuple[str, bool]], share: float, seed: int
) -> None:
    strata, right = [row[0] for row in rows], np.array([row[1] for row in rows])
    random = np.random.default_rng(seed)
    scores, ids = random.random(len(rows)), [f"{row:03}" for row in range(len(rows))]
    plan = quotas(strata, right, share=share)
    no = np.zeros(len(rows), dtype=bool)
    leaving = select(scores, strata, plan, ids=ids, at_random=no)
    wanted = sum(plan[one] for one in strata)  # a half may be a hair below one, and rounds either way
    assert abs(leaving.sum() - wanted) <= 0.5 + 1e-9
    order = random.permutation(len(rows))
    again = select(scores[order], [strata[row] for row in order], plan, ids=[ids[row] for row in order], at_random=no)
    assert (leaving[order] == again).all()
    for name in set(strata):
        mine = np.array([one == name for one in strata])
        assert scores[mine & leaving].min(initial=2) >= scores[mine & ~leaving].max(initial=-1)


@pytest.mark.parametrize("rows", [2, 3, 4])
def test_small_strata_are_rounded_without_regard_to_their_names(rows: int) -> None:
    """Of 40 labels in 10 sources each loses its share to a row, and sources lose it give or take a few."""
    labels = np.repeat(np.arange(40), 10 * rows)
    sources = np.tile(np.repeat(np.arange(10), rows), 40)
    strata = [f"{label:02} · {source}" for label, source in zip(labels, sources, strict=True)]
    plan = dict.fromkeys(strata, 0.3)
    ids = [f"{row:04}" for row in range(len(strata))]
    gone = select(np.arange(len(strata)) % 7.0, strata, plan, ids=ids, at_random=np.zeros(len(strata), dtype=bool))
    assert gone.sum() == round(0.3 * len(strata))
    assert max(abs(gone[labels == one].sum() - 0.3 * 10 * rows) for one in range(40)) <= 1
    assert 0.2 < gone[sources < 5].mean() < 0.4


def test_whom_the_student_serves_badly_keeps_more() -> None:
    strata = ["well"] * 500 + ["badly"] * 500
    right = np.array([row % 10 != 0 for row in range(500)] + [row % 10 < 6 for row in range(500)])
    plan = quotas(strata, right, share=0.3)
    assert plan["badly"] < 0.3 < plan["well"]


def test_where_a_score_follows_a_group_chance_decides_and_not_the_score() -> None:
    random = np.random.default_rng(0)
    group: list[str | None] = ["dialect" if one else "standard" for one in random.random(1000) < 0.2]
    mine = np.array([one == "dialect" for one in group])
    scores = random.random(1000) + 0.5 * mine
    found, words = follows(scores, ["all"] * 1000, {"variety": group})
    (told,) = words  # of two groups the other is told of with it
    assert found.all() and "dialect" in told and "above" in told
    assert not follows(random.random(1000), ["all"] * 1000, {"variety": group})[0].any()
    ids = [f"{row:04}" for row in range(1000)]
    plan = quotas(["all"] * 1000, np.ones(1000, dtype=bool), share=0.3)
    by_chance = select(scores, ["all"] * 1000, plan, ids=ids, at_random=found)
    assert (by_chance == select(-scores, ["all"] * 1000, plan, ids=ids, at_random=found)).all()
    assert by_chance[mine].mean() == pytest.approx(0.3, abs=0.09)


def test_of_many_groups_none_is_taken_to_be_followed_by_chance_and_one_that_is_is_found() -> None:
    found = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        authors: list[str | None] = [f"a{one}" for one in random.integers(0, 25, 1000)]
        scores = random.random(1000)
        found += int(follows(scores, ["all"] * 1000, {"author": authors})[0].any())
        mine = np.array([one == "a7" for one in authors])
        assert follows(scores + 0.6 * mine, ["all"] * 1000, {"author": authors})[0].all()
    assert found <= 5  # of 40, at one in twenty


def test_the_time_to_look_at_groups_does_not_grow_with_their_number() -> None:
    random = np.random.default_rng(0)
    scores = random.random(20_000)

    def seconds(values: int) -> float:
        authors: list[str | None] = [f"a{one}" for one in random.integers(0, values, 20_000)]
        started = time.thread_time()
        follows(scores, ["all"] * 20_000, {"author": authors})
        return time.thread_time() - started

    seconds(2)
    assert seconds(800) < 10 * seconds(2) + 0.1


def test_groups_too_fine_to_be_strata_are_left_out_the_finest_first() -> None:
    fine: list[str | None] = [str(row) for row in range(100)]
    coarse: list[str | None] = ["x" if row % 2 else None for row in range(100)]
    strata = strata_of(["good"] * 100, ["s"] * 100, {"fine": fine, "coarse": coarse})
    assert set(strata) == {"good · s · x", "good · s · none"}
