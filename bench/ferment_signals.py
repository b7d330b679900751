"""The signal store: bytes a token, how fast it is written and read back, and what its draws cost a gradient.

The teacher is the quickstart's, the text its movie snippets.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from bench.report import Figure, timed
from bench.signal_gradients import gradient_figures
from bench.signal_material import LENGTH, PER_BATCH, Material, store_bytes
from bench.signal_training import training_figures
from stillhouse.ferment.distributions import capture_distributions
from stillhouse.ferment.sampling import sparse_rows, uniforms
from stillhouse.signals import TokenDist, TokenDistWriter
from stillhouse.signals.rows import decode, encode


def signal_figures(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the signal store; ``work`` keeps the store and the hidden states for a second call."""
    with timed("teacher and documents"):
        material = Material.load(work, quick=quick)
    found = []
    for part, figures in {
        "signal store": store_figures,
        "expectation of its draws": bias_figures,
        "gradients": gradient_figures,
        "tiny student": training_figures,
    }.items():
        with timed(part):
            found += figures(material)
    return found


def store_figures(material: Material) -> list[Figure]:
    """Capture in batches, some of them also as a bare forward pass; then the files' size, and reading at random."""
    model, work = material.teacher.model, material.work
    stride, ratios, speeds = 8 * PER_BATCH, [], []
    with TokenDistWriter(work, material.header) as writer:
        for at in range(0, len(material.training), stride):
            part = [document for document in material.training[at : at + stride] if document[0] not in writer]
            started = time.perf_counter()
            capture_distributions(model, part, writer=writer)
            ours = time.perf_counter() - started
            if part and len(ratios) < 5:
                started = time.perf_counter()
                with torch.inference_mode():
                    for first in range(0, len(part), PER_BATCH):
                        ids = [ids[:-1] for _, ids in part[first : first + PER_BATCH]]
                        model(input_ids=torch.tensor(ids), use_cache=False)
                ratios.append(ours / (time.perf_counter() - started))
                speeds.append(len(part) * LENGTH / ours)
    with TokenDistWriter(work / "snippets", material.header) as writer:
        capture_distributions(model, material.snippets, writer=writer)
    tokens, few = TokenDist.open(work).tokens(), TokenDist.open(work / "snippets").tokens()
    small = store_bytes(work / "snippets") / few
    (work / "documents.json").write_text(json.dumps(material.training), "utf-8")
    rate = _reading_rate(work, seconds=1 if material.quick else 4)
    figures = [
        Figure("tokens stored", tokens, "tokens", material.bar(">=", 65536)),
        Figure("vocabulary", material.header.vocabulary, "", (">=", 49152)),
        Figure(
            f"store on disk, documents of {LENGTH} tokens",
            store_bytes(work) / tokens,
            "B/token",
            material.bar("<=", 34),
        ),
        Figure(f"  one document a snippet, {few / len(material.snippets):.0f} tokens", small, "B/token"),
        Figure("read back at random, two processes", rate, "tokens/s", material.bar(">=", 1_000_000)),
    ]
    if ratios:  # a store that was whole already was not captured anew
        over = 100 * (median(ratios) - 1)
        figures.append(Figure("capture over a bare forward pass, same batches", over, "%", material.bar("<=", 15)))
        figures.append(Figure("  capture", median(speeds), "tokens/s"))
    return figures


def _reading_rate(work: Path, *, seconds: float) -> float:
    """Tokens a second of two processes that each read whole documents in random order, one at a time."""
    code = f"""
import json, random, sys, time
from pathlib import Path
import numpy as np
from stillhouse.signals import TokenDist
work = Path({str(work)!r})
documents = [(name, np.array(ids)) for name, ids in json.loads((work / "documents.json").read_text("utf-8"))]
signal = TokenDist.open(work)
order = random.Random(int(sys.argv[1]))
signal.read(*documents[0])
print(flush=True)
sys.stdin.readline()
started, read = time.perf_counter(), 0
while (passed := time.perf_counter() - started) < {seconds}:
    read += len(signal.read(*order.choice(documents)))
print(read / passed)
"""
    readers = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(2)
    ]
    for reader in readers:
        assert reader.stdout
        reader.stdout.readline()
    rates = []
    for reader in readers:
        assert reader.stdin
        reader.stdin.write("\n")
        reader.stdin.flush()
    for reader in readers:
        rates.append(float(reader.communicate()[0]))
    return sum(rates)


def bias_figures(material: Material) -> list[Figure]:
    """The mean over fresh draws against the teacher itself, along random directions of the vocabulary."""
    header, (n, draws) = material.header, (16, 50) if material.quick else (64, 400)
    ids = material.training[0][1]
    with torch.inference_mode():
        logits = material.teacher.model(input_ids=torch.tensor([ids[: n + 1]])).logits[0, :n].float()
    exact = logits.softmax(-1).double().numpy()
    layout, gold = header.layout, np.array(ids[1 : n + 1])
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(header.vocabulary, 32))
    errors = []
    for draw in range(draws):
        numbers = uniforms(seed=0, draw=draw, document="bias", length=n, layout=layout)
        (kept,) = decode([encode(sparse_rows(logits, gold, numbers, layout), layout)], [gold], layout)
        errors.append((kept.dense(header.vocabulary) - exact).sum(axis=0) @ signs)
    mean, spread = np.mean(errors, axis=0), np.std(errors, axis=0, ddof=1) / np.sqrt(draws)
    z = np.abs(mean / spread)
    return [
        Figure(f"expectation over {draws} draws: largest |z| of 32 directions", float(z.max()), "", ("<=", 4)),
        Figure("  mean z squared (1 where unbiased)", float((z**2).mean())),
    ]
