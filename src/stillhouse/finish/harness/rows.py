"""What tasks of lm-evaluation-harness come to: rows, a table for the label, and every prompt as it was asked.

    found = figures(asked, names, margin=0.1, resamples=2000, seed=0)
    found.rows, found.table           # long rows; one entry for each task, way of asking and metric
    dump(asked, Path("harness.jsonl"))

Values that are 0 or 1 get Wilson's interval, their paired differences one from a score test: that no item differs does
not show that two models are equal. Other means and perplexities, and their differences, get a percentile bootstrap over
the items. A metric that is made from all items in another way has a value and no interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.harness.measure import Asked
from stillhouse.statistics import (
    Floats,
    Interval,
    Metric,
    Outcomes,
    bootstrap,
    mcnemar_exact,
    proportion,
    ratio_of,
    retention,
)

_CHANCE = ("acc", "acc_norm", "acc_bytes", "acc_mutual_info")  # metrics of which a blind guess is known


class Value(TypedDict):
    """A figure with its two-sided 95 % interval, where there is one."""

    value: float | None
    lower: float | None
    upper: float | None
    n: int


class Entry(TypedDict):
    """One line of the table. asked: `plain`, or through the `template`. by_rule: whether that way is the rule's.
    of: the group of the recipe that it is part of, else empty. kept: the chance-corrected ratio to the teacher, or why
    there is none. items: SHA-256 of the questions. data: the hub's data set, else empty."""

    task: str
    of: str
    asked: Literal["plain", "template"]
    by_rule: bool
    metric: str
    better: Literal["higher", "lower"]
    few_shot: list[int]
    n: int
    left_out: int
    chance: float | None
    values: dict[str, Value]
    differences: dict[str, Value]
    kept: Value | None
    not_certified: str
    items: str
    data: str


@dataclass(frozen=True)
class Figures:
    """rows: for `evaluation.json`. table: for label, card and report."""

    rows: tuple[Row, ...]
    table: tuple[Entry, ...]


@dataclass(frozen=True)
class _Column:
    """One model's values of a metric: sums (n,) over counts (n,), and what is made of their ratio."""

    sums: Floats
    counts: Floats
    shape: Callable[[Floats], Floats]
    binary: bool

    def metric(self) -> Metric:
        ratio = ratio_of(self.sums, self.counts)
        return lambda weights: self.shape(ratio(weights))


def figures(asked: Sequence[Asked], names: Sequence[str], *, margin: float, resamples: int, seed: int) -> Figures:
    """names: of the models, in the order of the table. margin: of the retention, which is told and decides nothing."""
    rows: list[Row] = []
    table: list[Entry] = []
    for one in asked:
        for metric in one.better:
            entry, more = _entry(one, metric, names, margin, {"resamples": resamples, "seed": seed})
            table.append(entry)
            rows += more
    return Figures(tuple(rows), tuple(table))


def _entry(
    asked: Asked, metric: str, names: Sequence[str], margin: float, sure: Mapping[str, int]
) -> tuple[Entry, list[Row]]:
    with_it = [one for one in asked.answers if all(metric in one.scores[name] for name in names)]
    values = {name: [one.scores[name][metric] for one in with_it] for name in names}
    aggregate, n = asked.aggregate[metric], len(with_it)
    columns = {name: _column(found, aggregate) for name, found in values.items()}
    chance = _chance(metric, [one.guess for one in with_it])
    entry: Entry = {
        "task": asked.task,
        "of": asked.part_of if asked.part_of != asked.task else "",
        "asked": "template" if asked.template else "plain",
        "by_rule": asked.by_rule,
        "metric": metric,
        "better": asked.better[metric],
        "few_shot": list(asked.few_shot),
        "n": n,
        "left_out": asked.left_out,
        "chance": chance,
        "values": {name: _value(columns[name], values[name], aggregate, sure) for name in names},
        "differences": {},
        "kept": None,
        "not_certified": "",
        "items": asked.digest,
        "data": "" if "://" in asked.data else asked.data,  # a host, and what may let in there, is nobody's business
    }
    rows = [_row(name, metric, asked.slice, one) for name, one in entry["values"].items()]
    if chance is not None:
        rows.append(Row(STUDENT, f"{metric}_chance", asked.slice, chance, None, None, n))
    own = columns[STUDENT]
    for name, other in columns.items():
        if name == STUDENT:
            continue
        entry["differences"][name] = _difference(own, other, entry["values"], name, n, sure)
        rows.append(_row(STUDENT, f"{metric}_minus_{name}", asked.slice, entry["differences"][name]))
        if own is not None and other is not None and own.binary and other.binary:
            test = mcnemar_exact(other.sums == 1, own.sums == 1)
            what = f"{metric}_minus_{name}_mcnemar_p"
            rows.append(Row(STUDENT, what, asked.slice, test.p_value, None, None, test.b + test.c))
    teacher = columns.get(TEACHER)
    if own and teacher and own.binary and teacher.binary and asked.better[metric] == "higher":
        found = retention(teacher.sums == 1, own.sums == 1, chance=min(chance or 0.0, 0.999), margin=margin, **sure)
        if found.chance_corrected is not None:
            entry["kept"] = _of(found.chance_corrected)
        entry["not_certified"] = found.not_certified or ""
        rows.append(_row(STUDENT, f"{metric}_minus_{TEACHER}_kept", asked.slice, entry["kept"] or _nothing(n)))
    return entry, rows


