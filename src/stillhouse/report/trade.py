"""Size, speed and quality of every model: two pictures over the same measure, and the table that they are drawn from.

trade(run)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.judgement import Judgement
from stillhouse.report.data import Run
from stillhouse.report.exports import asked_for, exports
from stillhouse.report.markup import Html, element
from stillhouse.report.pictures import Point, scatter
from stillhouse.report.strength import measured, role_of
from stillhouse.report.tables import Column, named, table, with_interval
from stillhouse.report.words import artifact_name, count, metric_of, of_bytes, of_speed

_QUALITIES = (
    ("accuracy", "all"),
    ("kl", "answers"),
    ("kl", "given answers"),
    ("verified", "gold"),
    ("perplexity", "answers"),
    ("perplexity", "given answers"),
)
_SPEEDS = ("texts_per_s", "decode_tokens_per_s", "prefill_tokens_per_s")


def sizes(judged: Judgement) -> dict[str, float]:
    """Bytes by artifact, as far as they are known."""
    found = {row.artifact: row.value for row in judged.rows if row.metric == "bytes" and row.value is not None}
    told = judged.summary.get("size", {})
    # of a model that writes only the exports have rows
    shipped = str(judged.shipped.get("artifact") or STUDENT)
    known = {shipped: told.get("student_bytes"), TEACHER: told.get("teacher_bytes")} | found
    return {name: float(value) for name, value in known.items() if value}


def speeds(judged: Judgement) -> dict[tuple[str, str], dict[str, float]]:
    """Items a second by (metric, slice) and artifact; the measure that the picture shows comes first."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for metric in _SPEEDS:
        for row in judged.rows:
            if row.metric == metric and row.value:
                found.setdefault((metric, row.slice), {})[row.artifact] = row.value
    return found


def quality(judged: Judgement) -> tuple[str, list[Row]]:
    """The measure that size and speed are set against, with its rows."""
    for metric, where in _QUALITIES:
        rows = [row for row in measured(judged, metric, where) if row.value is not None]
        if rows:
            return metric, rows
    return "accuracy", []


def trade(run: Run) -> list[Html]:
    """The pictures and the table."""
    judged = run.judgement
    assert judged is not None  # noqa: S101 - the section is left out without
    size, speed, (metric, rows) = sizes(judged), speeds(judged), quality(judged)
    by = {row.artifact: row for row in rows}
    role = role_of(judged)
    timed = {name for one in speed.values() for name in one}
    # files for other runtimes have a table of their own, with the measures that they have
    apart = {f"{form}-{one['kind']}" for form, one in asked_for(judged)}
    size = {name: value for name, value in size.items() if name not in apart}
    speed = {
        key: {name: value for name, value in of.items() if name not in apart}
        for key, of in speed.items()
        if set(of) - apart
    }
    names = [name for name in dict.fromkeys([*by, *size, *timed]) if name in size or name in timed - apart]
    if not names:
        return [element("p", "Neither size nor speed was measured.", class_="quiet")]
    known = metric_of(metric)
    first = next(iter(speed), None)
    panels = [_panel(judged, size, by, "Size", f"{known.name} against size; left is smaller", "B", metric)]
    if first is not None:
        panels.append(
            _panel(
                judged,
                speed[first],
                by,
                "Speed",
                f"{known.name} against {metric_of(first[0]).name.lower()}, {_slice(first[1])}; right is faster",
                "",
                metric,
            )
        )
    table_rows = []
    for name in names:
        row = by.get(name)
        table_rows.append(
            [
                named(artifact_name(name), role(name)),
                of_bytes(size.get(name)),
                *(of_speed(one.get(name)) for one in speed.values()),
                with_interval(known, row.value, row.lower, row.upper) if row else "not measured",
            ]
        )
    columns = [
        Column("model"),
        Column("size", "number"),
        *(Column(f"{metric_of(name).name.lower()}, {_slice(where)}", "number") for name, where in speed),
        Column(f"{known.name} (95 % interval)", "number"),
    ]
    return [
        element("div", *panels, class_="panels"),
        table("Size, speed and quality of each model", columns, table_rows, heard=True),
        *_words(judged),
        *exports(judged),
    ]


def _slice(where: str) -> str:
    return {"batch": "many at once", "single": "one at a time"}.get(where, where.replace("=", " "))


def _panel(
    judged: Judgement,
    across: Mapping[str, float],
    by: Mapping[str, Row],
    title: str,
    words: str,
    unit: str,
    metric: str,
) -> Html:
    role, known = role_of(judged), metric_of(metric)
    points = []
    for name, x in across.items():
        row = by.get(name)
        points.append(
            Point(artifact_name(name), role(name), x, row.value, row.lower, row.upper)
            if row
            else Point(artifact_name(name), role(name), x, None)
        )
    told = "; ".join(
        _told(point, unit, known.written(point.y) if point.y is not None else "not measured") for point in points
    )
    note = f"Across: {title.lower()}, up: {known.name}."
    if known.better:
        note += f" {known.better.capitalize()} is better."
    name = f"{note} {told}. The table below has every figure."
    return element(
        "figure",
        element("figcaption", element("b", title), f" {words}."),
        scatter(points, name=name, x=(f"{title.lower()}, logarithmic", unit)),
    )


def _told(point: Point, unit: str, value: str) -> str:
    return f"{point.name}: {of_bytes(point.x) if unit else of_speed(point.x)}, {value}"


def _words(judged: Judgement) -> Sequence[Html]:
    """The ratio of speeds, and parameters, where the summary has them."""
    speed, size = judged.summary.get("speed", {}), judged.summary.get("size", {})
    found = []
    if speed.get("ratio") is not None:
        found.append(
            element(
                "p",
                f"What ships labels {speed['ratio']:.1f} times as many texts a second as its teacher, "
                "on the machine that made it.",
            )
        )
    elif speed:
        found.append(element("p", "Speeds are those of the machine that made it."))
    told = [
        f"{who} {count(size[key])}"
        for who, key in (("student", "student_parameters"), ("teacher", "teacher_parameters"))
        if size.get(key)
    ]
    if told:
        found.append(element("p", f"Parameters: {', '.join(told)}."))
    return found
