"""Judging a subject: every document that rules it is applied to the use, and the worst finding decides.

judgement = judge(subject, Use(student="classifier", release="internal"), table=Table.load())
judgement.verdict, judgement.duties, judgement.reason
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import get_args

from stillhouse.rights.subjects import Claim, Subject, Use
from stillhouse.rights.terms import Rule, Table, Terms, Touch, Trust
from stillhouse.rights.verdict import Finding, Judgement, OwedDuty, Verdict

# exceptions that only add permission to the license they stand with
_EXCEPTIONS = frozenset({"llvm-exception", "classpath-exception-2.0", "gcc-exception-3.1", "font-exception-2.0"})
_OLD_DAYS = 365
_TRUST: tuple[Trust, ...] = get_args(Trust)  # from best to worst


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
