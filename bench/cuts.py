"""The cuts: what is found of planted harm, whether it pays, whom it costs, and what a promise of risk is worth.

Three planted sets go through the real steps; ten cheap students (:mod:`bench.cuts_static`) are trained on what the cuts
left and on everything; the pilot is held against full runs of the quickstart's own student at every share.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bench.cuts_material import (
    RECIPE,
    ROOT,
    TURNED,
    PlantedRun,
    benchmark,
    planted_run,
    respelled,
    snippets,
    with_plants,
)
from bench.cuts_static import Static, Words
from bench.report import Figure, timed
from stillhouse import documents
from stillhouse.addresses import resolve
from stillhouse.chart import Chart
from stillhouse.cuts import read as read_cuts
from stillhouse.distill import points
from stillhouse.distill.probe import folds_of, predictions
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import label_doubt
from stillhouse.execute import run as execute
from stillhouse.ledger import Ledger
from stillhouse.recipe import load_recipe
from stillhouse.recut import move
from stillhouse.signals import ClassProbs, Vectors
from stillhouse.student import load_classifier, predict_proba

SEEDS = 10
LOSS = 0.05  # of the heart, at which detectors are compared
HARD = ("refusal", "identity", "personal data", "contamination", "near copy")
SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)
SETS = ("movie", "product", "varieties")


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the cuts. ``work`` keeps runs and answers; what is in it is not asked for again."""
    found: list[Figure] = []
    runs: dict[str, PlantedRun] = {}
    for name in SETS[:1] if quick else SETS:
        with timed(f"set {name}"):
            runs[name] = _set(work, name, quick=quick)
    with timed("planted truth"):
        for name, one in runs.items():
            found += _planted(name, one, quick=quick)
    words = Words(_encoder())
    with timed("ten seeds"):
        for name, one in runs.items():
            found += _pays(name, one, words, quick=quick)
        if not quick:
            found += _clean(work, words)
    if not quick:
        with timed("groups"):
            found += _fair(work, words)
    with timed("promises"):
        found += _promises(200 if quick else 2000, quick=quick)
    if not quick:
        with timed("pilot"):
            found += _pilot(work)
        with timed("moving"):
            found += _moving(work)
    return found


def _set(work: Path, name: str, *, quick: bool) -> PlantedRun:
    folder = work / f"{name}-planted"
    folder.mkdir(exist_ok=True)
    items = benchmark(folder / "items.jsonl", seed=1)
    rows = snippets("product" if name == "product" else "movie")
    if name == "varieties":
        rows = respelled(rows, seed=2)
    if quick:
        rows = rows[:700]
    split = {"seed": 0, "test": 120, "validation": 100} if quick else {"seed": 0, "test": 1000, "validation": 400}
    planted = with_plants(rows, items, seed=3, each=10 if quick else 60)
    return planted_run(work, f"{name}-planted", planted, turned=TURNED, split=split)


def _planted(name: str, one: PlantedRun, *, quick: bool) -> list[Figure]:
    """Recall by kind over stage 1 and the cuts; of turned labels at an equal loss of the others, and at the cut."""
    run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
    gone = {row["origin"]: row for folder in ("1-raw", "3-cuts") for row in read_cuts(run / folder).to_pylist()}
    # rows of the validation and test splits are never taught, whatever they hold
    taught_rows = documents.read(run / "1-raw", "train")["origin"].to_pylist()
    by_kind: dict[str, list[bool]] = {kind: [] for kind in HARD}
    lost = []
    for origin in dict.fromkeys([*gone, *taught_rows]):
        kind = one.row_of(origin)["planted"]
        if kind is None:
            lost.append(origin in gone and gone[origin]["cut"] == "head" and gone[origin]["reason"] != "label-doubt")
        else:
            by_kind[kind].append(origin in gone)
    found = [
        Figure(f"{name}: found of planted {kind}", mean(hits), f"of {len(hits)}", None if quick else (">=", 0.95))
        for kind, hits in by_kind.items()
    ]
    found.append(Figure(f"{name}: sound rows that a hard rule took", mean(lost), f"of {len(lost)}", (">=", 0)))
    scored = Scored.read(run / "3-scores").of_split("train")
    taught = ClassProbs.read(run / "2-ferment").probabilities_for(scored.ids)
    turned = np.array([identifier in one.turned for identifier in scored.ids])
    features = Vectors.read(run / "3-scores").values_for(scored.ids)
    right = np.stack([one.taught[identifier] for identifier in scored.ids])
    ideal = label_doubt(taught, predictions(features, right, folds_of(scored.ids, seed=0)))
    doubt = scored.columns["label-doubt"]
    gold = _gold(run, "train")
    known = np.array([gold.get(identifier) is not None for identifier in scored.ids])
    labels = list(one.recipe.labels)
    natural = np.array(
        [
            not mine and gold.get(identifier) is not None and labels[int(probs.argmax())] != gold[identifier]
            for identifier, probs, mine in zip(scored.ids, right, turned, strict=True)
        ]
    )

    def recall(scores: np.ndarray[Any, Any], which: np.ndarray[Any, Any]) -> float:
        return float((scores[which] > np.quantile(scores[~turned], 1 - LOSS)).mean())

    ratio = recall(doubt, turned) / recall(ideal, turned)
    taken = _taken(run, "label-doubt", scored.ids)
    sound = ~turned & ~natural & known
    return [
        *found,
        Figure(
            f"{name}: turned labels found at a loss of 5 % of the others",
            recall(doubt, turned),
            f"of {int(turned.sum())}",
        ),
        Figure("  by a detector taught the right labels", recall(ideal, turned)),
        Figure("  the one over the other", ratio, "x", None if quick else (">=", 0.9)),
        Figure("  the teacher's own errors found at that loss", recall(doubt, natural), f"of {int(natural.sum())}"),
        Figure("  the cut itself: turned labels taken", float(taken[turned].mean())),
        Figure("  the teacher's own errors taken", float(taken[natural].mean())),
        Figure("  rows with a right label taken", float(taken[sound].mean()), f"of {int(sound.sum())}", ("<=", LOSS)),
    ]


