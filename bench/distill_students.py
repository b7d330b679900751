"""A student of every kind, made from the chat recipe's teacher: stock, loadable, the same with and without a cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.students.decoders import decoder_from_config, keep_decoder_layers
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.students.layer_scores import keep_highest, removal_kl, turns, without_idlest_run
from stillhouse.distill.students.lora import merged, with_lora
from stillhouse.recipe import load_recipe
from stillhouse.teachers.local import model_folder

RECIPE = ROOT / "recipes" / "chat.yaml"
PROMPT = "The quick brown fox jumps over the lazy dog, and then"
NEW_TOKENS = 20
KEEP = 22


def student_figures(*, quick: bool, work: Path) -> list[Figure]:
    """One figure a kind: 1 where the student is stock and writes the same twenty tokens with and without a cache."""
    cache = work.parent / "cache"
    base = model_folder(resolve(load_recipe(RECIPE).distill.student.base, cache=cache, base=RECIPE.parent), cache)
    _, tokenizer = load_causal(base)
    ids = tokenizer(PROMPT * (1 if quick else 8))["input_ids"]
    size = {"layers": 4, "hidden_size": 192, "heads": 3, "kv_heads": 3, "intermediate_size": 512}
    kinds: dict[str, Callable[[], tuple[Any, Any]]] = {
        "keep-layers, even": lambda: keep_decoder_layers(base, spread(KEEP, 30)),
        "keep-layers, kl": lambda: keep_decoder_layers(base, _by_kl(base, ids)),
        "keep-layers, influence": lambda: keep_decoder_layers(base, _by_influence(base, ids)),
        "keep-layers, given": lambda: keep_decoder_layers(base, [0, 1, 2, 11, 28, 29]),
        "from-config": lambda: decoder_from_config(base, seed=0, **size),
        "given": lambda: load_causal(base),
        "given, low-rank": lambda: _low_rank(base),
    }
    found = []
    for name in list(kinds)[:: 3 if quick else 1]:
        with timed(name):
            model, words = kinds[name]()
            folder = work / "student"
            shutil.rmtree(folder, ignore_errors=True)
            save_causal(model, words, folder)
            same = _same(folder)
            shutil.rmtree(folder)
        found.append(Figure(f"student, {name}: stock, and the same with and without a cache", same, "", ("==", 1)))
    return found


def _by_kl(base: Path, ids: list[int]) -> list[int]:
    model, _ = load_causal(base, dtype="bfloat16")
    return keep_highest(removal_kl(model, [ids], [1]), KEEP)


def _by_influence(base: Path, ids: list[int]) -> list[int]:
    model, _ = load_causal(base, dtype="bfloat16")
    return without_idlest_run(turns(model, [ids]), KEEP)


def _low_rank(base: Path) -> tuple[Any, Any]:
    model, words = load_causal(base)
    adapted = with_lora(model, rank=4, alpha=8.0, targets=(), seed=0)
    for name, weights in adapted.named_parameters():
        if "lora_B" in name:
            weights.data += 0.01  # an update that is not nothing, as after training
    return merged(adapted), words


def _same(folder: Path) -> int:
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")
    with torch.inference_mode():
        with_cache, without = (
            model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=cached).tolist()
            for cached in (True, False)
        )
    return int(with_cache == without and type(model).__module__.startswith("transformers.models."))
