"""The recipe's rights: every teacher, base and source as a subject, its judgement, and what is owed for it.

view = view_rights(recipe, cache=cache, base=base)
view.refused, view.unmet        # what stops a run now
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from stillhouse.addresses import Files, peek
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.model import ApiTeacher, Licensed, LocalTeacher, Recipe, Source
from stillhouse.rights import (
    BY_ROW,
    DISCLAIMER,
    Claim,
    Judgement,
    Release,
    Role,
    StudentKind,
    Subject,
    Table,
    Texts,
    Touch,
    Use,
    by_name,
    explain,
    gather,
    judge,
    license_texts,
    lift,
    notice_texts,
    owed,
    refusals,
    unmet,
)


@dataclass(frozen=True)
class RightsView:
    """The judgements of a recipe, what they owe, and what would stop the bottling as things stand."""

    use: Use
    table: Table
    judgements: tuple[Judgement, ...]
    duties: tuple[dict[str, Any], ...]
    texts: Texts
    unmet: tuple[Problem, ...]
    base_terms: tuple[str, ...] | None

    @property
    def refused(self) -> list[Judgement]:
        """Verdicts that stop the run now: those on what is not here yet wait until it is, unless its name decides."""
        return [judgement for judgement in refusals(self.judgements) if judgement.final]


def use_of(recipe: Recipe) -> Use:
    """What the student is, and who gets it."""
    rights = recipe.rights
    return Use(STUDENT_KINDS[recipe.task], rights.use, rights.commercial, rights.regions)


def view_rights(
    recipe: Recipe, *, cache: Path, base: Path, kept: Mapping[str, Iterable[str]] | None = None
) -> RightsView:
    """A judgement for every teacher, base and source, with the recipe's statement applied. Fetches nothing.

    kept: licenses of the rows that stage 1 kept, by source; ``None`` before it has run.
    """

    def here(address: str | None) -> Files | None:
        return peek(address, cache=cache, base=base) if address else None

    def subject(role: Role, name: str, address: str, section: Licensed) -> Subject:
        service = service_of(section) if isinstance(section, ApiTeacher) else None
        files, text = None if service else here(address), here(section.license_file)
        found = [*license_texts(files), *(text.files if text else ())]
        if found:
            licenses[name] = found
        if notice_texts(files):
            notices[name] = notice_texts(files)
        return gather(
            role,
            name,
            address,
            table=table,
            files=files,
            touches=("outputs",) if service else _TOUCHES[role],
            declared=section.license,
            license_file=text,
            owner=section.owner,
            attribution=section.attribution,
            rows=_rows_of(section, kept),
            service=service,
        )

    licenses: dict[str, list[Path]] = {}
    notices: dict[str, list[Path]] = {}
    use, table = use_of(recipe), terms_table(recipe, cache=cache, base=base)
    student = recipe.distill.student
    bases = [subject("base", "base", student.base, student)]
    teachers = [subject("teacher", one.name, teacher_address(one), one) for one in recipe.ferment.teachers]
    sources = [subject("data", source.name, source.data, source) for source in recipe.raw.sources]
    own_terms = [judge(one, use, table=table) for one in bases]
    base_terms = tuple(finding.terms for judgement in own_terms for finding in judgement.findings)
    judged = [judge(one, use, table=table, base_terms=base_terms) for one in (*teachers, *bases, *sources)]
    judgements = tuple(lift(judged, recipe.rights.statement))
    texts = Texts(table, licenses, notices)
    duties = tuple(owed(judgements, texts))
    absent = {judgement.subject.name for judgement in judgements if not judgement.subject.here}
    due_now = [row for row in duties if row["kind"] != "license-copy" or not absent & set(row["subjects"])]
    problems = unmet(due_now, name=student_name(recipe), commercial=use.commercial)
    return RightsView(use, table, judgements, duties, texts, tuple(problems), base_terms)


def _rows_of(section: Licensed, kept: Mapping[str, Iterable[str]] | None) -> tuple[Claim, ...] | None:
    """Claims of a source whose rows have licenses of their own; ``None`` for any other subject."""
    if not isinstance(section, Source) or section.columns.license is None:
        return None
    if kept is None:
        return (Claim(BY_ROW, "recipe"),)
    return tuple(Claim(license_id, "column of the source") for license_id in sorted(kept.get(section.name, ())))


def row_judgement(source: Source, license_id: str | None, recipe: Recipe, table: Table) -> Judgement:
    """The judgement on one row of a source, by the row's own license, with the recipe's statement applied."""
    claims = (Claim(license_id, "column of the source"),) if license_id else ()
    subject = Subject("data", source.name, source.data, _TOUCHES["data"], claims)
    return lift([judge(subject, use_of(recipe), table=table)], recipe.rights.statement)[0]


def service_of(section: ApiTeacher) -> str:
    """The service as the terms table names it: ``provider:model``, the endpoint's host where no provider is given."""
    return f"{section.provider or urlsplit(section.endpoint).hostname}:{section.model}"


def teacher_address(section: LocalTeacher | ApiTeacher) -> str:
    """Where the teacher is, for reports: an address, or an endpoint with the model's name."""
    return f"{section.endpoint} {section.model}" if isinstance(section, ApiTeacher) else section.model


def terms_table(recipe: Recipe, *, cache: Path, base: Path) -> Table:
    """The built-in terms table, with the recipe's own file added."""
    if recipe.rights.terms is None:
        return Table.load()
    files = peek(recipe.rights.terms, cache=cache, base=base)
    return Table.load(files.files[0] if files else None)


def explain_recipe(recipe: Recipe, *, base: Path) -> tuple[bool, list[str]]:
    """Whether the recipe may run and be bottled as far as is known, and why, in plain words."""
    view = view_rights(recipe, cache=Path(recipe.paths.cache), base=base)
    lines = [f"{recipe.name}: {view.use.words}"]
    for judgement in view.judgements:
        bases = None if judgement.subject.role == "base" else view.base_terms
        lines += ["", *explain(judgement, view.use, table=view.table, base_terms=bases)]
        if not judgement.subject.here:
            lines.append("  by its name alone: it is judged again when its files are here, before its first token")
    lines += ["", *(f"not done yet: {problem.what}" for problem in view.unmet), DISCLAIMER]
    return not refusals(view.judgements) and not view.unmet, lines


def explain_model(
    name: str,
    *,
    student: str = "classifier",
    release: str = "internal",
    commercial: bool = True,
    terms: Path | None = None,
) -> tuple[bool, list[str]]:
    """The same for a model (``org/model``) or a service (``provider:model``), known by its name alone.

    terms: a terms file of one's own. Raises :class:`StillhouseError` for a student or release that there is not.
    """
    for field, value, known in (("student", student, get_args(StudentKind)), ("release", release, get_args(Release))):
        if value not in known:
            raise StillhouseError(
                f"{field} is one of {', '.join(known)}, not {value!r}", where=f"--{field}", fix="choose one"
            )
    table, use = Table.load(terms), Use(student, release, commercial)  # type: ignore[arg-type]
    judgement = judge(by_name(name, table=table), use, table=table)
    return not refusals([judgement]), [*explain(judgement, use, table=table, base_terms=None), DISCLAIMER]


def student_name(recipe: Recipe) -> str:
    """What the student is called on its label."""
    return recipe.finish.name or recipe.name


STUDENT_KINDS: dict[str, StudentKind] = {"text-classification": "classifier"}
_TOUCHES: dict[Role, tuple[Touch, ...]] = {"data": ("data",), "teacher": ("logits", "outputs"), "base": ("init",)}
