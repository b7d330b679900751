"""Executes a plan: skips what is sealed, runs what is not, seals each step, writes the ledger.

finished = run(recipe, base=Path("recipes"))
print(finished.evaluation["summary"]["retention"])
"""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stillhouse.addresses import resolve
from stillhouse.errors import StillhouseError
from stillhouse.ledger import Ledger
from stillhouse.plan import Plan, PlannedStep, addresses_of, make_plan, stage_module, step_names
from stillhouse.recipe.fields import Step
from stillhouse.recipe.model import Recipe
from stillhouse.rights import as_row
from stillhouse.sealed import sealed_steps
from stillhouse.store import finish_seal, open_draft, producer, seal, write_atomically
from stillhouse.workplace import FOLDERS, Places, Progress, silent


@dataclass(frozen=True)
class Finished:
    """A finished run: its folder, which steps ran and which were skipped."""

    folder: Path
    ran: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def bottle(self) -> Path:
        """The folder that is shipped."""
        return self.folder / FOLDERS["finish"] / "bottle"

    @property
    def evaluation(self) -> dict[str, Any]:
        """The rows and the summary of ``evaluation.json``."""
        loaded: dict[str, Any] = json.loads((self.folder / FOLDERS["judge"] / "evaluation.json").read_text("utf-8"))
        return loaded

    @property
    def gates(self) -> list[dict[str, Any]]:
        """What was decided before the bottling."""
        loaded = json.loads((self.folder / FOLDERS["judge"] / "gates.json").read_text("utf-8"))
        return list(loaded["gates"])

    @property
    def label(self) -> dict[str, Any]:
        """The bottle's label."""
        loaded: dict[str, Any] = json.loads((self.bottle / "label.json").read_text("utf-8"))
        return loaded


def run(
    recipe: Recipe,
    *,
    base: Path | str,
    progress: Progress = silent,
    on_step: Callable[[PlannedStep], None] | None = None,
    until: Step | None = None,
) -> Finished:
    """Run a recipe to its bottle, or raise one :class:`StillhouseError` before anything expensive starts.

    until: the last step to run, for whoever wants to look before going on.
    """
    base = Path(base)
    plan = make_plan(recipe, base=base)
    plan.raise_problems()
    with _disk_errors(plan.run_folder), _one_at_a_time(plan.run_folder):
        for name in step_names(recipe):
            finish_seal(plan.run_folder, FOLDERS[name])
        fetch(recipe, base, progress)
        plan = make_plan(recipe, base=base)
        plan.raise_problems()
        ledger = Ledger(plan.run_folder / "ledger.jsonl", uuid.uuid4().hex[:12])
        _begin(plan, ledger)
        ran: list[str] = []
        skipped: list[str] = []
        done: dict[str, str | None] = {}
        for name in step_names(recipe):
            now = make_plan(recipe, base=base) if ran else plan
            _refuse_changed(now, done)
            step = now.step(name)
            done[name] = step.fingerprint
            if on_step:
                on_step(step)
            if step.cached:
                skipped.append(name)
                ledger.append("step-skipped", step=name, fingerprint=step.fingerprint)
                if name == until:
                    break
                continue
            _run_step(plan, step, ledger, progress)
            ran.append(name)
            if name == until:
                break
        ledger.append("run-finished", ran=ran, skipped=skipped)
    return Finished(plan.run_folder, tuple(ran), tuple(skipped))


def _refuse_changed(now: Plan, done: dict[str, str | None]) -> None:
    """Refuse to go on from a step over files that have changed since: what is sealed would be said to come of them."""
    changed = [name for name, fingerprint in done.items() if now.step(name).fingerprint != fingerprint]
    if changed:
        raise StillhouseError(
            f"what step {changed[0]} read has changed while the run went on: {now.step(changed[0]).why}",
            where=str(now.run_folder),
            fix="run again; what still fits is kept",
        )


