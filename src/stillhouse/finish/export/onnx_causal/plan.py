"""Whether a student that writes can be exported to ONNX: told from its configuration, before anything is trained.

check_onnx(config)      # problems in words; () where it can be exported

Listed are the architectures that were exported and compared with torch, token by token, with a cache and without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from stillhouse.errors import Problem

Kind = Literal["fp32", "int8"]
KINDS: tuple[Kind, ...] = ("fp32", "int8")
_WHERE = "the ONNX export"

# transformers' type, and the class that `config.json` must name
TRIED: Mapping[str, str] = {
    "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM",
    "gemma3_text": "Gemma3ForCausalLM",
    "gpt2": "GPT2LMHeadModel",
    "granite": "GraniteForCausalLM",
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "olmo2": "Olmo2ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "smollm3": "SmolLM3ForCausalLM",
}
# the others turn positions by the length of what is read, which a graph would take to be that of its example
ROPES = ("default", "linear", "yarn", "llama3")
LAYERS = ("full_attention", "sliding_attention")


def check_onnx(config: Any) -> tuple[Problem, ...]:
    """What stands against an export of a model of this configuration."""
    config = config.get_text_config()
    stock = TRIED.get(config.model_type)
    if stock is None:
        return (
            Problem(
                f"models of type {config.model_type} are not exported to ONNX",
                _WHERE,
                f"leave ONNX out (`finish.onnx.kinds`), or use one of {', '.join(TRIED)}",
            ),
        )
    named = list(getattr(config, "architectures", None) or [stock])
    if named != [stock] or getattr(config, "auto_map", None):
        return (
            Problem(
                f"the class {', '.join(named)} is not transformers' own {stock}",
                _WHERE,
                f"save the student as a {stock}: merge adapters, and leave wrappers and code of one's own away",
            ),
        )
    fix = "leave ONNX out (`finish.onnx.kinds`), or build the student with other settings"
    return tuple(Problem(one, _WHERE, fix) for one in _odd(config))


def _odd(config: Any) -> Iterator[str]:
    told = getattr(config, "rope_parameters", None) or {}
    # where kinds of layers differ in it, there is one for each
    for rope in told.values() if told and all(isinstance(one, Mapping) for one in told.values()) else [told]:
        kind = rope.get("rope_type", "default")
        if kind not in ROPES:
            yield f"positions are scaled by {kind!r}; what can be exported: {', '.join(ROPES)}"
    strange = sorted(set(getattr(config, "layer_types", None) or []) - set(LAYERS))
    if strange:
        yield f"it has layers of the kind {', '.join(strange)}; what can be exported: {', '.join(LAYERS)}"
    if getattr(config, "use_bidirectional_attention", None):
        yield "its attention looks ahead"
    if getattr(config, "add_cross_attention", False):
        yield "it attends to the states of another model"


def windows(config: Any) -> dict[str, int | None]:
    """How many tokens each kind of layer sees, ``None`` for all; one kind where the layers have none."""
    config = config.get_text_config()
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return {LAYERS[0]: window}
    return {kind: window if kind == LAYERS[1] else None for kind in dict.fromkeys(kinds)}
