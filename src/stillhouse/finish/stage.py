"""Stage 4: exports the student, judges every artifact on the test split, and fills the bottle.

Reads all earlier stages; writes ``evaluation.json`` and ``bottle/``.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stillhouse import documents
from stillhouse.addresses import resolve
from stillhouse.baselines import fit_tfidf, majority
from stillhouse.device import cpu_threads
from stillhouse.errors import StillhouseError
from stillhouse.finish.bottle import LABEL, seal_bottle
from stillhouse.finish.evaluate import (
    TEACHER,
    Answers,
    Row,
    evaluate,
    gold_equivalent,
    retain,
    retention_rows,
)
from stillhouse.finish.export.onnx import OnnxClassifier, export_classifier, parity, quantize_int8
from stillhouse.finish.label import make_label, model_card, rights_of
from stillhouse.finish.obligations import do_duties, refuse_unmet
from stillhouse.finish.speed import Speed, measure
from stillhouse.recipe.bind import load_teacher, prompt_of
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.rights import student_name, view_rights
from stillhouse.recipe.teachers import ApiTeacher, LocalTeacher
from stillhouse.signals import ClassProbs
from stillhouse.store import digest_of, reached, read_sealed, write_json
from stillhouse.student import load_classifier, predict_proba
from stillhouse.teachers import score_texts
from stillhouse.workplace import FOLDERS, Places, Progress, StageResult

VERSION = 2
LIBRARIES = ("onnx", "onnxruntime", "torch", "transformers", "scikit-learn", "numpy")
EVALUATION_SCHEMA = 1
_GATE_TEXTS = 2000  # enough to tell 1 % of disagreement from 2 % with certainty


def run(recipe: Recipe, places: Places, progress: Progress) -> StageResult:
    """Run the stage into ``places.draft``."""
    test = _TestSplit(recipe, places)
    progress("exporting", 0, 3)
    artifacts, files, gate = _export(recipe, places, test)
    progress("exporting", 3, 3)
    controls, gold_seen = _controls(recipe, places, test)
    artifacts = {
        TEACHER: Answers.of(test.teacher_probs),
        **artifacts,
        **_baselines(recipe, places, test),
        **controls,
    }
    settings = recipe.finish.evaluate
    rows = evaluate(
        test.gold,
        artifacts,
        labels=recipe.labels,
        slices=test.slices,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    progress("measuring speed", 0, 2)
    shipped = "onnx-int8" if gate["shipped"] == "int8" else "onnx-fp32"
    speeds = _speeds(recipe, places, files[shipped], test, progress)
    teacher_bytes = _teacher_bytes(recipe, places)
    rows += _speed_and_size_rows(speeds, files, shipped, teacher_bytes)
    kept = {
        name: retain(
            test.gold,
            artifacts[TEACHER],
            artifacts[name],
            labels=len(recipe.labels),
            margin=settings.margin,
            resamples=settings.resamples,
            seed=settings.seed,
        )
        for name in ("student", shipped)
    }
    for name, retained in kept.items():
        rows += retention_rows(name, retained)
    summary = _summary(rows, gold_seen, kept[shipped], shipped, speeds, files, teacher_bytes, gate)
    write_json(
        places.draft / "evaluation.json",
        {"schema": EVALUATION_SCHEMA, "rows": [asdict(row) for row in rows], "summary": summary},
    )
    _fill_bottle(recipe, places, files[shipped], shipped, summary, test)
    reached("bottle-written")
    shutil.rmtree(places.draft / "onnx")
    total = len(test.gold) + test.unanswered
    return StageResult(
        {
            "rows_in": total,
            "kept": len(test.gold),
            "cut": 0,
            "failed": test.unanswered,
            **summary,
            "int8_gate": gate,
        }
    )


class _TestSplit:
    """The test documents that the teacher answered, with gold labels and slices."""

    def __init__(self, recipe: Recipe, places: Places) -> None:
        signal = ClassProbs.read(places.sealed("ferment"))
        answered = set(signal.ids)
        table = documents.read(places.sealed("raw"), "test").to_pylist()
        rows = [row for row in table if row["id"] in answered]
        if not rows:
            raise StillhouseError(
                "the teacher answered about no test document",
                where="2-ferment/failures.parquet",
                fix="see the reasons there",
            )
        self.unanswered = len(table) - len(rows)
        self.ids = [row["id"] for row in rows]
        self.texts = [row["text"] for row in rows]
        self.gold = np.array([recipe.labels.index(row["label"]) for row in rows], dtype=np.int64)
        self.teacher_probs = signal.probabilities_for(self.ids)
        self.slices = _slices(rows)


def _slices(rows: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [key for key in rows[0] if key.startswith(documents.GROUP_PREFIX)]
    if len({row["source"] for row in rows}) > 1:
        keys.append("source")
    found: dict[str, Any] = {}
    for key in keys:
        for value in sorted({row[key] for row in rows if row[key] is not None}):
            name = f"group:{key.removeprefix(documents.GROUP_PREFIX)}={value}" if key != "source" else f"source={value}"
            found[name] = np.array([row[key] == value for row in rows])
    return found


def _export(
    recipe: Recipe, places: Places, test: _TestSplit
) -> tuple[dict[str, Answers], dict[str, Path], dict[str, Any]]:
    """Export and quantize; returns answers per artifact, the files, and what the int8 gate decided."""
    student = places.sealed("distill") / "student"
    folder = places.draft / "onnx"
    folder.mkdir(exist_ok=True)
    longest = recipe.distill.train.max_length
    files = {"onnx-fp32": folder / "model.onnx", "onnx-int8": folder / "model_int8.onnx"}
    export_classifier(student, files["onnx-fp32"], max_length=longest)
    model, tokenizer = load_classifier(student)
    answers = {"student": Answers.of(predict_proba(model, tokenizer, test.texts, max_length=longest))}
    answers["onnx-fp32"] = Answers.of(_onnx(recipe, files["onnx-fp32"], student).predict_proba(test.texts))
    if not recipe.finish.int8.enabled:
        del files["onnx-int8"]
        return answers, files, {"shipped": "fp32", "reason": "int8 is switched off in the recipe"}
    quantize_int8(files["onnx-fp32"], files["onnx-int8"])
    answers["onnx-int8"] = Answers.of(_onnx(recipe, files["onnx-int8"], student).predict_proba(test.texts))
    # the gate looks at texts outside the test split, without their labels, so that the test chooses nothing
    texts = [
        text
        for split in ("validation", "train")
        for text in documents.read(places.sealed("raw"), split)["text"].slice(0, _GATE_TEXTS).to_pylist()
    ][:_GATE_TEXTS]
    compared = parity(
        _onnx(recipe, files["onnx-fp32"], student).predict_proba(texts),
        _onnx(recipe, files["onnx-int8"], student).predict_proba(texts),
    )
    allowed = recipe.finish.int8.max_disagreement
    passed = 1 - compared.agreement <= allowed
    gate = {
        "shipped": "int8" if passed else "fp32",
        "reason": f"int8 differs from fp32 on {1 - compared.agreement:.2%} of {compared.n} texts, "
        f"allowed: {allowed:.2%}",
        **asdict(compared),
    }
    return answers, files, gate


def _onnx(recipe: Recipe, file: Path, tokenizer: Path) -> OnnxClassifier:
    return OnnxClassifier(
        file, tokenizer, max_length=recipe.distill.train.max_length, threads=recipe.finish.speed.threads
    )


def _baselines(recipe: Recipe, places: Places, test: _TestSplit) -> dict[str, Answers]:
    """Majority and TF-IDF, both on the teacher's labels."""
    signal = ClassProbs.read(places.sealed("ferment"))
    taught = set(signal.ids)
    table = documents.read(places.sealed("raw"), "train").to_pylist()
    rows = [row for row in table if row["id"] in taught]
    targets = np.asarray(signal.probabilities_for([row["id"] for row in rows]).argmax(axis=1), dtype=np.int64)
    tfidf = fit_tfidf([row["text"] for row in rows], targets, seed=recipe.finish.evaluate.seed)
    return {
        "majority": Answers(majority(targets, len(test.texts))),
        "tfidf-teacher": Answers(tfidf(test.texts)),
    }


