"""Laws and oracles of the statistics: scipy and scikit-learn agree, symmetries hold, bounds cover what they claim."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp  # type: ignore[import-untyped]
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from examples import examples
from stillhouse import statistics
from stillhouse.errors import StillhouseError
from stillhouse.statistics import Flags, Ints, Retention, resampling


def answers(n: int, cells: tuple[float, float, float, float], seed: int) -> tuple[Flags, Flags]:
    """Paired answers of teacher and student with chances (both, student only, teacher only, none)."""
    cell = np.random.default_rng(seed).choice(4, size=n, p=cells)
    return np.isin(cell, (0, 2)), np.isin(cell, (0, 1))


def compare(teacher: Flags, student: Flags, **changes: object) -> Retention:
    given_ = {"chance": 0.25, "seed": 0, "resamples": 400} | changes
    return statistics.retention(teacher, student, **given_)  # type: ignore[arg-type]


def labelled(n: int = 300, k: int = 5, seed: int = 3) -> tuple[Ints, Ints]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    return labels, np.where(rng.random(n) < 0.3, rng.integers(0, k, n), labels)


# ---- proportions and exact bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 7), (7, 7), (180, 200)])
def test_a_proportion_has_wilsons_interval(k: int, n: int) -> None:
    found = statistics.proportion(np.arange(n) < k)
    oracle = binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert (found.value, found.n) == (k / n, n)
    assert (found.lower, found.upper) == pytest.approx((oracle.low, oracle.high), abs=1e-12)


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_a_proportion_lies_in_its_interval_within_0_and_1(correct: list[bool]) -> None:
    found = statistics.proportion(correct)
    assert 0.0 <= found.lower <= found.value <= found.upper <= 1.0


@examples(0.3)
@given(st.integers(0, 40), st.integers(1, 40))
def test_exact_bounds_agree_with_the_binomial_tail(k: int, n: int) -> None:
    k = min(k, n)
    upper, lower = statistics.clopper_pearson_upper(k, n), statistics.clopper_pearson_lower(k, n)
    assert upper == pytest.approx(binomtest(k, n, alternative="less").proportion_ci(0.95).high)
    assert lower == pytest.approx(binomtest(k, n, alternative="greater").proportion_ci(0.95).low)
    assert statistics.clopper_pearson_lower(n - k, n) == pytest.approx(1 - upper)


def test_nothing_seen_in_300_is_the_rule_of_three() -> None:
    assert statistics.clopper_pearson_upper(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))
    assert statistics.clopper_pearson_upper(0, 300) < 3 / 300


# ---- the bootstrap ---------------------------------------------------------------------------------------------


def test_the_bootstrap_of_a_mean_has_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    draws = statistics.resample(statistics.mean_of(values), 400, seed=1, resamples=4000)
    assert draws.mean() == pytest.approx(values.mean(), abs=0.005)
    assert draws.std() == pytest.approx(values.std() / 20, rel=0.05)


def test_weights_count_drawn_items_and_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    def metric(weights: statistics.Floats) -> statistics.Floats:
        assert (weights.sum(axis=1) == 50).all()
        return weights[:, :3]

    whole = statistics.resample(metric, 50, seed=4, resamples=90)
    assert whole.shape == (90, 3)
    monkeypatch.setattr(resampling, "_CHUNK", 50 * 40)
    assert np.array_equal(statistics.resample(metric, 50, seed=4, resamples=90), whole)


def test_clusters_are_drawn_whole_and_widen_the_interval() -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    clusters = np.repeat(np.arange(40), 10)

    def metric(weights: statistics.Floats) -> statistics.Floats:
        assert (weights.reshape(-1, 40, 10) == weights[:, ::10, None]).all()
        return statistics.mean_of(values)(weights)

    together = statistics.bootstrap(metric, 400, seed=0, clusters=clusters)
    alone = statistics.bootstrap(statistics.mean_of(values), 400, seed=0)
    assert together.value == pytest.approx(alone.value)
    assert (together.upper - together.lower) / (alone.upper - alone.lower) == pytest.approx(10**0.5, rel=0.1)


def test_two_thousand_resamples_of_four_thousand_items_are_quick() -> None:
    teacher, student = answers(4000, (0.84, 0.03, 0.06, 0.07), seed=0)
    compare(teacher[:100], student[:100])  # scipy is loaded on first use
    start = time.process_time()
    compare(teacher, student, resamples=2000)
    assert time.process_time() - start < 2.0  # a tenth of it on an idle core


# ---- retention -------------------------------------------------------------------------------------------------


def test_identical_answers_differ_by_exactly_nothing_yet_prove_no_equality() -> None:
    teacher, _ = answers(200, (0.84, 0.03, 0.06, 0.07), seed=0)
    kept = compare(teacher, teacher, margin=0.01)
    for interval, value in ((kept.difference, 0.0), (kept.ratio, 1.0), (kept.chance_corrected, 1.0)):
        assert interval is not None
        assert interval.value == value and interval.lower < value < interval.upper
    # of 200 equal answers as many as this could be otherwise: the rule of three, on either side
    assert -kept.difference.lower == kept.difference.upper == pytest.approx(statistics.zero_events_bound(200, 0.975))
    z2 = 1.6448536**2
    assert kept.difference_lower_95 == pytest.approx(-z2 / (200 + z2), abs=1e-5)  # Tango's bound without discord
    assert kept.non_inferior is False
    assert compare(teacher, teacher, margin=0.02).non_inferior is True
    assert statistics.mcnemar_exact(teacher, teacher) == statistics.McNemar(0, 0, 1.0)


def test_swapping_the_models_negates_the_difference_and_inverts_the_ratio() -> None:
    teacher, student = answers(500, (0.7, 0.08, 0.12, 0.1), seed=1)
    one, two = compare(teacher, student), compare(student, teacher)
    assert one.difference.value == -two.difference.value
    assert (one.difference.lower, one.difference.upper) == pytest.approx((-two.difference.upper, -two.difference.lower))
    assert one.ratio is not None and two.ratio is not None
    assert one.ratio.value == pytest.approx(1 / two.ratio.value)


def test_the_order_of_the_items_is_of_no_account() -> None:
    teacher, student = answers(400, (0.7, 0.08, 0.12, 0.1), seed=2)
    shuffled = np.random.default_rng(0).permutation(400)
    one, two = compare(teacher, student), compare(teacher[shuffled], student[shuffled])
    assert (one.teacher, one.student, one.n) == (two.teacher, two.student, two.n)
    assert one.difference_lower_95 == pytest.approx(two.difference_lower_95, abs=1e-9)
    assert one.chance_corrected_lower_95 == pytest.approx(two.chance_corrected_lower_95, abs=1e-9)
    assert one.difference.lower == pytest.approx(two.difference.lower, abs=0.01)


def test_the_seed_alone_decides_the_draws() -> None:
    teacher, student = answers(300, (0.7, 0.08, 0.12, 0.1), seed=2)
    assert compare(teacher, student, seed=5) == compare(teacher, student, seed=5)
    assert compare(teacher, student, seed=5).ratio != compare(teacher, student, seed=6).ratio


def test_clusters_of_one_are_no_clusters() -> None:
    teacher, student = answers(300, (0.7, 0.08, 0.12, 0.1), seed=2)
    names = np.array([f"document {i:03}" for i in range(300)])
    assert compare(teacher, student, clusters=names) == compare(teacher, student)


def test_items_repeated_tenfold_are_worth_no_more_than_once() -> None:
    teacher, student = answers(150, (0.7, 0.08, 0.12, 0.1), seed=2)
    once = compare(teacher, student, resamples=2000)
    clusters = np.repeat(np.arange(150), 10)
    copies = compare(teacher.repeat(10), student.repeat(10), clusters=clusters, resamples=2000)
    assert copies.difference.lower == pytest.approx(once.difference.lower, abs=0.01)
    assert copies.difference_lower_95 == pytest.approx(once.difference_lower_95, abs=0.002)
    assert copies.teacher.lower == pytest.approx(once.teacher.lower, abs=0.002)
    careless = compare(teacher.repeat(10), student.repeat(10))
    assert careless.difference_lower_95 > copies.difference_lower_95 + 0.02


def test_without_chance_the_corrected_ratio_is_the_ratio() -> None:
    kept = compare(*answers(300, (0.7, 0.08, 0.12, 0.1), seed=2), chance=0.0)
    assert kept.chance_corrected == kept.ratio
    assert kept.chance_corrected_lower_95 == kept.ratio_lower_95


def test_the_ratio_is_taken_from_the_means() -> None:
    teacher, student = answers(300, (0.7, 0.08, 0.12, 0.1), seed=2)
    kept = compare(teacher, student)
    t, s = teacher.mean(), student.mean()
    assert kept.teacher == statistics.proportion(teacher)
    assert kept.student == statistics.proportion(student)
    assert kept.ratio is not None and kept.chance_corrected is not None
    assert kept.ratio.value == pytest.approx(s / t)
    assert kept.chance_corrected.value == pytest.approx((s - 0.25) / (t - 0.25))
    assert kept.ratio_lower_95 is not None and kept.chance_corrected_lower_95 is not None
    assert kept.chance_corrected_lower_95 < kept.ratio_lower_95 < kept.ratio.value
    assert kept.not_certified is None and kept.non_inferior is None


@pytest.mark.parametrize("right", [0, 25, 29])
def test_a_teacher_not_clearly_above_chance_certifies_nothing(right: int) -> None:
    teacher = np.arange(100) < right
    kept = compare(teacher, ~teacher, chance=0.25)
    assert kept.chance_corrected is None and kept.chance_corrected_lower_95 is None
    assert kept.not_certified is not None and kept.not_certified.startswith("not certified: ")
    assert (kept.ratio is None) == (right == 0)
    assert compare(np.arange(100) < 40, teacher).not_certified is None


@pytest.mark.parametrize(
    ("teacher", "student"),
    [([1], [0]), ([1], [1]), ([0, 1], [1, 1]), ([1] * 30, [0] * 30), ([0] * 30, [1] * 30), ([0] * 9, [0] * 9)],
)
def test_extreme_answers_still_give_finite_limits(teacher: list[int], student: list[int]) -> None:
    kept = statistics.retention(teacher, student, chance=0.5, seed=0, margin=0.5, resamples=50)
    assert -1.0 <= kept.difference_lower_95 <= kept.difference.value <= 1.0
    if kept.ratio_lower_95 is not None and kept.ratio is not None:
        assert 0.0 <= kept.ratio_lower_95 <= kept.ratio.value
    if kept.chance_corrected is not None:
        assert kept.chance_corrected_lower_95 is not None and math.isfinite(kept.chance_corrected_lower_95)


def test_a_difference_alone_is_that_of_retention() -> None:
    teacher, student = answers(400, (0.7, 0.08, 0.12, 0.1), 3)
    kept = compare(teacher, student)
    difference, lower = statistics.paired_difference(teacher, student, seed=1)
    assert difference.value == pytest.approx(kept.difference.value) and lower == pytest.approx(kept.difference_lower_95)
    assert [difference.lower, difference.upper] == pytest.approx(
        [kept.difference.lower, kept.difference.upper], abs=0.006
    )
    # as many draws of as many items, one by one, would take a minute
    million, other = np.tile(teacher, 2500), np.tile(student, 2500)
    assert statistics.paired_difference(million, other, seed=1)[0].value == pytest.approx(difference.value)


def test_one_sided_bounds_cover_about_95_in_100() -> None:
    pairs, truth = 600, (0.84 + 0.04, 0.84 + 0.06)
    covered = np.zeros(3)
    for seed in range(pairs):
        kept = compare(*answers(200, (0.84, 0.04, 0.06, 0.06), seed), resamples=1)
        assert kept.ratio_lower_95 is not None and kept.chance_corrected_lower_95 is not None
        s, t = truth
        covered += (
            kept.difference_lower_95 <= s - t,
            kept.ratio_lower_95 <= s / t,
            kept.chance_corrected_lower_95 <= (s - 0.25) / (t - 0.25),
        )
    # 0.95 and three standard errors of 600 binary draws, either side
    assert (np.abs(covered / pairs - 0.95) < 3 * (0.95 * 0.05 / pairs) ** 0.5).all()


# ---- tests and plans -------------------------------------------------------------------------------------------


@examples(0.4)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_mcnemar_is_the_binomial_test_of_the_discordant_items(rows: list[tuple[bool, bool]]) -> None:
    a, b = np.array(rows).T
    found, swapped = statistics.mcnemar_exact(a, b), statistics.mcnemar_exact(b, a)
    assert (found.b, found.c, found.p_value) == (swapped.c, swapped.b, swapped.p_value)
    discordant = found.b + found.c
    oracle = binomtest(found.b, discordant).pvalue if discordant else 1.0
    assert found.p_value == pytest.approx(oracle)


def test_holm_by_hand() -> None:
    assert statistics.holm([0.04, 0.01, 0.03, 0.9]) == pytest.approx([0.09, 0.04, 0.09, 0.9])
    assert statistics.holm([0.6, 0.7]).tolist() == [1.0, 1.0]
    assert statistics.holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_raw_value_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    raw, adjusted = np.array(p), statistics.holm(p)
    assert (adjusted >= raw).all() and (adjusted <= np.minimum(raw * raw.size, 1.0) + 1e-12).all()
    assert (np.diff(adjusted[np.argsort(raw, kind="stable")]) >= 0).all()


@pytest.mark.parametrize(
    ("discordant", "drop", "margin", "items"),
    [
        (0.05, 0.0, 0.01, 3092),
        (0.05, 0.005, 0.01, 12359),
        (0.08, 0.0, 0.02, 1237),
        (0.08, 0.01, 0.02, 4940),
        (0.08, 0.01, 0.03, 1235),
        (0.12, 0.02, 0.03, 7395),
        (0.12, 0.0, 0.03, 825),
    ],
)
def test_items_needed_matches_the_worked_table(discordant: float, drop: float, margin: float, items: int) -> None:
    assert statistics.items_needed(discordant, margin, drop) == items


def test_the_items_needed_give_the_power_asked_for() -> None:
    n = statistics.items_needed(0.12, 0.05)
    passed = [
        compare(*answers(n, (0.8, 0.06, 0.06, 0.08), seed), margin=0.05, resamples=1).non_inferior is True
        for seed in range(200)
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.09)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_a_one_sided_p_value_is_below_5_percent_just_where_the_bound_is_above(seed: int, clustered: bool) -> None:
    teacher, student = answers(200, (0.75, 0.08, 0.09, 0.08), seed)
    clusters = np.repeat(np.arange(40), 5) if clustered else None
    lower = compare(teacher, student, clusters=clusters).difference_lower_95
    p = [
        statistics.one_sided_p(teacher, student, bound=lower + off, alternative="above", clusters=clusters)
        for off in (-1e-3, 1e-3)
    ]
    assert p[0] < 0.05 < p[1]
    mirrored = statistics.one_sided_p(student, teacher, bound=-lower, alternative="below", clusters=clusters)
    assert mirrored == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(("n", "bound"), [(300, 0.00994), (59, 0.0495), (1, 0.95)])
def test_no_event_still_has_a_bound(n: int, bound: float) -> None:
    found = statistics.zero_events_bound(n)
    assert found == pytest.approx(bound, abs=1e-4) and found == pytest.approx(1 - 0.05 ** (1 / n))
    assert statistics.items_without_event(found) == n
    assert statistics.items_without_event(0.01) == 299


# ---- seeds -----------------------------------------------------------------------------------------------------


def test_equal_seeds_are_one_seed() -> None:
    one = np.random.default_rng(0).normal(size=500)
    found = statistics.over_seeds(np.tile(one, (4, 1)))
    assert found.between == pytest.approx(0.0) and found.value == pytest.approx(one.mean())
    half = 1.9647 * one.std(ddof=1) / 500**0.5  # Student's quantile of 499 degrees of freedom
    assert (found.lower, found.upper) == pytest.approx((one.mean() - half, one.mean() + half), abs=1e-4)
    together = statistics.over_seeds(np.tile(one.repeat(4), (4, 1)), clusters=np.repeat(np.arange(500), 4))
    assert (together.lower, together.upper) == pytest.approx((found.lower, found.upper), abs=1e-9)


def test_seeds_that_differ_widen_the_interval_whatever_the_number_of_items() -> None:
    rng = np.random.default_rng(0)
    shift = np.array([-0.03, 0.0, 0.03])[:, None]
    many = statistics.over_seeds(rng.normal(scale=0.1, size=20_000) + shift)
    assert many.upper - many.lower > 2 * 4.2 * 0.03 / 3**0.5  # Student's quantile of two degrees of freedom
    draws = statistics.resample_seeds(rng.normal(scale=0.1, size=(2000, 1)) + shift[:, :, None], seed=0, resamples=4000)
    assert draws.shape == (4000, 1)
    assert draws.std() == pytest.approx((0.03**2 / 3 + 0.1**2 / 2000) ** 0.5, rel=0.05)


def test_the_bound_over_seeds_speaks_of_the_method() -> None:
    rng, covered = np.random.default_rng(1), 0
    for _ in range(400):
        level = 0.02 * rng.normal(size=(3, 1))
        covered += statistics.over_seeds(level + rng.normal(size=300) * 0.3).lower_95 <= 0.0
    assert covered / 400 == pytest.approx(0.955, abs=0.035)


# ---- scores per class ------------------------------------------------------------------------------------------


def test_class_scores_agree_with_scikit_learn() -> None:
    labels, predictions = labelled()
    table = statistics.confusion(labels, predictions, 5)
    assert np.array_equal(table, confusion_matrix(labels, predictions))
    assert statistics.recall_per_class(table) == pytest.approx(recall_score(labels, predictions, average=None))
    assert statistics.macro_f1(table) == pytest.approx(f1_score(labels, predictions, average="macro"))


def test_a_class_without_items_has_no_recall_and_counts_only_where_predicted() -> None:
    labels, predictions = np.array([0, 0, 1, 1, 1]), np.array([0, 2, 1, 1, 0])
    table = statistics.confusion(labels, predictions, 4)
    assert table.shape == (4, 4) and table.sum() == 5
    recall = statistics.recall_per_class(table)
    assert recall[:2] == pytest.approx([1 / 2, 2 / 3]) and np.isnan(recall[2:]).all()
    oracle = f1_score(labels, predictions, average="macro", labels=[0, 1, 2], zero_division=0.0)
    assert statistics.macro_f1(table) == pytest.approx(oracle)
    of_class = statistics.bootstrap_recall(labels, predictions, 4, seed=0, resamples=50)
    assert [interval.n for interval in of_class] == [2, 3, 0, 0]
    assert math.isnan(of_class[3].value) and math.isnan(of_class[3].lower)


def test_bootstrapped_scores_agree_with_scikit_learn_on_each_resample() -> None:
    labels, predictions = labelled(n=60)
    drawn = statistics.resample(lambda weights: weights, 60, seed=7, resamples=100).astype(int)
    rows = [np.repeat(np.arange(60), row) for row in drawn]
    f1 = [
        f1_score(labels[r], predictions[r], average="macro", labels=np.union1d(labels[r], predictions[r])) for r in rows
    ]
    interval = statistics.bootstrap_macro_f1(labels, predictions, 5, seed=7, resamples=100)
    assert interval.value == pytest.approx(f1_score(labels, predictions, average="macro"))
    assert (interval.lower, interval.upper) == pytest.approx(tuple(np.quantile(f1, [0.025, 0.975])))
    recall = np.array([recall_score(labels[r], predictions[r], average=None, labels=range(5)) for r in rows])
    found = statistics.bootstrap_recall(labels, predictions, 5, seed=7, resamples=100)
    assert [i.lower for i in found] == pytest.approx(np.quantile(recall, 0.025, axis=0).tolist())


def test_perfect_predictions_score_one_and_leave_the_doubt_of_the_smallest_class() -> None:
    labels, _ = labelled()
    found = statistics.bootstrap_macro_f1(labels, labels, 5, seed=0, resamples=50)
    smallest = int(np.bincount(labels).min())
    assert (found.value, found.upper) == (1.0, 1.0)
    assert found.lower == pytest.approx(1 - statistics.zero_events_bound(smallest, 0.975))


# ---- items that are all alike ----------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.02, 0.1])
def test_where_all_items_are_alike_the_interval_still_covers(rate: float) -> None:
    """Of 25 answers none repeats itself, which happens often where a few would: no width would claim that none does."""
    random = np.random.default_rng(5)
    covered = []
    for _ in range(400):
        values = np.where(random.random(25) < rate, 1.0, 0.0)
        found = statistics.bootstrap(statistics.mean_of(values), 25, seed=0, resamples=60, span=(0.0, 1.0))
        if not values.any():
            assert found.lower == 0.0 and found.upper == pytest.approx(statistics.zero_events_bound(25, 0.975))
            covered.append(found.upper >= rate)
    assert len(covered) > 20 and all(covered)
    # clusters that are all alike are so many units, not so many items
    apart = statistics.bootstrap(
        statistics.mean_of(np.zeros(40)), 40, seed=0, resamples=50, clusters=np.arange(40) // 10, span=(0.0, 1.0)
    )
    assert apart.upper == pytest.approx(statistics.zero_events_bound(4, 0.975))


def test_leaving_items_out_tests_a_mean_as_students_t_does() -> None:
    values = np.random.default_rng(0).normal(0.3, 1.0, 40)
    found = statistics.p_other_than_zero(statistics.mean_of(values), 40)
    assert found == pytest.approx(ttest_1samp(values, 0.0).pvalue)
    assert statistics.p_other_than_zero(statistics.mean_of(np.zeros(9)), 9) == 1.0
    assert statistics.p_other_than_zero(statistics.mean_of(np.ones(9)), 9) == 2 * 0.5**9
    assert statistics.p_other_than_zero(statistics.mean_of(np.ones(1)), 1) == 1.0
    hole = statistics.ratio_of(np.array([1.0, 0.0]), np.array([1.0, 0.0]))  # no number without the first item
    assert statistics.p_other_than_zero(hole, 2) == 1.0


def test_a_share_of_copies_is_as_sure_as_that_of_the_items_alone() -> None:
    correct = np.random.default_rng(4).random(60) < 0.8
    copies = statistics.clustered_proportion(np.repeat(correct, 5), np.arange(300) // 5)
    alone, careless = statistics.proportion(correct), statistics.proportion(np.repeat(correct, 5))
    assert copies.value == pytest.approx(alone.value) and copies.n == 300
    assert copies.upper - copies.lower == pytest.approx(alone.upper - alone.lower, rel=0.04)
    assert careless.upper - careless.lower < 0.5 * (copies.upper - copies.lower)


def test_items_in_clusters_are_worth_fewer() -> None:
    teacher, student = answers(400, (0.75, 0.08, 0.1, 0.07), seed=2)
    assert compare(teacher, student).worth == pytest.approx(400)
    alike = compare(np.repeat(teacher[:40], 10), np.repeat(student[:40], 10), clusters=np.arange(400) // 10)
    alone = compare(teacher[:40], student[:40], clusters=np.arange(40))
    assert alike.worth == pytest.approx(40 * (1.6448536 / 1.6848751) ** 2, rel=0.03)  # t with 39 degrees of freedom
    assert alone.worth == pytest.approx(40)


def test_calibration_error_by_hand_and_of_honest_probabilities() -> None:
    # two items at confidence 0.8, one right: |0.5 - 0.8|; one at 1.0, right: 0
    by_hand = statistics.calibration_error([[0.8, 0.2], [0.8, 0.2], [0.0, 1.0]], [0, 1, 1])
    assert by_hand == pytest.approx(0.3 * 2 / 3)
    assert statistics.calibration_error(np.eye(3), [0, 1, 2]) == 0.0
    assert statistics.calibration_error(np.eye(3), [1, 2, 0]) == 1.0
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=20_000)
    honest = (rng.random((20_000, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert statistics.calibration_error(p, honest) < 0.02


# ---- faults ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: statistics.proportion([]), "proportion"),
        (lambda: statistics.proportion([0.5]), "proportion"),
        (lambda: statistics.clopper_pearson_upper(3, 2), "clopper_pearson_upper"),
        (lambda: statistics.clopper_pearson_lower(0, 0), "clopper_pearson_lower"),
        (lambda: statistics.resample(lambda w: w, 0, seed=0), "resample"),
        (lambda: statistics.retention([1, 0], [1], chance=0.5, seed=0), "retention"),
        (lambda: statistics.retention([1], [1], chance=1.0, seed=0), "retention"),
        (lambda: statistics.retention([1], [1], chance=0.5, margin=-0.01, seed=0), "retention"),
        (lambda: statistics.retention([1, 0], [1, 0], chance=0.5, seed=0, clusters=["a", "a"]), "resample"),
        (lambda: statistics.retention([1, 0], [1, 0], chance=0.5, seed=0, clusters=["a"]), "resample"),
        (lambda: statistics.holm([0.5, float("nan")]), "holm"),
        (lambda: statistics.items_needed(0.05, 0.01, 0.01), "items_needed"),
        (lambda: statistics.items_without_event(0.0), "items_without_event"),
        (lambda: statistics.over_seeds(np.zeros((2, 50))), "over_seeds"),
        (lambda: statistics.one_sided_p([1], [1], bound=2.0, alternative="above"), "one_sided_p"),
        (lambda: statistics.items_needed(0.05, 0.2, 0.1), "items_needed"),
        (lambda: statistics.items_needed(0.05, 0.01, power=1.0), "items_needed"),
        (lambda: statistics.confusion([0, 1], [0, 2], 2), "confusion"),
        (lambda: statistics.confusion([0, -1], [0, 1], 2), "confusion"),
        (lambda: statistics.macro_f1(np.zeros((2, 2))), "macro_f1"),
        (lambda: statistics.calibration_error([[0.5, 0.5]], [0, 1]), "calibration_error"),
        (lambda: statistics.calibration_error([[1.5, -0.5]], [0]), "calibration_error"),
    ],
)
def test_a_fault_says_where_it_is_and_how_to_mend_it(call: object, where: str) -> None:
    with pytest.raises(StillhouseError) as caught:
        call()  # type: ignore[operator]
    (problem,) = caught.value.problems
    assert problem.where.startswith(f"statistics.{where}") and problem.fix
