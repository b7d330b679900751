"""Stage 1: reads the sources, cleans, deduplicates and splits, and seals documents and the document cuts.

Writes ``documents/{train,validation,test}.parquet``, ``cuts.parquet`` and ``report.json``.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from operator import itemgetter
from pathlib import Path
from typing import Any

from stillhouse import cuts, documents
from stillhouse.addresses import Files, peek, resolve
from stillhouse.cuts import Balance, Cut
from stillhouse.documents import GROUP_PREFIX, SPLITS, Split
from stillhouse.errors import Problem, StillhouseError
from stillhouse.raw.clean import clean_text
from stillhouse.raw.dedup import Candidate, Deduplicated, deduplicate
from stillhouse.raw.expressions import Expression, ExpressionFailed
from stillhouse.raw.sources import Row, Unreadable, read
from stillhouse.raw.split import split_documents
from stillhouse.recipe.model import Clean, Recipe, Source
from stillhouse.recipe.rights import row_judgement, view_rights
from stillhouse.rights import Verdict, as_row
from stillhouse.store import digest_of, reached, write_json
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("pyarrow", "simpleeval")
STAGE = "1-raw"


def run(recipe: Recipe, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    candidates: list[Candidate] = []
    removed: list[Cut] = []
    groups = sorted({group for source in recipe.raw.sources for group in source.columns.groups})
    decisions: list[dict[str, Any]] = []
    for index, source in enumerate(recipe.raw.sources):
        for found in _read_source(source, index, recipe, places.cache, places.base, groups, decisions):
            (candidates if isinstance(found, Candidate) else removed).append(found)  # type: ignore[arg-type]
            total = len(candidates) + len(removed)
            if total % 1000 == 0:
                progress("reading", total, 0)
    rows_in = len(candidates) + len(removed)
    if not candidates:
        raise StillhouseError(
            f"no row is left of {rows_in}: {_reasons(removed)}",
            where="raw.sources",
            fix="check `columns`, `where` and `raw.clean`",
        )
    unique = deduplicate(candidates)
    ids = [documents.content_id({"text": row.text}) for row in unique.survivors]
    for copy in unique.copies:
        matched = documents.content_id({"text": copy.survivor.text})
        removed.append(_cut(copy.row, "tail", "exact copy", id=matched, matched_id=matched))
    plan = recipe.raw.split
    labelled = [row.label is not None for row in unique.survivors]
    split = split_documents(ids, labelled, seed=plan.seed, test=plan.test, validation=plan.validation, train=plan.train)
    _refuse_one_class(split, unique, recipe.labels)
    used = {row for rows in split.values() for row in rows}
    removed += [
        _cut(unique.survivors[row], "tail", "beyond raw.split.train", id=ids[row])
        for row in range(len(ids))
        if row not in used
    ]
    for name, rows in split.items():
        documents.write(
            places.draft, name, [_document(unique.survivors[row], ids[row], groups) for row in rows], groups
        )
    cuts.write(places.draft, removed)
    balance = Balance(rows_in, len(used), len(removed), 0).check(STAGE)
    report = _report(balance, removed, split, unique)
    write_json(places.draft / "report.json", report)
    reached("documents-written")
    return StageResult(report, {"row_licenses": decisions})


def check_sources(recipe: Recipe, cache: Path, base: Path) -> list[Problem]:
    """What can be said before any work: expressions that do not parse, columns that are not there, files missing.

    Only looks at files that are already here, and only at the first row of each source.
    """
    problems: list[Problem] = []
    for index, source in enumerate(recipe.raw.sources):
        where = f"raw.sources.{index}"
        try:
            mapping = _Mapping(source, where, sorted(source.columns.groups))
            files = peek(source.data, cache=cache, base=base)
            first = next(_rows(source, files), None) if files else None
            if isinstance(first, Row):
                mapping.check_columns(first)
        except StillhouseError as error:
            problems += error.problems
    return problems


def _rows(source: Source, files: Files) -> Iterator[Row | Unreadable]:
    return read(
        files.files,
        name=source.name,
        format=source.format,
        fields=source.fields,
        encoding=source.encoding,
        quoting=source.quoting,
    )


def sample_rows(recipe: Recipe, *, cache: Path, base: Path, count: int) -> tuple[list[Candidate], int]:
    """``count`` cleaned rows with different texts, and how many rows there are in all.

    Drawn by a hash of the text, so that any order of the sources gives the same. Reads every source once, fetching it
    if need be; keeps no more than ``count`` rows.
    """
    total = 0
    chosen: list[tuple[str, Candidate]] = []
    for index, source in enumerate(recipe.raw.sources):
        for row in _read_source(source, index, recipe, cache, base, []):
            if isinstance(row, Candidate):
                total += 1
                place = (digest_of(row.text), row)
                at = bisect_left(chosen, place[0], key=itemgetter(0))
                if at < count and not (at < len(chosen) and chosen[at][0] == place[0]):
                    chosen.insert(at, place)
                    del chosen[count:]
    return [row for _, row in chosen], total


def _read_source(
    source: Source,
    index: int,
    recipe: Recipe,
    cache: Path,
    base: Path,
    groups: list[str],
    decisions: list[dict[str, Any]] | None = None,
) -> Iterator[Candidate | Cut]:
    """Every row as a candidate or a cut; ``decisions`` takes what was decided about each license that rows state."""
    where = f"raw.sources.{index}"
    files = resolve(source.data, cache=cache, base=base)
    licenses = _Licenses(source, recipe, cache, base)
    mapping = _Mapping(source, where, groups)
    seen = False
    for row in _rows(source, files):
        if isinstance(row, Unreadable):
            yield Cut(STAGE, "head", "unreadable", source.name, row.origin, detail=row.reason, content=row.raw)
            continue
        if not seen:
            mapping.check_columns(row)
            seen = True
        yield mapping.candidate(row, recipe, licenses)
    if decisions is not None:
        decisions += licenses.decisions


class _Licenses:
    """The license of each row of a source, and whether it may be used."""

    def __init__(self, source: Source, recipe: Recipe, cache: Path, base: Path) -> None:
        self._source, self._recipe = source, recipe
        view = view_rights(recipe, cache=cache, base=base)
        mine = ("data", source.name)
        self.of_source = next(one.license for one in view.judgements if (one.subject.role, one.subject.name) == mine)
        self._table = view.table
        self._known: dict[str | None, tuple[str, str | None]] = {}
        self.decisions: list[dict[str, Any]] = []

    def of_row(self, stated: str | None) -> tuple[str, str | None]:
        """The license's id, and why the row may not be used, or ``None`` when it may."""
        if stated not in self._known:
            found = row_judgement(self._source, stated, self._recipe, self._table)
            refused = found.verdict > Verdict.ALLOW_WITH_DUTIES
            self.decisions.append({"source": self._source.name, "stated": stated, **as_row(found)})
            self._known[stated] = (found.license, f"{found.verdict.words}: {found.reason}" if refused else None)
        return self._known[stated]


