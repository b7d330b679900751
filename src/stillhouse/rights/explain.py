"""Judgements as rows of a ledger or label, and in plain words.

row = as_row(judgement)
for line in explain(judgement, use, table=table, base_terms=()): print(line)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stillhouse.rights.appeal import would_change
from stillhouse.rights.subjects import Use
from stillhouse.rights.terms import Table
from stillhouse.rights.verdict import Judgement, Verdict


def as_row(judgement: Judgement) -> dict[str, Any]:
    """A judgement as a JSON value: what was judged, by which documents, with what outcome, and what is owed."""
    subject, deciding = judgement.subject, judgement.deciding
    return {
        "role": subject.role,
        "name": subject.name,
        "address": subject.address,
        "identity": subject.identity,
        "license": judgement.license,
        "verdict": judgement.verdict.words,
        "reason": judgement.reason,
        "clause": deciding.clause,
        "documents": [
            {
                "terms": finding.terms,
                "title": finding.document.title,
                "dated": finding.document.dated.isoformat() if finding.document.dated else None,
                "read": finding.document.read.isoformat(),
                "trust": finding.trust,
                "evidence": finding.evidence,
                "says": finding.document.says,
            }
            for finding in judgement.findings
            if finding.document
        ],
        "terms": [
            {"id": finding.terms, "touches": list(finding.touches)}
            for finding in judgement.findings
            if finding.document
        ],
        "duties": [duty.words for duty in judgement.duties],
        "warnings": list(judgement.warnings),
        "attribution": subject.attribution,
        "lifted_from": judgement.lifted_from.words if judgement.lifted_from is not None else None,
        "lifted_by": judgement.lifted_by,
    }


def explain(judgement: Judgement, use: Use, *, table: Table, base_terms: Iterable[str] = ()) -> list[str]:
    """The verdict in plain words: what decided it, what is owed, what is uncertain, and what would change it."""
    subject = judgement.subject
    lines = [f"{subject.role} {subject.address}, as {_article(use.words)}: {judgement.verdict.words}"]
    for finding in judgement.findings:
        lines.append(f"  {finding.verdict.words}: {finding.reason}")
        if finding.document:
            dated = f"dated {finding.document.dated}, " if finding.document.dated else ""
            lines.append(f"    {finding.terms}: {dated}read {finding.document.read}, {_TRUST[finding.trust]}")
    if judgement.lifted_by and judgement.lifted_from is not None:
        lines.append(f"  was {judgement.lifted_from.words}; {judgement.lifted_by} answers for it")
    lines += [f"  owed: {duty.words} ({duty.terms}, {duty.duty.clause})" for duty in judgement.duties]
    lines += [f"  note: {warning}" for warning in judgement.warnings]
    if judgement.verdict > Verdict.ALLOW_WITH_DUTIES:
        others = would_change(judgement, use, table=table, base_terms=base_terms)
        lines += [f"  as {_article(other.words)} this would be allowed" for other in others]
        if judgement.verdict is not Verdict.FORBID:
            lines.append("  or: whoever answers for it says so in `rights.statement`, with who, when and why")
        elif not others:
            lines.append("  no other kind of student, release or purpose would be allowed, and no statement lifts it")
    return lines


_TRUST = {
    "primary": "the document itself",
    "secondary": "from a careful summary",
    "memory": "from memory, not checked",
}


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
