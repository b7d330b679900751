"""What a report shows, read from the sealed files of a run as far as there are any.

run = read_run(Path("runs/quickstart"))
run.outcome, run.steps["raw"].kept, run.judgement, run.rights

A file whose bytes are not those that were sealed is left out, and so is a step that was made from another state of an
earlier one: both are named in ``notes``. Nothing is computed here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from stillhouse.chart import Chart
from stillhouse.finish.gates import Gate, refused
from stillhouse.finish.judgement import AUDIT, EVALUATION, GATES, SAMPLES, Judgement, read_judgement
from stillhouse.recipe.fields import STEPS
from stillhouse.recipe.model import GateName
from stillhouse.report.rights import Rights
from stillhouse.sealed import sealed_steps
from stillhouse.store import Manifest

Outcome = Literal["bottled", "refused", "judged", "stopped"]
_JUDGED = (EVALUATION, AUDIT, GATES)


@dataclass(frozen=True)
class Step:
    """One sealed step. cuts: rows by kind (`head`, `tail`) and reason. splits: of stage 1. seconds: as the ledger has
    them, ``None`` where it does not."""

    name: str
    folder: str
    made: str
    fingerprint: str
    rows_in: int
    kept: int
    cut: int
    failed: int
    cuts: Mapping[str, Mapping[str, int]]
    splits: Mapping[str, int]
    seconds: float | None


@dataclass(frozen=True)
class Despite:
    """A gate that failed, and why it was bottled all the same."""

    gate: str
    words: str
    because: str


@dataclass(frozen=True)
class Run:
    """outcome: how far it came. waiting: the next step, of a run that has stopped. stopping: gates that refuse the
    bottling. refusals: what the last start could not get past, in words. alarms: of whom a cut took more than its
    share. notes: what was left out of the report, and why."""

    folder: str
    name: str
    title: str
    task: str
    producer: str
    outcome: Outcome
    waiting: str | None
    steps: Mapping[str, Step]
    judgement: Judgement | None
    required: Sequence[str]
    stopping: Sequence[Gate]
    despite: Sequence[Despite]
    chart: Chart | None
    rights: Rights | None
    batch: str | None
    controls: Sequence[str]
    samples_shown: int
    refusals: Sequence[str] = field(default=())
    alarms: Sequence[str] = field(default=())
    notes: Sequence[str] = field(default=())


def read_run(folder: Path) -> Run:
    """Raises :class:`StillhouseError` where nothing is sealed."""
    sealed = sealed_steps(folder)
    manifests, entries, notes = sealed.manifests, sealed.entries, list(sealed.notes)
    recipe = _recipe(folder)
    judgement = _judgement(folder, manifests.get("judge"), notes)
    label = _json(folder, manifests.get("finish"), "bottle/label.json", notes) if "finish" in manifests else {}
    finish: Mapping[str, Any] = recipe.get("finish") or {}
    gates: Mapping[str, Any] = finish.get("gates") or {}
    named = gates.get("required")  # an empty list lets everything pass
    required = get_args(GateName) if named is None else tuple(named)
    answered = {one["gate"] for one in finish.get("despite") or ()}
    stopping = (
        refused(judgement.gates, required=required, strict=bool(gates.get("strict")), despite=answered)
        if judgement and "finish" not in manifests
        else []
    )
    order = [step for step in STEPS if step in manifests]
    wanted = _wanted(entries, recipe)
    started = _last(entries, "run-started")
    return Run(
        folder=folder.resolve().name,
        name=str(label.get("name") or finish.get("name") or recipe.get("name") or folder.resolve().name),
        title=str(recipe.get("title") or recipe.get("name") or folder.resolve().name),
        task=str(recipe.get("task") or label.get("task") or ""),
        producer=manifests[order[-1]].producer,
        outcome=_outcome(manifests, stopping),
        waiting=next((step for step in wanted if step not in manifests), None),
        steps={step: _step(step, manifests[step], entries) for step in order},
        judgement=judgement,
        required=required,
        stopping=stopping,
        despite=[Despite(one["gate"], one["words"], one["because"]) for one in label.get("despite", ())],
        chart=_chart(folder, manifests.get("cuts"), notes),
        rights=Rights.read(label.get("rights"), started, recipe),
        batch=label.get("batch"),
        controls=list(recipe.get("controls") or ()) if isinstance(recipe.get("controls"), list) else (),
        samples_shown=int((finish.get("evaluate") or {}).get("samples") or 8),
        refusals=_refusals(entries, manifests),
        alarms=[line for step in order for line in manifests[step].summary.get("alarms", ())],
        notes=notes,
    )


def _outcome(manifests: Mapping[str, Manifest], stopping: Sequence[Gate]) -> Outcome:
    if "finish" in manifests:
        return "bottled"
    if "judge" not in manifests:
        return "stopped"
    return "refused" if stopping else "judged"


def _wanted(entries: Sequence[Mapping[str, Any]], recipe: Mapping[str, Any]) -> Sequence[str]:
    """The steps that this run has, as its last start planned them."""
    planned = _last(entries, "run-started").get("steps")
    if planned:
        return [step for step in STEPS if step in planned]
    return [step for step in STEPS if step not in ("scores", "cuts", "controls")]


def _step(name: str, manifest: Manifest, entries: Sequence[Mapping[str, Any]]) -> Step:
    summary = manifest.summary
    seconds = [
        one["seconds"]
        for one in entries
        if one["event"] == "step-sealed" and one["fingerprint"] == manifest.fingerprint and one["step"] == name
    ]
    return Step(
        name=name,
        folder=manifest.stage,
        made=manifest.created,
        fingerprint=manifest.fingerprint,
        **{key: int(summary[key]) for key in ("rows_in", "kept", "cut", "failed")},
        cuts=summary.get("cuts", {}),
        splits=summary.get("splits", {}),
        seconds=seconds[-1] if seconds else None,
    )


def _judgement(folder: Path, manifest: Manifest | None, notes: list[str]) -> Judgement | None:
    if manifest is None or not all(_as_sealed(folder, manifest, name, notes) for name in _JUDGED):
        return None
    if SAMPLES in manifest.files and not _as_sealed(folder, manifest, SAMPLES, notes):
        return None
    return read_judgement(folder / manifest.stage)


def _chart(folder: Path, manifest: Manifest | None, notes: list[str]) -> Chart | None:
    if manifest is None or not all(_as_sealed(folder, manifest, name, notes) for name in ("rows.parquet", "cuts.json")):
        return None
    return Chart.read(folder)


def _json(folder: Path, manifest: Manifest | None, name: str, notes: list[str]) -> Mapping[str, Any]:
    if manifest is None or not _as_sealed(folder, manifest, name, notes):
        return {}
    found: Mapping[str, Any] = json.loads((folder / manifest.stage / name).read_text("utf-8"))
    return found


def _as_sealed(folder: Path, manifest: Manifest, name: str, notes: list[str]) -> bool:
    """Whether a file has the bytes that its manifest lists."""
    path, record = folder / manifest.stage / name, manifest.files.get(name)
    if record and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == record.sha256:
        return True
    notes.append(f"{manifest.stage}/{name} is left out: it is not as it was sealed")
    return False


def _recipe(folder: Path) -> Mapping[str, Any]:
    """The recipe with every default, as plain values: a report can be made of a run of an older version, too."""
    path = folder / "recipe.lock.yaml"
    loaded = yaml.safe_load(path.read_text("utf-8")) if path.is_file() else None
    return loaded if isinstance(loaded, dict) else {}


def _last(entries: Sequence[Mapping[str, Any]], event: str) -> Mapping[str, Any]:
    return next((one for one in reversed(entries) if one["event"] == event), {})


def _refusals(entries: Sequence[Mapping[str, Any]], manifests: Mapping[str, Manifest]) -> list[str]:
    """The problems at which the last start came to an end; gates are told from their own file."""
    run = _last(entries, "run-started").get("run")
    return [
        problem
        for one in entries
        if one["event"] == "step-refused" and one["run"] == run and one["step"] not in manifests
        for problem in one["problems"]
        if not problem.startswith("gate `")
    ]
