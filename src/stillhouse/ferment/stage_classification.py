"""Stage 2: asks the teacher about every document of every split and seals its signals.

Reads ``1-raw``; writes ``signals/class_probs.parquet`` and ``failures.parquet``. Answers live in the answer store.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse import documents
from stillhouse.addresses import peek
from stillhouse.answers import AnswerStore
from stillhouse.cuts import Balance
from stillhouse.errors import Problem, StillhouseError
from stillhouse.ferment.api_asking import ApiAsker
from stillhouse.ferment.asking import Asker, LocalAsker
from stillhouse.ferment.calibration import CONTENT_FREE, batch_bias, matched_bias, uniform_bias
from stillhouse.ferment.capture import Captured
from stillhouse.ferment.failures import Failure, refuse_missing, write_failures
from stillhouse.recipe.bind import calls_of, endpoint_of, load_teacher, new_client, prompt_of
from stillhouse.recipe.classification import Calibration, Classification
from stillhouse.recipe.rights import teacher_address
from stillhouse.recipe.teachers import ApiLabeler, LocalTeacher
from stillhouse.signals import ClassProbs, apply_bias
from stillhouse.store import digest_of, reached
from stillhouse.teachers import check_files
from stillhouse.teachers.api import Checks
from stillhouse.teachers.capabilities import require
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 3
LIBRARIES = ("torch", "transformers", "numpy", "pyarrow")


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    tables = [(split, documents.read(places.sealed("raw"), split)) for split in documents.SPLITS]
    ids = [identifier for _, table in tables for identifier in table["id"].to_pylist()]
    texts = [text for _, table in tables for text in table["text"].to_pylist()]
    splits = np.array([split for split, table in tables for _ in range(len(table))])
    train = splits == "train"
    unseen = splits != "test"  # the test texts take no part in choosing a bias
    voices: list[_Voice] = []
    with AnswerStore(places.answers) as store:
        for section in recipe.ferment.teachers:
            asker = open_asker(section, cache=places.cache, base=places.base, answers=places.answers)
            voices.append(_listen(recipe, section, asker, texts, unseen, store, progress))
    signal, failures = _agree(recipe, voices, ids)
    if not {identifier for identifier, ok in zip(ids, train, strict=True) if ok} & set(signal.ids):
        first = failures[0].reason if failures else "there are no training documents"
        raise StillhouseError(
            f"the teacher answered about none of the training documents; the first reason: {first}",
            where="ferment",
            fix="see failures.parquet's reasons; check the teacher's files and the prompt's length",
        )
    signal.write(places.draft)
    if len(voices) > 1:
        for voice in voices:
            _alone(recipe, voice, ids, voice.section.name).write(places.draft)
    write_failures(places.draft, failures)
    reached("signals-written")
    balance = Balance(len(ids), len(signal.ids), 0, len(ids) - len(signal.ids)).check("2-ferment")
    shares = signal.probs.mean(axis=0)
    summary = {
        **asdict(balance),
        "teachers": [voice.summary(recipe.labels) for voice in voices],
        "mean_probability": dict(zip(recipe.labels, shares.round(6).tolist(), strict=True)),
    }
    return StageResult(summary, {"teachers": [voice.facts for voice in voices]})


@dataclass(frozen=True)
class _Voice:
    """What one teacher said: log_probs and calibrated probs (N, K), NaN where it gave no usable answer."""

    section: LocalTeacher | ApiLabeler
    identity: dict[str, Any]
    precision: str
    captured: Captured
    bias: npt.NDArray[np.float64]
    probs: npt.NDArray[np.float64]
    facts: dict[str, Any]

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """(N,) where there is an answer."""
        return self.captured.answered

    def summary(self, labels: tuple[str, ...]) -> dict[str, Any]:
        """For the manifest: the same on every run."""
        return {
            "name": self.section.name,
            "precision": self.precision,
            "answered": int(self.answered.sum()),
            "prefix_tokens": self.captured.prefix_tokens,
            "bias": dict(zip(labels, self.bias.round(6).tolist(), strict=True)),
        }

    def header(self) -> dict[str, Any]:
        """For the signal: who it was, and how it was calibrated."""
        return {
            "name": self.section.name,
            "identity": self.identity,
            "address": teacher_address(self.section),
            "bias": self.bias.tolist(),
        }


def _listen(
    recipe: Classification,
    section: LocalTeacher | ApiLabeler,
    asker: Asker,
    texts: list[str],
    unseen: npt.NDArray[np.bool_],
    store: AnswerStore,
    progress: Progress,
) -> _Voice:
    started = time.monotonic()
    captured, content_free = ask_teacher(recipe, asker, texts, store, progress)
    seconds = time.monotonic() - started
    lost = [failure.reason for failure in captured.failures if failure.lost]
    refuse_missing(lost, len(texts), allowed=recipe.ferment.missing, teacher=section.name)
    answered = captured.answered
    probs = np.full(captured.log_probs.shape, np.nan)
    bias = np.zeros(len(recipe.labels))
    if (answered & unseen).any():
        bias = bias_for(recipe.ferment.calibration, recipe.labels, captured.log_probs[answered & unseen], content_free)
        probs[answered] = apply_bias(captured.log_probs[answered], bias)
    facts = {
        "name": section.name,
        "precision_reason": asker.reason,
        "new_answers": captured.new_answers,
        "known_answers": len(texts) - captured.new_answers - len(captured.failures),
        "new_tokens": captured.new_tokens,
        "asking_seconds": round(seconds, 3),
        **captured.facts,
    }
    return _Voice(section, asker.identity(), asker.precision, captured, bias, probs, facts)


def _agree(recipe: Classification, voices: list[_Voice], ids: list[str]) -> tuple[ClassProbs, list[Failure]]:
    """The signal that is taught: the mean of the calibrated probabilities of those who answered. And the failures."""
    if len(voices) == 1:
        signal = _alone(recipe, voices[0], ids, None)
    else:
        answered = np.stack([voice.answered for voice in voices])  # (T, N)
        kept = answered.any(axis=0)
        probs = np.nanmean(np.stack([voice.probs for voice in voices])[:, kept], axis=0)
        names = np.array([voice.section.name for voice in voices])
        rows = np.flatnonzero(kept)
        signal = ClassProbs(
            ids=tuple(ids[row] for row in rows),
            asked=tuple(digest_of([v.captured.asked[row] for v in voices if v.answered[row]]) for row in rows),
            labels=recipe.labels,
            log_probs=np.log(probs),
            probs=probs,
            header=_header(recipe, voices),
            teachers=tuple("+".join(names[answered[:, row]]) for row in rows),
        )
    failures = [
        Failure(ids[failure.row], voice.section.name, failure.reason, failure.raw)
        for voice in voices
        for failure in voice.captured.failures
    ]
    return signal, failures


def _alone(recipe: Classification, voice: _Voice, ids: list[str], name: str | None) -> ClassProbs:
    """One teacher's own signal, under a name of its own where there are several."""
    rows = np.flatnonzero(voice.answered)
    return ClassProbs(
        ids=tuple(ids[row] for row in rows),
        asked=tuple(voice.captured.asked[row] for row in rows),
        labels=recipe.labels,
        log_probs=voice.captured.log_probs[rows],
        probs=voice.probs[rows],
        header=_header(recipe, [voice]),
        teachers=(voice.section.name,) * len(rows),
        name=name,
    )


