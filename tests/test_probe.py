"""The proxy: it says nothing about a row that it has learned, and its predictions are what the rows decide."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from stillhouse.distill.probe import by_epochs, encode, fit, folds_of, held_out, latent, out_of_fold, trusted
from tiny_world import World

N, H = 300, 12


def material(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    features = random.normal(size=(N, H)).astype(np.float32)
    positive = 1 / (1 + np.exp(-3 * features[:, 0]))
    return features, np.stack([1 - positive, positive], 1), np.arange(N) % 5


def test_what_a_row_is_taught_does_not_reach_what_is_predicted_of_it() -> None:
    features, taught, folds = material()
    before = out_of_fold(features, taught, folds)
    turned = taught.copy()
    turned[folds == 2] = turned[folds == 2][:, ::-1]
    after = out_of_fold(features, turned, folds)
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])


def test_a_row_that_is_not_kept_teaches_nothing() -> None:
    features, taught, folds = material()
    keep = np.arange(N) % 3 != 0
    turned = np.where(keep[:, None], taught, taught[:, ::-1])
    one, other = (out_of_fold(features, values, folds, keep=keep) for values in (taught, turned))
    assert np.array_equal(one, other)


def test_a_proxy_that_is_watched_says_nothing_of_what_it_learned_and_comes_to_say_what_a_fit_says() -> None:
    features, taught, folds = material()
    epochs = by_epochs(features, taught, folds, epochs=100)
    assert epochs.shape == (100, N, 2) and np.allclose(epochs.sum(2), 1)
    turned = taught.copy()
    turned[folds == 2] = turned[folds == 2][:, ::-1]
    assert np.array_equal(by_epochs(features, turned, folds, epochs=100)[:, folds == 2], epochs[:, folds == 2])
    fitted = out_of_fold(features, taught, folds)
    apart = [float(np.abs(one - fitted).mean()) for one in epochs]
    assert apart[-1] < 0.05 and apart[-1] < apart[0] / 2


def test_a_proxy_that_is_watched_takes_its_rows_by_their_ids_whatever_order_they_come_in() -> None:
    features, taught, folds = material()
    order, ids = np.random.default_rng(6).permutation(N), [f"{row:03}" for row in range(N)]
    whole = by_epochs(features, taught, folds, ids=ids, epochs=2)
    moved = by_epochs(features[order], taught[order], folds[order], ids=[ids[row] for row in order], epochs=2)
    assert np.allclose(moved, whole[:, order], atol=1e-6)
    assert not np.allclose(
        by_epochs(features[order], taught[order], folds[order], epochs=2), whole[:, order], atol=1e-3
    )


def test_soft_labels_are_learned_as_such() -> None:
    features, taught, _ = material()
    probe = fit(features, np.tile([0.3, 0.7], (N, 1)))
    assert np.allclose(probe(features), [0.3, 0.7], atol=1e-3)
    found = fit(features, taught)(features)
    assert np.allclose(found.sum(1), 1) and (found.argmax(1) == taught.argmax(1)).mean() > 0.9


def test_of_many_labels_a_fit_is_scikit_learns_in_the_memory_of_the_rows_alone() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(2)
    features = random.normal(size=(1000, 24)).astype(np.float32)
    logits = features @ random.normal(size=(24, 30)) / 3
    taught = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    fit(features[:50], taught[:50])  # loads what it needs
    tracemalloc.start()
    found = fit(features, taught)(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * (taught.nbytes + features.nbytes)  # a row for each label takes 30 times the features, and more
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = LogisticRegression(C=1 / 24, max_iter=500, tol=1e-6)
    model.fit(np.tile(scaled, (30, 1)), np.repeat(np.arange(30), 1000), sample_weight=taught.T.reshape(-1))
    assert np.abs(found - model.predict_proba(scaled)).max() < 0.003


def test_of_two_labels_too_and_each_row_is_there_once() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(3)
    features = random.normal(size=(8000, 64)).astype(np.float32)
    positive = 1 / (1 + np.exp(-2 * features[:, 0] - random.normal(size=8000)))
    taught = np.stack([1 - positive, positive, np.zeros(8000)], 1)  # of the third there is none
    fit(features[:50], taught[:50])
    tracemalloc.start()
    probe = fit(features, taught)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * features.nbytes  # scaled features, and room to make them
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = LogisticRegression(C=1 / 64, max_iter=500, tol=1e-6)
    model.fit(np.tile(scaled, (2, 1)), np.repeat([0, 1], 8000), sample_weight=taught[:, :2].T.reshape(-1))
    found = probe(features)
    assert np.abs(found[:, :2] - model.predict_proba(scaled)).max() < 0.003 and (found[:, 2] == 0).all()


def test_a_label_that_nobody_is_taught_is_never_predicted() -> None:
    features, taught, _ = material()
    wide = np.concatenate([taught, np.zeros((N, 1))], 1)
    assert (fit(features, wide)(features)[:, 2] == 0).all()
    only = np.tile([0.0, 1.0, 0.0], (N, 1))
    assert (fit(features, only)(features) == [0, 1, 0]).all()


def test_without_a_row_to_learn_from_all_labels_are_as_likely() -> None:
    features, taught, folds = material()
    assert np.allclose(held_out(features, taught, folds == 0, keep=folds == 0), 0.5)


def test_turned_labels_are_found_nearly_as_well_as_by_a_proxy_that_learned_the_right_ones() -> None:
    from stillhouse.distill.scores import label_doubt

    features, taught, folds = material(3)
    turned = np.random.default_rng(4).random(N) < 0.15
    wrong = np.where(turned[:, None], taught[:, ::-1], taught)

    def found(labels: np.ndarray) -> float:
        predicted = out_of_fold(features, labels, folds, keep=trusted(features, labels, folds))
        doubt = label_doubt(wrong, predicted)
        return float((doubt[turned] > np.quantile(doubt[~turned], 0.95)).mean())

    assert found(wrong) >= 0.9 * found(taught) > 0.3


def test_a_fold_depends_on_the_row_alone() -> None:
    ids = [f"{row:032x}" for row in range(500)]
    whole = folds_of(ids, seed=0)
    assert np.array_equal(folds_of(ids[::-1], seed=0), whole[::-1])
    assert not np.array_equal(folds_of(ids, seed=1), whole)
    assert np.bincount(whole, minlength=5).min() > 70


def test_features_of_a_text_do_not_depend_on_its_batch(world: World) -> None:
    texts = ["great fine warm", "dull", "grim day of rain and more rain"] * 30
    whole = encode(world.encoder, texts, max_length=32)
    alone = encode(world.encoder, texts[2:3], max_length=32)
    assert np.allclose(whole[2], alone[0], atol=1e-5) and np.allclose(whole[:3], whole[3:6], atol=1e-5)


@pytest.mark.parametrize("texts", [["one two", "three two", "one four"], ["same", "same"], ["a b c"] * 3 + ["d e f"]])
def test_latent_features_exist_for_few_texts_too(texts: list[str]) -> None:
    found = latent(texts)
    assert len(found) == len(texts) and np.isfinite(found).all()
