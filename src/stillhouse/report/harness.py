"""Tasks of lm-evaluation-harness on the page: every model beside the teacher, by task, metric and way of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.judgement import Judgement
from stillhouse.finish.label_tasks import figure, named
from stillhouse.report.markup import Html, details, element
from stillhouse.report.tables import Column, table
from stillhouse.report.words import artifact_name, count

HARNESS = "harness "  # how the slices of their rows begin


def tasks(judged: Judgement) -> list[Html]:
    """What the recipe names; the tasks of a group can be unfolded."""
    told: Sequence[Mapping[str, Any]] = judged.summary.get("harness", ())
    if not told:
        return []
    whole, parts = [[one for one in told if bool(one["of"]) == inner] for inner in (False, True)]
    found = [
        element("h3", "Tasks of lm-evaluation-harness"),
        element(
            "p",
            "The same items and prompts for every model. By rule, a task is asked through the chat template where a "
            "model writes, and without it where options or texts are weighed; the other way is told beside it.",
            class_="quiet",
        ),
        _table("Tasks", whole),
    ]
    return [*found, *([details("By task", _table("Tasks of groups", parts))] if parts else [])]


def _table(caption: str, entries: Sequence[Mapping[str, Any]]) -> Html:
    names = list(dict.fromkeys(name for one in entries for name in one["values"]))
    compared = TEACHER in names
    columns = [
        Column("task"),
        Column("asked", "text"),
        *(Column(artifact_name(name), "number") for name in names),
        *([Column("student − teacher", "number")] if compared else []),
        Column("blind guess", "number"),
        Column("n", "number"),
    ]
    rows = [
        [
            named(one),
            "by the rule" if one["by_rule"] else "the other way",
            *(figure(one["values"].get(name)) for name in names),
            *([figure(one["differences"].get(TEACHER), signed=True).replace("-", "−")] if compared else []),
            "" if one["chance"] is None else f"{one['chance']:.3f}",
            count(one["n"]),
        ]
        for one in entries
    ]
    return table(caption, columns, rows, heard=True)
