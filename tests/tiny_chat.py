"""Tiny language models that chat: a byte-level tokenizer with a template, random models, and one that was taught.

tokenizer = tokenizer()
model = tiny_chat.model(tokenizer, seed=1)
teach(model, tokenizer, [("say fine", "fine")], steps=60)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WORDS = ("fine", "great", "dull", "grim", "warm", "cold", "long", "short")


def tokenizer(*, size: int = 300, template: str | None = TEMPLATE) -> PreTrainedTokenizerFast:
    """Byte-level pairs; ``pad == eos == <|im_end|>``, as in many small chat models."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator([f"user assistant say {word}\n" for word in WORDS] * 3, trainer)
    core.post_processor = processors.ByteLevel(trim_offsets=False)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|im_end|>", pad_token="<|im_end|>", extra_special_tokens=["<|im_start|>"]
    )
    made.chat_template = template
    return made


def model(words: Any, *, seed: int = 0, padded: int = 0, layers: int = 2, noise: float = 0.3) -> LlamaForCausalLM:
    """A Llama with random weights whose head has ``padded`` outputs more than the tokenizer has tokens."""
    end = words.eos_token_id
    config = LlamaConfig(
        vocab_size=len(words) + padded,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=end,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = LlamaForCausalLM(config)
        for parameter in made.parameters():
            parameter.data += noise * torch.randn_like(parameter)
    return made.eval()


def teach(taught: Any, words: Any, pairs: Sequence[tuple[str, str]], *, steps: int, rate: float = 5e-3) -> None:
    """Plain fine-tuning on question and answer, the end of the turn included."""
    texts = [
        words.apply_chat_template(
            [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], tokenize=False
        )
        for question, answer in pairs
    ]
    rows = [words(text.rstrip("\n"), add_special_tokens=False)["input_ids"] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(taught.parameters(), lr=rate)
    taught.train()
    for step in range(steps):
        part = slice(step * 16 % len(rows), step * 16 % len(rows) + 16)
        taught(input_ids=ids[part], labels=labels[part]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    taught.eval()


def save(made: Any, words: Any, folder: Path) -> Path:
    """Write model and tokenizer as transformers does."""
    logging.disable_progress_bar()
    made.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
