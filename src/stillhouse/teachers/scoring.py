"""Log-probabilities of a few answers after many prompts that share a beginning.

The shared beginning is run once and its keys and values are reused; prompts come in batches of equal length, so no
padding is computed; answers of several tokens are scored whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def score_answers(
    model: Any,
    *,
    prefix: Sequence[int],
    prefix_cache: Any,
    rest: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
) -> tuple[npt.NDArray[np.float64], Any]:
    """Score K answers after B prompts.

    prefix: ids that all prompts begin with. prefix_cache: what an earlier call with the same prefix returned, or
    ``None``. rest: B lists of ids of one length, at least one each. answers: K lists of ids, at least one each.
    Returns log-probabilities (B, K) of the whole answers, and the prefix's keys and values for the next call.
    """
    import torch

    with torch.inference_mode():
        if prefix_cache is None:
            prefix_cache = _run_prefix(model, prefix)
        batch = torch.tensor([list(ids) for ids in rest], device=model.device)
        cache = _expanded(prefix_cache, len(rest))
        output = model(input_ids=batch, cache=cache, use_cache=True, logits_to_keep=1)
        first = output.logits[:, -1].float().log_softmax(-1)
        columns = [
            first[:, answer[0]] + _rest_of_answer(model, output.cache, answer, len(rest)) for answer in answers
        ]
        scores = torch.stack(columns, dim=1).double().cpu().numpy()
    return scores, prefix_cache


def _run_prefix(model: Any, prefix: Sequence[int]) -> list[tuple[Any, Any]]:
    import torch

    if not prefix:
        return []
    output = model(input_ids=torch.tensor([list(prefix)], device=model.device), use_cache=True, logits_to_keep=1)
    return [(layer.keys, layer.values) for layer in output.cache.layers]


def _expanded(prefix_cache: list[tuple[Any, Any]], rows: int) -> Any:
    from transformers import DynamicCache

    if not prefix_cache:
        return DynamicCache()
    return DynamicCache(
        [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in prefix_cache]
    )


def _rest_of_answer(model: Any, cache: Any, answer: Sequence[int], rows: int) -> Any:
    """Log-probability (B,) of all but the first token of ``answer``; the cache is left as it was."""
    import torch

    total = torch.zeros(rows, device=model.device)
    if len(answer) == 1:
        return total
    fed = torch.tensor([list(answer[:-1])] * rows, device=model.device)
    logits = model(input_ids=fed, cache=cache, use_cache=True).logits.float().log_softmax(-1)
    for position, token in enumerate(answer[1:]):
        total = total + logits[:, position, token]
    cache.crop(1 - len(answer))
    return total
