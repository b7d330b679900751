"""The control of the swaps: harmless words in the same places, and what they tell of a student's flips."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.classifier import ClassifierPlan, audit_classifier
from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.swaps import LANGUAGES, Control, SwapSet, audit_swaps, control_set, own_swaps, swap_set
from stillhouse.finish.audit.swaps.cause import Beside, causes
from stillhouse.finish.audit.swaps.control import TIMES
from stillhouse.finish.audit.swaps.flips import Flips
from stillhouse.finish.audit.swaps.own import _lists
from stillhouse.finish.audit.swaps.sentences import HARMLESS, sentences_of
from stillhouse.finish.gates import ADVICE, of_findings
from stillhouse.finish.held_out import HeldOut

LABELS = ("fine", "toxic")
SET = swap_set("en", seed=0)
CONTROL = control_set(SET, seed=0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_sentence_has_two_harmless_counterparts_of_its_kind_in_its_template(language: str) -> None:
    swaps, sentences = swap_set(language, seed=0), sentences_of(language)
    control = control_set(swaps, seed=0)

    def kinds(of: SwapSet, harmless: bool) -> Counter[tuple[str, str, bool]]:
        return Counter(
            (template, attribute, sentences.one_word(HARMLESS if harmless else attribute, term))
            for template, attribute, term in zip(of.templates, of.attributes, of.terms, strict=True)
        )

    assert kinds(control, True) == {key: TIMES * count for key, count in kinds(swaps, False).items()}
    assert len(set(control.texts)) < 0.65 * len(swaps.texts)  # the attributes share them
    assert not set(control.texts) & set(swaps.texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_harmless_word_is_one_of_identity_and_all_come_up(language: str) -> None:
    sentences = sentences_of(language)
    of_identity = {
        forms[0].split()[1]
        for attribute, terms in sentences.terms.items()
        for term, genders in terms.items()
        for forms in genders.values()
        if sentences.one_word(attribute, term)
    }
    nouns = {
        forms[0].split()[1]
        for term, genders in sentences.harmless.items()
        for forms in genders.values()
        if sentences.one_word(HARMLESS, term)
    }
    assert not of_identity & nouns
    used = set(control_set(swap_set(language, seed=0), seed=0).terms)
    assert used == set(sentences.harmless)


def test_the_control_of_a_smaller_set_is_part_of_a_larger_ones() -> None:
    texts = [set(control_set(swap_set("de", pairs=pairs, seed=3), seed=3).texts) for pairs in (30, 150, 300, 600)]
    assert all(small < large for small, large in pairwise(texts))
    assert control_set(SET, seed=0) == CONTROL != control_set(SET, seed=1)


def flips(by_template: np.ndarray, teacher: np.ndarray | None = None, *, pairs: int = 6) -> Flips:
    """As many pairs of each template flip."""
    student = (np.arange(pairs) < by_template[:, None]).ravel()
    taught = np.zeros(len(student)) if teacher is None else (np.arange(pairs) < teacher[:, None]).ravel()
    still = np.zeros(len(student))
    return Flips(taught.astype(bool), student, still, still, np.repeat(np.arange(len(by_template)), pairs))


def test_the_decisions_are_students_test_over_templates_each_its_own_control() -> None:
    from scipy.stats import ttest_1samp, ttest_rel

    random = np.random.default_rng(0)
    own, taught, harmless = (random.integers(0, most, 40) for most in (5, 2, 3))
    beside = Beside(flips(own, taught), flips(harmless))
    excess, control = (own - taught) / 6, harmless / 6
    assert beside.excess == pytest.approx(excess.mean() - control.mean())
    assert beside.p_identity() == pytest.approx(ttest_rel(excess, control, alternative="greater").pvalue)
    assert beside.p_unsteady() == pytest.approx(ttest_1samp(control - excess / 2, 0, alternative="greater").pvalue)
    interval = beside.interval(resamples=500, seed=0)
    assert interval.lower < interval.value < interval.upper
    assert interval.value == pytest.approx(beside.excess)


def test_more_harmless_pairs_in_each_template_change_no_rate() -> None:
    counts = np.random.default_rng(1).integers(0, 4, 30)
    few, many = flips(counts), flips(5 * counts, pairs=30)
    assert few.by_template() == pytest.approx(many.by_template())
    assert Beside(few, many).excess == pytest.approx(0)
    assert Beside(few, many).p_identity() == 1.0  # alike in every template


def test_a_control_of_other_templates_is_refused() -> None:
    with pytest.raises(StillhouseError, match="no control"):
        Beside(flips(np.ones(5)), flips(np.ones(6)))


def test_causes_are_claimed_over_all_attributes_together() -> None:
    random = np.random.default_rng(2)
    lumps, still = 3 * (random.random(50) < 0.3), np.zeros(50, dtype=int)
    beside = {
        "biased": Beside(flips(lumps), flips(still)),
        "unsteady": Beside(flips(lumps), flips(lumps)),
        "both": Beside(flips(2 * lumps), flips(lumps + (lumps > 0))),
        "open": Beside(flips(lumps), flips(lumps // 2 * (np.arange(50) % 2))),
    }
    found = causes(beside, level=0.05)
    assert found["biased"] == "identity"
    assert found["unsteady"] == "unsteady"
    assert found["both"] == "both"
    # what is clear alone need not be clear among many
    weak = Beside(flips(3 * (np.arange(50) < 3)), flips(still))
    assert causes({"weak": weak}, level=0.05)["weak"] == "identity"
    assert (
        causes({"weak": weak} | {str(at): Beside(flips(still), flips(still)) for at in range(9)}, level=0.05)["weak"]
        == "open"
    )


def probabilities(logits: np.ndarray) -> np.ndarray:
    toxic = 1 / (1 + np.exp(-logits))
    return np.stack([1 - toxic, toxic], axis=1)


def logits(swaps: SwapSet, *, seed: int, shake: float, of: str | None = None, spread: float = 1.5) -> np.ndarray:
    """What the template gives, and a shake of each text; of: only of this attribute's, the others' are small."""
    tone = {
        name: np.random.default_rng([3, at]).normal(0, spread) for at, name in enumerate(sorted(set(SET.templates)))
    }
    texts = {text: at for at, text in enumerate(dict.fromkeys(swaps.texts))}
    noise = np.random.default_rng(seed).normal(size=len(texts))
    sizes = np.array([shake if of in (None, one) else 0.05 for one in swaps.attributes])
    shaken = sizes * noise[[texts[text] for text in swaps.texts]]
    return np.array([tone[name] for name in swaps.templates]) + shaken


def told(student: np.ndarray, of_control: np.ndarray) -> list[Finding]:
    teacher, its_control = (probabilities(logits(one, seed=at, shake=0.05)) for at, one in ((1, SET), (2, CONTROL)))
    control = Control(CONTROL, its_control, probabilities(of_control))
    return audit_swaps(SET, teacher, probabilities(student), LABELS, control=control, resamples=200, seed=0)


def of_attribute(found: list[Finding], probe: str, attribute: str) -> Finding:
    return next(one for one in found if one.probe == probe and f"{attribute}, templates" in one.about)


def test_a_student_that_turns_with_any_word_is_told_to_be_unsteady() -> None:
    found = told(logits(SET, seed=3, shake=2.0), logits(CONTROL, seed=4, shake=2.0))
    gender = of_attribute(found, "swap", "gender")
    assert gender.status == "failed"
    assert "at least half of the excess is unsteadiness; identity words are not shown to add" in gender.words
    assert "longer training" in gender.advice and "identity word" not in gender.advice
    control, cause = (of_attribute(found, probe, "gender") for probe in ("swap control", "swap cause"))
    assert control.status == cause.status == "reported"
    assert gender.value is not None and control.value is not None and cause.value is not None
    assert cause.value == pytest.approx(gender.value - control.value)
    assert (cause.student, cause.teacher) == pytest.approx(
        (gender.student - control.student, gender.teacher - control.teacher)  # type: ignore[operator]
    )
    assert cause.lower is not None and cause.lower < 0
    gate = of_findings("flips", found)
    assert gate.status == "failed" and gate.advice == gender.advice != ADVICE["flips"]


def test_a_student_that_turns_with_identity_words_alone_is_told_so() -> None:
    found = told(logits(SET, seed=3, shake=2.0, of="gender"), logits(CONTROL, seed=4, shake=0.05))
    gender = of_attribute(found, "swap", "gender")
    assert gender.status == "failed"
    assert "it is the identity words, which add" in gender.words
    assert gender.advice.startswith("add documents in which only the identity word differs")
    assert of_attribute(found, "swap cause", "gender").words.endswith("shown to be more than nothing")
    assert not of_attribute(found, "swap cause", "age").words.endswith("shown to be more than nothing")
    assert of_attribute(found, "swap", "age").advice == ""


def test_without_a_control_all_is_as_it_was_and_with_one_no_decision_changes() -> None:
    student, taught = logits(SET, seed=3, shake=1.0), logits(SET, seed=1, shake=0.05)
    alone = audit_swaps(SET, probabilities(taught), probabilities(student), LABELS, resamples=200, seed=0)
    beside = told(student, logits(CONTROL, seed=4, shake=1.0))
    same = [one for one in beside if one.probe not in ("swap control", "swap cause")]
    assert {one.probe for one in alone} == {one.probe for one in same}
    assert [replace(one, words="", advice="") for one in alone] == [replace(one, words="", advice="") for one in same]
    with pytest.raises(StillhouseError, match="the student's control"):
        told(student, logits(CONTROL, seed=4, shake=1.0)[:-1])


def test_a_merely_unsteady_student_is_called_biased_in_one_audit_of_twenty_at_most() -> None:
    swaps = swap_set("en", pairs=120, seed=0)
    control = control_set(swaps, seed=0)
    names, audits, alarms = sorted(set(swaps.attributes)), 150, 0
    for seed in range(audits):
        probs = [
            probabilities(logits(one, seed=4 * seed + at, shake=shake))
            for at, (one, shake) in enumerate([(swaps, 0.1), (swaps, 0.8), (control, 0.1), (control, 0.8)])
        ]
        beside = {
            name: Beside(Flips.of(swaps, name, *probs[:2]), Flips.of(control, name, *probs[2:])) for name in names
        }
        alarms += any(one in ("identity", "both") for one in causes(beside, level=0.05).values())
    assert alarms <= 0.05 * audits + 3 * np.sqrt(0.05 * 0.95 * audits)


OWN = {
    "An old woman waited at the door.": r"A (?:nearby|seated|waiting|right-handed|visiting) woman|An unnamed woman",
    "I saw a man there.": r"I saw a (?:person|visitor|guest|neighbor|passenger|reader|customer|cyclist) there\.",
    "MEN cannot agree.": r"[A-Z]+ cannot agree\.",
    "Muslims came.": r"[A-Z][a-z]+s came\.|People came\.",
    "we met Muslims and ate.": r"we met [a-z]+ and ate\.",
    "we met muslims and ate.": r"we met [a-z]+ and ate\.",
}


@pytest.mark.parametrize(("text", "wanted"), OWN.items())
def test_own_texts_get_harmless_words_in_the_place_of_identity(text: str, wanted: str) -> None:
    swaps, control = (own_swaps([text], ["a"], language="en", harmless=one, seed=0) for one in (False, True))
    assert set(control.attributes) == set(swaps.attributes)
    assert len(control.texts) == len(set(control.texts)) == TIMES * len(swaps.texts)
    for one in control.texts:
        assert re.search(wanted, one), one
        assert not any(pattern.search(one) for name, pattern in _lists().known.items() if name in swaps.attributes), one


def test_own_texts_are_their_own_control() -> None:
    texts = [f"Number {at}: an {word} person called." for at in range(40) for word in ("elderly", "Italian")]
    ids = [f"doc-{at}" for at in range(len(texts))]
    swaps, control = (own_swaps(texts, ids, language="en", harmless=one, seed=0) for one in (False, True))
    assert set(zip(swaps.templates, swaps.attributes, strict=True)) == set(
        zip(control.templates, control.attributes, strict=True)
    )
    probs, of_control = (np.full((len(one.texts), 2), 0.5) for one in (swaps, control))
    found = audit_swaps(swaps, probs, probs, LABELS, control=Control(control, of_control, of_control), seed=0)
    assert [one.about for one in found if one.probe == "swap cause"] == [
        "identity excess, age, documents, en",
        "identity excess, origin, documents, en",
    ]


def test_each_text_is_asked_once_and_harmless_words_can_be_left_out() -> None:
    texts = [f"An old woman waited at door {place}." for place in range(6)]
    test = HeldOut([*"abcdef"], texts, np.arange(6) % 2, np.full((6, 2), 0.5), {}, {"source": ["s"] * 6}, ["en"] * 6, 0)

    def asked(harmless: bool) -> tuple[list[list[str]], set[str]]:
        seen: list[list[str]] = []

        def ask(some: Sequence[str]) -> Any:
            seen.append(list(some))
            return np.full((len(some), 2), 0.5)

        plan = ClassifierPlan(pairs=12, own_documents=6, harmless_words=harmless, resamples=200)
        found = audit_classifier(test, test.teacher_probs, ("bad", "good"), plan, ask_student=ask, ask_teacher=ask)
        return seen, {one.probe for one in found}

    with_control, probes = asked(True)
    assert {"swap control", "swap cause"} <= probes
    assert all(len(some) == len(set(some)) for some in with_control)
    without, probes = asked(False)
    assert not {"swap control", "swap cause"} & probes
    assert all(set(few) < set(many) for few, many in zip(without, with_control, strict=True))
