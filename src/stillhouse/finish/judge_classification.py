"""The first step of stage 4: exports the student, and judges every artifact on the test split.

Reads all earlier stages; writes ``artifacts/`` (what may be bottled), ``predictions.parquet``, ``evaluation.json``,
``audit.json`` and ``gates.json``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stillhouse import documents
from stillhouse.device import cpu_threads
from stillhouse.errors import Problem
from stillhouse.finish.abstain import Abstaining, choose
from stillhouse.finish.abstain import measure as measure_abstaining
from stillhouse.finish.artifacts import lay_out
from stillhouse.finish.audit.classifier import Ask, ClassifierPlan, audit_classifier
from stillhouse.finish.evaluate import (
    TEACHER,
    Answers,
    evaluate,
    gap_rows,
    retain,
    retention_rows,
    slice_retention_rows,
)
from stillhouse.finish.export.gate import Exported, export_student, timed
from stillhouse.finish.export.onnx import OnnxClassifier
from stillhouse.finish.gates import of_findings, retention_gate
from stillhouse.finish.held_out import HeldOut
from stillhouse.finish.judgement import ARTIFACTS, Judgement
from stillhouse.finish.predictions import side_by_side, write_predictions
from stillhouse.finish.rivals import baselines, controls
from stillhouse.finish.speed import Speed, measure
from stillhouse.finish.summary import speed_and_size_rows, summarize, warnings
from stillhouse.recipe.bind import load_teacher, prompt_of, teacher_bytes
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals import ClassProbs, apply_bias
from stillhouse.teachers import score_texts
from stillhouse.workplace import Places, Progress, StageResult, silent

VERSION = 4
LIBRARIES = ("onnx", "onnxruntime", "torch", "transformers", "scikit-learn", "numpy")


def check(recipe: Classification, cache: Path, base: Path) -> list[Problem]:
    """The column of clusters has to be there; all else is known only after the training."""
    wanted = recipe.finish.evaluate.clusters
    known = {"source", *(name for source in recipe.raw.sources for name in source.columns.groups)}
    if wanted is None or wanted in known:
        return []
    return [
        Problem(
            f"there is no group {wanted!r}; there is {', '.join(sorted(known))}",
            "finish.evaluate.clusters",
            "name one of them, or map it in `raw.sources.columns.groups`",
        )
    ]


def run(recipe: Classification, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    signal = ClassProbs.read(places.sealed("ferment"))
    test = HeldOut.read(places.sealed("raw"), signal, labels=recipe.labels)
    exported = _export(recipe, places, test, progress)
    settings, shipped = recipe.finish.evaluate, exported.shipped
    bootstrap: dict[str, int] = {"resamples": settings.resamples, "seed": settings.seed}
    answered, gold_seen = _controls(recipe, places, test)
    rivals = {**baselines(places.sealed("raw"), signal, test.texts, seed=settings.seed), **answered}
    artifacts = {TEACHER: Answers.of(test.teacher_probs), **exported.answers, **rivals}
    clusters = test.clusters(settings.clusters)
    rows = evaluate(test.gold, artifacts, labels=recipe.labels, slices=test.slices, clusters=clusters, **bootstrap)
    ask_teacher = _asking(recipe, places, signal)
    teacher_speed = _teacher_speed(recipe, ask_teacher, test.texts)
    their_bytes = teacher_bytes(recipe, cache=places.cache, base=places.base)
    rows += speed_and_size_rows(exported.artifacts, teacher_speed, their_bytes)
    against = {"labels": len(recipe.labels), "margin": settings.margin, **bootstrap}
    kept = {
        name: retain(test.gold, artifacts[TEACHER], answers, clusters=clusters, **against)  # type: ignore[arg-type]
        for name, answers in exported.answers.items()
    }
    for name, retained in kept.items():
        rows += retention_rows(name, retained)
    rows += slice_retention_rows(
        shipped,
        test.gold,
        artifacts[TEACHER],
        artifacts[shipped],
        test.slices,
        clusters=clusters,
        **against,  # type: ignore[arg-type]
    )
    rows += gap_rows(shipped, test.gold, artifacts, list(rivals), clusters=clusters, **bootstrap)
    progress("auditing", 0, 1)
    student_probs = artifacts[shipped].probs
    assert student_probs is not None  # noqa: S101 - an export gives probabilities
    findings = audit_classifier(
        test,
        student_probs,
        recipe.labels,
        _plan(recipe),
        ask_student=_open(recipe, places, exported).predict_proba,
        ask_teacher=partial(ask_teacher, tell=progress) if ask_teacher else None,
        clusters=clusters,
    )
    progress("auditing", 1, 1)
    discordant = float(((artifacts[TEACHER].labels == test.gold) != (artifacts[shipped].labels == test.gold)).mean())
    gates = [
        retention_gate(kept[shipped], margin=settings.margin, discordant=discordant),
        *(of_findings(name, findings) for name in ("worst-group", "amplification", "flips")),
        exported.parity,
    ]
    summary = summarize(rows, gold_seen, kept, shipped, exported.artifacts, teacher_speed, their_bytes, exported.reason)
    abstaining = _abstaining(recipe, places, signal, test, exported)
    write_predictions(places.draft, test, artifacts, labels=recipe.labels)
    Judgement(
        rows=rows,
        summary={**summary, "abstain": abstaining.row() if abstaining else None},
        shipped={
            "artifact": shipped,
            "file": exported.files[shipped].relative_to(places.draft / ARTIFACTS).as_posix(),
            "max_length": recipe.distill.train.max_length,
        },
        warnings=warnings(summary, unanswered=test.unanswered, rows=[row for row in rows if row.artifact == shipped]),
        findings=findings,
        gates=[gate for gate in gates if gate is not None],
        samples=side_by_side(test, artifacts[TEACHER], artifacts[shipped], labels=recipe.labels),
    ).write(places.draft)
    total = len(test.gold) + test.unanswered
    counts = {"rows_in": total, "kept": len(test.gold), "cut": 0, "failed": test.unanswered}
    return StageResult({**counts, **summary, "int8_gate": exported.gate})


def _export(recipe: Classification, places: Places, test: HeldOut, progress: Progress) -> Exported:
    """The student as it is, and ``onnx/`` beside it, in the folder of all that may be bottled; each timed."""
    int8, speed, folder = recipe.finish.int8, recipe.finish.speed, places.draft / ARTIFACTS
    student, max_length = places.sealed("distill") / "student", recipe.distill.train.max_length
    progress("exporting", 0, 2)
    lay_out(student, folder)
    exported = export_student(
        student,
        folder / "onnx",
        test.texts,
        raw=places.sealed("raw"),
        max_length=max_length,
        threads=speed.threads,
        max_disagreement=int8.max_disagreement if int8.enabled else None,
    )
    progress("exporting", 1, 2)
    exported = timed(
        exported,
        student,
        test.texts,
        max_length=max_length,
        threads=speed.threads,
        batch_texts=speed.batch_texts,
        single_texts=speed.single_texts,
    )
    progress("exporting", 2, 2)
    return exported


def _open(recipe: Classification, places: Places, exported: Exported) -> OnnxClassifier:
    """What ships."""
    student, settings = places.sealed("distill") / "student", recipe.finish.speed
    return OnnxClassifier(
        exported.files[exported.shipped],
        student,
        max_length=recipe.distill.train.max_length,
        threads=settings.threads,
    )


def _controls(recipe: Classification, places: Places, test: HeldOut) -> tuple[dict[str, Answers], dict[str, int]]:
    """Empty when that step did not run."""
    if recipe.controls is None:
        return {}, {}
    return controls(places.sealed("controls"), test.ids, labels=recipe.labels)


def _asking(recipe: Classification, places: Places, signal: ClassProbs) -> Callable[..., Any] | None:
    """Asks all teachers, and averages what they say, calibrated as it was taught; ``None`` where one is behind an
    endpoint: to ask that is to pay for it again. What is returned takes texts, and where to ``tell`` its progress."""
    sections = [one for one in recipe.ferment.teachers if isinstance(one, LocalTeacher)]
    if len(sections) < len(recipe.ferment.teachers):
        return None
    teachers = [load_teacher(section, cache=places.cache, base=places.base) for section in sections]
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    biases = [np.array(header["bias"]) for header in signal.header["teachers"]]

    def ask(texts: Sequence[str], tell: Progress = silent) -> Any:
        found = []
        for section, teacher, bias in zip(sections, teachers, biases, strict=True):
            with cpu_threads(section.threads):
                said = score_texts(
                    teacher,
                    prompt,
                    recipe.labels,
                    texts,
                    batch_tokens=section.batch_tokens,
                    progress=partial(tell, f"asking {section.name} about swapped words"),
                )
            found.append(apply_bias(np.asarray(said, dtype=np.float64), bias))
        return np.mean(found, axis=0)

    return ask


def _teacher_speed(recipe: Classification, ask: Ask | None, texts: Sequence[str]) -> Speed | None:
    """On test texts, with everything a user would wait for."""
    if ask is None:
        return None
    most = recipe.finish.speed.teacher_texts
    return measure(ask, texts, batch_texts=most, single_texts=min(8, most), repeats=1)


def _plan(recipe: Classification) -> ClassifierPlan:
    settings, evaluation = recipe.finish.audit, recipe.finish.evaluate
    return ClassifierPlan(
        gap_limit=settings.gap_limit,
        worst_margin=settings.worst_margin,
        smallest=settings.smallest,
        pairs=settings.pairs,
        own_documents=settings.own_documents,
        flip_limit=settings.flip_limit,
        harmless_words=settings.harmless_words,
        language=settings.language,
        resamples=evaluation.resamples,
        seed=evaluation.seed,
    )


def _abstaining(
    recipe: Classification, places: Places, signal: ClassProbs, test: HeldOut, exported: Exported
) -> Abstaining | None:
    """A threshold chosen on the validation documents, and what it comes to on the test split."""
    wanted = recipe.finish.abstain
    if wanted is None:
        return None
    answered = set(signal.ids)
    rows = [
        row
        for row in documents.read(places.sealed("raw"), "validation").to_pylist()
        if row["id"] in answered and (wanted.against == "teacher" or row["label"] is not None)
    ]
    probs = _open(recipe, places, exported).predict_proba([row["text"] for row in rows])
    if wanted.against == "teacher":
        right = signal.probabilities_for([row["id"] for row in rows]).argmax(axis=1)
    else:
        right = np.array([recipe.labels.index(row["label"]) for row in rows])
    chosen = choose(
        probs,
        np.asarray(right, dtype=np.int64),
        most=wanted.most,
        confidence=wanted.confidence,
        against=wanted.against,
    )
    shipped = exported.answers[exported.shipped]
    assert shipped.probs is not None  # noqa: S101 - an export gives probabilities
    teacher = np.asarray(test.teacher_probs.argmax(axis=1), dtype=np.int64)
    return measure_abstaining(chosen, shipped.probs, teacher, gold=test.gold)
