"""The distiller's chart as an image: all rows as one bar, each score with its point, and the price list.

draw(Chart.read(Path("runs/quickstart")), Path("cuts.svg"))          # or .png, .pdf
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.chart import BINS, LETTERS, Chart, Cut
from stillhouse.errors import StillhouseError

# Okabe and Ito's palette, told apart by people with any color vision; hatched too, for print without colors
COLORS = {"head": "#D55E00", "heart": "#999999", "tail": "#0072B2"}
HATCHES = {"head": "///", "heart": "", "tail": "..."}
_FIGURES = {"accuracy": "accuracy", "kl": "nats of KL a token", "nll": "nats a token"}
_FORMATS = (".png", ".svg", ".pdf")


def draw(chart: Chart, path: Path) -> None:
    """Draw into ``path``, whose ending says which kind of image it is.

    Raises :class:`StillhouseError` without matplotlib, or for an ending that it does not know.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise StillhouseError(
            "matplotlib is not installed", where=str(path), fix="pip install 'stillhouse[chart]'"
        ) from error
    if path.suffix not in _FORMATS:
        raise StillhouseError(
            f"no image format {path.suffix or 'without an ending'}", where=str(path), fix="end it in .png, .svg or .pdf"
        )
    shown = [cut for cut in chart.cuts if len(cut.known) and np.ptp(cut.known) > 0]
    prices = chart.told["prices"]
    heights = [0.5, *[2.0] * len(shown), *([0.8 + 0.45 * len(prices)] if prices else [])]
    figure = Figure(figsize=(8, 1.2 + sum(heights)), layout="constrained")
    axes = np.atleast_1d(figure.subplots(len(heights), 1, height_ratios=heights))
    _strip(axes[0], chart)
    for axis, cut in zip(axes[1 : 1 + len(shown)], shown, strict=True):
        _cut(axis, cut, chart.rows["cut"], chart.what.removeprefix("training "))
    if prices:
        _prices(axes[-1], prices, chart.figure)
    figure.savefig(path, dpi=150)


def _strip(axis: Any, chart: Chart) -> None:
    """All rows, side by side."""
    left, total = 0, max(1, len(chart.rows["cut"]))
    for cut in LETTERS:
        number = chart.rows["cut"].count(cut)
        label = f"{cut} {number:,} ({number / total:.1%})"
        axis.barh(0, number, left=left, color=COLORS[cut], hatch=HATCHES[cut], edgecolor="white", label=label)
        left += number
    axis.set_axis_off()
    axis.set_xlim(0, total)
    axis.set_title(f"{chart.run.name}: {total:,} {chart.what}", loc="left", fontsize=10, pad=20)
    axis.legend(loc="lower left", bbox_to_anchor=(0, 0.95), ncols=3, frameon=False, fontsize=9)


def _cut(axis: Any, cut: Cut, fates: list[str], what: str) -> None:
    """How many rows have which score, and where they are cut."""
    known = np.isfinite(cut.scores)
    parts = {kind: cut.scores[known & [one == kind for one in fates]] for kind in ("heart", "tail", "head")}
    low, high = float(cut.known.min()), float(cut.known.max())
    axis.hist(
        list(parts.values()),
        bins=np.linspace(low, high, BINS + 1).tolist(),
        stacked=True,
        color=[COLORS[kind] for kind in parts],
        hatch=[HATCHES[kind] for kind in parts],
        edgecolor="white",
        linewidth=0.3,
    )
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(0, 5 * axis.get_ylim()[1])  # room for the words above the bars
    axis.set_ylabel(what, fontsize=8)
    axis.tick_params(labelsize=8)
    if (drawn := cut.point) is not None:
        axis.axvline(drawn, color="black", linestyle="--", linewidth=1)
        left = drawn - low > 0.6 * (high - low)
        axis.annotate(
            cut.words,
            (drawn, 0.97),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if left else 4, 0),
            textcoords="offset points",
            fontsize=8,
            ha="right" if left else "left",
            va="top",
        )
    axis.set_title(_short(f"{cut.name}: {cut.removed:,} leave. {cut.why}", 105), loc="left", fontsize=9)


def _prices(axis: Any, prices: list[dict[str, Any]], figure: str) -> None:
    """The proxy's figure, over all rows and in the worst group, for each choice of cuts."""
    marks = ((figure, "o", "black", 0.12, "all rows"), ("worst", "s", COLORS["head"], -0.12, "worst group"))
    for place, one in enumerate(reversed(prices)):
        for name, mark, color, shift, label in marks:
            if (value := one[name]) is not None:
                axis.errorbar(
                    value["value"],
                    place + shift,
                    xerr=[[value["value"] - value["lower"]], [value["upper"] - value["value"]]],
                    fmt=mark,
                    color=color,
                    capsize=3,
                    markersize=4,
                    label=label if place == 0 else None,
                )
    axis.set_yticks(range(len(prices)), [f"{one['cuts']} ({one['rows']:,})" for one in reversed(prices)], fontsize=8)
    axis.set_ylim(-0.6, len(prices) - 0.4)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_title(
        f"Proxy's {_FIGURES[figure]} on rows that it did not see, by cuts (rows taught)", loc="left", fontsize=9
    )
    axis.legend(loc="best", fontsize=8, frameon=False)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