class _Mapping:
    """A source's expressions, compiled."""

    def __init__(self, source: Source, where: str, groups: list[str]) -> None:
        columns = source.columns
        self.source = source
        self.where_key = where
        self.text = Expression(columns.text, where=f"{where}.columns.text")
        self.label = Expression(columns.label, where=f"{where}.columns.label") if columns.label else None
        self.license = (
            Expression(columns.license, where=f"{where}.columns.license") if columns.license is not None else None
        )
        if self.license is not None and not self.license.names:
            raise StillhouseError(
                "this names no column, so it says the same of every row",
                where=f"{where}.columns.license",
                fix="name the column that holds the row's license; for one license of all rows use `license`",
            )
        self.keep = Expression(source.where, where=f"{where}.where") if source.where else None
        self.group_names = groups
        self.groups = [
            Expression(columns.groups[group], where=f"{where}.columns.groups.{group}")
            if group in columns.groups
            else None
            for group in groups
        ]

    def check_columns(self, row: Row) -> None:
        """Refuse a mapping that names columns which the file does not have."""
        for key, expression in (
            ("columns.text", self.text),
            ("columns.label", self.label),
            ("columns.license", self.license),
            ("where", self.keep),
        ):
            missing = sorted(expression.names - set(row.values)) if expression else []
            if missing:
                raise StillhouseError(
                    f"there is no column {', '.join(map(repr, missing))}; the file has {', '.join(row.values)}",
                    where=f"{self.where_key}.{key}, {row.origin}",
                    fix="name one of the columns that are there",
                )

    def candidate(self, row: Row, recipe: Recipe, licenses: _Licenses) -> Candidate | Cut:
        """The row as a candidate, or the cut that removes it."""
        content = json.dumps(row.values, ensure_ascii=False, default=str)

        def cut(kind: cuts.CutKind, reason: str, **more: Any) -> Cut:
            return Cut(STAGE, kind, reason, self.source.name, row.origin, content=content, **more)

        try:
            if self.keep is not None and not self.keep(row.values):
                return cut("tail", "left out by `where`")
            text = self.text(row.values)
            label = self.label(row.values) if self.label else None
            groups = tuple(
                None if group is None or (value := group(row.values)) is None else str(value) for group in self.groups
            )
            stated = self.license(row.values) if self.license else None
        except ExpressionFailed as error:
            return cut("head", "expression failed", detail=str(error))
        license_id = licenses.of_source
        if self.license:
            license_id, refusal = licenses.of_row(None if stated is None else str(stated).strip() or None)
            if refusal:
                return cut("head", "no right to use", detail=refusal)
        if text is None or not str(text).strip():
            return cut("head", "no text")
        cleaned = clean_text(str(text), unicode=recipe.raw.clean.unicode, whitespace=recipe.raw.clean.whitespace)
        outside = _length_cut(cleaned, recipe.raw.clean)
        if outside:
            return cut("tail", outside[0], score=float(len(cleaned)), threshold=float(outside[1]))
        if label is not None and str(label) not in recipe.labels:
            return cut("head", "label not in the list", detail=f"{label!r} is not one of {list(recipe.labels)}")
        gold = None if label is None else str(label)
        return Candidate(row.origin, self.source.name, license_id, cleaned, gold, groups)


