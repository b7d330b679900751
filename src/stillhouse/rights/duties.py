"""Duties: what is owed for what the student was made from, done at the bottling and looked for again by `verify`.

A bottle carries NOTICE (everything it was made from, and the notices that must go with it), ``licenses/`` (the texts
that must go with it), and in its card the badges, use policies and conditions. What cannot be done refuses the bottle.

    rows = owed(judgements, texts)                          # for label.json
    problems = unmet(rows, name="Llama-mood", commercial=False)
    deliver(folder, judgements, rows, texts, name="Llama-mood")   # NOTICE and licenses/
    broken = check(folder, label)                           # whatever the label says of itself
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from stillhouse.addresses.public import public_address
from stillhouse.errors import Problem
from stillhouse.rights.evidence import copyright_lines
from stillhouse.rights.subjects import Role
from stillhouse.rights.terms import Table, Touch
from stillhouse.rights.verdict import DISCLAIMER, Judgement, OwedDuty
from stillhouse.store import write_atomically

NOTICE = "NOTICE"
LICENSES = "licenses"
NON_COMMERCIAL = "For non-commercial use only."
Row = dict[str, Any]
Key = tuple[Role, str]  # role and name of a subject


@dataclass(frozen=True)
class Texts:
    """Texts that lie beside the subjects. licenses, notices: files by subject."""

    table: Table
    licenses: Mapping[Key, Sequence[Path]] = field(default_factory=dict)
    notices: Mapping[Key, Sequence[Path]] = field(default_factory=dict)

    def copy_of(self, terms: str, subject: Key) -> bytes | None:
        """The text of ``terms`` to pass on for a subject: its own copy, word for word what was read; where no text of
        these terms was read, its only license text."""
        beside = [data for path in self.licenses.get(subject, ()) if (data := path.read_bytes()).strip()]
        for data in (*beside, *_our_own()):
            found = self.table.by_text(data.decode("utf-8", errors="replace"))
            if found.match == "same" and found.terms == terms:
                return data
        known = self.table.by_id(terms)
        unread = known is None or not known[1].texts.get(known[0])
        return beside[0] if unread and len(beside) == 1 else None

    def names_of(self, judgement: Judgement) -> list[str]:
        """Whom to name for a subject: as the recipe says, else who its own texts say holds the rights."""
        subject = judgement.subject
        if subject.attribution:
            return [subject.attribution]
        beside = self.licenses.get((subject.role, subject.name), ())
        return copyright_lines(_text_of(path) for path in beside)

    def notices_of(self, subject: Key) -> list[str]:
        """The notices that come with a subject."""
        return [text for path in self.notices.get(subject, ()) if (text := _text_of(path).strip())]


def owed(judgements: Iterable[Judgement], texts: Texts) -> list[Row]:
    """Every duty that is due, as a JSON value for the label.

    carry: what NOTICE must hold for it; ``None`` where nobody is named who should be. file, sha256: of a license text.
    """
    rows: dict[tuple[str, ...], Row] = {}
    for judgement in judgements:
        subject: Key = (judgement.subject.role, judgement.subject.name)
        for one in judgement.duties:
            apart = subject if one.duty.kind in ("license-copy", "attribution", "keep-notices") else ()
            key = (one.duty.kind, one.terms, one.duty.text, *apart)
            row = rows.setdefault(key, _row(one))
            row["subjects"].append(subject[1])
            row["roles"].append(subject[0])
            row |= _by_kind(one, judgement, texts)
    return list(rows.values())


def _row(one: OwedDuty) -> Row:
    return {
        "kind": one.duty.kind,
        "text": one.duty.text,
        "terms": one.terms,
        "clause": one.duty.clause,
        "words": one.words,
        "subjects": [],
        "roles": [],
    }


def _by_kind(one: OwedDuty, judgement: Judgement, texts: Texts) -> Row:
    subject: Key = (judgement.subject.role, judgement.subject.name)
    match one.duty.kind:
        case "license-copy":
            data = texts.copy_of(one.terms, subject)
            name = f"{LICENSES}/{_file_name(one.terms)}-{subject[0]}-{subject[1]}.txt"
            return {"file": name, "sha256": hashlib.sha256(data).hexdigest()} if data else {"file": None}
        case "attribution":
            return {"carry": texts.names_of(judgement) or None}
        case "keep-notices":
            return {"carry": [*texts.names_of(judgement), *texts.notices_of(subject)]}
        case "notice":
            return {"carry": [one.duty.text]}
    return {}


def unmet(rows: Iterable[Row], *, name: str, commercial: bool) -> list[Problem]:
    """The duties that cannot be done as the recipe stands, each with its cure."""
    problems = []
    for row in rows:
        because, whose = f"{row['terms']}, {row['clause']}", ", ".join(row["subjects"])
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
                    f"{whose} may not be used commercially ({because})",
                    "rights.commercial",
                    f"set it to false if that is so, or use something else. {DISCLAIMER}",
                )
            )
        if row["kind"] == "license-copy" and row["file"] is None:
            problems.append(
                Problem(
                    f"a copy of {row['terms']} must go with the student, and none was found ({row['clause']})",
                    whose,
                    f"give its text as `license_file` beside the `license` of {whose}. {DISCLAIMER}",
                )
            )
        if row["kind"] == "attribution" and row["carry"] is None:
            problems.append(
                Problem(
                    f"the authors of {whose} must be named, and nothing says who they are ({because})",
                    whose,
                    f"give `attribution` for {whose}. {DISCLAIMER}",
                )
            )
    return problems


def deliver(folder: Path, judgements: Sequence[Judgement], rows: Sequence[Row], texts: Texts, *, name: str) -> None:
    """Write NOTICE and ``licenses/`` into the bottle."""
    for row in rows:
        if row.get("file"):
            data = texts.copy_of(row["terms"], (row["roles"][0], row["subjects"][0]))
            assert data is not None  # noqa: S101 - the row has a file because there is a text
            path = folder / row["file"]
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, data)
    write_atomically(folder / NOTICE, _notice(judgements, rows, texts, name).encode("utf-8"))


def card_lines(rows: Iterable[Row]) -> list[str]:
    """What the card must show: badges first, then the marks, policies and conditions."""
    shown = [(row["kind"], _card_line(row)) for row in rows]
    top = [line for kind, line in shown if kind in ("badge", "non-commercial")]
    below = [line for kind, line in shown if kind in ("use-policy", "condition")]
    lines = list(dict.fromkeys(top))
    return [*lines, "", "Who uses or passes on this model is bound by:", "", *dict.fromkeys(below)] if below else lines


def check(folder: Path, label: Mapping[str, Any]) -> list[str]:
    """The duties that a bottle does not meet, in words: those its label lists, and those that it should list."""
    rows, name = label["rights"]["duties"], label["name"]
    card, notice = _text_of(folder / "README.md").splitlines(), _text_of(folder / NOTICE)
    broken = []
    for row in rows:
        match row["kind"]:
            case "name-prefix":
                met = begins_with(name, row["text"])
            case "badge" | "non-commercial" | "use-policy" | "condition":
                met = _card_line(row) in card
            case "notice" | "attribution" | "keep-notices":
                met = row["carry"] is not None and all(text in notice for text in row["carry"])
            case "license-copy":
                met = _holds(folder, row)
            case _:
                met = False
        if not met:
            broken.append(f"duty not met: {row['words']} ({row['terms']}, {row['clause']})")
    return broken + _left_out(label)


def _left_out(label: Mapping[str, Any]) -> list[str]:
    """Duties that the label's own subjects owe by the table it was made with, and that it does not list."""
    rights, table = label["rights"], Table.load()
    if rights["terms_table"] != table.digest:
        return []  # made with another table: there is nothing to compare with
    listed = {(row["kind"], row["terms"], row["text"]) for row in rights["duties"]}
    missing = []
    for subject in rights["subjects"]:
        for terms in subject["terms"]:
            known = table.by_id(terms["id"])
            for duty in known[1].duties if known else ():
                touched: set[Touch] = set(terms["touches"])
                due = rights["use"] in duty.due and touched & set(duty.touches)
                applies = duty.commercial in (None, rights["commercial"])
                if due and applies and (duty.kind, terms["id"], duty.text) not in listed:
                    words = OwedDuty(duty, terms["id"]).words
                    missing.append(f"duty not listed: {words} ({terms['id']}, {duty.clause})")
    return list(dict.fromkeys(missing))


