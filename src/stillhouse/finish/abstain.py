"""Abstaining: the student answers where it is sure enough, and passes on to the teacher where it is not.

found = choose(probs, right, most=0.05, against="teacher")      # on validation documents
found = measure(found, test_probs, test_teacher, gold=gold)     # what it comes to on the test split
answered(probs, found.threshold)                                # (N,) where the student answers

The threshold promises: among the rows that are answered, at most ``most`` are not right, with ``confidence`` over
draws of the validation documents, although the same documents chose it. It is the lowest one that can be promised.
Right means the teacher's label, where nothing else is known, or the gold label. The promise is about documents like
those of validation; where validation also picked the weights that ship, it flatters the student a little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.finish.evaluate import Bools, Ints
from stillhouse.statistics import Interval, loosest_kept, proportion

Against = Literal["teacher", "gold"]
NEVER = 1.0  # no probability lies above it: every row is passed on


@dataclass(frozen=True)
class Abstaining:
    """threshold: the student answers where its probability lies above it; 0 answers all, 1 none.

    most, confidence, against: what is promised. rows: documents that chose. seen: not right, of those answered.
    bound: upper bound of their share, ``None`` where nothing could be promised. coverage: the share that the student
    answers on the test split. agreement: with the teacher, among those. accuracy, cascade_accuracy: against gold, of
    the answered rows, and of all with the teacher's label for the others. ``None`` where not measured, or nothing is
    answered.
    """

    threshold: float
    most: float
    confidence: float
    against: Against
    rows: int
    answered: int
    seen: int
    bound: float | None
    why: str
    coverage: Interval | None = None
    agreement: Interval | None = None
    accuracy: Interval | None = None
    cascade_accuracy: Interval | None = None

    def row(self) -> dict[str, Any]:
        """All of it as a JSON value, for the label."""
        return asdict(self)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Abstaining:
        """From the JSON value in a label; raises :class:`StillhouseError` where it is none."""
        try:
            fields = dict(row)
            for name in ("coverage", "agreement", "accuracy", "cascade_accuracy"):
                fields[name] = None if row[name] is None else Interval(**row[name])
            return cls(**{**fields, "threshold": float(row["threshold"])})
        except (TypeError, KeyError, ValueError) as error:
            raise StillhouseError(
                "the label's threshold for abstaining cannot be read",
                where="label.json: abstain",
                fix="bottle the student again",
            ) from error


def confidence_of(probs: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How sure the student is, (N,): its largest probability of (N, K)."""
    found: npt.NDArray[np.float64] = probs.max(axis=1).astype(np.float64)
    return found


def answered(probs: npt.NDArray[np.floating], threshold: float) -> Bools:
    """(N,) where the student answers; probabilities that are no numbers are passed on."""
    return np.asarray(confidence_of(probs) > threshold, dtype=np.bool_)


def choose(
    probs: npt.NDArray[np.floating],  # (M, K) of the artifact that ships
    right: Ints,  # (M,)
    *,
    most: float,
    confidence: float = 0.95,
    against: Against = "teacher",
) -> Abstaining:
    """The lowest threshold at which at most ``most`` of the answered rows are not ``right``, as a promise.

    Where none can be promised, as from no rows at all, every row is passed on, and ``why`` says so. Raises
    :class:`StillhouseError` for a share or a confidence that lies not between 0 and 1, and for rows that make no pairs.
    """
    if not (0 < most < 1 and 0 < confidence < 1) or probs.ndim != 2 or len(probs) != len(right):
        raise StillhouseError(
            f"no threshold can be chosen for a share of {most} at confidence {confidence} from {probs.shape} "
            f"probabilities and {len(right)} labels",
            where="the threshold for abstaining",
            fix="give a share and a confidence between 0 and 1, and a label for each row",
        )
    sure = confidence_of(probs)
    wrong = probs.argmax(axis=1) != right
    held = loosest_kept(-sure, wrong, epsilon=most, confidence=confidence) if len(right) else None
    what = "differ from the teacher" if against == "teacher" else "are wrong"
    promise = f"at most {most:.1%} of the answered texts {what}"
    given = {"most": most, "confidence": confidence, "against": against, "rows": len(right)}
    if held is None:
        kind = "validation documents" if against == "teacher" else "validation documents with a gold label"
        why = f"no threshold can promise that {promise}: {len(right)} {kind}"
        return Abstaining(NEVER, **given, answered=0, seen=0, bound=None, why=why)  # type: ignore[arg-type]
    # the rule that was tested answers from this probability on; what is stored is what it has to lie above
    threshold = 0.0 if held.threshold == np.inf else float(np.nextafter(-held.threshold, 0.0))
    why = f"{promise} ({confidence:.0%}; {held.seen} of {held.among} seen on {len(right)} validation documents)"
    return Abstaining(threshold, **given, answered=held.among, seen=held.seen, bound=held.bound, why=why)  # type: ignore[arg-type]


def measure(
    chosen: Abstaining,
    probs: npt.NDArray[np.floating],  # (N, K)
    teacher: Ints,  # (N,)
    *,
    gold: Ints | None = None,  # (N,)
) -> Abstaining:
    """The same threshold with what it comes to on documents that did not choose it."""
    here, labels = answered(probs, chosen.threshold), probs.argmax(axis=1)
    both = np.where(here, labels, teacher)

    def among(right: Bools) -> Interval | None:
        return proportion(right[here]) if here.any() else None

    return replace(
        chosen,
        coverage=proportion(here),
        agreement=among(labels == teacher),
        accuracy=None if gold is None else among(labels == gold),
        cascade_accuracy=None if gold is None else proportion(both == gold),
    )
