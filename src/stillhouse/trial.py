"""A trial of the teacher before all is paid for: a few rows with gold, its answers to just those, and what another
prompt would do.

The gold labels come from a file, from the sources themselves, or from whoever sits at the terminal. They are used to
judge the teacher and for nothing else. What the teacher answers here is kept in the answer store like any answer, so
that the run which follows does not ask for it again.

    gold = gold_of_documents(documents_for_trial(recipe, base=base), 100)
    for outcome in hold_trial(recipe, gold, base=base, variants=few_shot_variants(recipe)): print(outcome.accuracy)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse import documents
from stillhouse.answers import AnswerStore
from stillhouse.errors import StillhouseError
from stillhouse.execute import fetch, run
from stillhouse.ferment.asking import Asker
from stillhouse.ferment.stage_classification import ask_teacher, bias_for, open_asker
from stillhouse.plan import make_plan
from stillhouse.raw.sources import Row, read
from stillhouse.recipe import parse_recipe
from stillhouse.recipe.classification import Classification, as_classification
from stillhouse.signals import apply_bias
from stillhouse.statistics import (
    Interval,
    McNemar,
    calibration_error,
    confusion,
    macro_f1,
    mcnemar_exact,
    proportion,
)
from stillhouse.workplace import FOLDERS, Progress, silent


@dataclass(frozen=True)
class Gold:
    """A text with the label that a person gave it."""

    text: str
    label: str


@dataclass(frozen=True)
class Mistake:
    """A text about which teacher and gold part ways; the surest mistakes come first."""

    text: str
    gold: str
    said: str
    probability: float


@dataclass(frozen=True)
class Outcome:
    """How the teacher did with one prompt.

    accuracy: after calibration, with a 95 % interval. raw_accuracy: before it. calibration_error: expected calibration
    error in 15 bins. table: (K, K) gold by said. against: exact McNemar test against the recipe's own prompt, ``None``
    for that one itself. n: rows answered; failed: rows that were not.
    """

    name: str
    n: int
    failed: int
    accuracy: Interval
    raw_accuracy: float
    macro_f1: float
    calibration_error: float
    table: npt.NDArray[np.int64]
    mistakes: tuple[Mistake, ...]
    against: McNemar | None


def hold_trial(
    recipe: Classification,
    gold: Sequence[Gold],
    *,
    base: Path,
    variants: Sequence[tuple[str, Classification]] = (),
    progress: Progress | None = None,
) -> list[Outcome]:
    """Ask about the rows of ``gold`` with the recipe's prompt, then with each variant; the recipe's comes first.

    Rights and everything else are checked first, as in a run. Raises :class:`StillhouseError` where there is no row,
    or the teacher answered none.
    """
    if not gold:
        raise StillhouseError("there are no labelled rows to try the teacher on", where="trial", fix="label some first")
    make_plan(recipe, base=base).raise_problems()
    fetch(recipe, base, progress or silent)
    make_plan(recipe, base=base).raise_problems()  # what has arrived is judged by its files
    texts = [one.text for one in gold]
    wanted = np.array([recipe.labels.index(one.label) for one in gold])
    cache = Path(recipe.paths.cache)
    answers = Path(recipe.paths.answers)
    askers = [open_asker(section, cache=cache, base=base, answers=answers) for section in recipe.ferment.teachers]
    outcomes: list[Outcome] = []
    first: npt.NDArray[np.bool_] | None = None
    with AnswerStore(Path(recipe.paths.answers)) as store:
        for name, variant in [("the recipe's prompt", recipe), *variants]:
            raw, probs = _ask_all(variant, askers, texts, store, progress or silent)
            answered = np.asarray(np.isfinite(probs).all(axis=1))
            if not answered.any():
                raise StillhouseError(
                    f"the teacher answered none of the {len(gold)} rows",
                    where=f"trial, {name}",
                    fix="check the prompt's length, and the teacher's files or endpoint",
                )
            raw, probs = raw[answered], probs[answered]
            right = np.zeros(len(gold), dtype=bool)
            right[answered] = probs.argmax(axis=1) == wanted[answered]
            against = None if first is None else mcnemar_exact(right, first)
            first = right if first is None else first
            kept = [one for one, ok in zip(gold, answered, strict=True) if ok]
            outcomes.append(_outcome(name, kept, recipe.labels, raw, probs, len(gold), against))
    return outcomes


def few_shot_variants(recipe: Classification) -> list[tuple[str, Classification]]:
    """The recipe with no examples in its prompt, and with half of them, where it has any."""
    examples = [example.model_dump(mode="json") for example in recipe.ferment.prompt.examples]
    counts = sorted({0, len(examples) // 2} - {len(examples)})
    fewer = {count: f"ferment.prompt.examples={json.dumps(examples[:count])}" for count in counts}
    return [(f"{count} of {len(examples)} examples", changed(recipe, [one])) for count, one in fewer.items()]


def changed(recipe: Classification, overrides: list[str]) -> Classification:
    """The recipe with fields of its prompt or calibration changed; raises :class:`StillhouseError` for any other."""
    for override in overrides:
        if not override.startswith(("ferment.prompt", "ferment.calibration")):
            raise StillhouseError(
                f"a trial compares prompts and calibrations, not {override.partition('=')[0]}",
                where="--try",
                fix="change a field below ferment.prompt or ferment.calibration",
            )
    again = parse_recipe(recipe.model_dump(mode="json", exclude_unset=True), overrides)
    return as_classification(again, "a trial")


def documents_for_trial(
    recipe: Classification, *, base: Path, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Training documents in the order of their ids, which is no order at all: the test split takes no part in a trial,
    so that no prompt is chosen by it. Runs stage 1 if it has not been run."""
    run(recipe, base=base, progress=progress or silent, until="raw")
    folder = Path(recipe.paths.runs) / recipe.name / FOLDERS["raw"]
    rows: list[dict[str, Any]] = documents.read(folder, "train").to_pylist()
    return sorted(rows, key=lambda row: str(row["id"]))


