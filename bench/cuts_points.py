"""Points: what a promise of risk is worth, what the pilot chooses and costs, and how long a cut takes to move."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rich.cells import cell_len

from bench.cuts_material import quickstart_run
from bench.report import Figure
from stillhouse import documents
from stillhouse.chart import Chart
from stillhouse.distill import points
from stillhouse.distill.pilot import pilot
from stillhouse.distill.probe import folds_of
from stillhouse.distill.proxies_classification import Proving
from stillhouse.distill.quotas import select
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import Floats, ease
from stillhouse.ledger import Ledger
from stillhouse.recut import move
from stillhouse.signals import ClassProbs, Vectors
from stillhouse.student import load_classifier, predict_proba

SHARES = (1.0, 0.8, 0.6, 0.4, 0.2)


def promise_figures(*, quick: bool, work: Path) -> list[Figure]:
    """How often the truth exceeds what was promised, over draws of calibration rows from a curve that is known.

    Harm that rises with the score, and harm that does not and is a hair above what is promised, at which no promise
    about kept rows can be right.
    """
    draws = 200 if quick else 2000
    random = np.random.default_rng(0)
    bar = 0.05 + 2 * math.sqrt(0.05 * 0.95 / draws)
    found = []
    for of in ("kept", "lost"):
        for rows, epsilon in ((300, 0.1), (1000, 0.05)):
            for world, curve in (("", _rising), (", harm everywhere", lambda s, e=epsilon: np.full_like(s, 1.02 * e))):
                made = [_promised(curve, of, rows, epsilon, random) for _ in range(draws)]
                broken, cut = (sum(one[place] for one in made) / draws for place in (0, 1))
                title = f"risk, of {of}, {rows} rows, epsilon {epsilon}{world}: broken"
                found += [
                    Figure(title, broken, f"of {draws}", ("<=", bar)),
                    Figure("  draws in which anything is cut", cut),
                ]
    return found


def _rising(scores: Floats) -> Floats:
    return 0.02 + 0.4 * scores**2


def _promised(
    curve: Callable[[Floats], Floats], of: str, rows: int, epsilon: float, random: np.random.Generator
) -> tuple[bool, bool]:
    """Whether a promise from one draw of rows is broken, and whether it cuts anything."""
    scores = random.random(rows)
    point = points.risk(scores, random.random(rows) < curve(scores), epsilon=epsilon, of=of)
    if "bound" not in point.evidence:
        return False, False  # nothing is promised
    grid = np.linspace(0, 1, 20_001)
    harm, leaves = curve(grid), point.leaves(grid)
    kept = float(harm[~leaves].mean()) if not leaves.all() else 0.0
    return (kept if of == "kept" else float((1 - harm)[leaves].sum() / (1 - harm).sum())) > epsilon, bool(leaves.any())


def pilot_figures(*, quick: bool, work: Path) -> list[Figure]:
    """The quickstart's own student at every share of the tail, beside what the pilot chose and what it cost."""
    if quick:
        return []
    run = quickstart_run(work, "quickstart", [], until="cuts")
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
        one = pilot(proving, leaving, shares=SHARES[1:], margin=0.002, group_margin=0.02)
        found.append(Figure(f"  pilot alone, {number} rows: keeps {one.share:.0%}", time.perf_counter() - started, "s"))
    return found


def moving_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Moving the tail of the quickstart and moving it back; what runs again; the chart's width."""
    if quick:
        return []
    run = quickstart_run(work, "quickstart", [], until="cuts")
    moved = move(run, ["tail=0.35"])
    again = {step.name for step in moved.steps if step.cached is None}
    rows = pq.read_table(run / "3-cuts" / "rows.parquet").to_pydict()
    number = Counter(rows["cut"])
    lines = Chart.read(run).lines()
    back = move(run, ["tail=pilot"])
    return [
        Figure("moving a cut of the quickstart", moved.seconds, "s", ("<=", 20)),
        Figure("  and back", back.seconds, "s", ("<=", 20)),
        Figure("  only what follows runs again", int(again == {"distill", "judge", "finish"}), "", ("==", 1)),
        Figure("  rows less head, heart and tail", len(rows["id"]) - sum(number.values()), "", ("==", 0)),
        Figure("  ids that stand twice", len(rows["id"]) - len(set(rows["id"])), "", ("==", 0)),
        Figure("  widest line of the chart", max(map(cell_len, lines)), "columns", ("<=", 80)),
    ]


def _student_at(work: Path, name: str, point: dict[str, Any]) -> tuple[float, float]:
    """Test accuracy of the quickstart's student with that tail, and the seconds of its training."""
    run = quickstart_run(work, name, [f"distill.cuts.tail.point={json.dumps(point)}"], until="distill")
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
