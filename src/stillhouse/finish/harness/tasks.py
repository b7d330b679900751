"""Which tasks of lm-evaluation-harness a recipe means: found by name, looked at without running them, and loaded.

    listing = look(("arc_easy", "our_sky"), Path("our_tasks"))
    listing.problems, listing.fetching          # what cannot be asked here; which data sets would be fetched
    tasks = load(listing, folder=Path("cache/harness"))     # {"arc_easy": {"arc_easy": …}, "our_sky": …}, with data

Names are those of tasks, groups and tags, of the harness itself or of YAML files below a folder of the user's; the
latter win. Relative ``data_files`` start at the YAML file that names them. Looking reads YAML only. Loading runs the
Python functions that a task names with ``!function``, from the folder that the recipe names; code from a hub is never
run: data sets that need any, and metrics of the ``evaluate`` library, are refused.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from stillhouse.errors import Problem, StillhouseError, first_line

WHERE = "finish.evaluate.harness.tasks"
OutputType = Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"]
# readers of `datasets` that take files
_BUILDERS = frozenset({"json", "csv", "parquet", "text", "arrow", "pandas", "xml"})
_SETTINGS = frozenset({"until", "do_sample", "temperature", "top_p", "max_gen_toks", "max_new_tokens"})


@dataclass(frozen=True)
class Leaf:
    """One task. config: as its YAML says, functions unread. fetches: the data set that it would fetch, if any; of one
    whose own code gets its data that is not known, and ``code`` says so."""

    name: str
    config: Mapping[str, Any]
    fetches: str | None
    code: bool

    @property
    def metrics(self) -> set[str] | None:
        """Names of its figures, where its file lists them; ``None`` where code of its own decides, or a default."""
        listed = self.config.get("metric_list")
        if not listed or self.config.get("process_results") is not None:
            return None
        names = [one.get("metric") for one in listed]
        return set(names) if all(isinstance(name, str) and "/" not in name for name in names) else None


@dataclass(frozen=True)
class Listing:
    """leaves: by the name in the recipe, the tasks that it stands for. found: the harness' own index of names."""

    leaves: Mapping[str, tuple[Leaf, ...]]
    problems: tuple[Problem, ...]
    include: Path | None
    found: Any = field(repr=False, default=None)

    @property
    def data(self) -> dict[str, str]:
        """By task, what its data are fetched from, where they are."""
        return {leaf.name: leaf.fetches for leaves in self.leaves.values() for leaf in leaves if leaf.fetches}

    @property
    def fetching(self) -> tuple[str, ...]:
        """Names of what would be fetched, or might be: by code of a task that gets its own data."""
        own = [f"whatever {leaf.name!r} asks for" for leaves in self.leaves.values() for leaf in leaves if leaf.code]
        return tuple(dict.fromkeys([*self.data.values(), *own]))


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep bars and remarks of the harness and of ``datasets`` from the terminal, and its code from leaving bytecode
    beside the tasks, whose folder has a digest."""
    import datasets
    import lm_eval.api.task

    loggers = [logging.getLogger(name) for name in ("lm_eval", "datasets")]
    levels, bytecode = [one.level for one in loggers], sys.dont_write_bytecode
    bars = datasets.utils.are_progress_bars_disabled()
    for one in loggers:
        one.setLevel(logging.CRITICAL)
    datasets.disable_progress_bars()
    bar, lm_eval.api.task.tqdm = lm_eval.api.task.tqdm, lambda rows, **_: rows
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        lm_eval.api.task.tqdm = bar
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
        sys.dont_write_bytecode = bytecode
        if not bars:
            datasets.enable_progress_bars()


def look(names: tuple[str, ...], include: Path | None) -> Listing:
    """Find the tasks, and what stands against asking them. Nothing is fetched, and no code of a task is run."""
    from lm_eval.tasks import TaskManager

    problems = [] if include is None else _unreadable(include)
    with silenced():
        manager = TaskManager(include_defaults=False, include_path=str(include) if include else None)
        index = manager.task_index
        if any(name not in index for name in _meant(names, index)):
            index |= {name: entry for name, entry in _of_harness().items() if name not in index}
    leaves: dict[str, tuple[Leaf, ...]] = {}
    for name in dict.fromkeys(names):
        if name not in index:
            near = get_close_matches(name, index, n=3)
            problems.append(
                Problem(
                    f"there is no task {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""),
                    WHERE,
                    "see `python -m lm_eval ls tasks`, or name the folder of your own with `include`",
                )
            )
            continue
        leaves[name] = tuple(_leaves(name, index, {}))
        problems += [one for leaf in leaves[name] for one in _against(leaf)]
        if not leaves[name]:
            problems.append(Problem(f"{name!r} stands for no task at all", WHERE, "name its tasks one by one"))
    owners: dict[str, str] = {}
    for name, members in leaves.items():
        for leaf in members:
            if owners.setdefault(leaf.name, name) != name:
                problems.append(
                    Problem(f"{leaf.name!r} is in {owners[leaf.name]!r} and in {name!r}", WHERE, "name it once")
                )
    return Listing(leaves, tuple(dict.fromkeys(problems)), include, manager)


def load(listing: Listing, *, folder: Path) -> dict[str, dict[str, Any]]:
    """For each name of the recipe its tasks (``lm_eval.api.task.Task``) by their own, with their data, which are kept
    below ``folder``.

    Raises :class:`StillhouseError` for a task that cannot be made, such as one whose data cannot be had.
    """
    if listing.problems:
        raise StillhouseError.several(list(listing.problems))
    manager = listing.found
    found: dict[str, dict[str, Any]] = {}
    for name, leaves in listing.leaves.items():
        with silenced(), seeded():  # a task may shuffle its options as it is made
            try:
                for leaf in leaves:
                    _prepare(manager.task_index, leaf.name, folder)
                found[name] = dict(manager.load([name])["tasks"])
            except Exception as error:  # a task is a program that may fail in any way
                raise StillhouseError(
                    f"the task {name!r} cannot be made: {type(error).__name__}: {first_line(error)}",
                    where=WHERE,
                    fix="look at its YAML file and its data; `stillhouse check` says what it would fetch",
                ) from error
    return found


@cache
def _of_harness() -> dict[str, Any]:
    """The harness' own tasks by name: over ten thousand files, read in seconds and once."""
    from lm_eval.tasks import TaskManager

    return dict(TaskManager().task_index)