def _pays(name: str, one: PlantedRun, words: Words, *, quick: bool) -> list[Figure]:
    run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
    return _with_and_without(f"{name}, planted", run, words, list(one.recipe.labels), quick=quick, bar=(">=", 0.0))


def _clean(work: Path, words: Words) -> list[Figure]:
    """The quickstart as it is, and with cuts calibrated on its validation documents."""
    found = []
    for title, changes in (
        ("quickstart, default cuts", []),
        ("quickstart, cuts calibrated on 300 gold labels", ["distill.cuts.calibration=validation"]),
    ):
        run = _quickstart(work, "quickstart", changes, until="cuts")
        found += _with_and_without(title, run, words, ["negative", "positive"], quick=False, bar=(">=", -0.01))
    return found


def _with_and_without(
    title: str, run: Path, words: Words, labels: Sequence[str], *, quick: bool, bar: tuple[str, float]
) -> list[Figure]:
    """Students of :data:`SEEDS` seeds on all rows and on the heart, on the test split's gold labels."""
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    heart = np.array([cut == "heart" for cut in rows["cut"]])
    told = json.loads((run / "3-cuts" / "cuts.json").read_text("utf-8"))
    gains, before = _students(run, words, labels, np.ones(len(heart), dtype=bool), heart, seeds=2 if quick else SEEDS)
    low, high = _interval(gains)
    worth = bar[1] if bar[1] < 0 else 0.0
    figures = [
        Figure(f"{title}: rows taught", int(heart.sum()), f"of {len(heart)}"),
        Figure("  points", ", ".join(f"{name}: {why}" for name, why in _whys(told).items())),
        Figure("  accuracy without cuts", before),
        Figure("  gain by the cuts, mean of the seeds", mean(gains), f"[{low:+.4f}, {high:+.4f}]"),
    ]
    name = "  lower end of its paired interval" if worth == 0 else "  the mean gain is no loss above a point"
    value = low if worth == 0 else mean(gains)
    return [*figures, Figure(name, value, "", None if quick else (">=", worth))]


