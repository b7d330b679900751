"""Architectures that llama.cpp knows: its names of their tensors, its settings, and what it cannot be told.

    known = ARCHITECTURES["llama"]
    known.problems(config)                                    # what it has that the runtime would ignore
    known.settings(config)                                    # {"llama.block_count": 22, …}
    known.place("model.layers.3.self_attn.q_proj.weight")     # Place("blk.3.attn_q.weight", "rotary")

A reader that goes by fixed patterns answers wrongly, and without an error, where a model departs from them: layers that
see a window only, positions that are scaled in another way, a scale of attention. Each of them is asked for here.
Every architecture below is loaded and compared with torch by the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

# rotary: heads turned in pairs of neighbours, where torch turns halves. plus-one: a norm that is stored less one.
# transposed: (in, out) in torch. interleaved: query, key and value of each head in turn.
Change = Literal["as-is", "rotary", "rotary-key", "plus-one", "transposed"]
Setting = bool | int | float | str | list[bool]
Config = Any
_BLOCK = re.compile(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True)
class Place:
    """Where a tensor goes in the file, and how it is changed on the way."""

    name: str
    change: Change = "as-is"


@dataclass(frozen=True)
class Architecture:
    """One of transformers' model types. name: that of the runtime. stock: the class that ``config.json`` must name.

    block: names of a layer's modules, theirs to the runtime's. outer: the same of modules outside the layers. changes:
    those of the runtime's modules that are not stored as they are. tied: whether the runtime takes the embeddings as
    its head, come what may.
    """

    name: str
    stock: str
    block: Mapping[str, str]
    settings: Callable[[Config], dict[str, Setting]]
    problems: Callable[[Config], list[str]]
    outer: Mapping[str, str] = field(
        default_factory=lambda: {
            "model.embed_tokens": "token_embd",
            "model.norm": "output_norm",
            "lm_head": "output",
        }
    )
    changes: Mapping[str, Change] = field(default_factory=dict)
    tied: bool = False

    def place(self, tensor: str) -> Place | None:
        """Where the tensor of this name goes; ``None`` where the runtime has no place for it."""
        match = _BLOCK.fullmatch(tensor)
        if match:
            module = self.block.get(match[2])
            return None if module is None else self._placed(module, f"blk.{match[1]}.{module}.{match[3]}")
        module, _, kind = tensor.rpartition(".")
        own = self.outer.get(module)
        return None if own is None else self._placed(own, f"{own}.{kind}")

    def _placed(self, module: str, name: str) -> Place:
        change = self.changes.get(module, "as-is")
        # a bias has one axis, and nothing in it to be transposed
        return Place(name, "as-is" if change == "transposed" and name.endswith(".bias") else change)


def head_width(config: Config) -> int:
    """Width of one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def key_heads(config: Config) -> int:
    """How many heads keys and values have."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def rope_of(config: Config, kind: str = "full_attention") -> Mapping[str, Any]:
    """How positions are turned, in layers of ``kind`` where the kinds differ."""
    told = getattr(config, "rope_parameters", None) or {}
    return dict(told.get(kind, told))


# ------------------------------------------------------------------------------------------------- settings


def _common(arch: str, config: Config, **more: Setting) -> dict[str, Setting]:
    own: dict[str, Setting] = {
        "block_count": int(config.num_hidden_layers),
        "context_length": int(config.max_position_embeddings),
        "embedding_length": int(config.hidden_size),
        "feed_forward_length": int(getattr(config, "intermediate_size", None) or 4 * config.hidden_size),
        "attention.head_count": int(config.num_attention_heads),
        "attention.head_count_kv": key_heads(config),
        "vocab_size": int(config.vocab_size),
    }
    return {f"{arch}.{name}": value for name, value in (own | more).items()}


def _turned(arch: str) -> Callable[[Config], dict[str, Setting]]:
    """Settings of a model with root-mean-square norms and turned positions."""

    def settings(config: Config) -> dict[str, Setting]:
        rope = rope_of(config)
        more: dict[str, Setting] = {
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            "attention.key_length": head_width(config),
            "attention.value_length": head_width(config),
            "rope.dimension_count": head_width(config),
            "rope.freq_base": float(rope["rope_theta"]),
        }
        if rope.get("rope_type") in ("linear", "yarn"):
            more |= {"rope.scaling.type": str(rope["rope_type"]), "rope.scaling.factor": float(rope["factor"])}
        if rope.get("rope_type") == "yarn":
            more["rope.scaling.original_context_length"] = int(rope["original_max_position_embeddings"])
        return _common(arch, config, **more)

    return settings


def _windows(arch: str, config: Config) -> dict[str, Setting]:
    # layer by layer: without this list llama.cpp counts them off, and a model with fewer layers answers wrongly
    return {
        f"{arch}.attention.sliding_window": int(config.sliding_window),
        f"{arch}.attention.sliding_window_pattern": [kind == "sliding_attention" for kind in config.layer_types],
    }


def _gemma2(config: Config) -> dict[str, Setting]:
    own: dict[str, Setting] = {
        **_windows("gemma2", config),
        "gemma2.attn_logit_softcapping": float(config.attn_logit_softcapping or 0),
        "gemma2.final_logit_softcapping": float(config.final_logit_softcapping or 0),
    }
    return _turned("gemma2")(config) | own


def _gemma3(config: Config) -> dict[str, Setting]:
    own: dict[str, Setting] = {
        **_windows("gemma3", config),
        "gemma3.rope.freq_base_swa": float(rope_of(config, "sliding_attention")["rope_theta"]),
    }
    if config.final_logit_softcapping:
        own["gemma3.final_logit_softcapping"] = float(config.final_logit_softcapping)
    return _turned("gemma3")(config) | own


def _granite(config: Config) -> dict[str, Setting]:
    own: dict[str, Setting] = {
        "granite.attention.scale": float(config.attention_multiplier),
        "granite.embedding_scale": float(config.embedding_multiplier),
        "granite.residual_scale": float(config.residual_multiplier),
        "granite.logit_scale": float(config.logits_scaling),
    }
    return _turned("granite")(config) | own


def _gpt2(config: Config) -> dict[str, Setting]:
    width = int(getattr(config, "n_inner", None) or 4 * config.hidden_size)
    more: dict[str, Setting] = {
        "attention.layer_norm_epsilon": float(config.layer_norm_epsilon),
        "feed_forward_length": width,
    }
    return _common("gpt2", config, **more)


# ------------------------------------------------------------------------------------------------- problems


def _asked(config: Config, wanted: Mapping[str, Sequence[object]]) -> list[str]:
    """Fields that have another value than the runtime takes for granted."""
    return [
        f"{name} is {getattr(config, name, None)!r}, and llama.cpp takes it to be {' or '.join(map(repr, values))}"
        for name, values in wanted.items()
        if getattr(config, name, values[0]) not in values
    ]


def _rope_problems(config: Config, kinds: Sequence[str]) -> list[str]:
    rope = rope_of(config)
    kind = rope.get("rope_type", "default")
    if kind not in kinds:
        return [f"positions are scaled by {kind!r}; known of this architecture: {', '.join(kinds)}"]
    # llama.cpp has the usual values of these built in
    usual = {"beta_fast": 32, "beta_slow": 1, "truncate": True}
    odd = [name for name in (*usual, "mscale", "mscale_all_dim", "attention_factor") if rope.get(name) is not None]
    odd = [name for name in odd if rope[name] != usual.get(name)]
    if kind == "yarn" and odd:
        return [f"positions are scaled by yarn with {', '.join(odd)} of its own"]
    whole = rope.get("partial_rotary_factor") in (None, 1, 1.0)
    return [] if whole else [f"only {rope['partial_rotary_factor']} of each head is turned"]


def _window_problems(config: Config) -> list[str]:
    """For architectures whose layers see everything in llama.cpp."""
    window, kinds = getattr(config, "sliding_window", None), getattr(config, "layer_types", None)
    seen = "sliding_attention" in kinds if kinds is not None else window is not None
    if seen and window and int(window) < int(config.max_position_embeddings):
        return [
            f"layers see a window of {window} tokens, and llama.cpp would let them see all"
            f" {config.max_position_embeddings}: set max_position_embeddings to {window} to export it"
        ]
    return []


def _plain(
    acts: Sequence[str] = ("silu",), rope: Sequence[str] = ("default", "linear", "yarn"), **wanted: Sequence[object]
) -> Callable[[Config], list[str]]:
    def problems(config: Config) -> list[str]:
        act = getattr(config, "hidden_activation", None) or getattr(config, "hidden_act", None)
        found = [] if act in acts else [f"its activation is {act!r}, and llama.cpp takes it to be {acts[0]!r}"]
        return [*found, *_asked(config, wanted), *_rope_problems(config, rope), *_window_problems(config)]

    return problems


def _gemma_problems(
    large: int | None, *, capped: bool = False, **wanted: Sequence[object]
) -> Callable[[Config], list[str]]:
    """large: the count of layers at which llama.cpp takes the model for the largest, whose scale of attention goes by
    the width and not by that of a head; ``None`` where every layer sees everything, and no scale is told. capped:
    whether llama.cpp caps scores and logits, come what may."""
    plain = _plain(("gelu_pytorch_tanh",), ("default", "linear"), attention_bias=(False,), **wanted)

    def problems(config: Config) -> list[str]:
        found = [one for one in plain(config) if "a window of" not in one]
        if getattr(config, "use_bidirectional_attention", None):
            found.append("its attention looks ahead")
        if capped and not (config.attn_logit_softcapping and config.final_logit_softcapping):
            found.append("its scores or logits are not capped, and llama.cpp would cap them")
        if large is None:
            return found
        layers, heads = int(config.num_hidden_layers), int(config.num_attention_heads)
        width = config.hidden_size // heads if layers == large else head_width(config)
        if config.query_pre_attn_scalar != width:
            found.append(
                f"query_pre_attn_scalar is {config.query_pre_attn_scalar}, and llama.cpp takes it to be {width}"
            )
        if rope_of(config, "sliding_attention").get("rope_type", "default") != "default":
            found.append("positions of the layers with a window are scaled")
        return found

    return problems


def _smollm3_problems(config: Config) -> list[str]:
    turned = [int((at + 1) % 4 != 0) for at in range(int(config.num_hidden_layers))]
    found = _plain(attention_bias=(False,), mlp_bias=(False,))(config)
    if [int(one) for one in config.no_rope_layers] != turned:
        found.append(
            "the layers without positions are not each 4th one, as llama.cpp takes them to be: keep whole groups"
        )
    return found


def _gpt2_problems(config: Config) -> list[str]:
    return _asked(
        config,
        {
            "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    )


# ------------------------------------------------------------------------------------------------- the table

_ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}
_GATED = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
_BEFORE = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
_HEAD_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
_AROUND = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
_LLAMA = {**_ATTENTION, **_GATED, **_BEFORE}
_PAIRS: Mapping[str, Change] = {"attn_q": "rotary", "attn_k": "rotary-key"}


def _less_one(*modules: str) -> Mapping[str, Change]:
    return dict.fromkeys(("output_norm", *modules), "plus-one")


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(
        "llama",
        "LlamaForCausalLM",
        _LLAMA,
        _turned("llama"),
        _plain(rope=("default", "linear", "yarn", "llama3")),
        changes=_PAIRS,
    ),
    # llama.cpp reads it as a Llama
    "mistral": Architecture("llama", "MistralForCausalLM", _LLAMA, _turned("llama"), _plain(), changes=_PAIRS),
    "qwen2": Architecture("qwen2", "Qwen2ForCausalLM", _LLAMA, _turned("qwen2"), _plain()),
    "qwen3": Architecture(
        "qwen3", "Qwen3ForCausalLM", _LLAMA | _HEAD_NORMS, _turned("qwen3"), _plain(attention_bias=(False,))
    ),
    "gemma": Architecture(
        "gemma",
        "GemmaForCausalLM",
        _LLAMA,
        _turned("gemma"),
        _gemma_problems(None),
        changes=_less_one("attn_norm", "ffn_norm"),
        tied=True,
    ),
    "gemma2": Architecture(
        "gemma2",
        "Gemma2ForCausalLM",
        {**_ATTENTION, **_GATED, **_AROUND},
        _gemma2,
        _gemma_problems(46, capped=True),
        changes=_less_one("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"),
        tied=True,
    ),
    "gemma3_text": Architecture(
        "gemma3",
        "Gemma3ForCausalLM",
        {**_ATTENTION, **_GATED, **_AROUND, **_HEAD_NORMS},
        _gemma3,
        _gemma_problems(62, attn_logit_softcapping=(None,)),
        changes=_less_one(
            "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm", "attn_q_norm", "attn_k_norm"
        ),
    ),
    "gpt2": Architecture(
        "gpt2",
        "GPT2LMHeadModel",
        {
            "ln_1": "attn_norm",
            "attn.c_attn": "attn_qkv",
            "attn.c_proj": "attn_output",
            "ln_2": "ffn_norm",
            "mlp.c_fc": "ffn_up",
            "mlp.c_proj": "ffn_down",
        },
        _gpt2,
        _gpt2_problems,
        outer={
            "transformer.wte": "token_embd",
            "transformer.wpe": "position_embd",
            "transformer.ln_f": "output_norm",
            "lm_head": "output",
        },
        changes=dict.fromkeys(("attn_qkv", "attn_output", "ffn_up", "ffn_down"), "transposed"),
    ),
    "smollm3": Architecture(
        "smollm3", "SmolLM3ForCausalLM", _LLAMA, _turned("smollm3"), _smollm3_problems, changes=_PAIRS
    ),
    "granite": Architecture(
        "granite", "GraniteForCausalLM", _LLAMA, _granite, _plain(rope=("default",)), changes=_PAIRS
    ),
    "olmo2": Architecture(
        "olmo2",
        "Olmo2ForCausalLM",
        {
            **_ATTENTION,
            **_GATED,
            **_HEAD_NORMS,
            "post_attention_layernorm": "post_attention_norm",
            "post_feedforward_layernorm": "post_ffw_norm",
        },
        _turned("olmo2"),
        _plain(attention_bias=(False,)),
    ),
    "phi3": Architecture(
        "phi3",
        "Phi3ForCausalLM",
        {
            "self_attn.qkv_proj": "attn_qkv",
            "self_attn.o_proj": "attn_output",
            "mlp.gate_up_proj": "ffn_up",
            "mlp.down_proj": "ffn_down",
            **_BEFORE,
        },
        _turned("phi3"),
        _plain(rope=("default",)),
    ),
}
