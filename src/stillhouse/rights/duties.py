"""Duties: what is owed for what the student was made from, done at the bottling and checked again by `verify`.

A bottle carries NOTICE (everything it was made from, and the notices that must go with it), ``licenses/`` (the texts
that must go with it), and in its card the badges, use policies and conditions. What cannot be done refuses the bottle.

    rows = owed(judgements, texts)            # for label.json
    problems = unmet(rows, name="Llama-mood", commercial=False)
    deliver(folder, judgements, rows, texts)  # NOTICE and licenses/
    broken = check(folder, rows, name="Llama-mood", card=card_text)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from stillhouse.errors import Problem
from stillhouse.rights.terms import Table
from stillhouse.rights.verdict import DISCLAIMER, Judgement
from stillhouse.store import write_atomically

NOTICE = "NOTICE"
LICENSES = "licenses"
NON_COMMERCIAL = "For non-commercial use only."
Row = dict[str, Any]


@dataclass(frozen=True)
class Texts:
    """Texts that lie beside the subjects. licenses, notices: files by subject name."""

    table: Table
    licenses: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    notices: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def copy_of(self, terms: str, subject: str) -> bytes | None:
        """The text of ``terms``: one that is word for word what was read, else, where no text of it was read, the
        subject's own license file."""
        beside = [path.read_bytes() for path in self.licenses.get(subject, ())]
        everywhere = [path.read_bytes() for paths in self.licenses.values() for path in paths]
        for data in (*beside, *everywhere, *_our_own()):
            if self.table.by_text(data.decode("utf-8", errors="replace")).terms == terms:
                return data
        known = self.table.by_id(terms)
        if known is None or not known[1].texts.get(known[0]):
            return beside[0] if beside else None
        return None


def owed(judgements: Iterable[Judgement], texts: Texts) -> list[Row]:
    """Every duty that is due, once, as a JSON value for the label; ``met`` is false where a text is missing."""
    rows: dict[tuple[str, str, str], Row] = {}
    for judgement in judgements:
        for one in judgement.duties:
            key = (one.duty.kind, one.terms, one.duty.text)
            row = rows.setdefault(
                key,
                {
                    "kind": one.duty.kind,
                    "text": one.duty.text,
                    "terms": one.terms,
                    "clause": one.duty.clause,
                    "words": one.words,
                    "subjects": [],
                },
            )
            row["subjects"].append(judgement.subject.name)
            if one.duty.kind == "license-copy" and not row.get("file"):
                found = texts.copy_of(one.terms, judgement.subject.name) is not None
                row["file"] = f"{LICENSES}/{_file_name(one.terms)}" if found else None
    return list(rows.values())


def unmet(rows: Iterable[Row], *, name: str, commercial: bool) -> list[Problem]:
    """The duties that cannot be done as the recipe stands, each with its cure."""
    problems = []
    for row in rows:
        because = f"{row['terms']}, {row['clause']}"
        if row["kind"] == "name-prefix" and not begins_with(name, row["text"]):
            problems.append(
                Problem(
                    f"the student is named {name!r}, but its name must begin with {row['text']!r} ({because})",
                    "finish.name",
                    f"for example `finish: {{name: {row['text'].replace(' ', '-')}-{name}}}`. {DISCLAIMER}",
                )
            )
        if row["kind"] == "non-commercial" and commercial:
            problems.append(
                Problem(
                    f"{', '.join(row['subjects'])} may not be used commercially ({because})",
                    "rights.commercial",
                    f"set it to false if that is so, or use something else. {DISCLAIMER}",
                )
            )
        if row["kind"] == "license-copy" and row["file"] is None:
            problems.append(
                Problem(
                    f"a copy of {row['terms']} must go with the student, and none was found ({row['clause']})",
                    ", ".join(row["subjects"]),
                    f"give its text as `license_file` beside the `license` of {row['subjects'][0]}. {DISCLAIMER}",
                )
            )
    return problems


