"""The verdict: a lattice `allow < allow with duties < needs permission < unknown < forbid`; the worst wins.

Each subject (a teacher, a base, a data source) is judged alone, by every document that is known to rule it. A
statement of the user's can lift *needs permission* and *unknown*, never *forbid*, and stays visible.

    judgement = judge(subject, Use(student="classifier", release="internal"), table=Table.load())
    judgement.verdict, judgement.duties, judgement.reason
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import IntEnum
from itertools import product
from typing import Literal, Protocol, get_args

from stillhouse.rights.terms import Duty, Release, Rule, StudentKind, Table, Terms, Touch, Trust

DISCLAIMER = "This is not legal advice."
Role = Literal["data", "teacher", "base"]
# exceptions that only add permission to the license they stand with
_EXCEPTIONS = frozenset({"llvm-exception", "classpath-exception-2.0", "gcc-exception-3.1", "font-exception-2.0"})
_EUROPEAN_UNION = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"}
    | {"MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "EEA"}
)
_OLD_DAYS = 365


_TRUST: tuple[Trust, ...] = get_args(Trust)  # from best to worst


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
class Use:
    """What the student is, and who will get it. regions: where, as country codes or EU; none counts as everywhere."""

    student: StudentKind = "classifier"
    release: Release = "internal"
    commercial: bool = True
    regions: tuple[str, ...] = ()

    @property
    def places(self) -> frozenset[str]:
        """The regions in one spelling, with the European Union where one of its members is named."""
        given = frozenset(region.upper() for region in self.regions)
        union = frozenset({"EU"}) if given & _EUROPEAN_UNION else frozenset()
        return given | union | (frozenset({"UK"}) if "GB" in given else frozenset())

    @property
    def words(self) -> str:
        """The use in plain words."""
        where = f", in {', '.join(self.regions)}" if self.regions else ""
        return f"{self.release} {'' if self.commercial else 'non-'}commercial {self.student}{where}"


@dataclass(frozen=True)
class Claim:
    """One thing that is known of a subject's terms.

    terms: a license expression, or ``None`` for something that nobody knows, with ``note`` saying what. kind: owned,
    where the recipe says whose it is; by row, where stage 1 judges each row by the license it states.
    assured: false where the evidence does not speak for the content itself, as a package's metadata does not for
    third-party texts inside it. declared: said by the recipe, found nowhere. trust, read: of the claim itself.
    touches: where it is not the subject's own.
    """

    terms: str | None
    evidence: str
    assured: bool = True
    note: str = ""
    kind: Literal["license", "owned", "by row"] = "license"
    declared: bool = False
    trust: Trust = "primary"
    read: date | None = None
    touches: tuple[Touch, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is judged: a teacher, a base or a data source, and all that is known of its terms.

    touches: what the student takes from it. here: false while it, or what speaks for it, has still to be fetched.
    identity: its revision or version, as far as it is known.
    attribution: whom to name, as the recipe says.
    """

    role: Role
    name: str
    address: str
    touches: tuple[Touch, ...]
    claims: tuple[Claim, ...]
    here: bool = True
    identity: str | None = None
    attribution: str | None = None


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


class LiftingStatement(Protocol):
    """What a statement must say to lift a verdict."""

    @property
    def who(self) -> str:
        """Who answers for it."""
        ...

    @property
    def covers(self) -> tuple[str, ...]:
        """Names or roles of the subjects it speaks for."""
        ...


@dataclass(frozen=True)
class _Context:
    use: Use
    table: Table
    base_terms: frozenset[str]
    today: date = field(default_factory=date.today)


def judge(
    subject: Subject,
    use: Use,
    *,
    table: Table,
    base_terms: Iterable[str] = (),
    today: date | None = None,
) -> Judgement:
    """Judge one subject.

    base_terms: ids of the terms of every base of the student, for documents that except their own derivatives; as
    found in the bases' files and names, not as declared. today: the day of the judgement, which makes entries old.
    """
    context = _Context(use, table, frozenset(base_terms), today or date.today())
    findings = [found for claim in subject.claims for found in _findings(claim, subject, context)]
    if not findings:
        where = "it is not here yet, and its name is not in the terms table" if not subject.here else "none was found"
        findings = [Finding("not stated", Verdict.UNKNOWN, f"no license is stated: {where}")]
    return Judgement(subject, max(finding.verdict for finding in findings), tuple(findings))


def _findings(claim: Claim, subject: Subject, context: _Context) -> list[Finding]:
    if claim.kind == "owned":
        reason = f"owned by {claim.note}, stated in the {claim.evidence}"
        return [Finding("owned", Verdict.ALLOW, reason, declared=True)]
    if claim.kind == "by row":
        return [Finding("by row", Verdict.ALLOW, "each row is judged by the license it states; those without one go")]
    if claim.terms is None:
        return [Finding("not known", Verdict.UNKNOWN, claim.note, evidence=claim.evidence, declared=claim.declared)]
    return _expression(claim.terms, claim, subject, context)


