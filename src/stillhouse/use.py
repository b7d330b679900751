"""Using what a run made: open a bottle, label a file, taste teacher and student side by side.

bottle = open_bottle(Path("runs/quickstart/4-finish/bottle"))
bottle.predict(["a fine film"])
predict_file(Path("…/bottle"), Path("texts.jsonl"), output=Path("labelled.jsonl"))
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import yaml

from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.ferment.asking import Asker
from stillhouse.ferment.calibration import apply_bias
from stillhouse.ferment.stage_classification import ask_teacher, open_asker
from stillhouse.finish.bottle import Bottle, verify_bottle
from stillhouse.raw.sources import Row, read
from stillhouse.recipe import Classification, parse_recipe
from stillhouse.recipe.classification import as_classification
from stillhouse.signals import ClassProbs
from stillhouse.store import read_sealed
from stillhouse.workplace import FOLDERS, Progress, silent

__all__ = ["Bottle", "Labelled", "Tasting", "open_bottle", "predict_file", "taste", "verify_bottle"]


def open_bottle(folder: Path) -> Bottle:
    """Open a bottle whose files are as they were sealed; raises :class:`StillhouseError` otherwise."""
    problems = verify_bottle(folder)
    if problems:
        raise StillhouseError(
            "the bottle is not as it was sealed: " + "; ".join(problems),
            where=str(folder),
            fix="take it again from where it was made",
        )
    return Bottle.open(folder)


@dataclass(frozen=True)
class Labelled:
    """How many rows of a file were labelled, and how many could not be read."""

    labelled: int
    failed: int


def predict_file(
    bottle: Path,
    file: Path,
    *,
    text: str,
    output: TextIO,
    batch_size: int = 32,
    progress: Progress | None = None,
) -> Labelled:
    """Label every row of ``file`` and write one JSON object a row to ``output``, in the file's order.

    A row that cannot be read, or has no text, becomes an object with ``error`` in its place.
    """
    opened = open_bottle(bottle)
    labelled = failed = 0
    for chunk in _chunks(file, text, batch_size * 32):
        texts = [said for _, said, error in chunk if error is None]
        answers = iter(opened.predict(texts, batch_size=batch_size))
        for origin, said, error in chunk:
            if error is not None:
                failed += 1
                record: dict[str, object] = {"origin": origin, "error": error}
            else:
                labelled += 1
                label, share = next(answers)
                record = {"origin": origin, "text": said, "label": label, "probability": round(share, 6)}
            output.write(json.dumps(record, ensure_ascii=False) + "\n")
        if progress:
            progress("labelling", labelled + failed, 0)
    return Labelled(labelled, failed)


def _chunks(file: Path, column: str, size: int) -> Iterator[list[tuple[str, str, str | None]]]:
    chunk: list[tuple[str, str, str | None]] = []
    if not file.exists():
        raise StillhouseError("the file does not exist", where=str(file), fix="check the path")
    for row in read([file], name=file.name, format="auto"):
        if isinstance(row, Row):
            if column not in row.values:
                raise StillhouseError(
                    f"there is no column {column!r}; the file has {', '.join(row.values)}",
                    where=row.origin,
                    fix="name the column with --text",
                )
            value = row.values[column]
            empty = value is None or not str(value).strip()
            chunk.append((row.origin, str(value), "no text" if empty else None))
        else:
            chunk.append((row.origin, "", row.reason))
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


@dataclass(frozen=True)
class Tasting:
    """A finished run's teachers and student, ready to be asked the same thing."""

    recipe: Classification
    askers: tuple[Asker, ...]
    signal: ClassProbs
    bottle: Bottle

    @classmethod
    def open(cls, run_folder: Path) -> Tasting:
        """Load both; the recipe is the one that the run keeps. Relative addresses start at the working directory."""
        lock = run_folder / "recipe.lock.yaml"
        if not lock.is_file() or read_sealed(run_folder, FOLDERS["finish"], verify=False) is None:
            raise StillhouseError(
                "this is no finished run",
                where=str(run_folder),
                fix="run its recipe with `stillhouse run` first",
            )
        recipe = as_classification(parse_recipe(yaml.safe_load(lock.read_text("utf-8")), file=str(lock)), "tasting")
        base = Path((run_folder / "recipe.base").read_text("utf-8"))
        cache, answers = Path(recipe.paths.cache), Path(recipe.paths.answers)
        return cls(
            recipe,
            tuple(open_asker(one, cache=cache, base=base, answers=answers) for one in recipe.ferment.teachers),
            ClassProbs.read(run_folder / FOLDERS["ferment"]),
            open_bottle(run_folder / FOLDERS["finish"] / "bottle"),
        )

    def ask(self, text: str) -> dict[str, tuple[str, float]]:
        """The calibrated answer of the teachers and the answer of the shipped student: label and probability.

        What the teachers say is kept in the answer store, like any answer.
        """
        import numpy as np

        labels, found = self.signal.labels, []
        with AnswerStore(Path(self.recipe.paths.answers)) as store:
            for asker, header in zip(self.askers, self.signal.header["teachers"], strict=True):
                captured, _ = ask_teacher(self.recipe, asker, [text], store, silent)
                if captured.failures:
                    raise StillhouseError(
                        captured.failures[0].reason, where="the text", fix="type another one, or a shorter one"
                    )
                found.append(apply_bias(captured.log_probs, np.array(header["bias"]))[0])
        probs = np.mean(found, axis=0)
        best = int(probs.argmax())
        return {"teacher": (labels[best], float(probs[best])), "student": self.bottle.predict([text])[0]}


def taste(run_folder: Path) -> Tasting:
    """Open a finished run's teacher and student; ``.ask(text)`` gives both answers."""
    return Tasting.open(run_folder)
