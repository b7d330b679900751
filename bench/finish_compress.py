"""Compression: what 8 bits cost and bring on the quickstart's student, what an outlier channel does, what is not made.

    compress(quick=False, work=work)         # trains the quickstart's student in `work`, once
    figures_of(student, raw, work=work, texts=5000, speed_texts=512)

All speeds are of one run, on two threads, with everything a user waits for, tokenizing included.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.transformers.float16 import convert_float_to_float16

from bench.cuts_material import encoder, quickstart_run, snippets
from bench.report import Figure
from stillhouse import documents
from stillhouse.distill.students import keep_layers
from stillhouse.distill.train import train
from stillhouse.finish.export.gate import Exported, export_student, timed
from stillhouse.finish.export.onnx import OnnxClassifier, parity
from stillhouse.student import load_classifier, save_student

LABELS = ("negative", "positive")
LONGEST = 64
THREADS = 2
LOUDER = 100
_FLOAT = 1  # onnx.TensorProto.FLOAT


def compress(*, quick: bool, work: Path) -> list[Figure]:
    """The quickstart's student, or in a quick run one that saw a few hundred gold labels."""
    if quick:
        student, raw = _quick_student(work / "quick")
        return figures_of(student, raw, work=work / "quick", texts=300, speed_texts=64, allowed=0.05, others=False)
    run = quickstart_run(work, "quickstart", [], until="distill")
    return figures_of(run / "3-distill" / "student", run / "1-raw", work=work, texts=5000, speed_texts=512)


