"""Attention of many sequences over one prefix that is stored once: no copy of it for each row.

The queries of all rows meet the prefix's keys in one product, and each row meets its own keys in another; one softmax
over both gives what attention over the joined keys gives, to rounding. Grouped heads share keys without repeating them.

    state = PrefixState.of(model(input_ids=prefix, use_cache=True).cache)
    with attending(model):
        model(input_ids=rest, position_ids=positions, shared_prefix=state)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

NAME = "stillhouse_shared_prefix"

# what a model may hand to attention that changes its outcome in a way this module does not compute
_FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias")


class NotApplicableError(Exception):
    """The model's attention is of a kind that is not computed here."""


@dataclass(frozen=True)
class PrefixState:
    """Keys and values of a prefix of P tokens, for each layer with G key heads.

    keys: tensors (G, D, P), transposed for the product with queries. values: tensors (G, P, V).
    length: P. used: the layers that have attended to it, by which a check sees whether a model asks at all.
    """

    keys: tuple[Any, ...]
    values: tuple[Any, ...]
    length: int
    used: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, cache: Any) -> PrefixState:
        """From what a forward pass over the prefix alone, one row, left in its cache.

        Raises :class:`NotApplicableError` when the cache holds anything but keys and values of the whole prefix.
        """
        from transformers.cache_utils import DynamicLayer

        if any(type(layer) is not DynamicLayer or not layer.is_initialized for layer in cache.layers):
            raise NotApplicableError("a layer keeps something else than the keys and values of all tokens")
        return cls(
            tuple(layer.keys[0].transpose(1, 2).contiguous() for layer in cache.layers),
            tuple(layer.values[0].contiguous() for layer in cache.layers),
            cache.get_seq_length(),
        )


@contextmanager
def attending(model: Any) -> Iterator[None]:
    """Let ``model`` attend through this module inside the block; raises :class:`NotApplicableError` if it cannot."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, _attention)
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        if model.config._attn_implementation != NAME:
            raise NotApplicableError("its attention cannot be exchanged")
        yield
    finally:
        model.set_attn_implementation(before)


def _attention(
    module: Any,
    query: Any,  # (B, H, L, D)
    key: Any,  # (B, G, M, D): the row's own tokens up to now, of which the last L are those of the queries
    value: Any,  # (B, G, M, V)
    attention_mask: Any,
    *,
    scaling: float | None = None,
    shared_prefix: PrefixState | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[Any, None]:
    """The signature is that of transformers' attention functions; returns (B, L, H, V) and no weights."""
    import torch

    foreign = [name for name in _FOREIGN if others.get(name) is not None]
    if shared_prefix is None or attention_mask is not None or is_causal is False or foreign:
        raise NotApplicableError(f"it asks attention for {', '.join(foreign) or 'another mask or no prefix'}")
    shared_prefix.used.add(module.layer_idx)
    prefix_keys, prefix_values = shared_prefix.keys[module.layer_idx], shared_prefix.values[module.layer_idx]
    rows, heads, length, width = query.shape
    groups, own = key.shape[1], key.shape[2]
    past = shared_prefix.length
    folded = rows * (heads // groups)

    # key heads come first, so that one product serves all rows and all query heads of a group
    query = query * (width**-0.5 if scaling is None else scaling)
    query = query.view(rows, groups, -1, length, width).transpose(0, 1).reshape(groups, folded * length, width)
    key = key.transpose(0, 1).reshape(groups * rows, own, width)
    value = value.transpose(0, 1).reshape(groups * rows, own, -1)

    weights = query.new_empty(groups, folded * length, past + own)
    by_row = weights.view(groups * rows, -1, past + own)
    weights[..., :past] = torch.bmm(query, prefix_keys)
    by_row[..., past:] = torch.bmm(query.reshape(groups * rows, -1, width), key.transpose(1, 2))
    later = torch.ones(length, own, dtype=torch.bool, device=query.device).triu(own - length + 1)
    weights.view(groups, folded, length, -1)[..., past:].masked_fill_(later, -torch.inf)
    # half precision sums its weights in float32, as the models' own attention does
    wide = torch.float32 if weights.element_size() < 4 else weights.dtype
    weights = weights.softmax(-1, dtype=wide).to(query.dtype)

    outcome = torch.bmm(weights[..., :past], prefix_values).view(groups * rows, -1, value.shape[-1])
    outcome = outcome + torch.bmm(weights.view(by_row.shape)[..., past:], value)
    outcome = outcome.view(groups, rows, -1, length, value.shape[-1]).permute(1, 3, 0, 2, 4)
    return outcome.reshape(rows, length, heads, -1), None
