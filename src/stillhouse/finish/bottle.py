"""The bottle: the folder that is shipped, and how it is sealed, signed, checked and opened.

seal_bottle(folder)                       # writes SHA256SUMS last
problems = verify_bottle(folder)          # [] when all is as it was sealed, and every duty is met
found = inspect_bottle(folder, key=public)   # the same, and what is known of who signed
sign_bottle(folder, private)
bottle = Bottle.open(folder)
bottle.predict(["a fine film"])           # of a classifier: [("positive", 0.97)]
bottle.answer(["What is 2 + 3?"])         # of a model that writes: [Answer("It is 5.", "stop")]
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish.provenance import sealing
from stillhouse.finish.provenance.contents import shown
from stillhouse.finish.provenance.keys import PrivateKey, PublicKey
from stillhouse.rights import check
from stillhouse.store import SIGNATURE

LABEL = "label.json"
LABEL_SCHEMA = 3
Messages = Sequence[Mapping[str, str]]  # a conversation: role and content of each turn
# label and probability of each text, or why there is no usable answer
AskTeacher = Callable[[Sequence[str]], Sequence[tuple[str, float] | str]]


def seal_bottle(folder: Path) -> None:
    """Write the checksums of all files, last; raises :class:`StillhouseError` for what no bottle may hold."""
    sealing.seal(folder)


def inspect_bottle(folder: Path, *, key: PublicKey | None = None, in_repository: bool = False) -> sealing.Inspection:
    """Recompute every checksum, compare the signature, and look for every duty.

    key: whose signature is demanded. in_repository: the bottle is a checkout of git or of a model host, whose own files
    at the top do not count. Raises :class:`StillhouseError` where the folder is no bottle.
    """
    found = sealing.inspect(folder, key=key, in_repository=in_repository)
    # the words are of a label that anybody may have written
    broken = [shown(one) for one in _at_odds_with_its_label(folder, found.digests)]
    return replace(found, problems=[*found.problems, *broken], trusted=found.trusted and not broken)


def verify_bottle(folder: Path | str) -> list[str]:
    """What is wrong with the bottle, in words, or an empty list; whose it is, only :func:`inspect_bottle` can say."""
    return inspect_bottle(Path(folder)).problems


def sign_bottle(folder: Path, key: PrivateKey, *, again: bool = False) -> None:
    """Sign a bottle that is as it was sealed. again: replace the signature that is there.

    Raises :class:`StillhouseError` where something is wrong with the bottle, or it is signed already.
    """
    found = inspect_bottle(folder)
    if found.signed and not again:
        raise StillhouseError(
            "the bottle is signed already", where=str(folder / SIGNATURE), fix="replace the signature with --again"
        )
    if found.problems:
        raise StillhouseError.several(
            [Problem(one, str(folder), "sign a bottle that `stillhouse verify` accepts") for one in found.problems]
        )
    sealing.sign(folder, key, found.digests, name=str(read_label(folder).get("name")))


def _at_odds_with_its_label(folder: Path, files: Mapping[str, str]) -> list[str]:
    """What the label says is owed, and the bottle does not carry; and what it ships without being a file of the bottle,
    since that is opened and has no checksum. files: of the bottle, by name."""
    try:
        if not (folder / LABEL).is_file():  # to open a pipe is to wait for somebody to write
            raise FileNotFoundError
        label = json.loads((folder / LABEL).read_text("utf-8"))
        shipped = str(label["shipped"]["file"])
        elsewhere = [] if shipped in files else [f"{LABEL} ships {shipped}, which is no file of the bottle"]
        return [*check(folder, label), *elsewhere]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return [f"{LABEL} is missing or unreadable: what the bottle owes and ships cannot be checked"]


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
