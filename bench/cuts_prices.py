"""What a price list of a model that writes is worth: proxies within several budgets beside students taught in full.

A small language model, trained here on documentation, reads other documentation, a quarter of which is thrown about
and carries an order to a model. Two of its four layers learn the texts, by KL to the whole model and, without it, by
cross-entropy. One cut takes the planted quarter, another two fifths of what is left, the texts easiest for the reader.
The students in full are what the same list says with a budget that pays for all texts: tests hold such a proxy to be
the student itself.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

from bench.cuts_writing import ORDERS
from bench.distill_pair import LENGTH, VOCABULARY, documentation, fit, model
from bench.report import Figure, timed
from stillhouse.causal import save_causal
from stillhouse.execute import run as execute
from stillhouse.execute import stage_summaries
from stillhouse.ledger import Ledger
from stillhouse.recipe import parse_recipe

PIECES, QUICK_PIECES, EPOCHS = 1200, 100, 3  # of documentation, from which the reader learns
TEXTS, QUICK_TEXTS = 640, 200
WORDS = 40  # of a text at most
JUDGED, QUICK_JUDGED = 120, 76
PLANTED = 4  # one text in so many
IN_FULL = 100.0
BUDGETS = (4.0, 2.0)
LOSSES: dict[str, dict[str, Any]] = {
    "KL": {"distributions": {"form": "sparse"}, "loss": {"name": "forward-kl"}},
    "cross-entropy": {"distributions": {"form": "none"}, "loss": {"name": "cross-entropy"}},
}


def price_figures(*, quick: bool, work: Path) -> list[Figure]:
    """For each loss and budget: whether the list says of each choice what students in full say, and what it costs."""
    with timed("a reader of documentation"):
        pieces = QUICK_PIECES if quick else PIECES
        reader = work / f"reader-{pieces}"
        data = _material(work, reader, pieces, QUICK_TEXTS if quick else TEXTS)
    judged = QUICK_JUDGED if quick else JUDGED
    found: list[Figure] = []
    for loss in list(LOSSES)[:1] if quick else LOSSES:
        with timed(f"prices, {loss}, in full"):
            whole, training, _ = _listed(work, reader, data, judged, loss, IN_FULL)
        found += [_line(f"{loss}, in full: {name}", one) for name, one in whole.items()]
        for budget in (4.0,) if quick else BUDGETS:
            with timed(f"prices, {loss}, budget {budget:g}"):
                some, share, seconds = _listed(work, reader, data, judged, loss, budget)
            found += [_line(f"{loss}, budget {budget:g}: {name}", one) for name, one in some.items()]
            told = [(verdict(some[name]), verdict(one)) for name, one in whole.items() if name in some]
            against = sum({one, other} == {"better", "worse"} for one, other in told)
            found += [
                Figure("  choices of which it says the opposite", against, f"of {len(whole)}", ("==", 0)),
                Figure("  of which it says the same", sum(one == other for one, other in told), f"of {len(whole)}"),
                Figure("  its cost over the student's training, in tokens", share, "x", ("<=", budget)),
                Figure("  its cost", seconds, "s"),
            ]
        found.append(Figure(f"{loss}, in full: cost over the student's training, in tokens", training, "x"))
    return found


def verdict(line: dict[str, Any]) -> str:
    """What the interval of a difference to no cut says."""
    gap = line["against_none"]["difference"]
    return "better" if gap["lower"] > 0 else "worse" if gap["upper"] < 0 else "undecided"


def _line(name: str, line: dict[str, Any]) -> Figure:
    gap = line["against_none"]["difference"]
    words = f"nats saved [{gap['lower']:+.3f}, {gap['upper']:+.3f}], {verdict(line)}, {line['tokens']:,} tokens"
    return Figure(name, gap["value"], words)


def _listed(
    work: Path, reader: Path, data: Path, judged: int, loss: str, budget: float
) -> tuple[dict[str, Any], float, float]:
    """The lines of the list but for the first, what it cost as a share of the training, and the step's seconds."""
    name = f"prices-{data.stem}-{loss.lower()}-{budget:g}"
    recipe = {
        "name": name,
        "task": "text-generation",
        "rights": {"commercial": False},
        "paths": {"runs": str(work / "runs"), "cache": str(work / "cache"), "answers": str(work / "answers.sqlite")},
        "raw": {
            "sources": [{"name": "texts", "data": str(data), "license": "BSD-3-Clause"}],
            "clean": {"profile": "none", "languages": [], "personal": "keep", "secrets": "keep"},
            "duplicates": {"near": False},
            "decontaminate": {"own_splits": False},
            "split": {"test": 4, "validation": judged, "stratify": False},
        },
        "ferment": {
            "teacher": {"kind": "local", "model": str(reader), "license": "BSD-3-Clause"},
            "answers": {"kind": "given"},
            "distributions": LOSSES[loss]["distributions"],
        },
        "distill": {
            "student": {
                "kind": "keep-layers",
                "base": str(reader),
                "license": "BSD-3-Clause",
                "keep": [0, 3],
            },
            "loss": LOSSES[loss]["loss"],
            "train": {
                "batch_tokens": 1024,
                "row_tokens": LENGTH,
                "max_length": LENGTH,
                "learning_rate": 1e-3,
                "precision": "float32",
                "epochs": 2,
            },
            "cuts": {
                "heads": [{"score": "injection", "point": {"kind": "hard"}}],
                "tail": {"score": "ease", "point": {"kind": "quantile", "share": 0.4}},
                "proxy": {"budget": budget},
            },
        },
        "controls": [],
    }
    run = execute(parse_recipe(recipe), base=work, until="cuts").folder
    told = json.loads((run / "3-cuts" / "cuts.json").read_text("utf-8"))
    sealed = [one for one in Ledger(run / "ledger.jsonl", "bench").entries() if one["event"] == "step-sealed"]
    seconds = next(float(one["seconds"]) for one in reversed(sealed) if one["step"] == "cuts")
    share = float(stage_summaries(run)["3-cuts"]["proxies"]["share_of_training"])
    return {one["cuts"]: one for one in told["prices"] if one["against_none"]}, share, seconds


