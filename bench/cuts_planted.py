"""What is found of planted harm, by kind; of labels turned round, beside a detector that was taught the right ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.cuts_material import RECIPE, SETS, PlantedRun, planted_set
from bench.report import Figure, timed
from stillhouse import documents
from stillhouse.cuts import read as read_cuts
from stillhouse.distill.probe import folds_of, out_of_fold, trusted
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import label_doubt
from stillhouse.execute import run as execute
from stillhouse.signals import ClassProbs, Vectors

LOSS = 0.05  # of the heart, at which detectors are compared
# the reason for which a plant of this kind has to leave; one that left before for another is no evidence
HARD = {
    "refusal": "refusal",
    "identity": "refusal",
    "personal data": "personal data",
    "contamination": "contamination",
    "near copy": "near copy",
}


def planted_figures(*, quick: bool, work: Path) -> list[Figure]:
    """The table of each set."""
    found: list[Figure] = []
    for name in SETS[:1] if quick else SETS:
        with timed(f"set {name}"):
            found += _planted(name, planted_set(work, name, quick=quick), quick=quick)
    return found


def _planted(name: str, one: PlantedRun, *, quick: bool) -> list[Figure]:
    """Recall by kind over stage 1 and the cuts; of turned labels at an equal loss of the others, and at the cut."""
    run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
    gone = {row["origin"]: row for folder in ("1-raw", "3-cuts") for row in read_cuts(run / folder).to_pylist()}
    # rows of the validation and test splits are never taught, whatever they hold
    taught_rows = documents.read(run / "1-raw", "train")["origin"].to_pylist()
    by_kind: dict[str, list[bool]] = {kind: [] for kind in HARD}
    pairs: dict[int, list[str | None]] = {}
    lost = []
    for origin in dict.fromkeys([*gone, *taught_rows]):
        kind = one.row_of(origin)["planted"]
        why = gone[origin]["reason"] if origin in gone else None
        if kind is None:
            lost.append(why is not None and gone[origin]["cut"] == "head" and why != "label-doubt")
        elif kind == "near copy":
            pairs.setdefault(one.row_of(origin)["pair"], []).append(why)
        elif why in (None, HARD[kind]):
            by_kind[kind].append(why is not None)
    # one of the two stays
    by_kind["near copy"] = [any(both) for both in pairs.values() if set(both) <= {None, HARD["near copy"]}]
    found = [
        Figure(f"{name}: found of planted {kind}", mean(hits), f"of {len(hits)}", None if quick else (">=", 0.95))
        for kind, hits in by_kind.items()
    ]
    found.append(Figure(f"{name}: sound rows that a hard rule took", mean(lost), f"of {len(lost)}", ("<=", LOSS)))
    scored = Scored.read(run / "3-scores").of_split("train")
    taught = ClassProbs.read(run / "2-ferment").probabilities_for(scored.ids)
    turned = np.array([identifier in one.turned for identifier in scored.ids])
    features = Vectors.read(run / "3-scores").values_for(scored.ids)
    right = np.stack([one.taught[identifier] for identifier in scored.ids])
    folds = folds_of(scored.ids, seed=0)
    ideal = label_doubt(taught, out_of_fold(features, right, folds, keep=trusted(features, right, folds)))
    doubt = scored.columns["label-doubt"]
    gold = _gold(run, "train")
    known = np.array([gold.get(identifier) is not None for identifier in scored.ids])
    labels = list(one.recipe.labels)
    natural = np.array(
        [
            not mine and gold.get(identifier) is not None and labels[int(probs.argmax())] != gold[identifier]
            for identifier, probs, mine in zip(scored.ids, right, turned, strict=True)
        ]
    )

    def recall(scores: np.ndarray[Any, Any], which: np.ndarray[Any, Any]) -> float:
        return float((scores[which] > np.quantile(scores[~turned], 1 - LOSS)).mean())

    ratio = recall(doubt, turned) / recall(ideal, turned)
    taken = _taken(run, "label-doubt", scored.ids)
    sound = ~turned & ~natural & known
    return [
        *found,
        Figure(
            f"{name}: turned labels found at a loss of 5 % of the others",
            recall(doubt, turned),
            f"of {int(turned.sum())}",
        ),
        Figure("  by a detector taught the right labels", recall(ideal, turned)),
        Figure("  the one over the other", ratio, "x", None if quick else (">=", 0.9)),
        Figure("  the teacher's own errors found at that loss", recall(doubt, natural), f"of {int(natural.sum())}"),
        Figure("  the cut itself: turned labels taken", float(taken[turned].mean())),
        Figure("  the teacher's own errors taken", float(taken[natural].mean())),
        Figure("  rows with a right label taken", float(taken[sound].mean()), f"of {int(sound.sum())}", ("<=", LOSS)),
    ]


def _gold(run: Path, split: Any) -> dict[str, str | None]:
    table = documents.read(run / "1-raw", split)
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def _taken(run: Path, name: str, ids: Sequence[str]) -> np.ndarray[Any, Any]:
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    reasons = dict(zip(rows["id"], rows["reason"], strict=True))
    return np.array([reasons[one] == name for one in ids])
