"""Laws of the audit of groups: fairlearn agrees, names and order are of no account, equal models fail nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from fairlearn import metrics as fairlearn  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit import Finding, as_row, audit_groups
from stillhouse.finish.audit.rates import (
    Metric,
    Tally,
    calibration_errors,
    demographic_parity_difference,
    equalized_odds_difference,
    gap,
)
from stillhouse.finish.gates import of_findings
from stillhouse.statistics import (
    DRIFT,
    TEACHER_RATE,
    Floats,
    GroupPairs,
    Ints,
    calibration_error,
    driven_apart,
    from_the_rest,
    holm,
    resample,
    worst_loss,
)

LABELS = ("harmless", "toxic")
ORACLES: dict[Metric, object] = {
    "selection rate": fairlearn.selection_rate,
    "true positive rate": fairlearn.true_positive_rate,
    "false positive rate": fairlearn.false_positive_rate,
}


def world(
    n: int = 6000, *, drift: float = 0.0, bias: float = 0.1, seed: int = 0
) -> tuple[Ints, Ints, Ints, np.ndarray]:
    """Gold, teacher, student and group (0 to 3, the last of few): group 1 is treated worse, by the student yet more."""
    rng = np.random.default_rng(seed)
    group = rng.choice(4, size=n, p=[0.4, 0.3, 0.297, 0.003])
    gold = rng.integers(0, 2, n)
    teacher = np.where(rng.random(n) < 0.08 + bias * (group == 1), 1 - gold, gold)
    student = np.where(rng.random(n) < 0.03 + drift * (group == 1), 1 - gold, teacher)
    return gold, teacher, student, group


def common(made: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Without the group of few."""
    return [part[made[3] < 3] for part in made]


def probs(labels: Ints, k: int = 2) -> Floats:
    return np.where(labels[:, None] == np.arange(k), 0.9, 0.1 / (k - 1))


def audit(*made: np.ndarray, names: str = "abcd", **changes: object) -> list[Finding]:
    gold, teacher, student, group = made
    columns = {"dialect": [names[one] for one in group]}
    given = {"resamples": 50, "seed": 0} | changes
    return audit_groups(gold, probs(teacher), probs(student), columns, LABELS, **given)  # type: ignore[arg-type]


def of(findings: list[Finding], probe: str) -> list[Finding]:
    return [one for one in findings if one.probe == probe]


def numbers(finding: Finding) -> list[float | None]:
    return [finding.teacher, finding.student, finding.value, finding.lower, finding.upper, finding.n]


# ---- rates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("labels", "label"), [(2, 1), (3, 0)])
def test_rates_and_gaps_are_fairlearns(labels: int, label: int) -> None:
    rng = np.random.default_rng(1)
    gold, teacher, student = rng.integers(0, labels, (3, 2000))
    group = rng.integers(0, 5, 2000)
    tally = Tally.of(gold, teacher, student, group, groups=5, labels=labels)
    found = {metric: tally.rates(metric, label) for metric in (*ORACLES, "accuracy")}
    for at, said in enumerate((teacher, student)):
        frame = fairlearn.MetricFrame(
            metrics=ORACLES, y_true=gold == label, y_pred=said == label, sensitive_features=group
        )
        for metric in ORACLES:
            assert found[metric][at] == pytest.approx(frame.by_group[metric].to_numpy(dtype=float), abs=1e-9)
            assert float(gap(found[metric][at])) == pytest.approx(frame.difference()[metric], abs=1e-9)
        right = [accuracy_score(gold[group == one], said[group == one]) for one in range(5)]
        assert found["accuracy"][at] == pytest.approx(right, abs=1e-9)
        for ours, theirs in (
            (equalized_odds_difference, fairlearn.equalized_odds_difference),
            (demographic_parity_difference, fairlearn.demographic_parity_difference),
        ):
            expected = theirs(gold == label, said == label, sensitive_features=group)
            assert float(ours(tally, label)[at]) == pytest.approx(expected, abs=1e-9)


