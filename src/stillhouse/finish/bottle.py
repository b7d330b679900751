"""The bottle: the folder that is shipped, its checksums, and how it is opened and checked.

seal_bottle(folder)                       # writes SHA256SUMS last
problems = verify_bottle(folder)          # [] when all is as it was sealed
bottle = Bottle.open(folder)
bottle.predict(["a fine film"])           # [("positive", 0.97)]
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.rights import check
from stillhouse.store import digest_of_file, write_atomically

CHECKSUMS = "SHA256SUMS"
LABEL = "label.json"
LABEL_SCHEMA = 2
_PICKLES = {".pkl", ".pickle", ".bin", ".pt", ".pth", ".ckpt", ".joblib", ".npy"}


def seal_bottle(folder: Path) -> None:
    """Write the checksums of all files, last."""
    lines = [f"{digest_of_file(path)}  {name}\n" for name, path in _files(folder).items()]
    write_atomically(folder / CHECKSUMS, "".join(lines).encode("utf-8"))


def verify_bottle(folder: Path) -> list[str]:
    """Recompute every checksum and look for every duty; returns what is wrong, in words, or an empty list."""
    sums = folder / CHECKSUMS
    if not sums.is_file():
        raise StillhouseError(
            "this folder is no bottle: it has no SHA256SUMS",
            where=str(folder),
            fix="give a `4-finish/bottle` folder",
        )
    recorded: dict[str, str] = {}
    for line in sums.read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        recorded[name] = digest
    found = _files(folder)
    problems = [f"missing: {name}" for name in sorted(set(recorded) - set(found))]
    problems += [f"not part of the bottle: {name}" for name in sorted(set(found) - set(recorded))]
    problems += [
        f"changed: {name}"
        for name in sorted(set(found) & set(recorded))
        if digest_of_file(found[name]) != recorded[name]
    ]
    problems += [f"may hold a pickle: {name}" for name in sorted(found) if Path(name).suffix in _PICKLES]
    problems += [f"a link, not a file: {path.name}" for path in folder.rglob("*") if path.is_symlink()]
    return problems + _broken_duties(folder)


def _broken_duties(folder: Path) -> list[str]:
    """What the label says is owed, and the bottle does not carry."""
    try:
        label = json.loads((folder / LABEL).read_text("utf-8"))
        return check(folder, label)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{LABEL} is missing or unreadable: what the bottle owes cannot be checked"]


def _files(folder: Path) -> dict[str, Path]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    return {path.relative_to(folder).as_posix(): path for path in paths}


@dataclass(frozen=True)
class Bottle:
    """An opened bottle: its label, and the classifier that it ships."""

    folder: Path
    label: dict[str, Any]
    labels: tuple[str, ...]
    classifier: Any

    @classmethod
    def open(cls, folder: Path, *, threads: int | None = None) -> Bottle:
        """Open the artifact that the label names as shipped, in onnxruntime."""
        from stillhouse.finish.export.onnx import OnnxClassifier

        try:
            label = json.loads((folder / LABEL).read_text("utf-8"))
            artifact = folder / label["shipped"]["file"]
            labels = tuple(label["labels"])
            longest = int(label["shipped"]["max_length"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StillhouseError(
                "this folder is no bottle: its label.json is missing or unreadable",
                where=str(folder),
                fix="give a `4-finish/bottle` folder",
            ) from error
        return cls(folder, label, labels, OnnxClassifier(artifact, folder, max_length=longest, threads=threads))

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Probabilities (N, K), columns in the order of ``labels``."""
        return np.asarray(self.classifier.predict_proba(texts, batch_size=batch_size), dtype=np.float32)

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> list[tuple[str, float]]:
        """The most probable label of each text, and its probability."""
        probs = self.predict_proba(texts, batch_size=batch_size)
        best = probs.argmax(axis=1)
        return [(self.labels[index], float(row[index])) for index, row in zip(best, probs, strict=True)]
