"""The bottle: the folder that is shipped, its checksums, and how it is opened and checked.

seal_bottle(folder)                       # writes SHA256SUMS last
problems = verify_bottle(folder)          # [] when all is as it was sealed
bottle = Bottle.open(folder)
bottle.predict(["a fine film"])           # of a classifier: [("positive", 0.97)]
bottle.answer(["What is 2 + 3?"])         # of a model that writes: [Answer("It is 5.", "stop")]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
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
LABEL_SCHEMA = 3
Messages = Sequence[Mapping[str, str]]  # a conversation: role and content of each turn
# label and probability of each text, or why there is no usable answer
AskTeacher = Callable[[Sequence[str]], Sequence[tuple[str, float] | str]]
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
class Answer:
    """text: what was written. finish_reason: ``stop`` where it is whole, ``length`` where it was cut off."""

    text: str
    finish_reason: str


@dataclass(frozen=True)
class Bottle:
    """An opened bottle and its label. What it can be asked depends on its task; the rest is refused in words."""

    folder: Path
    label: dict[str, Any]

    @classmethod
    def open(cls, folder: Path, *, threads: int | None = None) -> Bottle:
        """Open what the label names as shipped; raises :class:`StillhouseError` where the folder is no bottle."""
        label = read_label(folder)
        if label.get("task") == "text-generation":
            from stillhouse.finish.bottle_generation import Writer

            return Writer.load(folder, label)
        from stillhouse.finish.bottle_classification import Classifier

        return Classifier.load(folder, label, threads=threads)

    def predict_proba(self, texts: Sequence[str], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
        """Of a classifier: probabilities (N, K), columns in the order of ``labels``."""
        raise self._cannot("gives no probabilities of labels", "answer")

    def predict(
        self, texts: Sequence[str], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[tuple[str, float]]:
        """Of a classifier: the most probable label of each text, and its probability.

        teacher: asked about the texts, and only those, for which the student lies under the bottle's threshold.
        """
        raise self._cannot("gives no labels", "answer")

    def answer(
        self, prompts: Sequence[str | Messages], *, max_tokens: int | None = None, system: str = "", batch_size: int = 8
    ) -> list[Answer]:
        """Of a model that writes: its answer to each question, or to each conversation that ends with one."""
        raise self._cannot("writes no answers", "predict")

    def records(
        self, prompts: Sequence[str | Messages], *, batch_size: int = 32, teacher: AskTeacher | None = None
    ) -> list[dict[str, object]]:
        """What it says about each text, as values for JSON. teacher: of a classifier, as in :meth:`predict`."""
        raise NotImplementedError

    def _cannot(self, what: str, instead: str) -> StillhouseError:
        return StillhouseError(
            f"this bottle {what}: it is for `{self.label.get('task')}`",
            where=str(self.folder),
            fix=f"use `.{instead}(…)`",
        )


def read_label(folder: Path) -> dict[str, Any]:
    """The label of a bottle; raises :class:`StillhouseError` where there is none."""
    try:
        label: dict[str, Any] = json.loads((folder / LABEL).read_text("utf-8"))
        return {**label}
    except (OSError, ValueError, TypeError) as error:
        raise no_bottle(folder) from error


def no_bottle(folder: Path) -> StillhouseError:
    """The error for a folder whose label cannot be read."""
    return StillhouseError(
        "this folder is no bottle: its label.json is missing or unreadable",
        where=str(folder),
        fix="give a `4-finish/bottle` folder",
    )
