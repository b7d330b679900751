"""A small proxy of the student: a linear probe on what its base computes in the first two layers.

It stands in for the student where many trainings are compared: who is taught what, and what leaving rows out would
cost. A fit takes a fraction of a second and no random number.

    features = encode(base, texts, max_length=64)         # (N, H), once
    probe = fit(features, taught)                          # taught (N, K)
    probe(features)                                        # (N, K)
    predicted = out_of_fold(features, taught, folds, keep=trusted(features, taught, folds))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.distill.scores.labels import Floats, label_doubt
from stillhouse.statistics.inputs import scipy_part
from stillhouse.store import digest_of
from stillhouse.student import batches

LAYERS = (
    2  # of the quickstart's encoder, the first two gave a better probe than the first, three spread ones, or all six
)
FOLDS = 5
_LATENT = 256  # dimensions of a student without weights of its own
_SUSPECTS = 0.15  # rows in most doubt that the second round of out-of-fold predictions does not learn from
_BATCH = 64
EPOCHS = 5  # that are watched of a probe in training
_STEP = 64  # rows
_RATE = 0.05  # of Adagrad

Matrix = npt.NDArray[np.float32]
Probe = Callable[[Matrix], Floats]


def encode(
    base: Path, texts: Sequence[str], *, max_length: int, progress: Callable[[int, int], None] | None = None
) -> Matrix:
    """The mean over each text's tokens of the second layer's states, (N, H). Cost: two layers forward.

    base: an encoder's folder. Texts are batched by length; longer ones are cut off at ``max_length`` tokens.
    """
    import torch
    from transformers import AutoConfig

    from stillhouse.distill.students import keep_layers

    layers = AutoConfig.from_pretrained(base, local_files_only=True).num_hidden_layers
    model, tokenizer = keep_layers(base, labels=("no", "yes"), keep=list(range(min(LAYERS, layers))), seed=0)
    body: Any = model.base_model.eval()
    done = 0
    found = np.zeros((len(texts), body.config.hidden_size), dtype=np.float32)
    for rows, batch in batches(tokenizer, texts, max_length=max_length, batch_size=_BATCH):
        with torch.inference_mode():
            states = body(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        found[rows] = ((states * mask).sum(1) / mask.sum(1)).float().numpy()
        done += len(rows)
        if progress:
            progress(done, len(texts))
    return found


def latent(texts: Sequence[str]) -> Matrix:
    """Features for a student that starts from random weights: latent semantic analysis of the words, (N, <= 256)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\S+").fit_transform(list(texts))  # noqa: S106
    size = min(_LATENT, *(side - 1 for side in words.shape))
    if size < 1:
        return np.zeros((len(texts), 1), dtype=np.float32)
    found: Matrix = TruncatedSVD(size, random_state=0).fit_transform(words).astype(np.float32)
    return found


def fit(features: Matrix, taught: Floats) -> Probe:
    """Multinomial logistic regression on soft labels (N, K): each row counts once for each label, by its probability.

    A label that no row has any probability of is never predicted. Features are standardized and weights have a normal
    prior of variance 1/H, so that logits are of size one before anything is learned, however many features there are.
    """
    from threadpoolctl import threadpool_limits

    classes = taught.shape[1]
    middle, spread = features.mean(0), features.std(0) + 1e-6
    seen = np.nonzero((taught > 0).any(0))[0]
    if len(seen) < 2:
        return lambda asked: np.eye(classes)[np.full(len(asked), int(seen[0]))]
    scaled = (features - middle) / spread
    # on one thread: sums in one order, so that cuts are the same on every machine; at this size it is faster, too
    with threadpool_limits(1):
        weights = (_of_two if len(seen) == 2 else _of_many)(scaled, taught[:, seen]).astype(np.float32)

    def probe(asked: Matrix) -> Floats:
        found = np.zeros((len(asked), classes))
        found[:, seen] = _softmax((asked - middle) / spread @ weights[:-1] + weights[-1])
        return found

    return probe


# Both take each row once, with all its probabilities: a row for each label, which is what scikit-learn takes, would be
# K times the memory and the time. Its objectives and its stopping rule, so that the optimum is its own.
def _of_two(scaled: Matrix, taught: Floats) -> Floats:
    """Weights (H + 1, 2), the intercept last, those of the first label 0."""
    size, mass = scaled.shape[1], taught.sum(1)
    whole = float(mass.sum())
    prior = size / whole

    def loss(flat: Floats) -> tuple[float, Floats]:
        logits = (scaled @ flat[:-1].astype(np.float32)).astype(np.float64) + flat[-1]
        value = float((mass * np.logaddexp(0, logits) - taught[:, 1] * logits).sum()) / whole
        gap = (mass * scipy_part("special").expit(logits) - taught[:, 1]) / whole
        slope = (gap.astype(np.float32) @ scaled).astype(np.float64) + prior * flat[:-1]
        return value + prior * float(flat[:-1] @ flat[:-1]) / 2, np.append(slope, gap.sum())

    found = _least(loss, size + 1)
    return np.stack([np.zeros_like(found), found], 1)


