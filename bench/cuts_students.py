"""Whether cuts pay, and whom they cost: cheap students of ten seeds, on all rows and on what the cuts left."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.cuts_material import (
    RECIPE,
    SETS,
    PlantedRun,
    encoder,
    planted_run,
    planted_set,
    quickstart_run,
    respelled,
    snippets,
)
from bench.cuts_static import Static, Words
from bench.report import Figure, timed
from stillhouse import documents
from stillhouse.distill.students import keep_layers
from stillhouse.distill.train import train
from stillhouse.execute import run as execute
from stillhouse.signals import ClassProbs
from stillhouse.student import save_student

SEEDS = 10
ROUGH = 0.12  # of the letters of a text that a filter for quality is taught to call rough


def seed_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Students with and without cuts: on the planted sets, and on the quickstart as it is."""
    words = Words(encoder())
    found: list[Figure] = []
    for name in SETS[:1] if quick else SETS:
        with timed(f"students of {name}"):
            one = planted_set(work, name, quick=quick)
            run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
            found += _with_and_without(f"{name}, planted", run, words, list(one.recipe.labels), quick=quick, least=0.0)
    return found if quick else [*found, *_clean(work, words)]


def _clean(work: Path, words: Words) -> list[Figure]:
    """The quickstart as it is, and with cuts calibrated on its validation documents."""
    found = []
    for title, name, changes in (
        ("quickstart, default cuts", "quickstart", []),
        ("quickstart, calibrated on 300 gold labels", "calibrated", ["distill.cuts.calibration=validation"]),
    ):
        run = quickstart_run(work, name, changes, until="cuts")
        found += _with_and_without(title, run, words, ["negative", "positive"], quick=False, least=-0.01)
    return found


def _with_and_without(
    title: str, run: Path, words: Words, labels: Sequence[str], *, quick: bool, least: float
) -> list[Figure]:
    """Students of :data:`SEEDS` seeds on all rows and on the heart, on the test split's gold labels.

    least: a gain above zero has to be certain; a loss of up to a point has to be none in the mean.
    """
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    heart = np.array([cut == "heart" for cut in rows["cut"]])
    told = json.loads((run / "3-cuts" / "cuts.json").read_text("utf-8"))
    everything = np.ones(len(heart), dtype=bool)
    gains, before = students(run, words, labels, everything, heart, seeds=2 if quick else SEEDS)
    low, high = interval(gains)
    certain = least >= 0
    return [
        Figure(f"{title}: rows taught", int(heart.sum()), f"of {len(heart)}"),
        Figure("  steps of training that this saves, as a share", float(1 - heart.mean())),
        Figure("  points", "; ".join(f"{name}: {why}" for name, why in _whys(told).items())),
        Figure("  accuracy without cuts", before),
        Figure("  gain by the cuts, mean of the seeds", mean(gains), f"[{low:+.4f}, {high:+.4f}]"),
        Figure(
            "  lower end of its paired interval" if certain else "  at most a point is lost",
            low if certain else mean(gains),
            "",
            None if quick else (">=", least),
        ),
    ]


def students(
    run: Path,
    words: Words,
    labels: Sequence[str],
    one: np.ndarray[Any, Any],
    other: np.ndarray[Any, Any],
    *,
    seeds: int,
    rows: Callable[[dict[str, Any]], bool] = lambda row: True,
) -> tuple[list[float], float]:
    """Accuracy with the rows ``other`` less that with ``one``, by seed; the mean of the latter. rows: of the test."""
    table = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    taught = ClassProbs.read(run / "2-ferment").probabilities_for(table["id"])
    ids = words.ids(table["text"])
    test = [row for row in documents.read(run / "1-raw", "test").to_pylist() if row["label"] is not None and rows(row)]
    asked, gold = words.ids([row["text"] for row in test]), np.array([labels.index(row["label"]) for row in test])

    def accuracy(mask: np.ndarray[Any, Any], seed: int) -> float:
        chosen = np.nonzero(mask)[0]
        student = Static.fit(words.vectors, [ids[row] for row in chosen], taught[chosen], seed=seed)
        return float((student(asked).argmax(1) == gold).mean())

    first = [accuracy(one, seed) for seed in range(seeds)]
    second = first if (one == other).all() else [accuracy(other, seed) for seed in range(seeds)]
    return [b - a for a, b in zip(first, second, strict=True)], mean(first)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % by Student's t over the seeds."""
    from scipy.stats import t

    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf(0.975, len(values) - 1)) * spread
    return mean(values) - half, mean(values) + half


