"""The step `cuts`: head, heart and tail of the training documents, with their price.

Reads ``1-raw``, ``2-ferment`` and ``3-scores``; writes ``rows.parquet`` (every training row with its scores and its
cut), ``cuts.parquet`` (the ledger of those that left, with their text), ``feints.parquet`` (the tail, to be drawn from
by a later run) and ``cuts.json`` (points, prices, pilot, strata). Gold labels of validation documents are read where
``distill.cuts.calibration`` says so, and then only to choose points.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse import cuts, documents
from stillhouse.cuts import Balance, Cut
from stillhouse.distill import points
from stillhouse.distill.cutting import Decision, HeadCut, Rows, TailCut, decide
from stillhouse.distill.prices import LEAST, Proving
from stillhouse.distill.probe import folds_of
from stillhouse.distill.quotas import strata_of
from stillhouse.distill.scored import Scored
from stillhouse.documents import GROUP_PREFIX
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.cuts import Cuts, Given, Hard, Head, Mixture, Nothing, Quantile, Risk
from stillhouse.signals import ClassProbs, Vectors
from stillhouse.store import reached, write_json
from stillhouse.workplace import FOLDERS, Places, Progress, StageResult

VERSION = 1
LIBRARIES = ("scikit-learn", "numpy")
CUTS_SCHEMA = 1
ROWS = "rows.parquet"
FEINTS = "feints.parquet"
_ABOUT_LABELS = ("label-doubt", "teacher-noise")  # what would make the student worse, rather than harm others
_REASONS = {"ease": "taught already", "teacher-noise": "teachers do not agree"}

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """Calibration rows take a gold label, harm a group."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101 - the plan has no such step otherwise
    problems: list[Problem] = []
    if section.calibration == "validation" and all(source.columns.label is None for source in recipe.raw.sources):
        problems.append(
            Problem(
                "no source has gold labels, so validation documents cannot calibrate a cut",
                "distill.cuts.calibration",
                "map one in `raw.sources.*.columns.label`, or set it to none",
            )
        )
    known = {group for source in recipe.raw.sources for group in source.columns.groups}
    for place, head in enumerate(section.heads):
        if head.harm is not None and head.harm.group not in known:
            problems.append(
                Problem(
                    f"no source maps a group {head.harm.group!r}; mapped are: {', '.join(sorted(known)) or 'none'}",
                    f"distill.cuts.heads.{place}.harm.group",
                    "map it in `raw.sources.*.columns.groups`",
                )
            )
    return problems


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101
    started = time.perf_counter()
    signal = ClassProbs.read(places.sealed("ferment"))
    scored = Scored.read(places.sealed("scores"))
    mine = scored.of_split("train")
    table = _rows_of(documents.read(places.sealed("raw"), "train"), mine.ids)
    taught = signal.probabilities_for(mine.ids)
    classes = [recipe.labels[label] for label in taught.argmax(1)]
    sources = table["source"].to_pylist()
    groups = _groups_of(table)
    progress("cutting", 0, 1)
    calibration = _Calibration.read(recipe, places, signal, scored)
    heads = [_head(head, place, mine, calibration) for place, head in enumerate(section.heads)]
    rules = [cut.point.leaves(cut.scores) for cut in heads if cut.point.kind == "hard"]
    proving = Proving(
        Vectors.read(places.sealed("scores")).values_for(mine.ids),
        taught,
        folds_of(mine.ids, seed=section.seed, folds=section.folds),
        _judged_groups(classes, groups),
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
    _write(places.draft, table, mine, classes, decision)
    reached("cuts-written")
    summary = _summary(decision, gold=calibration.read_labels)
    write_json(places.draft / "cuts.json", {"schema": CUTS_SCHEMA, **_told(decision, section), "summary": summary})
    progress("cutting", 1, 1)
    return StageResult(summary, {"decided_in_seconds": round(time.perf_counter() - started, 3)})


class _Calibration:
    """Validation documents whose gold labels may be looked at: what is wrong or harmful among them, with scores."""

    def __init__(self, scored: Scored, wrong: Flags, known: Flags, groups: dict[str, list[str | None]]) -> None:
        self.scored, self._wrong, self._known, self._groups = scored, wrong, known, groups
        self.read_labels = int(known.sum())

    @classmethod
    def read(cls, recipe: Classification, places: Places, signal: ClassProbs, scored: Scored) -> _Calibration:
        held = scored.of_split("validation")
        table = _rows_of(documents.read(places.sealed("raw"), "validation"), held.ids)
        groups = _groups_of(table)
        assert recipe.distill.cuts is not None  # noqa: S101
        allowed = recipe.distill.cuts.calibration == "validation"
        gold = table["label"].to_pylist() if allowed else [None] * len(held.ids)
        said = [recipe.labels[label] for label in signal.probabilities_for(held.ids).argmax(1)] if held.ids else []
        known = np.array([one is not None for one in gold], dtype=bool)
        wrong = np.array([one is not None and one != other for one, other in zip(gold, said, strict=True)], dtype=bool)
        return cls(held, wrong, known, groups if allowed else {})

    def rows_for(self, head: Head) -> tuple[Floats, Flags]:
        """Scores and what is bad, (M,) each, of the rows about which it is known."""
        scores = self.scored.columns[head.title]
        if head.harm is None:
            return scores[self._known], self._wrong[self._known]
        values = self._groups.get(head.harm.group, [None] * len(scores))
        known = np.array([one is not None for one in values], dtype=bool)
        return scores[known], np.array([one == head.harm.value for one in values], dtype=bool)[known]


def _groups_of(table: pa.Table) -> dict[str, list[str | None]]:
    """Each group column of documents, under the recipe's name for it."""
    names = [name for name in table.column_names if name.startswith(GROUP_PREFIX)]
    return {name.removeprefix(GROUP_PREFIX): table[name].to_pylist() for name in names}


def _rows_of(table: pa.Table, ids: tuple[str, ...]) -> pa.Table:
    """The documents with these ids, in their order."""
    place = {identifier: row for row, identifier in enumerate(table["id"].to_pylist())}
    return table.take(pa.array([place[one] for one in ids], pa.int64()))


def _head(head: Head, place: int, mine: Scored, calibration: _Calibration) -> HeadCut:
    scores = mine.columns[head.title]
    where = f"distill.cuts.heads.{place}.point"
    proven = head.score in _ABOUT_LABELS  # harm leaves whatever that costs
    match head.point:
        case Nothing():
            return HeadCut(head.title, scores, points.Point("none", None, "not cut"), proven=False)
        case Hard():
            return HeadCut(head.title, scores, points.hard(), proven=False)
        case Given():
            return HeadCut(head.title, scores, points.at(head.point.at), proven=False)
        case Quantile():
            return HeadCut(head.title, scores, points.quantile(scores, head.point.share), proven=False)
        case Mixture():
            return HeadCut(head.title, scores, points.mixture(scores), proven=proven)
        case Risk():
            return HeadCut(head.title, scores, _risk(head, head.point, calibration, where), proven=proven)


def _risk(head: Head, point: Risk, calibration: _Calibration, where: str) -> points.Point:
    scores, bad = calibration.rows_for(head)
    if len(scores):
        found = points.risk(scores, bad, epsilon=point.epsilon, confidence=point.confidence, of=point.of)
    else:
        found = points.Point("risk", None, "no calibration rows, so nothing can be promised and nothing leaves")
    if "bound" not in found.evidence and point.unmet == "stop":
        raise StillhouseError(
            f"`{head.title}`: {found.why}",
            where=where,
            fix="label more validation documents (`raw.split.validation`, `distill.cuts.calibration: validation`), or"
            " allow more (`epsilon`)",
        )
    return found


def _tail(section: Cuts, mine: Scored) -> TailCut:
    scores, reason = mine.columns[section.tail.score], _REASONS[section.tail.score]
    match section.tail.point:
        case Nothing():
            return TailCut(scores, reason, 0.0)
        case Quantile():
            return TailCut(scores, reason, section.tail.point.share)
        case _:
            return TailCut(scores, reason, None, section.tail.point.shares)


def _judged_groups(classes: list[str], groups: dict[str, list[str | None]]) -> dict[str, Flags]:
    """Rows of each label and group value that is large enough to be judged on its own."""
    found: dict[str, Flags] = {}
    kinds: dict[str, Sequence[str | None]] = {"label": classes, **groups}
    for kind, values in kinds.items():
        for value in sorted({one for one in values if one is not None}):
            mine: Flags = np.array([one == value for one in values], dtype=np.bool_)
            if mine.sum() >= LEAST:
                found[f"{kind} {value}"] = mine
    return found


def _write(draft: Path, table: pa.Table, mine: Scored, classes: list[str], decision: Decision) -> None:
    """The rows, the ledger, and the tail as documents of their own."""
    fate = decision.fate
    pq.write_table(
        pa.table(
            {
                "id": pa.array(mine.ids, pa.string()),
                "cut": pa.array([one.cut if one else "heart" for one in fate], pa.string()),
                "reason": pa.array([one.reason if one else None for one in fate], pa.string()),
                "taught": pa.array(classes, pa.string()),
                "text": table["text"],
                "origin": table["origin"],
                **{f"score_{name}": pa.array(values, pa.float64()) for name, values in mine.columns.items()},
            }
        ),
        draft / ROWS,
    )
    rows = table.to_pylist()
    cuts.write(
        draft,
        [
            Cut(
                FOLDERS["cuts"],
                one.cut,
                one.reason,
                rows[place]["source"],
                rows[place]["origin"],
                id=mine.ids[place],
                score=one.score,
                threshold=one.threshold,
                detail=f"taught as {classes[place]}",
                content=rows[place]["text"],
            )
            for place, one in enumerate(fate)
            if one is not None
        ],
    )
    tail = pa.array([one is not None and one.cut == "tail" for one in fate], pa.bool_())
    pq.write_table(table.filter(tail), draft / FEINTS)


def _told(decision: Decision, section: Cuts) -> dict[str, Any]:
    """What ``cuts.json`` says."""
    pilot = decision.pilot
    return {
        "heads": [
            {
                "name": head.title,
                "score": head.score,
                "kind": decision.heads[head.title].kind,
                "threshold": decision.heads[head.title].threshold,
                "why": decision.heads[head.title].why,
                "evidence": decision.heads[head.title].evidence,
                "removed": sum(one is not None and one.reason == head.title for one in decision.fate),
            }
            for head in section.heads
        ],
        "tail": {
            "score": section.tail.score,
            "kind": decision.tail.kind,
            "threshold": decision.tail_threshold,
            "why": decision.tail.why,
            "share": decision.tail.evidence.get("share", 0.0),
            "removed": sum(one is not None and one.cut == "tail" for one in decision.fate),
            "rungs": [rung.as_json() for rung in pilot.rungs] if pilot else [],
            "rows_trained": pilot.rows_trained if pilot else 0,
        },
        "quotas": section.quotas,
        "prices": [price.as_json() for price in decision.prices],
        "strata": [asdict(rate) for rate in decision.rates],
        "notes": list(decision.notes),
    }


def _summary(decision: Decision, *, gold: int) -> dict[str, Any]:
    fate = decision.fate
    kinds = [one.cut if one else "heart" for one in fate]
    reasons = cuts.counts([Cut(FOLDERS["cuts"], one.cut, one.reason, "", "") for one in fate if one is not None])
    balance = Balance(len(fate), kinds.count("heart"), len(fate) - kinds.count("heart"), 0).check(FOLDERS["cuts"])
    return {
        "rows_in": balance.rows_in,
        "kept": balance.kept,
        "cut": balance.cut,
        "failed": balance.failed,
        "head": kinds.count("head"),
        "heart": kinds.count("heart"),
        "tail": kinds.count("tail"),
        "cuts": reasons,
        "points": {
            **{name: point.why for name, point in decision.heads.items()},
            "tail": decision.tail.why,
        },
        "alarms": list(decision.notes),
        "calibration_labels_used": gold,
    }
