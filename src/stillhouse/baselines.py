"""Plain baselines that never saw the teacher's insides: TF-IDF with logistic regression, and the majority label.

classifier = fit_tfidf(texts, labels, seed=0)
predicted = classifier(test_texts)                 # (N,) label numbers
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError

Ints = npt.NDArray[np.int64]


def fit_tfidf(texts: Sequence[str], labels: Ints, *, seed: int) -> Callable[[Sequence[str]], Ints]:
    """Fit word 1-2-gram TF-IDF and logistic regression on label numbers (N,); returns a predictor."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    if len(np.unique(labels)) < 2:
        only = int(labels[0])
        return lambda asked: np.full(len(asked), only, dtype=np.int64)
    pipeline = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b"),  # noqa: S106 - no password
        LogisticRegression(max_iter=1000, random_state=seed),
    )
    try:
        pipeline.fit(list(texts), labels)
    except ValueError as error:  # no word at all in the texts
        raise StillhouseError(
            f"the TF-IDF baseline cannot be fitted: {error}", where="finish", fix="check the training texts"
        ) from error
    return lambda asked: np.asarray(pipeline.predict(list(asked)), dtype=np.int64)


def majority(labels: Ints, size: int) -> Ints:
    """The most frequent of ``labels``, ``size`` times; the lowest number wins a tie."""
    return np.full(size, int(np.bincount(labels).argmax()), dtype=np.int64)
