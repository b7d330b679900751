"""Fills a bottle with all that is not the model: what it owes, its label, its card, its papers, and the seal, last.

label = fill(recipe, places, bottle, summary=summary, shipped=shipped, warnings=found, own=fields, card=card_parts)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.finish.bottle import LABEL, seal_bottle
from stillhouse.finish.label import CardParts, make_label, model_card, rights_of
from stillhouse.finish.obligations import do_duties, refuse_unmet
from stillhouse.finish.provenance.bom import Fairness, Metric, metrics_of
from stillhouse.finish.provenance.eval_results import Benchmark
from stillhouse.finish.provenance.papers import write_papers
from stillhouse.finish.provenance.parameters import PublicParameters
from stillhouse.ledger import Ledger
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.rights import student_name, view_rights
from stillhouse.store import Manifest, digest_of, digest_of_file, read_sealed, write_json
from stillhouse.workplace import FOLDERS, Places


def fill(
    recipe: Recipe,
    places: Places,
    bottle: Path,
    *,
    summary: dict[str, Any],
    shipped: dict[str, Any],
    warnings: list[str],
    own: Callable[[dict[str, dict[str, Any]]], dict[str, Any]],
    card: Callable[[dict[str, Any]], CardParts],
    gates: list[dict[str, Any]],
    audit: list[dict[str, Any]],
    despite: list[dict[str, Any]],
    rows: Sequence[Mapping[str, Any]] = (),
    fairness: Sequence[Fairness] = (),
    benchmarks: Sequence[Benchmark] = (),
) -> dict[str, Any]:
    """Label and seal the folder ``bottle``, which holds the model; returns the label.

    own: the task's own fields of the label, made of the stages' summaries. card: the task's parts of the card, made of
    the label. gates, audit: what was decided and found, as rows. despite: gates that failed, with who answers why.
    rows: of the test report, for the bill of materials. fairness, benchmarks: for the bill and ``.eval_results/``.
    Raises :class:`StillhouseError` where a right is missing, or a duty stays unmet.
    """
    steps = ("raw", "ferment", *(("cuts",) if recipe.scores else ()), "distill")
    manifests = {step: read_sealed(places.run, FOLDERS[step], verify=False) for step in steps}
    stages = {step: manifest.summary for step, manifest in manifests.items() if manifest}
    rights = view_rights(recipe, cache=places.cache, base=places.base, kept=stages["raw"]["licenses"])
    do_duties(bottle, rights, name=student_name(recipe))
    label = make_label(
        recipe,
        name=student_name(recipe),
        batch=digest_of([manifest.fingerprint for manifest in manifests.values() if manifest]),
        summary=summary,
        stages=stages,
        rights=rights_of(rights, recipe),
        shipped=shipped,
        warnings=warnings,
        own=own(stages),
        gates=gates,
        audit=audit,
        despite=despite,
    )
    write_json(bottle / LABEL, label)
    parts = card(label)
    (bottle / "README.md").write_text(model_card(label, parts), encoding="utf-8")
    events = list(Ledger(places.run / "ledger.jsonl", "").entries())
    lock = places.run / "recipe.lock.yaml"
    write_papers(
        bottle,
        label,
        manifests=_of_this_run(places.run, events) or {step: found for step, found in manifests.items() if found},
        events=events,
        parameters=PublicParameters.of(recipe),
        recipe_sha256=digest_of_file(lock) if lock.is_file() else None,
        metrics=metrics_of(rows, shipped["artifact"])
        or [Metric(str(one["type"]), float(one["value"])) for one in parts.metrics],
        fairness=fairness,
        benchmarks=benchmarks,
    )
    refuse_unmet(bottle, label)
    seal_bottle(bottle)
    return label


def _of_this_run(run: Path, events: Sequence[Mapping[str, Any]]) -> dict[str, Manifest]:
    """The sealed steps that the run has by its ledger: an older recipe may have left others."""
    started = [event for event in events if event.get("event") == "run-started"]
    steps = started[-1]["steps"] if started else {}
    found = {step: read_sealed(run, FOLDERS[step], verify=False) for step in steps if step in FOLDERS}
    return {step: one for step, one in found.items() if one is not None and one.fingerprint == steps[step]}
