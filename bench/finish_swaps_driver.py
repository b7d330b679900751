"""Turns the pickled toxicity scorer into arrays, in a process of its own; started by ``bench.finish_swaps`` alone.

    python bench/finish_swaps_driver.py vectorizer.joblib model.joblib scorer.npz

The product loads no pickle; this bench does, here, of a package whose version and digest are pinned. The file holds the
words with their inverse document frequencies, and weights, intercepts and Platt's two numbers of each of the five
machines. ``probe`` and ``probe_toxic`` are texts and what the pickle itself says of them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np

PROBE = (
    "What a lovely day it was!",
    "You are a complete idiot, shut up.",
    "My neighbor is a gay man and a teacher.",
    "the the the",
    "A Muslim woman and a black man met at the station at 10 o'clock.",
    "This damn movie sucks, damn it.",
    "",
)


def main(vectorizer_path: Path, model_path: Path, target: Path) -> None:
    """Write the arrays to ``target``."""
    vectorizer, model = joblib.load(vectorizer_path), joblib.load(model_path)
    assert (vectorizer.norm, vectorizer.ngram_range, vectorizer.sublinear_tf) == ("l2", (1, 1), False)
    machines = model.calibrated_classifiers_
    words = sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
    np.savez(
        target,
        words=np.array(words),
        idf=vectorizer.idf_,
        weights=np.concatenate([one.estimator.coef_ for one in machines]),
        intercepts=np.concatenate([one.estimator.intercept_ for one in machines]),
        platt=np.array([[one.calibrators[0].a_, one.calibrators[0].b_] for one in machines]),
        probe=np.array(PROBE),
        probe_toxic=model.predict_proba(vectorizer.transform(PROBE))[:, 1],
    )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