def _of_many(scaled: Matrix, taught: Floats) -> Floats:
    """Weights (H + 1, K) of more than two labels, the intercept last."""
    (rows, size), labels = scaled.shape, taught.shape[1]
    inputs = np.concatenate([scaled, np.ones((rows, 1))], 1, dtype=np.float64)
    mass = taught.sum(1, keepdims=True)
    whole = float(mass.sum())
    prior = np.full((size + 1, 1), size / whole)
    prior[-1] = 0.0  # the intercept

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, labels)
        logits = inputs @ weights
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(1, keepdims=True)
        value = float((mass * np.log(total)).sum() - (taught * logits).sum()) / whole
        shares *= mass / total
        slope = inputs.T @ ((shares - taught) / whole) + prior * weights
        return value + float((prior * weights**2).sum()) / 2, slope.reshape(-1)

    return _least(loss, (size + 1) * labels).reshape(-1, labels)


def _least(loss: Callable[[Floats], tuple[float, Floats]], numbers: int) -> Floats:
    """Where a loss, which comes with its slope, is least, from 0."""
    options = {"maxiter": 500, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps, "maxls": 50}
    minimize = scipy_part("optimize").minimize
    found: Floats = minimize(loss, np.zeros(numbers), jac=True, method="L-BFGS-B", options=options).x
    return found


def folds_of(ids: Sequence[str], *, seed: int, folds: int = FOLDS) -> npt.NDArray[np.int64]:
    """A fold for each row, from its id alone: the same on every machine, and for a row whatever else there is."""
    return np.array([int(digest_of([seed, one])[:8], 16) % folds for one in ids], dtype=np.int64)


def out_of_fold(
    features: Matrix, taught: Floats, folds: npt.NDArray[np.int64], *, keep: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """Predictions (N, K) about every row by a probe fitted on the kept rows of all other folds."""
    keep = np.ones(len(taught), dtype=bool) if keep is None else keep
    found = np.zeros(taught.shape)
    for fold in np.unique(folds):
        mine = folds == fold
        found[mine] = held_out(features, taught, mine, keep=keep)
    return found


def held_out(features: Matrix, taught: Floats, mine: npt.NDArray[np.bool_], *, keep: npt.NDArray[np.bool_]) -> Floats:
    """Predictions about the rows ``mine`` (N,) by a probe fitted on the kept rows among the others; without any such
    row all labels are as likely."""
    training = ~mine & keep
    if not training.any():
        return np.full((int(mine.sum()), taught.shape[1]), 1 / taught.shape[1])
    return fit(features[training], taught[training])(features[mine])


def by_epochs(
    features: Matrix,
    taught: Floats,
    folds: npt.NDArray[np.int64],
    *,
    ids: Sequence[str] | None = None,
    epochs: int = EPOCHS,
) -> Floats:
    """What a probe in training says of rows that it does not learn, after each epoch: (E, N, K).

    The same model as :func:`fit`, on soft labels and with its prior, but trained from zero by passes over the rows of
    the other folds, in an order that their ids decide, or their places without any, and no seed; with a step that falls
    as 1/√steps (Adagrad, Duchi et al. 2011).
    Only its course is of interest, see :func:`stillhouse.distill.scores.stable_ease`; where it ends :func:`fit` is.
    """
    size = taught.shape[1]
    names: Sequence[str | int] = range(len(taught)) if ids is None else ids
    found = np.full((epochs, *taught.shape), 1 / size)
    for fold in np.unique(folds):
        mine = folds == fold
        learned = np.nonzero(~mine)[0]
        if not len(learned):
            continue
        middle, spread = features[learned].mean(0), features[learned].std(0) + 1e-6
        inputs = np.concatenate([(features - middle) / spread, np.ones((len(features), 1))], 1)
        weights, seen = np.zeros((inputs.shape[1], size)), np.full((inputs.shape[1], size), 1e-8)
        prior = np.full((inputs.shape[1], 1), features.shape[1] / len(learned))
        prior[-1] = 0.0  # the intercept
        order = np.array(sorted(learned, key=lambda row: digest_of(["epochs", names[int(row)]])))
        for epoch in range(epochs):
            for at in range(0, len(order), _STEP):
                rows = order[at : at + _STEP]
                gap = _softmax(inputs[rows] @ weights) - taught[rows]
                slope = inputs[rows].T @ gap / len(rows) + prior * weights
                seen += slope**2
                weights -= _RATE * slope / np.sqrt(seen)
            found[epoch, mine] = _softmax(inputs[mine] @ weights)
    return found


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    found: Floats = shifted / shifted.sum(1, keepdims=True)
    return found


def trusted(features: Matrix, taught: Floats, folds: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Rows (N,) that proxies learn from: all but those that a first round of out-of-fold predictions doubts most.

    Wrong labels pull a probe towards them and so hide. On the quickstart with 15 % of the labels turned round, probes
    of these rows found as many of them as probes that were taught the right labels; probes of all rows 4 to 8 % fewer.
    """
    doubt = label_doubt(taught, out_of_fold(features, taught, folds))
    found: npt.NDArray[np.bool_] = doubt <= np.quantile(doubt, 1 - _SUSPECTS)
    return found
