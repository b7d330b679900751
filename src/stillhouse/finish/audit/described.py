"""What an audit of groups reports beside its verdicts: the teacher's own bias, who drifted, gaps, calibration, errors.

Each function takes a group column and what both models answered about the documents whose group is known, and returns
rows with the status "reported": they decide nothing. Groups are named where an interval that holds for all of them at
once leaves zero out, the largest first and no more than :data:`NAMED` of a kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stillhouse.finish.audit.columns import Answers, Column, Flagged, Slice, tally_of
from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.rates import (
    Both,
    Metric,
    calibration_errors,
    demographic_parity_difference,
    equalized_odds_difference,
)
from stillhouse.finish.audit.wording import points
from stillhouse.statistics import (
    DRIFT,
    STUDENT_RATE,
    TEACHER_RATE,
    Contrast,
    Flags,
    Floats,
    GroupPairs,
    Ints,
    from_the_rest,
    resample,
)
from stillhouse.statistics.resampling import percentile_interval

NAMED = 8  # groups of one kind that are named
_WEIGHTS = 40_000_000  # documents times draws, where draws go document by document
_KINDS = (("teacher bias", TEACHER_RATE), ("student bias", STUDENT_RATE), ("group drift", DRIFT))

Parts = Mapping[tuple[Metric, int], Slice]


def named_groups(column: Column, labels: Sequence[str], parts: Parts) -> list[Finding]:
    """Groups whose rate clearly lies away from all others': with the teacher, with the student, and who moved."""
    slices = {key: part for key, part in parts.items() if part.pairs is not None}
    among = sum(1 if len(part.groups) == 2 else len(part.groups) for part in slices.values())
    found: list[Finding] = []
    for probe, what in _KINDS:
        clear: list[tuple[Contrast, tuple[str, str], str]] = []
        for (metric, label), part in slices.items():
            assert part.pairs is not None  # noqa: S101  (chosen above)
            for one in from_the_rest(part.pairs, what, among=among):
                if one.clear:
                    clear.append((one, (metric, f"label={labels[label]}"), column.groups[part.groups[one.group]]))
        clear.sort(key=lambda entry: -abs(entry[0].value))
        more = len(clear) - NAMED
        for place, (one, rate, name) in enumerate(clear[:NAMED]):
            tail = f" ({more} further clear differences are not listed)" if more > 0 and place == NAMED - 1 else ""
            found.append(_named(probe, column, one, rate, name, tail))
    return found


def _named(probe: str, column: Column, one: Contrast, what: tuple[str, str], name: str, tail: str) -> Finding:
    rate = f"{what[0]} ({what[1]})"
    side = "above" if one.value > 0 else "below"
    low, high = sorted((abs(one.lower), abs(one.upper)))
    interval = f"95 % interval for all groups at once {points(low)} to {points(high)}"
    if probe == "group drift":
        words = (
            f"{column.name}={name}: against all others its {rate} moved {'up' if one.value > 0 else 'down'} by "
            f"{points(abs(one.value))} from teacher to student ({interval}){tail}."
        )
    else:
        who = probe.split()[0]
        words = (
            f"{column.name}={name}: the {who}'s {rate} lies {points(abs(one.value))} {side} all others' "
            f"({interval}){tail}."
        )
    about = ", ".join([*what, f"{column.place()}={name}"])
    return Finding(
        probe, about, "reported", one.teacher, one.student, one.value, one.lower, one.upper, None, one.n, words
    )


def gaps(column: Column, answers: Answers, parts: Parts, *, resamples: int, seed: int) -> list[Finding]:
    """Equalized-odds and demographic-parity differences of both models, the largest over labels, and their ratio.

    Bootstrap intervals; a largest gap is biased upwards in both models, the more the smaller the groups.
    """
    labels = sorted({label for _, label in parts})
    enough = [
        set(parts["true positive rate", one].groups) & set(parts["false positive rate", one].groups) for one in labels
    ]
    groups = sorted(set.intersection(*enough))
    if len(groups) < 2:
        return []
    tally = tally_of(column, answers, groups)
    draws = tally.draws(resamples, seed)
    n, smallest = int(tally.count.sum()), int(np.bincount(tally.group, tally.count).min())
    found: list[Finding] = []
    for probe, measure in (
        ("equalized odds", equalized_odds_difference),
        ("demographic parity", demographic_parity_difference),
    ):
        label = max(labels, key=lambda one: float(measure(tally, one).student))
        plain, drawn = measure(tally, label), measure(tally, label, draws)
        found.append(_gap(probe, column, answers.labels[label], plain, drawn, n, smallest))
        if probe == "equalized odds":
            found.append(_ratio(column, answers.labels[label], plain, drawn, _clear_gap(parts, label), n, smallest))
    return found