def _meant(names: tuple[str, ...], index: Mapping[str, Any]) -> set[str]:
    """The names, and those that groups and includes of the user's folder refer to."""
    wanted, seen = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        members = (index[name].cfg or {}).get("task") if name in index else None
        wanted += [one for one in map(_reference, members if isinstance(members, list) else ()) if one]
    return seen


def _reference(member: Any) -> str | None:
    """The name that a member of a group refers to; of a task written out in place, none."""
    if isinstance(member, str):
        return member
    name = member.get("group") or member.get("task")
    return None if "dataset_path" in member or isinstance(member.get("task"), list) else str(name)


def _leaves(name: str, index: Mapping[str, Any], overrides: Mapping[str, Any]) -> Iterator[Leaf]:
    """The tasks that a name stands for, with what the groups above them change."""
    entry = index[name]
    if entry.kind.name == "TAG":
        for one in sorted(entry.tags):
            yield from _leaves(one, index, overrides)
    elif entry.kind.name == "GROUP":
        members = entry.cfg.get("task")
        for member in members if isinstance(members, list) else ():
            changed = {**overrides, **(member if isinstance(member, dict) else {})}
            reference = _reference(member)
            if reference is not None and reference in index:
                yield from _leaves(reference, index, changed)
            elif isinstance(member, dict):
                yield _leaf(f"{name}::{member.get('task')}", changed, None)
    else:
        config = {**entry.cfg, **{key: value for key, value in overrides.items() if key not in ("task", "group")}}
        yield _leaf(name, config, entry)


def _leaf(name: str, config: Mapping[str, Any], entry: Any) -> Leaf:
    own = (entry is not None and entry.kind.name == "PY_TASK") or config.get("custom_dataset") is not None
    return Leaf(name, config, None if own else _fetched(config, entry), own)


