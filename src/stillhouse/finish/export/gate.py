"""The student's files, what each of them answers, and the gate that decides which one ships.

exported = export_student(student, folder, texts, raw=raw, max_length=128, threads=None, max_disagreement=0.02)
exported.shipped, exported.reason
exported = timed(exported, student, texts, max_length=128, threads=None)      # size, speed and agreement of each
[one.row() for one in exported.artifacts]

int8 ships where it keeps to ``max_disagreement``; where it does not, the layers that suffer most stay in float
(``onnx-mixed``); where that does not help either, float32 ships. The texts that chose the layers do not judge them.

Not made, after measuring: static int8 (one scale for all texts, from training texts) is a twentieth faster than a scale
for each token, and changes ten times as many labels, more than the gate allows; float16 has half the speed of int8 on
processors, which have no arithmetic for it, and twice its size. ``bench/finish_compress.py`` measures both again.
Sentence embeddings would have their own module beside this one: their parity is a cosine, and pooling belongs into the
graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from stillhouse import documents
from stillhouse.device import cpu_threads
from stillhouse.finish.evaluate import Answers
from stillhouse.finish.export.graph import files_of
from stillhouse.finish.export.lengths import AtLength, Logits, compare_at_lengths, problems_of, refuse
from stillhouse.finish.export.onnx import OnnxClassifier, Parity, export_classifier, parity
from stillhouse.finish.export.quantize import quantize
from stillhouse.finish.export.sensitive import choose_in_float
from stillhouse.finish.gates import Gate, parity_gate
from stillhouse.finish.speed import Speed, measure
from stillhouse.student import load_classifier, predict_proba

if TYPE_CHECKING:
    from transformers import PreTrainedModel

GATE_TEXTS = 2000  # enough to tell 1 % of disagreement from 2 % with certainty
CHOOSING_TEXTS = 400  # that choose the layers of a mixed file
FLOAT_TOLERANCE = 1e-4  # of a probability of the float32 file, against torch

Name = Literal["student", "onnx-fp32", "onnx-int8", "onnx-mixed"]


@dataclass(frozen=True)
class Artifact:
    """One form of the student. ``student`` is the folder that transformers loads; the others are ONNX files.

    files: what has to be copied; the first is opened, weights too large for it lie in the next. parity: with the
    student of the float32 file, with the float32 file of the others. lengths: the same at fixed lengths.
    passed: may ship. reason: why, or why not. in_float: layers that a mixed file leaves in float.
    """

    name: Name
    files: tuple[Path, ...]
    parity: Parity | None
    lengths: tuple[AtLength, ...]
    passed: bool
    reason: str
    in_float: tuple[str, ...] = ()
    speed: Speed | None = None

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(path.stat().st_size for path in self.files)

    def row(self) -> dict[str, Any]:
        """All of it as a JSON value, without paths of this machine."""
        return {
            "artifact": self.name,
            "files": [path.name for path in self.files],
            "bytes": self.bytes,
            "parity": asdict(self.parity) if self.parity else None,
            "lengths": [asdict(one) for one in self.lengths],
            "passed": self.passed,
            "reason": self.reason,
            "in_float": list(self.in_float),
            "speed": asdict(self.speed) if self.speed else None,
        }


@dataclass(frozen=True)
class Exported:
    """answers: of the student and of each of its files. artifacts: the same, as files, the student first.

    shipped: the artifact that goes into the bottle. reason: why that one. parity: the same as a gate of the bottling.
    """

    answers: dict[str, Answers]
    artifacts: tuple[Artifact, ...]
    shipped: Name
    reason: str
    parity: Gate | None = None

    @property
    def files(self) -> dict[str, Path]:
        """Each ONNX artifact's file."""
        return {one.name: one.files[0] for one in self.artifacts if one.name != "student"}

    def artifact(self, name: str) -> Artifact:
        """The artifact of that name."""
        return next(one for one in self.artifacts if one.name == name)

    @property
    def gate(self) -> dict[str, Any]:
        """The decision as a JSON value, without speeds, which differ from run to run."""
        rows = [{key: value for key, value in one.row().items() if key != "speed"} for one in self.artifacts]
        return {"shipped": self.shipped, "reason": self.reason, "artifacts": rows}


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

    raw: stage 1's folder, with the texts that the gate looks at. max_disagreement: the share of texts on which an
    8-bit file may name another label than float32 and still ship; ``None`` where none is wanted. Raises
    :class:`StillhouseError` where the float32 file itself does not answer as the student does.
    """

    def opened(file: Path) -> OnnxClassifier:
        return OnnxClassifier(file, student, max_length=max_length, threads=threads)

    folder.mkdir(exist_ok=True)
    fp32 = folder / "model.onnx"
    export_classifier(student, fp32, max_length=max_length)
    model, tokenizer = load_classifier(student)
    own = predict_proba(model, tokenizer, texts, max_length=max_length)
    reference = opened(fp32)
    at_lengths = compare_at_lengths(reference, _torch_logits(model), texts, max_length=max_length)
    refuse(at_lengths, tolerance=FLOAT_TOLERANCE, where=str(fp32))
    found = reference.predict_proba(texts)
    answers = {"student": Answers.of(own), "onnx-fp32": Answers.of(found)}
    weights = tuple(sorted(student.glob("*.safetensors")))
    artifacts = [
        Artifact("student", weights, None, (), True, "the student itself, for transformers"),
        Artifact("onnx-fp32", files_of(fp32), parity(own, found), at_lengths, True, "the student's own arithmetic"),
    ]
    if max_disagreement is None:
        reason = "8-bit files are switched off in the recipe"
        return Exported(answers, tuple(artifacts), "onnx-fp32", reason)
    judging, choosing = _gate_texts(raw)
    expected = reference.predict_proba(judging)

    def judged(name: Name, file: Path, in_float: tuple[str, ...], told: str) -> Artifact:
        quantize(fp32, file, in_float=in_float)
        candidate = opened(file)
        answers[name] = Answers.of(candidate.predict_proba(texts))
        compared = parity(expected, candidate.predict_proba(judging))
        lengths = compare_at_lengths(candidate, reference.logits, texts, max_length=max_length)
        problems = problems_of(lengths)
        passed = 1 - compared.agreement <= max_disagreement and not problems
        reason = "; ".join([*([told] if told else []), _words(name, compared, max_disagreement), *problems])
        return Artifact(name, files_of(file), compared, lengths, passed, reason, in_float)

    artifacts.append(judged("onnx-int8", folder / "model_int8.onnx", (), ""))
    if not artifacts[-1].passed and choosing:
        chosen = choose_in_float(fp32, opened, choosing, max_disagreement=max_disagreement)
        if chosen.in_float:
            artifacts.append(judged("onnx-mixed", folder / "model_mixed.onnx", chosen.in_float, chosen.why))
    tried = artifacts[2:]
    shipped: Name = next((one.name for one in tried if one.passed), "onnx-fp32")
    reason = "; ".join(one.reason for one in tried)
    compared = next(one.parity for one in artifacts if one.name == shipped)
    assert compared is not None  # noqa: S101 - of every file
    decided = parity_gate(compared.agreement, compared.n, artifact=shipped, allowed=max_disagreement)
    return Exported(answers, tuple(artifacts), shipped, reason, decided)


def timed(
    exported: Exported,
    student: Path,
    texts: Sequence[str],
    *,
    max_length: int,
    threads: int | None,
    batch_texts: int = 512,
    single_texts: int = 50,
) -> Exported:
    """The same artifacts with the speed of each, measured one after the other on the same texts and threads."""
    model, tokenizer = load_classifier(student)

    def speed(one: Artifact) -> Speed:
        if one.name == "student":
            with cpu_threads(threads):
                return measure(
                    lambda some: predict_proba(model, tokenizer, some, max_length=max_length),
                    texts,
                    batch_texts=batch_texts,
                    single_texts=single_texts,
                )
        classifier = OnnxClassifier(one.files[0], student, max_length=max_length, threads=threads)
        return measure(classifier.predict_proba, texts, batch_texts=batch_texts, single_texts=single_texts)

    return replace(exported, artifacts=tuple(replace(one, speed=speed(one)) for one in exported.artifacts))


def _words(name: str, compared: Parity, allowed: float) -> str:
    form = name.removeprefix("onnx-")
    return f"{form} differs from fp32 on {1 - compared.agreement:.2%} of {compared.n} texts, allowed: {allowed:.2%}"


def _torch_logits(model: PreTrainedModel) -> Logits:
    def logits(ids: Any, mask: Any) -> Any:
        import torch

        with torch.no_grad():
            found = model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)).logits
        return np.asarray(found.float().numpy())

    return logits


def _gate_texts(raw: Path) -> tuple[list[str], list[str]]:
    """Texts that judge and texts that choose layers, no text in both, all outside the test split and without labels."""
    held = documents.read(raw, "validation")["text"].slice(0, GATE_TEXTS).to_pylist()
    pool = [*held, *documents.read(raw, "train")["text"].slice(0, GATE_TEXTS + CHOOSING_TEXTS).to_pylist()]
    choosing = min(CHOOSING_TEXTS, len(pool) // 4)
    return pool[: len(pool) - choosing][:GATE_TEXTS], pool[len(pool) - choosing :]
