"""The files that ship: the student's folder, with its weights in the recipe's precision.

ship(Path("3-distill/student"), Path("bottle"), precision="bfloat16")
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stillhouse.causal import load_causal, save_causal


def ship(student: Path, bottle: Path, *, precision: str) -> None:
    """Copy the student; weights of another precision are rounded once, read back and compared."""
    shutil.rmtree(bottle, ignore_errors=True)
    shutil.copytree(student, bottle)
    # read in that precision, not converted: a conversion would round tables that stay float32 wherever it is loaded
    model, tokenizer = load_causal(student, dtype=precision)
    if precision == "float32":
        return
    for path in bottle.glob("*.safetensors*"):  # there may be several, and fewer now
        path.unlink()
    save_causal(model, tokenizer, bottle)
