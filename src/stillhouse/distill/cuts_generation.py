"""The step `cuts` of a model that writes: head, heart and tail of the chosen answers, and which tokens are masked.

Reads ``1-raw``, ``2-ferment`` and ``3-scores``; writes ``rows.parquet`` (every answer with its scores and its cut),
``cuts.parquet`` (the ledger of those that left, with their text), ``masks.parquet`` (tokens of those that stayed that
are read and not learned), ``feints.parquet`` (the documents of the tail, to be drawn from by a later run) and
``cuts.json``. Where the recipe asks for proxies (``distill.cuts.proxy``), the cuts have a price in nats too. What a
verifier found of validation answers, by their gold labels, is read where ``distill.cuts.calibration`` says so, and then
only to choose points.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stillhouse import documents
from stillhouse.distill import cut_step, masks
from stillhouse.distill.beginning import begin, chosen_rows
from stillhouse.distill.cut_step import (
    CUTS_SCHEMA,
    Calibration,
    Flags,
    Shown,
    check_calibration,
    groups_of,
    head_cut,
    judged_groups,
)
from stillhouse.distill.cutting import Decision, HeadCut, Rows, TailCut, Unproven, decide
from stillhouse.distill.language import Lesson
from stillhouse.distill.material import Row
from stillhouse.distill.proxies_generation import Budget, Teaching, WritingProving
from stillhouse.distill.quotas import strata_of
from stillhouse.distill.scored import Scored
from stillhouse.distill.stage_generation import loss_of, settings_of, trainable
from stillhouse.errors import Problem
from stillhouse.recipe.cuts import Given, Nothing, Quantile
from stillhouse.recipe.cuts_generation import ABOUT_ANSWERS, Mask, WritingCuts
from stillhouse.recipe.fields import values
from stillhouse.recipe.generation import Generation
from stillhouse.store import reached, scratch_folder, write_json
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 3
LIBRARIES = ("numpy",)
_PROMPT = 10  # characters of a prompt that the chart has room for
_ASKED = 120  # and of it the ledger
_REASONS = {
    "no-prompt": "the prompt says nothing about it",
    "ease": "known already",
    "difference": "a small model knows it as well",
    "teacher-noise": "the teacher was unsure",
    "disagreement": "samples do not agree",
}


def reads(recipe: Generation) -> set[str]:
    """Fields of other sections: with proxies, all that decides how the student is made and trained."""
    section = recipe.distill.cuts
    if section is None or section.proxy is None:
        return set()
    parts = tuple(f"distill.{part}." for part in ("student", "choose", "loss", "train"))
    return {path for path, _, _ in values(recipe) if path.startswith(parts)}


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Calibration rows take a gold label, harm a group."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101 - the plan has no such step otherwise
    return check_calibration(recipe, section.heads, [head.point for head in section.heads], section.calibration)


def notes(recipe: Generation, cache: Path, base: Path) -> list[str]:
    """What proxies will cost, which is more than anything else that this step does."""
    section = recipe.distill.cuts
    if section is None or section.proxy is None:
        return []
    number, budget = section.choices * section.proxy.seeds, section.proxy.budget
    return [
        f"cuts: up to {number} proxies of the student are taught to price them, which takes at most {budget:g} times"
        f" the student's own training; each learns from no more than {budget / number:.1%} of the answers"
    ]


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101
    started = time.perf_counter()
    scored = Scored.read(places.sealed("scores"))
    mine = scored.of_split("train")
    of_split, _, _ = chosen_rows(recipe, places)
    answers = of_split["train"]
    assert tuple(row.key for row in answers) == mine.ids  # noqa: S101 - the step before chose the same
    table = _documents(places, "train", answers)
    sources, groups = table["source"].to_pylist(), groups_of(table)
    progress("cutting", 0, 1)
    calibration = _calibration(section, places, scored, of_split["validation"])
    heads = [
        head_cut(head, head.point, place, mine, calibration, proven=head.score in ABOUT_ANSWERS)
        for place, head in enumerate(section.heads)
    ]
    rows = Rows(
        mine.ids,
        None,
        sources,
        groups,
        strata_of(None, sources, groups) if section.quotas and len(mine.ids) else None,
    )
    proving = _proxies(recipe, places, progress, scored, heads, of_split["validation"]) if section.proxy else None
    decision = decide(
        rows,
        Unproven(_known(mine)) if proving is None else proving,
        heads=heads,
        tail=_tail(section, mine),
        margin=section.margin,
        group_margin=section.group_margin,
    )
    if proving is not None and proving.short:
        decision = replace(decision, notes=(*decision.notes, proving.short))
    masked = _masks(section, places, mine, decision)
    number = _tokens_masked(masked, mine.ids)
    turns = recipe.distill.choose.turns
    shown = Shown(
        table,
        [row.said(turns) for row in answers],
        [" ".join(row.told.split())[-_PROMPT:] for row in answers],
        [f"asked: {' '.join(row.told.split())[-_ASKED:]}" if row.told else "" for row in answers],
        {"masked": pa.array(number, pa.int64())},
    )
    cut_step.write(places.draft, shown, mine, decision)
    masks.write(places.draft, masked)
    reached("cuts-written")
    summary = cut_step.summary_of(decision, gold=int(calibration.known.sum()))
    for name, of_rows in masked.items():
        tokens = sum(map(len, of_rows.values()))
        summary["points"][name] = f"{tokens} tokens of {len(of_rows)} answers are read and not learned"
    summary["masked"] = {"rows": int((number > 0).sum()), "tokens": int(number.sum())}
    tail = section.tail.score if section.tail else None
    told = cut_step.told(
        decision, section.heads, tail=tail, quotas=section.quotas, figure=proving.figure if proving else "nll"
    )
    if proving is not None:
        told["figure"] = proving.figure
        summary["proxies"] = {"taught": proving.taught, "share_of_training": round(proving.cost, 4)}
    for one in told["heads"]:
        one["why"] = summary["points"][one["name"]]
    write_json(places.draft / "cuts.json", {"schema": CUTS_SCHEMA, "rows": "answers", **told, "summary": summary})
    progress("cutting", 1, 1)
    return StageResult(summary, {"decided_in_seconds": round(time.perf_counter() - started, 3)})


def _proxies(
    recipe: Generation,
    places: Places,
    progress: Progress,
    scored: Scored,
    heads: Sequence[HeadCut],
    answers: Sequence[Row],
) -> WritingProving:
    """What proxies of the recipe's student are taught and judged by. answers: of validation documents."""
    section = recipe.distill.cuts
    assert section is not None and section.proxy is not None  # noqa: S101 - asked for where there are some
    made = begin(recipe, places, progress, uncut=True)
    settings, execution = settings_of(recipe)
    mine, held = scored.of_split("train"), scored.of_split("validation")
    of_train = {lesson.key: lesson for lesson in made.train.lessons}
    pointed = masks.read(places.sealed("scores"))
    masked = {head.title: pointed.get(head.title, {}) for head in section.heads if isinstance(head.point, Mask)}
    # neither what a rule takes nor what is masked is an answer to be judged by
    of_held: dict[str, Lesson] = {}
    for lesson in made.held.lessons:
        left = masks.without(lesson, {place for of_rows in masked.values() for place in of_rows.get(lesson.key, ())})
        of_held |= {lesson.key: left} if left else {}
    ruled = [cut.point.leaves(held.columns[cut.name]) for cut in heads if cut.point.kind == "hard"]
    sound = ~np.any(ruled, axis=0) if ruled else np.ones(len(held.ids), dtype=bool)
    rows = [place for place, key in enumerate(held.ids) if key in of_held]
    judged = [of_held[held.ids[place]] for place in rows]
    asked = [answers[place] for place in rows]
    groups = groups_of(_documents(places, "validation", asked))
    return WritingProving(
        made.model,
        [of_train.get(key) for key in mine.ids],
        judged,
        [row.document["id"] for row in asked],
        Teaching(
            made.signals,
            loss_of(recipe.distill.loss),
            settings,
            execution,
            partial(trainable, recipe),
            made.vocabularies.head_real if made.vocabularies else None,
        ),
        Budget(section.proxy.budget, section.choices, section.proxy.seeds),
        masked,
        _known(mine),
        judged_groups(None, groups),
        sound[rows],
        scratch_folder(places.draft) / "proxies",
        lambda done, total: progress("teaching proxies", done, total),
    )


