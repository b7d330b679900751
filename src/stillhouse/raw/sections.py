"""The recipe's first section as plain values for the rest of stage 1, and what can be checked of it early."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import fields, replace
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, cast

from stillhouse.addresses import Files, peek, resolve
from stillhouse.errors import Problem, StillhouseError
from stillhouse.overlap.search import Index, Item, build_index
from stillhouse.raw.clean import Cleaner
from stillhouse.raw.expressions import Expression, ExpressionFailed
from stillhouse.raw.lines import Row, Unreadable
from stillhouse.raw.mapping import Mapping, SourcePlan
from stillhouse.raw.prepare import NearPlan, PreparePlan, prepare_rows
from stillhouse.raw.profiles import PROFILES, Profile
from stillhouse.raw.reading import PIECE_ROWS, FileRead
from stillhouse.raw.sources import Format, files_of, read
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.raw import Clean, Earlier, Source
from stillhouse.recipe.rights import RightsView, row_judgement
from stillhouse.rights import Verdict, as_row
from stillhouse.store import digest_of

SHINGLE_WORDS = 5
SHINGLE_CHARACTERS = 4


def groups_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of all group columns, sorted."""
    return tuple(sorted({group for source in recipe.raw.sources for group in source.columns.groups}))


def source_plans(recipe: Recipe) -> list[tuple[SourcePlan, str]]:
    """Every set of rows with its address; earlier sets come first, since their rows win over all others."""
    earlier = enumerate(recipe.raw.duplicates.against)
    sources = enumerate(recipe.raw.sources)
    return [
        *((_earlier_plan(one, f"raw.duplicates.against.{index}"), one.data) for index, one in earlier),
        *((_source_plan(one, f"raw.sources.{index}"), one.data) for index, one in sources),
    ]


def _source_plan(source: Source, key: str) -> SourcePlan:
    columns = source.columns
    return SourcePlan(
        source.name,
        key,
        text=columns.text,
        label=columns.label,
        license=columns.license,
        where=source.where,
        groups=columns.groups,
        html=source.html,
        format=source.format,
        fields=source.fields,
        encoding=source.encoding,
        quoting=source.quoting,
    )


def _earlier_plan(earlier: Earlier, key: str) -> SourcePlan:
    return SourcePlan(earlier.name, key, text=earlier.text, earlier=True)


def files_to_read(recipe: Recipe, *, cache: Path, base: Path) -> list[tuple[SourcePlan, Path, str]]:
    """Every file of every set of rows, in order, with the label that starts its rows' origins."""
    return [
        (plan, path, label)
        for plan, address in source_plans(recipe)
        for path, label in files_of(resolve(address, cache=cache, base=base).files, name=plan.name)
    ]


def cleaner_of(section: Clean) -> Cleaner:
    """The cleaner that the recipe describes; raises :class:`StillhouseError` for a rule that the profile has not."""
    return Cleaner(
        repair=section.repair,
        unicode=section.unicode,
        whitespace=section.whitespace,
        min_characters=section.min_characters,
        max_characters=section.max_characters,
        profile=_profile_of(section),
        detect_language=section.detect_language,
        languages=frozenset(section.languages),
        secrets=section.secrets,
        personal=section.personal,
    )


def _profile_of(section: Clean) -> Profile | None:
    known = {one.name for one in fields(Profile)}
    strangers = sorted(set(section.rules) - known)
    if strangers:
        raise StillhouseError(
            f"there is no rule {', '.join(strangers)}; there are {', '.join(sorted(known))}",
            where="raw.clean.rules",
            fix="use one of these names",
        )
    if section.profile == "none":
        return replace(Profile(), **cast(dict[str, Any], section.rules)) if section.rules else None
    return replace(PROFILES[section.profile], **cast(dict[str, Any], section.rules))


def near_of(recipe: Recipe) -> NearPlan | None:
    """How near copies are looked for, if they are."""
    duplicates = recipe.raw.duplicates
    return NearPlan(duplicates.threshold, SHINGLE_WORDS, SHINGLE_CHARACTERS) if duplicates.near else None


def benchmarks_of(recipe: Recipe, *, cache: Path, base: Path) -> Index | None:
    """The benchmark items that no document may hold; ``None`` where the recipe names none."""
    items: list[Item] = []
    for number, benchmark in enumerate(recipe.raw.decontaminate.benchmarks):
        where = f"raw.decontaminate.benchmarks.{number}"
        question = Expression(benchmark.question, where=f"{where}.question")
        answer = Expression(benchmark.answer, where=f"{where}.answer") if benchmark.answer else None
        files = resolve(benchmark.data, cache=cache, base=base).files
        for row in read(files, name=benchmark.name):
            if not isinstance(row, Row):
                raise StillhouseError(f"cannot be read: {row.reason}", where=row.origin, fix="mend the line")
            try:
                asked, told = question(row.values), answer(row.values) if answer else None
            except ExpressionFailed as error:
                raise StillhouseError(str(error), where=f"{where}, {row.origin}", fix="name its columns") from error
            if asked is not None and str(asked).strip():
                items.append(Item(row.origin, str(asked), None if told is None else str(told)))
    return build_index(items, size=recipe.raw.decontaminate.words) if items else None


