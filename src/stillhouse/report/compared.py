"""What a judge of pairs said: the student beside each other model, and how far the judge can be trusted.

compared(run)                 # empty where the recipe names no judge
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stillhouse.finish.generation.pairs.figures import FIRST_PLACE, FOLLOWS_GOLD, HALVES, LONGER, WIN_RATE
from stillhouse.report.data import Run
from stillhouse.report.markup import Child, Html, details, element, prose
from stillhouse.report.tables import Column, table, with_interval
from stillhouse.report.words import METRICS, artifact_name, count

COUNTS = {  # of verdicts, by their names in the files
    "win": "won",
    "loss": "lost",
    "tie": "tied",
    "same": "same words",
    "split": "split by place",
    "unparsed": "unparsed",
    "failed": "failed",
    "pairs": "pairs",
}
_SELDOM = ("same", "failed")  # columns that are left out where they are empty
_TRUST = {"first_place": FIRST_PLACE, "follows_gold": FOLLOWS_GOLD, "longer_wins": LONGER}


def compared(run: Run) -> list[Html]:
    """The tables, with the warnings first."""
    told: Mapping[str, Any] | None = run.judgement.summary.get("judge") if run.judgement else None
    if not told:
        return []
    found = [
        element("h3", "What a judge of pairs says"),
        element(
            "p",
            f"The judge ({told['address']}) read {count(told['prompts'])} prompts with the student's answer and "
            f"another's, each in both orders ({count(told['questions'])} questions, {told['by']}). It was told: ",
            element("q", str(told["criteria"]), dir="auto"),
            " Its verdicts are reported and decide no gate.",
        ),
        element("ul", *(element("li", prose(f"Warning: {line}.")) for line in told["warnings"]), class_="plain")
        if told["warnings"]
        else element("p", "The judge raised no warning.", class_="quiet"),
        _beside(told),
        _trust(told),
        _not_read(told),
        details("In words", element("ul", *(element("li", prose(line)) for line in told["reading"]), class_="plain")),
        element("p", "4-judge/judged.jsonl has every question and every word of the judge.", class_="quiet"),
    ]
    return [one for one in found if one is not None]


def _beside(told: Mapping[str, Any]) -> Html:
    named = [name for name in COUNTS if name not in _SELDOM or any(one["counts"][name] for one in told["beside"])]
    columns = [
        Column("the student against"),
        *(Column(COUNTS[name], "number") for name in named),
        Column("win rate", "number"),
        Column("with a half for each split", "number"),
    ]
    rows = [
        [
            artifact_name(one["against"]),
            *(count(one["counts"][name]) for name in named),
            _written(WIN_RATE, one[WIN_RATE]),
            _written(HALVES, one[HALVES]),
        ]
        for one in told["beside"]
    ]
    return table("Verdicts of the judge", columns, rows, heard=True)


def _trust(told: Mapping[str, Any]) -> Html:
    rows = [[METRICS[metric].name, _written(metric, told["trust"][key])] for key, metric in _TRUST.items()]
    columns = [Column("of the judge"), Column("share (95 %), n prompts", "number")]
    return table("How far the judge can be trusted", columns, rows, heard=True)


def _not_read(told: Mapping[str, Any]) -> Html | None:
    """Why questions came to no choice."""
    said = [f"{reason} ({count(number)})" for reason, number in told["not_read"].items()]
    return element("p", f"Questions without a choice, by reason: {'; '.join(said)}.") if said else None


def _written(metric: str, figure: Mapping[str, Any] | None) -> Child:
    known = METRICS[metric]
    if figure is None:
        return known.written(None)
    of = f"n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{count(figure['n'])}"
    return with_interval(known, figure["value"], figure["lower"], figure["upper"], of)
