"""Honest intervals, and rates of groups that are right and fast.

The design, set before the first full run: 4,000 pairs for each of four kinds and both sizes, the truth of every pair
drawn anew (accuracy, drop and share of discordant items), since with one fixed truth the coverage of discrete data
jumps with its rounding. One more kind, in which the student never knows what its teacher does not, has no bar.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.report import Figure
from stillhouse.finish.audit.rates import (
    Tally,
    demographic_parity_difference,
    equalized_odds_difference,
    gap,
)
from stillhouse.statistics import Floats, Ints, over_seeds, retention

PAIRS, QUICK_PAIRS = 4000, 150
SIZES = (200, 2000)
NEAR_CHANCE = "near chance"
ONE_SIDED = "only the teacher knows more"
ROWS, GROUPS, DRAWS = 4000, 6, 1000
PEER_DRAWS = 50  # one draw of the peer costs as much as all of ours


def statistics_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Coverage of one-sided bounds; equality with fairlearn and the time of a thousand bootstraps beside its own."""
    return [*_coverage(QUICK_PAIRS if quick else PAIRS, quick), *_seed_figures(quick), *_metric_figures(quick)]


def _truth(kind: str, rng: np.random.Generator) -> tuple[float, float, Floats, float]:
    """Accuracies of teacher and student, chances of (both, student only, teacher only, none), and chance level."""
    while True:
        teacher, drop, chance = {
            "good teacher": (rng.uniform(0.8, 0.95), rng.uniform(0, 0.05), 0.5),
            "middling teacher": (rng.uniform(0.6, 0.8), rng.uniform(0, 0.05), 0.25),
            "ten labels": (rng.uniform(0.4, 0.9), rng.uniform(-0.02, 0.1), 0.1),
            NEAR_CHANCE: (rng.uniform(0.5, 0.51), rng.uniform(-0.02, 0.02), 0.5),
            ONE_SIDED: (rng.uniform(0.6, 0.95), rng.uniform(0.01, 0.1), 0.25),
        }[kind]
        discordant = drop if kind == ONE_SIDED else rng.uniform(0.04, 0.3)
        student_only, teacher_only = (discordant - drop) / 2, (discordant + drop) / 2
        cells = np.array([teacher - teacher_only, student_only, teacher_only, 1 - teacher - student_only])
        if (cells >= (0 if kind == ONE_SIDED else 0.005)).all():
            return teacher, teacher - drop, cells, chance


def _coverage(pairs: int, quick: bool) -> list[Figure]:
    rng = np.random.default_rng(2026)
    figures: list[Figure] = []
    for kind in ("good teacher", "middling teacher", "ten labels", NEAR_CHANCE, ONE_SIDED):
        for n in SIZES:
            difference, ratio, wrong = [], [], 0
            for _ in range(pairs):
                teacher, student, cells, chance = _truth(kind, rng)
                cell = np.repeat(np.arange(4), rng.multinomial(n, cells))
                kept = retention(np.isin(cell, (0, 2)), np.isin(cell, (0, 1)), chance=chance, seed=0, resamples=1)
                difference.append(kept.difference_lower_95 <= student - teacher)
                if kept.chance_corrected_lower_95 is not None:
                    holds = kept.chance_corrected_lower_95 * (teacher - chance) <= student - chance
                    ratio.append(holds)
                    wrong += not holds
            barred = not quick and kind != ONE_SIDED
            name = f"{kind}, n={n}"
            figures += _within(f"{name}: bound of the difference covers", np.mean(difference), barred)
            if kind == NEAR_CHANCE:
                figures.append(Figure(f"{name}: retention refused", 1 - len(ratio) / pairs, "of pairs"))
                bar = None if quick else ("<=", 0.06)
                figures.append(Figure(f"{name}: retention stated and wrong", wrong / pairs, "of pairs", bar))
            else:
                figures += _within(f"{name}: bound of the retention covers", np.mean(ratio), barred)
    return figures


def _within(name: str, share: float, barred: bool) -> list[Figure]:
    """Coverage has a lower and an upper bar, and so two figures."""
    if not barred:
        return [Figure(name, float(share), "of pairs")]
    return [
        Figure(name, float(share), "of pairs", (">=", 0.94)),
        Figure(f"{name}, and not more than", float(share), "of pairs", ("<=", 0.965)),
    ]