def test_drawn_cells_are_the_bootstrap_of_the_items() -> None:
    gold, teacher, student, group = world(900)
    tally = Tally.of(gold, teacher, student, group, groups=4, labels=2)
    fast = gap(tally.rates("true positive rate", 1, tally.draws(4000, seed=0)).student)
    inside = (gold == 1)[:, None] & (group[:, None] == np.arange(4))
    hits = inside & (student == 1)[:, None]
    with np.errstate(invalid="ignore"):
        slow = gap(resample(lambda w: (w @ hits) / (w @ inside), len(gold), seed=1, resamples=4000))
    assert np.mean(fast) == pytest.approx(np.mean(slow), abs=0.01)
    assert np.std(fast) == pytest.approx(np.std(slow), rel=0.1)
    assert tally.draws(5, seed=0).sum(axis=1).tolist() == [900.0] * 5


def test_clusters_are_drawn_whole() -> None:
    gold, teacher, student, group = (np.repeat(one, 3) for one in world(400))
    tally = Tally.of(gold, teacher, student, group, groups=4, labels=2, member=np.repeat(np.arange(400), 3))
    draws = tally.draws(20, seed=0)
    assert (draws % 3 == 0).all() and (draws.sum(axis=1) == 1200).all()


def test_calibration_by_group_is_that_of_the_group_alone_and_weights_are_copies() -> None:
    rng = np.random.default_rng(0)
    gold, group, p = rng.integers(0, 3, 300), rng.integers(0, 2, 300), rng.dirichlet(np.ones(3), 300)
    found = calibration_errors(p, gold, group, 3)
    assert found[:2] == pytest.approx([calibration_error(p[group == g], gold[group == g]) for g in (0, 1)])
    assert np.isnan(found[2])
    times = rng.integers(0, 3, 300)
    rows = np.repeat(np.arange(300), times)
    weighted = calibration_errors(p, gold, group, 2, weights=times[None].astype(float))
    assert weighted[0] == pytest.approx(calibration_errors(p[rows], gold[rows], group[rows], 2))


def test_an_empty_group_has_no_rate_and_no_part_in_a_gap() -> None:
    gold, said, group = np.array([1, 1, 1, 1, 0]), np.array([1, 0, 1, 1, 1]), np.array([0, 0, 1, 1, 2])
    rates = Tally.of(gold, said, said, group, groups=3, labels=2).rates("true positive rate", 1).teacher
    assert rates[:2].tolist() == [0.5, 1.0] and np.isnan(rates[2])
    assert float(gap(rates)) == 0.5


# ---- tests of paired groups -------------------------------------------------------------------------------------


def paired(counts: list[list[int]]) -> GroupPairs:
    """counts (G, 4): both right, student only, teacher only, none."""
    cell = np.concatenate([np.repeat(np.arange(4), row) for row in counts])
    group = np.repeat(np.arange(len(counts)), [sum(row) for row in counts])
    return GroupPairs.of(group, len(counts), np.isin(cell, (0, 2)), np.isin(cell, (0, 1)))


def test_driven_apart_by_hand() -> None:
    # teacher 0.9 and 0.8, student 0.9 and 0.7: 10 points become 20
    found = driven_apart(paired([[90, 0, 0, 10], [68, 2, 12, 18]]), 0.02)
    assert (found.teacher, found.student, found.value) == pytest.approx((0.1, 0.2, 0.1))
    assert (found.first, found.second, found.n) == (0, 1, 100)
    # half an item in each outcome: shares (68.5, 2.5, 12.5, 18.5) / 102 and (90.5, .5, .5, 10.5) / 102
    moved = [(2.5 - 12.5) / 102, 0.0]
    variance = sum((d - m**2) / 102 for d, m in ((15 / 102, moved[0]), (1 / 102, moved[1])))
    upper = -moved[0] + 1.6953977 * variance**0.5
    assert found.upper_95 == pytest.approx(upper, abs=1e-6)


