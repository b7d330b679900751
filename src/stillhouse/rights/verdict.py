"""The verdict: a lattice `allow < allow with duties < needs permission < unknown < forbid`; the worst wins.

Each subject is judged alone, by every document that is known to rule it: one finding for each document.

    judgement = Judgement(subject, Verdict.ALLOW_WITH_DUTIES, findings)
    judgement.reason, judgement.duties, judgement.verdict < Verdict.FORBID
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from stillhouse.rights.subjects import Subject
from stillhouse.rights.terms import Duty, Terms, Touch, Trust

DISCLAIMER = "This is not legal advice."


class Verdict(IntEnum):
    """Ordered from best to worst."""

    ALLOW = 0
    ALLOW_WITH_DUTIES = 1
    NEEDS_PERMISSION = 2
    UNKNOWN = 3
    FORBID = 4

    @property
    def words(self) -> str:
        """The verdict in plain words."""
        return self.name.lower().replace("_", " ")

    @classmethod
    def of(cls, words: str) -> Verdict:
        """The verdict that ``words`` (with spaces or dashes) stand for."""
        return cls[words.upper().replace(" ", "_").replace("-", "_")]


@dataclass(frozen=True)
class OwedDuty:
    """A duty that is due for this use, and the terms that ask for it."""

    duty: Duty
    terms: str

    @property
    def words(self) -> str:
        """The duty in plain words."""
        text = self.duty.text
        match self.duty.kind:
            case "name-prefix":
                said = f"the student's name begins with “{text}”"
            case "badge":
                said = f"the model card shows “{text}”"
            case "notice":
                said = f"NOTICE carries “{text}”"
            case "license-copy":
                said = f"a copy of {self.terms} goes with it"
            case "use-policy":
                said = f"the use policy {text} is followed and passed on"
            case "attribution":
                said = "its authors are named in NOTICE"
            case "keep-notices":
                said = "its own notices are kept in NOTICE"
            case "non-commercial":
                said = "it is marked as for non-commercial use only"
            case "condition":
                said = text
        return said


@dataclass(frozen=True)
class Finding:
    """What one document says of one use."""

    terms: str
    verdict: Verdict
    reason: str
    clause: str = ""
    duties: tuple[OwedDuty, ...] = ()
    document: Terms | None = None
    evidence: str = ""
    warnings: tuple[str, ...] = ()
    declared: bool = False
    trust: Trust = "primary"
    touches: tuple[Touch, ...] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdict on one subject: the worst of its findings. ``lifted_by`` names who lifted a worse one."""

    subject: Subject
    verdict: Verdict
    findings: tuple[Finding, ...]
    lifted_from: Verdict | None = None
    lifted_by: str | None = None

    @property
    def deciding(self) -> Finding:
        """The finding that decided: the worst, the first of several."""
        return max(self.findings, key=lambda finding: finding.verdict)

    @property
    def license(self) -> str:
        """The ids of everything that rules the subject, or ``not stated``."""
        return " and ".join(dict.fromkeys(finding.terms for finding in self.findings))

    @property
    def reason(self) -> str:
        """Why, in a sentence, with where it was read."""
        return self.deciding.reason

    @property
    def duties(self) -> tuple[OwedDuty, ...]:
        """Everything owed for this use, each once."""
        return tuple(dict.fromkeys(duty for finding in self.findings for duty in finding.duties))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the verdict less certain: old or unread documents."""
        return tuple(dict.fromkeys(warning for finding in self.findings for warning in finding.warnings))

    @property
    def final(self) -> bool:
        """Whether nothing can change the verdict but the recipe or the table: what is unknown of a model that has
        still to be fetched may be known when it is here."""
        return self.subject.here or self.verdict is not Verdict.UNKNOWN
