"""The distiller's chart on the page: each score with its point, the price list, the pilot, and who lost rows.

cuts(Chart.read(Path("runs/quickstart")))

:mod:`stillhouse.chart_image` draws the same for a file of its own; here it has to be readable on a phone, in the dark
and without matplotlib, so bars are boxes of the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stillhouse.chart import BINS, LETTERS, Chart, Cut, gained
from stillhouse.report.markup import Html, details, element
from stillhouse.report.pictures import Mark, Role, Scale, axis, stacked, whisker
from stillhouse.report.tables import Column, table
from stillhouse.report.words import Metric, count, metric_of, signed

_HIGH = 96  # pixels of the largest bar
_THREE = "Head: what would harm. Heart: what is taught. Tail: what teaches little."
_VERDICTS = {"alarm": "more than its share"}


def cuts(chart: Chart) -> list[Html]:
    """Everything that `cuts.json` tells, with the rows' scores as pictures."""
    fates: list[str] = chart.rows["cut"]
    numbers = {kind: fates.count(kind) for kind in LETTERS}
    strip = [
        stacked([(kind, numbers[kind]) for kind in ("head", "heart", "tail")], max(1, len(fates))),
        element(
            "ul",
            *(
                element("li", element("span", class_=f"swatch {kind}", aria_hidden="true"), f"{kind} {count(number)}")
                for kind, number in numbers.items()
            ),
            class_="legend",
        ),
    ]
    return [
        element("p", f"{count(len(fates))} {chart.what}, each in one of three cuts. {_THREE}"),
        *strip,
        *(_cut(one, np.array(fates)) for one in chart.cuts),
        *_prices(chart.told["prices"], chart.figure),
        *_pilot(chart),
        *_strata(chart.told["strata"]),
        *(element("p", note, class_="note") for note in chart.told["notes"]),
    ]


def _cut(cut: Cut, fates: Any) -> Html:
    """One score: how many rows have which, and where they are cut."""
    said = element("p", f"{count(cut.removed)} leave. {_sentence(cut.why)}")
    return element("div", element("h3", cut.name), said, _histogram(cut, fates), class_="cut")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}." if words else ""


def _histogram(cut: Cut, fates: Any) -> Html:
    if not len(cut.known) or np.ptp(cut.known) == 0:
        return element("p", "Every row has the same score.", class_="quiet")
    low, high = float(cut.known.min()), float(cut.known.max())
    edges = np.linspace(low, high, BINS + 1)
    kinds = ("heart", "tail", "head")
    counted = np.cumsum(
        [np.histogram(cut.scores[np.isfinite(cut.scores) & (fates == kind)], bins=edges)[0] for kind in kinds], axis=0
    )
    # by the logarithm, so that a few rows can be seen beside thousands
    heights = np.round(np.log1p(counted) / np.log1p(counted.max()) * _HIGH, 1)
    width, parts = 100 / BINS, []
    for level, kind in enumerate(kinds):
        below = heights[level - 1] if level else np.zeros(BINS)
        parts += [
            element(
                "rect",
                x=f"{place * width:.3f}%",
                width=f"{width * 0.86:.3f}%",
                y=round(_HIGH + 14 - float(top), 1),
                height=round(float(top - bottom), 1),
                class_=kind,
            )
            for place, (bottom, top) in enumerate(zip(below, heights[level], strict=True))
            if top > bottom
        ]
    drawn = cut.point
    if drawn is not None:
        share = 100 * (drawn - low) / (high - low)
        x, anchor = f"{share:.2f}%", "end" if share > 60 else "start"
        parts.append(element("line", x1=x, x2=x, y1=2, y2=_HIGH + 14, class_="limit"))
        parts.append(
            element("text", cut.words, x=x, y=11, dx=-5 if share > 60 else 5, text_anchor=anchor, class_="name")
        )
    for x, words, anchor in (("0%", f"{low:.3g}", "start"), ("100%", f"{high:.3g}", "end")):
        parts.append(element("text", words, x=x, y=_HIGH + 30, text_anchor=anchor, class_="tick"))
    name = f"Histogram of {cut.name}: scores of {len(cut.scores):,} rows from {low:.3g} to {high:.3g}; {cut.words}."
    return element("svg", *parts, class_="histogram", height=_HIGH + 36, role="img", aria_label=signed(name))


