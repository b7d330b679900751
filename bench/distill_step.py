"""What a distillation step costs: from stored signals, beside plain cross-entropy and trainers with a live teacher.

Every way makes the same step on the same student, tokens and machine, each in a process of its own, by turns. TRL is
the peer, in an environment that borrows this one's torch and transformers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.chunked import Head, head_loss
from stillhouse.distill.language.packing import pack
from stillhouse.distill.students.decoders import keep_decoder_layers
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import TokenLoss, token_losses
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.recipe import load_recipe
from stillhouse.signals import Header, TokenDistWriter
from stillhouse.teachers.local import model_folder

DRIVER = Path(__file__).with_name("distill_step_driver.py")
RECIPE = ROOT / "recipes" / "chat.yaml"
TRL = ("trl==1.16.0", "datasets==5.2.0")
LAYERS = 15
ROWS, LENGTH = 8, 256
ROUNDS, REPEATS = 3, 2


def step_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Times, memory and equality; the quick form has fewer and shorter rows."""
    rows, length = (2, 64) if quick else (ROWS, LENGTH)
    with timed("pair and store"):
        folder = _material(work, rows, length)
    python = _peer(work)
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(1 if quick else ROUNDS):
        for way, interpreter in (
            ("cross-entropy", sys.executable),
            ("stored", sys.executable),
            ("live", sys.executable),
            ("trl", str(python)),
        ):
            with timed(way):
                found.setdefault(way, []).append(_measured(interpreter, way, folder))
    seconds = {way: median(second for run in runs for second in run["seconds"]) for way, runs in found.items()}
    peaks = {way: median(run["peak"] for run in runs) for way, runs in found.items()}
    live = min(seconds["live"], seconds["trl"])
    bar = not quick
    figures = [
        Figure("student", f"{LAYERS} of 30 layers, {rows} rows of {length} tokens, bfloat16 products"),
        *(Figure(f"a step, {way}", seconds[way], "s") for way in seconds),
        *(Figure(f"tokens a second, {way}", rows * length / seconds[way]) for way in seconds),
        *(Figure(f"memory above the model's own, {way}", peaks[way] / 2**20, "MiB") for way in peaks),
        Figure(
            "a stored step over plain cross-entropy",
            seconds["stored"] / seconds["cross-entropy"],
            "x",
            ("<=", 1.15) if bar else None,
        ),
        Figure("stored over the faster live trainer", live / seconds["stored"], "x", (">=", 1.3) if bar else None),
        Figure(
            "stored memory over the smaller of theirs",
            peaks["stored"] / min(peaks["live"], peaks["trl"]),
            "x",
            ("<=", 0.5) if bar else None,
        ),
        _packing(),
    ]
    return [*figures, *_equality()]


def _measured(python: str, way: str, folder: Path) -> dict[str, Any]:
    told = subprocess.run(
        [python, "-W", "ignore", str(DRIVER), way, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "PYTHONPATH": str(ROOT / "src")},
    )
    loaded: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return loaded


def _material(work: Path, rows: int, length: int) -> Path:
    """Teacher, student, tokens and the teacher's stored distributions about them."""
    folder = work / f"{rows}x{length}"
    if (folder / "step.json").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    recipe = load_recipe(RECIPE)
    files = resolve(recipe.distill.student.base, cache=work.parent / "cache", base=RECIPE.parent)
    teacher = model_folder(files, work.parent / "cache")
    (folder / "teacher").unlink(missing_ok=True)
    (folder / "teacher").symlink_to(teacher.resolve())
    student, tokenizer = keep_decoder_layers(teacher, spread(LAYERS, 30))
    save_causal(student, tokenizer, folder / "student")
    text = "\n".join(json.loads(line)["text"] for line in (RECIPE.parent / "chat/other.jsonl").open(encoding="utf-8"))
    ids = tokenizer(text)["input_ids"]
    chosen = [[ids[(row * length + place) % len(ids)] for place in range(length)] for row in range(rows)]
    model, _ = load_causal(teacher, dtype="bfloat16")
    header = Header("t", "k", "c", int(model.get_output_embeddings().weight.shape[0]), "bfloat16")
    with TokenDistWriter(folder / "store", header) as writer:
        capture_distributions(model, [(str(row), one) for row, one in enumerate(chosen)], writer=writer)
    (folder / "step.json").write_text(json.dumps({"ids": chosen, "repeats": REPEATS}), "utf-8")
    return folder


def _peer(work: Path) -> Path:
    """An interpreter with TRL, which takes torch and transformers from this environment."""
    environment = work / "peers"
    python = environment / "bin" / "python"
    done = environment / "installed.txt"
    if not done.exists() or done.read_text("utf-8") != "\n".join(TRL):
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        lent = environment / "lib" / version / "site-packages" / "lent.pth"
        lent.write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *TRL], check=True)
        done.write_text("\n".join(TRL), "utf-8")
    return python


def _packing() -> Figure:
    """What packing is worth on answers of unequal length: tokens that a batch holds with padding, over those packed."""
    lines = (RECIPE.parent / "chat/prompts.jsonl").read_text("utf-8").splitlines()
    random = np.random.default_rng(0)
    lengths = [30 + len(line) // 8 + int(random.integers(4, 96)) for line in lines[:1024]]
    padded = sum(8 * max(lengths[at : at + 8]) for at in range(0, len(lengths), 8))
    packed = 512 * len(pack(lengths, 512, range(len(lengths))))
    return Figure("tokens of padded batches of eight over packed rows", padded / packed, "x")


def _equality() -> list[Figure]:
    """The chunked loss and its gradients against all logits at once, in float32."""
    torch.manual_seed(0)
    hidden = torch.randn(96, 64, requires_grad=True)
    weight = torch.randn(5000, 64, requires_grad=True)
    target, gold = Target("dense", 5000, torch.randn(96, 5000).softmax(-1)), torch.randint(5000, (96,))
    token_losses(hidden @ weight.T, target, gold, TokenLoss())["loss"].sum().backward()
    assert hidden.grad is not None and weight.grad is not None
    wanted = hidden.grad.clone(), weight.grad.clone()
    worst = 0.0
    for chunk in (1, 7, 96):
        hidden.grad = weight.grad = None
        head_loss(hidden, Head(weight), target, gold, TokenLoss(), chunk=chunk).total.backward()
        for found, truth in zip((hidden.grad, weight.grad), wanted, strict=True):
            assert found is not None
            worst = max(worst, float((found - truth).abs().max() / truth.abs().max()))
    return [Figure("chunked gradients against unchunked, largest difference", worst, "", ("<=", 1e-5))]
