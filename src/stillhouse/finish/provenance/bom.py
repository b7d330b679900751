"""The bill of materials: CycloneDX 1.6 for machine learning, as a JSON value.

    value = bill_of_materials(label, record, metrics=metrics, fairness=(), files=digests, config=config)

The student is the component that the bill is of, with a model card; what it was made from are components, too, with
licenses, versions and digests; the steps of the run are its formulation. Serial number and time come from the content
and the run, so that the same bottle has the same bill.

Built by hand, since the library for it drops model cards (tests and bench validate against its schema). Ids of licenses
that SPDX has go into ``license.id``, all others into ``license.name``, as the schema demands.
Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stillhouse.finish.provenance.record import Material, RunRecord, Step, zulu
from stillhouse.rights import Table
from stillhouse.store import canonical

_NAMESPACE = uuid.UUID("9d0f7a54-6a43-5c0e-8b57-2f7c3d1e9a60")  # of this project's serial numbers, drawn once
_STUDENT = "student"
_TYPES = {"teacher": "machine-learning-model", "base": "machine-learning-model", "data": "data", "other": "file"}


@dataclass(frozen=True)
class Metric:
    """A measured value of what ships. slice: empty for all items. lower, upper: of its 95 % interval, where known."""

    type: str
    value: float
    slice: str = ""
    lower: float | None = None
    upper: float | None = None


@dataclass(frozen=True)
class Fairness:
    """What the audit found for a group. harms: in words. mitigation: what was done about it."""

    group: str
    harms: str
    mitigation: str = ""


def metrics_of(rows: Iterable[Mapping[str, Any]], artifact: str, *, fewest: int = 30) -> list[Metric]:
    """The rows of a test report that are about what ships. fewest: items that a slice must have to be told: a smaller
    one says little of the model, and its name may be a text of somebody's data."""
    return [
        Metric(row["metric"], row["value"], "" if row["slice"] == "all" else row["slice"], row["lower"], row["upper"])
        for row in rows
        if row["artifact"] == artifact
        and row["value"] is not None
        and (row["slice"] == "all" or row["n"] >= fewest)
        and row["metric"] != "bytes"
        and not row["metric"].endswith("_per_s")  # of the machine, not of the model
    ]


def bill_of_materials(
    label: Mapping[str, Any],
    record: RunRecord,
    *,
    files: Mapping[str, str],
    config: Mapping[str, Any],
    metrics: Sequence[Metric] = (),
    fairness: Sequence[Fairness] = (),
) -> dict[str, Any]:
    """The bill. files: SHA-256 of the bottle's files. config: the model's own ``config.json``, or nothing."""
    components = [_component(one, f"{one.role}:{one.name}") for one in record.materials]
    student = _student(label, files) | {
        "pedigree": {"ancestors": [_component(one, None) for one in record.materials if "init" in one.takes]},
        "modelCard": _model_card(label, record, config, metrics, fairness),
    }
    value = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            **({"timestamp": zulu(record.ended)} if record.ended else {}),
            "tools": {"components": [_tool(record.producer)]},
            "component": student,
        },
        "components": components,
        "dependencies": [
            {"ref": _STUDENT, "dependsOn": [one["bom-ref"] for one in components]},
            *({"ref": one["bom-ref"]} for one in components),
        ],
        "formulation": [_formula(record)],
    }
    serial = uuid.uuid5(_NAMESPACE, canonical(value))
    return value | {"serialNumber": f"urn:uuid:{serial}"}


