"""Stage 2: asks the teacher about every document of every split and seals its signals.

Reads ``1-raw``; writes ``signals/class_probs.parquet`` and ``failures.parquet``. Answers live in the answer store.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse import documents
from stillhouse.addresses import peek
from stillhouse.answers import AnswerStore
from stillhouse.cuts import Balance
from stillhouse.errors import Problem, StillhouseError
from stillhouse.ferment.api_asking import ApiAsker
from stillhouse.ferment.asking import Asker, LocalAsker
from stillhouse.ferment.calibration import CONTENT_FREE, apply_bias, batch_bias, matched_bias, uniform_bias
from stillhouse.ferment.capture import Captured
from stillhouse.recipe.bind import calls_of, endpoint_of, key_of, load_teacher, new_client, prompt_of
from stillhouse.recipe.model import ApiTeacher, Calibration, Recipe
from stillhouse.recipe.rights import teacher_address
from stillhouse.signals import ClassProbs
from stillhouse.store import reached
from stillhouse.teachers import check_files
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("torch", "transformers", "numpy", "pyarrow")


def run(recipe: Recipe, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    tables = [(split, documents.read(places.sealed("raw"), split)) for split in documents.SPLITS]
    ids = [identifier for _, table in tables for identifier in table["id"].to_pylist()]
    texts = [text for _, table in tables for text in table["text"].to_pylist()]
    splits = np.array([split for split, table in tables for _ in range(len(table))])
    asker = open_asker(recipe, cache=places.cache, base=places.base)
    with AnswerStore(places.answers) as store:
        started = time.monotonic()
        captured, content_free = ask_teacher(recipe, asker, texts, store, progress)
        asking_seconds = time.monotonic() - started
    _refuse_missing(recipe, captured, len(ids))
    answered = np.asarray(np.isfinite(captured.log_probs).all(axis=1))
    if not answered[splits == "train"].any():
        first = captured.failures[0].reason if captured.failures else "there are no training documents"
        raise StillhouseError(
            f"the teacher answered about none of the training documents; the first reason: {first}",
            where="ferment",
            fix="see failures.parquet's reasons; check the teacher's files and the prompt's length",
        )
    unseen = answered & (splits != "test")  # the test texts take no part in choosing the bias
    bias = bias_for(recipe.ferment.calibration, recipe.labels, captured.log_probs[unseen], content_free)
    signal = ClassProbs(
        ids=tuple(identifier for identifier, ok in zip(ids, answered, strict=True) if ok),
        asked=tuple(key for key, ok in zip(captured.asked, answered, strict=True) if ok),
        labels=recipe.labels,
        log_probs=captured.log_probs[answered],
        probs=apply_bias(captured.log_probs[answered], bias),
        header={
            "teacher": asker.identity(),
            "address": teacher_address(recipe.ferment.teacher),
            "prompt": prompt_of(recipe.ferment.prompt, recipe.labels).identity(),
            "calibration": recipe.ferment.calibration.kind,
            "bias": bias.tolist(),
        },
    )
    signal.write(places.draft)
    _write_failures(places.draft, captured, ids)
    reached("signals-written")
    balance = Balance(len(ids), int(answered.sum()), 0, len(captured.failures)).check("2-ferment")
    shares = signal.probs.mean(axis=0)
    summary = {
        **asdict(balance),
        "precision": asker.precision,
        "prefix_tokens": captured.prefix_tokens,
        "bias": dict(zip(recipe.labels, bias.round(6).tolist(), strict=True)),
        "mean_probability": dict(zip(recipe.labels, shares.round(6).tolist(), strict=True)),
    }
    facts = {
        "precision_reason": asker.reason,
        "new_answers": captured.new_answers,
        "known_answers": len(ids) - captured.new_answers - len(captured.failures),
        "new_tokens": captured.new_tokens,
        "asking_seconds": round(asking_seconds, 3),
        **captured.facts,
    }
    return StageResult(summary, facts)


def _refuse_missing(recipe: Recipe, captured: Captured, asked: int) -> None:
    """Leave the stage open where too many answers may still come: what came is in the answer store."""
    lost = [failure for failure in captured.failures if failure.lost]
    if len(lost) > recipe.ferment.missing * asked:
        reasons = Counter(failure.reason.partition(":")[0] for failure in lost)
        raise StillhouseError(
            f"{len(lost)} of {asked} documents are still without an answer ("
            + ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())
            + f"); the first: {lost[0].reason}",
            where="ferment",
            fix="mend that and run again: what was answered is kept and not asked again; or allow more with "
            "`ferment.missing`",
        )


def check_teacher(recipe: Recipe, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the teacher before any work: of its files, if they are already here, or of its endpoint."""
    section = recipe.ferment.teacher
    try:
        if isinstance(section, ApiTeacher):
            key_of(section)
            endpoint_of(section)
            return []
        files = peek(section.model, cache=cache, base=base)
        if files is not None:
            check_files(files)
    except StillhouseError as error:
        return list(error.problems)
    return []


def open_asker(recipe: Recipe, *, cache: Path, base: Path) -> Asker:
    """The recipe's teacher, ready to be asked: loaded, or its endpoint's client set up."""
    section = recipe.ferment.teacher
    if isinstance(section, ApiTeacher):
        return ApiAsker(endpoint_of(section), partial(new_client, section), partial(calls_of, section), section.answer)
    return LocalAsker(load_teacher(recipe, cache=cache, base=base), section.batch_tokens, section.threads)


def ask_teacher(
    recipe: Recipe, asker: Asker, texts: list[str], store: AnswerStore, progress: Progress
) -> tuple[Captured, npt.NDArray[np.float64]]:
    """Answers about N texts, known ones from the store, and those about content-free inputs where they are needed."""
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    what = f"asking the teacher ({asker.reason})"
    captured = asker.ask(
        prompt, recipe.labels, texts, store=store, progress=lambda done, total: progress(what, done, total)
    )
    content_free = np.empty((0, len(recipe.labels)))
    if recipe.ferment.calibration.kind == "uniform":
        blanks = asker.ask(prompt, recipe.labels, CONTENT_FREE, store=store, progress=lambda done, total: None)
        content_free = blanks.log_probs
    return captured, content_free


def bias_for(
    section: Calibration,
    labels: tuple[str, ...],
    log_probs: npt.NDArray[np.float64],
    content_free: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """The bias (K,) that the recipe's calibration finds from log-probabilities (N, K) of texts without labels."""
    if section.kind == "none":
        return np.zeros(len(labels))
    if section.kind == "uniform":
        return uniform_bias(content_free)
    if section.kind == "batch":
        return batch_bias(log_probs)
    shares = section.prior or dict.fromkeys(labels, 1 / len(labels))
    return matched_bias(log_probs, np.array([shares[label] for label in labels]))


def _write_failures(draft: Path, captured: Captured, ids: list[str]) -> None:
    columns = {
        "id": pa.array([ids[failure.row] for failure in captured.failures], pa.string()),
        "reason": pa.array([failure.reason for failure in captured.failures], pa.string()),
        "raw": pa.array([failure.raw for failure in captured.failures], pa.string()),
    }
    pq.write_table(pa.table(columns), draft / "failures.parquet")
