"""The chat student as GGUF: does it load in llama.cpp, split texts alike, answer alike, and stop? How large, how fast?

The student is the trained one of the chat recipe where a run of it is there, else 22 layers of its base. The reference
is torch in float32; the runtime has the settings that users have (keys and values in float16).
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.students.decoders import keep_decoder_layers
from stillhouse.distill.students.keep_layers import spread
from stillhouse.finish.export.agreement import Comparison, Floors
from stillhouse.finish.export.gguf import FLOORS, Kind, compare_gguf, export_gguf
from stillhouse.finish.export.gguf.runtime import Runtime
from stillhouse.finish.export.probes import SHAPES
from stillhouse.finish.generation.decoding import parameters
from stillhouse.recipe import load_recipe
from stillhouse.teachers.local import model_folder

RECIPE = ROOT / "recipes" / "chat.yaml"
TRAINED = ROOT / "runs" / "chat" / "3-distill" / "student"
KEEP = 22
TOKENS = 50
LEAST_ENDED = 0.2  # so that what is said about ends is said about something
LARGEST = 1.1  # of the weights' own bytes
BITS: dict[Kind, float] = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5}
THREADS = 1
PROMISED: tuple[Kind, ...] = ("f16", "q8_0")


def gguf(*, quick: bool, work: Path) -> list[Figure]:
    """Every figure of the GGUF export."""
    student, what = _student(work)
    kinds: tuple[Kind, ...] = ("f16", "q8_0") if quick else ("f16", "q8_0", "q4_0")
    with timed("writing"):
        started = time.perf_counter()
        files = export_gguf(student, work / "gguf", kinds)
        wrote = time.perf_counter() - started
    model, tokenizer = load_causal(student)
    weights = parameters(model)
    found = [
        Figure("the student", what),
        Figure("writing all files", wrote, "s"),
        *[
            Figure(
                f"{kind}: bytes of the file over bytes of its weights",
                path.stat().st_size / _least(model, kind),
                "",
                ("<=", LARGEST),
            )
            for kind, path in files.items()
        ],
        Figure("weights, a tied head once", weights / 1e6, "millions"),
    ]
    with timed("random texts"):
        found += _random_texts(files["f16"], tokenizer, 200 if quick else 3000)
    asked = material(quick=quick)
    speeds = {}
    for kind, path in files.items():
        with timed(kind):
            compared = compare_gguf(student, path, floors=FLOORS[kind], threads=THREADS, **asked)
        found += _figures(kind, compared)
        speeds[kind] = compared.per_second
    if not quick:
        with timed("the whole vocabulary"):
            found += _whole(student, files["q8_0"], asked["prompts"], asked["texts"])
    with timed("torch"):
        own = _torch_speed(model)
    found.append(Figure("torch, float32: one answer at a time", own, "tokens/s"))
    for kind, speed in speeds.items():
        if speed is not None:
            found.append(Figure(f"{kind}: one answer at a time", speed, "tokens/s"))
            found.append(Figure(f"{kind}: speed over that of torch", speed / own, "times"))
    return found


def _student(work: Path) -> tuple[Path, str]:
    if (TRAINED / "config.json").is_file():
        return TRAINED, "the chat recipe's, trained"
    folder = work / "student"
    if not (folder / "config.json").is_file():
        cache = work.parent / "cache"
        base = model_folder(resolve(load_recipe(RECIPE).distill.student.base, cache=cache, base=RECIPE.parent), cache)
        made, words = keep_decoder_layers(base, spread(KEEP, 30))
        shutil.rmtree(folder, ignore_errors=True)
        save_causal(made, words, folder)
    return folder, f"{KEEP} layers of its base, untrained"


def _least(model: Any, kind: Kind) -> float:
    """Bytes of the weights alone: matrices in the kind's bits (words of 4 bits in 8), vectors in 32."""
    total = 0.0
    for parameter in model.parameters():
        words = kind == "q4_0" and parameter is model.get_input_embeddings().weight
        bits = 32 if parameter.dim() < 2 else BITS["q8_0"] if words else BITS[kind]
        total += parameter.numel() * bits / 8
    return total


def _prompts() -> list[list[dict[str, str]]]:
    """Prompts of every kind of the recipe's, always the same."""
    rows = [json.loads(line) for line in (ROOT / "recipes/chat/prompts.jsonl").read_text("utf-8").splitlines()]
    random.Random(0).shuffle(rows)
    return [row["messages"] for row in rows]


