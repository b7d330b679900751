"""The main job: time, memory and speed of one fresh run; quality over three seeds; what calibration does when the
classes are not balanced and the recipe does not know it.

Each run is a process of its own, as a user would start it, in a folder of its own; downloads and the converted
teacher are fetched before the clock starts, since they belong to the installation.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench.report import Figure
from stillhouse.documents import SPLITS
from stillhouse.documents import read as read_documents
from stillhouse.ferment.calibration import batch_bias, matched_bias
from stillhouse.ledger import Ledger
from stillhouse.signals import ClassProbs, apply_bias
from stillhouse.statistics import confusion, macro_f1

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "quickstart.yaml"
QUICK = [
    "raw.split={test: 40, validation: 10, train: 50}",
    "finish.speed={batch_texts: 40, single_texts: 10, teacher_texts: 8}",
    "finish.audit={pairs: 6, own_documents: 0}",
    "finish.gates={required: []}",  # forty documents show nothing
]
Runs = dict[str, Any]


def figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the main job; ``work`` keeps the runs, and finished ones in it are not run again."""
    size = QUICK if quick else []
    _fetch(work)
    timed = run_once(work, "seed-0", size)
    found = _timed_figures(timed, quick=quick)
    found += naive_figures(work, timed["folder"], texts=16 if quick else 48, quick=quick)
    seeds = [timed] if quick else [timed, *(run_once(work, f"seed-{n}", [f"distill.train.seed={n}"]) for n in (1, 2))]
    found += _quality_figures(seeds, quick=quick)
    if not quick:
        for majority in ("positive", "negative"):
            found += _skewed_figures(timed["folder"], majority)
    return found


def _fetch(work: Path) -> None:
    """Bring models and data, and convert the teacher once."""
    code = (
        "from pathlib import Path; from stillhouse.recipe import load_recipe; from stillhouse.addresses import resolve;"
        "from stillhouse.recipe.bind import load_teacher;"
        f"recipe = load_recipe(Path({str(RECIPE)!r})); base = Path('.'); cache = Path({str(_cache())!r});"
        "[resolve(a, cache=cache, base=base) for a in (recipe.raw.sources[0].data, recipe.distill.student.base)];"
        "load_teacher(recipe.ferment.teacher, cache=cache, base=base)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=work, check=True)


def _cache() -> Path:
    return ROOT / "cache"


def run_once(work: Path, name: str, changes: list[str], recipe: Path = RECIPE) -> Runs:
    """One run in a process of its own; returns its folder, seconds, peak memory and evaluation."""
    options = [f"name={name}", f"paths.cache={_cache()}", *changes]
    command = [sys.executable, "-m", "stillhouse.cli", "run", str(recipe)]
    for option in options:
        command += ["--set", option]
    folder = work / "runs" / name
    record = folder / "measured.json"  # a run is timed once, when it is run; later calls read what was measured
    if not record.exists():
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"the run {name} failed with exit code {process.returncode}")
        measured = {"seconds": time.monotonic() - started, "peak_gib": _peak_gib(usage)}
        record.write_text(json.dumps(measured), encoding="utf-8")
    return {
        "folder": folder,
        **json.loads(record.read_text("utf-8")),
        "summary": json.loads((folder / "4-judge" / "evaluation.json").read_text("utf-8"))["summary"],
        "sealed": {
            entry["step"]: entry
            for entry in Ledger(folder / "ledger.jsonl", "bench").entries()
            if entry["event"] == "step-sealed"
        },
    }


def _peak_gib(usage: resource.struct_rusage) -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / 2**30


def _timed_figures(run: Runs, *, quick: bool) -> list[Figure]:
    (ferment,) = run["sealed"]["ferment"]["teachers"]
    asked, per_s = ferment["new_answers"], ferment["new_answers"] / ferment["asking_seconds"]
    steps = {step: entry["seconds"] for step, entry in run["sealed"].items()}
    return [
        Figure("texts labelled", asked, "texts", None if quick else (">=", 8000)),
        Figure("whole run, from recipe to bottle", run["seconds"], "s", ("<=", 60 if quick else 420)),
        *(Figure(f"  of which {step}", seconds, "s") for step, seconds in steps.items()),
        Figure("teacher, while fermenting", per_s, "texts/s", None if quick else (">=", 35)),
        Figure("teacher's precision", ferment["precision_reason"]),
    ]


