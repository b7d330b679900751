"""The second step of stage 4: refuses what fails a gate that must hold, and fills the bottle with what passes.

Reads all earlier steps; writes ``bottle/``. A gate that somebody answers for (`finish.despite`) stops nothing, and is
named on the label with the reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from stillhouse.errors import Problem, StillhouseError
from stillhouse.finish import label_classification, label_generation
from stillhouse.finish.artifacts import tell_tokenizer
from stillhouse.finish.bottling import fill
from stillhouse.finish.gates import Gate, refused
from stillhouse.finish.judgement import ARTIFACTS, GATES, Judgement, read_judgement
from stillhouse.finish.label_tasks import benchmarks_of
from stillhouse.finish.provenance.bom import Fairness
from stillhouse.finish.provenance.eval_results import Benchmark
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.model import Recipe
from stillhouse.store import reached, read_sealed
from stillhouse.workplace import FOLDERS, Places, Progress, StageResult

VERSION = 5
LIBRARIES = ()


def check(recipe: Recipe, cache: Path, base: Path) -> list[Problem]:
    """Nothing can be said of this step before the work."""
    return []


def run(recipe: Recipe, places: Places, progress: Progress) -> StageResult:
    """Run the step into ``places.draft``."""
    judged = read_judgement(places.sealed("judge"))
    _refuse(judged.gates, recipe)
    bottle = places.draft / "bottle"
    shutil.rmtree(bottle, ignore_errors=True)
    _copy(places.sealed("judge") / ARTIFACTS, bottle, judged.shipped["file"])
    if longest := judged.shipped.get("max_length"):  # so that whoever opens it cuts a text where it was measured
        tell_tokenizer(bottle, model_max_length=longest)
    lifted = {one.gate: one.because for one in recipe.finish.despite}
    despite = [
        {"gate": gate.name, "words": gate.words, "because": lifted[gate.name]}
        for gate in _stopping(judged.gates, recipe)
        if gate.name in lifted
    ]
    own, card = _of_task(recipe, judged)
    fill(
        recipe,
        places,
        bottle,
        summary=dict(judged.summary),
        shipped=dict(judged.shipped),
        warnings=[*_of_gates(judged.gates, recipe), *judged.warnings],
        own=own,
        card=card,
        gates=[asdict(gate) for gate in judged.gates],
        audit=[asdict(finding) for finding in judged.findings],
        despite=despite,
        rows=[asdict(row) for row in judged.rows],
        fairness=[Fairness(one.about, one.words) for one in judged.findings if one.status == "failed"],
        benchmarks=_benchmarks(recipe, judged),
    )
    reached("bottle-written")
    manifest = read_sealed(places.run, FOLDERS["judge"], verify=False)
    kept = manifest.summary["kept"] if manifest else 0
    return StageResult({"rows_in": kept, "kept": kept, "cut": 0, "failed": 0, "despite": despite})


def _stopping(gates: Sequence[Gate], recipe: Recipe) -> list[Gate]:
    return refused(gates, required=recipe.finish.gates.required, strict=recipe.finish.gates.strict)


def _refuse(gates: Sequence[Gate], recipe: Recipe) -> None:
    """Raise one :class:`StillhouseError` with every gate that stops the bottling and that nobody answers for."""
    answered = {one.gate for one in recipe.finish.despite}
    problems = [
        Problem(
            f"gate `{gate.name}` {gate.status}: {gate.words}",
            f"{FOLDERS['judge']}/{GATES}",
            f"{gate.advice}; or bottle it all the same, which the label will say: "
            f'`--despite {gate.name} --because "…"`',
        )
        for gate in _stopping(gates, recipe)
        if gate.name not in answered
    ]
    if problems:
        raise StillhouseError.several(problems)


def _copy(artifacts: Path, bottle: Path, shipped: str) -> None:
    """All of it, but where a graph ships, of the graphs only that one."""
    graphs = Path(shipped).parts[0]
    shutil.copytree(artifacts, bottle, ignore=shutil.ignore_patterns(graphs) if graphs == "onnx" else None)
    target = bottle / shipped
    if target.exists():  # the weights of a model that writes came with the rest
        return
    target.parent.mkdir(exist_ok=True)
    for path in (artifacts / shipped).parent.glob(f"{target.name}*"):  # large weights lie beside their graph
        shutil.copyfile(path, target.parent / path.name)


def _of_gates(gates: Sequence[Gate], recipe: Recipe) -> list[str]:
    """What a user must know of gates that stopped nothing and did not pass; those answered for have their own place."""
    answered = {one.gate for one in recipe.finish.despite} & {gate.name for gate in _stopping(gates, recipe)}
    return [
        f"{gate.status}, {gate.name}: {gate.words}"
        for gate in gates
        if gate.status in ("failed", "not certified") and gate.name not in answered
    ]


def _benchmarks(recipe: Recipe, judged: Judgement) -> list[Benchmark]:
    """What `.eval_results/` tells: figures of tasks of which the recipe says that they are benchmarks of the hub."""
    harness = recipe.finish.evaluate.harness if isinstance(recipe, Generation) else None
    return benchmarks_of(harness.benchmarks, judged.summary["harness"]) if harness else []


def _of_task(recipe: Recipe, judged: Judgement) -> tuple[Any, Any]:
    """What the task's own module adds to label and card."""
    if isinstance(recipe, Generation):
        samples = judged.samples[: recipe.finish.evaluate.samples]
        return partial(label_generation.own_fields, recipe, samples), label_generation.card_parts
    assert isinstance(recipe, Classification)  # noqa: S101 - there is no other task
    return partial(label_classification.own_fields, recipe, judged.summary["abstain"]), label_classification.card_parts
