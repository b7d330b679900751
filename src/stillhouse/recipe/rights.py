"""The recipe's rights: every teacher, base and source as a subject, its judgement, and what is owed for it.

view = view_rights(recipe, cache=cache, base=base)
view.refused, view.unmet        # what stops a run now
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

from stillhouse.addresses import Files, peek
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.licensed import Licensed
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.raw import Source
from stillhouse.recipe.teachers import ApiTeacher, LocalTeacher
from stillhouse.rights import (
    DISCLAIMER,
    Claim,
    Declared,
    Judgement,
    Release,
    Role,
    Service,
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
    base_terms: tuple[str, ...]

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
            licenses[role, name] = found
        if notice_texts(files):
            notices[role, name] = notice_texts(files)
        declared = Declared(
            section.license,
            text.files if text else (),
            section.owner,
            section.attribution,
            section.generated_by if isinstance(section, Source) else (),
            pending=terms_pending or (section.license_file is not None and text is None),
        )
        return gather(
            role,
            name,
            address,
            table=table,
            touches=("outputs",) if service else _TOUCHES[role],
            files=files,
            declared=declared,
            rows=_rows_of(section, kept),
            service=service,
        )

    licenses: dict[tuple[Role, str], list[Path]] = {}
    notices: dict[tuple[Role, str], list[Path]] = {}
    use, table = use_of(recipe), terms_table(recipe, cache=cache, base=base)
    terms_pending = recipe.rights.terms is not None and here(recipe.rights.terms) is None
    student = recipe.distill.student
    bases = [subject("base", "base", student.base, student)]
    teachers = [subject("teacher", one.name, teacher_address(one), one) for one in recipe.ferment.teachers]
    sources = [subject("data", source.name, source.data, source) for source in recipe.raw.sources]
    base_terms: tuple[str, ...] = ()
    if student.takes_weights:
        found = [finding for one in bases for finding in judge(one, use, table=table).findings]
        base_terms = tuple(finding.terms for finding in found if not finding.declared)
    judged = [judge(one, use, table=table, base_terms=base_terms) for one in (*teachers, *bases, *sources)]
    judgements = tuple(lift(judged, recipe.rights.statement))
    texts = Texts(table, licenses, notices)
    duties = tuple(owed(judgements, texts))
    absent = {judgement.subject.name for judgement in judgements if not judgement.subject.here}
    due_now = [row for row in duties if row["kind"] in _NEED_NO_FILES or not absent & set(row["subjects"])]
    problems = unmet(due_now, name=student_name(recipe), commercial=use.commercial)
    return RightsView(use, table, judgements, duties, texts, tuple(problems), base_terms)


def _rows_of(section: Licensed, kept: Mapping[str, Iterable[str]] | None) -> tuple[Claim, ...]:
    """Claims of a source whose rows have licenses of their own; none for any other subject."""
    if not isinstance(section, Source) or section.columns.license is None:
        return ()
    if kept is None:
        return (Claim(None, "recipe", kind="by row"),)
    return tuple(Claim(license_id, "column of the source") for license_id in sorted(kept.get(section.name, ())))


def row_judgement(source: Source, license_id: str | None, recipe: Recipe, table: Table) -> Judgement:
    """The judgement on one row of a source, by the row's own license, with the recipe's statement applied."""
    claims = (Claim(license_id, "column of the source"),) if license_id else ()
    subject = Subject("data", source.name, source.data, _TOUCHES["data"], claims)
    return lift([judge(subject, use_of(recipe), table=table)], recipe.rights.statement)[0]


def service_of(section: ApiTeacher) -> Service:
    """The service as the terms table knows it: the provider that the recipe names, and the endpoint's own host."""
    return Service(section.provider, urlsplit(section.endpoint).hostname or section.endpoint, section.model)


def teacher_address(section: LocalTeacher | ApiTeacher) -> str:
    """Where the teacher is, for reports: an address, or an endpoint with the model's name."""
    return f"{section.endpoint} {section.model}" if isinstance(section, ApiTeacher) else section.model


def terms_table(recipe: Recipe, *, cache: Path, base: Path) -> Table:
    """The built-in terms table, with the recipe's own file added."""
    if recipe.rights.terms is None:
        return Table.load()
    files = peek(recipe.rights.terms, cache=cache, base=base)
    if files is not None and len(files.files) > 1:
        raise StillhouseError(f"{len(files.files)} files match", where="rights.terms", fix="name one file")
    return Table.load(files.files[0] if files else None)


def explain_recipe(recipe: Recipe, *, base: Path) -> tuple[bool, list[str]]:
    """Whether the recipe may run and be bottled as far as is known, and why, in plain words."""
    view = view_rights(recipe, cache=Path(recipe.paths.cache), base=base)
    lines = [f"{recipe.name}: {view.use.words}"]
    for judgement in view.judgements:
        bases = () if judgement.subject.role == "base" else view.base_terms
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
    regions: Sequence[str] = (),
    terms: Path | None = None,
) -> tuple[bool, list[str]]:
    """The same for a teacher: a model (``org/model``, or a folder or GGUF file here) or a service (``provider:model``).

    terms: a terms file of one's own. Raises :class:`StillhouseError` for a student or release that there is not.
    """
    for field, value, known in (("student", student, get_args(StudentKind)), ("release", release, get_args(Release))):
        if value not in known:
            raise StillhouseError(
                f"{field} is one of {', '.join(known)}, not {value!r}", where=f"--{field}", fix="choose one"
            )
    table, use = Table.load(terms), Use(student, release, commercial, tuple(regions))  # type: ignore[arg-type]
    if Path(name).exists():
        files = peek(str(Path(name).resolve()), cache=Path("cache"), base=Path())
        subject = gather("teacher", name, name, table=table, touches=_TOUCHES["teacher"], files=files)
    else:
        subject = by_name(name, table=table)
    judgement = judge(subject, use, table=table)
    return not refusals([judgement]), [*explain(judgement, use, table=table), DISCLAIMER]


def student_name(recipe: Recipe) -> str:
    """What the student is called on its label."""
    return recipe.finish.name or recipe.name


_NEED_NO_FILES = ("name-prefix", "non-commercial")  # duties that can be judged of what is not here yet
STUDENT_KINDS: dict[str, StudentKind] = {"text-classification": "classifier", "text-generation": "generative"}
_TOUCHES: dict[Role, tuple[Touch, ...]] = {"data": ("data",), "teacher": ("logits", "outputs"), "base": ("init",)}
