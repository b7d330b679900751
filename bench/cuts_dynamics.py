"""Whether watching a proxy learn pays: students without the easy rows, and without those easy from the start."""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench.cuts_material import RECIPE, SETS, encoder, planted_set, quickstart_run
from bench.cuts_static import Words
from bench.cuts_students import interval, students
from bench.report import Figure, timed
from stillhouse.distill.probe import by_epochs, folds_of
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import stable_ease
from stillhouse.execute import run as execute
from stillhouse.signals import ClassProbs, Vectors

SEEDS = 5
SHARES = (0.2, 0.4, 0.6)  # of the rows that leave


def dynamics(*, quick: bool, work: Path) -> list[Figure]:
    """At equal shares: accuracy without the rows of the highest `stable-ease`, less that without those of `ease`."""
    if quick:
        one = planted_set(work, SETS[0], quick=True)
        run, labels = execute(one.recipe, base=RECIPE.parent, until="cuts").folder, list(one.recipe.labels)
    else:
        run, labels = quickstart_run(work, "quickstart", [], until="cuts"), ["negative", "positive"]
    scored = Scored.read(run / "3-scores").of_split("train")
    taught = ClassProbs.read(run / "2-ferment").probabilities_for(scored.ids)
    features = Vectors.read(run / "3-scores").values_for(scored.ids)
    with timed("watching the proxy learn"):
        stable = stable_ease(taught, by_epochs(features, taught, folds_of(scored.ids, seed=0)))
    easy = scored.columns["ease"]
    words = Words(encoder())
    together = float(np.corrcoef(_ranks(easy), _ranks(stable))[0, 1])
    found = [Figure("stable ease and ease: rank correlation", together, f"of {len(easy)}")]
    everything = np.ones(len(easy), dtype=bool)
    chance = np.random.default_rng(0).random(len(easy))
    for share in SHARES[:1] if quick else SHARES:
        kept = {name: _without(scores, share) for name, scores in (("ease", easy), ("by chance", chance))}
        seeds = 2 if quick else SEEDS
        with timed(f"students without {share:.0%}"):
            gains, before = students(run, words, labels, kept["ease"], _without(stable, share), seeds=seeds)
            others, whole = students(run, words, labels, everything, kept["by chance"], seeds=seeds)
        low, high = interval(gains)
        found += [
            Figure(f"{share:.0%} of the rows left out: accuracy by ease", before, f"all: {whole:.4f}"),
            Figure("  by chance", whole + mean(others)),
            Figure("  by stable ease, less that by ease", mean(gains), f"[{low:+.4f}, {high:+.4f}]"),
        ]
    return found


def _ranks(scores: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.argsort(np.argsort(scores, kind="stable"), kind="stable")


def _without(scores: np.ndarray[Any, Any], share: float) -> np.ndarray[Any, Any]:
    """Rows that stay when the share with the highest scores leaves."""
    return _ranks(scores) < len(scores) - int(share * len(scores))