def test_a_gap_that_closes_or_stays_is_not_driven_apart() -> None:
    closed = driven_apart(paired([[700, 0, 200, 100], [700, 0, 0, 300]]), 0.02)  # 0.9 and 0.7 become 0.7 and 0.7
    assert closed.value == pytest.approx(-0.2) and closed.upper_95 < 0.0 and closed.p_value == 1.0
    same = driven_apart(paired([[900, 0, 0, 100], [700, 0, 0, 300]]), 0.02)
    assert same.value == 0.0 and same.p_value == 1.0 and same.upper_95 < 0.02


def test_a_worst_group_is_held_against_the_worst_group() -> None:
    # an easy group loses 6 points and stays far above the teacher's worst: nobody is worse off than before
    easy = worst_loss(paired([[930, 0, 60, 10], [700, 0, 0, 300]]), 0.03)
    assert easy.value == 0.0 and easy.p_value == 1.0 and easy.upper_95 < 0.03
    hurt = worst_loss(paired([[990, 0, 0, 10], [600, 0, 100, 300]]), 0.03)
    assert (hurt.first, hurt.second) == (1, 1) and hurt.value == pytest.approx(0.1)
    assert hurt.p_value < 1e-4 and hurt.lower > 0.03


def test_groups_of_two_say_it_once_and_contrasts_add_up() -> None:
    pairs = paired([[80, 5, 10, 5], [40, 2, 4, 4]])
    (only,) = from_the_rest(pairs, TEACHER_RATE)
    assert only.group == 1 and only.value == pytest.approx(0.88 - 0.9)
    assert only.lower < only.value < only.upper
    (moved,) = from_the_rest(pairs, DRIFT)
    assert moved.value == pytest.approx(moved.student - moved.teacher)


def test_copies_in_clusters_are_worth_no_more_than_once() -> None:
    gold, teacher, student, group = world(1500, drift=0.05)
    keep = group < 3
    t, s, g = (teacher == gold)[keep], (student == gold)[keep], group[keep].astype(np.int64)
    once = driven_apart(GroupPairs.of(g, 3, t, s), 0.02)
    member = np.repeat(np.arange(len(g)), 8)
    copies = GroupPairs.of(g.repeat(8), 3, t.repeat(8), s.repeat(8), member)
    assert driven_apart(copies, 0.02).upper_95 == pytest.approx(once.upper_95, abs=0.003)
    assert driven_apart(GroupPairs.of(g.repeat(8), 3, t.repeat(8), s.repeat(8)), 0.02).upper_95 < once.upper_95 - 0.01


def test_a_noisier_student_that_is_alike_in_all_groups_is_seldom_refused_and_an_amplifier_is() -> None:
    rng = np.random.default_rng(3)
    refused = np.zeros(2)
    for _ in range(200):
        for at, (sizes, drop) in enumerate(((rng.integers(20, 120, 6), 0.0), (rng.integers(1200, 1500, 3), 0.1))):
            p = []
            for row in range(4):
                group = np.repeat(np.arange(len(sizes)), sizes)
                teacher = rng.random(len(group)) < 0.95
                lost = 0.12 if at == 0 else 0.03 + drop * ((group == 0) & (row == 0))
                student = teacher & (rng.random(len(group)) >= lost)
                p.append(driven_apart(GroupPairs.of(group, len(sizes), teacher, student), 0.02).p_value)
            refused[at] += holm(p).min() < 0.05
    assert refused[0] <= 16  # 5 % of 200 and two standard errors
    assert refused[1] >= 180


# ---- the audit --------------------------------------------------------------------------------------------------


