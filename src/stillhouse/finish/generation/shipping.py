"""The files that ship: the student's folder, with its weights in the recipe's precision.

file = ship(Path("3-distill/student"), Path("4-judge/artifacts"), precision="bfloat16")     # "model.safetensors"
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.causal import load_causal, save_causal
from stillhouse.finish.artifacts import lay_out

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"  # transformers' names


def ship(student: Path, folder: Path, *, precision: str) -> str:
    """Lay the student out in ``folder``; weights of another precision are rounded once, read back and compared.

    Returns the name of the file to open: the weights, or the index of weights that transformers has written in several
    files, as it does from 50 GB on.
    """
    lay_out(student, folder, weights=precision == "float32")
    # read in that precision, not converted: a conversion would round tables that stay float32 wherever it is loaded
    model, tokenizer = load_causal(student, dtype=precision)
    if precision != "float32":
        save_causal(model, tokenizer, folder)
    return _INDEX if (folder / _INDEX).exists() else _WHOLE