def deliver(folder: Path, judgements: Sequence[Judgement], rows: Sequence[Row], texts: Texts, *, name: str) -> None:
    """Write NOTICE and ``licenses/`` into the bottle."""
    for row in rows:
        if row.get("file"):
            found = next(data for subject in row["subjects"] if (data := texts.copy_of(row["terms"], subject)))
            path = folder / row["file"]
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, found)
    write_atomically(folder / NOTICE, _notice(judgements, rows, texts, name).encode("utf-8"))


def card_lines(rows: Iterable[Row]) -> list[str]:
    """What the card must show: badges first, then the marks, policies and conditions."""
    rows = list(rows)
    lines = [f"**{row['text']}**" for row in rows if row["kind"] == "badge"]
    lines += [f"**{NON_COMMERCIAL}**"] if any(row["kind"] == "non-commercial" for row in rows) else []
    conditions = [f"- {row['text']} ({row['terms']}, {row['clause']})" for row in rows if row["kind"] == "condition"]
    policies = [f"- Use policy: {row['text']} ({row['terms']})" for row in rows if row["kind"] == "use-policy"]
    if policies or conditions:
        lines += ["", "Who uses or passes on this model is bound by:", "", *policies, *conditions]
    return lines


def check(folder: Path, rows: Iterable[Row], *, name: str) -> list[str]:
    """The duties that a bottle does not meet, in words."""
    card, notice = _text_of(folder / "README.md"), _text_of(folder / NOTICE)
    broken = []
    for row in rows:
        match row["kind"]:
            case "name-prefix":
                met = begins_with(name, row["text"])
            case "badge" | "condition" | "use-policy":
                met = row["text"] in card
            case "non-commercial":
                met = NON_COMMERCIAL in card
            case "notice":
                met = row["text"] in notice
            case "attribution":
                met = all(f" {subject}: " in notice for subject in row["subjects"])
            case "license-copy":
                met = bool(row.get("file")) and bool(_text_of(folder / row["file"]).strip())
            case _:
                met = False
        if not met:
            broken.append(f"duty not met: {row['words']} ({row['terms']}, {row['clause']})")
    return broken


def begins_with(name: str, prefix: str) -> bool:
    """Whether ``name`` begins with ``prefix``; a hyphen, an underscore or a space are the same."""
    return re.sub(r"[\s_-]+", " ", name).startswith(prefix)


def _notice(judgements: Sequence[Judgement], rows: Sequence[Row], texts: Texts, name: str) -> str:
    lines = [name, "", "What this model was made from, and under which terms.", ""]
    for judgement in judgements:
        subject = judgement.subject
        version = f", version {subject.identity}" if subject.identity else ""
        lines.append(f"{subject.role} {subject.name}: {subject.address}{version}")
        lines.append(f"  terms: {judgement.license}")
        if subject.attribution:
            lines.append(f"  by: {subject.attribution}")
        if judgement.lifted_by:
            lines.append(f"  used on the responsibility of: {judgement.lifted_by}")
    notices = [row["text"] for row in rows if row["kind"] == "notice"]
    lines += ["", *notices] if notices else []
    for subject_name, paths in texts.notices.items():
        for path in paths:
            lines += ["", f"From the NOTICE of {subject_name}:", "", _text_of(path).strip()]
    lines += ["", *(f"Use policy: {row['text']}" for row in rows if row["kind"] == "use-policy"), DISCLAIMER]
    return "\n".join(lines) + "\n"


def _our_own() -> list[bytes]:
    """The license text that comes with this program, Apache-2.0, which most models share."""
    try:
        files = distribution("stillhouse").files or []
    except PackageNotFoundError:
        return []
    return [Path(str(one.locate())).read_bytes() for one in files if one.name == "LICENSE"]


def _file_name(terms: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", terms) + ".txt"


def _text_of(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""
