"""Tasks of lm-evaluation-harness on the page: every model beside the teacher, by task, metric and way of asking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.judgement import Judgement
from stillhouse.finish.label_tasks import named
from stillhouse.report.markup import Child, Html, details, element, joined
from stillhouse.report.tables import Column, table, with_interval
from stillhouse.report.words import Metric, artifact_name, count

HARNESS = "harness "  # how the slices of their rows begin
_VALUE, _APART = Metric("value", "{:.3f}"), Metric("difference", "{:+.3f}")
_MEANING = {  # of the harness' commonest metrics
    "acc": "how often the likeliest option is the right one",
    "acc_norm": "the same, with each option's likelihood over its length",
    "exact_match": "how often the answer is the expected one to the letter",
    "perplexity": "how much the text surprises the model, lower is better",
    "word_perplexity": "how much a word surprises the model, lower is better",
    "byte_perplexity": "how much a byte surprises the model, lower is better",
    "bits_per_byte": "the same as bits, lower is better",
}


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
        *_meanings(told),
        _table("Tasks", whole),
    ]
    return [*found, *([details("By task", _table("Tasks of groups", parts))] if parts else [])]


def _meanings(entries: Sequence[Mapping[str, Any]]) -> list[Html]:
    metrics = dict.fromkeys(str(one["metric"]) for one in entries)
    known = [joined(element("code", name), f": {_MEANING[name]}. ") for name in metrics if name in _MEANING]
    return [element("p", *known, class_="quiet")] if known else []


def _figure(one: Mapping[str, Any] | None, metric: Metric) -> Child:
    """A value with its interval, as far as there is any; what has no interval has no number as its ends."""
    if one is None or one["value"] is None:
        return ""
    known = one["lower"] is not None and one["lower"] == one["lower"]
    return with_interval(metric, one["value"], one["lower"] if known else None, one["upper"] if known else None)


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
            *(_figure(one["values"].get(name), _VALUE) for name in names),
            *([_figure(one["differences"].get(TEACHER), _APART)] if compared else []),
            "" if one["chance"] is None else _VALUE.written(one["chance"]),
            count(one["n"]),
        ]
        for one in entries
    ]
    return table(caption, columns, rows, class_="tasks", heard=True)