def _seed_figures(quick: bool) -> list[Figure]:
    """Three seeds of a method whose accuracy varies by a point: does the bound speak of the method?"""
    from scipy.special import ndtri

    rng = np.random.default_rng(7)
    covered = []
    for _ in range(100 if quick else 4000):
        teacher, common = rng.random(1000) < 0.85, rng.normal(size=1000)
        level = ndtri(np.clip(0.82 + rng.normal(scale=0.01, size=3), 0.01, 0.99))[:, None]
        student = np.sqrt(0.5) * common + np.sqrt(0.5) * rng.normal(size=(3, 1000)) < level
        covered.append(over_seeds(student - teacher.astype(float)).lower_95 <= 0.82 - 0.85)
    bar = None if quick else (">=", 0.94)
    return [
        Figure("three seeds, n=1000: bound of the method's difference covers", float(np.mean(covered)), "of sets", bar)
    ]


def _rows(rng: np.random.Generator) -> tuple[Ints, Ints, Ints, Ints]:
    group, gold = rng.integers(0, GROUPS, ROWS), rng.integers(0, 2, ROWS)
    teacher = np.where(rng.random(ROWS) < 0.1 + 0.02 * group, 1 - gold, gold)
    return gold, teacher, np.where(rng.random(ROWS) < 0.08, 1 - teacher, teacher), group


def _six(tally: Tally, counts: Floats | None) -> list[tuple[Floats, Floats]]:
    """Gaps in selection, true and false positive rate and accuracy, equalized odds and demographic parity."""
    rates = [
        tally.rates(metric, 1, counts)
        for metric in ("selection rate", "true positive rate", "false positive rate", "accuracy")
    ]
    return [
        *((gap(both.teacher), gap(both.student)) for both in rates),
        tuple(equalized_odds_difference(tally, 1, counts)),
        tuple(demographic_parity_difference(tally, 1, counts)),
    ]


def _metric_figures(quick: bool) -> list[Figure]:
    from fairlearn import metrics as fairlearn
    from sklearn.metrics import accuracy_score

    gold, teacher, student, group = _rows(np.random.default_rng(0))
    names = ("selection_rate", "true_positive_rate", "false_positive_rate")
    measures = {name: getattr(fairlearn, name) for name in names} | {"accuracy": accuracy_score}

    def theirs(said: Ints, draws: int = 0) -> list[float]:
        options = {"n_boot": draws, "ci_quantiles": [0.025, 0.975], "random_state": 0} if draws else {}
        frame = fairlearn.MetricFrame(metrics=measures, y_true=gold, y_pred=said, sensitive_features=group, **options)
        odds, parity = (
            f(gold, said, sensitive_features=group)
            for f in (fairlearn.equalized_odds_difference, fairlearn.demographic_parity_difference)
        )
        return [*(float(value) for value in frame.difference()), odds, parity]

    tally = Tally.of(gold, teacher, student, group, groups=GROUPS, labels=2)
    ours = np.array([[float(one) for one in pair] for pair in _six(tally, None)]).T
    off = max(float(np.abs(ours[at] - theirs(said)).max()) for at, said in enumerate((teacher, student)))

    def bootstrap() -> None:
        fresh = Tally.of(gold, teacher, student, group, groups=GROUPS, labels=2)
        _six(fresh, fresh.draws(DRAWS, seed=0))

    own = min(_seconds(bootstrap) for _ in range(5))
    draws = 5 if quick else PEER_DRAWS
    alone = _seconds(lambda: theirs(teacher))
    peer = (_seconds(lambda: theirs(teacher, draws)) - alone) / draws * DRAWS
    return [
        Figure("rates and gaps of groups: farthest from fairlearn's", off, "", ("<=", 1e-9)),
        Figure(f"{DRAWS:,} bootstraps, {ROWS:,} rows x 6 metrics, both models", own, "s", ("<=", 1.0)),
        Figure(f"fairlearn, {DRAWS:,} bootstraps of four rates, one model (from {draws})", peer, "s"),
        Figure("times as fast as fairlearn", peer / own, "x"),
    ]


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
