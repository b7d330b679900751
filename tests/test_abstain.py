"""Abstaining keeps its promise over draws, answers all at 0 and none at 1, and a cascade asks only where it must."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner

from stillhouse.cli import app
from stillhouse.errors import StillhouseError
from stillhouse.execute import Finished, run
from stillhouse.finish.abstain import NEVER, Abstaining, answered, choose, confidence_of, measure
from stillhouse.finish.bottle import LABEL, seal_bottle, verify_bottle
from stillhouse.finish.bottle_classification import Classifier
from stillhouse.recipe import parse_recipe
from stillhouse.use import TeacherAtHand, open_bottle
from tiny_world import World

Probs = npt.NDArray[np.float64]


def drawn(random: np.random.Generator, rows: int) -> tuple[Probs, npt.NDArray[np.int64]]:
    """Answers that are right as often as they claim, and a tenth less often."""
    sure = 0.5 + 0.5 * random.random(rows)
    right = random.random(rows) < sure - 0.1 * (1 - sure)
    labels = random.integers(2, size=rows)
    probs = np.where(np.arange(2) == labels[:, None], sure[:, None], 1 - sure[:, None])
    return probs, np.where(right, labels, 1 - labels)


def risk_above(threshold: float) -> float:
    """What share of answers above the threshold is wrong, in truth."""
    sure = np.linspace(max(threshold, 0.5), 1, 10_001)
    return float((1 - sure + 0.1 * (1 - sure)).mean())


# --- the threshold


def test_the_promise_is_broken_in_no_more_draws_than_it_says() -> None:
    random, draws, broken, used = np.random.default_rng(0), 400, 0, 0
    for _ in range(draws):
        found = choose(*drawn(random, 300), most=0.2)
        used += found.threshold < NEVER
        broken += found.threshold < NEVER and risk_above(found.threshold) > 0.2
    assert broken / draws <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    assert used > 0.5 * draws  # a rule that never answers would keep every promise


def test_0_answers_all_and_1_answers_none() -> None:
    probs = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    assert answered(probs, 0.0).all()
    assert not answered(probs, 1.0).any()
    assert list(answered(probs, 0.5)) == [True, False, True]
    assert not answered(np.full((1, 2), np.nan), 0.0).any()


def test_a_student_that_is_always_right_answers_all_and_one_that_never_is_nothing() -> None:
    probs, _ = drawn(np.random.default_rng(1), 300)
    labels = probs.argmax(axis=1)
    right, wrong = choose(probs, labels, most=0.05), choose(probs, 1 - labels, most=0.05)
    assert right.threshold == 0.0
    assert right.answered == 300
    assert right.bound is not None
    assert right.bound <= 0.05
    assert wrong.threshold == NEVER
    assert "no threshold can promise" in wrong.why


def test_the_rows_that_are_answered_are_those_that_were_tested() -> None:
    for seed in range(20):
        probs, right = drawn(np.random.default_rng(seed), 500)
        found = choose(probs, right, most=0.1)
        here = answered(probs, found.threshold)
        assert here.sum() == found.answered
        assert (probs.argmax(axis=1) != right)[here].sum() == found.seen


def test_more_is_answered_where_more_may_be_wrong() -> None:
    probs, right = drawn(np.random.default_rng(3), 2000)
    thresholds = [choose(probs, right, most=most).threshold for most in (0.02, 0.05, 0.1, 0.2, 0.4)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > thresholds[-1]


def test_what_it_comes_to_worked_out_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.45, 0.55]])
    chosen = Abstaining(0.7, 0.1, 0.95, "teacher", 10, 5, 0, 0.1, "given")
    found = measure(chosen, probs, np.array([0, 0, 1, 1]), gold=np.array([0, 1, 1, 0]))
    values = [one and one.value for one in (found.coverage, found.agreement, found.accuracy, found.cascade_accuracy)]
    assert values == [0.5, 0.5, 1.0, 0.75]
    none = measure(Abstaining(NEVER, 0.1, 0.95, "teacher", 10, 0, 0, None, "given"), probs, np.array([0, 0, 1, 1]))
    assert (none.coverage and none.coverage.value, none.agreement, none.cascade_accuracy) == (0.0, None, None)


def test_it_goes_through_json_unchanged() -> None:
    probs, right = drawn(np.random.default_rng(4), 400)
    found = measure(choose(probs, right, most=0.1), probs, right, gold=right)
    assert Abstaining.of_row(json.loads(json.dumps(found.row()))) == found
    for broken in ({}, {"threshold": "high"}, {**found.row(), "coverage": 3}):
        with pytest.raises(StillhouseError, match="cannot be read"):
            Abstaining.of_row(broken)


def test_no_documents_promise_nothing_and_every_text_is_passed_on() -> None:
    found = choose(np.empty((0, 2)), np.empty(0, dtype=np.int64), most=0.1, against="gold")
    assert found.threshold == NEVER and found.bound is None
    assert found.why.endswith("0 validation documents with a gold label")


@pytest.mark.parametrize("most", [0.0, 1.0, -0.1])
def test_what_makes_no_sense_is_refused(most: float) -> None:
    with pytest.raises(StillhouseError, match="no threshold can be chosen"):
        choose(np.array([[0.5, 0.5]]), np.array([0]), most=most)
    with pytest.raises(StillhouseError, match="no threshold can be chosen"):
        choose(np.array([[0.5, 0.5]]), np.array([0, 1]), most=0.1)


# --- the cascade


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose bottle abstains on half of the test texts."""
    folder = tmp_path_factory.mktemp("run")
    mapping = world.mapping()
    paths = {"runs": "runs", "answers": "answers.sqlite", "cache": "cache"}
    mapping["paths"] = {key: str(folder / value) for key, value in paths.items()}
    mapping["distill"]["cuts"] = None
    made = run(parse_recipe(mapping), base=world.folder)
    bottle = open_bottle(made.bottle)
    sure = confidence_of(bottle.predict_proba(TEXTS))
    chosen = Abstaining(float(np.median(sure)), 0.05, 0.95, "teacher", 40, 20, 0, 0.05, "set by the test")
    label = {**made.label, "abstain": chosen.row()}
    (made.bottle / LABEL).write_text(json.dumps(label), "utf-8")
    seal_bottle(made.bottle)
    return made