def _controls(recipe: Recipe, places: Places, test: _TestSplit) -> tuple[dict[str, Answers], dict[str, int]]:
    """What the controls answered, and how many gold labels each of them saw; empty when that step did not run."""
    if recipe.controls is None:
        return {}, {}
    table = pq.read_table(places.sealed("controls") / "predictions.parquet").to_pylist()
    said = {(row["artifact"], row["id"]): recipe.labels.index(row["predicted"]) for row in table}
    seen = {row["artifact"]: row["gold_labels"] for row in table}
    answers = {
        name: Answers(np.array([said[name, identifier] for identifier in test.ids], dtype=np.int64)) for name in seen
    }
    return answers, seen


def _speeds(recipe: Recipe, places: Places, artifact: Path, test: _TestSplit, progress: Progress) -> dict[str, Speed]:
    """Speed of the shipped artifact and of the teacher, on test texts, with everything a user would wait for."""
    settings = recipe.finish.speed
    classifier = _onnx(recipe, artifact, places.sealed("distill") / "student")
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


def _teacher_bytes(recipe: Recipe, places: Places) -> int | None:
    """The size of all teachers' files; that of a model behind an endpoint is not known."""
    total = 0
    for section in recipe.ferment.teachers:
        if isinstance(section, ApiTeacher):
            return None
        files = resolve(section.model, cache=places.cache, base=places.base)
        total += sum(path.stat().st_size for path in files.files)
    return total


