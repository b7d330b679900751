"""Documents drawn together: a slice that is one cluster has no interval, and one cluster for all is refused."""

from __future__ import annotations

import numpy as np
import pytest

from stillhouse.errors import StillhouseError
from stillhouse.finish.evaluate import Answers, slice_retention_rows
from stillhouse.finish.held_out import HeldOut, slices_of

ROWS = [{"id": str(place), "source": "ab"[place % 2], "group_author": f"a{place % 40}"} for place in range(160)]


def test_a_slice_of_the_column_that_is_drawn_together_is_left_out_and_the_others_stay() -> None:
    random = np.random.default_rng(0)
    gold = random.integers(0, 2, 160)
    one, other = (Answers(np.where(random.random(160) < share, gold, 1 - gold)) for share in (0.9, 0.8))

    def judged(clusters: list[str] | None) -> set[str]:
        settings = {"labels": 2, "margin": 0.1, "resamples": 200, "seed": 0}
        rows = slice_retention_rows("x", gold, one, other, slices_of(ROWS), clusters=clusters, **settings)  # type: ignore[arg-type]
        return {row.slice for row in rows}

    assert judged(None) == {"source=a", "source=b"}  # an author's four documents say nothing
    assert judged([row["group_author"] for row in ROWS]) == {"source=a", "source=b"}
    assert judged([row["source"] for row in ROWS]) == set()


def test_one_cluster_for_all_is_told_with_the_field_to_change() -> None:
    def held(values: list[str | None]) -> HeldOut:
        gold = np.zeros(3, dtype=np.int64)
        return HeldOut("abc", "xyz", gold, np.ones((3, 1)), {}, {"author": values}, ["en"] * 3, 0)

    with pytest.raises(StillhouseError) as found:
        held(["me", "me", "me"]).clusters("author")
    assert found.value.problems[0].where == "finish.evaluate.clusters"
    assert len(set(held([None, None, None]).clusters("author") or ())) == 3  # each stands for itself
    assert held(["me", "me", "me"]).clusters(None) is None
