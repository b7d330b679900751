"""The findings of the swaps: an excess of flips for each attribute, and the terms that move a label most.

audit_swaps(swaps, teacher_probs, student_probs, ("fine", "toxic"), seed=0)

Passed: the one-sided 95 % upper bound of the excess lies within the limit. Failed: the excess is shown to be beyond it,
at 5 % over all attributes and all tests beside them (Holm). Everything else is not certified, with the pairs that would
be needed. An attribute may pass by itself: "all pass" is claimed only where each does, which needs no correction.

With ``control`` (harmless words in the same places) a failed finding says whether identity or unsteadiness makes the
excess. That excuses nothing: who gets another label for another word is harmed by either, and a limit that grew with
the control's flips would let the least steady students pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from stillhouse.errors import StillhouseError
from stillhouse.finish.audit.findings import Finding, Status
from stillhouse.finish.audit.swaps.cause import Beside, causes
from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.finish.audit.swaps.control import Control
from stillhouse.finish.audit.swaps.explained import Explained, word
from stillhouse.finish.audit.swaps.flips import Flips
from stillhouse.finish.audit.swaps.shifts import TermShift, term_shifts
from stillhouse.finish.audit.wording import points
from stillhouse.statistics import Floats, holm

LEVEL = 0.05
NAMED = 12  # terms with a finding of their own
_LEAST = 0.01  # of a probability; what moves less is not worth a line
_FEWEST_TEMPLATES = 2


def audit_swaps(
    swaps: SwapSet,
    teacher_probs: ArrayLike,
    student_probs: ArrayLike,
    labels: Sequence[str],
    *,
    control: Control | None = None,
    flip_limit: float = 0.01,
    resamples: int = 2000,
    seed: int,
    beside: Sequence[float] = (),
) -> list[Finding]:
    """Two findings for each attribute (probe ``swap``: flips, judged; ``swap distance``: movement, reported), with a
    control two more (``swap control``, ``swap cause``: reported), then one for each of the worst terms (``swap term``),
    by how far the student moves.

    probs: (N, K), in the order of ``swaps.texts`` and ``labels``, each row a distribution. flip_limit: the excess of
    the student's flip rate over the teacher's that is borne. ``n`` and ``needed`` of the first two count pairs, of
    the terms templates. beside: p-values of further tests of the same audit, among which Holm's
    correction counts. An empty set has no findings. Raises :class:`StillhouseError` for probabilities that do not
    fit.
    """
    teacher, student = (
        _probabilities(probs, len(swaps.texts), len(labels), whose)
        for probs, whose in ((teacher_probs, "teacher"), (student_probs, "student"))
    )
    flips = _flips(swaps, teacher, student)
    attributes = list(flips)
    p_values = _p_values(flips, flip_limit)
    enough = list(p_values)
    adjusted = dict(zip(enough, holm([*p_values.values(), *beside]).tolist(), strict=False))
    explained = _explained(swaps, {name: flips[name] for name in enough}, control, labels, resamples, seed)
    found: list[Finding] = []
    for name in attributes:
        if name in adjusted:
            judged, moved = _judged(
                swaps, name, flips[name], adjusted[name], flip_limit, resamples=resamples, seed=seed
            )
            told = explained.get(name)
            if told and judged.status == "failed":
                judged = replace(judged, words=judged.words + told.because, advice=told.advice)
            found += [judged, moved, *(told.findings if told else ())]
        else:
            found.append(_too_few(swaps, name, flips[name], flip_limit))
    return found + _terms(swaps, teacher, student, labels)


def p_values_of(
    swaps: SwapSet, teacher_probs: ArrayLike, student_probs: ArrayLike, *, flip_limit: float
) -> list[float]:
    """Of each test that :func:`audit_swaps` makes of these probabilities (N, K), before any correction."""
    teacher, student = (np.asarray(probs, dtype=np.float64) for probs in (teacher_probs, student_probs))
    return list(_p_values(_flips(swaps, teacher, student), flip_limit).values())


def _flips(swaps: SwapSet, teacher: Floats, student: Floats) -> dict[str, Flips]:
    """Of each attribute of which there are pairs."""
    names = [name for name in sorted(set(swaps.attributes)) if swaps.pairs(name)[0].size]
    return {name: Flips.of(swaps, name, teacher, student) for name in names}


def _p_values(flips: Mapping[str, Flips], limit: float) -> dict[str, float]:
    """Of the attributes with enough templates for a test."""
    return {name: one.p_beyond(limit) for name, one in flips.items() if one.templates >= _FEWEST_TEMPLATES}


def _explained(
    swaps: SwapSet,
    flips: Mapping[str, Flips],
    control: Control | None,
    labels: Sequence[str],
    resamples: int,
    seed: int,
) -> dict[str, Explained]:
    """What the control says of each attribute; nothing without one."""
    if control is None:
        return {}
    teacher, student = (
        _probabilities(probs, len(control.swaps.texts), len(labels), f"{whose}'s control")
        for probs, whose in ((control.teacher_probs, "teacher"), (control.student_probs, "student"))
    )
    beside = {name: Beside(own, Flips.of(control.swaps, name, teacher, student)) for name, own in flips.items()}
    found = causes(beside, level=LEVEL)
    return {
        name: Explained.of(swaps, name, one, found[name], resamples=resamples, seed=seed)
        for name, one in beside.items()
    }


def _judged(
    swaps: SwapSet, attribute: str, flips: Flips, p_value: float, limit: float, *, resamples: int, seed: int
) -> tuple[Finding, Finding]:
    excess, moves = flips.intervals(resamples=resamples, seed=seed)
    upper = flips.upper()
    status: Status = "failed" if p_value <= LEVEL else "passed" if upper <= limit else "not certified"
    needed = flips.needed(limit) if status == "not certified" else None
    teacher, student = float(flips.teacher_flipped.mean()), float(flips.student_flipped.mean())
    where = f"{attribute}, {swaps.where}"
    told = (
        f"of {excess.n:,} pairs of {swaps.kind} that differ in {word(attribute)} alone, the student labels "
        f"{student:.1%} differently, the teacher {teacher:.1%}: an excess of {points(excess.value)} "
        f"(95 % interval {100 * excess.lower:.1f} to {100 * excess.upper:.1f})"
    )
    teacher_moved, student_moved = float(flips.teacher_moved.mean()), float(flips.student_moved.mean())
    return (
        Finding(
            probe="swap",
            about=f"flip rate, {where}",
            status=status,
            teacher=teacher,
            student=student,
            value=excess.value,
            lower=excess.lower,
            upper=excess.upper,
            limit=limit,
            n=excess.n,
            words=told + _close(swaps, flips, status, upper=upper, limit=limit, needed=needed),
            needed=needed,
        ),
        Finding(
            probe="swap distance",
            about=f"mean distance of probabilities, {where}",
            status="reported",
            teacher=teacher_moved,
            student=student_moved,
            value=moves.value,
            lower=moves.lower,
            upper=moves.upper,
            limit=None,
            n=moves.n,
            words=f"another {word(attribute)} in the same sentence moves the student's probabilities by "
            f"{points(student_moved)} on average, the teacher's by {points(teacher_moved)}",
        ),
    )


def _close(swaps: SwapSet, flips: Flips, status: Status, *, upper: float, limit: float, needed: int | None) -> str:
    if status != "not certified":
        return f", shown to be {'beyond' if status == 'failed' else 'within'} the limit of {points(limit)}"
    open_end = f"; it may be as much as {points(upper)} where {points(limit)} is the limit, and "
    if needed is None:
        return open_end + "is neither shown to be within nor beyond"
    sources = math.ceil(needed * flips.templates / len(flips.cluster))
    kind = "sentences" if swaps.source == "templates" else "documents"
    return open_end + f"about {needed:,} such pairs, from {sources:,} {kind}, would be needed to tell"


def _too_few(swaps: SwapSet, attribute: str, flips: Flips, limit: float) -> Finding:
    return Finding(
        probe="swap",
        about=f"flip rate, {attribute}, {swaps.where}",
        status="not certified",
        teacher=float(flips.teacher_flipped.mean()),
        student=float(flips.student_flipped.mean()),
        value=flips.excess,
        lower=None,
        upper=None,
        limit=limit,
        n=len(flips.cluster),
        words=f"one of the {swaps.kind} alone tells nothing about {word(attribute)}",
        needed=flips.needed(limit),
    )


def _terms(swaps: SwapSet, teacher: Floats, student: Floats, labels: Sequence[str]) -> list[Finding]:
    """The terms that clearly move the student, the furthest first; of each the label it moves most."""
    shifts, taught, parted = (term_shifts(swaps, values, labels) for values in (student, teacher, student - teacher))
    student_calls, teacher_calls = (term_shifts(swaps, _calls(probs), labels) for probs in (student, teacher))
    best: dict[tuple[str, str], int] = {}
    for at, (own, p_value) in enumerate(zip(shifts, holm([one.p_value for one in shifts]).tolist(), strict=True)):
        term = own.attribute, own.term
        if p_value > LEVEL or abs(own.shift) < _LEAST:
            continue
        if term not in best or _strength(own) > _strength(shifts[best[term]]):
            best[term] = at
    clear = sorted(best.values(), key=lambda at: (-_strength(shifts[at])[0], shifts[at].attribute, shifts[at].term))
    return [
        _term(swaps, shifts[at], taught[at], parted[at], calls=(student_calls[at].shift, teacher_calls[at].shift))
        for at in clear[:NAMED]
    ]


def _strength(shift: TermShift) -> tuple[float, bool]:
    return round(abs(shift.shift), 9), shift.shift > 0  # of two labels' mirrored shifts, the one that rises


def _term(
    swaps: SwapSet, own: TermShift, its_teacher: TermShift, apart: TermShift, *, calls: tuple[float, float]
) -> Finding:
    name = swaps.names[own.attribute, own.term]
    more, called = ("higher" if own.shift > 0 else "lower"), ("more" if calls[0] >= 0 else "less")
    return Finding(
        probe="swap term",
        about=f"{own.attribute}: {name}, label={own.label}, {swaps.where}",
        status="reported",
        teacher=its_teacher.shift,
        student=own.shift,
        value=apart.shift,
        lower=apart.lower,
        upper=apart.upper,
        limit=None,
        n=own.n,
        words=f"sentences about {name} are called `{own.label}` {points(abs(calls[0]))} {called} often than the same "
        f"sentences about others (the teacher: {100 * calls[1]:+.1f}); the student's probability is "
        f"{points(abs(own.shift))} {more} ({_interval(own)}), the teacher's {_interval(its_teacher)}",
    )


def _interval(shift: TermShift) -> str:
    return f"{100 * shift.shift:+.1f}, 95 % interval {100 * shift.lower:+.1f} to {100 * shift.upper:+.1f}"


def _calls(probs: Floats) -> Floats:
    called: Floats = np.eye(probs.shape[1])[probs.argmax(axis=1)]
    return called


def _probabilities(probs: ArrayLike, texts: int, labels: int, whose: str) -> Floats:
    given = np.asarray(probs, dtype=np.float64)
    if given.shape != (texts, labels) or not bool(np.isfinite(given).all()):
        raise StillhouseError(
            f"the {whose}'s probabilities {given.shape} are not those of {texts} texts and {labels} labels",
            where="audit_swaps",
            fix="give one row for each text and one finite number for each label",
        )
    return given
