"""A run folder made by hand of real parts (seals, ledger, judgement), so that a report of it costs no training.

made = Made(tmp_path / "run"); made.raw(); made.ferment(); made.cuts(); made.distill(); made.judge(); made.finish()
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from stillhouse.finish.audit.findings import Finding
from stillhouse.finish.evaluate import Row
from stillhouse.finish.gates import Gate
from stillhouse.finish.generation.pairs.figures import Figures
from stillhouse.finish.generation.pairs.reading import Choice, Reading
from stillhouse.finish.generation.pairs.verdicts import JudgedPair, Pair
from stillhouse.finish.generation.passages import Prompt
from stillhouse.finish.judgement import Judgement
from stillhouse.ledger import Ledger
from stillhouse.store import open_draft, seal, write_json
from stillhouse.workplace import FOLDERS

STEPS = ("raw", "ferment", "cuts", "distill", "judge", "finish")
INPUTS = {
    "raw": (),
    "ferment": ("raw",),
    "cuts": ("raw", "ferment"),
    "distill": ("raw", "cuts"),
    "judge": ("raw", "distill"),
    "finish": ("judge",),
}
PASSED = Gate("retention", "passed", "accuracy, student − teacher: -1.0 points", "")
FAILED = Gate(
    "retention", "failed", "accuracy, student − teacher: -9.0 points", "train longer (`distill.train.epochs`)"
)


def finding(probe: str, about: str, status: Any, **changes: Any) -> Finding:
    """A finding with figures of its own."""
    figures = {"teacher": 0.051, "student": 0.082, "value": 0.031, "lower": 0.012, "upper": 0.047, "limit": 0.05}
    return Finding(
        **{"probe": probe, "about": about, "status": status, **figures, "n": 412, "words": f"{about} it is", **changes}
    )


def classifier() -> tuple[list[Row], dict[str, Any]]:
    """Rows and summary as the judging of a classifier leaves them, with figures that no two places share."""
    rows = []
    values = {"teacher": 0.8612, "student": 0.8443, "onnx-fp32": 0.8437, "onnx-int8": 0.8391}
    values |= {"majority": 0.5034, "tfidf-teacher": 0.7316}
    for place, (name, value) in enumerate(values.items()):
        rows.append(Row(name, "accuracy", "all", value, value - 0.0213, value + 0.0187, 1201))
        rows.append(Row(name, "accuracy", "group:dialect=coast", value - 0.04, value - 0.09, value + 0.01, 211))
        rows.append(Row(name, "recall", "label=bad", value - 0.03, value - 0.08, value + 0.02, 307))
        rows.append(Row(name, "calibration_error", "all", 0.0311 + place / 1000, None, None, 1201))
        if name != "teacher":
            rows.append(Row(name, "agreement", "all", value + 0.0521, value + 0.04, value + 0.06, 1201))
    rows += [
        Row("onnx-int8", "retention_difference", "all", -0.0221, -0.0402, -0.0047, 1201),
        Row("onnx-int8", "retention_difference_lower_95", "all", -0.0373, None, None, 1201),
        Row("onnx-int8", "retention_ratio", "all", 0.9743, 0.9534, 0.9945, 1201),
        Row("onnx-int8", "retention_chance_corrected", "all", None, None, None, 1201),
        Row("onnx-int8", "texts_per_s", "batch", 1455.2, None, None, 512),
        Row("teacher", "texts_per_s", "batch", 36.4, None, None, 64),
        Row("onnx-int8", "bytes", "all", 17_500_000.0, None, None, 1),
        Row("onnx-fp32", "bytes", "all", 69_600_000.0, None, None, 1),
        Row("teacher", "bytes", "all", 98_400_000.0, None, None, 1),
        Row("onnx-int8", "a_measure_of_tomorrow", "all", 0.123456, None, None, 9),
    ]
    summary = {
        "teacher": {"accuracy": 0.8612},
        "student": {"accuracy": 0.8443},
        "exported": {"accuracy": 0.8391, "artifact": "onnx-int8"},
        "baselines": {"majority": 0.5034, "tfidf-teacher": 0.7316},
        "retention": {
            "ratio": 0.9743,
            "chance_corrected": None,
            "not_certified": "not certified: the teacher is near chance",
            "difference": -0.0221,
            "difference_lower_95": -0.0373,
            "non_inferior": True,
            "n": 1201,
        },
        "gold_equivalent": {"labels": 3238, "reading": "about 3238"},
        "speed": {"teacher_per_s": 36.4, "student_per_s": 1455.2, "ratio": 39.98},
        "size": {"teacher_bytes": 98_400_000, "student_bytes": 17_500_000},
        "int8": "int8 differs from fp32 on 1.55% of 2000 texts",
    }
    return rows, summary


def writer() -> tuple[list[Row], dict[str, Any]]:
    """The same of a model that writes."""
    rows, artifacts = [], {}
    for place, name in enumerate(("teacher", "student", "ce")):
        figures = {"verified": ("gold", 0.3912 - place / 20), "perplexity": ("answers", 4.231 + place)}
        if name != "teacher":
            figures |= {"kl": ("answers", 0.6173 + place / 10), "agreement": ("answers", 0.6331 - place / 10)}
        for metric, (where, value) in figures.items():
            rows.append(Row(name, metric, where, value, value * 0.95, value * 1.05, 260))
        artifacts[name] = {
            metric if where == "gold" else f"{metric}, {where}": {
                "value": v,
                "lower": v * 0.95,
                "upper": v * 1.05,
                "n": 260,
            }
            for metric, (where, v) in figures.items()
        }
        if name != "ce":
            rows.append(Row(name, "decode_tokens_per_s", "batch=1", 25.1 - 5 * place, None, None, 32))
    interval = {"value": -0.2183, "lower": -0.2284, "upper": -0.2075, "n": 260}
    contrast = {
        "metric": "kl",
        "slice": "answers",
        "baseline": "ce",
        "student": 0.7173,
        "baseline_value": 0.8173,
        "difference": interval,
        "verdict": "better",
        "recovered_gap": {"value": 0.2613, "lower": 0.2504, "upper": 0.2724, "n": 260},
        "not_certified": None,
    }
    summary = {
        "artifacts": artifacts,
        "contrasts": [contrast],
        "reading": ["Distillation beat plain cross-entropy on the same tokens in: KL."],
        "speed": {"precision": "bfloat16", "student": {"decode": {"1": 20.1}}, "teacher": {"decode": {"1": 25.1}}},
        "size": {
            "student_parameters": 106_194_240,
            "teacher_parameters": 162_826_560,
            "student_bytes": 212_400_000,
            "teacher_bytes": 98_500_000,
        },
        "counts": {"test documents": 261, "prompts": 203},
        "judge": judgement_of_pairs(rows),
        "gguf": [
            _export(rows, "gguf", "f16", 0.000213),
            _export(rows, "gguf", "q4_0", 0.2317, "distributions lie apart"),
        ],
        "onnx": [_export(rows, "onnx", "int8", 0.00719)],
    }
    return rows, summary


def _export(rows: list[Row], form: str, kind: str, kl: float, *reasons: str) -> dict[str, Any]:
    """A file for another runtime as the summary has it; its rows go to ``rows``."""
    for metric, value in (("kl", kl), ("agreeing_before_parting", 0.9371)):
        rows.append(Row(f"{form}-{kind}", metric, "against the student", value, None, None, 117))
    rows.append(Row(f"{form}-{kind}", "bytes", "all", 107e6, None, None, 1))
    rows.append(Row(f"{form}-{kind}", "decode_tokens_per_s", "batch=1", 93.0, None, None, 26))
    return {
        "kind": kind,
        "file": f"{form}/model-{kind}.{form}",
        "bytes": 107_000_000,
        "passed": not reasons,
        "reasons": list(reasons),
        "prompts": 26,
        "agreeing": 0.9371,
        "kl": kl,
        "positions": 117,
        "tokens_per_s": 93.0,
    }


def judgement_of_pairs(rows: list[Row]) -> dict[str, Any]:
    """What a judge of pairs adds to the summary; its rows go to ``rows``."""
    choices: dict[str, list[tuple[Choice | None, Choice | None]]] = {
        "teacher": [("A", "B")] * 23
        + [("B", "A")] * 31
        + [("tie", "tie")] * 12
        + [("A", "A")] * 17
        + [(None, "A")] * 11,
        "ce": [("A", "B")] * 41 + [("B", "A")] * 19 + [("B", "B")] * 13,
    }
    judged = [
        JudgedPair(
            Pair(
                Prompt(str(place), None, "go on", None), "student", two, ("a", "long"), (place % 2 == 0, place % 3 == 0)
            ),
            (Reading("k", "q", one), Reading("k", "q", other)),
        )
        for two, found in choices.items()
        for place, (one, other) in enumerate(found)
    ]
    figures = Figures.of(judged)
    rows += figures.rows()
    return {
        "address": "behind an endpoint: big-judge",
        "by": "text: one word",
        "criteria": "Better is what is <right>.",
        "prompts": 94,
        "questions": 334,
        **figures.as_json(),
        "reading": figures.reading(),
        "not_read": {"it is none of A, B, tie": 11},
        "warnings": figures.warnings(),
    }


@dataclass
class Made:
    """name: stands in the recipe. words: put wherever a user's own words may stand."""

    folder: Path
    task: str = "text-classification"
    words: str = "plain words"
    gates: Sequence[Gate] = (PASSED,)
    findings: Sequence[Finding] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)

    def through(self, last: str) -> Made:
        """Seal every step up to ``last``."""
        self.begin()
        for step in STEPS[: STEPS.index(last) + 1]:
            getattr(self, step)()
        return self

    def begin(self, **changes: Any) -> None:
        """The recipe, and the start in the ledger."""
        recipe = {"name": "tiny", "title": f"Tiny: {self.words}", "task": self.task, **changes}
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "recipe.lock.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), "utf-8")
        subject = {
            "role": "data",
            "name": self.words,
            "address": f"rows/{self.words}.jsonl",
            "identity": "8620a151",
            "license": "MIT",
            "verdict": "allow with duties",
            "reason": "the grant",
            "clause": "2",
            "documents": [],
            "terms": [],
            "duties": [f"keep the notice of {self.words}"],
            "warnings": [],
            "attribution": None,
            "lifted_from": None,
            "lifted_by": None,
        }
        self.ledger.append(
            "run-started", steps=dict.fromkeys(STEPS), rights=[subject], statement=None, producer="stillhouse"
        )

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.folder / "ledger.jsonl", "run-1")

    def seal(self, step: str, summary: Mapping[str, Any], *, version: str = "") -> None:
        """Seal what lies in the draft."""
        ingredients = {f"{name}@fingerprint": self.fingerprints.get(name) for name in INPUTS[step]}
        self.fingerprints[step] = f"{step}{version}"
        counts = {"rows_in": 400, "kept": 386, "cut": 14, "failed": 0}
        seal(self.folder, FOLDERS[step], self.fingerprints[step], ingredients, {**counts, **summary}, "run-1")
        self.ledger.append("step-sealed", step=step, fingerprint=self.fingerprints[step], seconds=4.25)

    def draft(self, step: str) -> Path:
        return open_draft(self.folder, FOLDERS[step], step)

    def raw(self) -> None:
        self.draft("raw")
        cut = {"head": {"contamination": 1}, "tail": {f"exact copy of {self.words}": 13}}
        splits = {"train": 246, "validation": 40, "test": 100}
        alarms = [f"source {self.words}: cleaning took 14 of 400 rows"]
        self.seal("raw", {"cuts": cut, "splits": splits, "alarms": alarms})

    def ferment(self) -> None:
        self.draft("ferment")
        self.seal("ferment", {})

    def cuts(self, *, version: str = "") -> None:
        draft, n = self.draft("cuts"), 246
        scores = np.linspace(0, 1, n)
        fate = ["head" if score > 0.9 else "tail" if score < 0.1 else "heart" for score in scores]
        columns: dict[str, Any] = {
            "id": [str(place) for place in range(n)],
            "cut": fate,
            "reason": ["doubt" if one == "head" else None for one in fate],
            "taught": ["bad"] * n,
            "text": [self.words] * n,
            "score_doubt": scores,
            "score_ease": 1 - scores,
        }
        pq.write_table(pa.table(columns), draft / "rows.parquet")
        accuracy = {"value": 0.7613, "lower": 0.7491, "upper": 0.7724, "n": 5600}
        price = {
            "cuts": "none",
            "rows": 246,
            "accuracy": accuracy,
            "group": self.words,
            "worst": None,
            "against_none": None,
        }
        tail = {"score": "ease", "threshold": 0.9, "removed": 25, "why": "a pilot", "rungs": [], "kind": "pilot"}
        head = {"name": "doubt", "score": "doubt", "threshold": 0.9, "removed": 25, "why": "a bound", "kind": "risk"}
        stratum = {"kind": "group", "value": self.words, "rows": 113, "removed": 7, "rate": 0.0619, "others": 0.041}
        told = {
            "heads": [head],
            "tail": tail,
            "prices": [price],
            "strata": [stratum | {"verdict": "even"}],
            "notes": [],
            "quotas": True,
        }
        if self.task == "text-generation":
            told["rows"] = "answers"
        write_json(draft / "cuts.json", told)
        self.seal("cuts", {"rows_in": 246, "kept": 196, "cut": 50, "cuts": {"head": {"doubt": 25}}}, version=version)

    def distill(self) -> None:
        self.draft("distill")
        self.seal("distill", {})

    def judge(self) -> None:
        rows, summary = classifier() if self.task == "text-classification" else writer()
        if self.words != "plain words":
            rows.append(Row("onnx-int8", "accuracy", f"group:dialect={self.words}", 0.7, 0.6, 0.8, 31))
        shipped = {"artifact": "onnx-int8", "file": "onnx/model_int8.onnx"}
        if self.task == "text-generation":
            shipped = {"artifact": "student", "file": "model.safetensors"}
        warnings = [f"beware of {self.words}"]
        Judgement(rows, summary, shipped, warnings, self.findings, self.gates, self.samples).write(self.draft("judge"))
        self.seal("judge", summary)

    def finish(self, despite: Sequence[Mapping[str, str]] = ()) -> None:
        bottle = self.draft("finish") / "bottle"
        bottle.mkdir()
        label = {"name": "tiny-student", "batch": "5fe729d08da74c1b", "despite": list(despite), "rights": None}
        (bottle / "label.json").write_text(json.dumps(label), "utf-8")
        self.seal("finish", {})
