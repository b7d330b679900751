"""Gates and audit: what failed first, then what nobody could tell, then what passed, then what is only reported.

gates(run); audit(run)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from stillhouse.finish.audit.findings import Finding, Status
from stillhouse.finish.gates import Gate
from stillhouse.report.data import Run
from stillhouse.report.markup import Html, details, element, joined, prose
from stillhouse.report.pictures import Mark, Scale, axis, whisker
from stillhouse.report.tables import Column, table, with_interval
from stillhouse.report.words import Metric, count

ORDER: tuple[Status, ...] = ("failed", "not certified", "passed", "reported")
assert set(ORDER) == set(get_args(Status))  # noqa: S101 - a new status needs a place
SIGNS: dict[Status, str] = {"failed": "✕", "not certified": "?", "passed": "✓", "reported": "i"}
_MOST = 200  # findings of one kind on the page; audit.json has all
_PLAIN = Metric("value", "{:.3f}")


def badge(status: Status) -> Html:
    """A status in a word, with a sign and a color of its own."""
    return element(
        "span", element("span", SIGNS[status], aria_hidden="true", class_="sign"), status,
        class_=f"badge {status.replace(' ', '-')}",
    )  # fmt: skip


def advice(gate: Gate) -> str:
    """What to try next, where somebody knows."""
    return f"What to try: {gate.advice}." if gate.advice else ""


def gates(run: Run) -> list[Html]:
    """A row for each gate."""
    assert run.judgement is not None  # noqa: S101 - the section is left out without
    lifted = {one.gate: one.because for one in run.despite}
    stopping = {gate.name for gate in run.stopping}
    rows = []
    for gate in sorted(run.judgement.gates, key=lambda one: ORDER.index(one.status)):
        more = (
            [element("p", prose(f"Stops the bottling. What to try: {gate.advice}."))] if gate.name in stopping else []
        )
        if gate.status in ("failed", "not certified") and not more and gate.advice:
            more = [element("p", "Stops the bottling.")] if gate.name in stopping else []
        if gate.status in ("failed", "not certified") and gate.advice:
            more.append(element("p", prose(advice(gate))))
        more += [element("p", f"Bottled despite it, because: {lifted[gate.name]}")] if gate.name in lifted else []
        rows.append(
            [
                str(gate.name),
                badge(gate.status),
                joined(element("p", prose(gate.words)), more),
                "yes" if gate.name in run.required else "no",
            ]
        )
    columns = [Column("gate"), Column("outcome"), Column("found"), Column("must hold")]
    return [table("Gates", columns, rows, class_="gates", heard=True)] if rows else [_nothing("No gate was looked at.")]


def audit(run: Run) -> list[Html]:
    """The findings of each probe; those within their limits folded away."""
    assert run.judgement is not None  # noqa: S101 - the section is left out without
    findings = run.judgement.findings
    if not findings:
        return [_nothing("The audit of this run holds no findings.")]
    found: list[Html] = []
    probes = list(dict.fromkeys(one.probe for one in findings))
    worst = {probe: min(ORDER.index(one.status) for one in findings if one.probe == probe) for probe in probes}
    for probe in sorted(probes, key=lambda one: worst[one]):
        of_probe = [one for one in findings if one.probe == probe]
        found.append(element("h3", f"{probe[:1].upper()}{probe[1:]}"))
        for status in ORDER:
            group = [one for one in of_probe if one.status == status]
            if group:
                found.append(_group(probe, status, group))
    return found


def _group(probe: str, status: Status, findings: Sequence[Finding]) -> Html:
    shown = findings[:_MOST]
    body = joined(_findings(probe, status, shown), _more(shown, findings))
    head = joined(badge(status), element("span", f" {count(len(findings))}"))
    if status in ("failed", "not certified"):
        return element("div", element("p", head, class_="grouped"), body)
    return details(head, body)


def _more(shown: Sequence[Finding], findings: Sequence[Finding]) -> Html | None:
    if len(shown) == len(findings):
        return None
    return _nothing(f"The first {count(len(shown))} are shown; 4-judge/audit.json has all.")


def _findings(probe: str, status: Status, findings: Sequence[Finding]) -> Html:
    values = [value for one in findings for value in (one.value, one.lower, one.upper, one.limit)]
    drawn = any(one.value is not None for one in findings)
    scale = Scale.over([0.0, *values])
    rows = [
        [
            one.about,
            *([_picture(scale, one)] if drawn else []),
            "" if one.value is None else with_interval(_PLAIN, one.value, one.lower, one.upper),
            "" if one.limit is None else _PLAIN.written(one.limit),
            "" if one.teacher is None else _PLAIN.written(one.teacher),
            "" if one.student is None else _PLAIN.written(one.student),
            count(one.n) if one.needed is None else f"{count(one.n)}; {count(one.needed)} needed",
            prose(one.words),
        ]
        for one in findings
    ]
    columns = [
        Column("about"),
        *([Column("on the scale", "picture", axis(scale, _PLAIN))] if drawn else []),
        *(Column(name, "number") for name in ("value (95 % interval)", "limit", "teacher", "student", "n")),
        Column("in words"),
    ]
    return table(f"{probe}, {status}", columns, rows, class_="findings", heard=True)


def _picture(scale: Scale, one: Finding) -> Html | None:
    if one.value is None:
        return None
    return whisker(scale, Mark("shipped", one.value, one.lower, one.upper), reference=0.0, limit=one.limit)


def _nothing(words: str) -> Html:
    return element("p", words, class_="quiet")
