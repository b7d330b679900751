"""The files that ship: the student's folder, with its weights in the recipe's precision.

ship(Path("3-distill/student"), Path("bottle"), precision="bfloat16")
"""

from __future__ import annotations

import shutil
from pathlib import Path

from stillhouse.causal import load_causal
from stillhouse.errors import StillhouseError
from stillhouse.student import quiet


def ship(student: Path, bottle: Path, *, precision: str) -> None:
    """Copy the student; tokenizer, template and generation config as they are.

    Weights of another precision are rounded once, and read back: raises :class:`StillhouseError` where the bottle does
    not hold what was written.
    """
    import torch

    shutil.rmtree(bottle, ignore_errors=True)
    shutil.copytree(student, bottle)
    model, _ = load_causal(bottle, dtype="float32")
    wanted = getattr(torch, precision)
    if wanted is torch.float32:
        return
    for path in bottle.glob("*.safetensors*"):
        path.unlink()
    with quiet():
        model.to(wanted).save_pretrained(bottle)
    again, _ = load_causal(bottle, dtype=precision)
    before, after = model.state_dict(), again.state_dict()
    if before.keys() != after.keys() or not all(torch.equal(before[name], after[name]) for name in before):
        raise StillhouseError(
            f"the weights read back from the bottle are not those written in {precision}",
            where=str(bottle),
            fix="set `finish.precision: float32`, or look at the space left on the disk",
        )
