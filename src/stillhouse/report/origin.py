"""What went into the run, on what rights, and what is owed for it.

origin(run)
"""

from __future__ import annotations

from collections.abc import Sequence

from stillhouse.report.data import Run
from stillhouse.report.markup import Html, details, element, joined
from stillhouse.report.rights import Subject
from stillhouse.report.tables import Column, table

_GOOD = ("allow", "allow with duties")


def origin(run: Run) -> list[Html]:
    """Teachers, bases and sources with their verdicts; duties; who answers for what."""
    rights = run.rights
    if rights is None:
        return [element("p", "The files of this run do not say what went in.", class_="quiet")]
    rows = [
        [
            joined(element("b", one.name), element("span", one.role, class_="role")),
            one.license or "not known",
            _verdict(one),
            _reasons(one),
            joined(
                element("code", one.address), element("span", one.identity, class_="role") if one.identity else None
            ),
        ]
        for one in rights.subjects
    ]
    columns = [Column(name) for name in ("what", "license", "verdict", "why", "from")]
    found = [table("Teachers, bases and data", columns, rows, class_="subjects", heard=True)]
    if rights.duties:
        duties = [
            element("li", f"{one.words} ", element("span", f"({one.terms}; for {_list(one.subjects)})", class_="quiet"))
            for one in rights.duties
        ]
        found += [element("h3", "What is owed"), element("ul", *duties)]
    else:
        found.append(element("p", "No duty is listed for this use."))
    if rights.statement:
        said = rights.statement
        backed = f" ({said.reference})" if said.reference else ""
        found += [
            element("h3", "Who answers for it"),
            element(
                "blockquote", element("p", said.why), element("p", f"{said.who}, {said.when}{backed}", class_="quiet")
            ),
        ]
    use = f"Declared use: {rights.use}. " if rights.use else ""
    found.append(element("p", f"{use}{rights.disclaimer}", class_="quiet"))
    return found


def _list(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _verdict(one: Subject) -> Html:
    good = one.verdict in _GOOD
    lifted = f" (was {one.lifted_from}, lifted by {one.lifted_by})" if one.lifted_by else ""
    sign = element("span", "✓" if good else "!", aria_hidden="true", class_="sign")
    return joined(element("span", sign, one.verdict, class_=f"badge {'passed' if good else 'failed'}"), lifted)


def _reasons(one: Subject) -> Html:
    documents = [
        element("li", f"{paper.title}, {paper.dated or 'undated'}, read {paper.read}") for paper in one.documents
    ]
    return joined(
        element("p", one.reason),
        *(element("p", f"Note: {note}.") for note in one.warnings),
        details("Documents", element("ul", *documents)) if documents else None,
    )
