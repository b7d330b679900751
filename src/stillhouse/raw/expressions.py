"""Expressions over a row's columns, as a recipe writes them: a column's name, or a small computation.

    label = Expression("'positive' if float(score) > 0 else 'negative'", where="raw.sources.0.columns.label")
    label.names                                         # frozenset({"score"})
    label({"score": "0.7"})                             # "positive"

There are names, constants, lists, arithmetic, comparisons, ``and``/``or``/``not``, ``in``, ``a if b else c``, ``x[i]``
and the functions below. A column whose name is no Python name is written ``column("Review Text")``; standing alone,
the bare words do. ``simpleeval`` evaluates; everything else is refused here, before the first row.
"""

from __future__ import annotations

import ast
import math
import operator
import re
import warnings
from collections.abc import Callable, Mapping, Sized
from typing import Any

import simpleeval

from stillhouse.errors import StillhouseError

LONGEST_TEXT = 1_000_000  # characters; a row's computed text may not grow beyond it
_LONGEST_EXPRESSION = 10_000
_MOST_BITS = 4096  # of a computed power: beyond any label or score, and still instant
_BARE_WORDS = re.compile(r"\w[\w ]*")


class ExpressionFailed(Exception):
    """An expression cannot be computed on this row; ``str()`` of it says why."""


def _text(value: object, function: str) -> str:
    if not isinstance(value, str):
        raise ExpressionFailed(f"{function} takes text, not {_short(value)}")
    return value


def _float(value: Any) -> float:
    """A finite number. NaN compares false with everything and would quietly fall into an ``else``."""
    number = float(value)
    if not math.isfinite(number):
        raise ExpressionFailed(f"{_short(value)} is not a finite number")
    return number


def _str(value: object) -> str | None:
    """Text; what is missing stays missing, rather than become the word None."""
    return None if value is None else str(value)


def _replace(text: object, old: object, new: object) -> str:
    whole, part, other = _text(text, "replace"), _text(old, "replace"), _text(new, "replace")
    _refuse_long(len(whole) + whole.count(part) * len(other))
    return whole.replace(part, other)


def _split(text: object, separator: object = None) -> list[str]:
    return _text(text, "split").split(None if separator is None else _text(separator, "split"))


def _contains(text: object, part: object) -> bool:
    if isinstance(text, list | tuple | dict):
        return part in text
    return _text(part, "contains") in _text(text, "contains")


def _round(number: Any, digits: Any = None) -> object:
    # rounding a whole number to minus n digits computes 10 ** n
    if isinstance(digits, int) and abs(digits) > 100:
        raise ExpressionFailed(f"round to {_short(digits)} digits is out of range")
    return round(number, digits)


def is_missing(value: object) -> bool:
    """Whether the value is None or the number NaN, which is how other tools write that there is none."""
    return value is None or (isinstance(value, float) and math.isnan(value))


# name -> function, fewest and most arguments
_FUNCTIONS: dict[str, tuple[Callable[..., object], int, int]] = {
    "abs": (abs, 1, 1),
    "contains": (_contains, 2, 2),
    "endswith": (lambda text, end: _text(text, "endswith").endswith(_text(end, "endswith")), 2, 2),
    "float": (_float, 1, 1),
    "int": (int, 1, 1),
    "is_missing": (is_missing, 1, 1),
    "len": (len, 1, 1),
    "lower": (lambda text: _text(text, "lower").lower(), 1, 1),
    "max": (max, 1, 20),
    "min": (min, 1, 20),
    "replace": (_replace, 3, 3),
    "round": (_round, 1, 2),
    "split": (_split, 1, 2),
    "startswith": (lambda text, start: _text(text, "startswith").startswith(_text(start, "startswith")), 2, 2),
    "str": (_str, 1, 1),
    "strip": (lambda text: _text(text, "strip").strip(), 1, 1),
    "upper": (lambda text: _text(text, "upper").upper(), 1, 1),
}


def _refuse_long(length: float) -> None:
    if length > LONGEST_TEXT:
        raise ExpressionFailed(f"the result would be longer than {LONGEST_TEXT} characters")


def _add(left: Any, right: Any) -> Any:
    if isinstance(left, Sized) and isinstance(right, Sized):
        _refuse_long(len(left) + len(right))
    return left + right


def _multiply(left: Any, right: Any) -> Any:
    for text, times in ((left, right), (right, left)):
        if isinstance(text, Sized) and isinstance(times, int):
            _refuse_long(len(text) * times)
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * abs(exponent) > _MOST_BITS:
        raise ExpressionFailed(f"{_short(base)} ** {_short(exponent)} is too large")
    result = base**exponent
    if isinstance(result, complex):
        raise ExpressionFailed(f"{_short(base)} ** {_short(exponent)} is not a real number")
    return result


def _remainder(left: Any, right: Any) -> Any:
    # on text % formats, and a format can ask for a text of any width
    if isinstance(left, str | bytes):
        raise ExpressionFailed("% takes numbers, not text")
    return left % right


