"""What the evaluation comes to: rows of speed and size, the summary that label and console show, and its warnings.

rows += speed_and_size_rows(exported.artifacts, teacher_speed, teacher_bytes)
summary = summarize(rows, gold_seen, kept, "onnx-int8", exported.artifacts, teacher_speed, teacher_bytes, reason)
warnings(summary, unanswered=0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.evaluate import TEACHER, Row, gold_equivalent
from stillhouse.finish.export.gate import Artifact
from stillhouse.finish.speed import Speed
from stillhouse.statistics import Retention

_BASELINES = {
    "majority": "baseline: always the commonest label",
    "tfidf-teacher": "baseline: word counts (TF-IDF), taught the teacher's labels",
}


def speed_and_size_rows(artifacts: Sequence[Artifact], teacher: Speed | None, teacher_bytes: int | None) -> list[Row]:
    """Rows for the speed and size of every artifact and of the teacher, as far as they are known."""
    speeds: dict[str, Speed | None] = {**{one.name: one.speed for one in artifacts}, TEACHER: teacher}
    sizes: dict[str, int | None] = {**{one.name: one.bytes for one in artifacts}, TEACHER: teacher_bytes}
    rows = []
    for name, speed in speeds.items():
        if speed is not None:
            rows.append(Row(name, "texts_per_s", "batch", speed.batch_per_s, None, None, speed.n))
            rows.append(Row(name, "texts_per_s", "single", speed.single_per_s, None, None, speed.n))
    rows += [Row(name, "bytes", "all", float(size), None, None, 1) for name, size in sizes.items() if size is not None]
    return rows


def summarize(
    rows: Sequence[Row],
    gold_seen: Mapping[str, int],
    kept: Mapping[str, Retention],
    shipped: str,
    artifacts: Sequence[Artifact],
    teacher: Speed | None,
    teacher_bytes: int | None,
    why_shipped: str,
) -> dict[str, Any]:
    """The evaluation's summary as a JSON value. gold_seen: control -> gold labels it saw. kept: of every artifact."""
    accuracy = {row.artifact: row.value for row in rows if (row.metric, row.slice) == ("accuracy", "all")}
    curve = [(count, float(accuracy[name] or 0.0)) for name, count in gold_seen.items() if name.startswith("student-")]
    number, reading = gold_equivalent(curve, float(accuracy[shipped] or 0.0))
    by_name: dict[str, Artifact] = {one.name: one for one in artifacts}
    own = by_name[shipped].speed
    theirs = teacher.batch_per_s if teacher else None
    return {
        "teacher": {"accuracy": accuracy[TEACHER]},
        "student": {"accuracy": accuracy["student"]},
        "exported": {"accuracy": accuracy[shipped], "artifact": shipped},
        "baselines": {name: accuracy[name] for name in _BASELINES},
        "compared": [
            {"artifact": row.artifact, "what": what, "accuracy": row.value, "lower": row.lower, "upper": row.upper}
            for row in rows
            if (row.metric, row.slice) == ("accuracy", "all")
            and (what := _words(row.artifact, shipped, gold_seen)) is not None
        ],
        "retention": _retention(kept[shipped]),
        "family": [_member(one, accuracy[one.name], kept[one.name]) for one in artifacts],
        "gold_equivalent": {"labels": number, "reading": reading},
        "speed": {
            "teacher_per_s": theirs,
            "student_per_s": own.batch_per_s if own else None,
            "ratio": own.batch_per_s / theirs if own and theirs else None,
        },
        "size": {"teacher_bytes": teacher_bytes, "student_bytes": by_name[shipped].bytes},
        "int8": why_shipped,
    }


def _words(name: str, shipped: str, gold_seen: Mapping[str, int]) -> str | None:
    """An artifact in plain words; ``None`` for the exports that do not ship, which have a table of their own."""
    if name == shipped:
        return "shipped"
    if name in gold_seen:
        kind = "the same student" if name.startswith("student-") else "word counts (TF-IDF)"
        return f"control: {kind}, taught {gold_seen[name]} gold labels"
    return {TEACHER: "teacher", "student": "student, float32", **_BASELINES}.get(name)


def _retention(kept: Retention) -> dict[str, Any]:
    return {
        "ratio": kept.ratio.value if kept.ratio else None,
        "ratio_lower_95": kept.ratio_lower_95,
        "chance_corrected": kept.chance_corrected.value if kept.chance_corrected else None,
        "chance_corrected_lower_95": kept.chance_corrected_lower_95,
        "not_certified": kept.not_certified,
        "difference": kept.difference.value,
        "difference_lower_95": kept.difference_lower_95,
        "non_inferior": kept.non_inferior,
        "n": kept.n,
    }


def _member(one: Artifact, accuracy: float | None, kept: Retention) -> dict[str, Any]:
    """One form of the student in the table of all: size, speed, retention, and whether it may ship."""
    return {
        "artifact": one.name,
        "bytes": one.bytes,
        "texts_per_s": one.speed.batch_per_s if one.speed else None,
        "one_at_a_time_per_s": one.speed.single_per_s if one.speed else None,
        "accuracy": accuracy,
        "difference": kept.difference.value,
        "difference_lower_95": kept.difference_lower_95,
        "agreement": one.parity.agreement if one.parity else None,
        "passed": one.passed,
        "reason": one.reason,
    }


def warnings(summary: Mapping[str, Any], *, unanswered: int, rows: Sequence[Row] = ()) -> list[str]:
    """What a user of the student must know before anything else. unanswered: test documents left out. rows: of what
    ships, among which a label that it never gets right is looked for: a good accuracy may hide that."""
    found = [
        f"of {row.n} test documents with {row.slice} it labels none rightly"
        for row in rows
        if row.metric == "recall" and row.value == 0
    ]
    kept = summary["retention"]
    if not kept["non_inferior"]:
        found.append(
            "the student is not shown to stay within the recipe's margin of the teacher: the lower bound of the "
            f"difference is {100 * kept['difference_lower_95']:+.1f} points"
        )
    best = max(value for value in summary["baselines"].values() if value is not None)
    if summary["exported"]["accuracy"] <= best:
        found.append(f"a plain baseline is as good: {best:.3f}")
    if unanswered:
        found.append(f"{unanswered} test documents are left out because the teacher gave no answer")
    return found
