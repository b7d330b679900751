"""Scores from probabilities: what was taught about a row, and what a student says that has not seen it.

``taught`` and ``predicted`` are (N, K), rows sum to one. Predictions are out of fold, see
:mod:`stillhouse.distill.probe`: about a row that it has learned a student says nothing new.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def label_doubt(taught: Floats, predicted: Floats) -> Floats:
    """How far teacher and student contradict each other about a row: 0 where their labels agree, up to 1.

    The total variation distance of the two, where the likeliest labels differ and the student is as sure of its own as
    it is on average of rows that bear that label; else half of it. That rule is confident learning's (Northcutt et al.
    2021, arXiv 1911.00068, the confident joint), which counts such rows as errors; the distance orders them, so that a
    teacher that was unsure weighs less than one that was sure and wrong. Cost: the predictions, nothing else.
    """
    given, other = taught.argmax(1), predicted.argmax(1)
    rows = np.arange(len(taught))
    usual = np.array([_mean(predicted[given == label, label]) for label in range(taught.shape[1])])
    confident = predicted[rows, other] >= usual[other]
    distance = np.abs(taught - predicted).sum(1) / 2
    found: Floats = np.where(given == other, 0.0, np.where(confident, distance, distance / 2))
    return found


def ease(taught: Floats, predicted: Floats) -> Floats:
    """exp(-KL(taught ‖ predicted)): 1 where the student says just what the teacher says, without having seen the row.

    Rows with a small loss teach little (loss-based pruning; see Sorscher et al. 2022, arXiv 2206.14486, who also show
    that leaving them out only pays where data are plentiful). Where the likeliest labels differ it is 0: nothing is
    known there yet. Cost: the predictions.
    """
    smallest = np.finfo(np.float64).tiny
    gap = np.log(np.maximum(taught, smallest)) - np.log(np.maximum(predicted, smallest))
    loss = np.maximum((taught * gap).sum(1), 0.0)
    found: Floats = np.where(taught.argmax(1) == predicted.argmax(1), np.exp(-loss), 0.0)
    return found


def stable_ease(taught: Floats, epochs: npt.NDArray[Any]) -> Floats:
    """Easy from the first epochs on: the mean of :func:`ease` over training, less how much it varies.

    epochs: (E, N, K), what a student that does not learn the row says of it after each of E epochs. mean − standard
    deviation, at least 0: the "easy-to-learn" corner of dataset cartography, high confidence and low variability
    (Swayamdipta et al. 2020, arXiv 2009.10795, whose confidence is that of the model that trains on the row). Cost: a
    probe trained by epochs, :func:`stillhouse.distill.probe.by_epochs`.
    """
    each = np.stack([ease(taught, said) for said in epochs])
    found: Floats = np.maximum(each.mean(0) - each.std(0), 0.0)
    return found


def teacher_noise(answers: npt.NDArray[Any]) -> Floats:
    """How unsure several teachers, or several samples of one, are about each row and how little they agree.

    answers: (S, N, K). The entropy of their mean, as a share of the most possible, times the share of the S whose
    likeliest label is not the mean's: 0 where all say the same, however unsure, since a soft label carries doubt
    already. With S = 1 all are 0. Cost: further teachers' answers.
    """
    mean = np.asarray(answers, dtype=np.float64).mean(0)
    entropy = -(mean * np.log(np.maximum(mean, np.finfo(np.float64).tiny))).sum(1) / np.log(mean.shape[1])
    apart = (answers.argmax(2) != mean.argmax(1)).mean(0)
    found: Floats = entropy * apart
    return found


def _mean(values: Floats) -> float:
    """The mean; of no values 1, which nothing passes by chance."""
    return float(values.mean()) if len(values) else 1.0
