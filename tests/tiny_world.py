"""A whole small world: a two-layer Llama that was taught the task, an encoder, 400 texts with gold, a recipe.

world = make(folder)
recipe = world.recipe(name="a", **{"distill.train.epochs": 2})
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

import tiny_models
from stillhouse.recipe import Recipe, parse_recipe

LABELS = ("bad", "good")
ROWS = 400


@dataclass(frozen=True)
class World:
    """Where everything lies."""

    folder: Path
    teacher: Path
    teacher_gguf: Path
    encoder: Path
    data: Path

    def mapping(self) -> dict[str, Any]:
        """The recipe as a mapping, to be changed and broken at will."""
        return copy.deepcopy(
            {
                "name": "tiny",
                "labels": list(LABELS),
                "rights": {"commercial": False},
                "raw": {
                    "sources": [
                        {
                            "name": "words",
                            "data": str(self.data),
                            "license": "CC0-1.0",
                            "columns": {"text": "text", "label": "label", "groups": {"tone": "tone"}},
                        }
                    ],
                    "split": {"test": 100, "validation": 40},
                },
                "ferment": {
                    "teacher": {"kind": "local", "model": str(self.teacher), "license": "MIT", "batch_tokens": 64},
                    "prompt": {
                        "question": "text : {text} label :",
                        "answer": " {label}",
                        "separator": " ",
                        "examples": [{"text": "great fine", "label": "good"}, {"text": "dull grim", "label": "bad"}],
                    },
                },
                "distill": {
                    "student": {"kind": "keep-layers", "base": str(self.encoder), "license": "MIT", "keep": 2},
                    "train": {"epochs": 2, "batch_size": 16, "learning_rate": 3e-3, "max_length": 32, "threads": 1},
                },
                "finish": {
                    "evaluate": {"resamples": 200},
                    "audit": {"pairs": 12, "own_documents": 0},
                    "gates": {"required": []},  # most tests are not about how good the student is
                    "speed": {"batch_texts": 16, "single_texts": 4, "teacher_texts": 4, "threads": 1},
                    "int8": {"max_disagreement": 0.2},
                },
            }
        )

    def recipe(self, **changes: object) -> Recipe:
        """The recipe with dotted fields changed."""
        return parse_recipe(self.mapping(), [f"{key}={json.dumps(value)}" for key, value in changes.items()])


def make(folder: Path) -> World:
    """Make the world below ``folder``."""
    logging.disable_progress_bar()
    texts, probs = tiny_models.task(ROWS, seed=1)
    data = folder / "texts.jsonl"
    rows = [
        {"text": text, "label": LABELS[int(share[1] > share[0])], "tone": "long" if len(text) > 30 else "short"}
        for text, share in zip(texts, probs, strict=True)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return World(
        folder,
        _teacher(folder / "teacher"),
        gguf_teacher(folder / "tiny.gguf"),
        tiny_models.encoder(folder / "encoder"),
        data,
    )


def language_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words, split at spaces."""
    words = [
        "<s>",
        "</s>",
        "<unk>",
        "text",
        "label",
        ":",
        *LABELS,
        *tiny_models.GOOD,
        *tiny_models.BAD,
        *tiny_models.PLAIN,
    ]
    core = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>", unk_token="<unk>"
    )


def _teacher(folder: Path) -> Path:
    """A tiny Llama (grouped keys, tied head) taught to say the right label after a few examples."""
    tokenizer = language_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    texts, probs = tiny_models.task(1600, seed=2)
    lines = [f"text : {t} label : {LABELS[int(p[1] > p[0])]}" for t, p in zip(texts, probs, strict=True)]
    for step in range(120):
        batch = [" ".join(lines[(step * 24 + row) % 1600 + shot] for shot in range(1)) for row in range(24)]
        encoded = tokenizer(batch, padding=True, return_tensors="pt")
        labels = encoded["input_ids"].masked_fill(encoded["attention_mask"] == 0, -100)
        model(input_ids=encoded["input_ids"], attention_mask=encoded["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def gguf_teacher(path: Path) -> Path:
    """A Llama of random weights that reads characters, as a GGUF file: labels take several tokens."""
    random = np.random.default_rng(0)
    hidden, inner, heads, groups = 32, 48, 4, 2
    tokens = ["<s>", "</s>", *(chr(code) for code in range(33, 127)), "Ġ", "Ċ", "zz"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(groups)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * (len(tokens) - 2))
    writer.add_token_merges(["z z"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    shapes = {"token_embd": (len(tokens), hidden)}
    for block in range(2):
        width = hidden // heads * groups
        shapes |= {
            f"blk.{block}.attn_q": (hidden, hidden),
            f"blk.{block}.attn_k": (width, hidden),
            f"blk.{block}.attn_v": (width, hidden),
            f"blk.{block}.attn_output": (hidden, hidden),
            f"blk.{block}.ffn_gate": (inner, hidden),
            f"blk.{block}.ffn_up": (inner, hidden),
            f"blk.{block}.ffn_down": (hidden, inner),
        }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.normal(0, 0.3, shape).astype(np.float32))
    for name in ("output_norm", *(f"blk.{block}.{norm}" for block in range(2) for norm in ("attn_norm", "ffn_norm"))):
        writer.add_tensor(f"{name}.weight", np.ones(hidden, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
