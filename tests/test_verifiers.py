"""Verifiers: tables of what is right, and laws that hold for any text and any number."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillhouse.errors import StillhouseError
from stillhouse.verifiers import Verdict, by_name, exact, from_path, label, mentions, numeric, regex

UNITS = {"km": 1000, "m": 1, "%": 0.01, "k": 1e-9}


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("42", "42", True),
        ("It is 7 at first, then 42.", "42", True),
        ("42 at first, then 7.", "42", False),
        ("$1,250.50 in all", "1250.5", True),
        ("1,234,567", "1234567", True),
        ("1’234’567", "1234567", True),
        ("1\u202f234\u202f567", "1234567", True),
        ("1,2345", "12345", False),
        ("-5", "5", False),
        ("x = −5", "-5", True),
        ("-$5", "-5", True),
        ("pages 10-5", "5", True),
        ("COVID-19", "19", True),
        ("H2O", "2", False),
        ("version 3.5.1", "3.5", True),
        ("...42...", "42", True),
        ("**42**", "42", True),
        ("_42_", "42", True),
        ("#### 42", "42", True),
        ("3/4", "0.75", True),
        ("1 3/4", "1.75", True),
        (r"\frac{3}{4}", "0.75", True),
        (r"so $\boxed{\dfrac{3}{4}}$, see step 9", "3/4", True),
        (r"\boxed{12} or rather \boxed{13}", "13", True),
        (r"\boxed{12", "12", True),
        ("3/0", "3", False),
        ("on 12/11/2024", "2024", True),
        ("1e3", "1000", True),
        ("2.5E-3", "0.0025", True),
        ("3 × 10^5", "300000", True),
        (r"3 \times 10^{-2}", "0.03", True),
        (".5", "0.5", True),
        ("1e999999999", "1", False),
        ("9" * 5000, "9", False),
        ("none at all", "1", False),
        ("", "1", False),
        ("٤٢", "42", True),  # digits of another script are digits
    ],
)
def test_the_last_number_counts(answer: str, gold: str, right: bool) -> None:
    verdict = numeric(answer, gold)
    assert verdict.right is right, verdict
    assert verdict.why


def test_the_decimal_point_may_be_a_comma() -> None:
    assert numeric("1.234,5", "1234,5", point=",").right
    assert numeric("3,14", "3,14", point=",").right
    assert not numeric("1.234", "1,234", point=",").right


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("1.5 km", "1500 m", True),
        ("1.5km", "1.5 km", True),
        ("1.5", "1.5 km", True),
        ("1.5 m", "1.5 km", False),
        ("45%", "0.45", True),
        (r"45\%", "45 %", True),
        ("45", "45%", True),
        ("5 apples", "5 m", True),
        ("5 meters", "5 km", True),  # no unit that was named, so it takes the gold's
    ],
)
def test_units_are_those_that_were_named(answer: str, gold: str, right: bool) -> None:
    assert numeric(answer, gold, units=UNITS).right is right


def test_tolerance_is_absolute_for_small_and_relative_for_large_numbers() -> None:
    assert numeric("0.34", "0.33", tolerance=0.01).right
    assert not numeric("0.35", "0.33", tolerance=0.01).right
    assert numeric("1010", "1000", tolerance=0.01).right
    assert not numeric("1011", "1000", tolerance=0.01).right
    assert not numeric("0.1000000000000000001", "0.1").right


@given(st.integers(-(10**9), 10**9), st.integers(0, 9), st.text(st.characters(categories=["L", "Zs"]), max_size=20))
def test_a_number_is_read_however_it_is_written(digits: int, places: int, words: str) -> None:
    value = Fraction(digits, 10**places)
    decimals = f"{abs(digits) % 10**places:0{places}d}" if places else ""
    whole, sign = abs(digits) // 10**places, "-" if digits < 0 else ""
    for shape in (f"{sign}{whole}", f"{sign}{whole:,}"):
        written = f"{words} {shape}{'.' if places else ''}{decimals}."
        assert numeric(written, f"{value.numerator}/{value.denominator}").right, written


@given(st.text(), st.text())
def test_verdicts_never_crash_and_always_say_why(answer: str, gold: str) -> None:
    for name, options in (("exact", {}), ("numeric", {"units": UNITS}), ("label", {"labels": ["yes", "no"]})):
        assert by_name(name, **options)(answer, gold).why


@given(st.text())
def test_a_text_is_exactly_itself_with_white_space_aside(text: str) -> None:
    assert exact(text, text).right
    assert exact(f"  {text}\n", text).right
    assert not exact(f"{text} x", text).right
    assert exact("", None).right is None


def test_case_counts_where_it_is_not_ignored() -> None:
    assert not exact("Paris", "PARIS").right
    assert exact("Paris  is", "PARIS is", ignore_case=True).right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("toxic", True),
        ("Toxic.", True),
        ('"toxic"', True),
        ("`toxic`\n", True),
        ("not toxic", False),
        ("yes", False),
        ("toxic, not toxic", False),
        ("", False),
    ],
)
def test_a_label_is_one_of_the_list(answer: str, right: bool) -> None:
    labels = ["toxic", "not toxic"]
    assert label(answer, "toxic", labels=labels).right is right
    in_list = label(answer, None, labels=labels)
    assert in_list.right is (answer not in ("yes", "toxic, not toxic", ""))
    assert in_list.right or "off-list" in in_list.why


def test_labels_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(StillhouseError, match="two labels"):
        label("a", None, labels=["Yes", "yes."])
    assert label("?", None, labels=["?", "!"]).right


def test_a_pattern_matches_the_whole_answer_and_may_point_at_the_gold() -> None:
    verify = regex(r"(?:[^\n]*\n)*Answer: (?P<answer>\w+)")
    assert verify("I think.\nAnswer: blue\n", "blue").right
    assert not verify("I think.\nAnswer: red", "blue").right
    assert verify("Answer: red", None).right
    assert not verify("Answer: red, or so", "red").right
    assert regex(r"\d+")("12", "no group, so the gold is not looked at").right


@pytest.mark.parametrize("pattern", ["(", "a)(b", r"(a)\1", "(?=a)b", "(x)(?P<answer>y)"])
def test_what_is_no_safe_pattern_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(StillhouseError, match="pattern"):
        regex(pattern)


def test_no_pattern_and_no_text_makes_time_explode() -> None:
    begun = time.thread_time()
    for pattern in ("(a+)+", "(a|a)*", "(a*)*"):
        assert not regex(pattern)("a" * 20_000 + "!", None).right
    for text in ("9" * 50_000, "1," * 50_000, "1 " * 50_000, "1/" * 50_000, "\\boxed{" * 20_000, "{" * 50_000):
        numeric(text, "1")
    assert time.thread_time() - begun < 3


def test_a_function_of_ones_own_is_called_and_its_faults_are_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_checks.py").write_text(
        "from stillhouse.verifiers import Verdict\n"
        "def longer(answer, gold): return len(answer) > len(gold)\n"
        "def explains(answer, gold): return Verdict(False, 'since I say so')\n"
        "def fails(answer, gold): raise KeyError('x')\n"
        "def counts(answer, gold): return 1\n"
        "word = 'no function'\n"
    )
    (tmp_path / "broken_checks.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert from_path("own_checks:longer")("abc", "ab") == Verdict(True, "own_checks:longer says right")
    assert from_path("own_checks:explains")("", "") == Verdict(False, "since I say so")
    assert from_path("own_checks:fails")("", "") == Verdict(None, "verifier failed: KeyError: 'x'")
    assert from_path("own_checks:counts")("", "").right is None
    for path in ("own_checks:nothing", "own_checks:word", "own_checks", "no_such_package:f", "broken_checks:f", ""):
        with pytest.raises(StillhouseError):
            from_path(path)


def test_verifiers_go_by_name() -> None:
    assert by_name("exact", ignore_case=True)("A", "a").right
    assert by_name("numeric", tolerance=0.5)("1.4", "1").right
    assert by_name("label", labels=["a", "b"])("b", "b").right
    assert by_name("regex", pattern="a+")("aa", None).right
    assert by_name("callable", path="operator:eq")("a", "a").right
    with pytest.raises(StillhouseError, match="exact, mentions, label, numeric, regex, callable"):
        by_name("magic")


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("The capital of France is **Paris**.", "Paris", True),
        ("the capital is\n new  delhi", "New Delhi", True),
        ("Parisian food is famous.", "Paris", False),
        ("A spider has eight legs.", "8 | eight", True),
        ("It has 8.", "8 | eight", True),
        ("It has 18, or 8.5, or 1,008.", "8 | eight", False),
        ("5 + 7 = 12", "12", True),
        ("Yes, it is not a fish but a mammal, no doubt.", "yes", True),
        ("No. Some say yes.", "yes", False),
        ("It depends.", "no", False),
        ("H2O", "h2o", True),
        ("", "x", False),
    ],
)
def test_mentions(answer: str, gold: str, right: bool) -> None:
    assert mentions(answer, gold, choices=("yes", "no")).right is right


@given(st.text(), st.text(alphabet="abc1 ", min_size=1).filter(str.strip))
def test_an_answer_around_its_gold_mentions_it(around: str, gold: str) -> None:
    assert mentions(f"{around} {gold} {around}", gold).right
    assert mentions(around, None).right is None