def _documents(places: Places, split: documents.Split, rows: Sequence[Row]) -> pa.Table:
    """The document of each row; of several answers to one it stands several times."""
    return cut_step.rows_of(documents.read(places.sealed("raw"), split), [row.document["id"] for row in rows])


def _calibration(section: WritingCuts, places: Places, scored: Scored, rows: Sequence[Row]) -> Calibration:
    """Validation answers that may be looked at: which a verifier found wrong, and their groups."""
    allowed = section.calibration == "validation"
    held, rows = drawn_alone(scored.of_split("validation"), rows)
    found = [row.answer.verified if allowed and row.answer is not None else None for row in rows]
    groups = groups_of(_documents(places, "validation", rows)) if allowed else {}
    wrong, known = (np.array(one, dtype=bool) for one in ([x is False for x in found], [x is not None for x in found]))
    return Calibration(held, wrong, known, groups)


def drawn_alone(held: Scored, rows: Sequence[Row]) -> tuple[Scored, list[Row]]:
    """The first answer to each document, with its scores: several to one prompt are right or wrong together, and a
    promise counts on rows that are drawn one by one. Which sample is the first says nothing of it."""
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        first.setdefault(row.document["id"], place)
    alone = list(first.values())
    ids, splits = (tuple(values[place] for place in alone) for values in (held.ids, held.splits))
    columns = {name: values[alone] for name, values in held.columns.items()}
    return Scored(ids, splits, held.predicted[alone], columns), [rows[place] for place in alone]


