"""Which loss? Each named one on a tiny pair, over seeds: a table, and the default that a rule draws from it.

Every loss starts from the same student and sees the same lessons in the same order; seeds have lessons of their own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.distill_pair import LENGTH, PROMPT, RATE, VOCABULARY, Quality, TinyPair, order
from bench.distill_rule import FIRST, SPARSE, Results, compare, default_of, tied
from bench.report import Figure, timed
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import TokenLoss, token_losses
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.signals import Header, TokenDist, TokenDistWriter

EPOCHS = 2
M = 30  # draws for a rest of mass one
LOSSES: Mapping[str, TokenLoss] = {
    FIRST: TokenLoss("forward-kl"),
    "reverse-kl": TokenLoss("reverse-kl"),
    "jsd": TokenLoss("jsd", alpha=0.5),
    "skew-forward-kl": TokenLoss("skew-forward-kl", alpha=0.1),
    "skew-reverse-kl": TokenLoss("skew-reverse-kl", alpha=0.1),
    "alpha-beta": TokenLoss("alpha-beta", alpha=0.2, beta=0.7),
    "cross-entropy": TokenLoss("cross-entropy"),
    "half forward-kl, half hard": TokenLoss("forward-kl", hard_weight=0.5),
    "gated mix": TokenLoss("skew-forward-kl", alpha=0.1, hard_weight=0.5, entropy_gate=0.8),
}
UNITS = {"kl": "nats", "agreement": "", "perplexity": ""}

Targets = Callable[[torch.Tensor], Target]  # rows of lessons -> targets of their learned places


def loss_figures(*, quick: bool, work: Path) -> list[Figure]:
    """The table, what it decides, and what sparse draws cost; runs that ``work`` holds are not made again."""
    with timed("tiny pair"):
        pair = TinyPair.make(work, quick=quick)
    with timed("losses x seeds"):
        results = _results(pair, work)
    compared = compare(results)
    choice = default_of(results, compared)
    untrained, teacher = pair.judge(pair.student()), pair.judge(pair.teacher)
    tokens = EPOCHS * pair.written.shape[1] * (LENGTH - PROMPT)
    found = [
        Figure("tiny pair: perplexity of real text, teacher", teacher.perplexity),
        Figure("  two of its four layers, untrained: KL", untrained.kl, "nats"),
        Figure("  tokens learned by each student", tokens, "tokens"),
        Figure("  seeds", pair.sizes.seeds),
    ]
    for name, runs in results.items():
        found += [_mean(name, metric, [getattr(one, metric) for one in runs]) for metric in UNITS]
    for name, verdicts in compared.items():
        found.append(Figure(f"{name} against {FIRST}", ", ".join(f"{key} {value}" for key, value in verdicts.items())))
    cost = float(np.mean([a.kl - b.kl for a, b in zip(results[SPARSE], results[FIRST], strict=True)]))
    return [
        *found,
        Figure("the default that follows", choice),
        Figure("  losses no worse on anything", ", ".join(tied(compared)) or "none"),
        Figure("sparse draws over all probabilities: KL", cost, "nats", None if quick else ("<=", 0.01)),
    ]


def _results(pair: TinyPair, folder: Path) -> Results:
    """Quality of each loss by seed. A seed's targets are computed once and serve all its losses."""
    kept = folder / "losses.json"
    known: dict[str, dict[str, Any]] = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    for seed in range(pair.sizes.seeds):
        missing = [name for name in (*LOSSES, SPARSE) if f"{name} {seed}" not in known]
        if not missing:
            continue
        ids = pair.lessons(seed)
        dense, sparse = everything(pair, ids), drawn(pair, ids, folder / f"draws-{seed}")
        for name in missing:
            loss = LOSSES.get(name, LOSSES[FIRST])
            student = learn(pair.student(), ids, loss, sparse if name == SPARSE else dense, seed=seed)
            known[f"{name} {seed}"] = asdict(pair.judge(student))
            kept.write_text(json.dumps(known), encoding="utf-8")
    return kept_results(folder)


def kept_results(folder: Path) -> Results:
    """The qualities that a finished table left in its folder, each loss with its seeds in order."""
    known = json.loads((folder / "losses.json").read_text("utf-8"))
    seeds = len({key.rsplit(" ", 1)[1] for key in known})
    return {name: [Quality(**known[f"{name} {seed}"]) for seed in range(seeds)] for name in (*LOSSES, SPARSE)}


def learn(student: Any, ids: torch.Tensor, loss: TokenLoss, targets: Targets, *, seed: int) -> Any:
    """Train on the learned places of lessons (N, LENGTH); the seed orders them, and every loss sees one order."""
    batches = [rows for epoch in range(EPOCHS) for rows in order(len(ids), seed=100 * seed + epoch)]
    optimizer = torch.optim.AdamW(student.train().parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=len(batches) + 1, pct_start=0.1)
    for rows in batches:
        logits = student(input_ids=ids[rows, :-1]).logits[:, PROMPT - 1 :].flatten(0, 1)
        token_losses(logits, targets(rows), ids[rows, PROMPT:].flatten(), loss)["loss"].mean().backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return student


def everything(pair: TinyPair, ids: torch.Tensor) -> Targets:
    """The teacher's whole distributions about the learned places, kept in memory."""
    with torch.inference_mode():
        parts = [pair.teacher(input_ids=part[:, :-1]).logits[:, PROMPT - 1 :].softmax(-1) for part in ids.split(64)]
    probs = torch.cat(parts).clone()
    return lambda rows: Target("dense", VOCABULARY, probs[rows].flatten(0, 1))


def drawn(pair: TinyPair, ids: torch.Tensor, folder: Path) -> Targets:
    """What the signal store keeps of them, and gives back."""
    documents = [(f"{row:032x}", one) for row, one in enumerate(ids.tolist())]
    header = Header("tiny", "tiny", "", VOCABULARY, "float32", m=M)
    with TokenDistWriter(folder, header) as writer:
        capture_distributions(pair.teacher, documents, writer=writer, start=PROMPT)
    stored = TokenDist.open(folder)

    def targets(rows: torch.Tensor) -> Target:
        parts = stored.read_many([documents[row] for row in rows.tolist()], start=PROMPT)
        return Target.of_distributions(parts, form="sparse", vocabulary=VOCABULARY)

    return targets


def _mean(name: str, metric: str, values: Sequence[float]) -> Figure:
    spread = float(np.std(values, ddof=1))
    return Figure(f"{name}: {metric}", float(np.mean(values)), f"{UNITS[metric]} ± {spread:.2g}".strip())
