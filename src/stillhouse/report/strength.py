"""What was kept of the teacher: retention, every measure of every model beside it, and the same by group.

strength(run); groups(run); measured(run, "accuracy", "all")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.pairs.figures import METRICS as OF_JUDGE
from stillhouse.finish.judgement import Judgement
from stillhouse.report.data import Run
from stillhouse.report.exports import AGAINST_STUDENT
from stillhouse.report.harness import HARNESS, tasks
from stillhouse.report.markup import Child, Html, details, element, prose
from stillhouse.report.pictures import Mark, Role, Scale, axis, whisker
from stillhouse.report.tables import Column, Figure, measures, named, table, with_interval
from stillhouse.report.words import METRICS, Metric, artifact_name, count, metric_of

# what a test is about comes first; all other measures can be unfolded
_LEADING = ("accuracy", "agreement", "kl", "verified")
_ELSEWHERE = ("bytes", "texts_per_s", "prefill_tokens_per_s", "decode_tokens_per_s", *OF_JUDGE)
_RETENTION = (
    "retention_difference",
    "retention_difference_lower_95",
    "retention_ratio",
    "retention_chance_corrected",
    "mcnemar_p",
)
_CONTROLS = ("ce", "untrained", "tfidf-gold", "student-gold")
_WAY = Metric("way to the teacher", "{:.2f}")
_MOST = 60  # slices of one kind on the page; evaluation.json has all


def role_of(judged: Judgement) -> Callable[[str], Role]:
    """Which kind of model an artifact is."""
    baselines = set(judged.summary.get("baselines", ()))
    controls = {one["baseline"] for one in judged.summary.get("contrasts", ())}

    def role(name: str) -> Role:
        if name == TEACHER:
            return "teacher"
        if name == judged.shipped.get("artifact"):
            return "shipped"
        if name in baselines:
            return "baseline"
        return "control" if name in controls or name.startswith(_CONTROLS) else "export"

    return role


def measured(judged: Judgement, metric: str, slice_name: str) -> list[Row]:
    """The rows of one measure, in the file's order."""
    return [row for row in judged.rows if (row.metric, row.slice) == (metric, slice_name)]


def strength(run: Run) -> list[Html]:
    """Retention, then the measures on all held-out documents."""
    judged = run.judgement
    assert judged is not None  # noqa: S101 - the section is left out without
    role = role_of(judged)
    keys = list(dict.fromkeys((row.metric, row.slice) for row in judged.rows if _whole(row)))
    blocks = {key: _block(judged, *key, role) for key in keys}
    leading = [blocks[key] for key in keys if key[0] in _LEADING]
    others = [blocks[key] for key in keys if key[0] not in _LEADING]
    found = [element("ul", *(element("li", line) for line in judged.summary.get("reading", ())), class_="plain")]
    found = [*(found if judged.summary.get("reading") else []), *_kept(judged, role), *_gold(judged)]
    found.append(element("div", *leading, class_="blocks"))
    found += _contrasts(judged)
    found += tasks(judged)
    if others:
        found.append(details("More measures", element("div", *others, class_="blocks")))
    found += _counts(judged)
    found.append(
        element("p", "Intervals are two-sided 95 %, and conditional on this one training run.", class_="quiet")
    )
    return found


def _whole(row: Row) -> bool:
    """Whether it is a measure of a model on a whole part of the test."""
    if row.slice.startswith(HARNESS) or row.slice == AGAINST_STUDENT:  # have tables of their own
        return False
    derived = "_minus_" in row.metric or "_gap_over_" in row.metric or row.metric in (*_ELSEWHERE, *_RETENTION)
    return not derived and "=" not in row.slice


def _block(judged: Judgement, metric: str, slice_name: str, role: Callable[[str], Role]) -> Html:
    rows = measured(judged, metric, slice_name)
    where = "" if slice_name in ("all", "prompts", "gold") else f", {slice_name}"
    known = metric_of(metric)
    caption = f"{known.name}{where}"
    reference = next((row.value for row in rows if row.artifact == TEACHER), None)
    figures = [
        Figure(artifact_name(row.artifact), role(row.artifact), row.value, row.lower, row.upper, row.n) for row in rows
    ]
    better = {"higher": "Higher is better.", "lower": "Lower is better."}.get(known.better or "", "")
    line = " The thin line is the teacher." if reference is not None else ""
    return element(
        "div",
        element("h3", caption),
        element("p", f"{better}{line}".strip(), class_="quiet") if better or line else None,
        measures(caption, figures, known, reference=reference),
        class_="block",
    )


def _kept(judged: Judgement, role: Callable[[str], Role]) -> list[Html]:
    """The student against its teacher, for each artifact that was compared."""
    rows = [row for row in judged.rows if row.metric in _RETENTION]
    names = list(dict.fromkeys(row.artifact for row in rows if row.metric != "mcnemar_p"))
    if not names:
        return []
    by = {
        (row.artifact, row.metric): row for row in rows if row.metric != "mcnemar_p" or row.slice == "against teacher"
    }
    present = [metric for metric in _RETENTION if any((name, metric) in by for name in names)]
    scale = Scale.over(
        [0.0]
        + [
            value
            for (_, metric), row in by.items()
            if metric == "retention_difference"
            for value in (row.lower, row.upper)
        ]
    )
    difference = METRICS["retention_difference"]
    table_rows = []
    for name in names:
        row = by.get((name, "retention_difference"))
        drawn = row and row.value is not None and Mark(role(name), row.value, row.lower, row.upper)
        cells = [_written(by.get((name, metric))) for metric in present]
        table_rows.append(
            [named(artifact_name(name), role(name)), whisker(scale, drawn, reference=0.0) if drawn else None, *cells]
        )
    columns = [
        Column("model"),
        Column("student − teacher on the scale", "picture", axis(scale, difference)),
        *(Column(metric_of(metric).name, "number") for metric in present),
    ]
    found = [element("h3", "Kept of the teacher's accuracy"), table("Retention", columns, table_rows, heard=True)]
    kept: Mapping[str, Any] = judged.summary.get("retention") or {}
    if kept.get("not_certified"):
        found.append(element("p", str(kept["not_certified"]), class_="note"))
    if "non_inferior" in kept:
        words = "is shown" if kept["non_inferior"] else "is not shown"
        said = f"What ships {words} to lie less than the recipe's margin below its teacher (n = {count(kept['n'])})."
        found.append(element("p", said))
    return found


