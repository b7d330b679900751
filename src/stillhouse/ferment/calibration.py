"""Label-free calibration: a language model prefers some label words whatever the text; this takes that out.

Each method finds one additive bias per label on the log-probabilities; no gold label is used anywhere.

    bias = matched_bias(log_probs, prior)
    probs = apply_bias(log_probs, bias)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from stillhouse.signals import apply_bias

Floats = npt.NDArray[np.float64]

CONTENT_FREE = ("N/A", "", "...", "[text]")  # inputs that say nothing (Zhao et al. 2021, arXiv 2102.09690)


def uniform_bias(content_free_log_probs: Floats) -> Floats:
    """Bias (K,) that makes the mean answer to M content-free inputs (M, K) undecided (Zhao et al. 2021)."""
    mean = apply_bias(content_free_log_probs, np.zeros(content_free_log_probs.shape[1])).mean(axis=0)
    return _centered(-np.log(mean))


def batch_bias(log_probs: Floats) -> Floats:
    """Bias (K,) that divides by the mean probability over unlabelled texts (Zhou et al. 2023, arXiv 2309.17249)."""
    return _centered(-np.log(apply_bias(log_probs, np.zeros(log_probs.shape[1])).mean(axis=0)))


def matched_bias(log_probs: Floats, prior: Floats, *, tolerance: float = 1e-10, rounds: int = 10_000) -> Floats:
    """Bias (K,) under which the mean probability over unlabelled texts equals ``prior`` (K,).

    The bias is the stationary point of a convex function, mean(logsumexp(log_probs + bias)) - prior . bias, and the
    step log(prior / mean) decreases it; it is unique up to a constant, which is set by a zero mean.
    """
    bias = np.zeros(log_probs.shape[1])
    for _ in range(rounds):
        step = np.log(prior) - np.log(apply_bias(log_probs, bias).mean(axis=0))
        bias = bias + step
        if np.abs(step).max() < tolerance:
            break
    return _centered(bias)


def _centered(bias: Floats) -> Floats:
    return np.asarray(bias - bias.mean(), dtype=np.float64)
