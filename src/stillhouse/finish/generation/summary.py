"""What the evaluation of a student that writes comes to: a table, plain words, and warnings.

summary = summarize(rows, contrasts, speed=speed, size=size, counts=counts)
warnings(summary)

A student is called bad at chat where one of these holds on the held-out prompts, whatever its losses say:

| what | threshold |
|---|---|
| it repeats itself | repeated 4-grams more than 0.10 above the teacher's share |
| it does not stop | answers that end by themselves more than 0.10 below the teacher's share |
| it says nothing | more than 5 % of its answers are empty, and more than the teacher's |
| it is wrong | right answers more than 0.10 below the teacher's share |
| it refuses | refusals more than 0.10 above the teacher's share |
| it talks otherwise | agreement below 0.60, or more than 1 nat from the teacher, on held-out answers |

Measured on SmolLM2-135M, students around 0.6 agreement and 0.7 nats still answered wrongly where the teacher was right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stillhouse.finish.evaluate import TEACHER, Row
from stillhouse.finish.generation.contrast import STUDENT, Contrast
from stillhouse.statistics import Interval

MORE_REPETITION = 0.10
FEWER_STOPS = 0.10
EMPTY = 0.05
FEWER_RIGHT = 0.10
MORE_REFUSALS = 0.10
LEAST_AGREEMENT = 0.60
MOST_KL = 1.0

CE, UNTRAINED = "ce", "untrained"
ANSWERS, GIVEN, OTHER = "answers", "given answers", "other text"  # slices of held-out text
SLICES = (ANSWERS, GIVEN, OTHER)
_HABITS = ("stopped", "repetition", "distinct_2", "answer_tokens", "refusals", "empty_answers")
_NAMES = {
    "kl": "KL to the teacher (nats a token)",
    "agreement": "top-1 agreement with the teacher",
    "nll": "log-loss (nats a token)",
    "bits_per_byte": "bits a byte",
    "verified": "right answers",
}

Figure = dict[str, Any]  # value, lower, upper, n


def summarize(
    rows: Sequence[Row],
    contrasts: Sequence[Contrast],
    *,
    speed: Mapping[str, Any],
    size: Mapping[str, Any],
    counts: Mapping[str, int],
) -> dict[str, Any]:
    """The summary as a JSON value. counts: documents and prompts, and how many were left out."""
    figures = {(row.artifact, row.metric, row.slice): _figure(row) for row in rows}
    names = list(dict.fromkeys(row.artifact for row in rows))
    artifacts = {name: _of(name, figures) for name in names}
    return {
        "artifacts": artifacts,
        "contrasts": [_contrast(one) for one in contrasts],
        "reading": [*_reading(contrasts), *_beside_teacher(figures)],
        "speed": dict(speed),
        "size": dict(size),
        "counts": dict(counts),
    }


def _of(name: str, figures: Mapping[tuple[str, str, str], Figure]) -> dict[str, Figure]:
    """The figures of one model that the label shows; those on the slices of text are called metric, comma, slice."""
    wanted = {f"{metric}, {where}": (metric, where) for where in SLICES for metric in ("kl", "agreement", "perplexity")}
    wanted |= {f"bits_per_byte, {where}": ("bits_per_byte", where) for where in SLICES}
    wanted |= {metric: (metric, "prompts") for metric in _HABITS} | {"verified": ("verified", "gold")}
    return {label: figures[name, *key] for label, key in wanted.items() if (name, *key) in figures}


def _figure(row: Row) -> Figure:
    return {"value": row.value, "lower": row.lower, "upper": row.upper, "n": row.n}


def _contrast(one: Contrast) -> dict[str, Any]:
    gap = one.gap
    return {
        "metric": one.metric,
        "slice": one.slice,
        "baseline": one.baseline,
        "student": one.student,
        "baseline_value": one.other,
        "difference": _interval(one.difference),
        "verdict": one.verdict,
        "recovered_gap": _interval(gap.value) if gap and gap.value else None,
        "not_certified": gap.not_certified if gap else "not certified: nothing is known of the teacher here",
    }


def _interval(one: Interval) -> Figure:
    return {"value": one.value, "lower": one.lower, "upper": one.upper, "n": one.n}


def _reading(contrasts: Sequence[Contrast]) -> list[str]:
    """Whether distillation paid, in plain words."""
    against = [one for one in contrasts if one.baseline == CE]
    better, worse, open_ = (
        [one for one in against if one.verdict == verdict] for verdict in ("better", "worse", "undecided")
    )
    if not against:
        lines = ["No control was trained on plain cross-entropy: nothing here shows that distillation was worth it."]
    elif _won(against):
        lines = [f"Distillation beat plain cross-entropy on the same tokens in: {_list(better)}."]
    else:
        lines = [f"Distillation did NOT beat plain cross-entropy on the same tokens {_what(against)}."]
        lines += [f"It is better in: {_list(better)}."] if better else []
    if worse:
        lines.append(f"Plain cross-entropy is better in: {_list(worse)}.")
    if open_:
        lines.append(f"They could not be told apart in: {_list(open_)}.")
    start = [one for one in contrasts if one.baseline == UNTRAINED]
    if start and not _won(start):
        lines.append("Training did not bring the student closer to its teacher, nor to right answers.")
    lost = [one for one in start if one.verdict == "worse"]
    if lost:
        lines.append(f"Training made it worse than it was before in: {_list(lost)}.")
    return lines


def deciding(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """What distillation is for: closeness to the teacher on held-out answers, and right answers.

    Likelihood of text decides only where neither was measured: whoever learns less forgets less of other text, too.
    """
    found = [one for one in contrasts if one.metric in ("kl", "agreement", "verified") and one.slice != OTHER]
    return found or list(contrasts)


def _won(contrasts: Sequence[Contrast]) -> bool:
    verdicts = {one.verdict for one in deciding(contrasts)}
    return "better" in verdicts and "worse" not in verdicts


def _what(contrasts: Sequence[Contrast]) -> str:
    metrics = {one.metric for one in deciding(contrasts)}
    words = ["in closeness to the teacher"] if metrics & {"kl", "agreement"} else []
    words += ["in right answers"] if "verified" in metrics else []
    return " and ".join(words) or "in the likelihood of held-out text"


def _list(contrasts: Sequence[Contrast]) -> str:
    return "; ".join(
        f"{_NAMES[one.metric]}, {one.slice} ({one.student:.3g} against {one.other:.3g}, n = {one.difference.n})"
        for one in contrasts
    )


def _beside_teacher(figures: Mapping[tuple[str, str, str], Figure]) -> list[str]:
    """Where the teacher had nothing to teach."""
    right = {}
    for name in (TEACHER, CE, UNTRAINED):
        value = figures.get((name, "verified", "gold"), {}).get("value")
        if value is not None:
            right[name] = float(value)
    teacher = right.pop(TEACHER, None)
    return [
        f"The teacher answers rightly less often ({teacher:.3f}) than `{name}` does ({value:.3f}): "
        "here it has nothing to teach."
        for name, value in right.items()
        if teacher is not None and value > teacher
    ]


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What a user of the student must know before anything else."""
    student, teacher = summary["artifacts"][STUDENT], summary["artifacts"].get(TEACHER, {})
    found = [*_not_worth_it(summary), *_bad_at_chat(student, teacher)]
    found += [line for line in summary["reading"] if "nothing to teach" in line or line.startswith("Training ")]
    if "verified" not in student:
        found.append("whether its answers are right was not measured: no test prompt had a gold label to check with")
    if teacher and not any(name.startswith("kl,") for name in student):
        here = any(name.startswith("perplexity,") for name in teacher)  # it was read with, and not only answered
        why = "teacher and student split text in unlike ways" if here else "the teacher does not run here"
        found.append(f"{why}: how close they are could not be measured by token")
    if not teacher:
        found.append("the teacher gave no answers to compare with")
    left_out = {name: number for name, number in summary["counts"].items() if "left out" in name and number}
    found += [f"{number} {name}" for name, number in left_out.items()]
    return found