def begins_with(name: str, prefix: str) -> bool:
    """Whether ``name`` begins with ``prefix``; a hyphen, an underscore or a space are the same."""
    return re.sub(r"[\s_-]+", " ", name).startswith(prefix)


def _card_line(row: Row) -> str:
    match row["kind"]:
        case "badge":
            return f"**{row['text']}**"
        case "non-commercial":
            return f"**{NON_COMMERCIAL}**"
        case "use-policy":
            return f"- Use policy: {row['text']} ({row['terms']})"
        case _:
            return f"- {row['text']} ({row['terms']}, {row['clause']})"


def _holds(folder: Path, row: Row) -> bool:
    path = folder / LICENSES / Path(str(row["file"])).name
    if f"{LICENSES}/{path.name}" != row["file"] or path.is_symlink() or not path.is_file():
        return False
    return bool(hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"])


def _notice(judgements: Sequence[Judgement], rows: Sequence[Row], texts: Texts, name: str) -> str:
    lines = [name, "", "What this model was made from, and under which terms.", ""]
    for judgement in judgements:
        subject = judgement.subject
        version = f", version {subject.identity}" if subject.identity else ""
        lines.append(f"{subject.role} {subject.name}: {public_address(subject.address)}{version}")
        lines.append(f"  terms: {judgement.license}")
        lines += [f"  by: {who}" for who in texts.names_of(judgement)]
        if judgement.lifted_by:
            lines.append(f"  used on the responsibility of: {judgement.lifted_by}")
    lines += [""] + [text for row in rows if row["kind"] == "notice" for text in row["carry"]]
    for role, subject_name in texts.notices:
        for text in texts.notices_of((role, subject_name)):
            lines += ["", f"From the NOTICE of {role} {subject_name}:", "", text]
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
    return re.sub(r"[^A-Za-z0-9.-]+", "-", terms)


def _text_of(path: Path) -> str:
    return path.read_text("utf-8", errors="replace") if path.is_file() else ""