def naive_figures(work: Path, folder: Path, *, texts: int, quick: bool) -> list[Figure]:
    """Our scoring against the plain loop, one whole prompt at a time, on the same texts in the same process.

    folder: of a run with its first stage. Two passes in half precision never agree to the last bit, so both are held
    against float32; over fewer than 16 texts their mean distances differ by chance, so that no bar hangs on them.
    """
    code = f"""
import json, time, torch
from pathlib import Path
from stillhouse.documents import read
from stillhouse.recipe import load_recipe
from stillhouse.recipe.bind import load_teacher, prompt_of
from stillhouse.addresses import resolve
from stillhouse.teachers.local import model_folder
from transformers import AutoModelForCausalLM
import numpy as np
recipe = load_recipe(Path({str(RECIPE)!r}))
teacher = load_teacher(recipe.ferment.teacher, cache=Path({str(_cache())!r}), base=Path("."))
prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
answers = [prompt.answer_for(label) for label in recipe.labels]
texts = read(Path({str(folder)!r}) / "1-raw", "test")["text"].to_pylist()
rendered = [prompt.render(text) for text in texts[:{texts}]]
many = [prompt.render(text) for text in texts[: 8 * {texts}]]
last = [teacher.tokenizer(answer)["input_ids"][-1] for answer in answers]
def loop(model):
    with torch.inference_mode():
        ids = [teacher.tokenizer(text, return_tensors="pt")["input_ids"] for text in rendered]
        return np.array([model(input_ids=one).logits[0, -1].float().log_softmax(-1)[last].tolist() for one in ids])
cache = Path({str(_cache())!r})
folder = model_folder(resolve(recipe.ferment.teacher.model, cache=cache, base=Path(".")), cache)
stock = AutoModelForCausalLM.from_pretrained(folder, dtype=teacher.model.dtype).eval()
start = time.monotonic(); plain = loop(stock)
plain_per_s = len(rendered) / (time.monotonic() - start)
questions = teacher.questions(many, answers)
start = time.monotonic(); ours = np.zeros((len(many), len(answers)))
for rows in questions.batches(recipe.ferment.teacher.batch_tokens):
    ours[list(rows)] = teacher.score(questions, rows)
ours_per_s = len(many) / (time.monotonic() - start)
exact = loop(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval())
errors = [float(np.abs(found - exact).mean()) for found in (plain, ours[: len(rendered)])]
print(json.dumps([plain_per_s, ours_per_s, *errors]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=work, check=True, capture_output=True, text=True)
    plain, ours, plain_error, our_error = json.loads(done.stdout.splitlines()[-1])
    bar = ("<=", 1.25 * max(plain_error, 1e-4)) if texts >= 16 else None
    return [
        Figure("teacher, plain loop over whole prompts", plain, "texts/s"),
        Figure("teacher, prefix once and equal lengths, same process", ours, "texts/s"),
        Figure("  ratio", ours / plain, "x", None if quick else (">=", 2)),
        Figure("  mean distance from float32: plain loop", plain_error, "nats"),
        Figure("  mean distance from float32: ours", our_error, "nats", bar),
    ]


def _quality_figures(runs: list[Runs], *, quick: bool) -> list[Figure]:
    summaries = [run["summary"] for run in runs]

    def bar(sense: str, limit: float) -> tuple[str, float] | None:
        return None if quick else (sense, limit)

    found = [
        Figure("teacher accuracy on gold", min(s["teacher"]["accuracy"] for s in summaries), "", bar(">=", 0.84)),
        Figure(
            "exported accuracy, mean over seeds",
            mean(s["exported"]["accuracy"] for s in summaries),
            "",
            bar(">=", 0.81),
        ),
    ]
    for seed, summary in enumerate(summaries):
        kept = summary["retention"]
        found += [
            Figure(f"  seed {seed}: student, float32", summary["student"]["accuracy"]),
            Figure(f"  seed {seed}: exported ({summary['exported']['artifact']})", summary["exported"]["accuracy"]),
            Figure(f"  seed {seed}: difference to the teacher", 100 * kept["difference"], "points"),
            Figure(f"  seed {seed}: its lower 95 % bound", 100 * kept["difference_lower_95"], "points", bar(">=", -6)),
        ]
    size = summaries[0]["size"]
    peaks = [run["peak_gib"] for run in runs if run["peak_gib"] is not None]
    found += [
        Figure("peak memory, largest of these runs", max(peaks), "GiB", ("<=", 4)),
        Figure("test documents with gold", summaries[0]["retention"]["n"], "", bar(">=", 2000)),
        Figure(
            "all exported artifacts are int8",
            min(float(s["exported"]["artifact"] == "onnx-int8") for s in summaries),
            "",
            bar(">=", 1),
        ),
        Figure(
            "exported, texts per second",
            mean(s["speed"]["student_per_s"] for s in summaries),
            "texts/s",
            bar(">=", 900),
        ),
        Figure("  times the teacher's", mean(s["speed"]["ratio"] for s in summaries), "x"),
        Figure(
            "exported bytes over the teacher's", size["student_bytes"] / size["teacher_bytes"], "", bar("<=", 1 / 3)
        ),
        Figure("baseline: majority", summaries[0]["baselines"]["majority"]),
        Figure("baseline: TF-IDF on the teacher's labels", summaries[0]["baselines"]["tfidf-teacher"]),
    ]
    return found


def _skewed_figures(balanced: Path, majority: str) -> list[Figure]:
    """Four fifths of one class, and the recipe is told nothing of it, but for the last calibration.

    The teacher's answers are those of the balanced run: each calibration is applied to the same log-probabilities.
    """
    signal = ClassProbs.read(balanced / "2-ferment")
    rows = [
        row
        for split in SPLITS
        for row in read_documents(balanced / "1-raw", split).to_pylist()
        if row["label"] is not None
    ]
    many = [row for row in rows if row["label"] == majority]
    few = [row for row in rows if row["label"] != majority]
    random.Random(0).shuffle(few)
    chosen = [*many, *few[: len(many) // 4]]
    gold = np.array([signal.labels.index(row["label"]) for row in chosen])
    log_probs = signal.log_probs[signal.rows_of([row["id"] for row in chosen])]
    shares = np.array([0.8 if label == majority else 0.2 for label in signal.labels])
    biases = {
        "none": np.zeros(len(signal.labels)),
        "batch": batch_bias(log_probs),
        "matched, equal shares assumed": matched_bias(log_probs, np.full(len(signal.labels), 1 / len(signal.labels))),
        "matched, the true shares given": matched_bias(log_probs, shares),
    }
    found = [Figure(f"80 % {majority}: texts", len(chosen))]
    for name, bias in biases.items():
        said = apply_bias(log_probs, bias).argmax(axis=1)
        f1 = macro_f1(confusion(gold, said, len(signal.labels)))
        found.append(Figure(f"80 % {majority}, calibration {name}: teacher accuracy", float((said == gold).mean())))
        found.append(Figure(f"80 % {majority}, calibration {name}: teacher macro F1", f1))
    return found