def _prices(prices: Sequence[Mapping[str, Any]], figure: str) -> list[Html]:
    """The proxy's figure with each choice of cuts, over all rows and in the worst group; nothing where none was
    trained."""
    if not prices:
        return []
    metric = metric_of(figure)
    values = [one[key] for one in prices for key in (figure, "worst") if one[key] is not None]
    scale = Scale.over([value[edge] for value in values for edge in ("value", "lower", "upper")])
    tokens = "tokens" in prices[0]
    rows = [
        [
            str(one["cuts"]),
            whisker(scale, *_marks(one, figure)),
            count(one["rows"]),
            *([count(one["tokens"])] if tokens else []),
            _figure(one[figure], metric),
            "" if one["worst"] is None else f"{_figure(one['worst'], metric)}, {one['group']}",
            _against(one["against_none"], figure),
        ]
        for one in prices
    ]
    name = metric.name.lower() if figure == "accuracy" else metric.name
    columns = [
        Column("cuts"),
        Column("on the scale", "picture", axis(scale, metric)),
        Column("rows taught", "number"),
        *([Column("tokens an epoch", "number")] if tokens else []),
        Column(f"{name}, all rows", "number"),
        Column(f"{name}, worst group", "number"),
        Column("against no cuts"),
    ]
    intro = (
        "By a small proxy on rows that it did not see, not by the student itself. Diamond: all rows; triangle: the "
        "worst-served group."
    )
    return [
        element("h3", "What the cuts cost and buy"),
        element("p", intro),
        table(f"{metric.name} of the proxy with each choice of cuts", columns, rows, class_="prices", heard=True),
    ]


def _marks(price: Mapping[str, Any], figure: str) -> list[Mark]:
    roles: tuple[tuple[str, Role], ...] = ((figure, "shipped"), ("worst", "baseline"))
    found = [(role, price[key]) for key, role in roles if price[key]]
    return [Mark(role, value["value"], value["lower"], value["upper"]) for role, value in found]


def _figure(value: Mapping[str, Any], metric: Metric) -> str:
    return f"{metric.written(value['value'])} ({metric.span(value['lower'], value['upper'])})"


def _against(one: Mapping[str, Any] | None, figure: str) -> str:
    if one is None:
        return ""
    words = f"{gained(one['difference']['value'], figure)}, lower bound {gained(one['lower'], figure).split()[0]}"
    if one["group_difference"] is not None:
        words += f"; {gained(one['group_difference'], figure).split()[0]} in {one['group']}"
    return signed(words)


def _pilot(chart: Chart) -> list[Html]:
    rungs = chart.told["tail"]["rungs"]
    if not rungs:
        return []
    metric = metric_of(chart.figure)
    rows = [
        [
            f"keep {one['share']:.0%}",
            count(one["rows"]),
            f"{one['folds']} of {rungs[0]['folds']}",
            metric.written(one[chart.figure]),
            _against(one["compared"], chart.figure),
            str(one["why"]),
        ]
        for one in rungs
    ]
    name = metric.name.lower() if chart.figure == "accuracy" else metric.name
    columns = [
        Column("share"),
        *(Column(words, "number") for words in ("rows", f"judged on {chart.parts}", f"proxy's {name}")),
        Column(f"against all rows of these {chart.parts}"),
        Column("found"),
    ]
    return [element("h3", "The pilot: how small a share would do"), table("The pilot", columns, rows, heard=True)]


def _strata(strata: Sequence[Mapping[str, Any]]) -> list[Html]:
    """From whom the cuts took, and whether it is more than from all others."""
    if not strata:
        return []
    rows = [
        [
            f"{one['kind']} {one['value']}",
            count(one["rows"]),
            count(one["removed"]),
            f"{one['rate']:.1%}",
            "" if one["others"] is None else f"{one['others']:.1%}",
            _VERDICTS.get(one["verdict"], one["verdict"]),
        ]
        for one in strata
    ]
    columns = [
        Column("of"),
        *(Column(name, "number") for name in ("rows", "left", "share", "share elsewhere")),
        Column("found"),
    ]
    return [
        details(
            "From whom the cuts took", table("Rows that left, by label, source and group", columns, rows, heard=True)
        )
    ]