def _gap(probe: str, column: Column, label: str, plain: Both, drawn: Both, n: int, smallest: int) -> Finding:
    teacher, student = float(plain.teacher), float(plain.student)
    apart = percentile_interval(student - teacher, drawn.student - drawn.teacher, n, span=(-1.0, 1.0), units=smallest)
    lower, upper = apart.lower, apart.upper
    words = (
        f"{column.name}: the {probe} difference, label={label}, is {points(teacher)} with the teacher and "
        f"{points(student)} with the student (difference {points(student - teacher)}, 95 % interval {points(lower)} to "
        f"{points(upper)})."
    )
    about = f"{probe} difference, label={label}, {column.place()}"
    value = student - teacher
    return Finding(
        probe, about, "reported", teacher, student, value, min(lower, value), max(upper, value), None, n, words
    )


def _clear_gap(parts: Parts, label: int) -> bool:
    """Whether the teacher has a gap at all: some group's rate clearly away from the others'."""
    pairs = [part.pairs for (_, one), part in parts.items() if one == label and part.pairs is not None]
    among = sum(one.size for one in pairs)
    return any(contrast.clear for one in pairs for contrast in from_the_rest(one, TEACHER_RATE, among=among))


def _ratio(column: Column, label: str, plain: Both, drawn: Both, clear: bool, n: int, smallest: int) -> Finding:
    about = f"equalized odds difference, student / teacher, label={label}, {column.place()}"
    teacher, student = float(plain.teacher), float(plain.student)
    if not clear:
        words = f"{column.name}: no ratio of gaps is stated, since the teacher's own gap is not clearly above zero."
        return Finding("gap ratio", about, "reported", teacher, student, None, None, None, None, n, words)
    usable = drawn.teacher > 0
    value = student / teacher
    span = (value - 1 / teacher, value + 1 / teacher)  # what a document more in one of the rates may do to the ratio
    ratios = drawn.student[usable] / drawn.teacher[usable]
    around = percentile_interval(value, ratios, n, span=span, units=smallest)
    lower, upper = min(around.lower, value), max(around.upper, value)
    words = (
        f"{column.name}: the student's equalized odds difference, label={label}, is {value:.2f} times the teacher's "
        f"(95 % interval {lower:.2f} to {upper:.2f})."
    )
    return Finding("gap ratio", about, "reported", teacher, student, value, lower, upper, None, n, words)


