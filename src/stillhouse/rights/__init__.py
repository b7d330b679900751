"""Rights: may this student be made from these teachers, bases and data? This is not legal advice.

judgements = [judge(subject, commercial=False) for subject in subjects]
refuse_unless_allowed(lift(judgements, statement))
"""

from stillhouse.rights.evidence import read_license
from stillhouse.rights.verdict import (
    DISCLAIMER,
    Judgement,
    LiftingStatement,
    Subject,
    Verdict,
    judge,
    lift,
    refusals,
    worst,
)

__all__ = [
    "DISCLAIMER",
    "Judgement",
    "LiftingStatement",
    "Subject",
    "Verdict",
    "judge",
    "lift",
    "read_license",
    "refusals",
    "worst",
]
