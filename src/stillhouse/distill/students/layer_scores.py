"""How much each layer of a language model matters: what its removal changes, or how little it turns its input.

scores = removal_kl(model, sequences, starts)        # nats a token, one number a layer
kept = keep_highest(scores, 22)
kept = without_idlest_run(turns(model, sequences), 22)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from stillhouse.distill.chunked import Head, head_logits, head_of
from stillhouse.errors import StillhouseError

_ROW_TOKENS = 2048  # tokens that go through the layers together
_CHUNK = 2**25  # logits at a time


def removal_kl(
    model: Any,
    sequences: Sequence[Sequence[int]],
    starts: Sequence[int],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[float]:
    """Mean KL(whole ‖ model without this layer) in nats over the tokens ``ids[start:]`` of each sequence.

    What comes before a layer is computed once: without layer i only the layers after it run anew, from its own input.
    """
    layers, head = _layers(model), head_of(model)
    sums, tokens = [0.0] * len(layers), 0
    for number, (ids, places) in enumerate(_batches(sequences, starts)):
        with torch.inference_mode():
            inputs, runner = _recorded(model, ids)
            whole = _log_probs(head, _final(model, inputs[-1])[places])
            for layer in range(len(layers)):
                state = inputs[layer]
                for after in range(layer + 1, len(layers)):
                    state = runner(after, state)
                sums[layer] += _kl(head, whole, _final(model, state)[places])
        tokens += len(places)
        if progress:
            progress(min((number + 1) * _ROW_TOKENS, sum(map(len, sequences))), sum(map(len, sequences)))
    return [total / tokens for total in sums]


def turns(model: Any, sequences: Sequence[Sequence[int]]) -> Tensor:
    """States before each layer and after the last, compared: mean 1 - cos between any two of them, (layers+1)².

    Source: block influence of Men et al. 2024 (ShortGPT), arXiv 2403.03853, for any number of layers at once.
    """
    count = len(_layers(model)) + 1
    sums, tokens = torch.zeros(count, count, dtype=torch.float64), 0
    for ids, places in _batches(sequences, [0] * len(sequences), shift=0):
        with torch.inference_mode():
            inputs, _ = _recorded(model, ids)
            states = torch.stack([one.flatten(0, 1)[places].float() for one in inputs])  # (layers+1, n, H)
            unit = states / states.norm(dim=-1, keepdim=True).clamp_min(1e-12)
            for first in range(count):
                sums[first] += (1 - (unit[first] * unit).sum(-1)).sum(-1).double().cpu()
        tokens += len(places)
    if not bool(sums.isfinite().all()):
        raise StillhouseError(
            "the model's states are not numbers (NaN or infinite)",
            where=type(model).__name__,
            fix="check its weights, or load it in float32 or bfloat16",
        )
    return sums / tokens


def keep_highest(scores: Sequence[float], keep: int) -> list[int]:
    """The layers with the highest scores, in their order; of equals the earlier ones go."""
    order = sorted(range(len(scores)), key=lambda layer: (scores[layer], layer))
    return sorted(order[len(scores) - keep :])


def without_idlest_run(turned: Tensor, keep: int) -> list[int]:
    """All layers but the run, of consecutive ones, whose output is nearest to its input; of equals the earlier."""
    layers = len(turned) - 1
    drop = layers - keep
    first = min(range(layers - drop + 1), key=lambda place: (float(turned[place, place + drop]), place))
    return [layer for layer in range(layers) if not first <= layer < first + drop]


def _batches(
    sequences: Sequence[Sequence[int]], starts: Sequence[int], *, shift: int = 1
) -> Iterator[tuple[Tensor, Tensor]]:
    """Padded ids (B, L), filled up on the right where a causal model does not look, and places in the flat batch."""
    if not any(len(ids) > max(start, shift) for ids, start in zip(sequences, starts, strict=True)):
        raise StillhouseError(
            "there are no tokens to compare the layers on",
            where="distill.student",
            fix="give at least one text whose answer is learned, or choose layers with `by: even`",
        )
    order = sorted(
        (row for row in range(len(sequences)) if sequences[row]), key=lambda row: (-len(sequences[row]), row)
    )
    while order:
        width = len(sequences[order[0]])
        rows, order = order[: max(1, _ROW_TOKENS // width)], order[max(1, _ROW_TOKENS // width) :]
        ids = torch.tensor([[*sequences[row], *[0] * (width - len(sequences[row]))] for row in rows])
        places = [
            place * width + position
            for place, row in enumerate(rows)
            for position in range(max(0, starts[row] - shift), len(sequences[row]) - shift)
        ]
        yield ids, torch.tensor(places, dtype=torch.int64)


def _layers(model: Any) -> Any:
    body = model.base_model
    for name in ("layers", "h"):
        if hasattr(body, name):
            return getattr(body, name)
    raise AssertionError(f"{type(model).__name__} has no list of layers")


def _recorded(model: Any, ids: Tensor) -> tuple[list[Tensor], Callable[[int, Tensor], Tensor]]:
    """States (B, L, H) before each layer and after the last, and how to run one layer on another state."""
    layers, calls, states = _layers(model), [], []

    def before(_: Any, args: Any, kwargs: Any) -> None:
        calls.append((args[1:], {name: value for name, value in kwargs.items() if name != "hidden_states"}))
        states.append(args[0] if args else kwargs["hidden_states"])

    def after(_: Any, __: Any, output: Any) -> None:
        states.append(output[0] if isinstance(output, tuple) else output)

    hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(after))
    try:
        model.base_model(input_ids=ids.to(model.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()

    def run(layer: int, state: Tensor) -> Tensor:
        args, kwargs = calls[layer]
        output = layers[layer](state, *args, **kwargs)
        made: Tensor = output[0] if isinstance(output, tuple) else output
        return made

    return states, run


def _final(model: Any, state: Tensor) -> Tensor:
    """States (B·L, H) as the head takes them."""
    body = model.base_model
    norm = next(getattr(body, name) for name in ("norm", "ln_f", "final_layer_norm") if hasattr(body, name))
    made: Tensor = norm(state).flatten(0, 1)
    return made


def _log_probs(head: Head, states: Tensor) -> list[Tensor]:
    """Log-probabilities (n, V) that the states (n, H) lead to, in chunks."""
    return [head_logits(part, head).log_softmax(-1) for part in states.split(max(1, _CHUNK // len(head.weight)))]


def _kl(head: Head, whole: list[Tensor], states: Tensor) -> float:
    """The sum over positions of KL(whole ‖ what the states lead to)."""
    parts = states.split(max(1, _CHUNK // len(head.weight)))
    pairs = zip(whole, parts, strict=True)
    return sum(float((p.exp() * (p - head_logits(part, head).log_softmax(-1))).sum()) for p, part in pairs)