def _length_cut(text: str, limits: Clean) -> tuple[str, int] | None:
    if len(text) < limits.min_characters:
        return "too short", limits.min_characters
    if len(text) > limits.max_characters:
        return "too long", limits.max_characters
    return None


def _cut(row: Candidate, kind: cuts.CutKind, reason: str, **more: Any) -> Cut:
    return Cut(STAGE, kind, reason, row.source, row.origin, content=row.text, **more)


def _document(row: Candidate, identifier: str, groups: list[str]) -> dict[str, object]:
    return {
        "id": identifier,
        "text": row.text,
        "label": row.label,
        **{GROUP_PREFIX + group: value for group, value in zip(groups, row.groups, strict=True)},
        "source": row.source,
        "license": row.license,
        "origin": row.origin,
    }


def _refuse_one_class(split: dict[Split, list[int]], unique: Deduplicated, labels: tuple[str, ...]) -> None:
    found = {unique.survivors[row].label for row in split["test"]}
    if len(found) < 2:
        raise StillhouseError(
            f"every test document has the same gold label, {found.pop()!r}; nothing could be measured",
            where="raw.split.test",
            fix=f"add rows of the other labels: {', '.join(label for label in labels if label not in found)}",
        )


def _report(
    balance: Balance, removed: list[Cut], split: dict[Split, list[int]], unique: Deduplicated
) -> dict[str, Any]:
    gold = {
        name: dict(sorted(Counter(unique.survivors[row].label or "unknown" for row in split[name]).items()))
        for name in SPLITS
    }
    return {
        **asdict(balance),
        "cuts": cuts.counts(removed),
        "splits": {name: len(split[name]) for name in SPLITS},
        "gold_labels": gold,
        "licenses": _licenses(split, unique),
        "conflicting_labels": len(unique.conflicts),
    }


def _licenses(split: dict[Split, list[int]], unique: Deduplicated) -> dict[str, dict[str, int]]:
    """How many documents were kept under each license, by source."""
    tally: dict[str, Counter[str]] = {}
    for name in SPLITS:
        for row in split[name]:
            tally.setdefault(unique.survivors[row].source, Counter())[unique.survivors[row].license] += 1
    return {source: dict(sorted(counts.items())) for source, counts in sorted(tally.items())}


def _reasons(removed: list[Cut]) -> str:
    if not removed:
        return "the sources hold no rows"
    tally = Counter(cut.reason for cut in removed)
    reasons = ", ".join(f"{number} {reason}" for reason, number in tally.most_common(3))
    return f"{reasons}; the first, {removed[0].origin}: {removed[0].detail or removed[0].reason}"
