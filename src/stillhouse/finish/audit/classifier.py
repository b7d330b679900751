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
from stillhouse.finish.audit.groups import audit_groups
from stillhouse.finish.audit.swaps import Control, SwapSet, audit_swaps, control_set, language_of, own_swaps, swap_set
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
    """Findings about what ships. student_probs: (N, K) about the test documents. clusters: as for the evaluation."""
    found = audit_groups(
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
        return found
    if ask_teacher is None:
        words = "the teacher is behind an endpoint and was not asked about swapped identity words"
        return [*found, _not_asked(words, plan.flip_limit)]
    for swaps, harmless in _swap_sets(test, plan):
        if swaps.texts:
            asked = [*swaps.texts, *harmless.texts] if harmless else swaps.texts
            teacher, student = _asked_once(ask_teacher, asked), _asked_once(ask_student, asked)
            own = len(swaps.texts)
            found += audit_swaps(
                swaps,
                teacher[:own],
                student[:own],
                labels,
                control=Control(harmless, teacher[own:], student[own:]) if harmless else None,
                flip_limit=plan.flip_limit,
                resamples=plan.resamples,
                seed=plan.seed,
            )
    return found


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
