"""Classifiers with planted faults, brought before the real judge and the real bottling.

    case = Case(teacher=("lovely",), student=("lovely", "warm"), each=150)
    judged(world, case, folder)                    # 4-judge, from the files that would ship
    bottled(world, folder, **{"finish.gates.required": ["worst-group"]})

A student that was exported before is not exported again: that takes most of the time, and gives the same bytes.

Texts have one telling word. Documents of dialect ``a`` use the first two of each label's words, those of ``b`` the
last two, so that a word that a model takes for its opposite is a fault that one group bears alone.
"""

from __future__ import annotations

import copy
import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import torch

import tiny_models
from stillhouse import documents
from stillhouse.distill.students import keep_layers
from stillhouse.finish import judge_classification, stage
from stillhouse.finish.export import gate
from stillhouse.recipe import Classification
from stillhouse.signals import ClassProbs
from stillhouse.store import digest_of_file, open_draft, seal
from stillhouse.student import save_student
from stillhouse.workplace import FOLDERS, Places, silent
from tiny_world import LABELS, World

TELLING = {"bad": tiny_models.BAD, "good": tiny_models.GOOD}
_LABEL_OF = {word: label for label, words in TELLING.items() for word in words}


@dataclass(frozen=True)
class Case:
    """teacher, student: words that each of them takes for the opposite. each: test documents of every word."""

    teacher: tuple[str, ...] = ()
    student: tuple[str, ...] = ()
    each: int = 80


def _texts(each: int, *, seed: int) -> list[tuple[str, str]]:
    """Texts with their telling word, ``each`` of every word, no text twice."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    for word in _LABEL_OF:
        wanted = len(found) + each
        while len(found) < wanted:
            words = [word, *rng.choices(tiny_models.PLAIN, k=rng.randint(2, 5))]
            rng.shuffle(words)
            found[" ".join(words)] = word
    return list(found.items())


def _row(number: int, text: str, word: str) -> dict[str, Any]:
    label = _LABEL_OF[word]
    return {
        "id": f"{number:032d}",
        "text": text,
        "label": label,
        "group_dialect": "ab"[TELLING[label].index(word) // 2],
        "source": "words",
        "license": "CC0-1.0",
        "language": "en",
        "notes": [],
        "origin": f"words:{number}",
    }


@functools.cache
def _student(encoder: Path, wrong: frozenset[str]) -> tuple[Any, Any]:
    """An encoder that was taught every word's label, or its opposite, until it made no mistake."""
    pairs = _texts(24, seed=5)
    model, words = keep_layers(encoder, labels=list(LABELS), keep=2, seed=0)
    batch = words([text for text, _ in pairs], padding=True, return_tensors="pt", return_token_type_ids=False)
    targets = torch.tensor([LABELS.index(_LABEL_OF[word]) ^ (word in wrong) for _, word in pairs])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(300):
        found = model(**batch, labels=targets)
        if float(found.loss.detach()) < 0.05:
            return model.eval(), words
        found.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    raise AssertionError(f"the student did not learn its words: loss {float(found.loss.detach()):.3f}")


_exported: dict[str, bytes] = {}


def _export(student: Path, target: Path, *, max_length: int, export: Any = gate.export_classifier) -> None:
    key = f"{digest_of_file(student / 'model.safetensors')} {max_length}"
    if key not in _exported:
        export(student, target, max_length=max_length)
        _exported[key] = target.read_bytes()
    target.write_bytes(_exported[key])


def judged(world: World, case: Case, run: Path, **changes: object) -> dict[str, Any]:
    """Seal what earlier steps would have left, and judge; returns the gates by name."""
    test, train = _texts(case.each, seed=1), _texts(5, seed=2)
    rows = [_row(number, *one) for number, one in enumerate(test + train)]
    sure = [[0.95, 0.05], [0.05, 0.95]]
    probs = np.array([sure[LABELS.index(_LABEL_OF[word]) ^ (word in case.teacher)] for _, word in test + train])

    def raw(draft: Path) -> dict[str, Any]:
        for split, part in (("test", rows[: len(test)]), ("train", rows[len(test) :]), ("validation", [])):
            table = pa.Table.from_pylist(part, schema=documents.schema(["dialect"]))
            documents.write(draft, split, [table], ["dialect"])  # type: ignore[arg-type]
        return {"cuts": {}, "licenses": {"words": ["CC0-1.0"]}}

    def ferment(draft: Path) -> dict[str, Any]:
        header = {"teachers": [{"name": "teacher", "bias": [0.0, 0.0]}]}
        ids = tuple(row["id"] for row in rows)
        ClassProbs(ids, ids, LABELS, np.log(probs), probs, header, ("teacher",) * len(ids)).write(draft)
        return {"teachers": [{"name": "teacher", "precision": "float32"}]}

    def distill(draft: Path) -> dict[str, Any]:
        model, words = _student(world.encoder, frozenset(case.student))
        save_student(copy.deepcopy(model), words, draft / "student")
        return {"gold_labels_used": 0}

    for step, fill in (("raw", raw), ("ferment", ferment), ("distill", distill)):
        counts = {"rows_in": len(rows), "kept": len(rows), "cut": 0, "failed": 0}
        draft = open_draft(run, FOLDERS[step], step)
        seal(run, FOLDERS[step], step, {}, {**counts, **fill(draft)}, "test")
    with mock.patch.object(gate, "export_classifier", _export):
        _step(world, run, "judge", changes)
    gates = json.loads((run / FOLDERS["judge"] / "gates.json").read_text("utf-8"))["gates"]
    return {one["name"]: one for one in gates}


def bottled(world: World, run: Path, **changes: object) -> dict[str, Any]:
    """Bottle what was judged; returns the label."""
    _step(world, run, "finish", changes)
    label: dict[str, Any] = json.loads((run / FOLDERS["finish"] / "bottle" / "label.json").read_text("utf-8"))
    return label


def _step(world: World, run: Path, step: str, changes: Mapping[str, object]) -> None:
    recipe = world.recipe(
        **{"finish.int8.enabled": False, "finish.audit.pairs": 0, "raw.sources.0.columns.groups": {"dialect": "tone"}}
        | changes
    )
    assert isinstance(recipe, Classification)
    draft = open_draft(run, FOLDERS[step], step)
    places = Places(run=run, draft=draft, cache=run / "cache", answers=run / "answers.sqlite", base=world.folder)
    result = {"judge": judge_classification, "finish": stage}[step].run(recipe, places, silent)
    seal(run, FOLDERS[step], step, {}, result.summary, "test")
