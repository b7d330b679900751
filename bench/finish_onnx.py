"""The chat student as ONNX: how large, how fast, how near to torch, beside torch and llama.cpp on one thread?

The student is that of ``finish_gguf``, and so are prompts, texts and threads: its figures stand beside these.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.finish_gguf import LARGEST, THREADS, TOKENS, _student, _torch_speed, material
from bench.report import Figure, timed
from stillhouse.causal import load_causal
from stillhouse.finish.export.agreement import Comparison
from stillhouse.finish.export.gguf import export_gguf
from stillhouse.finish.export.gguf.runtime import Runtime
from stillhouse.finish.export.onnx_causal import FLOORS, KINDS, Kind, OnnxWriter, compare_onnx, export_onnx
from stillhouse.finish.generation.decoding import parameters

BYTES: dict[Kind, float] = {"fp32": 4.0, "int8": 1.125}  # a scale of float32 for each 32 weights


def onnx(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the ONNX export of a model that writes."""
    given, what = _student(work)
    student = work / "onnx-student"
    if not student.exists():
        shutil.copytree(given, student, symlinks=False)
    with timed("exporting"):
        started, used = time.perf_counter(), time.process_time()
        files = export_onnx(student, work / "onnx", KINDS)
        wrote, used = time.perf_counter() - started, time.process_time() - used
    model, _ = load_causal(student)
    weights = parameters(model)
    found = [
        Figure("the student", what),
        Figure("exporting both files", wrote, "s"),
        Figure("exporting both files, of a processor", used, "s"),
    ]
    for kind, path in files.items():
        share = path.stat().st_size / (weights * BYTES[kind])
        found.append(Figure(f"{kind}: bytes of the file over bytes of its weights", share, "", ("<=", LARGEST)))
        found.append(Figure(f"{kind}: size", path.stat().st_size / 1e6, "MB"))
    asked = material(quick=quick)
    for kind, path in files.items():
        with timed(kind):
            compared = compare_onnx(student, path, floors=FLOORS[kind], threads=THREADS, **asked)
        found += _figures(kind, compared)
    with timed("speed"):
        found += _speeds(model, student, files, work, quick)
    return found


def _figures(kind: Kind, one: Comparison) -> list[Figure]:
    floors = FLOORS[kind]
    agreeing = None if floors.agreeing is None else (">=", floors.agreeing)
    kl = None if floors.kl is None else ("<=", floors.kl)
    margins = [divergence.margin for divergence in one.divergences]
    return [
        Figure(
            f"{kind}: share of an answer before the first divergence, {one.prompts} prompts", one.agreeing, "", agreeing
        ),
        *[Figure(f"{kind}: the same, {shape} prompts", share) for shape, share in one.by_shape.items()],
        Figure(f"{kind}: margin of torch at the first divergence, median", float(np.median(margins or [0])), "nats"),
        Figure(f"{kind}: mean KL from torch, {one.positions} positions, all tokens", one.kl, "nats", kl),
        Figure(f"{kind}: of all ends, share that is one for both", -1.0 if one.stops is None else one.stops),
        Figure(f"{kind}: texts that are split in another way, of {one.texts}", len(one.wrong_ids), "", ("==", 0)),
        Figure(f"{kind}: reasons against it", len(one.reasons), "", ("==", 0)),
    ]


def _speeds(model: Any, student: Path, files: dict[Kind, Path], work: Path, quick: bool) -> list[Figure]:
    """One answer at a time, in turn, so that a busy machine is busy for all of them; the best of three turns."""
    count, ids = 16 if quick else TOKENS, list(range(5, 45))
    best: dict[str, float] = {}

    def keep(name: str, speed: float | None) -> None:
        best[name] = max(best.get(name, 0.0), speed or 0.0)

    written = export_gguf(student, work / "gguf-beside", ("f16", "q8_0"))
    writers = {kind: OnnxWriter(path, student, threads=THREADS, ends=()) for kind, path in files.items()}
    for _ in range(1 if quick else 3):
        keep("torch, float32", _torch_speed(model))
        for kind, writer in writers.items():
            keep(f"onnxruntime, {kind}", writer.answers([ids], count)[0].per_second)
        for name, path in written.items():
            with Runtime.open(path, context=128, threads=THREADS) as runtime:
                keep(f"llama.cpp, {name}", runtime.answer(ids, count).per_second)
    return [
        Figure(f"{name}: one answer at a time, {THREADS} thread", speed, "tokens/s") for name, speed in best.items()
    ]