def test_a_student_that_is_its_teacher_fails_nothing_and_inherits_everything() -> None:
    gold, teacher, _, group = common(world(30_000))
    findings = audit(gold, teacher, teacher, group)
    assert {one.status for one in of(findings, "group gap")} == {"passed"}
    assert not [one for one in findings if one.status == "failed"]
    assert all(one.value == 0.0 for one in findings if one.probe in ("group gap", "equalized odds", "calibration"))
    named = {one.about for one in of(findings, "teacher bias")}
    assert "false positive rate, label=toxic, group:dialect=b" in named
    assert of(findings, "group drift") == [] and of(findings, "parting") == []
    (ratio,) = of(findings, "gap ratio")
    assert ratio.value == 1.0 and ratio.lower is not None and ratio.upper is not None
    assert 0.9 < ratio.lower < 1.0 < ratio.upper < 1.1  # that no document tells them apart does not prove them equal


def test_an_amplifier_is_refused_and_the_group_it_hurts_is_named() -> None:
    findings = audit(*world(drift=0.12))
    assert {one.status for one in of(findings, "group gap")} == {"failed"}
    for one in of(findings, "group gap"):
        assert one.lower is not None and one.lower > 0.02 and "b" in one.words
    drifted = of(findings, "group drift")[0]
    assert drifted.about.endswith("group:dialect=b") and drifted.lower is not None and drifted.upper is not None
    assert drifted.lower * drifted.upper > 0
    (parted,) = [one for one in of(findings, "parting") if one.about.endswith("=b")]
    assert parted.lower is not None and parted.lower > 1
    (ratio,) = of(findings, "gap ratio")
    assert ratio.value is not None and ratio.value > 1.3


def test_order_and_names_are_of_no_account() -> None:
    made = world(drift=0.05)
    shuffled = np.random.default_rng(0).permutation(len(made[0]))
    one, two, renamed = audit(*made), audit(*(part[shuffled] for part in made)), audit(*made, names="WXYZ")
    assert [(f.probe, f.about, f.status) for f in one] == [(f.probe, f.about, f.status) for f in two]
    for a, b in zip(one, two, strict=True):
        if a.probe != "calibration":  # its draws go document by document
            assert numbers(a) == pytest.approx(numbers(b), abs=1e-9)
    assert [numbers(f) for f in one] == [numbers(f) for f in renamed]
    assert [f.about.replace("=W", "=a").replace("=X", "=b").replace("=Y", "=c") for f in renamed] == [
        f.about for f in one
    ]


def test_the_ratio_is_refused_where_the_teacher_has_no_clear_gap() -> None:
    gold, teacher, student, group = world(bias=0.0)
    (ratio,) = of(audit(gold, teacher, student, group), "gap ratio")
    assert (ratio.value, ratio.lower, ratio.upper) == (None, None, None) and "not clearly above zero" in ratio.words


def test_many_small_groups_are_one_row() -> None:
    gold, teacher, student, group = world(3000)
    author = [f"author {number}" for number in np.random.default_rng(0).integers(0, 600, len(gold))]
    findings = audit_groups(
        gold,
        probs(teacher),
        probs(student),
        {"author": author, "dialect": ["abcd"[one] for one in group]},
        LABELS,
        resamples=50,
        seed=0,
    )
    (row,) = [one for one in findings if "author" in one.about]
    assert (row.probe, row.status, row.needed) == (
        "small groups",
        "not certified",
        30,
    ) and " more have fewer than 30" in row.words
    (rare,) = [one for one in of(findings, "small groups") if "dialect" in one.about]
    assert "d has fewer than 30 documents: it was not judged" in rare.words


def test_a_group_that_nobody_could_judge_keeps_the_gates_from_passing() -> None:
    """Group d of 19 documents, whom the student serves badly: the others show nothing, and it has no rate."""
    gold, teacher, student, group = world(6000)
    student = np.where(group == 3, 1 - gold, teacher)

    def decided(keep: np.ndarray) -> dict[str, str]:
        findings = audit(*(part[keep] for part in (gold, teacher, student, group)))
        return {name: of_findings(name, findings).status for name in ("worst-group", "amplification")}

    assert decided(group < 3) == {"worst-group": "passed", "amplification": "passed"}
    assert decided(group < 4) == {"worst-group": "not certified", "amplification": "not certified"}
    gate = of_findings("worst-group", audit(gold, teacher, student, group))
    assert "d has fewer than 30 documents" in gate.words and gate.advice


