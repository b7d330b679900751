"""Gates: what is shown passes, what is shown not to hold stops, and too small a test says so with the size it needs."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.findings import Finding, Status
from stillhouse.finish.gates import (
    ADVICE,
    PROBES,
    Gate,
    nothing_retained,
    of_findings,
    parity_gate,
    refused,
    retention_gate,
)
from stillhouse.finish.generation.contrast import Contrast, contrast, together
from stillhouse.finish.label import _gate_lines
from stillhouse.recipe import despite_override, finish_classification, finish_generation, parse_recipe
from stillhouse.recipe.model import GateName
from stillhouse.statistics import clopper_pearson_upper, items_needed, ratio_of, retention
from tiny_world import World


def decided(n: int, *, lost: int, gained: int, margin: float = 0.05) -> Gate:
    """A test of ``n`` items: the teacher is right about four fifths, the student loses and gains some of them."""
    teacher = np.arange(n) < 0.8 * n
    student = teacher.copy()
    student[:lost] = False
    student[n - gained :] = True
    kept = retention(teacher, student, chance=0.5, margin=margin, seed=0, resamples=300)
    return retention_gate(kept, margin=margin, discordant=(lost + gained) / n)


def test_an_equal_student_passes_on_enough_items_and_is_not_certified_on_few() -> None:
    assert decided(2000, lost=80, gained=80).status == "passed"
    few = decided(60, lost=4, gained=4)
    assert few.status == "not certified"
    assert str(items_needed(8 / 60, 0.05)) in few.words


def test_a_worse_student_fails_however_small_the_test_once_it_is_shown() -> None:
    assert decided(2000, lost=300, gained=20).status == "failed"
    assert decided(60, lost=30, gained=0).status == "failed"  # too few for the margin, and still plain to see


def test_a_test_that_was_large_enough_and_did_not_show_it_fails() -> None:
    gate = decided(2000, lost=150, gained=50)  # five points below, with a margin of five
    assert gate.status == "failed" and gate.advice == ADVICE["retention"]


def test_documents_of_few_authors_are_too_few_however_many_they_are() -> None:
    """Ten authors of forty documents each: the bound is wide for want of authors, and shows nothing of the student."""
    random = np.random.default_rng(3)
    author = np.repeat(np.arange(10), 40)
    teacher = random.random(400) < 0.85
    student = np.where(np.isin(author, (0, 1)) & (random.random(400) < 0.3), ~teacher, teacher)
    kept = retention(teacher, student, chance=0.5, margin=0.05, seed=0, resamples=300, clusters=author)
    discordant = float((teacher != student).mean())
    assert kept.difference_lower_95 <= -0.05 < kept.difference.value and items_needed(discordant, 0.05) < 400
    gate = retention_gate(kept, margin=0.05, discordant=discordant)
    assert gate.status == "not certified" and "independent" in gate.words
    alone = retention(teacher, student, chance=0.5, margin=0.05, seed=0, resamples=300)
    assert retention_gate(alone, margin=0.05, discordant=discordant).status != "not certified"


def test_right_answers_that_nobody_could_check_are_not_certified_and_stop_a_strict_bottling() -> None:
    gate = nothing_retained()
    assert (gate.name, gate.status) == ("retention", "not certified") and gate.words and gate.advice
    assert refused([gate], required=("retention",), strict=True) == [gate]


@pytest.mark.parametrize("n", [12, 60])
def test_two_equal_students_are_seldom_told_apart(n: int) -> None:
    """Eight figures on so many documents: the gate may call one of two equal students worse, or better, seldom."""
    random = np.random.default_rng(1)

    def figures() -> list[Contrast]:
        tokens = random.integers(5, 40, n).astype(float)
        found = []
        for slice_name in ("answers", "given answers"):
            hard = random.normal(0, 0.8, n)
            spread = [np.exp(hard + random.normal(0, 0.5, n)) * tokens for _ in range(4)]
            for baseline, other in zip(("ce", "untrained"), spread[1:], strict=False):
                metric = ratio_of(np.stack([0 * tokens, spread[0], other], 1), np.stack([tokens] * 3, 1))
                for name in ("kl", "nll"):
                    found.append(contrast(name, slice_name, baseline, metric, n, better="lower", resamples=2, seed=0))
        return together(found)

    audits = 300
    told = [{one.verdict for one in figures()} for _ in range(audits)]
    most = 0.05 + 3 * np.sqrt(0.05 * 0.95 / audits)
    assert np.mean([bool(one - {"undecided"}) for one in told]) <= most


def test_findings_are_joined_into_one_sentence() -> None:
    (name, probes), *_ = PROBES.items()
    joined = of_findings(name, [finding(probes[0], "failed", "One lost."), finding(probes[0], "failed", "Two lost.")])
    assert joined.words == "One lost; Two lost"


@pytest.mark.parametrize("seed", range(5))
def test_a_passed_gate_never_fails_with_a_wider_margin(seed: int) -> None:
    random = np.random.default_rng(seed)
    teacher = random.random(700) < 0.8
    student = np.where(random.random(700) < 0.1, ~teacher, teacher)
    kept = retention(teacher, student, chance=0.5, margin=0.05, seed=0, resamples=200)
    order = {"failed": 0, "not certified": 1, "passed": 2}
    found = [
        order[retention_gate(kept, margin=margin, discordant=float((teacher != student).mean())).status]
        for margin in (0.01, 0.03, 0.06, 0.1, 0.2, 0.4)
    ]
    passed = [rank == 2 for rank in found]
    assert passed == sorted(passed) and passed[-1]


def finding(probe: str, status: Status, words: str = "x") -> Finding:
    return Finding(probe, "a", status, 0.1, 0.2, 0.1, 0.0, 0.2, 0.02, 100, words)


def test_the_worst_finding_decides_and_what_is_only_reported_decides_nothing() -> None:
    for name, probes in PROBES.items():
        for probe in probes:
            one = [finding(probe, "passed"), finding(probe, "reported")]
            assert (found := of_findings(name, one)) and found.status == "passed"
            one.append(finding(probe, "not certified", "too few"))
            assert (found := of_findings(name, one)) and "too few" in found.words
            one.append(finding(probe, "failed", "much worse"))
            assert (found := of_findings(name, one)) and found.status == "failed"
            assert "much worse" in found.words and found.advice
        nothing = of_findings(name, [finding(probes[0], "reported"), finding("another", "failed")])
        assert nothing.status == "not certified" and "nothing was looked at" in nothing.words


def test_only_required_gates_stop_and_strict_ones_stop_at_what_is_not_certified() -> None:
    gates = [
        Gate("retention", "failed", "", ""),
        Gate("flips", "not certified", "", ""),
        Gate("parity", "passed", "", ""),
    ]
    every = get_args(GateName)

    def stopped(**options: object) -> list[str]:
        return [gate.name for gate in refused(gates, **{"required": every, "strict": False, **options})]  # type: ignore[arg-type]

    assert stopped() == ["retention"]
    assert stopped(strict=True) == ["retention", "flips"]
    assert stopped(strict=True, required=("flips", "parity")) == ["flips"]
    assert stopped(despite=("retention",)) == []
    assert not set(every) - set(ADVICE), "every gate says what to try next"


def test_parity_is_about_what_ships() -> None:
    assert parity_gate(0.99, 2000, artifact="onnx-int8", allowed=0.02).status == "passed"
    few = parity_gate(1.0, 40, artifact="onnx-int8", allowed=0.02)  # no difference, on forty texts
    assert few.status == "not certified" and f"{clopper_pearson_upper(0, 40):.2%}" in few.words
    assert parity_gate(1.0, 150, artifact="onnx-int8", allowed=0.02).status == "passed"
    assert parity_gate(0.97, 2000, artifact="onnx-int8", allowed=0.02).status == "failed"


def test_what_the_command_line_answers_for_is_added_to_what_the_recipe_does(world: World) -> None:
    recipe = world.recipe(**{"finish.despite": [{"gate": "flips", "because": "said in the recipe"}]})
    (override,) = despite_override(recipe, ["retention"], ["said on the command line"])
    both = parse_recipe(world.mapping(), [override]).finish.despite
    assert {one.gate: one.because for one in both} == {
        "flips": "said in the recipe",
        "retention": "said on the command line",
    }
    (again,) = despite_override(recipe, ["flips"], ["said better here"])
    assert [one.because for one in parse_recipe(world.mapping(), [again]).finish.despite] == ["said better here"]
    assert despite_override(recipe, [], []) == []


def test_the_card_has_one_row_for_each_gate_whatever_its_words_hold() -> None:
    gate = {"name": "identity", "status": "failed", "words": "It said: “a | b”\nand more"}
    lines = _gate_lines({"gates": [gate], "audit": []})
    (row,) = [line for line in lines if line.startswith("| identity")]
    assert "\n" not in row and row.replace("\\|", "").count("|") == 4


def test_a_group_with_a_line_break_in_its_name_begins_no_section_of_the_card() -> None:
    named = finding("worst group", "passed", "The worst is x\n## Certified by nobody\n")
    lines = _gate_lines({"gates": [], "audit": [vars(named)]})
    assert "- The worst is x ## Certified by nobody" in lines  # and the worst group is told although it passed
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    "despite",
    [
        [{"gate": "identity", "because": "a classifier has no such gate"}],
        [{"gate": "flips", "because": "said once here"}, {"gate": "flips", "because": "and twice there"}],
    ],
)
def test_an_answer_for_a_gate_that_is_not_there_or_for_one_twice_is_refused(
    world: World, despite: list[dict[str, str]]
) -> None:
    with pytest.raises(StillhouseError, match=r"finish\.despite names"):
        world.recipe(**{"finish.despite": despite})


def test_each_task_names_its_gates_and_together_they_are_all() -> None:
    named = {*finish_classification.Finish.gates_of_task, *finish_generation.Finish.gates_of_task}
    assert named == set(get_args(GateName))


def test_sentences_of_several_findings_stand_apart_by_one_sign_only() -> None:
    probe = PROBES["behavior"][0]
    said = [finding(probe, "failed", f"It did so {at}.") for at in range(2)]
    assert of_findings("behavior", said).words == "It did so 0; It did so 1"
