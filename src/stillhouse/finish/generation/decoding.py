"""How fast a language model reads and writes, and how large it is, beside its teacher's figures.

speeds = measure({"teacher": teacher, "student": student}, prompt_tokens=128, new_tokens=32, repeats=3)
speeds["student"].decode[1]       # tokens a second, one answer at a time
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stillhouse.finish.evaluate import Row
from stillhouse.stock import context_of

BATCHES = (1, 8)


@dataclass(frozen=True)
class Speed:
    """Tokens a second by batch size, over all answers of the batch. new_tokens: written in each measurement."""

    prefill: Mapping[int, float]
    decode: Mapping[int, float]
    new_tokens: int

    def rows(self, name: str) -> list[Row]:
        """Rows of one model."""
        return [
            Row(name, metric, f"batch={batch}", value, None, None, self.new_tokens)
            for metric, values in (("prefill_tokens_per_s", self.prefill), ("decode_tokens_per_s", self.decode))
            for batch, value in values.items()
        ]


def measure(models: Mapping[str, Any], *, prompt_tokens: int, new_tokens: int, repeats: int = 3) -> dict[str, Speed]:
    """Medians of ``repeats`` after one warm-up; models take turns, so that a busy machine is busy for all of them.

    Prompts are shortened where a model's context would not hold them with the answer.
    """
    contexts = [context_of(model) for model in models.values()]
    new_tokens = min(new_tokens, max(1, min(contexts) // 2))
    prompt_tokens = min(prompt_tokens, min(contexts) - new_tokens)
    taken: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for turn in range(repeats + 1):
        for batch in BATCHES:
            for name, model in models.items():
                seconds = _seconds(model, batch, prompt_tokens, new_tokens)
                if turn:
                    taken.setdefault((name, batch), []).append(seconds)
    found = {}
    for name in models:
        reading = {batch: median(read for read, _ in taken[name, batch]) for batch in BATCHES}
        writing = {batch: median(wrote for _, wrote in taken[name, batch]) for batch in BATCHES}
        found[name] = Speed(
            {batch: batch * prompt_tokens / reading[batch] for batch in BATCHES},
            {batch: batch * new_tokens / writing[batch] for batch in BATCHES},
            new_tokens,
        )
    return found


def _seconds(model: Any, batch: int, prompt_tokens: int, new_tokens: int) -> tuple[float, float]:
    """Seconds of reading a batch of prompts, and of writing after them; the ids mean nothing and cost the same."""
    import torch

    words = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(batch * prompt_tokens, device=model.device).reshape(batch, prompt_tokens) % words
    with torch.inference_mode():
        started = _now(model)
        output = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        read = _now(model)
        for _ in range(new_tokens):
            ids = output.logits[:, -1:].argmax(-1)
            output = model(input_ids=ids, cache=output.cache, use_cache=True, logits_to_keep=1)
        wrote = _now(model)
    return max(read - started, 1e-9), max(wrote - read, 1e-9)


def _now(model: Any) -> float:
    import torch

    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


def parameters(model: Any) -> int:
    """How many numbers the model has learned; tied matrices count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights in a folder."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