def material(*, quick: bool) -> dict[str, Any]:
    """What a file is compared on, as the comparisons take it: the recipe's prompts, and text that no model wrote."""
    texts = [json.loads(line)["text"] for line in (ROOT / "recipes/chat/other.jsonl").read_text("utf-8").splitlines()]
    system = {"role": "system", "content": "You are a helpful assistant. Answer briefly."}
    return {
        "prompts": [[system, *one] for one in _prompts()[: 4 if quick else 50]],
        "texts": texts[: 2 if quick else len(texts)],
        "most": 24 if quick else TOKENS,
        "positions": 12 if quick else 300,
        "shapes": SHAPES[:2] if quick else SHAPES,
    }


def _random_texts(file: Path, tokenizer: Any, count: int) -> list[Figure]:
    """Texts of characters of all sorts, which no one would write, split by both."""
    ranges = [(0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x900, 0x980), (0xE00, 0xE80)]
    ranges += [(0x2000, 0x20C0), (0x2150, 0x2190), (0x3000, 0x3100), (0x4E00, 0x4E80), (0x1F300, 0x1F340)]
    letters = [chr(code) for start, end in ranges for code in range(start, end)]
    common = list("abcXYZ 0123456789 's't'LL \n\r\t.,!?-_/()[]<|im_end|>")
    draw = random.Random(1)
    texts = [
        "".join(draw.choice(common if draw.random() < 0.6 else letters) for _ in range(draw.randint(1, 24)))
        for _ in range(count)
    ]
    with Runtime.open(file, context=64, threads=THREADS) as runtime:
        wrong = sum(runtime.tokens(text) != list(tokenizer(text)["input_ids"]) for text in texts)
    return [Figure(f"random texts that are split in another way, of {count}", wrong, "", ("==", 0))]


def _figures(kind: Kind, one: Comparison) -> list[Figure]:
    margins = [divergence.margin for divergence in one.divergences]
    # 4 bits a weight are measured and not promised: whether they are good enough is decided student by student
    floors = FLOORS[kind] if kind in PROMISED else Floors(stops=None)
    bar = ("==", 0.0) if kind in PROMISED else None
    return [
        Figure(f"{kind}: texts that are split in another way, of {one.texts}", len(one.wrong_ids), "", ("==", 0)),
        Figure(
            f"{kind}: share of an answer before the first divergence, the recipe's prompts",
            one.by_shape["given"],
            "",
            None if floors.agreeing is None else (">=", floors.agreeing),
        ),
        *[
            Figure(f"{kind}: the same, {shape} prompts", share)
            for shape, share in one.by_shape.items()
            if shape != "given"
        ],
        Figure(f"{kind}: answers that part at all, of {one.prompts}", len(margins)),
        *(
            [
                Figure(f"{kind}: margin of torch at the first divergence, median", float(np.median(margins)), "nats"),
                Figure(f"{kind}: margin of torch at the first divergence, largest", max(margins), "nats"),
            ]
            if margins
            else []
        ),
        Figure(
            f"{kind}: mean KL from torch, {one.positions} positions, {one.top} tokens and the rest",
            one.kl,
            "nats",
            None if floors.kl is None else ("<=", floors.kl),
        ),
        Figure(f"{kind}: mean mass of the rest", one.outside),
        Figure(
            f"{kind}: answers that ended by themselves within {one.most} tokens",
            one.ended,
            "",
            None if one.most < TOKENS else (">=", LEAST_ENDED),
        ),
        *(
            []
            if one.stops is None
            else [
                Figure(
                    f"{kind}: of all ends, share that is one for both",
                    one.stops,
                    "",
                    None if floors.stops is None else (">=", floors.stops),
                )
            ]
        ),
        Figure(f"{kind}: reasons against it", len(one.reasons), "", bar),
    ]


def _whole(
    student: Path, file: Path, prompts: Sequence[Sequence[dict[str, str]]], texts: Sequence[str]
) -> list[Figure]:
    """What taking the unlikely tokens as one hides, on a few positions."""
    values = {}
    for top in (2048, 10**9):
        values[top] = compare_gguf(
            student, file, prompts=prompts[:1], texts=texts, floors=replace(FLOORS["q8_0"], agreeing=None), most=1,
            positions=40, top=top, threads=THREADS, shapes=(),
        )  # fmt: skip
    part, whole = values[2048], values[10**9]
    return [
        Figure(f"q8_0: mean KL over the whole vocabulary, {whole.positions} positions", whole.kl, "nats", ("<=", 0.02)),
        Figure("q8_0: the same over 2,048 tokens and the rest", part.kl, "nats"),
    ]


def _torch_speed(model: Any) -> float:
    """Tokens a second of one answer, its prompt not counted, as the runtime counts them."""
    ids = torch.arange(40)[None]
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        with torch.inference_mode():
            output = model(input_ids=ids, use_cache=True)
            started = time.perf_counter()
            for _ in range(TOKENS):
                ids = output.logits[:, -1:].argmax(-1)
                output = model(input_ids=ids, cache=output.cache, use_cache=True)
            return TOKENS / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(before)