def calibration(column: Column, answers: Answers, part: Slice, *, resamples: int, seed: int) -> list[Finding]:
    """Groups whose expected calibration error rose clearly; where it did nowhere, the one where it rose most."""
    keep = np.isin(column.group, part.groups)
    inside = answers.where(keep)
    group = np.searchsorted(np.asarray(part.groups), column.group[keep])
    count, n = len(part.groups), len(inside.gold)

    def errors(weights: Floats | None) -> tuple[Floats, Floats]:
        teacher, student = (
            calibration_errors(probs, inside.gold, group, count, weights=weights)
            for probs in (inside.teacher_probs, inside.student_probs)
        )
        return teacher, student

    def rise(weights: Floats) -> Floats:
        teacher, student = errors(weights)
        return student - teacher

    draws = resample(rise, n, seed=seed, resamples=min(resamples, max(200, _WEIGHTS // n)), clusters=inside.member)
    teacher, student = errors(None)
    value = student - teacher
    lower, upper = (np.nanquantile(draws, level, axis=0) for level in (0.025 / count, 1 - 0.025 / count))
    told = _chosen(value, lower > 0)
    sizes = np.bincount(group)
    return [
        Finding(
            "calibration",
            f"expected calibration error, {column.place(part.groups[at])}",
            "reported",
            float(teacher[at]),
            float(student[at]),
            float(value[at]),
            float(min(lower[at], value[at])),
            float(max(upper[at], value[at])),
            None,
            int(sizes[at]),
            f"{column.name}={column.groups[part.groups[at]]}: the calibration error is {points(float(teacher[at]))} "
            f"with the teacher and {points(float(student[at]))} with the student.",
        )
        for at in told
    ]


def parting(column: Column, answers: Answers, part: Slice) -> list[Finding]:
    """Groups in which teacher and student part ways more, or less, often than elsewhere: odds ratios with intervals."""
    parted = answers.teacher != answers.student
    inside = parted[np.isin(column.group, part.groups)]
    if inside.all() or not inside.any():
        return []
    values, lowers, uppers, shares = np.array(
        [_odds_ratio(column, answers, parted, part, one) for one in part.groups]
    ).T
    told = _chosen(np.abs(np.log(values)), (lowers > 1) | (uppers < 1))
    found = []
    for at in told:
        name, n = column.groups[part.groups[at]], int((column.group == part.groups[at]).sum())
        words = (
            f"{column.name}={name}: teacher and student part ways on {100 * shares[at]:.1f} % of its documents, with "
            f"odds {values[at]:.2f} times those of all others (95 % interval {lowers[at]:.2f} to {uppers[at]:.2f})."
        )
        about = f"odds of unlike labels, {column.place(part.groups[at])}"
        found.append(
            Finding(
                "parting",
                about,
                "reported",
                None,
                None,
                float(values[at]),
                float(lowers[at]),
                float(uppers[at]),
                None,
                n,
                words,
            )
        )
    return found


def _odds_ratio(column: Column, answers: Answers, parted: Flags, part: Slice, group: int) -> tuple[float, ...]:
    """Odds ratio of a group against the others, with bounds that hold for all groups at once, and the group's share."""
    keep = np.isin(column.group, part.groups)
    flags = parted[keep]
    member = None if answers.member is None else np.unique(answers.member[keep], return_inverse=True)[1]
    here = column.group[keep] == group
    pairs = GroupPairs.of(here.astype(np.int64), 2, flags, flags, member)
    # the logit interval smoothed towards independence (Agresti 1999): a small group without a case says nothing
    table = np.histogram2d(here, flags, bins=[[0, 0.5, 1], [0, 0.5, 1]])[0]
    table += 2 * np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum() ** 2
    log = float(np.log(table[1, 1] * table[0, 0]) - np.log(table[1, 0] * table[0, 1]))
    difference = np.array([[-1.0, 1.0, 0.0, 0.0]])
    effect = pairs.contrast(difference)[2] / replace(pairs, clustered=None).contrast(difference)[2]
    error = float((1 / table).sum() ** 0.5 * effect[0])
    z = pairs.quantile(1 - 0.025 / len(part.groups))
    bounds = np.exp(np.clip([log, log - z * error, log + z * error], -50, 50))
    return (*bounds.tolist(), float(pairs.rates[1]))


def inherited(column: Column, answers: Answers, smallest: int) -> list[Finding]:
    """Groups in which the student repeats its teacher's errors more, or less, often than elsewhere."""
    wrong = answers.teacher != answers.gold
    repeats = wrong & (answers.student == answers.teacher)
    part = Slice.of(column, answers, Flagged(wrong, repeats, repeats), smallest)
    if part.pairs is None:
        return []
    contrasts = from_the_rest(part.pairs, STUDENT_RATE)
    values = np.array([abs(one.value) for one in contrasts])
    told = [contrasts[at] for at in _chosen(values, np.array([one.clear for one in contrasts]))]
    shares = part.pairs.rates[: part.pairs.size]
    return [
        Finding(
            "inherited errors",
            f"share of the teacher's errors repeated, {column.place(part.groups[one.group])}",
            "reported",
            None,
            float(shares[one.group]),
            one.value,
            one.lower,
            one.upper,
            None,
            one.n,
            f"{column.name}={column.groups[part.groups[one.group]]}: the student repeats "
            f"{100 * shares[one.group]:.1f} % of the teacher's errors, {points(abs(one.value))} "
            f"{'more' if one.value > 0 else 'less'} than with all others (95 % interval {points(one.lower)} to "
            f"{points(one.upper)}).",
        )
        for one in told
    ]


def _chosen(values: Floats, clear: Flags) -> Ints:
    """Places of the clear ones, the largest first and a few only; without any, the place of the largest."""
    order = np.argsort(-values, kind="stable")
    kept = [at for at in order if clear[at]][:NAMED]
    return np.array(kept or order[:1], dtype=np.int64)