def group_figures(*, quick: bool, work: Path) -> list[Figure]:
    """A filter for quality that takes a fifth of the rows, naively and with quotas, where a fifth is in a dialect.

    The filter is a small classifier that was taught to tell edited prose from the same prose with mistyped letters; it
    never saw the dialect, and takes its spelling for carelessness, as such filters do.
    """
    words = Words(encoder())
    rows = respelled(snippets("movie"), seed=2)
    split = {"seed": 0, "test": 1500, "validation": 300}
    if quick:
        rows, split = rows[:700], {"seed": 0, "test": 120, "validation": 60}
    head = {"score": "classifier", "name": "quality", "model": str(_filter(work, quick=quick)), "label": "rough"}
    heads = json.dumps([{**head, "point": {"kind": "quantile", "share": 0.2}}])
    found: list[Figure] = []
    ratios: dict[str, float] = {}
    changes: dict[str, list[float]] = {}
    before = share = float("nan")
    for name, quotas in (("naive", False), ("with quotas", True)):
        options = [f"distill.cuts.heads={heads}", f"distill.cuts.quotas={json.dumps(quotas)}"]
        options.append('distill.cuts.tail.point={"kind": "none"}')
        one = planted_run(work, "varieties", rows, turned=0.0, split=split, changes=options)
        run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
        table = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
        gone = np.array([cut != "heart" for cut in table["cut"]])
        mine = np.array([one.row_of(origin)["variety"] == "dialect" for origin in table["origin"]])
        ratios[name], share = float(gone[mine].mean() / gone[~mine].mean()), float(mine.mean())
        everything = np.ones(len(gone), dtype=bool)

        def change(
            stay: np.ndarray[Any, Any], run: Path = run, one: PlantedRun = one, whole: Any = everything
        ) -> tuple[list[float], float]:
            return students(
                run,
                words,
                list(one.recipe.labels),
                whole,
                stay,
                seeds=2 if quick else SEEDS,
                rows=lambda row: row["group_variety"] == "dialect",
            )

        changes[name], before = change(~gone)
    changes["by chance"], _ = change(np.random.default_rng(0).permutation(~gone))
    found += [
        Figure("dialect: share of the training rows", share),
        Figure("  accuracy on test rows in dialect, without cuts", before),
    ]
    bars: dict[str, tuple[str, float]] = {"naive": (">=", 1.5), "with quotas": ("<=", 1.25)}
    for name, bar in bars.items():
        low, high = interval(changes[name])
        found.append(Figure(f"  {name}: removed, times the others' share", ratios[name], "x", None if quick else bar))
        found.append(Figure(f"  {name}: change of that accuracy", mean(changes[name]), f"[{low:+.4f}, {high:+.4f}]"))
    found += [
        Figure(f"  {title}: change of that accuracy", mean(values), "[{:+.4f}, {:+.4f}]".format(*interval(values)))
        for title, values in (
            ("as many rows by chance", changes["by chance"]),
            ("with quotas less naive", [b - a for a, b in zip(changes["naive"], changes["with quotas"], strict=True)]),
        )
    ]
    worse, fair = interval(changes["naive"])[1], interval(changes["with quotas"])[1]
    return [
        *found,
        Figure("  naive: upper end of the change is a loss", worse, "", None if quick else ("<=", 0.0)),
        Figure("  with quotas: upper end is no loss", fair, "", None if quick else (">=", 0.0)),
    ]


def _filter(work: Path, *, quick: bool) -> Path:
    """Two layers of the quickstart's encoder, taught on product snippets and on the same with mistyped letters."""
    folder = work / "quality"
    if (folder / "config.json").exists():
        return folder
    chance = random.Random(4)
    texts = [row["text"] for row in snippets("product")][: 200 if quick else 1500]
    taught = [*texts, *(_mistyped(text, chance) for text in texts)]
    probs = np.eye(2)[[0] * len(texts) + [1] * len(texts)]
    model, tokenizer = keep_layers(encoder(), labels=("edited", "rough"), keep=[0, 1], seed=0)
    train(
        model,
        tokenizer,
        texts=taught,
        target_probs=probs,
        validation_texts=taught[::20],
        validation_probs=probs[::20],
        output=work / "quality-training",
        epochs=1,
        batch_size=32,
        learning_rate=3e-4,
        warmup_share=0.1,
        weight_decay=0.01,
        temperature=1.0,
        hard_weight=0.0,
        hard_labels=None,
        max_length=64,
        seed=0,
        evaluations=1,
        save_checkpoints=False,
    )
    save_student(model, tokenizer, folder)
    return folder


def _mistyped(text: str, chance: random.Random) -> str:
    """Letters left out, doubled or exchanged for another, each with the same chance."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = []
    for letter in text:
        if letter.isalpha() and chance.random() < ROUGH:
            found.append(chance.choice(("", letter * 2, chance.choice(letters))))
        else:
            found.append(letter)
    return "".join(found)


def _whys(told: dict[str, Any]) -> dict[str, str]:
    return {**{one["name"]: one["why"] for one in told["heads"]}, "tail": told["tail"]["why"]}