_OPERATORS: dict[type[ast.AST], Callable[..., object]] = {
    ast.Add: _add,
    ast.Sub: operator.sub,
    ast.Mult: _multiply,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: _remainder,
    ast.Pow: _power,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, container: item in container,
    ast.NotIn: lambda item, container: item not in container,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ALLOWED = (
    *_OPERATORS,
    ast.And,
    ast.Or,
    ast.BoolOp,
    ast.UnaryOp,
    ast.BinOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.List,
    ast.Tuple,
    ast.Subscript,
)


class Expression:
    """One parsed expression, evaluated on many rows; not shared between threads.

    ``names``: the columns it needs. Inside ``is_missing(...)`` a column may be absent from a single row, as JSON
    objects leave keys out; anywhere else that row fails.
    """

    def __init__(self, text: str, *, where: str) -> None:
        """Parse ``text``; raises :class:`StillhouseError` at ``where`` for bad syntax or a forbidden construct."""
        self.text = text
        node = _parse(text.strip(), where)
        columns = _Columns(text, where)
        self._node = columns.visit(node)
        self.names = frozenset(columns.names)
        self._evaluator = _Evaluator()

    def __call__(self, values: Mapping[str, object]) -> object:
        """The value for one row; raises :class:`ExpressionFailed` where it cannot be computed."""
        if isinstance(self._node, ast.Name) and self._node.id in values:  # a plain column, in most recipes and rows
            return values[self._node.id]
        self._evaluator.names = values
        try:
            return self._evaluator._eval(self._node)
        except ExpressionFailed:
            raise
        except Exception as error:  # whatever a row's values provoke is a fault of that row
            raise ExpressionFailed(f"{type(error).__name__}: {error}"[:300]) from error
        finally:
            self._evaluator.names = {}

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"


class _Evaluator(simpleeval.SimpleEval):
    """``simpleeval`` with our operators and functions, lists, and columns looked up in the row alone."""

    def __init__(self) -> None:
        functions = {name: function for name, (function, _, _) in _FUNCTIONS.items()}
        super().__init__(operators=_OPERATORS, functions=functions, names={})
        self.nodes[ast.List] = self._eval_items
        self.nodes[ast.Tuple] = self._eval_items

    def _eval_items(self, node: ast.List | ast.Tuple) -> list[object]:
        return [self._eval(item) for item in node.elts]

    def _eval_name(self, node: ast.Name) -> object:
        try:
            return self.names[node.id]
        except KeyError:
            there = ", ".join(self.names) or "none"
            raise ExpressionFailed(f"the row has no column {node.id!r}; it has {there}"[:300]) from None

    def _eval_call(self, node: ast.Call) -> object:
        only = node.args[0]
        if isinstance(node.func, ast.Name) and node.func.id == "is_missing" and isinstance(only, ast.Name):
            return is_missing(self.names.get(only.id))
        return super()._eval_call(node)


class _Columns(ast.NodeTransformer):
    """Refuses what is not allowed, collects the columns, and turns ``column("...")`` into a plain name."""

    def __init__(self, text: str, where: str) -> None:
        self.names: set[str] = set()
        self._text = text
        self._where = where

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if not isinstance(node, _ALLOWED):
            raise _refusal(self._text, f"{type(node).__name__} is not allowed in an expression", self._where)
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        self.names.add(node.id)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if node.value is not None and not isinstance(node.value, str | int | float):
            raise _refusal(self._text, f"{_short(node.value)} is not allowed in an expression", self._where)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "column" and len(node.args) == 1 and not node.keywords:
            only = node.args[0]
            if isinstance(only, ast.Constant) and isinstance(only.value, str):
                return self.visit_Name(ast.Name(only.value, ast.Load()))
        if name not in _FUNCTIONS:
            shown = f"the function {name}" if name else "this kind of call"
            raise _refusal(self._text, f"{shown} is not known", self._where)
        _, fewest, most = _FUNCTIONS[name]
        if node.keywords or not fewest <= len(node.args) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise _refusal(self._text, f"{name} takes {wanted} plain arguments", self._where)
        node.args = [self.visit(argument) for argument in node.args]
        return node


def _parse(text: str, where: str) -> ast.expr:
    if not text or len(text) > _LONGEST_EXPRESSION:
        raise _refusal(text, f"it has {len(text)} characters, and may have 1 to {_LONGEST_EXPRESSION}", where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python warns of odd but harmless spellings, such as `x is 1`
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        if _BARE_WORDS.fullmatch(text):
            return ast.Name(text, ast.Load())
        raise _refusal(text, f"{error.msg}, at character {error.offset}", where) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _refusal(text, f"it cannot be parsed: {error or 'nested too deeply'}", where) from error


def _refusal(text: str, problem: str, where: str) -> StillhouseError:
    return StillhouseError(
        f"the expression {_short(text)} is not usable: {problem}",
        where=where,
        fix=f'use column names, column("..."), comparisons, arithmetic, if-else and {", ".join(_FUNCTIONS)}',
    )


def _short(value: object) -> str:
    try:
        shown = repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a very large number"
    return shown if len(shown) <= 80 else shown[:80] + "..."
