"""What a pilot lets go of where rows are many, and what that costs a student that can learn more than its proxy.

Rows are drawn from a law that is known: a part of it is linear, as the proxy is, and a part is a product of two
features, which the student, a network with one hidden layer, learns and the proxy cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np
import torch

from bench.cuts_students import interval
from bench.report import Figure
from stillhouse.distill.pilot import pilot
from stillhouse.distill.prices import Flags
from stillhouse.distill.probe import FOLDS, Matrix, out_of_fold, trusted
from stillhouse.distill.proxies_classification import Proving
from stillhouse.distill.quotas import select
from stillhouse.distill.scores import Floats, ease

FEATURES, HIDDEN, TESTED = 64, 64, 20_000
SEEDS, EPOCHS, BATCH, RATE = 5, 3, 128, 3e-3
SIZES = (5_000, 20_000, 60_000)
SHARES = (0.8, 0.6, 0.4, 0.2)
LOSS = 0.01  # of accuracy, at most


@dataclass(frozen=True)
class Drawn:
    """features (N, H), what a teacher says of them (N, 2), and which label is right (N,)."""

    features: Matrix
    taught: Floats
    gold: Flags

    @classmethod
    def of(cls, rows: int, random: np.random.Generator) -> Drawn:
        """Rows from the law."""
        x = random.normal(size=(rows, FEATURES)).astype(np.float32)
        logit = 1.5 * x[:, 0] + 0.8 * x[:, 1] * x[:, 2] + random.normal(0, 0.7, rows)
        right = 1 / (1 + np.exp(-2 * logit))
        return cls(x, np.stack([1 - right, right], 1), logit > 0)


def many_figures(*, quick: bool, work: Path) -> list[Figure]:
    """The share that is kept by number of rows; the student's accuracy with it, and with as many rows by chance."""
    random = np.random.default_rng(0)
    tested = Drawn.of(TESTED, random)
    found: list[Figure] = []
    for rows in SIZES[:1] if quick else SIZES:
        one, folds, ids = Drawn.of(rows, random), np.arange(rows) % FOLDS, [f"{row:08}" for row in range(rows)]
        keep = trusted(one.features, one.taught, folds)
        easy = ease(one.taught, out_of_fold(one.features, one.taught, folds, keep=keep))

        def leaving(share: float, scores: Floats = easy, ids: list[str] = ids) -> Flags:
            return select(scores, ["all"] * len(ids), {"all": share}, ids=ids, at_random=np.zeros(len(ids), dtype=bool))

        proving = Proving(one.features, one.taught, folds, {}, np.ones(rows, dtype=bool))
        chosen = pilot(proving, leaving, shares=SHARES, margin=0.002, group_margin=0.02)
        found.append(Figure(f"pilot of {rows:,} rows from a known law: share that it keeps", chosen.share))
        if chosen.share == 1:
            continue
        stay = ~leaving(1 - chosen.share)
        kept = {"all": stay | True, "the pilot's rows": stay, "as many rows by chance": random.permutation(stay)}
        seeds = range(2 if quick else SEEDS)
        right = {name: [_accuracy(one, mask, tested, seed) for seed in seeds] for name, mask in kept.items()}
        for name in list(kept)[1:]:
            gains = [b - a for a, b in zip(right["all"], right[name], strict=True)]
            low, high = interval(gains)
            bar = (">=", -LOSS) if name == "the pilot's rows" else None
            title = f"  a student of {name}, less that of all"
            found.append(Figure(title, mean(gains), f"[{low:+.4f}, {high:+.4f}]", bar))
        found.append(Figure("  steps of training that this saves, as a share", 1 - chosen.share))
    return found


def _accuracy(one: Drawn, keep: Flags, tested: Drawn, seed: int) -> float:
    """Of a network with one hidden layer, taught the kept rows by KL to the teacher's probabilities."""
    torch.manual_seed(seed)
    layers = (torch.nn.Linear(FEATURES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 2))
    student = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE)
    x, y = torch.tensor(one.features[keep]), torch.tensor(one.taught[keep], dtype=torch.float32)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.kl_div(student(x[rows]).log_softmax(1), y[rows], reduction="batchmean").backward()
            optimizer.step()
    with torch.inference_mode():
        said = student(torch.tensor(tested.features)).argmax(1).numpy()
    return float((said == tested.gold).mean())