TEXTS = [f"{one} {two} film" for one in ("great", "dull", "fine", "grim") for two in ("the", "a", "lovely", "cold")]


def opened(finished: Finished) -> Classifier:
    bottle = open_bottle(str(finished.bottle))
    assert isinstance(bottle, Classifier)
    return bottle


def test_a_teacher_that_says_what_the_student_says_changes_nothing(finished: Finished) -> None:
    bottle = opened(finished)
    alone = bottle.predict(TEXTS)
    known = dict(zip(TEXTS, alone, strict=True))
    asked: list[str] = []

    def student(texts: Sequence[str]) -> list[tuple[str, float] | str]:
        asked.extend(texts)
        return [known[text] for text in texts]

    assert bottle.predict(TEXTS, teacher=student) == alone
    assert 0 < len(asked) < len(TEXTS)
    sure = answered(bottle.predict_proba(TEXTS), opened(finished).label["abstain"]["threshold"])
    assert asked == [text for text, here in zip(TEXTS, sure, strict=True) if not here]


def test_only_what_is_passed_on_is_the_teacher_s_and_a_failure_is_told(finished: Finished) -> None:
    bottle = opened(finished)
    found = bottle.sorted_out(TEXTS, teacher=lambda texts: [("bad", 0.5), *(["it broke"] * (len(texts) - 1))])
    passed = [one for one in found if one.abstained]
    assert (passed[0].label, passed[0].by) == ("bad", "teacher")
    assert {(one.by, one.failure) for one in passed[1:]} == {("student", "it broke")}
    assert all(one.by == "student" for one in found if not one.abstained)
    records = bottle.records(TEXTS)
    assert [record.get("abstained", False) for record in records] == [one.abstained for one in found]
    assert not any("by" in record for record in records)


def test_the_run_s_own_teacher_answers_what_is_passed_on(finished: Finished, tmp_path: Path) -> None:
    assert verify_bottle(finished.bottle) == []
    file, output = tmp_path / "texts.jsonl", tmp_path / "out.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), "utf-8")
    command = ["predict", str(finished.bottle), str(file), "--output", str(output)]
    assert CliRunner().invoke(app, command).exit_code == 0
    alone = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    result = CliRunner().invoke(app, [*command, "--cascade", str(finished.folder)])
    assert result.exit_code == 0, result.output
    both = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    said = TeacherAtHand.open(finished.folder).ask(TEXTS)
    for before, after, (label, share) in zip(
        alone, both, (one for one in said if not isinstance(one, str)), strict=True
    ):
        if after.get("abstained"):
            assert (after["label"], after["by"]) == (label, "teacher")
            assert after["probability"] == pytest.approx(share, abs=1e-6)
        else:
            assert after == {**before, "by": "student"}
    assert {one["by"] for one in both} == {"student", "teacher"}


def test_a_bottle_that_never_abstains_or_another_run_s_teacher_is_refused(finished: Finished, tmp_path: Path) -> None:
    never = Classifier(finished.bottle, {}, ("bad", "good"), opened(finished).classifier)
    with pytest.raises(StillhouseError, match="no threshold for abstaining"):
        never.predict(TEXTS, teacher=lambda texts: [])
    other = Classifier(finished.bottle, {"labels": ["no", "yes"]}, ("no", "yes"), opened(finished).classifier)
    with pytest.raises(StillhouseError, match="the bottle's labels are no, yes, and the teacher's bad, good"):
        TeacherAtHand.open(finished.folder).check(other)
    with pytest.raises(StillhouseError, match="no run that has asked its teacher"):
        TeacherAtHand.open(tmp_path)