def _speed_and_size_rows(
    speeds: dict[str, Speed], files: dict[str, Path], shipped: str, teacher_bytes: int | None
) -> list[Row]:
    rows = []
    for name, speed in ((shipped, speeds["exported"]), (TEACHER, speeds.get(TEACHER))):
        if speed is None:
            continue
        rows.append(Row(name, "texts_per_s", "batch", speed.batch_per_s, None, None, speed.n))
        rows.append(Row(name, "texts_per_s", "single", speed.single_per_s, None, None, speed.n))
    sizes = {name: path.stat().st_size for name, path in files.items()}
    sizes |= {TEACHER: teacher_bytes} if teacher_bytes is not None else {}
    rows += [Row(name, "bytes", "all", float(size), None, None, 1) for name, size in sizes.items()]
    return rows


def _summary(
    rows: list[Row],
    gold_seen: dict[str, int],
    kept: Any,
    shipped: str,
    speeds: dict[str, Speed],
    files: dict[str, Path],
    teacher_bytes: int | None,
    gate: dict[str, Any],
) -> dict[str, Any]:
    accuracy = {row.artifact: row.value for row in rows if (row.metric, row.slice) == ("accuracy", "all")}
    curve = [(count, float(accuracy[name] or 0.0)) for name, count in gold_seen.items() if name.startswith("student-")]
    teacher_per_s = speeds[TEACHER].batch_per_s if TEACHER in speeds else None
    number, reading = gold_equivalent(curve, float(accuracy[shipped] or 0.0))
    return {
        "teacher": {"accuracy": accuracy[TEACHER]},
        "student": {"accuracy": accuracy["student"]},
        "exported": {"accuracy": accuracy[shipped], "artifact": shipped},
        "baselines": {name: accuracy[name] for name in ("majority", "tfidf-teacher")},
        "retention": {
            "ratio": kept.ratio.value if kept.ratio else None,
            "chance_corrected": kept.chance_corrected.value if kept.chance_corrected else None,
            "not_certified": kept.not_certified,
            "difference": kept.difference.value,
            "difference_lower_95": kept.difference_lower_95,
            "non_inferior": kept.non_inferior,
            "n": kept.n,
        },
        "gold_equivalent": {"labels": number, "reading": reading},
        "speed": {
            "teacher_per_s": teacher_per_s,
            "student_per_s": speeds["exported"].batch_per_s,
            "ratio": speeds["exported"].batch_per_s / teacher_per_s if teacher_per_s else None,
        },
        "size": {"teacher_bytes": teacher_bytes, "student_bytes": files[shipped].stat().st_size},
        "int8": gate["reason"],
    }


def _fill_bottle(
    recipe: Recipe, places: Places, artifact: Path, shipped: str, summary: dict[str, Any], test: _TestSplit
) -> None:
    bottle = places.draft / "bottle"
    shutil.rmtree(bottle, ignore_errors=True)
    shutil.copytree(places.sealed("distill") / "student", bottle)
    (bottle / "onnx").mkdir()
    shutil.copyfile(artifact, bottle / "onnx" / artifact.name)
    manifests = {step: read_sealed(places.run, FOLDERS[step], verify=False) for step in ("raw", "ferment", "distill")}
    stages = {step: manifest.summary for step, manifest in manifests.items() if manifest}
    batch = digest_of([manifest.fingerprint for manifest in manifests.values() if manifest])
    rights = view_rights(recipe, cache=places.cache, base=places.base, kept=stages["raw"]["licenses"])
    do_duties(bottle, rights, name=student_name(recipe))
    label = make_label(
        recipe,
        name=student_name(recipe),
        batch=batch,
        summary=summary,
        stages=stages,
        rights=rights_of(rights, recipe),
        shipped={
            "artifact": shipped,
            "file": f"onnx/{artifact.name}",
            "max_length": recipe.distill.train.max_length,
        },
        warnings=_warnings(summary, test),
    )
    write_json(bottle / LABEL, label)
    (bottle / "README.md").write_text(model_card(label), encoding="utf-8")
    refuse_unmet(bottle, label)
    seal_bottle(bottle)


def _warnings(summary: dict[str, Any], test: _TestSplit) -> list[str]:
    found = []
    kept = summary["retention"]
    if not kept["non_inferior"]:
        found.append(
            "the student is not shown to stay within the recipe's margin of the teacher: the lower bound of the "
            f"difference is {100 * kept['difference_lower_95']:+.1f} points"
        )
    best = max(value for value in summary["baselines"].values() if value is not None)
    if summary["exported"]["accuracy"] <= best:
        found.append(f"a plain baseline is as good: {best:.3f}")
    if test.unanswered:
        found.append(f"{test.unanswered} test documents are left out because the teacher gave no answer")
    return found
