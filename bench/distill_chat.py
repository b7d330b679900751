"""The chat recipe beside its bars: three seeds of the student and of its cross-entropy control, and the teacher.

The teacher is asked once: its sealed stages serve every seed. Every figure is read from ``evaluation.json`` and the
ledger of a run, none is computed here but means and differences of them. The runs in ``work`` are not made again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from bench.quickstart import Runs, run_once
from bench.report import Figure, timed
from stillhouse.recipe import load_recipe
from stillhouse.workplace import FOLDERS

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "chat.yaml"
SEEDS = 3
LESSONS = 600  # prompts from which each of the best losses learns
WRITTEN = "finish.evaluate.prompts=60"  # answered by every model; the 43 with a gold label come first
SHARED = ("raw", "ferment")  # steps whose sealed folders serve every seed
QUICK = [
    "raw.split={test: 12, validation: 8, train: 16, stratify: false}",
    "ferment.answers.max_tokens=16",
    "distill.student={kind: from-config, base: '{base}', layers: 1, hidden_size: 32, heads: 2, intermediate_size: 64}",
    "distill.train={epochs: 1, batch_tokens: 512, row_tokens: 256, max_length: 256, evaluations: 1}",
    "distill.on_policy=null",
    "finish.evaluate={prompts: 8, max_tokens: 8, samples: 2, resamples: 200}",
    "finish.speed={prompt_tokens: 16, new_tokens: 4, repeats: 1}",
]

KL_BAR, KL_AIM = 0.65, 0.55  # nats, held-out answers of the teacher
AGREEMENT_BAR, AGREEMENT_AIM = 0.62, 0.66
SECONDS_BAR = 1200.0  # of stage 3, on two cores

# how evaluation.json calls it: metric of its rows, metric of its comparisons, slice of both; then unit, and the sign of
# a difference that is for the better
METRICS: dict[str, tuple[str, str, str, str, int]] = {
    "held-out KL": ("kl", "kl", "answers", "nats", -1),
    "top-1 agreement": ("agreement", "agreement", "answers", "", 1),
    "perplexity of other text": ("perplexity", "nll", "other text", "", -1),
    "right answers": ("verified", "verified", "gold", "", 1),
}
STUDENT, CONTROL, UNTRAINED, TEACHER = "student", "ce", "untrained", "teacher"


def chat_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the chat recipe."""
    runs = []
    for seed in range(1 if quick else SEEDS):
        with timed(f"chat, seed {seed}"):
            runs.append(seed_run(work, seed, quick=quick))
    return [*_run_figures(runs, quick=quick), *_metric_figures(runs, quick=quick), *_decode_figures(runs[0])]


def best_loss_figures(*, quick: bool, work: Path) -> list[Figure]:
    """The three losses that the tiny pair ranks first, once on the chat pair, with :data:`LESSONS` of its prompts, from
    top-k signals, which suit them all, and without the stretch on own answers, which has a loss of its own.

    work: the folder of the chat runs, beside the one in which the table of losses was made.
    """
    from bench.distill_losses import LOSSES, kept_results
    from bench.distill_rule import ranked

    found = []
    for name in ranked(kept_results(work.parent / "losses"))[: 1 if quick else 3]:
        fields = {key: value for key, value in asdict(LOSSES[name]).items() if value is not None}
        changes = [
            "ferment.distributions={form: top-k, k: 32}",
            f"distill.loss={json.dumps(fields)}",
            "controls=[]",
            "distill.on_policy=null",
            f"raw.split.train={LESSONS}",
            "finish.evaluate.prompts=8",
        ]
        slug = "".join(letter if letter.isalnum() else "-" for letter in name)
        with timed(f"chat, {name}"):
            run = seed_run(work, 0, quick=quick, like="chat-top-k", name=slug, changes=changes)
        for what in ("held-out KL", "top-1 agreement", "perplexity of other text"):
            row = row_of(run, STUDENT, what)
            found.append(_with_interval(f"chat pair, {name}: {what}", row, METRICS[what][3]))
    return found


def seed_run(
    work: Path, seed: int, *, quick: bool, like: str = "chat-seed", name: str = "", changes: Sequence[str] = ()
) -> Runs:
    """One run of the recipe in its own folder, which starts with what the teacher said in the first run like it."""
    name = f"{like}-{name or seed}"
    folder = work / "runs" / name
    first = next((one for one in sorted((work / "runs").glob(f"{like}-*")) if (one / "measured.json").exists()), None)
    if first is not None and not folder.exists():
        for step in SHARED:
            shutil.copytree(first / FOLDERS[step], folder / FOLDERS[step], copy_function=os.link)
    base = load_recipe(RECIPE).distill.student.base
    size = [change.replace("{base}", base) for change in QUICK] if quick else []
    return run_once(work, name, [WRITTEN, *size, f"distill.train.seed={seed}", *changes], recipe=RECIPE)


