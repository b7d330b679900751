"""What the step `cuts` of every task does alike: rows and groups, points from the recipe, and what is written.

What a row is, and what its cuts are worth, each task knows itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse import cuts
from stillhouse.cuts import Balance, Cut
from stillhouse.distill import points
from stillhouse.distill.cutting import Decision, HeadCut
from stillhouse.distill.points import Point
from stillhouse.distill.prices import LEAST
from stillhouse.distill.scored import Scored
from stillhouse.documents import GROUP_PREFIX, MESSAGES
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.cuts import AnyHead, Given, Hard, Mixture, Nothing, Quantile, Risk
from stillhouse.recipe.model import Recipe
from stillhouse.workplace import FOLDERS

CUTS_SCHEMA = 1
ROWS = "rows.parquet"
FEINTS = "feints.parquet"

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def check_calibration(
    recipe: Recipe, heads: Sequence[AnyHead], points: Sequence[Any], calibration: str
) -> list[Problem]:
    """Calibration rows take a gold label, harm a group, and a promise without which the run stops takes such rows."""
    problems: list[Problem] = []
    if calibration == "validation" and all(source.columns.label is None for source in recipe.raw.sources):
        problems.append(
            Problem(
                "no source has gold labels, so validation documents cannot calibrate a cut",
                "distill.cuts.calibration",
                "map one in `raw.sources.*.columns.label`, or set it to none",
            )
        )
    known = {group for source in recipe.raw.sources for group in source.columns.groups}
    for place, (head, point) in enumerate(zip(heads, points, strict=True)):
        if calibration == "none" and isinstance(point, Risk) and point.unmet == "stop":
            problems.append(
                Problem(
                    f"{head.title} is to promise something or stop, and without calibration rows it cannot",
                    f"distill.cuts.heads.{place}.point.unmet",
                    "set `distill.cuts.calibration: validation`, or `unmet: keep`",
                )
            )
        if head.harm is not None and head.harm.group not in known:
            problems.append(
                Problem(
                    f"no source maps a group {head.harm.group!r}; mapped are: {', '.join(sorted(known)) or 'none'}",
                    f"distill.cuts.heads.{place}.harm.group",
                    "map it in `raw.sources.*.columns.groups`",
                )
            )
    return problems


@dataclass(frozen=True)
class Calibration:
    """Validation rows (M,) that may be looked at to choose points: their scores, which are wrong, of which that is
    known, and their groups."""

    scored: Scored
    wrong: Flags
    known: Flags
    groups: Mapping[str, Sequence[str | None]]

    def rows_for(self, head: AnyHead) -> tuple[Floats, Flags]:
        """Scores and what is bad of the rows about which it is known."""
        scores = self.scored.columns[head.title]
        if head.harm is None:
            return scores[self.known], self.wrong[self.known]
        values = self.groups.get(head.harm.group, [None] * len(scores))
        known = np.array([one is not None for one in values], dtype=bool)
        return scores[known], np.array([one == head.harm.value for one in values], dtype=bool)[known]


def groups_of(table: pa.Table) -> dict[str, list[str | None]]:
    """Each group column of documents, under the recipe's name for it."""
    names = [name for name in table.column_names if name.startswith(GROUP_PREFIX)]
    return {name.removeprefix(GROUP_PREFIX): table[name].to_pylist() for name in names}


def judged_groups(classes: Sequence[str] | None, groups: Mapping[str, Sequence[str | None]]) -> dict[str, Flags]:
    """Rows of each label and group value that is large enough to be judged on its own."""
    found: dict[str, Flags] = {}
    kinds: dict[str, Sequence[str | None]] = {} if classes is None else {"label": classes}
    kinds |= {f"group {name}": values for name, values in groups.items()}
    for kind, values in kinds.items():
        rows_of: dict[str, list[int]] = {}
        for row, value in enumerate(values):
            if value is not None:
                rows_of.setdefault(value, []).append(row)
        for value in sorted(value for value, rows in rows_of.items() if len(rows) >= LEAST):
            mine: Flags = np.zeros(len(values), dtype=np.bool_)
            mine[rows_of[value]] = True
            found[f"{kind} {value}"] = mine
    return found


def rows_of(table: pa.Table, ids: Sequence[str]) -> pa.Table:
    """The documents with these ids, in their order."""
    place = {identifier: row for row, identifier in enumerate(table["id"].to_pylist())}
    return table.take(pa.array([place[one] for one in ids], pa.int64()))


