"""Log-probabilities of a few answers after many prompts that share a beginning.

The shared beginning is run once; prompts come in batches of equal length, so no padding is computed; answers of several
tokens are scored whole. Where the model's attention allows it, all rows attend to one copy of the beginning.

    scorer = Scorer(model)
    log_probs = scorer.score(prefix=prefix, rest=rest, answers=answers)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stillhouse.stock import quiet
from stillhouse.teachers.shared_prefix import NotApplicableError, PrefixState, attending

# what is done with the prefix: all rows attend to one copy; each row gets a copy; it is computed anew for each row
Way = Literal["shared", "copied", "anew"]

_TOLERANCE = 1e-3  # of log-probabilities: far above float32 rounding, far below any real difference


class Scorer:
    """Scores answers with one causal language model; keeps the state of the last prefix between calls.

    way: what is done with the prefix, the cheapest that gives what plain passes over whole prompts give; ``why`` says
    what decided it. The choice depends on the model alone, so that an interrupted run goes on in the same way.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        with _contiguous_head(model):
            self.way, self.why = _cheapest_way(model)
        self._prefix: tuple[int, ...] | None = None
        self._state: Any = None

    def score(
        self, *, prefix: Sequence[int], rest: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> npt.NDArray[np.float64]:
        """Log-probabilities (B, K) of K whole answers after B prompts.

        prefix: ids that all prompts begin with, maybe none. rest: B lists of ids of one length, at least one each.
        answers: K lists of ids, at least one each.
        """
        import torch

        with torch.inference_mode(), _contiguous_head(self._model):
            if self._prefix != tuple(prefix):
                self._prefix, self._state = None, None
                self._state = _run_prefix(self._model, prefix, self.way)
                self._prefix = tuple(prefix)
            if self.way == "anew":
                scores = _score_anew(self._model, prefix, rest, answers)
            else:
                scores = _score(self._model, self._state, rest, answers)
        return np.asarray(scores.double().cpu().numpy(), dtype=np.float64)


def _cheapest_way(model: Any) -> tuple[Way, str]:
    """The first way whose outcome is that of whole prompts, and the reason for it.

    The trial's ids are fixed and few: 5 of a prefix, 2 rows of 3 more, an answer of 2.
    """
    import torch

    size = model.config.get_text_config().vocab_size
    ids = [(7919 * place + 1) % size for place in range(13)]
    prefix, rest, answers = ids[:5], [ids[5:8], ids[8:11]], [ids[11:]]
    tolerance = max(_TOLERANCE, 8 * torch.finfo(model.dtype).eps)
    reasons = []
    ways: tuple[Way, ...] = ("shared", "copied")
    with torch.inference_mode(), quiet():
        whole = _score_anew(model, prefix, rest, answers)
        for way in ways:
            try:
                state = _run_prefix(model, prefix, way)
                difference = float((_score(model, state, rest, answers) - whole).abs().max())
            except NotApplicableError as error:
                reasons.append(f"not {way}: {error}")
                continue
            except Exception as error:  # what a model does with a cache or keyword unknown to it cannot be foreseen
                reasons.append(f"not {way}: the model fails with {type(error).__name__}")
                continue
            if isinstance(state, PrefixState) and len(state.used) < len(state.keys):
                reasons.append(f"not {way}: some layers have an attention of their own")
            elif difference > tolerance:
                reasons.append(f"not {way}: it moves log-probabilities by {difference:.1g}")
            else:
                return way, "; ".join([*reasons, f"{way}: as whole prompts, to {difference:.1g}"])
    return "anew", "; ".join(reasons)


def _run_prefix(model: Any, prefix: Sequence[int], way: Way) -> Any:
    """The prefix's state: a :class:`PrefixState` to share, or keys and values of each layer to copy for each row."""
    import torch
    from transformers import DynamicCache

    if way == "anew" or not prefix:
        return []
    # a cache that knows the model's windows would forget what lies before them, and with it how long the prefix was
    cache = DynamicCache() if way == "copied" else None
    ids = torch.tensor([list(prefix)], device=model.device)
    cache = model(input_ids=ids, cache=cache, use_cache=True, logits_to_keep=1).cache
    return PrefixState.of(cache) if way == "shared" else [(layer.keys, layer.values) for layer in cache.layers]


def _score(model: Any, state: Any, rest: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> Any:
    import torch
    from transformers import DynamicCache

    rows, shared = len(rest), isinstance(state, PrefixState)
    batch = torch.tensor([list(ids) for ids in rest], device=model.device)
    if max(map(len, answers)) == 1 and (shared or not state):
        cache = None  # nothing follows the prompt, so its keys need not be kept
    elif shared or not state:
        cache = DynamicCache()
    else:
        cache = DynamicCache([tuple(tensor.expand(rows, -1, -1, -1) for tensor in layer) for layer in state])
    with attending(model) if shared else nullcontext():
        first = _log_probs(model, state, batch, cache, 0, keep=1)[:, -1]
        columns = []
        for answer in answers:
            column = first[:, answer[0]]
            if len(answer) > 1:
                fed = torch.tensor([list(answer[:-1])] * rows, device=model.device)
                after = _log_probs(model, state, fed, cache, batch.shape[1], keep=0)
                assert cache is not None  # noqa: S101 - kept wherever an answer has more than one token
                cache.crop(1 - len(answer))
                column = column + _of_tokens(after, answer[1:])
            columns.append(column)
    return torch.stack(columns, dim=1)


def _score_anew(
    model: Any, prefix: Sequence[int], rest: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Any:
    import torch

    columns = []
    for answer in answers:
        rows = [[*prefix, *ids, *answer[:-1]] for ids in rest]
        log_probs = _log_probs(model, None, torch.tensor(rows, device=model.device), None, 0, keep=len(answer))
        columns.append(_of_tokens(log_probs[:, -len(answer) :], answer))
    return torch.stack(columns, dim=1)


def _of_tokens(log_probs: Any, tokens: Sequence[int]) -> Any:
    """Sum (B,) of the log-probabilities (B, L, V) of L tokens, one at each position."""
    return sum(log_probs[:, position, token] for position, token in enumerate(tokens))


def _log_probs(model: Any, state: Any, ids: Any, cache: Any, offset: int, *, keep: int) -> Any:
    """Next-token log-probabilities (B, L, V) at the last ``keep`` positions of ``ids``, at all of them when 0.

    offset: how many tokens stand between the prefix and ``ids``.
    """
    import torch

    shared = {}
    if isinstance(state, PrefixState):
        start = state.length + offset
        positions = torch.arange(start, start + ids.shape[1], device=ids.device)
        shared = {"shared_prefix": state, "position_ids": positions.unsqueeze(0)}
    output = model(input_ids=ids, cache=cache, use_cache=cache is not None, logits_to_keep=keep, **shared)
    logits = output.logits
    return (logits if logits.element_size() > 4 else logits.float()).log_softmax(-1)


@contextmanager
def _contiguous_head(model: Any) -> Iterator[None]:
    """Hand the last positions to the vocabulary's matrix in one piece.

    A position that is a view into longer rows makes the product go row by row, each time reading the whole matrix.
    """
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(), *inputs[1:])) if head else None
    try:
        yield
    finally:
        if hook:
            hook.remove()