def _student(label: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    shipped = files.get(str(label["shipped"]["file"]))
    weights = [
        {"type": "file", "name": name, "hashes": [_hash(digest)]}
        for name, digest in files.items()
        if name.endswith((".safetensors", ".onnx", ".onnx_data", ".gguf"))
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": _STUDENT,
        "name": label["name"],
        "version": label["batch"][:12],
        "description": f"A small `{label['task']}` model, distilled from {_teachers(label)}.",
        **({"hashes": [_hash(shipped)]} if shipped else {}),
        **({"components": weights} if weights else {}),
        "properties": _properties(
            {
                "approach": "distillation",  # the schema has no such word for how a model learned
                "batch": label["batch"],
                "shipped": label["shipped"]["file"],
                "use": label["rights"]["use"],
                "commercial": str(label["rights"]["commercial"]).lower(),
            }
        ),
    }


def _teachers(label: Mapping[str, Any]) -> str:
    return " and ".join(one["name"] for one in label["teachers"])


def _model_card(
    label: Mapping[str, Any],
    record: RunRecord,
    config: Mapping[str, Any],
    metrics: Sequence[Metric],
    fairness: Sequence[Fairness],
) -> dict[str, Any]:
    architectures = config.get("architectures") or []
    parameters = {
        "task": label["task"],
        "architectureFamily": config.get("model_type"),
        "modelArchitecture": architectures[0] if architectures else None,
        "datasets": [{"ref": f"data:{one.name}"} for one in record.materials if one.role == "data"],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text" if label["task"] == "text-generation" else "label"}],
    }
    considerations: dict[str, Any] = {"technicalLimitations": list(label["warnings"])}
    if fairness:
        considerations["fairnessAssessments"] = [
            {
                "groupAtRisk": one.group,
                "harms": one.harms,
                **({"mitigationStrategy": one.mitigation} if one.mitigation else {}),
            }
            for one in fairness
        ]
    return {
        "modelParameters": {key: value for key, value in parameters.items() if value},
        "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in metrics]},
        "considerations": considerations,
    }


def _metric(one: Metric) -> dict[str, Any]:
    interval = {"lowerBound": f"{one.lower:.6g}", "upperBound": f"{one.upper:.6g}"} if _has_interval(one) else None
    return {
        "type": one.type,
        "value": f"{one.value:.6g}",
        **({"slice": one.slice} if one.slice else {}),
        **({"confidenceInterval": interval} if interval else {}),
    }


def _has_interval(one: Metric) -> bool:
    return one.lower is not None and one.upper is not None


def _component(one: Material, reference: str | None) -> dict[str, Any]:
    """reference: ``None`` for an ancestor, which is told of again among the components."""
    licenses = [_license(name) for name in one.licenses if name and name != "not stated"]
    told = {"role": one.role, "address": one.address, "files-sha256": one.sha256, "takes": " ".join(one.takes)}
    return {
        "type": _TYPES[one.role],
        **({"bom-ref": reference} if reference else {}),
        "name": one.name,
        **({"version": one.version} if one.version else {}),
        **({"licenses": licenses} if licenses else {}),
        **({"purl": one.purl} if one.purl else {}),
        **({"data": [{"type": "dataset", "name": one.name}]} if one.role == "data" else {}),
        "properties": _properties({key: value for key, value in told.items() if value}),
    }


def _license(name: str) -> dict[str, Any]:
    """By SPDX id where the terms table knows it for one; a name is right for any license, an unknown id is not."""
    known = Table.load().by_id(name)
    spdx = known is not None and not known[0].startswith("LicenseRef-")
    return {"license": {"id": known[0]} if known and spdx else {"name": name}}


def _formula(record: RunRecord) -> dict[str, Any]:
    libraries = [
        {"type": "library", "bom-ref": f"library:{name}", "name": name, "version": version}
        for name, version in record.libraries.items()
    ]
    times = {"timeStart": record.began, "timeEnd": record.ended}
    return {
        "components": libraries,
        "workflows": [
            {
                "bom-ref": "run",
                "uid": record.run or "unknown",
                "name": "distillation",
                "taskTypes": ["build"],
                "steps": [_step(step) for step in record.steps],
                **{key: zulu(value) for key, value in times.items() if value},
            }
        ],
    }


def _step(step: Step) -> dict[str, Any]:
    told = {"fingerprint": step.fingerprint, "sealed": zulu(step.sealed)}
    told |= {f"rows-{name.replace('_', '-')}": str(number) for name, number in step.rows.items()}
    return {"name": step.name, "properties": _properties(told)}


def _tool(producer: str) -> dict[str, Any]:
    name, _, version = producer.partition(" ")
    return {"type": "application", "name": name, "version": version}


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"stillhouse:{name}", "value": value} for name, value in values.items()]
