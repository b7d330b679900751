"""Stage 1: reads the sources, cleans, deduplicates, decontaminates and splits, and seals documents and their cuts.

Writes ``documents/{train,validation,test}.parquet``, ``cuts.parquet`` and ``report.json``. The work goes through
pieces of some thousand rows, on this machine or a Ray cluster; what needs all rows (who is a copy of whom, the split)
is decided here, on a few numbers for each row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse import cuts, documents
from stillhouse.cuts import Balance
from stillhouse.documents import GROUP_PREFIX, SPLITS
from stillhouse.engine import Engine, open_engine
from stillhouse.errors import StillhouseError
from stillhouse.overlap.search import Item, build_index
from stillhouse.raw.dedup import (
    Copies,
    gather,
    remove_copies,
)
from stillhouse.raw.fate import CHUNK, Places, Rows
from stillhouse.raw.leak import LeakTask, boilerplate, find_leaks, touch
from stillhouse.raw.near import components
from stillhouse.raw.prepare import NO_LABEL, PieceTask, PreparePlan, prepare_piece
from stillhouse.raw.reading import PIECE_ROWS, FileRead, ReadTask, read_file
from stillhouse.raw.report import report_of
from stillhouse.raw.sections import (
    benchmarks_of,
    check,
    cleaner_of,
    files_to_read,
    groups_of,
    judge_licenses,
    near_of,
    sample_rows,
)
from stillhouse.raw.sources import nothing_to_read
from stillhouse.raw.split import Division, split_documents, straddling
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.raw import OnRay
from stillhouse.recipe.rights import view_rights
from stillhouse.store import reached, scratch_folder, write_json
from stillhouse.workplace import Places as Folders
from stillhouse.workplace import Progress, StageResult

__all__ = ["LIBRARIES", "VERSION", "check", "run", "sample_rows"]

VERSION = 3
LIBRARIES = ("pyarrow", "simpleeval", "ftfy", "phonenumbers", "py3langid")
STAGE = "1-raw"


def run(recipe: Recipe, places: Folders, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    scratch = scratch_folder(places.draft)
    labels = recipe.classes
    section = recipe.raw.engine
    ray = isinstance(section, OnRay)
    address = section.address if isinstance(section, OnRay) else None
    with open_engine(workers=section.workers, ray=ray, address=address) as engine:
        read = _read(recipe, places, scratch, engine, progress)
        licenses, decisions = judge_licenses(recipe, view_rights(recipe, cache=places.cache, base=places.base), read)
        near = near_of(recipe)
        plan = PreparePlan(
            cleaner_of(recipe.raw.clean),
            labels,
            groups_of(recipe),
            licenses,
            near,
            benchmarks_of(recipe, cache=places.cache, base=places.base),
        )
        tasks = [
            PieceTask(path, place, one.task.source, scratch, PIECE_ROWS) for one in read for path, place in one.pieces
        ]
        gather(engine, partial(prepare_piece, plan=plan), tasks, "cleaning", progress)
        rows = Rows.open([task.table for task in tasks], labels=labels, groups=plan.groups)
        _refuse_nothing(rows)
        rule = recipe.raw.duplicates.conflicts
        copies = remove_copies(rows, tasks, near, conflicts=rule, scratch=scratch, engine=engine, progress=progress)
        _refuse_nothing(rows)
        division = _divide(recipe, rows, copies, tasks, engine, progress)
    used = [row for name in SPLITS for row in division[name].tolist()]
    if labels is not None:
        _refuse_one_class(rows, division, labels)
    for name in SPLITS:
        documents.write(
            places.draft, name, _documents(rows, division[name], labels), plan.groups, messages=labels is None
        )
    cuts.write_tables(places.draft, rows.removed())
    counts = rows.counts()
    balance = Balance(rows.rows_in, len(used), sum(sum(one.values()) for one in counts.values()), 0).check(STAGE)
    report = report_of(
        rows,
        balance,
        counts,
        division,
        copies_found=_as_numbers(copies, division, rows),
        taken=rows.strata(labels or ()),
        labels=labels or (),
    )
    write_json(places.draft / "report.json", report)
    reached("documents-written")
    return StageResult(report, {"row_licenses": decisions})


def _read(recipe: Recipe, places: Folders, scratch: Path, engine: Engine, progress: Progress) -> list[FileRead]:
    files = files_to_read(recipe, cache=places.cache, base=places.base)
    tasks = [
        ReadTask(plan, path, label, number, scratch / "read" / f"{number:05d}", PIECE_ROWS)
        for number, (plan, path, label) in enumerate(files)
    ]
    found = gather(engine, read_file, tasks, "reading", progress)
    for name in {plan.name for plan, _, _ in files}:
        mine = [one for one in found if one.task.source.name == name]
        if not any(one.rows for one in mine):
            raise nothing_to_read([one.task.path for one in mine], name)
    return found


def _divide(
    recipe: Recipe, rows: Rows, copies: Copies, tasks: Sequence[PieceTask], engine: Engine, progress: Progress
) -> dict[documents.Split, Places]:
    """Split what stays, and take out of it what holds a held-out text, until nothing does."""
    plan, labels = recipe.raw.split, recipe.classes
    cluster = np.arange(len(rows.places))
    members, roots = components(copies.linked)
    cluster[members] = roots
    looked_for: set[int] = set()
    while True:
        staying = rows.staying
        ids = rows.column("id", staying)
        # where a gold label is any text, no document needs one, and none stands for a stratum
        names = (
            [""] * len(staying) if labels is None else [_name(code, labels) for code in rows.labels[staying].tolist()]
        )
        division = split_documents(
            ids,
            names,
            clusters=cluster[staying],
            groups=[rows.column(GROUP_PREFIX + group, staying) for group in plan.together],
            strata=[rows.column(GROUP_PREFIX + group, staying) for group in plan.strata],
            stratify=plan.stratify,
            seed=plan.seed,
            test=plan.test,
            validation=plan.validation,
            train=None if recipe.raw.weights else plan.train,
        )
        splits = {name: staying[np.array(division.splits[name], np.int64)] for name in SPLITS}
        held = [int(row) for name in ("test", "validation") for row in splits[name]]
        new = [row for row in held if row not in looked_for]
        if not recipe.raw.decontaminate.own_splits or not new:
            break
        looked_for.update(new)
        if not _remove_leaks(recipe, rows, splits, np.array(new, np.int64), tasks, engine, progress):
            break
    _cut_the_rest(recipe, rows, splits, division, staying)
    return splits


def _remove_leaks(
    recipe: Recipe,
    rows: Rows,
    splits: dict[documents.Split, Places],
    new: Places,
    tasks: Sequence[PieceTask],
    engine: Engine,
    progress: Progress,
) -> int:
    """Cut rows outside the test that hold a text of ``new``; a validation row may be held by training rows only."""
    items = list(map(Item, rows.column("origin", new), rows.column("text", new)))
    size = recipe.raw.decontaminate.words
    in_test, in_validation = (set(splits[name].tolist()) for name in ("test", "validation"))
    rest = np.setdiff1d(rows.staying, splits["test"])
    starts = rows.numbers(np.array([task.place for task in tasks]))
    owner = np.searchsorted(starts, rest, side="right") - 1
    work = [LeakTask(tasks[at].table, rest[owner == at] - starts[at]) for at in np.unique(owner).tolist()]
    index = build_index(items, size=size)
    touched = gather(engine, partial(touch, index=index), work, "decontaminating", progress)
    index = build_index(items, size=size, common=boilerplate(index, touched))
    again = [one.task for one in touched if len(one.task.rows)]
    found = gather(engine, partial(find_leaks, index=index), again, "decontaminating", progress)
    first = {task.table: start for task, start in zip(tasks, starts.tolist(), strict=True)}
    leaks = [
        (row, item, leak)
        for task, some in zip(again, found, strict=True)
        for leak in some
        for row, item in [(first[task.table] + leak.row, int(new[leak.item]))]
        if row != item and (item in in_test or row not in in_validation)
    ]
    leaks = list({row: (row, item, leak) for row, item, leak in reversed(leaks)}.values())  # the first of each row
    if leaks:
        rows.cut(
            np.array([row for row, _, _ in leaks], np.int64),
            "head",
            "contamination",
            matched=np.array([item for _, item, _ in leaks], np.int64),
            scores=np.array([leak.share for _, _, leak in leaks]),
            details=[f"holds a held-out text: {leak.detail}" for _, _, leak in leaks],
        )
    return len(leaks)


def _cut_the_rest(
    recipe: Recipe, rows: Rows, splits: dict[documents.Split, Places], division: Division, staying: Places
) -> None:
    rows.cut(staying[np.array(division.aside, np.int64)], "tail", "set aside with a test copy")
    rows.cut(staying[np.array(division.beyond, np.int64)], "tail", "beyond raw.split.train")
    if recipe.raw.weights:
        kept = weighted(rows.column("source", splits["train"]), recipe.raw.weights, recipe.raw.split.train)
        rows.cut(np.setdiff1d(splits["train"], splits["train"][kept]), "tail", "beyond its source's weight")
        splits["train"] = splits["train"][kept]


def weighted(sources: Sequence[str], weights: dict[str, float], limit: int | None) -> npt.NDArray[np.int64]:
    """Positions of the rows to keep so that the sources stand in the shares of ``weights``, as many as there can be.

    The first rows of each source are kept, so a random order stays one. limit: at most so many in all. A source that
    has no row left counts as one whose share nothing can fill, and is left out of the shares.
    """
    names = np.array(sources)
    have = {name: int((names == name).sum()) for name in weights}
    share = {name: weight for name, weight in weights.items() if have[name]}
    total = sum(share.values())
    size = min(have[name] * total / share[name] for name in share)
    size = size if limit is None else min(size, limit)
    kept = [np.flatnonzero(names == name)[: round(size * share[name] / total)] for name in share]
    return np.sort(np.concatenate(kept))


def _name(code: int, labels: Sequence[str]) -> str | None:
    return None if code == NO_LABEL else labels[code]


def _documents(rows: Rows, numbers: Places, labels: Sequence[str] | None) -> Iterator[Any]:
    for start in range(0, max(len(numbers), 1), CHUNK):
        yield rows.documents(numbers[start : start + CHUNK], labels)


def _as_numbers(copies: Copies, division: dict[documents.Split, Places], rows: Rows) -> dict[str, int]:
    side = np.full(len(rows.places), -1, np.int8)
    for number, name in enumerate(SPLITS):
        side[division[name]] = number
    return {
        "conflicting_labels": copies.conflicts,
        "near_copies_with_another_label": copies.other_label,
        "near_copies_with_a_passage_of_their_own": copies.own_passage,
        "bounded_buckets": copies.bounded_buckets,
        "straddling_pairs": straddling(copies.linked, side),
    }


def _refuse_nothing(rows: Rows) -> None:
    if len(rows.staying):
        return
    tally = Counter({reason: number for part in rows.counts().values() for reason, number in part.items()})
    told = ", ".join(f"{number} {reason}" for reason, number in tally.most_common(3)) or "the sources hold no rows"
    first = next((table.slice(0, 1).to_pylist()[0] for table in rows.removed() if table.num_rows), None)
    example = f"; the first, {first['origin']}: {first['detail'] or first['reason']}" if first else ""
    raise StillhouseError(
        f"no row is left of {rows.rows_in}: {told}{example}",
        where="raw.sources",
        fix="check `columns`, `where` and `raw.clean`",
    )


def _refuse_one_class(rows: Rows, division: dict[documents.Split, Places], labels: tuple[str, ...]) -> None:
    found = {labels[code] for code in set(rows.labels[division["test"]].tolist())}
    if len(found) < 2:
        raise StillhouseError(
            f"every test document has the same gold label, {found.pop()!r}; nothing could be measured",
            where="raw.split.test",
            fix=f"add rows of the other labels: {', '.join(label for label in labels if label not in found)}",
        )