def _not_worth_it(summary: Mapping[str, Any]) -> list[str]:
    first = str(summary["reading"][0])
    if not first.startswith("Distillation beat"):
        return [first]
    worse = [
        f"{_NAMES[one['metric']]}, {one['slice']}"
        for one in summary["contrasts"]
        if (one["baseline"], one["verdict"]) == (CE, "worse")
    ]
    return [f"plain cross-entropy on the same tokens is better in: {'; '.join(worse)}"] if worse else []


def _bad_at_chat(student: Mapping[str, Figure], teacher: Mapping[str, Figure]) -> list[str]:
    def both(metric: str) -> tuple[float, float] | None:
        if metric not in student or metric not in teacher:
            return None
        return float(student[metric]["value"]), float(teacher[metric]["value"])

    found = []
    rules = (
        ("repetition", MORE_REPETITION, 1, "it repeats itself: repeated 4-grams"),
        ("stopped", FEWER_STOPS, -1, "it does not stop: answers that end by themselves"),
        ("verified", FEWER_RIGHT, -1, "it is often wrong: right answers"),
        ("refusals", MORE_REFUSALS, 1, "it refuses more than its teacher: refusals"),
    )
    for metric, most, sign, words in rules:
        pair = both(metric)
        if pair and sign * (pair[0] - pair[1]) > most:
            found.append(f"bad at chat: {words} {pair[0]:.2f}, teacher {pair[1]:.2f}")
    empty = student.get("empty_answers", {"value": 0.0})["value"]
    if empty > max(EMPTY, teacher.get("empty_answers", {"value": 0.0})["value"]):
        found.append(f"bad at chat: {100 * empty:.0f} % of its answers are empty")
    for where in (ANSWERS, GIVEN):
        agreement, kl = student.get(f"agreement, {where}"), student.get(f"kl, {where}")
        if agreement and (agreement["value"] < LEAST_AGREEMENT or (kl and kl["value"] > MOST_KL)):
            distance = f", {kl['value']:.2f} nats away" if kl else ""
            found.append(
                f"bad at chat: on {where} it would choose the teacher's next token {100 * agreement['value']:.0f} % "
                f"of the time{distance}"
            )
    return found
