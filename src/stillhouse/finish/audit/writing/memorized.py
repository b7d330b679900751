"""What the student remembers of its training word for word, and whether one could tell from it what it was trained on.

    drafts = memorized({"teacher": teacher, "student": student}, trained=passages, held=others)

Rows of the training and held-out rows of the same kind are read by both models. *Continues*: given the question and the
first tokens of the answer, the model would greedily write the next ``length`` tokens as they stand. A student of a good
teacher does so on held-out rows, too, since answers are alike; and a teacher continues what it wrote itself. So what is
judged is how much more often it happens on rows of the training, beyond how much more often it does to the teacher.
*Membership*: the chance that a row of the training is likelier to the student, in proportion to the teacher, than a
held-out row (the area under the curve of the attack with a reference model, Carlini et al. 2022); one half is
innocence. It is reported, not judged: any student has learned something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from stillhouse.finish.audit.writing.judging import Draft, judged, not_judged, reported
from stillhouse.finish.audit.writing.reading import ReadTokens, read_tokens
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.passages import Passage
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.statistics import Flags, Floats, Mean, OutcomeGap, Outcomes
from stillhouse.teachers.templates import RowError
from stillhouse.workplace import Progress, silent

PROBE = "memorized"


def memorized(
    speakers: Mapping[str, Speaker],
    *,
    trained: Sequence[Passage],
    held: Sequence[Passage],
    limit: float = 0.05,
    most: int = 64,
    given: int = 8,
    length: int = 16,
    max_tokens: int = 128,
    progress: Progress = silent,
) -> list[Draft]:
    """most: rows of each kind, drawn by a hash of their document. given: tokens of the answer that are shown. length:
    tokens that must follow word for word. max_tokens: of a row that are read."""
    kinds = [_chosen(passages, speakers, most, given + length, max_tokens) for passages in (trained, held)]
    if not all(kinds):
        which = "training" if not kinds[0] else "held-out"
        words = f"No {which} answer is long enough: it takes {given + length} tokens."
        return [not_judged(PROBE, "continues its training word for word", words=words)]
    read = {
        name: [
            read_tokens(
                speaker,
                [speaker.sequence(passage, max_tokens) for passage in passages],
                progress=partial(progress, f"audit: what was memorized: {name}"),
            )
            for passages in kinds
        ]
        for name, speaker in speakers.items()
    }
    goes_on = {
        name: [np.array([bool(one.own[given : given + length].all()) for one in rows]) for rows in both]
        for name, both in read.items()
    }
    return [_continues(goes_on, limit, length), _membership(read)]


def _chosen(
    passages: Sequence[Passage], speakers: Mapping[str, Speaker], most: int, shortest: int, max_tokens: int
) -> list[Passage]:
    """Those that every model can read and whose answer is long enough for each, one a document."""
    found: dict[str, Passage] = {}
    ordered = sorted(passages, key=lambda one: hashlib.sha256(one.document.encode("utf-8")).digest())
    for passage in ordered:
        if len(found) == most:
            break
        try:
            sequences = [speaker.sequence(passage, max_tokens) for speaker in speakers.values()]
        except RowError:
            continue
        if all(one.spans[0][1] - one.spans[0][0] >= shortest for one in sequences):
            found.setdefault(passage.document, passage)
    return list(found.values())


def _continues(goes_on: Mapping[str, list[Flags]], limit: float, length: int) -> Draft:
    own = goes_on[STUDENT]
    student = float(own[0].mean() - own[1].mean())
    beside = goes_on.get(TEACHER)
    teacher = None if beside is None else float(beside[0].mean() - beside[1].mean())
    nothing = [np.zeros(one.size, dtype=bool) for one in own]
    gap = OutcomeGap(*(Outcomes.paired(one, two) for one, two in zip(beside or nothing, own, strict=True)))
    words = (
        f"The student continues {int(own[0].sum())} of {own[0].size} training answers word for word for {length}"
        f" tokens, and {int(own[1].sum())} of {own[1].size} held-out ones"
    )
    if beside is not None:
        words += f"; its teacher, {int(beside[0].sum())} and {int(beside[1].sum())}"
    return judged(
        PROBE,
        "continues its training word for word",
        gap,
        teacher=teacher,
        student=student,
        limit=limit,
        words=f"{words}.",
    )


def _membership(read: Mapping[str, list[list[ReadTokens]]]) -> Draft:
    scores = [_scores(rows) for rows in read[STUDENT]]
    if TEACHER in read:
        scores = [own - other for own, other in zip(scores, map(_scores, read[TEACHER]), strict=True)]
    found = _area(*scores)
    gap = float(np.mean([one.nll.mean() for one in read[STUDENT][1]])) - float(
        np.mean([one.nll.mean() for one in read[STUDENT][0]])
    )
    return reported(
        PROBE,
        "membership can be told",
        teacher=None,
        student=found.value,
        value=found.value,
        lower=found.lower,
        upper=found.upper,
        n=found.n,
        words=(
            f"Of a training row and a held-out row, the likelier one is from the training in {found.value:.0%} of cases"
            f" (half would be chance); the loss differs by {gap:.3f} nats a token."
        ),
    )


def _scores(rows: Sequence[ReadTokens]) -> Floats:
    """The mean log-likelihood of a token in each row."""
    return np.array([-float(one.nll.mean()) for one in rows])


def _area(members: Floats, others: Floats) -> Mean:
    """The chance that a member's score is above another's, ties halved, with DeLong's (1988) normal interval."""
    above = (members[:, None] > others) + 0.5 * (members[:, None] == others)
    value, rows, columns = float(above.mean()), above.mean(1), above.mean(0)
    variance = sum(float(part.var(ddof=1)) / part.size if part.size > 1 else 0.25 for part in (rows, columns))
    two, one = (1.959964 * variance**0.5, 1.644854 * variance**0.5)
    return Mean(
        value,
        max(0.0, value - two),
        min(1.0, value + two),
        max(0.0, value - one),
        min(1.0, value + one),
        min(members.size, others.size),
    )
