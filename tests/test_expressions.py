"""Expressions compute, or fail for one row alone; they never crash, hang, or reach beyond the row."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples import examples
from stillhouse.errors import StillhouseError
from stillhouse.raw.expressions import Expression, ExpressionFailed

_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=4,
)


def compute(text: str, /, **values: object) -> object:
    return Expression(text, where="raw.sources.0.columns.label")(values)


@pytest.mark.parametrize("value", ["x", 1, None, 2.5, True, ["a"], {"a": 1}])
@pytest.mark.parametrize("name", ["label", "min", "class", "Review Text", "größe", "is", "import os"])
def test_a_bare_column_is_its_value(name: str, value: object) -> None:
    expression = Expression(name, where="w")
    assert expression.names == {name}
    assert expression({name: value}) is value


def test_the_quickstart_label() -> None:
    sign = "None if abs(float(score)) <= 0.5 else ('positive' if float(score) > 0 else 'negative')"
    expression = Expression(sign, where="w")
    assert expression.names == {"score"}
    found = {score: expression({"score": score}) for score in ("0.5", "-0.4", "0.6", -3)}
    assert found == {"0.5": None, "-0.4": None, "0.6": "positive", -3: "negative"}
    failing: tuple[object, ...] = ("abc", "", None, "nan", float("nan"), "inf", [], {})
    for bad in failing:  # never the `else` by accident
        with pytest.raises(ExpressionFailed):
            expression({"score": bad})


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("t + ' ' + upper(t)", "a b A B"),
        ("len(t) * 2 - 1 // 1 % 5", 5),
        ("not t and 1 or -n ** 2", -9),
        ("1 < n <= 3 != 4", True),
        ("t in ['a b', 'c'] and n not in (1, 2)", True),
        ("'a' in t and contains(t, 'b') and contains(split(t), 'a')", True),
        ("startswith(t, 'a') and endswith(t, 'b')", True),
        ("split(t)[1] + split('x,y', ',')[0]", "bx"),
        ("replace(strip('  x '), 'x', t)", "a b"),
        ("lower('AB') + str(int('3') + round(2.567, 1))", "ab5.6"),
        ("min(n, 2) + max(n, 2, 5) / 2", 4.5),
        ("is_missing(none) and is_missing(absent) and not is_missing(t)", True),
        ("str(none)", None),
        ("none is None", True),
        ("column('odd name') + 1", 2),
        ("d['k'][0]", 7),
        ("'yes' if n > 2 else absent", "yes"),
    ],
)
def test_expressions_compute(text: str, result: object) -> None:
    assert compute(text, t="a b", n=3, none=None, d={"k": [7]}, **{"odd name": 1}) == result


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a +",
        "a b + c",
        "a.b",
        "a.__class__",
        "lambda: 1",
        "[x for x in a]",
        "{x for x in a}",
        "{'a': 1}",
        "f'{a}'",
        "a := 1",
        "a = 1",
        "a; b",
        "a\nb",
        "eval('1')",
        "__import__('os')",
        "open(a)",
        "(lambda: 1)()",
        "a[1:2]",
        "a << 9",
        "~a",
        "b'x'",
        "1j",
        "...",
        "len()",
        "len(a, a)",
        "len(*a)",
        "max(a, key=len)",
        "column(a)",
        "await a",
        "(" * 300 + "a" + ")" * 300,
        "-" * 9000 + "1",
        "a" * 20_000,
        "a\0b",
    ],
)
def test_what_is_not_allowed_is_refused_before_any_row(text: str) -> None:
    with pytest.raises(StillhouseError) as raised:
        Expression(text, where="raw.sources.0.where")
    assert raised.value.problems[0].where == "raw.sources.0.where"


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "9**9**9**9",
        "(9**999)**999",
        "3999999**3999999",
        "'x' * 10**12",
        "10**12 * 'x'",
        "[1] * 10**12",
        "t * 999999 * 999999",
        "'%1000000000d' % 5",
        "t % 5",
        "replace(replace(t * 9999, 'x', t * 9999), 'x', t * 9999)",
        "round(5, -10**9)",
        "10.0 ** 400",
        "(-8) ** 0.5",
        "1 / 0",
        "t + 1",
        "-t",
        "int(t)",
        "int('9' * 9999)",
        "t < 1",
        "t[9]",
        "d['absent']",
        "missing",
        "len(1)",
        "lower(1)",
        "1 in 2",
        "min(1)",
        "d in d",
    ],
)
def test_a_row_that_cannot_be_computed_fails_fast_and_alone(text: str) -> None:
    expression = Expression(text, where="w")
    start = time.thread_time()
    with pytest.raises(ExpressionFailed):
        expression({"t": "x", "d": {}})
    assert time.thread_time() - start < 1


def test_an_absent_column_is_named_with_those_there() -> None:
    with pytest.raises(ExpressionFailed, match="'lable'; it has label, text"):
        compute("lable", label="a", text="b")


@examples(1.5)
@given(st.dictionaries(st.sampled_from(["a", "b"]), _value))
def test_no_value_crashes_an_expression(values: dict[str, object]) -> None:
    for text in ("a + b", "a * b", "a ** b", "a % b", "a[b]", "a < b", "a in b", "float(a)", "replace(a, b, a)", "-a"):
        try:
            Expression(text, where="w")(values)
        except ExpressionFailed as error:
            assert str(error)


def test_evaluation_is_cheap() -> None:
    expression = Expression("'positive' if float(score) > 0 else 'negative'", where="w")
    start = time.process_time()
    for _ in range(10_000):
        expression({"score": "0.7"})
    assert time.process_time() - start < 1  # measured: 0.06 s