def test_a_group_with_too_few_of_a_label_is_judged_by_its_accuracy_alone() -> None:
    gold, teacher, _, group = common(world(12_000))
    keep = (group < 2) | (gold == 0) | (np.cumsum((group == 2) & (gold == 1)) <= 20)  # 20 toxic documents of group c
    findings = audit(*(part[keep] for part in (gold, teacher, teacher, group)))
    (few,) = of(findings, "few of a label")
    assert (few.status, few.needed) == ("not certified", 30) and not of(findings, "small groups")
    assert "c has fewer than 30 documents with, or without, one of the labels" in few.words
    assert of_findings("worst-group", findings).status == "passed"
    assert of_findings("amplification", findings).status == "not certified"
    assert of_findings("amplification", audit(gold, teacher, teacher, group)).status == "passed"


def test_where_every_group_is_small_the_gate_names_them() -> None:
    gold, teacher, _, group = common(world(60))
    for name in ("worst-group", "amplification"):
        gate = of_findings(name, audit(gold, teacher, teacher, group))
        assert gate.status == "not certified" and "a, b and c have fewer than 30 documents" in gate.words


def test_too_few_documents_certify_nothing_and_say_how_many_it_takes() -> None:
    gold, teacher, _, group = common(world(400))
    findings = of(audit(gold, teacher, teacher, group), "group gap")
    assert {one.status for one in findings} == {"not certified"}
    for one in findings:
        assert one.needed is not None and one.needed > one.n and f"{one.needed:,}" in one.words
    most = max(one.needed or 0 for one in findings)
    gold, teacher, _, group = common(world(8 * most))  # a third of them in each group, half of those of a kind
    assert {one.status for one in of(audit(gold, teacher, teacher, group), "group gap")} == {"passed"}


def test_unknown_groups_are_left_out_and_several_labels_each_have_rows() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, 1200)
    teacher = np.where(rng.random(1200) < 0.1, rng.integers(0, 3, 1200), gold)
    column = [None if number % 3 == 0 else "ab"[number % 2] for number in range(1200)]
    findings = audit_groups(
        gold, probs(teacher, 3), probs(teacher, 3), {"x": column}, ("u", "v", "w"), resamples=20, seed=0
    )
    assert len(of(findings, "group gap")) == 6
    (gaps,) = of(findings, "equalized odds")
    assert gaps.n == 800
    assert json.loads(json.dumps([as_row(one) for one in findings]))[0]["probe"] == "group gap"


def test_rows_for_json_hold_no_nan() -> None:
    row = as_row(Finding("p", "a", "reported", float("nan"), 1.0, None, -float("inf"), 2.0, None, 3, "words"))
    assert json.loads(json.dumps(row, allow_nan=False)) == row
    assert (row["teacher"], row["lower"], row["student"]) == (None, None, 1.0)


@pytest.mark.parametrize("fault", ["shape", "gold", "column", "nan"])
def test_a_fault_says_what_to_give(fault: str) -> None:
    gold, teacher, student, group = world(50)
    p, column = probs(teacher), ["abcd"[one] for one in group]
    if fault == "shape":
        p = p[:-1]
    elif fault == "gold":
        gold = gold + 1
    elif fault == "column":
        column = column[:-1]
    else:
        p[0, 0] = np.nan
    with pytest.raises(StillhouseError) as caught:
        audit_groups(gold, p, probs(student), {"dialect": column}, LABELS, resamples=5, seed=0)
    assert caught.value.problems[0].fix
