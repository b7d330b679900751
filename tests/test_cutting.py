"""Head, heart and tail: every row is one of them, and a cut that does not pay stays off."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import numpy as np
import pytest

from stillhouse.distill.cut_step import Calibration, head_cut, judged_groups
from stillhouse.distill.cutting import Decision, HeadCut, Rows, TailCut, decide
from stillhouse.distill.pilot import pilot
from stillhouse.distill.points import Point, at, hard, quantile, risk
from stillhouse.distill.prices import price_list
from stillhouse.distill.probe import out_of_fold
from stillhouse.distill.proxies_classification import Proving
from stillhouse.distill.quotas import strata_of
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import ease, label_doubt
from stillhouse.errors import StillhouseError
from stillhouse.recipe.cuts import Head, Risk

N = 2000


class World:
    """Rows of two classes in a plane of their own, one group of which is rarer; some labels are turned."""

    def __init__(self, *, turned: float = 0.0, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.features = random.normal(size=(N, 8)).astype(np.float32)
        self.group: list[str | None] = ["rare" if one else "usual" for one in random.random(N) < 0.3]
        logit = 2.5 * self.features[:, 0] + self.features[:, 1] * np.array([one == "rare" for one in self.group])
        right = 1 / (1 + np.exp(-logit))
        self.turned = random.random(N) < turned
        p = np.where(self.turned, 1 - right, right)
        self.taught = np.stack([1 - p, p], 1)
        self.ids = [f"{row:032x}" for row in range(N)]
        self.folds = np.arange(N) % 5
        self.classes = ["no" if one < 0.5 else "yes" for one in p]
        groups = {
            "label no": np.array([one == "no" for one in self.classes]),
            "group rare": np.array([one == "rare" for one in self.group]),
        }
        self.proving = Proving(self.features, self.taught, self.folds, groups, np.ones(N, dtype=bool))
        self.predicted = out_of_fold(self.features, self.taught, self.folds)

    def one_sided(self) -> np.ndarray:
        """High for rows that are barely of the label yes: whoever is not taught them draws the border elsewhere."""
        p = self.taught[:, 1]
        return np.where(p > 0.5, 1.5 - p, 0.5 - np.abs(p - 0.5) / 2)

    def decide(self, *heads: HeadCut, tail: TailCut | None = None, quotas: bool = True, **more: Any) -> Decision:
        sources = ["s"] * N
        groups = {"group": self.group}
        return decide(
            Rows(self.ids, self.classes, sources, groups, strata_of(self.classes, sources, groups) if quotas else None),
            self.proving,
            heads=heads,
            tail=tail or TailCut(np.zeros(N), "easy", 0.0),
            **{"margin": 0.005, "group_margin": 0.02, **more},
        )


def rule(*rows: int) -> np.ndarray:
    scores = np.zeros(N)
    scores[list(rows)] = 1
    return scores


@pytest.mark.parametrize("share", [0.0, 0.1, 0.35, 0.8])
@pytest.mark.parametrize("quotas", [True, False])
def test_every_row_is_head_heart_or_tail_and_the_tail_has_its_share_of_what_the_heads_left(
    share: float, quotas: bool
) -> None:
    world = World(turned=0.1)
    doubt = label_doubt(world.taught, world.predicted)
    found = world.decide(
        HeadCut("rule", rule(1, 2, 3), hard(), proven=False),
        HeadCut("doubt", doubt, at(0.5), proven=False),
        tail=TailCut(ease(world.taught, world.predicted), "easy", share),
        quotas=quotas,
    )
    kinds = [one.cut if one else "heart" for one in found.fate]
    heads = kinds.count("head")
    assert heads == len({1, 2, 3} | set(np.nonzero(doubt > 0.5)[0]))
    assert kinds.count("tail") == round(share * (N - heads))
    assert heads + kinds.count("tail") + found.heart.sum() == N


def test_a_row_leaves_by_the_first_head_that_takes_it_and_only_once() -> None:
    found = World().decide(
        HeadCut("one", rule(5, 6), hard(), proven=False), HeadCut("two", rule(6, 7), hard(), proven=False)
    )
    assert {row: one.reason for row, one in enumerate(found.fate) if one} == {5: "one", 6: "one", 7: "two"}


def test_a_cut_that_costs_the_proxy_is_left_off_and_says_so_and_one_by_hand_is_not() -> None:
    world = World()
    needed = world.one_sided()
    harmful = HeadCut("harmful", needed, Point("risk", 0.55, "chosen"), proven=True)
    found = world.decide(harmful)
    assert found.heart.all() and "does not pay" in found.heads["harmful"].why
    by_hand = world.decide(HeadCut("harmful", needed, at(0.55), proven=False))
    assert not by_hand.heart.all()


def test_a_promise_that_has_to_hold_stops_the_run_where_its_cut_would_be_left_off() -> None:
    world = World()
    harmful = HeadCut("harmful", world.one_sided(), Point("risk", 0.55, "chosen"), proven=True, firm=True)
    with pytest.raises(StillhouseError, match=r"harmful.*does not pay.*nothing is promised"):
        world.decide(harmful)
    assert not world.decide(harmful, margin=0.5, group_margin=0.5).heart.all()


@pytest.mark.parametrize(
    ("of", "unmet", "firm"), [("kept", "stop", True), ("kept", "keep", False), ("lost", "stop", False)]
)
def test_a_promise_about_rows_that_leave_is_kept_by_cutting_nothing(of: Any, unmet: Any, firm: bool) -> None:
    point = Risk(of=of, unmet=unmet, epsilon=0.5)
    head = Head(score="label-doubt", point=point)
    scored = Scored(("a",) * 100, ("train",) * 100, np.zeros((100, 0)), {"label-doubt": np.linspace(0, 1, 100)})
    calibration = Calibration(scored, np.arange(100) > 80, np.ones(100, dtype=bool), {})
    assert head_cut(head, point, 0, scored, calibration, proven=True).firm is firm


def test_taking_turned_labels_out_pays_and_is_done() -> None:
    world = World(turned=0.2, seed=5)
    doubt = label_doubt(world.taught, world.predicted)
    found = world.decide(HeadCut("doubt", doubt, Point("risk", float(np.quantile(doubt, 0.85)), "chosen"), proven=True))
    gone = ~found.heart
    assert gone.sum() > 50 and world.turned[gone].mean() > 0.7
    none, everything = found.prices[0], found.prices[1]
    assert none.cuts == "none" and everything.cuts == "all" and everything.rows == N - gone.sum()


def test_a_promise_about_kept_rows_that_the_tail_makes_weaker_says_what_is_left_of_it() -> None:
    world = World(turned=0.1, seed=3)
    doubt, easy = label_doubt(world.taught, world.predicted), ease(world.taught, world.predicted)
    head = HeadCut("doubt", doubt, risk(doubt, world.turned, epsilon=0.05), proven=False)
    alone = world.decide(head)
    assert world.turned[alone.heart].mean() <= 0.05 and not any("promises" in note for note in alone.notes)
    found = world.decide(head, tail=TailCut(easy, "easy", 0.8), quotas=False)
    (note,) = [note for note in found.notes if "promises" in note]
    harmful, kept = float(world.turned[found.heart].mean()), int(alone.heart.sum())
    allowed = 0.05 * kept / int(found.heart.sum())
    assert 0.05 < harmful <= allowed and f"{allowed:.1%}" in note and f"{kept:,} rows" in note


def test_a_rule_that_takes_most_of_a_class_is_refused() -> None:
    world = World()
    scores = np.array([1.0 if one == "yes" and row % 4 else 0.0 for row, one in enumerate(world.classes)])
    with pytest.raises(StillhouseError, match="labelled 'yes'"):
        world.decide(HeadCut("rule", scores, hard(), proven=False))


def test_cuts_that_leave_no_row_to_teach_are_refused_and_the_largest_is_named() -> None:
    world = World()
    with pytest.raises(StillhouseError, match=r"no row is left to teach: doubt takes 1,997, rule takes 3"):
        world.decide(
            HeadCut("rule", rule(1, 2, 3), hard(), proven=False),
            HeadCut("doubt", np.zeros(N), at(-1), proven=False),
            tail=TailCut(np.zeros(N), "easy", 0.3),
        )


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_of_hardly_any_rows_there_is_a_decision_too(rows: int) -> None:
    ids, judged = [str(row) for row in range(rows)], np.ones(rows, dtype=bool)
    proving = Proving(np.ones((rows, 4), np.float32), np.tile([0.3, 0.7], (rows, 1)), np.arange(rows), {}, judged)
    easy = TailCut(np.arange(rows) / 4, "easy", None)
    found = decide(Rows(ids, ["yes"] * rows, ["s"] * rows, {}, None), proving, heads=[], tail=easy)
    assert found.heart.sum() == rows and len(found.prices) == min(rows, 1)


def test_a_single_row_that_a_rule_takes_is_told_of() -> None:
    alone = Proving(np.ones((1, 4), np.float32), np.array([[0.3, 0.7]]), np.zeros(1, int), {}, np.zeros(1, bool))
    cut = HeadCut("rule", np.ones(1), hard(), proven=False)
    with pytest.raises(StillhouseError, match="no row is left to teach: rule takes 1"):
        decide(Rows(["a"], ["yes"], ["s"], {}, None), alone, heads=[cut], tail=TailCut(np.zeros(1), "easy", 0.0))


def test_the_price_list_has_none_all_and_all_but_each() -> None:
    world = World()
    cuts = {"a": rule(*range(50)) > 0, "b": rule(*range(50, 90)) > 0, "c": np.zeros(N, dtype=bool)}
    found = price_list(world.proving, cuts)
    assert [(one.cuts, one.rows) for one in found] == [
        ("none", N),
        ("all", N - 90),
        ("all but a", N - 40),
        ("all but b", N - 50),
    ]
    assert found[0].against_none is None
    for one in found[1:]:
        assert one.against_none is not None
        gap = one.value.value - found[0].value.value
        assert one.against_none.difference.value == pytest.approx(gap)


def test_groups_are_judged_where_they_are_large_enough_in_a_time_that_does_not_grow_with_their_number() -> None:
    group: list[str | None] = ["large"] * 50 + ["small"] * 49 + [None] * 60
    found = judged_groups(["good"] * 120 + ["bad"] * 39, {"size": group})
    assert {name: int(rows.sum()) for name, rows in found.items()} == {"label good": 120, "group size large": 50}
    assert found["group size large"].tolist() == [one == "large" for one in group]

    def seconds(values: int) -> float:
        authors: list[str | None] = [f"a{row % values}" for row in range(20_000)]
        started = time.thread_time()
        judged_groups(["good"] * 20_000, {"author": authors})
        return time.thread_time() - started

    seconds(2)
    assert seconds(2000) < 10 * seconds(2) + 0.1


def test_rows_that_are_not_judged_are_not_counted() -> None:
    world = World()
    judged = np.arange(N) >= 100
    proving = Proving(world.features, world.taught, world.folds, {}, judged)
    right = proving.taught_by(np.ones(N, dtype=bool))
    assert proving.price("none", judged, right, None).value.n == N - 100


def test_a_pilot_lets_go_of_what_teaches_nothing_and_keeps_what_does() -> None:
    world = World()
    order = np.random.default_rng(1).permutation(N)

    def copies(share: float) -> np.ndarray:
        """Any rows: in eight dimensions a few hundred teach as much as all."""
        found = np.zeros(N, dtype=bool)
        found[order[: round(share * N)]] = True
        return found

    def one_class(share: float) -> np.ndarray:
        """Of one label the doubtful rows first: without them the border moves."""
        found = np.zeros(N, dtype=bool)
        found[np.argsort(-world.one_sided())[: round(share * N)]] = True
        return found

    shares = (0.8, 0.6, 0.4, 0.2)
    fine = pilot(world.proving, copies, shares=shares, margin=0.02, group_margin=0.06)
    assert fine.share < 1 and fine.rungs[0].share == 1
    bad = pilot(world.proving, one_class, shares=shares, margin=0.005, group_margin=0.02)
    assert bad.share == 1 and any(rung.why == "clearly worse" for rung in bad.rungs)
    # what was clearly worse early is not trained to the end
    assert bad.rows_trained < fine.rows_trained or len(bad.rungs) == len(fine.rungs)
    assert min(rung.folds for rung in bad.rungs) < 5


def test_a_pilot_of_few_rows_says_that_it_cannot_tell() -> None:
    world = World()
    keep = np.arange(N) < 300
    found = pilot(world.proving, lambda share: keep & False, shares=(0.5,), margin=0.1, group_margin=0.1, keep=keep)
    assert found.share == 1 and "too few" in found.why and found.rows_trained == 0


def test_a_pilot_says_where_its_worst_group_is_too_small_to_show_anything() -> None:
    world = World()
    hard = np.argsort(np.abs(world.taught[:, 1] - 0.5))  # the proxy is right about half of these
    nobody, whys = np.zeros(N, dtype=bool), {}
    for size in (60, 600):
        small = np.zeros(N, dtype=bool)
        small[hard[:size]] = True
        proving = Proving(world.features, world.taught, world.folds, {"group few": small}, np.ones(N, dtype=bool))
        found = pilot(proving, lambda share: nobody, shares=(0.8,), margin=0.02, group_margin=0.02)
        assert found.rungs[1].compared.group_difference == 0  # nobody leaves, and nothing changes
        whys[size] = (found.share, found.why)
    assert whys[60][0] == 1 and "group few, has 60 rows" in whys[60][1] and "fewer than 133" in whys[60][1]
    assert whys[600][0] == 0.8


def test_with_quotas_a_group_whose_rows_score_high_loses_no_more_than_its_share() -> None:
    world = World()
    mine = np.array([one == "rare" for one in world.group])
    scores = np.random.default_rng(2).random(N) + 0.6 * mine
    naive = ~world.decide(tail=TailCut(scores, "easy", 0.3), quotas=False).heart
    fair = ~world.decide(tail=TailCut(scores, "easy", 0.3)).heart
    assert naive[mine].mean() > 1.5 * naive[~mine].mean()
    assert fair[mine].mean() <= 1.25 * fair[~mine].mean()
    noted = world.decide(tail=TailCut(scores, "easy", 0.3), quotas=False).notes
    assert any("rare lost" in note for note in noted)


def test_a_group_may_bear_the_name_of_a_label_or_a_source_and_hides_neither() -> None:
    world = World()
    author: list[str | None] = ["x" if row % 2 else "y" for row in range(N)]
    judged = judged_groups(world.classes, {"label": author})
    assert {"label no", "label yes", "group label x", "group label y"} == set(judged)
    rows = Rows(world.ids, world.classes, ["s"] * N, {"source": author, "label": author}, None)
    tail = TailCut(np.random.default_rng(0).random(N), "easy", 0.2)
    rates = decide(rows, world.proving, heads=[], tail=tail).rates
    assert {(one.kind, one.value) for one in rates} == {
        ("label", "no"),
        ("label", "yes"),
        ("source", "s"),
        *((f"group {name}", value) for name in ("source", "label") for value in "xy"),
    }


def test_of_a_group_of_many_values_the_largest_are_told_and_whoever_loses_more() -> None:
    world = World()
    author: list[str | None] = [f"a{row % 70}" if row >= 25 else "robbed" for row in range(N)]
    gone = np.arange(N, dtype=float) < 25
    rows = Rows(world.ids, world.classes, ["s"] * N, {"author": author, "alone": list(world.ids)}, None)
    found = decide(
        rows, world.proving, heads=[HeadCut("x", gone * 1.0, at(0.5), proven=False)], tail=TailCut(gone, "easy", 0)
    )
    told = [one for one in found.rates if one.kind == "group author"]
    assert len(told) == 51 and [one.value for one in told if one.verdict == "alarm"] == ["robbed"]
    assert len([one for one in found.rates if one.kind == "group alone"]) == 50


def test_who_loses_more_is_told_where_labels_and_groups_cross_too() -> None:
    world = World()
    yes, rare = (
        np.array([one == name for one in values]) for values, name in ((world.classes, "yes"), (world.group, "rare"))
    )
    scores = np.random.default_rng(4).random(N) + np.where(yes == rare, 0.3, 0.0)  # no group loses more
    found = world.decide(tail=TailCut(scores, "easy", 0.3), quotas=False)
    alarms = {(one.kind, one.value) for one in found.rates if one.verdict == "alarm"}
    assert alarms == {("label", "no"), ("stratum", "yes · s · rare"), ("stratum", "no · s · usual")}
    assert sum("stratum" in note for note in found.notes) == 2


def test_strata_of_a_few_rows_lose_their_quota_to_a_row_and_the_report_says_so() -> None:
    world = World()
    sources = [f"s{row % 800}" for row in range(N)]  # strata of one to three rows
    strata = strata_of(world.classes, sources, {})
    scores = np.random.default_rng(5).random(N)
    rows = Rows(world.ids, world.classes, sources, {}, strata)
    found = decide(rows, world.proving, heads=[], tail=TailCut(scores, "easy", 0.3))
    had, lost = Counter(strata), Counter(one for one, stays in zip(strata, found.heart, strict=True) if not stays)
    over = [one for one in had if lost[one] > 0.3 * 1.25 * had[one]]
    assert over and all(lost[one] < 0.3 * 1.25**0.5 * had[one] + 1 for one in had)
    (note,) = [one for one in found.notes if "whole rows leave" in one]
    assert f"{len(over)} of {len(had)} strata" in note and "1 of 1 rows" in note
    large = World().decide(tail=TailCut(scores, "easy", 0.3))
    assert not any("whole rows" in one for one in large.notes)


@pytest.mark.parametrize("quotas", [True, False])
def test_no_share_leaves_of_rows_that_a_score_does_not_tell_apart_from_the_lowest(quotas: bool) -> None:
    same = World().decide(tail=TailCut(np.full(N, 0.4), "easy", 0.3), quotas=quotas)
    assert same.heart.all() and "0 of 600 rows leave" in same.tail.why
    few = rule(*range(40))
    found = World().decide(HeadCut("rule", few, quantile(few, 0.1), proven=False), quotas=quotas)
    assert found.heart[few == 0].all()
    if quotas:
        assert "of 200 rows leave" in found.heads["rule"].why
    unknown = np.random.default_rng(0).random(N)
    unknown[::4] = np.nan
    left = ~World().decide(tail=TailCut(unknown, "easy", 0.3), quotas=quotas).heart
    assert left.sum() == 600 and not left[::4].any()


def test_a_given_share_of_a_head_is_cut_by_quota_and_by_chance_where_its_score_follows_a_group() -> None:
    world = World()
    mine = np.array([one == "rare" for one in world.group])
    scores = np.random.default_rng(2).random(N) + 0.6 * mine
    found = world.decide(HeadCut("quality", scores, quantile(scores, 0.3), proven=False))
    gone = ~found.heart
    assert gone.sum() == round(0.3 * N) and "by quotas" in found.heads["quality"].why
    assert gone[mine].mean() <= 1.25 * gone[~mine].mean()
    assert any("score of quality follows a group" in note for note in found.notes)
    # chance, not the score: what stays of the group is no lower than what leaves
    assert abs(scores[mine & gone].mean() - scores[mine & ~gone].mean()) < 0.1
    naive = world.decide(HeadCut("quality", scores, quantile(scores, 0.3), proven=False), quotas=False)
    assert (~naive.heart)[mine].mean() > 1.5 * (~naive.heart)[~mine].mean()
