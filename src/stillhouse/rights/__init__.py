"""Rights: may this student be made from these teachers, bases and data, and what does it owe? Not legal advice.

table = Table.load()
subject = gather("teacher", "teacher", "hf:org/model@rev", table=table, files=None, touches=("outputs",))
judgements = lift([judge(subject, Use(release="distributed"), table=table)], statement)
stop = refusals(judgements)
"""

from stillhouse.rights.appeal import LiftingStatement, lift, refusals, worst, would_change
from stillhouse.rights.duties import Texts, card_lines, check, deliver, owed, unmet
from stillhouse.rights.evidence import Declared, Service, by_name, gather, license_texts, notice_texts
from stillhouse.rights.explain import as_row, explain
from stillhouse.rights.judging import judge
from stillhouse.rights.subjects import Claim, Role, Subject, Use
from stillhouse.rights.terms import Release, StudentKind, Table, Touch
from stillhouse.rights.verdict import DISCLAIMER, Judgement, Verdict

__all__ = [
    "DISCLAIMER",
    "Claim",
    "Declared",
    "Judgement",
    "LiftingStatement",
    "Release",
    "Role",
    "Service",
    "StudentKind",
    "Subject",
    "Table",
    "Texts",
    "Touch",
    "Use",
    "Verdict",
    "as_row",
    "by_name",
    "card_lines",
    "check",
    "deliver",
    "explain",
    "gather",
    "judge",
    "license_texts",
    "lift",
    "notice_texts",
    "owed",
    "refusals",
    "unmet",
    "worst",
    "would_change",
]
