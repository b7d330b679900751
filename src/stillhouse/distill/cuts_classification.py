"""The step `cuts`: head, heart and tail of the training documents, with their price.

Reads ``1-raw``, ``2-ferment`` and ``3-scores``; writes ``rows.parquet`` (every training row with its scores and its
cut), ``cuts.parquet`` (the ledger of those that left, with their text), ``feints.parquet`` (the tail, to be drawn from
by a later run) and ``cuts.json`` (points, prices, pilot, strata). Gold labels of validation documents are read where
``distill.cuts.calibration`` says so, and then only to choose points.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stillhouse import documents
from stillhouse.distill import cut_step
from stillhouse.distill.cut_step import (
    CUTS_SCHEMA,
    Calibration,
    Shown,
    check_calibration,
    groups_of,
    head_cut,
    judged_groups,
)
from stillhouse.distill.cutting import Rows, TailCut, decide
from stillhouse.distill.probe import by_epochs, folds_of
from stillhouse.distill.proxies_classification import Proving
from stillhouse.distill.quotas import strata_of
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import stable_ease
from stillhouse.errors import Problem
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.cuts import Cuts, Nothing, Quantile
from stillhouse.signals import ClassProbs, Vectors
from stillhouse.store import reached, write_json
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 3
LIBRARIES = ("scikit-learn", "scipy", "numpy")
_ABOUT_LABELS = ("label-doubt", "teacher-noise")  # what would make the student worse, rather than harm others
_REASONS = {
    "ease": "taught already",
    "stable-ease": "taught already, from the start",
    "teacher-noise": "teachers do not agree",
}

Flags = npt.NDArray[np.bool_]


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """Calibration rows take a gold label, harm a group."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101 - the plan has no such step otherwise
    return check_calibration(recipe, section.heads, [head.point for head in section.heads], section.calibration)


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101
    started = time.perf_counter()
    signal = ClassProbs.read(places.sealed("ferment"))
    scored = Scored.read(places.sealed("scores"))
    mine = scored.of_split("train")
    features = Vectors.read(places.sealed("scores")).values_for(mine.ids)
    folds = folds_of(mine.ids, seed=section.seed, folds=section.folds)
    table = cut_step.rows_of(documents.read(places.sealed("raw"), "train"), mine.ids)
    taught = signal.probabilities_for(mine.ids)
    if section.tail.score == "stable-ease":  # made where it is asked for: seconds, from what is here
        stable = stable_ease(taught, by_epochs(features, taught, folds, ids=mine.ids))
        mine = replace(mine, columns={**mine.columns, "stable-ease": stable})
    classes = [recipe.labels[label] for label in taught.argmax(1)]
    sources = table["source"].to_pylist()
    groups = groups_of(table)
    progress("cutting", 0, 1)
    calibration = _calibration(recipe, places, signal, scored)
    heads = [
        head_cut(head, head.point, place, mine, calibration, proven=head.score in _ABOUT_LABELS)
        for place, head in enumerate(section.heads)
    ]
    rules = [cut.point.leaves(cut.scores) for cut in heads if cut.point.kind == "hard"]
    proving = Proving(
        features,
        taught,
        folds,
        judged_groups(classes, groups),
        ~np.any(rules, axis=0) if rules else np.ones(len(mine.ids), dtype=bool),
    )
    rows = Rows(
        mine.ids,
        classes,
        sources,
        groups,
        strata_of(classes, sources, groups) if section.quotas and len(mine.ids) else None,
    )
    decision = decide(
        rows,
        proving,
        heads=heads,
        tail=_tail(section, mine),
        margin=section.margin,
        group_margin=section.group_margin,
    )
    shown = Shown(table, table["text"].to_pylist(), classes, [f"taught as {label}" for label in classes], {})
    cut_step.write(places.draft, shown, mine, decision)
    reached("cuts-written")
    summary = cut_step.summary_of(decision, gold=int(calibration.known.sum()))
    told = cut_step.told(decision, section.heads, tail=section.tail.score, quotas=section.quotas)
    write_json(places.draft / "cuts.json", {"schema": CUTS_SCHEMA, **told, "summary": summary})
    progress("cutting", 1, 1)
    return StageResult(summary, {"decided_in_seconds": round(time.perf_counter() - started, 3)})


def _calibration(recipe: Classification, places: Places, signal: ClassProbs, scored: Scored) -> Calibration:
    """Validation documents whose gold labels may be looked at: where the teacher is wrong, and their groups."""
    held = scored.of_split("validation")
    table = cut_step.rows_of(documents.read(places.sealed("raw"), "validation"), held.ids)
    assert recipe.distill.cuts is not None  # noqa: S101
    allowed = recipe.distill.cuts.calibration == "validation"
    gold = table["label"].to_pylist() if allowed else [None] * len(held.ids)
    said = [recipe.labels[label] for label in signal.probabilities_for(held.ids).argmax(1)] if held.ids else []
    known = np.array([one is not None for one in gold], dtype=bool)
    wrong = np.array([one is not None and one != other for one, other in zip(gold, said, strict=True)], dtype=bool)
    return Calibration(held, wrong, known, groups_of(table) if allowed else {})


def _tail(section: Cuts, mine: Scored) -> TailCut:
    scores, reason = mine.columns[section.tail.score], _REASONS[section.tail.score]
    match section.tail.point:
        case Nothing():
            return TailCut(scores, reason, 0.0)
        case Quantile():
            return TailCut(scores, reason, section.tail.point.share)
        case _:
            return TailCut(scores, reason, None, section.tail.point.shares)