def _column(values: Sequence[Any], aggregate: Callable[[Sequence[Any]], Any]) -> _Column | None:
    """What the harness' own aggregations come to, as a ratio of sums; of any other, none."""
    kind = getattr(aggregate, "__name__", "")
    if kind in ("weighted_perplexity", "bits_per_byte") and values:
        sums, counts = (np.array(one, dtype=np.float64) for one in zip(*values, strict=True))
        shape: Callable[[Floats], Floats] = (
            (lambda ratio: np.exp(-ratio)) if kind == "weighted_perplexity" else (lambda ratio: -ratio / math.log(2))
        )
        return _Column(sums, counts, shape, False)
    if kind not in ("mean", "fmean", "perplexity") or not values:
        return None
    try:
        sums = np.array([float(one) for one in values])
    except (TypeError, ValueError):
        return None
    if kind == "perplexity":
        return _Column(sums, np.ones_like(sums), lambda ratio: np.exp(-ratio), False)
    return _Column(sums, np.ones_like(sums), lambda ratio: ratio, bool(np.isin(sums, (0.0, 1.0)).all()))


def _value(
    column: _Column | None, values: Sequence[Any], aggregate: Callable[[Sequence[Any]], Any], sure: Mapping[str, int]
) -> Value:
    if column is None:
        return {**_nothing(len(values)), "value": _number(aggregate(values)) if values else None}
    if column.binary:
        return _of(proportion(column.sums == 1))
    return _of(bootstrap(column.metric(), len(values), resamples=sure["resamples"], seed=sure["seed"]))


def _difference(
    own: _Column | None, other: _Column | None, values: Mapping[str, Value], name: str, n: int, sure: Mapping[str, int]
) -> Value:
    if own is None or other is None:
        one, two = values[STUDENT]["value"], values[name]["value"]
        return {**_nothing(n), "value": None if one is None or two is None else one - two}
    if own.binary and other.binary:
        found = Outcomes.paired(other.sums == 1, own.sums == 1).mean()
        return _of(Interval(found.value, found.lower, found.upper, n))
    mine, theirs = own.metric(), other.metric()

    def apart(weights: Floats) -> Floats:
        return mine(weights) - theirs(weights)

    return _of(bootstrap(apart, n, resamples=sure["resamples"], seed=sure["seed"]))


def _chance(metric: str, guesses: Sequence[float | None]) -> float | None:
    known = [one for one in guesses if one is not None]
    return float(np.mean(known)) if metric in _CHANCE and known and len(known) == len(guesses) else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _of(one: Interval) -> Value:
    return {"value": one.value, "lower": one.lower, "upper": one.upper, "n": one.n}


def _nothing(n: int) -> Value:
    return {"value": None, "lower": None, "upper": None, "n": n}


def _row(artifact: str, metric: str, where: str, one: Value) -> Row:
    return Row(artifact, metric, where, one["value"], one["lower"], one["upper"], one["n"])


def dump(asked: Sequence[Asked], path: Path) -> None:
    """One JSON object a line for each item and way of asking: what every model was asked, byte for byte, and said.

    What all were asked alike stands once, under `asked`; where templates differ, each model's under `asked_of`.
    """
    with path.open("w", encoding="utf-8") as stream:
        for one in asked:
            if not one.part_of:
                continue  # a group's items are those of its tasks
            for answer in one.answers:
                first, *others = answer.requests.values()
                alike = all(other == first for other in others)
                told = {
                    "task": answer.task,
                    "item": answer.item,
                    "way": "template" if one.template else "plain",
                    "asked": first if alike else None,
                    **({} if alike else {"asked_of": dict(answer.requests)}),
                    "said": dict(answer.said),
                    "scores": {name: dict(scores) for name, scores in answer.scores.items()},
                }
                stream.write(json.dumps(told, ensure_ascii=False, default=_json) + "\n")


def _json(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value.tolist() if hasattr(value, "tolist") else str(value)
