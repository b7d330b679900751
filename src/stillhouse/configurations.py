"""Configurations of language models in other sizes, told without weights: what a student will be, before it is made.

shortened(config, [0, 1, 4, 5])                                   # with these layers only
resized(config, layers=2, hidden_size=64, heads=4, kv_heads=None, intermediate_size=128)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

_NO_LAYERS = ("architectures", "token_id", "token_ids", "_tokens")  # lists that may be as long by chance


def layers_of(config: Any) -> int:
    """How many layers a model of this configuration has."""
    return int(config.num_hidden_layers)


def shortened(config: Any, kept: Sequence[int]) -> Any:
    """The configuration for the kept layers: their count, and every list that has one entry a layer.

    Lists of token ids are none of them, however many they are. Other fields stay, those that count from the first
    layer too (``first_k_dense_replace`` and the like are of architectures that are refused).
    """
    layers = layers_of(config)
    short = copy.deepcopy(config)
    for name, value in vars(config).items():
        if isinstance(value, list | tuple) and len(value) == layers and not name.endswith(_NO_LAYERS):
            setattr(short, name, type(value)(value[index] for index in kept))
    short.num_hidden_layers = len(kept)
    return short


def resized(
    config: Any, *, layers: int, hidden_size: int, heads: int, kv_heads: int | None, intermediate_size: int
) -> Any:
    """The configuration in another size: layers are like the first ones, and the scores of attention are scaled with
    the width of a head where a field does that."""
    made = shortened(config, [place % layers_of(config) for place in range(layers)])
    before = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    made.hidden_size, made.num_attention_heads, made.num_key_value_heads = hidden_size, heads, kv_heads or heads
    made.intermediate_size, width = intermediate_size, hidden_size // heads
    if getattr(made, "head_dim", None):
        made.head_dim = width
    if getattr(made, "query_pre_attn_scalar", None):  # gemma: scores are divided by its square root
        made.query_pre_attn_scalar = width
    if getattr(made, "attention_multiplier", None):  # granite: scores are multiplied by it
        made.attention_multiplier *= before / width
    return made
