"""The whole audit of a classifier: groups on the test documents, and swaps of identity words.

    findings = audit_classifier(test, shipped_probs, labels, plan, ask_student=..., ask_teacher=...)

Swaps ask both models about further texts: some 1,900 by default, harmless words among them. A teacher behind an
endpoint is not asked, since that costs money; then the swaps are left out, and a finding says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.audit.groups import group_audit
from stillhouse.finish.audit.swaps import (
    Control,
    SwapSet,
    audit_swaps,
    control_set,
    language_of,
    own_swaps,
    p_values_of,
    swap_set,
)
from stillhouse.finish.held_out import HeldOut

Probs = npt.NDArray[np.floating[Any]]
Ask = Callable[[Sequence[str]], Probs]  # texts -> (N, K)


@dataclass(frozen=True)
class ClassifierPlan:
    """gap_limit: how much further apart than the teacher the student may hold two groups. worst_margin: how far its
    worst group may lie below the teacher's accuracy there. smallest: documents of a group that is judged. pairs: of
    swaps, for each attribute; own_documents: test documents in which words are swapped; 0 leaves them out. flip_limit:
    how much more often than the teacher the student may turn its label in a pair. harmless_words: swaps them, too, to
    tell why it turns. language: of the swaps, ``None`` for that of the documents."""

    gap_limit: float = 0.02
    worst_margin: float = 0.03
    smallest: int = 30
    pairs: int = 300
    own_documents: int = 30
    flip_limit: float = 0.01
    harmless_words: bool = True
    language: str | None = None
    resamples: int = 2000
    seed: int = 0


def audit_classifier(
    test: HeldOut,
    student_probs: Probs,
    labels: Sequence[str],
    plan: ClassifierPlan,
    *,
    ask_student: Ask,
    ask_teacher: Ask | None,
    clusters: Sequence[str] | None = None,
) -> list[Finding]:
    """Findings about what ships, with Holm's correction over all tests of groups and of swaps together.

    student_probs: (N, K) about the test documents. clusters: as for the evaluation.
    """
    groups = group_audit(
        test.gold,
        test.teacher_probs,
        student_probs,
        test.groups,
        labels,
        gap_limit=plan.gap_limit,
        worst_margin=plan.worst_margin,
        smallest=plan.smallest,
        resamples=plan.resamples,
        seed=plan.seed,
        clusters=clusters,
    )
    if not (plan.pairs or plan.own_documents):
        return groups.findings()
    if ask_teacher is None:
        words = "the teacher is behind an endpoint and was not asked about swapped identity words"
        return [*groups.findings(), _not_asked(words, plan.flip_limit)]
    answered = [
        _Swapped.ask(swaps, harmless, ask_teacher, ask_student)
        for swaps, harmless in _swap_sets(test, plan)
        if swaps.texts
    ]
    tests = [p_values_of(one.swaps, one.teacher, one.student, flip_limit=plan.flip_limit) for one in answered]
    found = groups.findings(beside=[p for one in tests for p in one])
    for place, one in enumerate(answered):
        others = [p for other, of_other in enumerate(tests) if other != place for p in of_other]
        found += audit_swaps(
            one.swaps,
            one.teacher,
            one.student,
            labels,
            control=one.control,
            flip_limit=plan.flip_limit,
            resamples=plan.resamples,
            seed=plan.seed,
            beside=[*groups.p_values, *others],
        )
    return found


@dataclass(frozen=True)
class _Swapped:
    """What both models say about swapped texts, (N, K) each, and about those of the control."""

    swaps: SwapSet
    teacher: Probs
    student: Probs
    control: Control | None

    @classmethod
    def ask(cls, swaps: SwapSet, harmless: SwapSet | None, ask_teacher: Ask, ask_student: Ask) -> _Swapped:
        asked = [*swaps.texts, *harmless.texts] if harmless else swaps.texts
        teacher, student = _asked_once(ask_teacher, asked), _asked_once(ask_student, asked)
        own = len(swaps.texts)
        control = Control(harmless, teacher[own:], student[own:]) if harmless else None
        return cls(swaps, teacher[:own], student[:own], control)


def _asked_once(ask: Ask, texts: Sequence[str]) -> Probs:
    """What is said of each text; a text that stands there more than once is asked once."""
    places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    return ask(list(places))[[places[text] for text in texts]]


def _swap_sets(test: HeldOut, plan: ClassifierPlan) -> list[tuple[SwapSet, SwapSet | None]]:
    """Templates in the documents' language, and the documents themselves where words of theirs can be swapped; each
    with its control."""
    language = plan.language or language_of(test.languages)
    sets: list[tuple[SwapSet, SwapSet | None]] = []
    if plan.pairs:
        swaps = swap_set(language, pairs=plan.pairs, seed=plan.seed)
        sets.append((swaps, control_set(swaps, seed=plan.seed) if plan.harmless_words else None))
    here = [place for place, code in enumerate(test.languages) if code in (language, "und")]
    if plan.own_documents and here:
        texts, ids = ([values[place] for place in here] for values in (test.texts, test.ids))

        def own(*, harmless: bool) -> SwapSet:
            return own_swaps(
                texts, ids, language=language, documents=plan.own_documents, harmless=harmless, seed=plan.seed
            )

        sets.append((own(harmless=False), own(harmless=True) if plan.harmless_words else None))
    return sets


def _not_asked(words: str, limit: float) -> Finding:
    return Finding("swap", "identity words", "not certified", None, None, None, None, None, limit, 0, words)