def gold_of_documents(rows: Sequence[dict[str, Any]], count: int) -> list[Gold]:
    """The first ``count`` documents that came with a gold label."""
    return [Gold(row["text"], row["label"]) for row in rows if row["label"] is not None][:count]


def gold_of_file(path: Path, labels: Sequence[str]) -> list[Gold]:
    """Rows of a file with columns ``text`` and ``label``; raises :class:`StillhouseError` for any other label."""
    if not path.is_file():
        raise StillhouseError("the file does not exist", where=str(path), fix="check the path")
    found = []
    for row in read([path], name=path.name, format="auto"):
        if not isinstance(row, Row):
            raise StillhouseError(f"cannot be read: {row.reason}", where=row.origin, fix="mend the line")
        text, label = row.values.get("text"), row.values.get("label")
        if not text or str(label) not in labels:
            raise StillhouseError(
                f"needs a text and one of the labels {', '.join(labels)}, has {label!r}",
                where=row.origin,
                fix="give the columns `text` and `label`",
            )
        found.append(Gold(str(text), str(label)))
    return found


class Notebook:
    """The labels that a person types, one JSON line each, so that a trial can be left and gone on with."""

    def __init__(self, path: Path, labels: Sequence[str]) -> None:
        self.path = path
        self.labels = tuple(labels)

    def read(self) -> list[Gold]:
        """What has been labelled so far."""
        return gold_of_file(self.path, self.labels) if self.path.exists() else []

    def add(self, text: str, label: str) -> None:
        """Keep the label of one text."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n")

    def open_texts(self, rows: Sequence[dict[str, Any]], count: int) -> list[str]:
        """Texts still to be labelled, up to ``count`` labels in all."""
        known = {one.text for one in self.read()}
        return [row["text"] for row in rows if row["text"] not in known][: max(0, count - len(known))]


def _ask_all(
    recipe: Classification, askers: list[Asker], texts: list[str], store: AnswerStore, progress: Progress
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Probabilities (N, K) before and after calibration, the mean of those teachers that answered; NaN where none."""
    raw: list[npt.NDArray[np.float64]] = []
    calibrated: list[npt.NDArray[np.float64]] = []
    for asker in askers:
        captured, content_free = ask_teacher(recipe, asker, texts, store, progress)
        answered = captured.answered
        for found, kind in ((raw, None), (calibrated, recipe.ferment.calibration)):
            probs = np.full(captured.log_probs.shape, np.nan)
            bias = np.zeros(len(recipe.labels))
            if kind is not None and answered.any():
                bias = bias_for(kind, recipe.labels, captured.log_probs[answered], content_free)
            probs[answered] = apply_bias(captured.log_probs[answered], bias)
            found.append(probs)
    return _mean(raw), _mean(calibrated)


def _mean(found: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    stacked = np.stack(found)
    counts = np.isfinite(stacked).sum(axis=0)
    return np.asarray(np.where(counts, np.nansum(stacked, axis=0) / np.maximum(counts, 1), np.nan), dtype=np.float64)


def _outcome(
    name: str,
    gold: list[Gold],
    labels: tuple[str, ...],
    raw: npt.NDArray[np.float64],
    probs: npt.NDArray[np.float64],
    asked: int,
    against: McNemar | None,
) -> Outcome:
    wanted: Any = np.array([labels.index(one.label) for one in gold])
    said = probs.argmax(axis=1)
    wrong = sorted((row for row in range(len(gold)) if said[row] != wanted[row]), key=lambda row: -probs[row].max())
    table = confusion(wanted, said, len(labels))
    return Outcome(
        name,
        len(gold),
        asked - len(gold),
        proportion(said == wanted),
        float((raw.argmax(axis=1) == wanted).mean()),
        macro_f1(table),
        calibration_error(probs, wanted),
        table,
        tuple(Mistake(gold[row].text, gold[row].label, labels[said[row]], float(probs[row].max())) for row in wrong),
        against,
    )
