"""The plan: each step with its fingerprint, whether it is cached or has to run and why, and what it will take.

plan = make_plan(recipe, base=Path("recipes"))
for step in plan.steps: print(step.name, step.cached, step.why)
plan.raise_problems()
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from stillhouse.addresses import Files, parse, peek
from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.fields import STEPS, Step, values
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.judge import LocalJudge
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.rights import RightsView, view_rights
from stillhouse.recipe.teachers import ApiTeacher, LocalTeacher
from stillhouse.rights import DISCLAIMER, Judgement, Verdict
from stillhouse.store import Manifest, digest_of, flatten, package_version, read_sealed
from stillhouse.workplace import FOLDERS

_SUFFIXES = {"text-classification": "classification", "text-generation": "generation"}
# which sealed steps each step reads; gold labels ask for no teacher, and a student without one starts as the other did
_INPUTS: dict[Step, tuple[Step, ...]] = {
    "raw": (),
    "ferment": ("raw",),
    "scores": ("raw", "ferment"),
    "cuts": ("raw", "ferment", "scores"),
    "distill": ("raw", "ferment", "cuts"),
    "controls": ("raw",),
    "judge": ("raw", "ferment", "distill", "controls"),
    "finish": ("raw", "ferment", "cuts", "distill", "judge"),
}
# steps that lie in the folder of another
_FOLDERS_OF_STEPS: dict[Step, Step] = {"scores": "distill", "cuts": "distill", "controls": "distill", "judge": "finish"}
_INPUTS_OF_CONTROLS: dict[str, tuple[Step, ...]] = {"text-generation": ("raw", "ferment", "cuts", "distill")}


def stage_module(task: str, step: Step) -> Any:
    """The module whose ``run`` is this step of a task; it also names its version and libraries, and ``check``s."""
    if step in ("raw", "finish"):  # the same for every task
        return import_module(f"stillhouse.{step}.stage")
    folder = _FOLDERS_OF_STEPS.get(step, step)
    name = "stage" if folder == step else step
    return import_module(f"stillhouse.{folder}.{name}_{_SUFFIXES[task]}")


@dataclass(frozen=True)
class PlannedStep:
    """One step. fingerprint is ``None`` while something it depends on has still to be fetched."""

    name: Step
    fingerprint: str | None
    ingredients: dict[str, Any]
    cached: Manifest | None
    why: str
    estimate: str


@dataclass(frozen=True)
class Plan:
    """All steps of a recipe, its rights, and every problem found without running anything.

    rights: ``None`` where the recipe has other problems that come first. notes: what stops nothing and should be known.
    """

    recipe: Recipe
    base: Path
    run_folder: Path
    steps: tuple[PlannedStep, ...]
    rights: RightsView | None
    problems: tuple[Problem, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())

    def step(self, name: str) -> PlannedStep:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def raise_problems(self) -> None:
        """Raise one :class:`StillhouseError` with every problem, if there are any."""
        if self.problems:
            raise StillhouseError.several(list(self.problems))


def make_plan(recipe: Recipe, *, base: Path) -> Plan:
    """Plan a recipe; ``base`` is the folder that relative data and model paths start from. Fetches nothing."""
    run_folder = Path(recipe.paths.runs) / recipe.name
    cache = Path(recipe.paths.cache)
    problems: list[Problem] = []
    notes: list[str] = []
    files: dict[str, Files | None] = {}
    for path, address in addresses_of(recipe).items():
        try:
            parse(address)
            files[path] = peek(address, cache=cache, base=base)
        except StillhouseError as error:
            problems += [Problem(p.what, f"{path}: {p.where}", p.fix) for p in error.problems]
            files[path] = None
    rights = None
    if not problems:
        try:
            rights = view_rights(recipe, cache=cache, base=base)
            problems += [_rights_problem(judgement) for judgement in rights.refused]
            problems += rights.unmet
        except StillhouseError as error:  # the user's own terms file
            problems += error.problems
        for name in step_names(recipe):
            module = stage_module(recipe.task, name)
            problems += module.check(recipe, cache, base)
            if not problems and hasattr(module, "notes"):
                notes += module.notes(recipe, cache, base)
        problems += _missing_libraries(recipe)
    steps = _steps(recipe, run_folder, files, rights)
    return Plan(recipe, base, run_folder, tuple(steps), rights, tuple(problems), tuple(notes))


def addresses_of(recipe: Recipe) -> dict[str, str]:
    """Everything that the recipe addresses, by field."""
    return {path: value for path, leaf, value in values(recipe) if leaf.address and value is not None}


def step_names(recipe: Recipe) -> list[Step]:
    """The steps that a recipe has, in order."""
    absent: set[Step] = set()
    if not recipe.compares:
        absent.add("controls")
    if not recipe.scores:
        absent |= {"scores", "cuts"}
    return [step for step in STEPS if step not in absent]


def _steps(
    recipe: Recipe, run_folder: Path, files: dict[str, Files | None], rights: RightsView | None
) -> list[PlannedStep]:
    planned: dict[Step, PlannedStep] = {}
    for name in step_names(recipe):
        ingredients = _ingredients(recipe, name, files) | _rights_ingredients(recipe, name, files, rights)
        inputs = _INPUTS_OF_CONTROLS.get(recipe.task, _INPUTS[name]) if name == "controls" else _INPUTS[name]
        upstream = {other: planned[other].fingerprint for other in inputs if other in planned}
        unknown = [path for path, value in ingredients.items() if value is None and path.endswith("@digest")]
        ingredients |= {f"{other}@fingerprint": value for other, value in upstream.items()}
        fingerprint = None if unknown or None in upstream.values() else digest_of(ingredients)
        sealed = read_sealed(run_folder, FOLDERS[name])
        cached = sealed if sealed and fingerprint == sealed.fingerprint else None
        why = (
            "sealed, and nothing that changes its result has changed" if cached else _why(sealed, ingredients, unknown)
        )
        planned[name] = PlannedStep(name, fingerprint, ingredients, cached, why, _estimate(recipe, name))
    return list(planned.values())


def _ingredients(recipe: Recipe, step: Step, files: dict[str, Files | None]) -> dict[str, Any]:
    """Everything that changes the result of ``step``, by name."""
    module = stage_module(recipe.task, step)
    found: dict[str, Any] = {"stage": step, "stage version": module.VERSION}
    for library in module.LIBRARIES:
        found[f"{library} version"] = package_version(library)
    sections = {step, "distill"} if step == "controls" else {step}
    reads = module.reads(recipe) if hasattr(module, "reads") else getattr(module, "READS", ())  # of other sections
    for path, leaf, value in values(recipe):
        if leaf.kind != "result" or (leaf.enters not in sections and path not in reads):
            continue
        if path in files:
            here = files[path]
            found[f"{path}@digest"] = here.digest if here else None
        else:
            found |= flatten(value, path)
    if step == "raw" and any(source.html for source in recipe.raw.sources):
        found["trafilatura version"] = package_version("trafilatura")
    if step == "judge" and isinstance(recipe, Generation) and recipe.finish.evaluate.harness:
        found["lm_eval version"] = package_version("lm_eval")
    if step == "ferment":
        for teacher in recipe.ferment.teachers:
            found[f"precision chosen for {teacher.name}"] = _chosen_precision(teacher)
    if step == "judge" and isinstance(recipe, Generation) and isinstance(recipe.finish.evaluate.judge, LocalJudge):
        found["precision chosen for the judge"] = _chosen_precision(recipe.finish.evaluate.judge)
    return found


def _rights_ingredients(
    recipe: Recipe, step: Step, files: dict[str, Files | None], rights: RightsView | None
) -> dict[str, Any]:
    """The terms table enters where verdicts do: in the label, and in stage 1 where rows have licenses of their own."""
    found: dict[str, Any] = {}
    by_row = any(source.columns.license for source in recipe.raw.sources)
    if step == "finish" or (step == "raw" and by_row):
        found["rights terms table"] = rights.table.digest if rights else ""
    if step == "raw" and by_row:
        for path, _, value in values(recipe.rights, "rights", "finish"):
            here = files.get(path)
            found |= {f"{path}@digest": here.digest} if here else flatten(value, path)
    return found


def _chosen_precision(section: LocalTeacher | ApiTeacher | LocalJudge) -> str:
    """`auto` resolves to what this machine has, and that changes the answers."""
    if isinstance(section, ApiTeacher):
        return "the endpoint's"
    if section.precision != "auto":
        return section.precision
    if package_version("torch") == "absent":
        return "unknown: torch is not installed"
    from stillhouse.device import place

    return place(section.device, "auto").dtype


def _why(sealed: Manifest | None, ingredients: dict[str, Any], unknown: list[str]) -> str:
    if sealed is None:
        return "it has not been run, or its folder was changed"
    if unknown:
        return f"{unknown[0].removesuffix('@digest')} has still to be fetched"
    before = sealed.ingredients
    changed = [
        name
        for name in sorted(set(before) | set(ingredients))
        if before.get(name, _ABSENT) != ingredients.get(name, _ABSENT)
    ]
    own = [name for name in changed if not name.endswith("@fingerprint")]
    names = own or [f"step {name.removesuffix('@fingerprint')}" for name in changed]
    shown = ", ".join(f"`{name.removesuffix('@digest')}`" for name in names[:3])
    return f"{shown}{' and others' if len(names) > 3 else ''} changed"


_ABSENT = object()


def _estimate(recipe: Recipe, step: Step) -> str:
    """Rough rows, bytes and seconds, from the recipe alone; two CPU cores are assumed."""
    split = recipe.raw.split
    train = split.train
    documents = split.test + split.validation + (train or 0)
    rows = f"{documents:,} documents{' and those to train on' if train is None else ''}"
    match step:
        case "raw":
            return f"{rows}, seconds"
        case "ferment":
            return rows
        case "distill":
            if not isinstance(recipe, Classification):
                return "see its progress"
            seconds = (train or documents) * recipe.distill.train.epochs / 80
            return f"about {seconds / 60:.0f}-{2 * seconds / 60 + 1:.0f} min"
        case "scores":
            if not isinstance(recipe, Classification):
                return "a pass or two of a small model: see its progress" if _reads(recipe) else f"{rows}, seconds"
            return f"{rows}, about {(train or documents) / 150 / 60:.0f}-{(train or documents) / 60 / 60 + 1:.0f} min"
        case "cuts":
            proxy = recipe.distill.cuts.proxy if isinstance(recipe, Generation) and recipe.distill.cuts else None
            return "seconds" if proxy is None else f"at most {proxy.budget:g} times the student's training, for proxies"
        case "controls":
            return "about as long as distill, for each control"
        case "judge":
            return "minutes: every artifact is asked about every test document, and timed"
        case "finish":
            return "seconds"


def _reads(recipe: Recipe) -> bool:
    """Whether a model has to read the answers before they are cut."""
    return isinstance(recipe, Generation) and recipe.distill.cuts is not None and recipe.distill.cuts.needs_reader


def _missing_libraries(recipe: Recipe) -> list[Problem]:
    extras = {"torch": "ferment", "transformers": "ferment", "onnxruntime": "finish", "sklearn": "finish"}
    if any(isinstance(teacher, ApiTeacher) for teacher in recipe.ferment.teachers):
        extras["httpx2"] = "api"
    if any(source.html for source in recipe.raw.sources):
        extras["trafilatura"] = "html"
    if isinstance(recipe, Generation) and recipe.finish.gguf.kinds:
        extras |= {"gguf": "finish", "xllamacpp": "finish"}
    if isinstance(recipe, Generation) and recipe.finish.evaluate.harness:
        extras["lm_eval"] = "eval"
    if isinstance(recipe, Generation) and recipe.finish.onnx.kinds:
        extras |= {"onnx": "finish", "onnxscript": "finish"}
    if recipe.raw.engine.kind == "ray":
        extras["ray"] = "ray"
    packages = {"sklearn": "scikit-learn"}
    return [
        Problem(
            f"{packages.get(name, name)} is not installed",
            "this Python",
            f"pip install 'stillhouse[{extra}]'",
        )
        for name, extra in extras.items()
        if package_version(packages.get(name, name)) == "absent"
    ]


def _rights_problem(judgement: Judgement) -> Problem:
    subject = judgement.subject
    what = f"no right to use the {subject.role} `{subject.name}`: {judgement.verdict.words}: {judgement.reason}"
    fix = (
        f"state who answers for it: `rights.statement` with `covers: [{subject.name}]`; or give its `license`, or its "
        f"`owner` where it is your own. {DISCLAIMER}"
    )
    if judgement.verdict is Verdict.FORBID:
        fix = f"use another {subject.role}, or see `stillhouse rights` for what would change it. {DISCLAIMER}"
    return Problem(what, subject.address, fix)
