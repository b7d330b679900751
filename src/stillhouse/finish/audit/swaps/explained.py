"""What the control says in words: the findings beside an attribute's flips, and what to try against them.

explained = Explained.of(swaps, "gender", beside, "unsteady", resamples=2000, seed=0)
explained.because        # to be read after the words of the attribute's own finding
explained.findings       # `swap control`: flips with harmless words; `swap cause`: the identity excess
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.swaps.cause import Beside, Cause
from stillhouse.finish.audit.swaps.choice import SwapSet
from stillhouse.finish.audit.wording import points
from stillhouse.statistics import Interval

_IDENTITY = "add documents in which only the identity word differs, under one label"
_UNSTEADY = (
    "make it steadier: more documents, longer training (`distill.train.epochs`), more layers (`distill.student.keep`), "
    "or a higher `distill.loss.temperature`"
)
ADVICE: dict[Cause, str] = {
    "identity": _IDENTITY,
    "unsteady": _UNSTEADY,
    "both": f"{_UNSTEADY}; and {_IDENTITY}",
    "open": f"ask about more pairs (`finish.audit.pairs`) to learn what makes it; {_UNSTEADY}; or {_IDENTITY}",
}


@dataclass(frozen=True)
class Explained:
    """because: for an attribute whose excess is beyond the limit. advice: what to try then. findings: reported."""

    because: str
    advice: str
    findings: Sequence[Finding]

    @classmethod
    def of(
        cls, swaps: SwapSet, attribute: str, beside: Beside, cause: Cause, *, resamples: int, seed: int
    ) -> Explained:
        """The words for one attribute."""
        excess = beside.interval(resamples=resamples, seed=seed)
        control, _ = beside.control.intervals(resamples=resamples, seed=seed)
        taught, own = (
            float(flipped.mean()) for flipped in (beside.control.teacher_flipped, beside.control.student_flipped)
        )
        its_teacher, its_own = (
            float(flipped.mean()) for flipped in (beside.identity.teacher_flipped, beside.identity.student_flipped)
        )
        where = f"{attribute}, {swaps.where}"
        turned = (
            f"the student labels {own:.1%} differently, the teacher {taught:.1%}: an excess of {points(control.value)} "
            f"({_interval(control)})"
        )
        return cls(
            because=f"; with harmless words in the same place {turned}; {_cause(cause, excess)}",
            advice=ADVICE[cause],
            findings=[
                Finding(
                    probe="swap control",
                    about=f"flip rate of harmless words, {where}",
                    status="reported",
                    teacher=taught,
                    student=own,
                    value=control.value,
                    lower=control.lower,
                    upper=control.upper,
                    limit=None,
                    n=control.n,
                    words=f"of {control.n:,} pairs of {swaps.kind} that differ in a harmless word alone, where others "
                    f"differ in {word(attribute)}, {turned}; they move the teacher's probabilities by "
                    f"{points(float(beside.control.teacher_moved.mean()))} on average, where another "
                    f"{word(attribute)} moves them by {points(float(beside.identity.teacher_moved.mean()))}",
                ),
                Finding(
                    probe="swap cause",
                    about=f"identity excess, {where}",
                    status="reported",
                    teacher=its_teacher - taught,
                    student=its_own - own,
                    value=excess.value,
                    lower=excess.lower,
                    upper=excess.upper,
                    limit=None,
                    n=len(beside.identity.cluster),
                    words=f"another {word(attribute)} turns the student's label {_signed(its_own - own)} points more "
                    f"often than another harmless word, the teacher's {_signed(its_teacher - taught)}: an identity "
                    f"excess of {points(excess.value)} ({_interval(excess)}){_shown(cause)}",
                ),
            ],
        )


def _cause(cause: Cause, excess: Interval) -> str:
    """What makes an excess of flips that is beyond the limit."""
    added = f"{points(excess.value)} ({_interval(excess)})"
    return {
        "identity": f"it is the identity words, which add {added} to what harmless ones do",
        "unsteady": f"at least half of the excess is unsteadiness; identity words are not shown to add to it: {added}",
        "both": f"at least half of the excess is unsteadiness, and identity words add {added}",
        "open": f"whether most of it is unsteadiness, or identity words add to it, is not shown: they add {added}",
    }[cause]


def _shown(cause: Cause) -> str:
    return ", shown to be more than nothing" if cause in ("identity", "both") else ""


def word(attribute: str) -> str:
    """How sentences call the attribute."""
    return "sexual orientation" if attribute == "orientation" else attribute


def _interval(interval: Interval) -> str:
    return f"95 % interval {100 * interval.lower:.1f} to {100 * interval.upper:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}"