def _known(mine: Scored) -> Flags:
    """Rows that a reader finds easier than most, which decides whose quota is larger; without a reader none."""
    ease = mine.columns.get("ease")
    if ease is None or not len(ease):
        return np.zeros(len(mine.ids), dtype=bool)
    found: Flags = ease > np.median(ease)
    return found


def _tail(section: WritingCuts, mine: Scored) -> TailCut:
    if section.tail is None:
        return TailCut(np.zeros(len(mine.ids)), "nothing", 0.0)
    scores, reason = mine.columns[section.tail.score], _REASONS[section.tail.score]
    match section.tail.point:
        case Nothing():
            return TailCut(scores, reason, 0.0)
        case Given():
            return TailCut(scores, reason, None, above=section.tail.point.at)
        case Quantile():
            return TailCut(scores, reason, section.tail.point.share)
        case _:
            return TailCut(scores, reason, None, section.tail.point.shares)


def _masks(section: WritingCuts, places: Places, mine: Scored, decision: Decision) -> dict[str, dict[str, list[int]]]:
    """Token places of the rows that stay, by the head that masks them and by key."""
    stay = {identifier for identifier, one in zip(mine.ids, decision.fate, strict=True) if one is None}
    pointed = masks.read(places.sealed("scores"))
    return {
        head.title: {key: found for key, found in pointed.get(head.title, {}).items() if key in stay}
        for head in section.heads
        if isinstance(head.point, Mask)
    }


def _tokens_masked(masked: dict[str, dict[str, list[int]]], ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """How many tokens of each row (N,) are masked, by whatever head."""
    union: dict[str, set[int]] = {}
    for of_rows in masked.values():
        for key, found in of_rows.items():
            union.setdefault(key, set()).update(found)
    return np.array([len(union.get(one, ())) for one in ids], dtype=np.int64)