def head_cut(head: AnyHead, point: Any, place: int, mine: Scored, calibration: Calibration, *, proven: bool) -> HeadCut:
    """A head with its point. proven: it is to make the student better, and not to keep harm from others.

    A point that masks tokens, or none, lets every row stay.
    """
    scores = mine.columns[head.title]
    match point:
        case Nothing():
            found, proven = Point("none", None, "not cut"), False
        case Hard():
            found, proven = points.hard(), False
        case Given():
            found, proven = points.at(point.at), False
        case Quantile():
            found, proven = points.quantile(scores, point.share), False
        case Mixture():
            found = points.mixture(scores)
        case Risk():
            found = _risk(head, point, calibration, f"distill.cuts.heads.{place}.point")
        case _:
            found, proven = Point("mask", None, "its tokens are read and not learned"), False
    firm = isinstance(point, Risk) and point.unmet == "stop" and point.of == "kept"
    return HeadCut(head.title, scores, found, proven=proven, firm=firm)


def _risk(head: AnyHead, point: Risk, calibration: Calibration, where: str) -> Point:
    scores, bad = calibration.rows_for(head)
    if len(scores):
        found = points.risk(scores, bad, epsilon=point.epsilon, confidence=point.confidence, of=point.of)
    else:
        found = Point("risk", None, "no calibration rows, so nothing can be promised and nothing leaves")
    if "bound" not in found.evidence and point.unmet == "stop":
        raise StillhouseError(
            f"`{head.title}`: {found.why}",
            where=where,
            fix="label more validation documents (`raw.split.validation`, `distill.cuts.calibration: validation`), or"
            " allow more (`epsilon`)",
        )
    return found


@dataclass(frozen=True)
class Shown:
    """How N rows are written down: their documents, what of them is taught, and what each is called.

    text: what the chart shows and the ledger keeps. taught: a few words. columns: more of ``rows.parquet``.
    """

    documents: pa.Table
    text: Sequence[str]
    taught: Sequence[str]
    details: Sequence[str]
    columns: Mapping[str, pa.Array]


def write(draft: Path, shown: Shown, mine: Scored, decision: Decision) -> None:
    """The rows, the ledger, and the documents of the tail, each once, as documents of their own."""
    fate = decision.fate
    pq.write_table(
        pa.table(
            {
                "id": pa.array(mine.ids, pa.string()),
                "cut": pa.array([one.cut if one else "heart" for one in fate], pa.string()),
                "reason": pa.array([one.reason if one else None for one in fate], pa.string()),
                "taught": pa.array(shown.taught, pa.string()),
                "text": pa.array(shown.text, pa.string()),
                "origin": shown.documents["origin"],
                **shown.columns,
                **{f"score_{name}": pa.array(values, pa.float64()) for name, values in mine.columns.items()},
            }
        ),
        draft / ROWS,
    )
    sources, origins = (shown.documents[name].to_pylist() for name in ("source", "origin"))
    cuts.write(
        draft,
        [
            Cut(
                FOLDERS["cuts"],
                one.cut,
                one.reason,
                sources[place],
                origins[place],
                id=mine.ids[place],
                score=one.score,
                threshold=one.threshold,
                detail=shown.details[place],
                content=shown.text[place],
            )
            for place, one in enumerate(fate)
            if one is not None
        ],
    )
    first = {
        identifier: place
        for place, identifier in reversed(list(enumerate(shown.documents["id"].to_pylist())))
        if (one := fate[place]) is not None and one.cut == "tail"
    }
    pq.write_table(_drawable(shown.documents.take(pa.array(sorted(first.values()), pa.int64()))), draft / FEINTS)


def _drawable(table: pa.Table) -> pa.Table:
    """Documents as stage 1 reads them again: by their turns where there are any, a plain text among them as a turn of
    the user, which is how it is asked; else by their text."""
    if "messages" not in table.column_names:
        return table
    if table["messages"].null_count == len(table):
        return table.drop_columns(["messages"])
    turns = [
        found or [{"role": "user", "content": text}]
        for found, text in zip(table["messages"].to_pylist(), table["text"].to_pylist(), strict=True)
    ]
    place = table.column_names.index("messages")
    return table.set_column(place, "messages", pa.array(turns, MESSAGES)).drop_columns(["text"])


def told(
    decision: Decision, heads: Sequence[AnyHead], *, tail: str | None, quotas: bool, figure: str = "accuracy"
) -> dict[str, Any]:
    """What ``cuts.json`` says. tail: the name of its score, where there is one. figure: what proxies are judged by."""
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
            for head in heads
        ],
        "tail": {
            "score": tail,
            "kind": decision.tail.kind,
            "threshold": decision.tail_threshold,
            "why": decision.tail.why,
            "share": decision.tail.evidence.get("share", 0.0),
            "removed": sum(one is not None and one.cut == "tail" for one in decision.fate),
            "rungs": [rung.as_json(figure) for rung in pilot.rungs] if pilot else [],
            "rows_trained": pilot.rows_trained if pilot else 0,
        },
        "quotas": quotas,
        "prices": [price.as_json(figure) for price in decision.prices],
        "strata": [asdict(rate) for rate in decision.rates],
        "notes": list(decision.notes),
    }


def summary_of(decision: Decision, *, gold: int) -> dict[str, Any]:
    """What the step says of itself. gold: calibration labels that were looked at."""
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
