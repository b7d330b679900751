"""Tiny tokenizers and models of every kind that is written as GGUF, and what llama.cpp says of them.

words = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False))
folder = student(folder, "qwen3", words)
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

import tiny_chat
from stillhouse.finish.export.gguf import splitting
from stillhouse.finish.export.probes import TEXTS

BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False)
SPACE = splitting.SPACE
REPLACED = normalizers.Replace(" ", SPACE)


@cache
def _merges() -> dict[str, Any]:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.train_from_iterator(
        list(TEXTS) * 3,
        trainers.BpeTrainer(
            vocab_size=1200,
            special_tokens=["<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    rules: dict[str, Any] = json.loads(core.to_str())
    words = rules["model"]["vocab"]
    for word in ("Ġlazy", "Ġscript"):  # no merge makes them
        assert word not in words
        words[word] = len(words)
    return rules


def byte_level(pre: Any, *, whole: bool = False, before: Any = None) -> PreTrainedTokenizerFast:
    """A tokenizer whose merges reach over every border, so that another way of splitting gives other ids."""
    rules = copy.deepcopy(_merges())
    rules["model"]["ignore_merges"] = whole
    core = Tokenizer.from_str(json.dumps(rules))
    core.pre_tokenizer, core.decoder = pre, decoders.ByteLevel()
    if before is not None:
        core.normalizer = before
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>", extra_special_tokens=["<|im_start|>"]
    )
    made.add_tokens([AddedToken("<own>", normalized=False)])
    made.chat_template = tiny_chat.TEMPLATE
    return made


def split_by(pattern: str) -> Any:
    """Words split by a pattern, and their bytes as characters."""
    parts = [
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ]
    return pre_tokenizers.Sequence(parts)


def pieces(before: Any, pre: Any = None, *, whole: bool = True) -> PreTrainedTokenizerFast:
    """A tokenizer of SentencePiece's kind, made as converters make them. whole: with every pair that makes a token."""
    core = Tokenizer(models.BPE())
    core.normalizer = REPLACED
    named = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    core.train_from_iterator(
        list(TEXTS) * 3,
        trainers.BpeTrainer(
            vocab_size=800,
            special_tokens=named + [f"<0x{one:02X}>" for one in range(256)],
            show_progress=False,
            limit_alphabet=150,
            max_token_length=8,
        ),
    )
    rules = json.loads(core.to_str())
    words, merges = rules["model"]["vocab"], []
    for left, right in rules["model"]["merges"]:
        word = left + right
        pairs = [[word[:at], word[at:]] for at in range(1, len(word))] if whole else [[left, right]]
        merges += [pair for pair in pairs if pair not in merges and words.keys() >= set(pair)]
    rules["model"] |= {"merges": merges, "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>"}
    rules["added_tokens"] = [one for one in rules["added_tokens"] if one["content"] in named]
    core = Tokenizer.from_str(json.dumps(rules))
    if before is not None:
        core.normalizer = before
    else:
        core = Tokenizer.from_str(json.dumps(rules | {"normalizer": None}))
    if pre is not None:
        core.pre_tokenizer = pre
    core.decoder = decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )
    made.add_tokens([AddedToken("<own>", normalized=False)])
    made.chat_template = "{{ bos_token }}" + tiny_chat.TEMPLATE
    return made


# what the runtime calls it: a tokenizer of the kind
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "gpt-2": lambda: byte_level(BYTES),
    "gpt-2, by a pattern": lambda: byte_level(split_by(splitting.GPT2)),
    "smollm": lambda: byte_level(pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), BYTES])),
    "llama-bpe": lambda: byte_level(split_by(splitting.LLAMA3), whole=True),
    "smaug-bpe": lambda: byte_level(split_by(splitting.LLAMA3)),
    "qwen2": lambda: byte_level(split_by(splitting.QWEN2), before=normalizers.NFC()),
    "default, a space before": lambda: pieces(normalizers.Sequence([normalizers.Prepend(SPACE), REPLACED])),
    "default, replaced": lambda: pieces(REPLACED),
    "default, split at nothing": lambda: pieces(REPLACED, pre_tokenizers.Split(" ", "merged_with_previous")),
    "default, never a space before": lambda: pieces(None, pre_tokenizers.Metaspace(SPACE, "never", False)),
}

_HEADS = {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8}
_ROPE = {"rope_theta": 10000.0, "factor": 4.0}
_LLAMA3 = _ROPE | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
_OLD = {"original_max_position_embeddings": 32}
# a name, a type of transformers, settings that differ from all others
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, tied, wide heads": ("llama", {"tie_word_embeddings": True, "head_dim": 32}),
    "llama, scaled as in Llama 3": ("llama", {"rope_parameters": _LLAMA3 | _OLD}),
    "llama, linear": ("llama", {"rope_parameters": _ROPE | {"rope_type": "linear"}}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen2, yarn": ("qwen2", {"rope_parameters": _ROPE | _OLD | {"rope_type": "yarn"}}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3, yarn": ("qwen3", {"head_dim": 32, "rope_parameters": _ROPE | _OLD | {"rope_type": "yarn"}}),
    "gemma": ("gemma", {"head_dim": 32}),
    "gemma2": ("gemma2", _HEADS),
    "gemma3_text": ("gemma3_text", _HEADS | {"num_hidden_layers": 7}),
    "gemma3_text, linear where all is seen": (
        "gemma3_text",
        _HEADS
        | {
            "num_hidden_layers": 7,
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                "full_attention": _ROPE | {"rope_type": "linear"},
            },
        },
    ),
    "gpt2": ("gpt2", {"n_positions": 128}),
    "smollm3": ("smollm3", {}),
    "granite": (
        "granite",
        {"attention_multiplier": 0.2, "embedding_multiplier": 3.0, "residual_multiplier": 0.5, "logits_scaling": 2.0},
    ),
    "olmo2": ("olmo2", {}),
    "phi3": ("phi3", {}),
}


def model(kind: str, words: Any, *, padded: int = 0, seed: int = 0, **settings: Any) -> Any:
    """Random weights of the type ``kind``, far from even attention, norms far from one."""
    end = words.eos_token_id
    size = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    if kind != "gpt2":
        size |= {"intermediate_size": 96, "num_key_value_heads": 2, "max_position_embeddings": 128}
    special = {"bos_token_id": words.bos_token_id, "eos_token_id": end, "pad_token_id": end}
    config = AutoConfig.for_model(kind, vocab_size=len(words) + padded, **{**size, **special, **settings})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for parameter in made.parameters():
            parameter += (0.3 if parameter.dim() > 1 else 0.2) * torch.randn_like(parameter)
    return made.eval()


def student(folder: Path, kind: str, words: Any, **settings: Any) -> Path:
    """A folder of such a model and its tokenizer."""
    return tiny_chat.save(model(kind, words, **settings), words, folder)


def log_probs(made: Any, ids: Sequence[int]) -> Any:
    """Log-probabilities (V,) of the next token, by torch."""
    with torch.no_grad():
        return made(torch.tensor([list(ids)])).logits[0, -1].double().log_softmax(-1).numpy()
