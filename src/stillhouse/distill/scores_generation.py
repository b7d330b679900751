"""The step `scores` of a model that writes: what there is to know of each chosen answer before anything is cut.

Reads ``1-raw`` and ``2-ferment``; writes ``scores.parquet``, a row for each answer of training and validation documents
that `distill.choose` chose, and ``masks.parquet``, the tokens that scores with places point at. Only scores that the
recipe names are made: rules cost nothing, the teacher's side is stored, a reader passes over the answers once or twice.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse.addresses import peek, resolve
from stillhouse.causal import load_causal
from stillhouse.device import place
from stillhouse.distill import masks
from stillhouse.distill.beginning import chosen_rows, stored_signal
from stillhouse.distill.evidence import Evidence
from stillhouse.distill.score_step import check_classifiers, classified
from stillhouse.distill.scored import Scored
from stillhouse.distill.scores import Floats
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.cuts_generation import OF_TEACHER, PLACED
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.signals import Text
from stillhouse.store import reached
from stillhouse.teachers.local import check_files, load_tokenizer, model_folder
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")
READS = (
    "distill.choose.answers",
    "distill.choose.most",
    "distill.choose.prefer",
    "distill.choose.cut_off",
    "distill.choose.spoken_as_machine",
    "distill.choose.turns",
    "distill.student.base",
    "distill.train.max_length",
)


def check(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Models that are already here have to be what they are named for."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101 - the plan has no such step otherwise
    problems = check_classifiers(section.heads, cache, base)
    readers = {
        f"distill.cuts.heads.{number}.model": head.model
        for number, head in enumerate(section.heads)
        if head.score == "divergence"
    }
    for field, address in {**readers, "distill.cuts.reader": section.reader}.items():
        try:
            files = peek(address, cache=cache, base=base) if address else None
            if files is not None:
                check_files(files)
        except StillhouseError as error:
            problems += [Problem(one.what, f"{field}: {one.where}", one.fix) for one in error.problems]
    return problems


def run(recipe: Generation, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    section = recipe.distill.cuts
    assert section is not None  # noqa: S101
    rows, _, _ = chosen_rows(recipe, places)
    splits = [split for split in ("train", "validation") for _ in rows[split]]
    every = [*rows["train"], *rows["validation"]]
    reader = section.reader or recipe.distill.student.base
    evidence = Evidence(
        every,
        turns=recipe.distill.choose.turns,
        max_length=recipe.distill.train.max_length,
        tokenizer=lambda: load_tokenizer(
            resolve(recipe.distill.student.base, cache=places.cache, base=places.base), cache=places.cache
        ),
        stored=stored_signal(recipe, places) if set(section.names) & set(OF_TEACHER) else None,
        reader=partial(_load, reader, places),
        same_reader=section.reader is None,
        samples=Text.read(places.sealed("ferment")).answers if isinstance(recipe.ferment.answers, Ask) else (),
        progress=progress,
    )
    columns: dict[str, Floats] = {}
    found: dict[str, dict[str, list[int]]] = {}
    for head in section.heads:
        match head.score:
            case "classifier":
                columns[head.title] = classified(head, evidence.texts, places)
            case "divergence":
                model = head.model or ""
                columns[head.title] = evidence.divergence(head.title, partial(_load, model, places))
            case _:
                columns[head.title] = evidence.score(head.score)
        if head.score in PLACED:
            found[head.title] = evidence.places(head.score, columns[head.title], head.title)
    if section.tail is not None:
        columns[section.tail.score] = evidence.score(section.tail.score)
    if section.needs_reader:  # the answers have been read by now, and what a model knows already decides quotas
        columns["ease"] = evidence.score("ease")
    ids = tuple(row.key for row in every)
    Scored(ids, tuple(splits), np.zeros((len(ids), 0)), columns).write(places.draft)
    masks.write(places.draft, found)
    reached("scores-written")
    summary = {"rows_in": len(ids), "kept": len(ids), "cut": 0, "failed": 0}
    return StageResult(summary | {"tokens_read": evidence.tokens_read, "scores": sorted(columns)})


def _load(address: str, places: Places) -> tuple[Any, Any]:
    """A language model and its tokenizer, on the device and in the precision that suit this machine."""
    placement = place("auto", "auto")
    files = resolve(address, cache=places.cache, base=places.base)
    model, tokenizer = load_causal(model_folder(files, places.cache), dtype=placement.dtype, where=address)
    return model.to(placement.device), tokenizer
