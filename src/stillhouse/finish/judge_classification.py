"""The first step of stage 4: exports the student, and judges every artifact on the test split.

Reads all earlier stages; writes ``artifacts/`` (what may be bottled), ``predictions.parquet``, ``evaluation.json``,
``audit.json`` and ``gates.json``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stillhouse.device import cpu_threads
from stillhouse.errors import Problem
from stillhouse.finish.evaluate import TEACHER, Answers, Row, evaluate, gap_rows, retain, retention_rows
from stillhouse.finish.export.gate import Exported, export_student
from stillhouse.finish.export.onnx import OnnxClassifier
from stillhouse.finish.gates import retention_gate
from stillhouse.finish.held_out import HeldOut
from stillhouse.finish.judgement import ARTIFACTS, Judgement
from stillhouse.finish.rivals import baselines, controls
from stillhouse.finish.speed import Speed, measure
from stillhouse.finish.summary import speed_and_size_rows, summarize, warnings
from stillhouse.recipe.bind import load_teacher, prompt_of, teacher_bytes
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals import ClassProbs
from stillhouse.teachers import score_texts
from stillhouse.workplace import Places, Progress, StageResult

VERSION = 1
SMALLEST_SLICE = 30  # documents; fewer say nothing, and a column of names would flood the report
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
    """Run the stage into ``places.draft``."""
    signal = ClassProbs.read(places.sealed("ferment"))
    test = HeldOut.read(places.sealed("raw"), signal, labels=recipe.labels)
    progress("exporting", 0, 3)
    exported = _export(recipe, places, test)
    progress("exporting", 3, 3)
    settings, files, shipped = recipe.finish.evaluate, exported.files, exported.shipped
    answered, gold_seen = _controls(recipe, places, test)
    artifacts = {
        TEACHER: Answers.of(test.teacher_probs),
        **exported.answers,
        **baselines(places.sealed("raw"), signal, test.texts, seed=settings.seed),
        **answered,
    }
    rows = evaluate(
        test.gold,
        artifacts,
        labels=recipe.labels,
        slices=test.slices,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    progress("measuring speed", 0, 2)
    speeds = _speeds(recipe, places, files[shipped], test, progress)
    their_bytes = teacher_bytes(recipe, cache=places.cache, base=places.base)
    rows += speed_and_size_rows(speeds, files, shipped, their_bytes)
    kept = {
        name: retain(
            test.gold,
            artifacts[TEACHER],
            artifacts[name],
            labels=len(recipe.labels),
            margin=settings.margin,
            resamples=settings.resamples,
            seed=settings.seed,
            clusters=test.clusters(settings.clusters),
        )
        for name in dict.fromkeys(("student", shipped))
    }
    for name, retained in kept.items():
        rows += retention_rows(name, retained)
    rows += _by_slice(test, artifacts, shipped, recipe)
    rows += gap_rows(
        shipped,
        test.gold,
        artifacts,
        [name for name in artifacts if name not in (TEACHER, *exported.answers)],
        resamples=settings.resamples,
        seed=settings.seed,
    )
    summary = summarize(rows, gold_seen, kept[shipped], shipped, speeds, files, their_bytes, exported.gate)
    gates = [
        retention_gate(
            kept[shipped], margin=settings.margin, discordant=_discordant(test, artifacts[TEACHER], artifacts[shipped])
        ),
        *([exported.parity] if exported.parity else []),
    ]
    _write_predictions(places.draft, test, artifacts, recipe.labels)
    Judgement(
        rows=rows,
        summary=summary,
        shipped={
            "artifact": shipped,
            "file": files[shipped].relative_to(places.draft / ARTIFACTS).as_posix(),
            "max_length": recipe.distill.train.max_length,
        },
        warnings=warnings(summary, unanswered=test.unanswered),
        findings=[],
        gates=gates,
    ).write(places.draft)
    total = len(test.gold) + test.unanswered
    return StageResult(
        {
            "rows_in": total,
            "kept": len(test.gold),
            "cut": 0,
            "failed": test.unanswered,
            **summary,
            "int8_gate": exported.gate,
        }
    )


def _write_predictions(folder: Path, test: HeldOut, artifacts: dict[str, Answers], labels: tuple[str, ...]) -> None:
    """What every artifact said about every test document, so that two runs can be compared document by document."""
    columns: dict[str, list[Any]] = {"id": [], "gold": [], "artifact": [], "predicted": [], "probability": []}
    for name, answers in artifacts.items():
        columns["id"] += test.ids
        columns["gold"] += [labels[number] for number in test.gold]
        columns["artifact"] += [name] * len(test.ids)
        columns["predicted"] += [labels[number] for number in answers.labels]
        sure = [None] * len(test.ids) if answers.probs is None else answers.probs.max(axis=1).tolist()
        columns["probability"] += sure
    kinds = {name: pa.float64() if name == "probability" else pa.string() for name in columns}
    table = pa.table({name: pa.array(values, kinds[name]) for name, values in columns.items()})
    pq.write_table(table, folder / "predictions.parquet")


def _by_slice(test: HeldOut, artifacts: dict[str, Answers], shipped: str, recipe: Classification) -> list[Row]:
    """What ships beside the teacher in each slice that is large enough for an interval."""
    rows, settings = [], recipe.finish.evaluate
    clusters = test.clusters(settings.clusters)
    for name, mask in test.slices.items():
        if mask.sum() < SMALLEST_SLICE:
            continue
        kept = retain(
            test.gold[mask],
            artifacts[TEACHER].only(mask),
            artifacts[shipped].only(mask),
            labels=len(recipe.labels),
            margin=settings.margin,
            resamples=settings.resamples,
            seed=settings.seed,
            clusters=[one for one, here in zip(clusters, mask, strict=True) if here] if clusters else None,
        )
        rows += retention_rows(shipped, kept, slice_name=name)
    return rows


def _discordant(test: HeldOut, teacher: Answers, other: Answers) -> float:
    """The share of documents that just one of the two labels rightly."""
    return float(((teacher.labels == test.gold) != (other.labels == test.gold)).mean())


def _export(recipe: Classification, places: Places, test: HeldOut) -> Exported:
    """The student as it is, and ``onnx/`` beside it, in the folder of all that may be bottled."""
    int8, folder = recipe.finish.int8, places.draft / ARTIFACTS
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(places.sealed("distill") / "student", folder)
    return export_student(
        places.sealed("distill") / "student",
        folder / "onnx",
        test.texts,
        raw=places.sealed("raw"),
        max_length=recipe.distill.train.max_length,
        threads=recipe.finish.speed.threads,
        max_disagreement=int8.max_disagreement if int8.enabled else None,
    )


def _controls(recipe: Classification, places: Places, test: HeldOut) -> tuple[dict[str, Answers], dict[str, int]]:
    """Empty when that step did not run."""
    if recipe.controls is None:
        return {}, {}
    return controls(places.sealed("controls"), test.ids, labels=recipe.labels)


def _speeds(
    recipe: Classification, places: Places, artifact: Path, test: HeldOut, progress: Progress
) -> dict[str, Speed]:
    """Speed of the shipped artifact and of the teacher, on test texts, with everything a user would wait for."""
    settings = recipe.finish.speed
    classifier = OnnxClassifier(
        artifact,
        places.sealed("distill") / "student",
        max_length=recipe.distill.train.max_length,
        threads=settings.threads,
    )
    exported = measure(
        classifier.predict_proba,
        test.texts,
        batch_texts=settings.batch_texts,
        single_texts=settings.single_texts,
    )
    progress("measuring speed", 1, 2)
    sections = [one for one in recipe.ferment.teachers if isinstance(one, LocalTeacher)]
    if len(sections) < len(recipe.ferment.teachers):  # to time an endpoint is to pay for it again
        return {"exported": exported}
    teachers = [load_teacher(section, cache=places.cache, base=places.base) for section in sections]
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)

    def ask(texts: Any) -> None:
        for section, teacher in zip(sections, teachers, strict=True):
            with cpu_threads(section.threads):
                score_texts(teacher, prompt, recipe.labels, texts, batch_tokens=section.batch_tokens)

    asked = measure(
        ask,
        test.texts,
        batch_texts=settings.teacher_texts,
        single_texts=min(8, settings.teacher_texts),
        repeats=1,
    )
    progress("measuring speed", 2, 2)
    return {"exported": exported, TEACHER: asked}