def _header(recipe: Classification, voices: list[_Voice]) -> dict[str, Any]:
    return {
        "teachers": [voice.header() for voice in voices],
        "prompt": prompt_of(recipe.ferment.prompt, recipe.labels).identity(),
        "calibration": recipe.ferment.calibration.kind,
    }


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """What can be said of the teacher before any work: of its files, if they are already here, or of its endpoint."""
    problems: list[Problem] = []
    for section in recipe.ferment.teachers:
        try:
            if isinstance(section, ApiLabeler):
                new_client(section, Checks())  # its address, key, budget and prices
            elif (files := peek(section.model, cache=cache, base=base)) is not None:
                check_files(files)
                require(files, "label-probabilities", what="a text classifier")
        except StillhouseError as error:
            problems += error.problems
    return problems


def open_asker(section: LocalTeacher | ApiLabeler, *, cache: Path, base: Path, answers: Path) -> Asker:
    """A teacher, ready to be asked: loaded, or its endpoint's client set up. answers: the store; batch files lie by."""
    if isinstance(section, ApiLabeler):
        return ApiAsker(
            endpoint_of(section),
            partial(new_client, section),
            partial(calls_of, section),
            section.answer,
            answers.parent / "batches" if section.batches else None,
            section.pace.poll,
        )
    return LocalAsker(load_teacher(section, cache=cache, base=base), section.batch_tokens, section.threads)


def ask_teacher(
    recipe: Classification, asker: Asker, texts: list[str], store: AnswerStore, progress: Progress
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
