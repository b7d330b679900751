"""The student's files, what each of them answers, and the gate that decides which one ships.

exported = export_student(student, folder, texts, raw=raw, max_length=128, threads=None, max_disagreement=0.02)
exported.files[exported.shipped], exported.gate["reason"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stillhouse import documents
from stillhouse.finish.evaluate import Answers
from stillhouse.finish.export.onnx import OnnxClassifier, export_classifier, parity, quantize_int8
from stillhouse.finish.gates import Gate, parity_gate
from stillhouse.student import load_classifier, predict_proba

_GATE_TEXTS = 2000  # enough to tell 1 % of disagreement from 2 % with certainty


@dataclass(frozen=True)
class Exported:
    """answers: of the student and of each of its files. files: artifact -> file. gate: what it decided, and why.
    parity: the same as a gate of the bottling, of what ships."""

    answers: dict[str, Answers]
    files: dict[str, Path]
    gate: dict[str, Any]
    parity: Gate | None = None

    @property
    def shipped(self) -> str:
        """The artifact that goes into the bottle."""
        return "onnx-int8" if self.gate["shipped"] == "int8" else "onnx-fp32"


def export_student(
    student: Path,
    folder: Path,
    texts: Sequence[str],
    *,
    raw: Path,
    max_length: int,
    threads: int | None,
    max_disagreement: float | None,
) -> Exported:
    """Export the classifier in ``student`` into ``folder`` and quantize it, with the answers about ``texts``.

    raw: stage 1's folder, with the texts that the gate looks at. max_disagreement: the share of texts on which int8
    may name another label than float32 and still ship; ``None`` where no int8 file is wanted.
    """

    def onnx(name: str) -> OnnxClassifier:
        return OnnxClassifier(files[name], student, max_length=max_length, threads=threads)

    folder.mkdir(exist_ok=True)
    files = {"onnx-fp32": folder / "model.onnx"}
    export_classifier(student, files["onnx-fp32"], max_length=max_length)
    model, tokenizer = load_classifier(student)
    answers = {"student": Answers.of(predict_proba(model, tokenizer, texts, max_length=max_length))}
    answers["onnx-fp32"] = Answers.of(onnx("onnx-fp32").predict_proba(texts))
    if max_disagreement is None:
        return Exported(answers, files, {"shipped": "fp32", "reason": "int8 is switched off in the recipe"})
    files["onnx-int8"] = folder / "model_int8.onnx"
    quantize_int8(files["onnx-fp32"], files["onnx-int8"])
    answers["onnx-int8"] = Answers.of(onnx("onnx-int8").predict_proba(texts))
    seen = _gate_texts(raw)
    compared = parity(onnx("onnx-fp32").predict_proba(seen), onnx("onnx-int8").predict_proba(seen))
    passed = 1 - compared.agreement <= max_disagreement
    gate = {
        "shipped": "int8" if passed else "fp32",
        "reason": f"int8 differs from fp32 on {1 - compared.agreement:.2%} of {compared.n} texts, "
        f"allowed: {max_disagreement:.2%}",
        **asdict(compared),
    }
    artifact = "onnx-int8" if passed else "onnx-fp32"
    decided = parity_gate(
        compared.agreement if passed else 1.0, compared.n, artifact=artifact, allowed=max_disagreement
    )
    return Exported(answers, files, gate, decided)


def _gate_texts(raw: Path) -> list[str]:
    """Texts outside the test split, without their labels, so that the test chooses nothing."""
    return [
        text
        for split in ("validation", "train")
        for text in documents.read(raw, split)["text"].slice(0, _GATE_TEXTS).to_pylist()
    ][:_GATE_TEXTS]
