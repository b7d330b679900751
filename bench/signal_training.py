"""A tiny language model taught by another one: by its full distribution, by our store, and by a renormalized top-k.

Teacher and student have a vocabulary of their own, made from the snippets, so that both are trained here in a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from bench.report import Figure
from bench.signal_material import Documents, M, Material, store_bytes
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.signals import Header, TokenDist, TokenDistWriter

VOCABULARY = 2048
LENGTH = 128  # tokens that a document has rows about
BATCH = 16  # documents of a step
EPOCHS = 2
TEACHER_EPOCHS = 6  # it must know more than how often each token comes
LEARNING_RATE = 3e-3
TOP = 12

Tensor = torch.Tensor


def training_figures(material: Material) -> list[Figure]:
    """Held-out KL to the teacher after the same batches from the same start, once for each kind of signal."""
    number, rest, texts = (32, 16, 1000) if material.quick else (1536, 64, len(material.texts))
    training, held_out = _documents(material.texts[:texts], number, rest)
    ids = torch.tensor([ids for _, ids in training])
    teacher = _model(hidden=192, layers=3, seed=0)
    _train(
        teacher,
        ids,
        lambda rows: torch.nn.functional.one_hot(ids[rows, 1:], VOCABULARY).float(),
        epochs=1 if material.quick else TEACHER_EPOCHS,
    )
    work = material.work / "tiny"
    header = Header("tiny", "tiny", "", VOCABULARY, "float32", m=M)
    with TokenDistWriter(work, header) as writer:
        capture_distributions(teacher, training, writer=writer)
    stored = TokenDist.open(work)

    def full(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return teacher(input_ids=ids[rows, :-1]).logits.softmax(-1)

    def ours(rows: Tensor) -> Tensor:
        kept = stored.read_many([training[row] for row in rows.tolist()])
        return torch.stack([torch.from_numpy(part.dense(VOCABULARY)) for part in kept])

    def top_k(rows: Tensor) -> Tensor:
        values, likely = full(rows).topk(TOP)
        kept = values / values.sum(-1, keepdim=True)
        return torch.zeros(*values.shape[:-1], VOCABULARY).scatter(-1, likely, kept)

    ends = {}
    for name, signal in {"full KL": full, "our store": ours, f"top-{TOP} renormalized": top_k}.items():
        student = _model(hidden=160, layers=2, seed=1)
        _train(student, ids, signal)
        ends[name] = _divergence(teacher, student, held_out)
    worse = {name: value - ends["full KL"] for name, value in ends.items()}
    with torch.inference_mode():
        says = teacher(input_ids=held_out[:, :-1]).logits.log_softmax(-1).flatten(0, 1)
        loss = float(torch.nn.functional.nll_loss(says, held_out[:, 1:].flatten()))
        entropy = float(-(says.exp() * says).sum(-1).mean())
    return [
        Figure("tiny teacher: held-out cross-entropy", loss, "nats"),
        Figure("  entropy of what it says", entropy, "nats"),
        Figure("tiny student", sum(part.numel() for part in student.parameters()) / 1e6, "M params"),
        Figure("  tokens it is trained on", EPOCHS * len(training) * LENGTH, "tokens"),
        Figure("  bytes a token of our store", store_bytes(work) / (len(training) * LENGTH), "B/token"),
        *(Figure(f"  held-out KL, {name}", value, "nats") for name, value in ends.items()),
        Figure("  our store over full KL", worse["our store"], "nats", material.bar("<=", 0.01)),
        Figure(f"  top-{TOP} over full KL", worse[f"top-{TOP} renormalized"], "nats", material.bar(">=", 0.01)),
    ]


def _documents(texts: list[str], number: int, rest: int) -> tuple[Documents, Tensor]:
    """Documents to train on, and held-out ids (rest, LENGTH + 1), in a vocabulary learnt from the texts."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False)
    ids = tokenizer.encode("\n".join(texts)).ids
    size = LENGTH + 1
    cut = [ids[at : at + size] for at in range(0, (number + rest) * size, size)]
    return [(f"{row:032x}", part) for row, part in enumerate(cut[:number])], torch.tensor(cut[number:])


def _model(*, hidden: int, layers: int, seed: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    size = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers}
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        num_attention_heads=4,
        max_position_embeddings=LENGTH + 1,
        tie_word_embeddings=True,
        **size,
    )
    return LlamaForCausalLM(config)


def _train(model: Any, ids: Tensor, target: Callable[[Tensor], Tensor], *, epochs: int = EPOCHS) -> None:
    """Minimize the cross-entropy to ``target`` (B, L, V) of document numbers (B,): as KL, but for a constant."""
    random = torch.Generator().manual_seed(0)
    batches = [rows for _ in range(epochs) for rows in torch.randperm(len(ids), generator=random).split(BATCH)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=len(batches) + 1, pct_start=0.1
    )
    for rows in batches:
        log_q = model(input_ids=ids[rows, :-1]).logits.log_softmax(-1)
        loss = -(target(rows) * log_q).sum(-1).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()


def _divergence(teacher: Any, student: Any, ids: Tensor) -> float:
    """Mean KL of the student to the teacher, in nats a token."""
    with torch.inference_mode():
        log_p, log_q = (model(input_ids=ids[:, :-1]).logits.log_softmax(-1) for model in (teacher, student))
        return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())