def figures_of(
    student: Path, raw: Path, *, work: Path, texts: int, speed_texts: int, allowed: float = 0.02, others: bool = True
) -> list[Figure]:
    """What becomes of a student of movie snippets. texts: how many unlabeled ones it is compared on.

    allowed: disagreement with float32 that the gate lets pass; a student that saw little is less sure, and changes its
    label more easily. others: also measure what the usual tools write.
    """
    unlabeled = documents.read(raw, "train")["text"].to_pylist()[:texts]
    exported = timed(
        _exported(student, raw, work / "plain", unlabeled, allowed),
        student,
        unlabeled,
        max_length=LONGEST,
        threads=THREADS,
        batch_texts=speed_texts,
        single_texts=max(4, speed_texts // 16),
    )
    speeds = {one.name: one.speed for one in exported.artifacts if one.speed}
    base = speeds["student"].batch_per_s
    reference = exported.answers["onnx-fp32"].probs
    assert reference is not None
    shipped = exported.answers[exported.shipped].probs
    assert shipped is not None
    agreed = parity(reference, shipped)
    lengths = [one for artifact in exported.artifacts for one in artifact.lengths]
    return [
        Figure("shipped artifact", exported.shipped),
        Figure(
            f"label agreement with fp32 on {len(unlabeled)} unlabeled texts", agreed.agreement, "", (">=", 1 - allowed)
        ),
        Figure("  mean KL", agreed.mean_kl, "nats"),
        Figure("speed over fp32 torch, batches", speeds[exported.shipped].batch_per_s / base, "times", (">=", 3)),
        Figure("  one at a time", speeds[exported.shipped].single_per_s / speeds["student"].single_per_s, "times"),
        *(Figure(f"  {name}", speed.batch_per_s, "texts/s") for name, speed in speeds.items()),
        *(Figure(f"  {one.name}", one.bytes / 1e6, "MB") for one in exported.artifacts),
        Figure("texts whose label depends on batch-mates", _moved(exported, student, unlabeled), "share", ("<=", 0)),
        Figure("lengths at which something is not finite", sum(not one.finite for one in lengths), "", ("<=", 0)),
        *(_others(exported, student, work / "others", unlabeled, speed_texts) if others else ()),
        *_outlier(student, raw, work, unlabeled[:500], allowed),
    ]


def _exported(student: Path, raw: Path, folder: Path, texts: Sequence[str], allowed: float) -> Exported:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return export_student(
        student, folder, texts, raw=raw, max_length=LONGEST, threads=THREADS, max_disagreement=allowed
    )


def _opened(file: Path, student: Path) -> OnnxClassifier:
    return OnnxClassifier(file, student, max_length=LONGEST, threads=THREADS)


def _moved(exported: Exported, student: Path, texts: Sequence[str]) -> float:
    return _batch_share(_opened(exported.files[exported.shipped], student), texts)


def _batch_share(classifier: OnnxClassifier, texts: Sequence[str], number: int = 1000) -> float:
    """The share of texts that get another label in a batch than alone."""
    some = texts[:number]
    alone = np.concatenate([classifier.predict_proba([text]) for text in some])
    return 1 - parity(alone, classifier.predict_proba(some)).agreement


def _others(exported: Exported, student: Path, folder: Path, texts: Sequence[str], speed_texts: int) -> list[Figure]:
    """What the usual tools write, for comparison: none of it is made by the product."""
    folder.mkdir(parents=True, exist_ok=True)
    fp32 = exported.files["onnx-fp32"]
    reference = exported.answers["onnx-fp32"].probs
    assert reference is not None
    makers: dict[str, Callable[[Path], object]] = {
        "dynamic int8 of onnxruntime": lambda file: quantize_dynamic(
            fp32,
            file,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": _FLOAT},
        ),
        "static int8 of onnxruntime": lambda file: quantize_static(
            fp32,
            file,
            _Calibration(_opened(fp32, student), texts[-200:]),
            quant_format=QuantFormat.QOperator,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            extra_options={"DefaultTensorType": _FLOAT},
        ),
        "float16": lambda file: onnx.save(convert_float_to_float16(onnx.load(fp32), keep_io_types=True), file),
    }
    found, ours = [], _opened(exported.files[exported.shipped], student)
    for name, make in makers.items():
        file = folder / f"{name.replace(' ', '-')}.onnx"
        make(file)
        classifier = _opened(file, student)
        found += [
            Figure(f"{name}: agreement with fp32", parity(reference, classifier.predict_proba(texts)).agreement),
            Figure("  texts whose label depends on batch-mates", _batch_share(classifier, texts), "share"),
            Figure("  speed over that of what ships", _faster(classifier, ours, [texts[:speed_texts]]), "times"),
            Figure("  one at a time", _faster(classifier, ours, [[text] for text in texts[:50]]), "times"),
            Figure("  size", file.stat().st_size / 1e6, "MB"),
        ]
    return found


def _faster(one: OnnxClassifier, other: OnnxClassifier, calls: Sequence[Sequence[str]], rounds: int = 7) -> float:
    """How many times as fast ``one`` is: in turns, since a machine's load changes; the best rounds count."""
    taken: dict[OnnxClassifier, list[float]] = {one: [], other: []}
    for _ in range(rounds):
        for classifier, times in taken.items():
            started = time.perf_counter()
            for texts in calls:
                classifier.predict_proba(texts)
            times.append(time.perf_counter() - started)
    return min(taken[other]) / min(taken[one])


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    """One text at a time, as the calibration of onnxruntime reads them."""

    def __init__(self, classifier: OnnxClassifier, texts: Sequence[str]) -> None:
        pairs = (classifier.pad([ids]) for ids in classifier.encode(texts))
        self.feeds = iter([{"input_ids": ids, "attention_mask": mask} for ids, mask in pairs])

    def get_next(self) -> Any:
        return next(self.feeds, None)


def _outlier(student: Path, raw: Path, work: Path, texts: Sequence[str], allowed: float) -> list[Figure]:
    """The loudest channel before the pooler made a hundred times as loud, and its readers a hundred times as deaf."""
    loud = work / "loud"
    shutil.rmtree(loud, ignore_errors=True)
    model, tokenizer = load_classifier(student)
    encoded = tokenizer(list(texts[:64]), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt")
    with torch.no_grad():
        channel = int(model.bert(**encoded).last_hidden_state[:, 0].abs().mean(dim=0).argmax())
        norm = model.bert.encoder.layer[-1].output.LayerNorm
        norm.weight[channel] *= LOUDER
        norm.bias[channel] *= LOUDER
        model.bert.pooler.dense.weight[:, channel] /= LOUDER
    save_student(model, tokenizer, loud)
    plain = _opened(work / "plain" / "model.onnx", student).predict_proba(texts)
    exported = _exported(loud, raw, work / "loud-onnx", texts, allowed)
    own = exported.answers["student"].probs
    assert own is not None
    int8 = exported.artifact("onnx-int8").parity
    assert int8 is not None
    mixed = [one for one in exported.artifacts if one.name == "onnx-mixed"]
    held = mixed[0].parity if mixed else None
    return [
        Figure("outlier: answers in float moved by", float(np.abs(own - plain).max()), "", ("<=", 1e-4)),
        Figure("  int8 agreement, judged on fresh texts", int8.agreement),
        Figure("  int8 passes its gate", float(exported.artifact("onnx-int8").passed), "", ("<=", 0)),
        Figure("  a mixed file is offered", float(bool(mixed)), "", (">=", 1)),
        Figure("  mixed agreement, judged on fresh texts", held.agreement if held else 0.0, "", (">=", 1 - allowed)),
        Figure("  layers that stay in float", float(len(mixed[0].in_float)) if mixed else 0.0),
        Figure("  mixed size", mixed[0].bytes / 1e6 if mixed else 0.0, "MB"),
        Figure("  the mixed file ships", float(exported.shipped == "onnx-mixed"), "", (">=", 1)),
    ]


def _quick_student(work: Path) -> tuple[Path, Path]:
    """Two layers of the quickstart's base that saw 480 gold labels, and documents as stage 1 leaves them."""
    shutil.rmtree(work, ignore_errors=True)
    rows = [row for row in snippets("movie") if row["label"] in LABELS]
    random.Random(0).shuffle(rows)
    rows = rows[:1100]
    texts = [row["text"] for row in rows]
    gold = np.eye(2)[[LABELS.index(row["label"]) for row in rows]]
    model, tokenizer = keep_layers(encoder(), labels=LABELS, keep=2, seed=0)
    model.base_model.embeddings.requires_grad_(False)  # most of the weights, and most of a step's time
    train(
        model,
        tokenizer,
        texts=texts[:480],
        target_probs=gold[:480],
        validation_texts=texts[480:544],
        validation_probs=gold[480:544],
        output=work,
        epochs=2,
        batch_size=16,
        learning_rate=3e-4,
        warmup_share=0.1,
        weight_decay=0.01,
        temperature=1.0,
        hard_weight=0.0,
        hard_labels=None,
        max_length=LONGEST,
        seed=0,
        evaluations=1,
        save_checkpoints=False,
        threads=1,
    )
    save_student(model, tokenizer, work / "student")
    for split, part in (("validation", texts[544:600]), ("train", texts[600:])):
        documents.write(work / "raw", split, [_table(part)])
    return work / "student", work / "raw"


def _table(texts: Sequence[str]) -> pa.Table:
    empty = {"label": None, "license": "", "language": None, "notes": [], "origin": ""}
    rows = [{"id": documents.content_id({"text": text}), "text": text, "source": "movie", **empty} for text in texts]
    return pa.Table.from_pylist(rows, schema=documents.schema())
