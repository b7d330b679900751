"""What label and card say of tasks of lm-evaluation-harness: every model on the same items, asked alike.

Group by group, task by task; the way of asking that is the rule's comes first. The tasks of a large group are in
``evaluation.json`` alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.errors import StillhouseError
from stillhouse.finish.provenance.eval_results import Benchmark
from stillhouse.recipe.finish_generation import Leaderboard
from stillhouse.store import package_version

_TEACHER, _STUDENT = "teacher", "student"


def named(entry: Mapping[str, Any]) -> str:
    """Task, metric, and how it was asked."""
    shots = "–".join(str(one) for one in dict.fromkeys(entry["few_shot"]))
    way = "chat template" if entry["asked"] == "template" else "plain"
    return f"{entry['task']}, {entry['metric']}, {way}{f', {shots} shown' if shots != '0' else ''}"


def shown(table: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What has room on a card: what the recipe names."""
    return [entry for entry in table if not entry["of"]]


def figure(one: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """A value with its interval, as far as there is any."""
    if one is None or one["value"] is None:
        return ""
    if one["lower"] is None or one["lower"] != one["lower"]:
        return _written(one["value"], signed)
    between = " to " if signed else "–"
    return (
        f"{_written(one['value'], signed)} ({_written(one['lower'], signed)}{between}{_written(one['upper'], signed)})"
    )


def _written(value: float, signed: bool) -> str:
    """Above a thousand, as perplexities are, what follows the point says nothing."""
    return f"{value:{'+' if signed else ''}{',.0f' if abs(value) >= 1000 else '.3f'}}"


def task_lines(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """The card's section."""
    entries = shown(table)
    if not entries:
        return []
    names = list(dict.fromkeys(name for entry in entries for name in entry["values"]))
    beside = _TEACHER if _TEACHER in names else next((name for name in names if name != _STUDENT), None)
    heads = [*names, *([f"student − {beside}"] if beside else []), "blind guess", "n"]
    lines = [
        "",
        "## Tasks of lm-evaluation-harness",
        "",
        "The same items for every model, with prompts that are the same byte for byte, but for a chat template of its",
        "own. Where a task was asked in two ways, the first line counts by the rule: through the chat template where a",
        "model writes, without it where options or texts are weighed.",
        "",
        f"| task | {' | '.join(heads)} |",
        "|---|" + "---|" * len(heads),
    ]
    for entry in entries:
        cells = [figure(entry["values"].get(name)) for name in names]
        cells += [figure(entry["differences"].get(beside), signed=True)] if beside else []
        cells += ["" if entry["chance"] is None else f"{entry['chance']:.3f}", str(entry["n"])]
        lines.append(f"| {named(entry)} | {' | '.join(cells)} |")
    left_out = {entry["task"]: entry["left_out"] for entry in entries if entry["left_out"]}
    if left_out:
        said = "; ".join(f"{number} of {task}" for task, number in left_out.items())
        lines += ["", f"Left out, since some model cannot take them: {said}."]
    return lines


def task_rows(table: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """The same for a terminal, by the rule's way alone."""
    return [
        (
            named(entry),
            " · ".join(f"{who} {one['value']:.3f}" for who, one in entry["values"].items() if one["value"] is not None),
        )
        for entry in shown(table)
        if entry["by_rule"]
    ]


def task_results(kind: str, table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The student's results for a card's ``model-index``, by the rule's way. kind: the student's own task."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in shown(table):
        one = entry["values"][_STUDENT]
        if not entry["by_rule"] or one["value"] is None:
            continue
        result = found.setdefault(
            (entry["task"], entry["asked"]),
            {
                "task": {"type": kind},
                "dataset": {"name": entry["task"], "type": entry["data"] or "private"},
                "metrics": [],
            },
        )
        name = f"{entry['metric']} ({'chat template' if entry['asked'] == 'template' else 'plain'}, n = {entry['n']})"
        result["metrics"].append({"type": entry["metric"], "name": name, "value": round(one["value"], 4)})
    return list(found.values())


def benchmarks_of(wanted: Sequence[Leaderboard], table: Sequence[Mapping[str, Any]]) -> list[Benchmark]:
    """The student's figures on benchmarks of the hub, by the rule's way of asking, each with how it was asked.

    Raises :class:`StillhouseError` for a figure that the task does not have.
    """
    found = []
    for place, one in enumerate(wanted):
        figures = {entry["metric"]: entry for entry in shown(table) if entry["task"] == one.task and entry["by_rule"]}
        value = figures[one.metric]["values"][_STUDENT]["value"] if one.metric in figures else None
        if value is None:
            raise StillhouseError(
                f"the task {one.task!r} has no figure {one.metric!r}; it has {', '.join(sorted(figures))}",
                where=f"finish.evaluate.harness.benchmarks.{place}.metric",
                fix="name one of these, or take the benchmark away",
            )
        entry = figures[one.metric]
        notes = f"lm-evaluation-harness {package_version('lm_eval')}: {named(entry)}; {entry['n']} items"
        if entry["left_out"]:
            notes += f", and {entry['left_out']} too long for a model that it was compared with"
        found.append(Benchmark(one.dataset, one.id, value, one.revision, notes=notes))
    return found
