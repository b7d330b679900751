"""A tiny language model taught by the teacher's full distribution, by our store, and by a renormalized top-k."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench.report import Figure
from bench.signal_material import LENGTH, Documents, Material

Tensor = torch.Tensor


def training_figures(material: Material) -> list[Figure]:
    """Held-out KL to the teacher after the same batches from the same start, once for each kind of signal."""
    training, held_out, head = material.training, material.held_out, material.head
    hidden = material.hidden("teacher", material.teacher.model, training + held_out)
    ids, probs = material.stored()

    def full(rows: Tensor, q: Tensor) -> Tensor:
        return q.sub_((hidden[rows].float() @ head.T).softmax(-1))

    def ours(rows: Tensor, q: Tensor) -> Tensor:
        return q.scatter_add_(1, ids[rows], -probs[rows])

    def top_k(rows: Tensor, q: Tensor) -> Tensor:
        values, likely = (hidden[rows].float() @ head.T).softmax(-1).topk(12)
        return q.scatter_add_(1, likely, -values / values.sum(-1, keepdim=True))

    last = hidden[len(training) * LENGTH :]
    ends = {
        name: _train(training, held_out, last, head, signal, epochs=2)
        for name, signal in {"full KL": full, "our store": ours, "top-12 renormalized": top_k}.items()
    }
    worse = {name: value - ends["full KL"] for name, value in ends.items()}
    return [
        *(Figure(f"tiny model on {name}: held-out KL", value, "nats") for name, value in ends.items()),
        Figure("  our store over full KL", worse["our store"], "nats", material.bar("<=", 0.01)),
        Figure("  top-12 over full KL", worse["top-12 renormalized"], "nats", material.bar(">=", 0.01)),
    ]


def _train(
    training: Documents,
    held_out: Documents,
    hidden: Tensor,
    head: Tensor,
    gradient: Callable[[Tensor, Tensor], Tensor],
    *,
    epochs: int,
) -> float:
    """Train on a gradient of the logits, q - p, as the signal gives it; returns the held-out KL to the teacher."""
    from transformers import LlamaConfig, LlamaModel

    torch.manual_seed(0)
    size = {"hidden_size": 48, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaModel(LlamaConfig(vocab_size=head.shape[0], max_position_embeddings=LENGTH, **size))
    weight = model.embed_tokens.weight
    batches = list(_batches(len(training), epochs))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=len(batches) + 1, pct_start=0.1)
    for batch in batches:
        ids = torch.tensor([training[row][1][:-1] for row in batch])
        rows = (torch.tensor(batch).unsqueeze(1) * LENGTH + torch.arange(LENGTH)).reshape(-1)
        states = model(input_ids=ids, use_cache=False).last_hidden_state.flatten(0, 1)
        with torch.no_grad():
            error = gradient(rows, (states @ weight.T).softmax(-1)) / len(rows)
        states.backward(error @ weight.detach())
        weight.grad += error.T @ states.detach()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return _held_out_kl(model, held_out, hidden, head)


def _batches(documents: int, epochs: int) -> Iterator[list[int]]:
    random = np.random.default_rng(0)
    for _ in range(epochs):
        order = random.permutation(documents).tolist()
        yield from (order[at : at + 4] for at in range(0, documents, 4))


def _held_out_kl(model: Any, documents: Documents, hidden: Tensor, head: Tensor) -> float:
    total = 0.0
    with torch.inference_mode():
        for row, (_, ids) in enumerate(documents):
            states = model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).last_hidden_state[0]
            log_q = (states @ model.embed_tokens.weight.T).log_softmax(-1)
            log_p = (hidden[row * LENGTH : (row + 1) * LENGTH].float() @ head.T).log_softmax(-1)
            total += float((log_p.exp() * (log_p - log_q)).sum())
    return total / (len(documents) * LENGTH)
