"""The checkpoints of one training run: which are whole, which is the best, which may go.

A checkpoint is whole once its marker, written last and by rename, lies beside the trainer's own files; a
folder without one is what a killed run left behind, and is deleted. The marker carries the fingerprint of the
run and its log so far, so that a resumed run knows everything that the uninterrupted one would::

    whole = find(output / "checkpoints", fingerprint)
    ...
    seal(folder, fingerprint, log)
    prune(output / "checkpoints", keep={best(log)["step"], step})
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillhouse.errors import StillhouseError
from stillhouse.store import reached, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

MARKER = "complete.json"
_PREFIX = "checkpoint-"  # the trainer's own name for its folders


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its folder, the step it was taken after, the log of all evaluations up to it."""

    folder: Path
    step: int
    log: list[dict[str, float]]

    def weights(self) -> dict[str, Tensor]:
        """Read the model's tensors."""
        from safetensors.torch import load_file

        weights: dict[str, Tensor] = load_file(self.folder / "model.safetensors")
        return weights


def folder_of(folder: Path, step: int) -> Path:
    """Return where the trainer puts the checkpoint of ``step``."""
    return folder / f"{_PREFIX}{step}"


def find(folder: Path, fingerprint: str) -> list[Checkpoint]:
    """Return the whole checkpoints in ``folder``, earliest first, and delete the partial ones.

    Raises :class:`StillhouseError` where a whole one belongs to a run with other arguments: it is neither
    resumed nor deleted.
    """
    whole = []
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        marker = path / MARKER
        if not marker.is_file():
            shutil.rmtree(path)
            continue
        content = json.loads(marker.read_text(encoding="utf-8"))
        if content["fingerprint"] != fingerprint:
            raise StillhouseError(
                "the checkpoints here come from a run with other arguments, data or starting weights",
                where=str(path),
                fix="train into an empty folder, or delete this one",
            )
        whole.append(Checkpoint(path, int(content["log"][-1]["step"]), content["log"]))
    return sorted(whole, key=lambda checkpoint: checkpoint.step)


def seal(folder: Path, fingerprint: str, log: Sequence[Mapping[str, float]]) -> None:
    """Mark the checkpoint in ``folder`` as whole, without the trainer's pickled arguments: nothing reads them."""
    (folder / "training_args.bin").unlink(missing_ok=True)
    marker = json.dumps({"fingerprint": fingerprint, "log": list(log)})
    write_atomically(folder / MARKER, marker.encode("utf-8"))
    reached("checkpoint-written")


def prune(folder: Path, *, keep: set[int]) -> None:
    """Delete the checkpoints of all steps but ``keep``, marker first: a kill leaves a partial one."""
    kept = {folder_of(folder, step) for step in keep}
    for path in folder.glob(f"{_PREFIX}*"):
        if path not in kept:
            (path / MARKER).unlink(missing_ok=True)
            shutil.rmtree(path)
