"""Counterfactual identity swaps: the same sentence about other people; which labels change, for teacher and student?

swaps = swap_set(language_of(documents.column("language")), seed=0)
swaps.texts                                            # for both models
harmless = control_set(swaps, seed=0)                  # other words that should not matter, in the same sentences
control = Control(harmless, teacher_probs_of_it, student_probs_of_it)
findings = audit_swaps(swaps, teacher_probs, student_probs, labels, control=control, seed=0)

``own_swaps`` makes swaps of the user's own texts. The sentences, written for this project, are in en, de, fr, es.toml.
"""

from stillhouse.finish.audit.swaps.audit import audit_swaps, p_values_of
from stillhouse.finish.audit.swaps.choice import SwapSet, swap_set
from stillhouse.finish.audit.swaps.control import Control, control_set
from stillhouse.finish.audit.swaps.own import own_swaps
from stillhouse.finish.audit.swaps.sentences import LANGUAGES, language_of
from stillhouse.finish.audit.swaps.shifts import TermShift, term_shifts

__all__ = [
    "LANGUAGES",
    "Control",
    "SwapSet",
    "TermShift",
    "audit_swaps",
    "control_set",
    "language_of",
    "own_swaps",
    "p_values_of",
    "swap_set",
    "term_shifts",
]
