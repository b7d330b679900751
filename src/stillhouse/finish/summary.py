"""What the evaluation comes to: rows of speed and size, the summary that label and console show, and its warnings.

rows += speed_and_size_rows(speeds, files, "onnx-int8", teacher_bytes)
summary = summarize(rows, gold_seen, kept, "onnx-int8", speeds, files, teacher_bytes, gate)
warnings(summary, unanswered=0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.finish.evaluate import TEACHER, Row, gold_equivalent
from stillhouse.finish.speed import Speed
from stillhouse.statistics import Retention


def speed_and_size_rows(
    speeds: Mapping[str, Speed], files: Mapping[str, Path], shipped: str, teacher_bytes: int | None
) -> list[Row]:
    """Rows for the speeds of what ships and of the teacher, and for the size of every file and of the teacher's.

    speeds: of ``exported``, and of ``teacher`` where it was timed. teacher_bytes: ``None`` where it is not known.
    """
    rows = []
    for name, speed in ((shipped, speeds["exported"]), (TEACHER, speeds.get(TEACHER))):
        if speed is None:
            continue
        rows.append(Row(name, "texts_per_s", "batch", speed.batch_per_s, None, None, speed.n))
        rows.append(Row(name, "texts_per_s", "single", speed.single_per_s, None, None, speed.n))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sizes |= {TEACHER: teacher_bytes} if teacher_bytes is not None else {}
    rows += [Row(name, "bytes", "all", float(size), None, None, 1) for name, size in sizes.items()]
    return rows


def summarize(
    rows: Sequence[Row],
    gold_seen: Mapping[str, int],
    kept: Retention,
    shipped: str,
    speeds: Mapping[str, Speed],
    files: Mapping[str, Path],
    teacher_bytes: int | None,
    gate: Mapping[str, Any],
) -> dict[str, Any]:
    """The evaluation's summary as a JSON value. gold_seen: control -> gold labels it saw. kept: of what ships."""
    accuracy = {row.artifact: row.value for row in rows if (row.metric, row.slice) == ("accuracy", "all")}
    curve = [(count, float(accuracy[name] or 0.0)) for name, count in gold_seen.items() if name.startswith("student-")]
    teacher_per_s = speeds[TEACHER].batch_per_s if TEACHER in speeds else None
    number, reading = gold_equivalent(curve, float(accuracy[shipped] or 0.0))
    return {
        "teacher": {"accuracy": accuracy[TEACHER]},
        "student": {"accuracy": accuracy["student"]},
        "exported": {"accuracy": accuracy[shipped], "artifact": shipped},
        "baselines": {name: accuracy[name] for name in ("majority", "tfidf-teacher")},
        "retention": {
            "ratio": kept.ratio.value if kept.ratio else None,
            "chance_corrected": kept.chance_corrected.value if kept.chance_corrected else None,
            "not_certified": kept.not_certified,
            "difference": kept.difference.value,
            "difference_lower_95": kept.difference_lower_95,
            "non_inferior": kept.non_inferior,
            "n": kept.n,
        },
        "gold_equivalent": {"labels": number, "reading": reading},
        "speed": {
            "teacher_per_s": teacher_per_s,
            "student_per_s": speeds["exported"].batch_per_s,
            "ratio": speeds["exported"].batch_per_s / teacher_per_s if teacher_per_s else None,
        },
        "size": {"teacher_bytes": teacher_bytes, "student_bytes": files[shipped].stat().st_size},
        "int8": gate["reason"],
    }


def warnings(summary: Mapping[str, Any], *, unanswered: int) -> list[str]:
    """What a user of the student must know before anything else. unanswered: test documents left out."""
    found = []
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
