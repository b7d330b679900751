"""The files that ship: the student's folder, with its weights in the recipe's precision.

file = ship(Path("3-distill/student"), Path("bottle"), precision="bfloat16")     # "model.safetensors"
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stillhouse.causal import load_causal, save_causal

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"  # transformers' names


def ship(student: Path, bottle: Path, *, precision: str) -> str:
    """Copy the student; weights of another precision are rounded once, read back and compared.

    Returns the name of the file to open: the weights, or the index of weights that transformers has written in several
    files, as it does from 50 GB on.
    """
    shutil.rmtree(bottle, ignore_errors=True)
    shutil.copytree(student, bottle)
    # read in that precision, not converted: a conversion would round tables that stay float32 wherever it is loaded
    model, tokenizer = load_causal(student, dtype=precision)
    if precision != "float32":
        for path in bottle.glob("*.safetensors*"):  # there may be several, and fewer now
            path.unlink()
        save_causal(model, tokenizer, bottle)
    return _INDEX if (bottle / _INDEX).exists() else _WHOLE