def _material(work: Path, reader: Path, pieces: int, number: int) -> Path:
    """The reader's folder, if it is not there yet, and the texts, of which every fourth is planted."""
    texts = documentation()
    random.Random(0).shuffle(texts)
    _train(reader, texts[number:], pieces)
    draw, rows = random.Random(1), []
    for place, text in enumerate(texts[:number]):
        words = text.split()[:WORDS]
        if place % PLANTED == 0:
            words = [*draw.sample(words, len(words)), draw.choice(ORDERS)]
        rows.append({"text": " ".join(words)})
    data = work / f"texts-{number}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return data


def _train(folder: Path, texts: list[str], number: int) -> None:
    """Four layers with a vocabulary of their own, trained on so many pieces of these texts."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    if (folder / "config.json").exists():
        return
    core = ByteLevelBPETokenizer()
    core.train_from_iterator(texts, vocab_size=VOCABULARY, show_progress=False, special_tokens=["<|end|>"])
    words = PreTrainedTokenizerFast(tokenizer_object=core._tokenizer, eos_token="<|end|>", pad_token="<|end|>")  # noqa: S106
    ids = [one for text in texts for one in (*words(text)["input_ids"], words.eos_token_id)]
    pieces = torch.tensor([ids[at : at + LENGTH] for at in range(0, LENGTH * number, LENGTH)])
    made = model(layers=4, seed=0)
    fit(made, pieces, epochs=EPOCHS)
    made.config.eos_token_id = made.generation_config.eos_token_id = words.eos_token_id
    save_causal(made.eval(), words, folder)
