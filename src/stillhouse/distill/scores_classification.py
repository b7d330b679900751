"""The step `scores`: what there is to know of each document before anything is cut. Gold labels are not read.

Reads ``1-raw`` and ``2-ferment``; writes ``scores.parquet`` and the proxy's features, ``signals/vectors.arrow``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stillhouse import documents
from stillhouse.distill.probe import Matrix, encode, fit, folds_of, latent, out_of_fold, trusted
from stillhouse.distill.score_step import check_classifiers, classified
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import Floats, ease, injected, label_doubt, refused, teacher_noise
from stillhouse.distill.stage_classification import base_folder
from stillhouse.errors import Problem
from stillhouse.recipe.classification import Classification, KeepLayers
from stillhouse.recipe.cuts import Head
from stillhouse.signals import ClassProbs, Vectors
from stillhouse.store import reached
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 3
LIBRARIES = ("torch", "transformers", "tokenizers", "scikit-learn", "scipy", "numpy")
READS = ("labels", "distill.student.kind", "distill.student.base", "distill.train.max_length")


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """Classifiers that are already here have to be model folders."""
    return check_classifiers(recipe.distill.cuts.heads if recipe.distill.cuts else (), cache, base)


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101 - the plan has no such step otherwise
    signal = ClassProbs.read(places.sealed("ferment"))
    known = set(signal.ids)
    ids: list[str] = []
    texts: list[str] = []
    splits: list[str] = []
    rows_in = 0
    for split in ("train", "validation"):
        table = documents.read(places.sealed("raw"), split)  # type: ignore[arg-type]
        rows_in += len(table)
        for identifier, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
            if identifier in known:
                ids.append(identifier)
                texts.append(text)
                splits.append(split)
    taught = signal.probabilities_for(ids)
    features = _features(recipe, places, texts, progress)
    training = np.array([split == "train" for split in splits])
    predicted = _predicted(features, taught, training, ids, seed=section.seed, folds=section.folds)
    columns = {
        "ease": ease(taught, predicted),
        "label-doubt": label_doubt(taught, predicted),
        "teacher-noise": teacher_noise(_each_teacher(recipe, places, signal, ids)),
    }
    by_proxy = frozenset(columns)  # a head's title is no name of these, but may be that of another head's score
    for head in section.heads:
        columns[head.title] = columns[head.score] if head.score in by_proxy else _of_text(head, texts, places)
    Scored(tuple(ids), tuple(splits), predicted, columns).write(places.draft)
    about = {"what": "features of the proxy", "base": recipe.distill.student.base}
    asked = tuple(signal.asked[row] for row in signal.rows_of(ids))
    Vectors(tuple(ids), asked, features, about).write(places.draft, "float16")
    reached("scores-written")
    agree = float((predicted[training].argmax(1) == taught[training].argmax(1)).mean()) if training.any() else None
    return StageResult(
        {
            "rows_in": len(ids),
            "kept": len(ids),
            "cut": 0,
            "failed": 0,
            "without_signal": rows_in - len(ids),
            "proxy_agreement": agree,
            "scores": sorted(columns),
        }
    )


def _features(recipe: Classification, places: Places, texts: list[str], progress: Progress) -> Matrix:
    """Of a student that starts from weights: what their first layers compute; of another one: words."""
    if not isinstance(recipe.distill.student, KeepLayers):
        return latent(texts)
    return encode(
        base_folder(recipe, cache=places.cache, base=places.base),
        texts,
        max_length=recipe.distill.train.max_length,
        progress=lambda done, total: progress("scoring", done, total),
    )


def _predicted(
    features: Matrix, taught: Floats, training: np.ndarray[Any, Any], ids: list[str], *, seed: int, folds: int
) -> Floats:
    """Of training rows by probes of the other folds, of validation rows by a probe of all of them: in both cases of the
    trusted ones, so that a score means the same on either side."""
    found = np.full(taught.shape, 1 / taught.shape[1])
    mine = [identifier for identifier, one in zip(ids, training, strict=True) if one]
    if mine:
        known, said, folds_ = features[training], taught[training], folds_of(mine, seed=seed, folds=folds)
        keep = trusted(known, said, folds_)
        found[training] = out_of_fold(known, said, folds_, keep=keep)
        if not training.all():
            found[~training] = fit(known[keep], said[keep])(features[~training])
    return found


def _each_teacher(recipe: Classification, places: Places, signal: ClassProbs, ids: list[str]) -> np.ndarray[Any, Any]:
    """(S, N, K): each teacher's own probabilities; those of the signal where a teacher gave none."""
    names = [teacher.name for teacher in recipe.ferment.teachers]
    common = signal.probabilities_for(ids)
    found = [common]
    if len(names) > 1:
        found = [common.copy() for _ in names]
        for name, probs in zip(names, found, strict=True):
            own = ClassProbs.read(places.sealed("ferment"), name)
            known = set(own.ids)
            rows = [row for row, one in enumerate(ids) if one in known]
            probs[rows] = own.probabilities_for([ids[row] for row in rows])
    return np.stack(found)


def _of_text(head: Head, texts: list[str], places: Places) -> Floats:
    if head.score == "refusal":
        return refused(texts)
    if head.score == "injection":
        return injected(texts)
    return classified(head, texts, places)
