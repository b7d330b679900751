"""Replay against a live teacher: the same student, text and order, once from stored draws and once from the whole
distributions of a teacher that runs beside it.

The teacher is the chat recipe's; the student has 8 of its 30 layers, and learns in the recipe's way: bfloat16 products,
float32 weights. The text is the chat recipe's prompts to train on, and its plain texts to judge. Both ways go through
one loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from bench.distill_pair import perplexity
from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.distill.students.decoders import keep_decoder_layers, layers_of
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import TokenLoss, value_and_gradient
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.recipe import load_recipe
from stillhouse.signals import Header, TokenDist, TokenDistWriter
from stillhouse.teachers import LocalTeacher
from stillhouse.teachers.local import model_folder

RECIPE = ROOT / "recipes" / "chat.yaml"
LENGTH = 128  # tokens that a document has rows about
BATCH = 4  # documents of a step
EPOCHS = 3
M = 30
RATE = 3e-4
LAYERS = 8

Tensor = torch.Tensor
Targets = Callable[[list[int]], Target]  # numbers of documents -> targets, one document after the other


@dataclass(frozen=True)
class Learned:
    """seconds of each epoch; held-out KL to the teacher, in nats a token; perplexity of the held-out text."""

    seconds: tuple[float, ...]
    kl: float
    perplexity: float


def replay_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Held-out KL and time of both ways; the capture is counted apart, since it is paid once."""
    with timed("teacher and text"):
        teacher, folder, training, held = _material(4 if quick else 128, 2 if quick else 24)
    documents = [(f"{row:032x}", ids) for row, ids in enumerate(training.tolist())]
    started = time.perf_counter()
    stored = _stored(teacher, documents, work)
    capture = time.perf_counter() - started

    def live(rows: list[int]) -> Target:
        with torch.inference_mode():
            logits = teacher.model(input_ids=training[rows, :-1], use_cache=False).logits
            return Target.of_logits(logits.flatten(0, 1))

    def replayed(rows: list[int]) -> Target:
        parts = stored.read_many([documents[row] for row in rows])
        return Target.of_distributions(parts, form="sparse", vocabulary=stored.header.vocabulary)

    found = {}
    for name, targets in {"live": live, "stored": replayed}.items():
        with timed(f"student, {name}"):
            found[name] = learn(student(folder), teacher.model, training, held, targets)
    later = {name: sum(one.seconds[1:]) / (EPOCHS - 1) for name, one in found.items()}
    tokens = len(training) * LENGTH

    def bar(sense: str, limit: float) -> tuple[str, float] | None:
        return None if quick else (sense, limit)

    return [
        Figure("replay: teacher", sum(part.numel() for part in teacher.model.parameters()) / 1e6, "M params"),
        Figure("  student", sum(part.numel() for part in student(folder).parameters()) / 1e6, "M params"),
        Figure("  tokens of an epoch", tokens, "tokens"),
        Figure("  capture, once", capture, "s"),
        *(Figure(f"  an epoch from the second on, {name}", seconds, "s") for name, seconds in later.items()),
        Figure("  stored over live", later["stored"] / later["live"], "", bar("<=", 0.5)),
        Figure("  capture and all epochs, stored, over live", _whole(found, capture), ""),
        *(Figure(f"  held-out KL, {name}", one.kl, "nats") for name, one in found.items()),
        Figure("  stored over live: KL", found["stored"].kl - found["live"].kl, "nats", bar("<=", 0.01)),
        *(Figure(f"  held-out perplexity, {name}", one.perplexity) for name, one in found.items()),
    ]


def learn(model: Any, teacher: Any, ids: Tensor, held: Tensor, targets: Targets) -> Learned:
    """Forward KL over all places of documents (N, LENGTH + 1), in one order for all ways."""
    loss = TokenLoss("forward-kl")
    steps = EPOCHS * -(-len(ids) // BATCH)
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=0.1)
    seconds = []
    for epoch in range(EPOCHS):
        started = time.perf_counter()
        for rows in torch.randperm(len(ids), generator=torch.Generator().manual_seed(epoch)).split(BATCH):
            target, gold = targets(rows.tolist()), ids[rows, 1:].flatten()
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(input_ids=ids[rows, :-1], use_cache=False).logits.flatten(0, 1)
            weights = torch.full((len(gold),), 1 / len(gold))
            _, gradient = value_and_gradient(logits.detach().float(), target, gold, loss, weights)
            logits.backward(gradient.to(logits.dtype))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        seconds.append(time.perf_counter() - started)
    return Learned(tuple(seconds), _divergence(teacher, model.eval(), held), perplexity(model, held))


def student(folder: Path) -> Any:
    """Evenly chosen layers of the model in ``folder``."""
    model, _ = keep_decoder_layers(folder, spread(LAYERS, layers_of(AutoConfig.from_pretrained(folder))))
    return model.requires_grad_()


def _divergence(teacher: Any, model: Any, ids: Tensor) -> float:
    """Mean KL of the student to the teacher over the places of documents (N, LENGTH + 1)."""
    total = 0.0
    with torch.inference_mode():
        for part in ids.split(BATCH):
            log_p, log_q = (one(input_ids=part[:, :-1]).logits.float().log_softmax(-1) for one in (teacher, model))
            total += float((log_p.exp() * (log_p - log_q)).sum())
    return total / ids[:, 1:].numel()


def _material(number: int, held_out: int) -> tuple[LocalTeacher, Path, Tensor, Tensor]:
    """The teacher and its folder; prompts joined and cut into documents (N, LENGTH + 1); other text, cut likewise."""
    recipe = load_recipe(RECIPE)
    files = resolve(recipe.ferment.teacher.model, cache=ROOT / "cache", base=RECIPE.parent)  # type: ignore[union-attr]
    teacher = LocalTeacher.load(files, place("cpu", "auto"), cache=ROOT / "cache")
    prompts, other = (
        [json.loads(line) for line in (RECIPE.parent / "chat" / name).read_text("utf-8").splitlines()]
        for name in ("prompts.jsonl", "other.jsonl")
    )

    def cut(texts: list[str], most: int) -> Tensor:
        ids = teacher.tokenizer("\n".join(texts))["input_ids"]
        size = LENGTH + 1
        return torch.tensor([ids[at : at + size] for at in range(0, len(ids) - size, size)][:most])

    asked = [row["messages"][0]["content"] for row in prompts]
    return (
        teacher,
        model_folder(files, ROOT / "cache"),
        cut(asked, number),
        cut([row["text"] for row in other], held_out),
    )


def _stored(teacher: LocalTeacher, documents: list[tuple[str, list[int]]], work: Path) -> TokenDist:
    about = teacher.identity()
    header = Header(
        teacher=about["weights"],
        tokenizer=about["tokenizer"],
        template="",
        vocabulary=int(teacher.model.config.vocab_size),
        precision=about["precision"],
        m=M,
    )
    with TokenDistWriter(work, header) as writer:
        capture_distributions(teacher.model, documents, writer=writer)
    return TokenDist.open(work)


def _whole(found: dict[str, Learned], capture: float) -> float:
    return (capture + sum(found["stored"].seconds)) / sum(found["live"].seconds)