def _expression(text: str, claim: Claim, subject: Subject, context: _Context) -> list[Finding]:
    """A license expression: all parts of an AND hold; of an OR, the best may be chosen."""
    known = context.table.by_id(text)
    if known:
        return [_apply(*known, claim, subject, context)]
    for word, all_hold in ((" OR ", False), (" AND ", True)):
        parts = _split(text, word)
        if len(parts) > 1:
            found = [_expression(part, claim, subject, context) for part in parts]
            if all_hold:
                return [finding for findings in found for finding in findings]
            return min(found, key=lambda findings: max(finding.verdict for finding in findings))
    if text.startswith("(") and text.endswith(")"):
        return _expression(text[1:-1].strip(), claim, subject, context)
    base, with_exception, _ = text.partition(" WITH ")
    if with_exception and text.rpartition(" ")[2].casefold() in _EXCEPTIONS and context.table.by_id(base):
        return _expression(base, claim, subject, context)
    reason = f"{text!r}, stated in the {claim.evidence}, is not in the terms table"
    return [Finding(text, Verdict.UNKNOWN, reason, evidence=claim.evidence, declared=claim.declared)]


def _split(text: str, word: str) -> list[str]:
    """``text`` at ``word``, outside parentheses."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and text[place : place + len(word)].upper() == word:
            parts.append(text[start:place].strip())
            start = place + len(word)
    return [*parts, text[start:].strip()]


def _apply(terms_id: str, document: Terms, claim: Claim, subject: Subject, context: _Context) -> Finding:
    touches = claim.touches or subject.touches
    decided = [_first_rule(document, touch, context) for touch in touches]
    rule = max(decided, key=lambda one: Verdict.of(one.verdict))
    duties = tuple(
        OwedDuty(duty, terms_id)
        for duty in document.duties
        if context.use.release in duty.due
        and set(duty.touches) & set(touches)
        and duty.commercial in (None, context.use.commercial)
    )
    verdict = Verdict.of(rule.verdict)
    reason = f"{document.title or terms_id}, {rule.clause}: {rule.because or document.says} ({claim.evidence})"
    if not claim.assured:
        verdict = max(verdict, Verdict.UNKNOWN)
        reason = f"{terms_id} is declared in the {claim.evidence}; the rights in the content were not checked"
    if verdict is Verdict.ALLOW and duties:
        verdict = Verdict.ALLOW_WITH_DUTIES
    return Finding(
        terms_id,
        verdict,
        reason,
        rule.clause,
        duties,
        document,
        claim.evidence,
        _warnings(terms_id, document, claim, context),
        claim.declared,
        max(document.trust, claim.trust, key=_TRUST.index),
        touches,
    )


def _first_rule(document: Terms, touch: Touch, context: _Context) -> Rule:
    use, same_base = context.use, bool(context.base_terms) and context.base_terms <= set(document.ids)
    for rule in document.rules:
        when = rule.when
        if (
            touch in when.touches
            and use.student in when.student
            and use.release in when.release
            and when.commercial in (None, use.commercial)
            and (not when.region or not use.regions or set(when.region) & use.places)
            and when.same_base in (None, same_base)
        ):
            return rule
    raise AssertionError("the last rule applies always")  # the table's own validator sees to it


def _warnings(terms_id: str, document: Terms, claim: Claim, context: _Context) -> tuple[str, ...]:
    found = [claim.note] if claim.note else []
    title = document.title or terms_id
    for what, read in ((title, document.read), (f"that {claim.evidence} comes under {title}", claim.read)):
        if read is not None and (context.today - read).days > _OLD_DAYS:
            found.append(f"{what} was read on {read}, more than a year ago: terms change, read them again")
    if document.trust == "memory":
        found.append(f"{title} is entered from memory: read it before you rely on it")
    elif claim.trust == "memory":
        found.append(f"that {claim.evidence} comes under {title} is entered from memory: look before you rely on it")
    if terms_id in context.table.own:
        found.append(f"{title} comes from a terms file of your own")
    return tuple(found)


def lift(judgements: Iterable[Judgement], statement: LiftingStatement | None) -> list[Judgement]:
    """Apply a statement: what it covers and may lift becomes *allow with duties*, and says by whom."""
    lifted = []
    for judgement in judgements:
        covered = statement is not None and {judgement.subject.name, judgement.subject.role} & set(statement.covers)
        if statement and covered and judgement.verdict in (Verdict.NEEDS_PERMISSION, Verdict.UNKNOWN):
            judgement = replace(
                judgement,
                verdict=Verdict.ALLOW_WITH_DUTIES,
                lifted_from=judgement.verdict,
                lifted_by=statement.who,
            )
        lifted.append(judgement)
    return lifted


def worst(judgements: Iterable[Judgement]) -> Verdict:
    """The worst verdict; *allow* when there is nothing to judge."""
    return max((judgement.verdict for judgement in judgements), default=Verdict.ALLOW)


def refusals(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The judgements that stop the run."""
    return [judgement for judgement in judgements if judgement.verdict > Verdict.ALLOW_WITH_DUTIES]


def would_change(judgement: Judgement, use: Use, *, table: Table, base_terms: Iterable[str] = ()) -> list[Use]:
    """The nearest other uses for which the subject would be allowed: as few changes as possible, or none at all."""
    bases = tuple(base_terms)
    found: dict[int, list[Use]] = {}
    for student, release, commercial in product(get_args(StudentKind), get_args(Release), (True, False)):
        other = replace(use, student=student, release=release, commercial=commercial)
        changes = (student != use.student) + (release != use.release) + (commercial != use.commercial)
        again = judge(judgement.subject, other, table=table, base_terms=bases)
        if changes and again.verdict <= Verdict.ALLOW_WITH_DUTIES:
            found.setdefault(changes, []).append(other)
    return found[min(found)] if found else []
