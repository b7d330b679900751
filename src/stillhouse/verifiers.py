"""Verifiers: is an answer right? Pure functions of the answer and the gold, each chosen by name.

verdict = numeric("So it costs $1,250.50 in all.", "1250.5")      # Verdict(right=True, why="1250.5 = 1250.5")
verify = from_path("my_package.checks:solves")                    # a function of one's own
verify(answer, gold)
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from stillhouse.errors import StillhouseError, first_line

_FAR_BACK = 20_000  # characters of an answer in which a number is looked for, from its end
_LONGEST = 400  # characters of one number; longer ones are not computed with
_LARGEST_EXPONENT = 400
_WRAPPING = " \t\r\n\"'`*_“”‘’«»„.,;:!?()[]{}"
# a plain or mixed fraction, or a number with decimals and exponent; {group} and {point} are put in below. A number
# begins neither inside a word nor inside another number, and what follows a date's slash is no denominator.
_NUMBER = (
    r"(?<![^\W_])(?<!\d[{point}])(?P<sign>[-+−])?[$€£¥]?"
    r"(?:(?<!\d/)(?:(?P<whole>\d+)[ ])?(?P<over>\d+)/(?P<under>\d+)(?![/\d])"
    r"|(?P<digits>\d{{1,3}}(?:[{group}]\d{{3}})+(?!\d)|\d+|(?<![{point}])(?=[{point}]\d))(?P<decimals>[{point}]\d+)?"
    r"(?:(?:[eE]|[ ]?(?:×|·|\*|x|\\times|\\cdot)[ ]?10(?:\^|\*\*)\{{?)(?P<exponent>[-+−]?\d+)\}}?(?!\w))?)"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\s?\{\s?([-+]?\d+)\s?\}\s?\{\s?(\d+)\s?\}")


@dataclass(frozen=True)
class Verdict:
    """right: ``None`` where it could not be checked. why: the reason, in words."""

    right: bool | None
    why: str


Verifier = Callable[[str, str | None], Verdict]

_NO_GOLD = Verdict(None, "there is no gold to compare with")


def exact(answer: str, gold: str | None, *, ignore_case: bool = False) -> Verdict:
    """Right if the answer is the gold; runs of white space count as one space, those at the ends as none."""
    if gold is None:
        return _NO_GOLD
    found, wanted = (" ".join(text.split()) for text in (answer, gold))
    if ignore_case:
        found, wanted = found.casefold(), wanted.casefold()
    return Verdict(found == wanted, "equal" if found == wanted else f"{_short(found)} is not {_short(wanted)}")


def label(answer: str, gold: str | None, *, labels: Collection[str]) -> Verdict:
    """Right if the answer is one of ``labels`` and, where there is a gold, that one.

    Case, white space, and quotes and punctuation around it do not matter; words beside the label do. Raises
    :class:`StillhouseError` when two labels are the same so seen.
    """
    names = {_bare(name): name for name in labels}
    if len(names) < len(labels):
        raise StillhouseError(
            "two labels differ only in case or punctuation", where=f"labels {sorted(labels)}", fix="rename one of them"
        )
    found = names.get(_bare(answer))
    if found is None:
        return Verdict(False, f"off-list label: {_short(answer)}")
    if gold is None or _bare(found) == _bare(gold):
        return Verdict(True, f"the label is {found}")
    return Verdict(False, f"the label is {found}, not {gold}")


def numeric(
    answer: str,
    gold: str | None,
    *,
    tolerance: float = 0.0,
    units: Mapping[str, float] | None = None,
    point: Literal[".", ","] = ".",
) -> Verdict:
    r"""Right if the last number of the answer is the last number of the gold.

    A ``\boxed{…}`` holds the answer where there is one. Numbers may have a sign, thousands in groups of three (parted
    by the comma or point that is not the decimal ``point``, by an apostrophe or a no-break space), decimals, an
    exponent, or be fractions (``3/4``, ``1 3/4``, ``\frac{3}{4}``); they are compared as exact fractions. They agree
    if they differ by at most ``tolerance * max(1, |gold|)``. units: words after a number that multiply it, such as
    ``{"km": 1000, "m": 1, "%": 0.01}``; a number without one takes the gold's. Other words after a number say nothing.
    """
    if gold is None:
        return _NO_GOLD
    wanted = _last_number(gold, units or {}, point)
    if wanted is None:
        return Verdict(None, f"the gold {_short(gold)} has no number")
    found = _last_number(_boxed(answer), units or {}, point)
    if found is None:
        return Verdict(False, "there is no number in the answer")
    target = wanted.value * (wanted.factor or 1)
    value = found.value * (found.factor or wanted.factor or 1)
    # through text, since 0.01 in binary is not a hundredth
    close = abs(value - target) <= Fraction(str(tolerance)) * max(Fraction(1), abs(target))
    return Verdict(close, f"{found.text} {'=' if close else '≠'} {wanted.text}")


def mentions(answer: str, gold: str | None, *, choices: Collection[str] = ()) -> Verdict:
    """Right if the answer has the gold in it as words of their own: short golds, free answers.

    Case and runs of white space do not matter; digits of a longer number are no words of their own. A gold may give
    several forms with `` | `` between them (``8 | eight``), of which one is enough. choices: words that exclude each
    other, as yes and no; where the gold is one of them, the first of them in the answer decides.
    """
    if gold is None:
        return _NO_GOLD
    text = " ".join(answer.casefold().split())
    forms = [form.strip() for form in gold.split(" | ")]
    excluding = [choice for choice in choices if choice.casefold() in {form.casefold() for form in forms}]
    wanted = choices if excluding else forms
    found = min(((at, form) for form in wanted if (at := _place(form, text)) is not None), default=None)
    if found is None:
        return Verdict(False, f"{' or '.join(map(repr, wanted))} is not in the answer")
    right = not excluding or found[1] in excluding
    return Verdict(right, f"{found[1]!r} {'is in the answer' if not excluding else 'comes first'}")


def regex(pattern: str) -> Verifier:
    """A verifier: right if ``pattern`` matches the whole answer, white space at its ends aside.

    Where the pattern has a group ``(?P<answer>…)`` and there is a gold, that group's text must also be the gold's, as
    in :func:`exact`. The syntax is RE2's, as in Arrow: its time grows with the length of the answer and no pattern can
    make it explode, but it has no look-around and no back references. Raises :class:`StillhouseError` when the pattern
    is none.
    """
    anchored = rf"\A(?:{pattern})\z"
    points = "(?P<answer>" in pattern

    def matches(answer: str, expression: str) -> bool:
        return bool(pc.match_substring_regex(pa.scalar(answer), expression).as_py())

    def verify(answer: str, gold: str | None) -> Verdict:
        answer = answer.strip()
        if not matches(answer, anchored):
            return Verdict(False, "the pattern does not match")
        if gold is None or not points:
            return Verdict(True, "the pattern matches")
        return exact(pc.extract_regex(pa.scalar(answer), anchored).as_py()["answer"], gold)

    try:
        matches("", pattern)  # the pattern alone too: its brackets must not balance with those around it
        matches("", anchored)
        if points:
            pc.extract_regex(pa.scalar(""), anchored)
    except pa.ArrowInvalid as error:
        raise StillhouseError(
            f"this pattern cannot be used: {first_line(error)}",
            where=f"pattern {pattern!r}",
            fix="write it in RE2 syntax, without look-around or back references; beside `answer` use (?:…) for groups",
        ) from error
    return verify


def from_path(path: str) -> Verifier:
    """A verifier made of a function of one's own, ``package.module:function``, imported here and nowhere else.

    It is called with the answer and the gold (``None`` where there is none) and returns a bool or a :class:`Verdict`.
    What goes wrong inside it becomes the verdict ``verifier failed: …``, neither right nor wrong. Raises
    :class:`StillhouseError` when there is no such function.
    """
    module, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # importing runs the module, which may fail in any way
        raise StillhouseError(
            f"the verifier cannot be imported: {type(error).__name__}: {error}",
            where=path,
            fix="name it as package.module:function, in a package that is installed here",
        ) from error
    if not callable(function):
        raise StillhouseError("the verifier is no function", where=path, fix="name a function of that module")

    def verify(answer: str, gold: str | None) -> Verdict:
        try:
            outcome = function(answer, gold)
        except Exception as error:
            return Verdict(None, f"verifier failed: {type(error).__name__}: {error}")
        if isinstance(outcome, Verdict):
            return outcome
        if not isinstance(outcome, bool):
            return Verdict(None, f"verifier failed: it returned {type(outcome).__name__}, not a bool or a Verdict")
        return Verdict(outcome, f"{path} says {'right' if outcome else 'wrong'}")

    return verify


def by_name(name: str, **options: Any) -> Verifier:
    """The verifier ``exact``, ``mentions``, ``label``, ``numeric``, ``regex`` or ``callable`` with its options.

    Options are the keyword arguments of the function of that name, ``pattern`` for ``regex``, ``path`` for
    ``callable`` (:func:`from_path`).
    """
    makers: dict[str, Callable[..., Verifier]] = {
        "exact": partial(partial, exact),
        "mentions": partial(partial, mentions),
        "label": partial(partial, label),
        "numeric": partial(partial, numeric),
        "regex": regex,
        "callable": from_path,
    }
    if name not in makers:
        raise StillhouseError(
            f"there is no verifier {name!r}", where="the verifier's name", fix=f"choose one of {', '.join(makers)}"
        )
    return makers[name](**options)


@dataclass(frozen=True)
class _Number:
    """factor: of the unit that follows, ``None`` without one. text: the number as it was written."""

    value: Fraction
    factor: Fraction | None
    text: str


def _last_number(text: str, units: Mapping[str, float], point: str) -> _Number | None:
    text = _LATEX_FRACTION.sub(r" \1/\2", text[-_FAR_BACK:])
    matches = list(_pattern(point).finditer(text))
    value = _value(matches[-1]) if matches else None
    if value is None:
        return None
    found = matches[-1]
    rest = text[found.end() :].lstrip(" \\~")
    # the longest name first, so that "km" is not read as "k"
    unit = next((name for name in sorted(units, key=len, reverse=True) if _begins(rest, name)), None)
    return _Number(value, Fraction(str(units[unit])) if unit else None, found[0] + (f" {unit}" if unit else ""))


def _value(found: re.Match[str]) -> Fraction | None:
    """The number, ``None`` where it is none (3/0) or too long to be computed with."""
    exponent = int((found["exponent"] or "0").replace("−", "-")) if len(found[0]) <= _LONGEST else None
    if exponent is None or abs(exponent) > _LARGEST_EXPONENT:
        return None
    if found["under"] is not None:
        if int(found["under"]) == 0:
            return None
        size = int(found["whole"] or 0) + Fraction(int(found["over"]), int(found["under"]))
    else:
        digits, decimals = re.sub(r"\D", "", found["digits"]), (found["decimals"] or "")[1:]
        size = Fraction(int(digits + decimals), 10 ** len(decimals)) * Fraction(10) ** exponent
    return -size if found["sign"] in ("-", "−") else size


def _begins(text: str, word: str) -> bool:
    return text.startswith(word) and not text[len(word) : len(word) + 1].isalpha()


def _pattern(point: str) -> re.Pattern[str]:
    group = ("," if point == "." else ".") + "'’\u00a0\u202f\u2009"
    return re.compile(_NUMBER.format(point=re.escape(point), group=re.escape(group)))


def _boxed(answer: str) -> str:
    r"""What stands in the last whole ``\boxed{…}``, else the answer."""
    start = answer.rfind("\\boxed{")
    depth = 0
    for place in range(start + len("\\boxed"), len(answer)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(answer[place], 0)
        if depth == 0:
            return answer[start + len("\\boxed{") : place]
    return answer


def _place(form: str, text: str) -> int | None:
    """Where ``form`` first stands in ``text``, not as part of a longer word or number."""
    words = re.escape(" ".join(form.casefold().split()))
    found = re.search(rf"(?<![^\W_])(?<!\d[.,]){words}(?![^\W_])(?![.,]\d)", text)
    return found.start() if found else None


def _bare(text: str) -> str:
    folded = " ".join(text.split()).casefold()
    return folded.strip(_WRAPPING) or folded  # a label may be a mark alone


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
