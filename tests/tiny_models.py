"""Real models with random weights, small enough to make, train and throw away within a test.

``encoder(folder, "roberta")`` writes an encoder of that architecture and a tokenizer; ``decoder("llama", **sizes)``
makes a language model; ``task()`` gives texts whose label a student can learn in a few steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

GOOD, BAD = ("fine", "great", "lovely", "warm"), ("poor", "dull", "grim", "cold")
PLAIN = ("the", "film", "book", "was", "is", "a", "very", "day", "and", "long")
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_SIZE = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}


def tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words that claims no length limit."""
    words = {word: index for index, word in enumerate((*_SPECIAL, *GOOD, *BAD, *PLAIN))}
    core = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def encoder(folder: Path, kind: str = "bert", *, layers: int = 4, seed: int = 0) -> Path:
    """Write a headless encoder of architecture ``kind`` and its tokenizer into ``folder``."""
    words = tokenizer()
    size: dict[str, object] = dict(_SIZE)
    if kind == "distilbert":
        size = {"dim": 16, "n_heads": 2, "hidden_dim": 24}
    if kind == "electra":
        size["embedding_size"] = 8
    special = {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3}
    config = AutoConfig.for_model(
        kind, vocab_size=len(words), max_position_embeddings=40, num_hidden_layers=layers, **size, **special
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(config)
        for parameter in model.parameters():  # fresh biases are all zero, so a mix-up would go unseen
            parameter.data += 0.2 * torch.randn_like(parameter)
    words.save_pretrained(folder)
    level = transformers.logging.get_verbosity()
    transformers.logging.disable_progress_bar()
    model.save_pretrained(folder)
    transformers.logging.set_verbosity(level)
    return folder


def decoder(kind: str, **settings: Any) -> Any:
    """Return a frozen float32 language model of architecture ``kind``, the same each time for the same settings."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings), dtype=torch.float32)
        for parameter in model.parameters():  # far from uniform attention: a wrong key, position or mask shows
            parameter.data += 0.4 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


def task(rows: int, *, seed: int = 0) -> tuple[list[str], NDArray[np.float64]]:
    """Return texts and a teacher's probabilities, (rows, 2): sure and right about good and bad words."""
    random = np.random.default_rng(seed)
    texts, probs = [], []
    for _ in range(rows):
        good = bool(random.integers(2))
        plain, telling = random.integers(0, 6), random.integers(2, 5)
        words = [*random.choice(PLAIN, size=plain), *random.choice(GOOD if good else BAD, size=telling)]
        random.shuffle(words)
        share = random.uniform(0.8, 0.98)
        texts.append(" ".join(map(str, words)))
        probs.append([1 - share, share] if good else [share, 1 - share])
    return texts, np.asarray(probs)
