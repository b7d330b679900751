"""The distillation losses: pure functions that give one number per example, nothing averaged.

Callers weigh and average; see :mod:`stillhouse.distill.train`::

    loss = soft_label_kl(logits, target_probs, temperature=2.0).mean()

Half-precision logits are lifted to float32 before anything is summed; float64 stays float64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def soft_label_kl(
    logits: Tensor,  # (B, K)
    target_probs: Tensor,  # (B, K)
    *,
    temperature: float,
) -> Tensor:  # (B,)
    """Return ``T² · KL(p_T ‖ q_T)`` in nats, per example.

    ``q_T`` is the softmax of ``logits / T``. The teacher is known by its probabilities ``p``, not by its
    logits, so ``p_T`` is ``p^(1/T)`` scaled to sum to one, which is what its logits over ``T`` would have
    given. No gradient reaches the target.

    Source: Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2: the
    gradient of a softened loss shrinks with ``1/T²``, the factor ``T²`` undoes that. It is their
    cross-entropy less the teacher's entropy, a constant, so that a student equal to the teacher scores zero.
    """
    logits = _widen(logits)
    # A teacher's flat zero has no logarithm; the smallest normal number stands in for it.
    floor = _tiny(logits)
    target = target_probs.detach().to(logits).clamp_min(floor)
    log_p = (target.log() / temperature).log_softmax(dim=-1)
    log_q = (logits / temperature).log_softmax(dim=-1)
    return temperature**2 * (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def multi_label_kl(
    logits: Tensor,  # (B, K)
    target_probs: Tensor,  # (B, K), each label's own probability; rows need not sum to one
    *,
    temperature: float,
) -> Tensor:  # (B,)
    """Return ``T² · Σ KL(p ‖ q)`` over K yes-or-no labels in nats, per example; q is the sigmoid of ``logits / T``.

    The teacher's probabilities are softened as its logits over T would be. No gradient reaches them.

    Source: Hinton, Vinyals and Dean (2015), section 2, for each label as a distribution over two outcomes.
    """
    import torch

    logits = _widen(logits)
    target = target_probs.detach().to(logits).clamp(_tiny(logits), 1 - torch.finfo(logits.dtype).eps)
    soft = torch.logit(target) / temperature
    scaled = logits / temperature
    yes, log = soft.sigmoid(), torch.nn.functional.logsigmoid
    each = yes * (log(soft) - log(scaled)) + (1 - yes) * (log(-soft) - log(-scaled))
    return temperature**2 * each.sum(dim=-1)


def group_balanced(
    losses: Tensor,  # (B,)
    groups: Tensor,  # (B,), integers; -1 for no group
) -> Tensor:  # (B,)
    """Return the losses weighted so that every group of the batch counts the same, and their mean stays a mean.

    An example of a group with n of B members among G groups weighs ``B / (G n)``; those without a group are one, too.
    Source: weights inverse to group sizes, as in Sagawa et al. 2020, arXiv 1911.08731, for a single batch.
    """
    import torch

    _, place, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    return losses * (len(losses) / (len(sizes) * sizes[place])).to(losses)


def cross_entropy(
    logits: Tensor,  # (B, K)
    labels: Tensor,  # (B,), integers in 0..K-1
) -> Tensor:  # (B,)
    """Return ``-log q[label]`` in nats, per example, where ``q`` is the softmax of ``logits``.

    Source: the negative log-likelihood of a categorical distribution.
    """
    log_q = _widen(logits).log_softmax(dim=-1)
    return -log_q.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _widen(logits: Tensor) -> Tensor:
    import torch

    return logits if logits.dtype == torch.float64 else logits.float()


def _tiny(like: Tensor) -> float:
    import torch

    return float(torch.finfo(like.dtype).tiny)