def evaluation(run: Runs) -> dict[str, Any]:
    """What a run's ``evaluation.json`` holds."""
    loaded: dict[str, Any] = json.loads((run["folder"] / FOLDERS["judge"] / "evaluation.json").read_text("utf-8"))
    return loaded


def row_of(run: Runs, artifact: str, what: str) -> dict[str, Any]:
    """The row about one artifact; empty values where there is none."""
    metric, _, part, _, _ = METRICS[what]
    rows = evaluation(run)["rows"]
    found = [row for row in rows if (row["artifact"], row["metric"], row["slice"]) == (artifact, metric, part)]
    return found[0] if found else {"value": float("nan"), "lower": None, "upper": None, "n": 0}


def _run_figures(runs: Sequence[Runs], *, quick: bool) -> list[Figure]:
    """Time and memory. The first seed's time is held to the bar; the others may have shared the machine."""
    first = runs[0]["sealed"]
    times = [run["sealed"]["distill"]["seconds"] for run in runs]
    return [
        Figure("seeds", len(runs)),
        *(Figure(f"seconds of {step}, first seed", entry["seconds"], "s") for step, entry in first.items()),
        Figure("seconds of stage 3, first seed", times[0], "s", None if quick else ("<=", SECONDS_BAR)),
        *(Figure(f"  seed {seed}", seconds, "s") for seed, seconds in enumerate(times) if seed),
        Figure("peak memory, largest of the runs", max(run["peak_gib"] for run in runs), "GiB"),
    ]


def _metric_figures(runs: Sequence[Runs], *, quick: bool) -> list[Figure]:
    """Each metric for each artifact, by seed with its interval over the test items; then student less control."""
    bars = {} if quick else {"held-out KL": ("<=", KL_BAR), "top-1 agreement": (">=", AGREEMENT_BAR)}
    aims = {"held-out KL": ("<=", KL_AIM), "top-1 agreement": (">=", AGREEMENT_AIM)}
    found = []
    for what, (_, _, _, unit, sign) in METRICS.items():
        means = {one: [row_of(run, one, what)["value"] for run in runs] for one in (STUDENT, CONTROL)}
        found.append(Figure(f"{what}: student, mean of the seeds", mean(means[STUDENT]), unit, bars.get(what)))
        if what in aims:
            sense, aim = aims[what]
            reached = mean(means[STUDENT]) <= aim if sense == "<=" else mean(means[STUDENT]) >= aim
            found.append(Figure(f"  the aim of {aim:g}", "reached" if reached else "not reached"))
        for seed, run in enumerate(runs):
            found += [
                _with_interval(f"  seed {seed}, {one}", row_of(run, one, what), unit) for one in (STUDENT, CONTROL)
            ]
        for one in (UNTRAINED, TEACHER):
            row = row_of(runs[0], one, what)
            if row["n"]:
                found.append(_with_interval(f"  {one}", row, unit))
        gains = [sign * (a - b) for a, b in zip(means[STUDENT], means[CONTROL], strict=True)]
        found.append(Figure(f"  student better than its control by, mean {_spread(gains)}", mean(gains), unit))
        found.append(Figure("  by its paired interval, each seed", ", ".join(verdict(run, what) for run in runs)))
    return found


def verdict(run: Runs, what: str) -> str:
    """``better``, ``worse`` or ``undecided``: what the paired interval says of the student beside its control."""
    _, metric, part, _, _ = METRICS[what]
    found = [
        one["verdict"]
        for one in evaluation(run)["summary"]["contrasts"]
        if (one["metric"], one["slice"], one["baseline"]) == (metric, part, CONTROL)
    ]
    return str(found[0]) if found else "not compared"


def _decode_figures(run: Runs) -> list[Figure]:
    """Speed and size beside the teacher's, of the first seed."""
    rows = evaluation(run)["rows"]
    wanted = ("decode_tokens_per_s", "prefill_tokens_per_s", "bytes", "parameters")
    found = [
        Figure(f"{row['metric']} {row['slice']}: {row['artifact']}", row["value"])
        for row in rows
        if row["metric"] in wanted
    ]
    values = {(row["metric"], row["slice"], row["artifact"]): row["value"] for row in rows if row["metric"] in wanted}
    for (metric, part, artifact), value in values.items():
        other = values.get((metric, part, TEACHER))
        if artifact != TEACHER and other:
            found.append(Figure(f"  {metric} {part}: {artifact} over teacher", value / other, "x"))
    return found


def _with_interval(name: str, row: dict[str, Any], unit: str) -> Figure:
    return Figure(name, row["value"], f"{unit} {_interval(row)}".strip())


def _interval(row: dict[str, Any]) -> str:
    return "" if row["lower"] is None else f"[{row['lower']:.4g}, {row['upper']:.4g}], n {row['n']}"


def _spread(values: Sequence[float]) -> str:
    return f"of {', '.join(f'{value:+.3g}' for value in values)}"