def judge_licenses(
    recipe: Recipe, view: RightsView, found: list[FileRead]
) -> tuple[dict[tuple[str, str | None], tuple[str, str | None]], list[dict[str, Any]]]:
    """The license of each source and stated license, with why it is refused; and each decision about a stated one."""
    by_source = {one.subject.name: one.license for one in view.judgements if one.subject.role == "data"}
    licenses: dict[tuple[str, str | None], tuple[str, str | None]] = {
        (source.name, None): (by_source[source.name], None) for source in recipe.raw.sources
    }
    decisions: list[dict[str, Any]] = []
    for source in recipe.raw.sources:
        if source.columns.license is None:
            continue
        stated = {name for one in found if one.task.source.name == source.name for name in one.licenses}
        for name in sorted({None, *stated}, key=str):
            judged = row_judgement(source, name, recipe, view.table)
            refused = judged.verdict > Verdict.ALLOW_WITH_DUTIES
            if name in stated:
                decisions.append({"source": source.name, "stated": name, **as_row(judged)})
            why = f"{judged.verdict.words}: {judged.reason}" if refused else None
            licenses[source.name, name] = (judged.license, why)
    return licenses, decisions


def check(recipe: Recipe, cache: Path, base: Path) -> list[Problem]:
    """What can be said before any work: expressions that do not parse, columns that are not there, files missing.

    Only looks at files that are already here, and only at the first row of each set of rows.
    """
    problems: list[Problem] = []
    for plan, address in source_plans(recipe):
        try:
            mapping = Mapping(plan, groups=sorted(plan.groups))
            files = peek(address, cache=cache, base=base)
            first = next(_rows(plan, files), None) if files else None
            if isinstance(first, Row):
                mapping.check_columns(first)
        except StillhouseError as error:
            problems += error.problems
    for number, benchmark in enumerate(recipe.raw.decontaminate.benchmarks):
        try:
            for name, written in (("question", benchmark.question), ("answer", benchmark.answer)):
                if written is not None:
                    Expression(written, where=f"raw.decontaminate.benchmarks.{number}.{name}")
        except StillhouseError as error:
            problems += error.problems
    try:
        cleaner_of(recipe.raw.clean)
    except StillhouseError as error:
        problems += error.problems
    return problems


def _rows(plan: SourcePlan, files: Files) -> Iterator[Row | Unreadable]:
    return read(
        files.files,
        name=plan.name,
        format=cast(Format, plan.format),
        fields=plan.fields,
        encoding=plan.encoding,
        quoting=plan.quoting,
    )


class Sampled(NamedTuple):
    """A row as it would become a document; messages: its turns, for ``text-generation``."""

    origin: str
    text: str
    messages: list[dict[str, str]] | None = None


def sample_rows(recipe: Recipe, *, cache: Path, base: Path, count: int) -> tuple[list[Sampled], int]:
    """``count`` cleaned rows with different texts, and how many rows stay in all (copies still among them).

    Drawn by a hash of the text, so that any order of the sources gives the same. Reads every source once, fetching it
    if need be; keeps no more than ``count`` rows.
    """
    plan = PreparePlan(cleaner_of(recipe.raw.clean), recipe.classes, groups_of(recipe), _Anything(), None, None)
    total = 0
    chosen: list[tuple[str, Sampled]] = []
    for source, address in source_plans(recipe):
        if source.earlier:
            continue
        rows = _rows(source, resolve(address, cache=cache, base=base))
        while part := list(itertools.islice(rows, PIECE_ROWS)):
            for row in prepare_rows(part, source, plan):
                if row.leaves is not None or row.text is None:
                    continue
                total += 1
                place = (digest_of(row.text), Sampled(row.origin, row.text, row.messages))
                at = bisect_left(chosen, place[0], key=itemgetter(0))
                if at < count and not (at < len(chosen) and chosen[at][0] == place[0]):
                    chosen.insert(at, place)
                    del chosen[count:]
    return [row for _, row in chosen], total


class _Anything(dict[tuple[str, str | None], tuple[str, str | None]]):
    """Every license is allowed: for a look at some rows, which become no documents."""

    def __missing__(self, key: tuple[str, str | None]) -> tuple[str, str | None]:
        return "", None
