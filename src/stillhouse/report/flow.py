"""How many rows came in, went on and left at each step, and why they left.

flow(run)             # the section
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.report.data import Run, Step
from stillhouse.report.markup import Html, details, element
from stillhouse.report.pictures import stacked
from stillhouse.report.tables import Column, table
from stillhouse.report.words import ASKS, STEPS, count

_STAGES = (
    ("1", "Raw material", ("raw",)),
    ("2", "Fermentation", ("ferment",)),
    ("3", "Distillation", ("scores", "cuts", "distill", "controls")),
    ("4", "Post-distillation", ("judge", "finish")),
)
_KINDS = (("heart", "goes on"), ("head", "cut: would harm"), ("tail", "cut: teaches little"), ("failed", "failed"))


def flow(run: Run) -> list[Html]:
    """The stages as a list with a bar for each step, then the same as a table."""
    widest = max([1, *(step.rows_in for step in run.steps.values())])
    stages = [
        element(
            "li",
            element("h3", element("span", number, class_="number", aria_hidden="true"), name),
            *(
                [_step(run.steps[step], widest, alone=len(steps) == 1) for step in steps if step in run.steps]
                or [_not_yet()]
            ),
        )
        for number, name, steps in _STAGES
    ]
    legend = element("ul", *(element("li", _swatch(kind), words) for kind, words in _KINDS), class_="legend")
    rows = [
        [
            f"{step.folder} {STEPS.get(name, name)}",
            *(count(number) for number in (step.rows_in, step.kept, step.cut, step.failed)),
            "" if step.seconds is None else f"{step.seconds:,.1f}",
        ]
        for name, step in run.steps.items()
    ]
    columns = [
        Column("step"),
        *(Column(name, "number") for name in ("rows in", "kept", "cut", "failed", "seconds it took")),
    ]
    return [
        legend,
        element("ol", *stages, class_="flow"),
        details("All counts as a table", table("Rows at each step", columns, rows, heard=True)),
    ]


def _not_yet() -> Html:
    return element("p", "Nothing is sealed here.", class_="quiet")


def _step(step: Step, widest: int, *, alone: bool) -> Html:
    """alone: it is the whole stage, whose name stands above it already."""
    head, tail = (sum(step.cuts.get(kind, {}).values()) for kind in ("head", "tail"))
    parts = [("heart", step.kept), ("head", head), ("tail", tail), ("failed", step.failed)]
    told = [element("b", count(step.rows_in)), " rows in, ", element("b", count(step.kept)), " kept"]
    told += [f", {count(number)} {what}" for number, what in ((step.cut, "cut"), (step.failed, "failed")) if number]
    asks = element("span", ASKS.get(step.name, ""), class_="asks")
    splits = ", ".join(f"{count(number)} for {_USES.get(name, name)}" for name, number in step.splits.items())
    return element(
        "div",
        element("p", asks, class_="asks") if alone else element("h4", STEPS.get(step.name, step.name), asks),
        stacked(parts, widest),
        element("p", *told, ".", class_="told"),
        element("p", f"Kept: {splits}.", class_="told") if splits else None,
        _reasons(step),
        class_="step",
    )


_USES = {"train": "training", "validation": "choosing", "test": "the test"}


def _reasons(step: Step) -> Html | None:
    """Why rows left, the most frequent reason first."""
    found: Sequence[tuple[str, str, int]] = [
        (kind, reason, number) for kind, reasons in step.cuts.items() for reason, number in reasons.items()
    ]
    if not found:
        return None
    return element(
        "ul",
        *(
            element("li", _swatch(kind), f"{count(number)} × {reason} ({kind})")
            for kind, reason, number in sorted(found, key=lambda one: (one[0], -one[2]))
        ),
        class_="reasons",
    )


def _swatch(kind: str) -> Html:
    return element("span", class_=f"swatch {kind}", aria_hidden="true")