def _run_step(plan: Plan, step: PlannedStep, ledger: Ledger, progress: Progress) -> None:
    assert step.fingerprint is not None  # noqa: S101 - everything has been fetched
    recipe, folder = plan.recipe, FOLDERS[step.name]
    started = time.monotonic()
    ledger.append("step-started", step=step.name, fingerprint=step.fingerprint, why=step.why)
    draft = open_draft(plan.run_folder, folder, step.fingerprint)
    places = Places(
        run=plan.run_folder,
        draft=draft,
        cache=Path(recipe.paths.cache),
        answers=Path(recipe.paths.answers),
        base=plan.base,
    )
    try:
        result = stage_module(recipe.task, step.name).run(recipe, places, progress)
    except StillhouseError as error:
        ledger.append("step-refused", step=step.name, problems=[str(problem) for problem in error.problems])
        if step.name == "finish":
            _set_aside(plan.run_folder / folder)
        raise
    seal(plan.run_folder, folder, step.fingerprint, step.ingredients, result.summary, ledger.run_id)
    ledger.append(
        "step-sealed",
        step=step.name,
        fingerprint=step.fingerprint,
        seconds=round(time.monotonic() - started, 3),
        rows={key: result.summary[key] for key in ("rows_in", "kept", "cut", "failed")},
        **result.facts,
    )


def _set_aside(bottled: Path) -> None:
    """A bottle of an earlier state must not lie where that of the refused one is looked for; it is kept beside it."""
    if bottled.exists():
        kept = bottled.with_name(f"{bottled.name}-superseded")
        shutil.rmtree(kept, ignore_errors=True)
        bottled.rename(kept)


def _begin(plan: Plan, ledger: Ledger) -> None:
    """Keep the recipe as given and as filled in, where its relative addresses start, and the rights verdicts."""
    write_atomically(plan.run_folder / "recipe.base", str(plan.base.resolve()).encode("utf-8"))
    given = plan.recipe.model_dump(mode="json", exclude_unset=True)
    filled = plan.recipe.model_dump(mode="json")
    for name, value in (("recipe.yaml", given), ("recipe.lock.yaml", filled)):
        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        write_atomically(plan.run_folder / name, text.encode("utf-8"))
    ledger.append(
        "run-started",
        producer=producer(),
        steps={step.name: step.fingerprint for step in plan.steps},
        terms_table=plan.rights.table.digest if plan.rights else None,
        rights=[as_row(judgement) for judgement in plan.rights.judgements] if plan.rights else [],
        statement=plan.recipe.rights.model_dump(mode="json")["statement"],
    )


def fetch(recipe: Recipe, base: Path, progress: Progress) -> None:
    """Bring everything that the recipe addresses, data first: it is the smallest and fails most often."""
    for address in dict.fromkeys(addresses_of(recipe).values()):
        resolve(
            address,
            cache=Path(recipe.paths.cache),
            base=base,
            anew=True,
            progress=lambda what, done, total: progress(f"fetching {what}", done, total or 0),
        )


@contextmanager
def _one_at_a_time(run_folder: Path) -> Iterator[None]:
    run_folder.mkdir(parents=True, exist_ok=True)
    with (run_folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StillhouseError(
                "another process is working on this run",
                where=str(run_folder),
                fix="wait for it, or give the recipe another `name`",
            ) from error
        yield


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOENT, errno.ENOTDIR)


@contextmanager
def _disk_errors(run_folder: Path) -> Iterator[None]:
    """Turn what a disk refuses into an error that the user can mend."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _no_space(run_folder, str(error)) from error
    except OSError as error:
        if error.errno in _FULL:
            raise _no_space(run_folder, str(error.strerror)) from error
        if error.errno in _REFUSED:
            raise StillhouseError(
                f"cannot write {error.filename or run_folder}: {error.strerror}",
                where=str(run_folder),
                fix="choose a folder of your own in `paths`",
            ) from error
        raise


def _no_space(run_folder: Path, why: str) -> StillhouseError:
    return StillhouseError(
        f"could not write to the disk ({why}): is it full? What was done so far is kept",
        where=str(run_folder),
        fix="free some space, or move `paths`, and run again: it goes on where it stopped",
    )


def stage_summaries(run_folder: Path) -> dict[str, dict[str, Any]]:
    """What each sealed stage of a run says of itself, by folder; those that belong together, and raises when there is
    none."""
    return sealed_steps(run_folder).summaries