def _written(row: Row | None) -> Child:
    if row is None:
        return ""
    return with_interval(metric_of(row.metric), row.value, row.lower, row.upper)


def _gold(judged: Judgement) -> list[Html]:
    """What the label says in words of a classifier."""
    summary = judged.summary
    found = []
    if (reading := (summary.get("gold_equivalent") or {}).get("reading")) is not None:
        found.append(element("p", f"Gold labels that would train the same student to the same accuracy: {reading}."))
    if summary.get("int8"):
        found.append(element("p", f"Int8: {summary['int8']}."))
    return found


def _contrasts(judged: Judgement) -> list[Html]:
    """Of a student that writes: against each control, and how much of the way to the teacher it has come."""
    rows = []
    for one in judged.summary.get("contrasts", ()):
        known, gap, apart = metric_of(one["metric"]), one["recovered_gap"], one["difference"]
        way = (
            with_interval(_WAY, gap["value"], gap["lower"], gap["upper"]) if gap else prose(one["not_certified"] or "")
        )
        rows.append(
            [
                f"{known.name}, {one['slice']}",
                artifact_name(one["baseline"]),
                element("span", one["verdict"], class_=f"verdict {one['verdict']}"),
                known.written(one["student"]),
                known.written(one["baseline_value"]),
                with_interval(known, apart["value"], apart["lower"], apart["upper"]),
                way,
                count(apart["n"]),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("measure"),
        Column("against", "text"),
        Column("the student is"),
        *(Column(name, "number") for name in ("student", "control", "difference", "way to the teacher", "n")),
    ]
    return [
        element("h3", "Was it worth it? The student against its controls"),
        element(
            "p",
            "A control has the student's size and was trained without the teacher's probabilities, or not at all. Of "
            "the way from it to the teacher, 0 is the control and 1 the teacher.",
            class_="quiet",
        ),
        table("Contrasts", columns, rows, heard=True),
        element("p", "What the student is called keeps to 5 % of error over all of these together.", class_="quiet"),
    ]


def _counts(judged: Judgement) -> list[Html]:
    told = [[str(name), count(number)] for name, number in judged.summary.get("counts", {}).items()]
    if not told:
        return []
    return [
        details(
            "What was judged", table("What was judged", [Column("what"), Column("number", "number")], told, heard=True)
        )
    ]


def groups(run: Run) -> list[Html]:
    """Teacher and student on each label, group and source."""
    judged = run.judgement
    assert judged is not None  # noqa: S101 - the section is left out without
    sliced = [row for row in judged.rows if "=" in row.slice and row.metric not in _ELSEWHERE]
    kinds = list(dict.fromkeys((row.metric, row.slice.partition("=")[0]) for row in sliced))
    found = [_kind(judged, metric, kind, sliced) for metric, kind in kinds]
    return found or [element("p", "The test documents of this run have no groups.", class_="quiet")]


def _kind(judged: Judgement, metric: str, kind: str, sliced: Sequence[Row]) -> Html:
    role, known = role_of(judged), metric_of(metric)
    of_kind = [row for row in sliced if row.metric == metric and row.slice.partition("=")[0] == kind]
    artifacts = list(dict.fromkeys(row.artifact for row in of_kind))
    shipped = [name for name in artifacts if role(name) == "shipped"]
    other = [name for name in artifacts if name == TEACHER] or [name for name in artifacts if role(name) == "control"][
        :1
    ]
    shown = [*other, *shipped] or artifacts[:2]
    by = {(row.artifact, row.slice): row for row in of_kind}
    slices = list(dict.fromkeys(row.slice for row in of_kind if row.artifact in shown))
    scale = Scale.over(
        [
            v
            for row in of_kind
            if row.artifact in shown and row.slice in slices[:_MOST]
            for v in (row.value, row.lower, row.upper)
        ]
    )
    rows = []
    for name in slices[:_MOST]:
        here = [by[artifact, name] for artifact in shown if (artifact, name) in by]
        marks = [Mark(role(row.artifact), row.value, row.lower, row.upper) for row in here if row.value is not None]
        cells = [_written(by.get((artifact, name))) for artifact in shown]
        rows.append([name.partition("=")[2], whisker(scale, *marks), *cells, count(here[0].n)])
    columns = [
        Column(_title(kind)),
        Column("on the scale", "picture", axis(scale, known)),
        *(Column(artifact_name(name), "number", named(artifact_name(name), role(name))) for name in shown),
        Column("n", "number"),
    ]
    heading = f"{known.name if metric != 'recall' else 'Recall'}, by {_title(kind)}"
    more = (
        element("p", f"The first {count(_MOST)} are shown; 4-judge/evaluation.json has all.", class_="quiet")
        if len(slices) > _MOST
        else None
    )
    body = (table(heading, columns, rows, class_="sliced", heard=True), more)
    if len(slices) > 12:
        return details(element("h3", heading), *body)
    return element("div", element("h3", heading), *body)


def _title(kind: str) -> str:
    where, _, name = kind.rpartition(", ")
    name = name.removeprefix("group:")
    return f"{name}, {where}" if where else name