def _students(
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


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % by Student's t over the seeds."""
    from scipy.stats import t

    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(t.ppf(0.975, len(values) - 1)) * spread
    return mean(values) - half, mean(values) + half


def _fair(work: Path, words: Words) -> list[Figure]:
    """A fifth of the lowest scores by label doubt, which the dialect provokes: naively, and with quotas."""
    rows = respelled(snippets("movie"), seed=2)
    split = {"seed": 0, "test": 1500, "validation": 300}
    found: list[Figure] = []
    heads = json.dumps([{"score": "label-doubt", "point": {"kind": "quantile", "share": 0.2}}])
    ratios, losses = {}, {}
    for name, quotas in (("naive", False), ("with quotas", True)):
        options = [f"distill.cuts.heads={heads}", f"distill.cuts.quotas={json.dumps(quotas)}"]
        options.append('distill.cuts.tail.point={"kind": "none"}')
        one = planted_run(work, "varieties", rows, turned=0.0, split=split, changes=options)
        run = execute(one.recipe, base=RECIPE.parent, until="cuts").folder
        table = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
        gone = np.array([cut != "heart" for cut in table["cut"]])
        mine = np.array([one.row_of(origin)["variety"] == "dialect" for origin in table["origin"]])
        ratios[name] = float(gone[mine].mean() / gone[~mine].mean())
        gains, before = _students(
            run,
            words,
            list(one.recipe.labels),
            np.ones(len(gone), dtype=bool),
            ~gone,
            seeds=SEEDS,
            rows=lambda row: row["group_variety"] == "dialect",
        )
        losses[name] = (mean(gains), *_interval(gains), before)
    found.append(Figure("dialect: share of the training rows", float(mine.mean())))
    found.append(Figure("  accuracy of its speakers' students without cuts", losses["naive"][3]))
    for name, bar in (("naive", (">=", 1.5)), ("with quotas", ("<=", 1.25))):
        gain, low, high, _ = losses[name]
        found.append(Figure(f"  {name}: removed, times the others' share", ratios[name], "x", bar))
        found.append(Figure(f"  {name}: change of its accuracy", gain, f"[{low:+.4f}, {high:+.4f}]"))
    found.append(Figure("  naive: that change is a loss", losses["naive"][0], "", ("<=", 0.0)))
    found.append(Figure("  with quotas: upper end is no loss", losses["with quotas"][2], "", (">=", 0.0)))
    return found


def _promises(draws: int, *, quick: bool) -> list[Figure]:
    """How often the truth exceeds what was promised, over draws of calibration rows from a curve that is known."""
    random = np.random.default_rng(0)
    grid = np.linspace(0, 1, 20_001)
    found = []
    for of in ("kept", "lost"):
        for rows, epsilon in ((300, 0.1), (1000, 0.05)):
            curve = 0.02 + 0.4 * grid**2
            broken = cut = 0
            for _ in range(draws):
                scores = random.random(rows)
                bad = random.random(rows) < 0.02 + 0.4 * scores**2
                point = points.risk(scores, bad, epsilon=epsilon, of=of)
                if point.threshold is None:
                    continue
                stays = grid <= point.threshold
                cut += not stays.all()
                kept = float(curve[stays].mean()) if stays.any() else 0.0
                broken += (kept if of == "kept" else float((1 - curve)[~stays].sum() / (1 - curve).sum())) > epsilon
            bar = 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
            found += [
                Figure(
                    f"risk, of {of}, {rows} rows, epsilon {epsilon}: broken", broken / draws, f"of {draws}", ("<=", bar)
                ),
                Figure("  draws in which anything is cut", cut / draws),
            ]
    return found


def _pilot(work: Path) -> list[Figure]:
    """The quickstart's own student at every share of the tail, beside what the pilot chose and what it cost."""
    run = _quickstart(work, "quickstart", [], until="cuts")
    told = json.loads((run / "3-cuts" / "cuts.json").read_text("utf-8"))
    chosen = 1 - told["tail"]["share"]
    accuracies, seconds = {}, {}
    for share in SHARES:
        point = {"kind": "none"} if share == 1 else {"kind": "quantile", "share": round(1 - share, 6)}
        name = f"share-{round(100 * share)}"
        accuracies[share], seconds[share] = _student_at(work, name, point)
    ledger = _sealed(run)
    scoring, cutting = ledger["scores"]["seconds"], ledger["cuts"]["seconds"]
    best = max(accuracies.values())
    nearest = min(accuracies, key=lambda share: abs(share - chosen))
    return [
        *(Figure(f"quickstart's student, {share:.0%} of the rows: accuracy", accuracies[share]) for share in SHARES),
        Figure("pilot: share that it keeps", chosen),
        Figure("  its accuracy less the best of all shares", accuracies[nearest] - best, "", (">=", -0.01)),
        Figure("  scores, with the proxy's features", scoring, "s"),
        Figure("  pilot, points and prices", cutting, "s"),
        Figure("  the student's training", seconds[1.0], "s"),
        Figure("  scores, pilot and prices over training", (scoring + cutting) / seconds[1.0], "x", ("<=", 0.2)),
        Figure("  rows that the pilot's proxies were taught, all together", told["tail"]["rows_trained"]),
        *_pilot_costs(run),
    ]


def _pilot_costs(run: Path) -> list[Figure]:
    """The pilot's seconds at smaller numbers of rows."""
    from stillhouse.distill.pilot import pilot
    from stillhouse.distill.prices import Proving
    from stillhouse.distill.quotas import select
    from stillhouse.distill.scores import ease

    scored = Scored.read(run / "3-scores").of_split("train")
    features = Vectors.read(run / "3-scores").values_for(scored.ids)
    taught = ClassProbs.read(run / "2-ferment").probabilities_for(scored.ids)
    found = []
    for number in (700, 1400, 2800, 5600):
        ids = scored.ids[:number]
        part, folds = taught[:number], folds_of(ids, seed=0)
        proving = Proving(features[:number], part, folds, {}, np.ones(len(ids), dtype=bool))
        scores = ease(part, scored.predicted[:number])
        no = np.zeros(len(ids), dtype=bool)

        def leaving(share: float, scores: Any = scores, ids: Any = ids, no: Any = no) -> Any:
            return select(scores, ["all"] * len(ids), {"all": share}, ids=ids, at_random=no)

        started = time.perf_counter()
        one = pilot(proving, leaving, shares=SHARES[1:], margin=0.005, group_margin=0.02)
        found.append(Figure(f"  pilot alone, {number} rows: keeps {one.share:.0%}", time.perf_counter() - started, "s"))
    return found


def _moving(work: Path) -> list[Figure]:
    run = _quickstart(work, "quickstart", [], until="cuts")
    moved = move(run, ["tail=0.35"])
    again = {step.name for step in moved.steps if step.cached is None}
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    number = Counter(rows["cut"])
    lines = Chart.read(run).lines()
    back = move(run, ["tail=pilot"])
    return [
        Figure("moving a cut of the quickstart", moved.seconds, "s", ("<=", 20)),
        Figure("  and back", back.seconds, "s", ("<=", 20)),
        Figure("  only what follows runs again", int(again == {"distill", "finish"}), "", ("==", 1)),
        Figure("  rows less head, heart and tail", len(rows["id"]) - sum(number.values()), "", ("==", 0)),
        Figure("  ids that stand twice", len(rows["id"]) - len(set(rows["id"])), "", ("==", 0)),
        Figure("  widest line of the chart", max(map(len, lines)), "columns", ("<=", 80)),
    ]


def _quickstart(work: Path, name: str, changes: Sequence[str], *, until: Any) -> Path:
    """The quickstart's recipe; its answers are shared by all runs of this bench."""
    options = [
        f"name={name}",
        f"paths.runs={work / 'runs'}",
        f"paths.answers={work / 'answers.sqlite'}",
        f"paths.cache={ROOT / 'cache'}",
        *changes,
    ]
    return execute(load_recipe(RECIPE, options), base=RECIPE.parent, until=until).folder


def _student_at(work: Path, name: str, point: dict[str, Any]) -> tuple[float, float]:
    """Test accuracy of the quickstart's student with that tail, and the seconds of its training."""
    run = _quickstart(work, name, [f"distill.cuts.tail.point={json.dumps(point)}"], until="distill")
    model, tokenizer = load_classifier(run / "3-distill" / "student")
    test = [row for row in documents.read(run / "1-raw", "test").to_pylist() if row["label"] is not None]
    probs = predict_proba(model, tokenizer, [row["text"] for row in test], max_length=64)
    names = [model.config.id2label[number] for number in range(probs.shape[1])]
    right = np.mean([names[label] == row["label"] for label, row in zip(probs.argmax(1), test, strict=True)])
    return float(right), float(_sealed(run)["distill"]["seconds"])


def _sealed(run: Path) -> dict[str, Any]:
    """The last sealing of each step."""
    entries = Ledger(run / "ledger.jsonl", "bench").entries()
    return {entry["step"]: entry for entry in entries if entry["event"] == "step-sealed"}


def _gold(run: Path, split: Any) -> dict[str, str | None]:
    table = documents.read(run / "1-raw", split)
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def _taken(run: Path, name: str, ids: Sequence[str]) -> np.ndarray[Any, Any]:
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    reasons = dict(zip(rows["id"], rows["reason"], strict=True))
    return np.array([reasons[one] == name for one in ids])


def _whys(told: dict[str, Any]) -> dict[str, str]:
    return {**{one["name"]: one["why"] for one in told["heads"]}, "tail": told["tail"]["why"]}


def _encoder() -> Path:
    base = load_recipe(RECIPE).distill.student.base
    files = resolve(base, cache=ROOT / "cache", base=RECIPE.parent)
    return next(path for path in files.files if path.name == "config.json").parent
