"""A student of every kind, made from the chat recipe's teacher: stock, loadable, the same with and without a cache;
with a vocabulary of what the recipe's prompts need, text that was not looked at comes back from its ids."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.distill_pair import documentation
from bench.report import Figure, timed
from bench.signal_material import ROOT
from stillhouse.addresses import resolve
from stillhouse.causal import load_causal, save_causal
from stillhouse.distill.students.decoders import decoder_from_config, keep_decoder_layers
from stillhouse.distill.students.keep_layers import spread
from stillhouse.distill.students.layer_scores import keep_highest, removal_kl, turns, without_idlest_run
from stillhouse.distill.students.lora import merged, with_lora
from stillhouse.distill.students.trim_vocabulary import trim_vocabulary
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
        "given, trimmed vocabulary": lambda: _trimmed(base),
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
    return [*found, *_trim_figures(base)]


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


def _trimmed(base: Path) -> tuple[Any, Any]:
    model, words = load_causal(base)
    trimmed = trim_vocabulary(model, words, used=_ids_of(words, _prompts()))
    return trimmed.model, trimmed.tokenizer


def _trim_figures(base: Path) -> list[Figure]:
    """What is left of the vocabulary, and how much text comes back from its ids: of the prompts that were looked at, of
    plain text of the recipe and of another package that was not, and of every character that Unicode names."""
    model, words = load_causal(base)
    trimmed = trim_vocabulary(model, words, used=_ids_of(words, _prompts()))
    new = trimmed.tokenizer
    unseen = [*_column("other.jsonl", "text"), *documentation(), *_characters()]
    ids = {text: new(text)["input_ids"] for text in unseen}
    back = sum(new.decode(found) == words.decode(words(text)["input_ids"]) == text for text, found in ids.items())
    seen = _prompts()
    old = [trimmed.teacher_ids[one] for one in _ids_of(new, seen)]
    return [
        Figure("trimmed vocabulary: tokens kept", len(trimmed.teacher_ids), f"of {len(words)}"),
        Figure("  parameters kept", trimmed.model.num_parameters() / model.num_parameters(), "x"),
        Figure("  prompts looked at, split as before", int(old == _ids_of(words, seen)), "", ("==", 1)),
        Figure("  texts not looked at", len(unseen)),
        Figure("  of which decode(encode(x)) == x", back / len(ids), "", ("==", 1)),
        Figure(
            "  their tokens over those of the whole vocabulary",
            sum(map(len, ids.values())) / len(_ids_of(words, list(ids))),
            "x",
        ),
    ]


def _ids_of(tokenizer: Any, texts: list[str]) -> list[int]:
    return [one for ids in tokenizer(texts)["input_ids"] for one in ids]


def _prompts() -> list[str]:
    return [row[0]["content"] for row in _column("prompts.jsonl", "messages")]


def _column(name: str, column: str) -> list[Any]:
    return [json.loads(line)[column] for line in (RECIPE.parent / "chat" / name).read_text("utf-8").splitlines()]


def _characters() -> list[str]:
    """Every character with a name, a hundred to a text."""
    named = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.name(chr(code), "")]
    return ["".join(named[at : at + 100]) for at in range(0, len(named), 100)]


def _same(folder: Path) -> int:
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")
    with torch.inference_mode():
        with_cache, without = (
            model.generate(**ids, max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=cached).tolist()
            for cached in (True, False)
        )
    return int(with_cache == without and type(model).__module__.startswith("transformers.models."))
