"""Turns a pickled linear text classifier into arrays: run as a process of its own, and by the bench alone.

    python -m bench.finish_bias_convert FOLDER OUT     # model.joblib and vectorizer.joblib -> OUT.npz and OUT.json

A pickle can run anything, so no name is looked up but those listed here, all of them numbers and containers of numbers.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ALLOWED = {
    ("joblib.numpy_pickle", "NumpyArrayWrapper"),
    ("numpy", "dtype"),
    ("numpy", "float64"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "scalar"),
    ("sklearn.calibration", "CalibratedClassifierCV"),
    ("sklearn.calibration", "_CalibratedClassifier"),
    ("sklearn.calibration", "_SigmoidCalibration"),
    ("sklearn.feature_extraction.text", "TfidfTransformer"),
    ("sklearn.feature_extraction.text", "TfidfVectorizer"),
    ("sklearn.svm._classes", "LinearSVC"),
}


def read(path: Path) -> Any:
    """The object in a joblib file; a name that is not allowed is an error before it is looked up."""
    from joblib.numpy_pickle import NumpyUnpickler

    class Narrow(NumpyUnpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) not in ALLOWED:
                raise ValueError(f"{path.name} asks for {module}.{name}")
            return super().find_class(module, name)

    with path.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # written by another version of scikit-learn; only arrays are taken
        return Narrow(str(path), stream, ensure_native_byte_order=True).load()


def convert(folder: Path, out: Path) -> None:
    """Five calibrated linear machines over TF-IDF, as plain arrays and a vocabulary."""
    model, vectorizer = read(folder / "model.joblib"), read(folder / "vectorizer.joblib")
    parts = model.calibrated_classifiers_
    np.savez(
        out.with_suffix(".npz"),
        weights=np.concatenate([part.estimator.coef_ for part in parts]),
        intercepts=np.concatenate([part.estimator.intercept_ for part in parts]),
        slopes=np.array([part.calibrators[0].a_ for part in parts]),
        offsets=np.array([part.calibrators[0].b_ for part in parts]),
        idf=np.asarray(vectorizer._tfidf.idf_),
    )
    words = {word: int(place) for word, place in vectorizer.vocabulary_.items()}
    about = {"stop_words": vectorizer.stop_words, "pattern": vectorizer.token_pattern, "vocabulary": words}
    out.with_suffix(".json").write_text(json.dumps(about), encoding="utf-8")


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