def _fetched(config: Mapping[str, Any], entry: Any) -> str | None:
    """The data set of the hub, or the first file of the net; none where all lies here."""
    if not config.get("dataset_path"):
        return None
    path, settings = str(config["dataset_path"]), config.get("dataset_kwargs") or {}
    if path in _BUILDERS:
        listed = _listed(settings.get("data_files"))
        return next((_plain_address(one) for one in listed if "://" in one), None)
    here = [Path(path)] + ([entry.yaml_path.parent / path] if entry is not None and entry.yaml_path else [])
    return None if any(one.is_dir() for one in here) else path


def _plain_address(url: str) -> str:
    """Without user, password and query, which may be secrets; it is told to whoever starts the run."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def _listed(files: Any) -> list[str]:
    if isinstance(files, dict):
        return [one for value in files.values() for one in _listed(value)]
    return [str(one) for one in files] if isinstance(files, list | tuple) else [str(files)] if files else []


def _prepare(index: dict[str, Any], name: str, kept: Path) -> None:
    """Give a task's data their place: found from its YAML file, kept in ``kept``."""
    from lm_eval.tasks._yaml_loader import load_yaml

    entry = index.get(name)
    if entry is None or entry.kind.name != "TASK" or not entry.yaml_path or entry.cfg.get("custom_dataset"):
        return
    config = load_yaml(entry.yaml_path)
    settings = dict(config.get("dataset_kwargs") or {})
    if "data_files" in settings:
        settings["data_files"] = _placed(settings["data_files"], entry.yaml_path.parent)
    config["dataset_kwargs"] = {**settings, "cache_dir": str(kept)}
    folder = entry.yaml_path.parent / str(config.get("dataset_path"))
    if str(config.get("dataset_path")) not in _BUILDERS and folder.is_dir():
        config["dataset_path"] = str(folder)
    index[name] = replace(entry, yaml_path=None, cfg=config)


def _placed(files: Any, folder: Path) -> Any:
    if isinstance(files, dict):
        return {key: _placed(value, folder) for key, value in files.items()}
    if isinstance(files, list | tuple):
        return [_placed(one, folder) for one in files]
    beside = folder / str(files)
    return str(files) if "://" in str(files) or not list(folder.glob(str(files))) else str(beside)


def _unreadable(folder: Path) -> list[Problem]:
    """YAML files that the harness would pass over in silence."""
    from lm_eval.tasks._yaml_loader import load_yaml

    found = []
    for path in sorted(folder.rglob("*.yaml")):
        try:
            load_yaml(path, resolve_func=False)
        except Exception as error:  # whatever stands there
            found.append(Problem(f"this is no task: {first_line(error)}", str(path), "mend it, or take it away"))
    return found


def _against(leaf: Leaf) -> list[Problem]:
    """Why a task cannot be asked here."""
    config, why = leaf.config, []
    if config.get("doc_to_image") or config.get("doc_to_audio"):
        why.append("it shows pictures or plays sound, and the student reads text")
    if config.get("unsafe_code"):
        why.append("it runs code that a model wrote")
    why += [
        f"its metric {name!r} is Python code that the `evaluate` library would fetch and run"
        for name in _foreign_metrics(config)
    ]
    settings = config.get("generation_kwargs") or {}
    beams = {"num_beams": 1, "num_return_sequences": 1}
    strange = [key for key, value in settings.items() if key not in _SETTINGS and beams.get(key) != value]
    if config.get("output_type", "generate_until") == "generate_until" and strange:
        why.append(f"it asks for {', '.join(strange)} when it writes, which is not offered here")
    return [Problem(f"the task {leaf.name!r} cannot be asked: {one}", WHERE, "leave it out") for one in why]


def _foreign_metrics(config: Mapping[str, Any]) -> list[str]:
    import lm_eval.api.metrics  # noqa: F401 - fills the registry
    from lm_eval.api.registry import metric_registry

    if config.get("process_results") is not None:
        return []
    return [
        str(one["metric"])
        for one in config.get("metric_list") or ()
        if isinstance(one.get("metric"), str)
        and "/" not in one["metric"]  # a function of the task's own folder
        and (one.get("hf_evaluate") is True or one["metric"] not in metric_registry)
    ]


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """The harness' own seeds for what a task draws; afterwards all goes on as if nothing had been drawn."""
    state, numbers = random.getstate(), np.random.get_state()
    random.seed(0)
    np.random.seed(1234)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numbers)
