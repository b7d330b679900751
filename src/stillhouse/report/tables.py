"""Tables that become cards on a narrow page, with the roles that keep them tables for whoever listens.

table("Gates", [Column("gate"), Column("n", "number")], rows)
measures("Accuracy", figures, metric)              # a line for each model: name, dot with whisker, value, interval, n
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stillhouse.report.markup import Child, Html, element, hidden, joined
from stillhouse.report.pictures import Mark, Role, Scale, axis, glyph, whisker
from stillhouse.report.words import Metric, count


@dataclass(frozen=True)
class Column:
    """head: shown instead of the name, which is then told to whoever listens only."""

    name: str
    kind: Literal["text", "number", "picture"] = "text"
    head: Html | None = None


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Child]], *, class_: str = "", heard: bool = False
) -> Html:
    """rows: a cell for each column; the first names its row. heard: the caption is for whoever listens."""
    heads = [
        element(
            "th",
            joined(hidden(one.name), one.head) if one.head else one.name,
            scope="col",
            role="columnheader",
            class_=one.kind,
        )
        for one in columns
    ]
    body = [element("tr", *_cells(columns, row), role="row") for row in rows]
    return element(
        "table",
        element("caption", hidden(caption) if heard else caption),
        element("thead", element("tr", *heads, role="row"), role="rowgroup"),
        element("tbody", *body, role="rowgroup"),
        role="table",
        class_=f"stack {class_}".strip(),
    )


def _cells(columns: Sequence[Column], row: Sequence[Child]) -> list[Html]:
    first, *rest = row
    found = [element("th", first, scope="row", role="rowheader")]
    for column, cell in zip(columns[1:], rest, strict=True):
        empty = cell is None or cell == ""
        found.append(
            element("td", cell, role="cell", class_=f"{column.kind}{' empty' if empty else ''}", data_label=column.name)
        )
    return found


@dataclass(frozen=True)
class Figure:
    """One line of :func:`measures`."""

    name: str
    role: Role
    value: float | None
    lower: float | None
    upper: float | None
    n: int


def measures(caption: str, figures: Sequence[Figure], metric: Metric, *, reference: float | None = None) -> Html:
    """Every model's figure with its interval, drawn and written. reference: a value to compare with, as a line."""
    scale = Scale.over([value for one in figures for value in (one.value, one.lower, one.upper)])
    columns = [
        Column("model"),
        Column("on the scale", "picture", axis(scale, metric)),
        Column("value", "number"),
        Column("95 % interval", "number"),
        Column("n", "number"),
    ]
    rows = [
        [
            named(one.name, one.role),
            None
            if one.value is None
            else whisker(scale, Mark(one.role, one.value, one.lower, one.upper), reference=reference),
            metric.written(one.value),
            metric.span(one.lower, one.upper),
            count(one.n),
        ]
        for one in figures
    ]
    return table(caption, columns, rows, class_="measures", heard=True)


def with_interval(metric: Metric, value: float | None, lower: float | None, upper: float | None, *more: str) -> Html:
    """A value with its interval in brackets, which goes to a line of its own before it is parted. more: said in the
    brackets, too."""
    said = ", ".join(filter(None, (metric.span(lower, upper), *more)))
    span = [" ", element("span", f"({said})", class_="interval")] if said else []
    return element("span", metric.written(value), *span)


def named(name: str, role: Role) -> Html:
    """A model's name after the shape that stands for its kind."""
    return element("span", glyph(role), element("span", name), class_="named")
