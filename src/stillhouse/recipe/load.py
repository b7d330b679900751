"""Reading a recipe: YAML with line numbers, ``--set`` overrides, and every error at once.

recipe = load_recipe(Path("recipe.yaml"), ["distill.train.epochs=2"])
recipe = parse_recipe(mapping)
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from stillhouse.errors import Problem, StillhouseError
from stillhouse.recipe.classification import Classification
from stillhouse.recipe.fields import models_in
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.model import Recipe

Path_ = tuple[str | int, ...]

TASKS: dict[str, type[Recipe]] = {"text-classification": Classification, "text-generation": Generation}


def load_recipe(path: Path | str, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe file; raises one :class:`StillhouseError` that lists every fault with its line."""
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as error:
        raise StillhouseError(
            "the recipe file does not exist", where=str(path), fix="check the path, or run `stillhouse new`"
        ) from error
    except (UnicodeDecodeError, IsADirectoryError, PermissionError) as error:
        raise StillhouseError(
            f"the recipe cannot be read: {error}", where=str(path), fix="give a UTF-8 YAML file"
        ) from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise StillhouseError(f"not valid YAML: {what}", where=f"{path}{line}", fix="mend the line") from error
    lines: dict[Path_, int] = {}
    if node is not None:
        _index(node, (), lines, str(path))
    return parse_recipe(data, overrides, file=str(path), lines=lines)


def parse_recipe(
    data: object,
    overrides: Sequence[str] = (),
    *,
    file: str = "recipe",
    lines: Mapping[Path_, int] | None = None,
) -> Recipe:
    """Check a recipe given as a mapping. ``lines`` maps key paths to line numbers of ``file``."""
    if not isinstance(data, dict):
        raise StillhouseError(
            "a recipe is a mapping of keys to values",
            where=file,
            fix="see `stillhouse new` for one to start from",
        )
    for override in overrides:
        data = _override(data, override)
    task = data.get("task", "text-classification")
    if not isinstance(task, str) or task not in TASKS:
        line = (lines or {}).get(("task",))
        raise StillhouseError(
            f"there is no task {task!r}",
            where=f"{file}:{line}  task" if line else f"{file}  task",
            fix=f"use one of {', '.join(TASKS)}",
        )
    kind = TASKS[task]
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        places = _Places(file, lines or {}, [_keys(override.partition("=")[0]) for override in overrides])
        found = [dict(item) for item in error.errors(include_url=False)]
        raise StillhouseError.several(
            [_problem(one, places, kind) for one in found if not _follows(one, found)]
        ) from error


def despite_override(recipe: Recipe, gates: Sequence[str], reasons: Sequence[str]) -> list[str]:
    """`--despite` and `--because` as an override of `finish.despite`; none where neither was given.

    What the recipe itself says of other gates stays.
    """
    if len(gates) != len(reasons):
        raise StillhouseError(
            f"{len(gates)} gates and {len(reasons)} reasons: each `--despite` needs a `--because`",
            where="command line",
            fix='write --despite retention --because "why it is right to ship"',
        )
    if not gates:
        return []
    said = {one.gate: one.because for one in recipe.finish.despite} | dict(zip(gates, reasons, strict=True))
    return [f"finish.despite={json.dumps([{'gate': gate, 'because': because} for gate, because in said.items()])}"]


def _index(node: yaml.Node, path: Path_, lines: dict[Path_, int], file: str) -> None:
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise StillhouseError(
                    f"the key `{key.value}` stands twice",
                    where=f"{file}:{key.start_mark.line + 1}",
                    fix="keep one of them",
                )
            seen.add(key.value)
            _index(value, (*path, key.value), lines, file)
            lines[(*path, key.value)] = key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _index(value, (*path, index), lines, file)


def _override(data: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise StillhouseError(
            f"`{override}` is not key=value",
            where="--set",
            fix="write for example --set distill.train.epochs=2",
        )
    quoted = f"put it in quotation marks of its own: '{key}={json.dumps(text, ensure_ascii=False)}'"
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise StillhouseError(f"the value of `{key}` is not valid YAML", where="--set", fix=quoted) from error
    if isinstance(value, dict) and not text.lstrip().startswith("{"):  # a text with a colon, which YAML takes for a key
        raise StillhouseError(f"the value of `{key}` is a mapping to YAML, by its colon", where="--set", fix=quoted)
    changed: dict[str, Any] = _put(data, key.split("."), value, key)
    return changed


def _put(node: Any, keys: Sequence[str], value: object, whole: str) -> Any:
    if not keys:
        return value
    head, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not head.isdigit() or int(head) >= len(node):
            raise StillhouseError(
                f"`{whole}`: {head!r} is not a position in a list of {len(node)}",
                where="--set",
                fix=f"use a number from 0 to {len(node) - 1}",
            )
        return [_put(item, rest, value, whole) if index == int(head) else item for index, item in enumerate(node)]
    base = node if isinstance(node, dict) else {}
    return {**base, head: _put(base.get(head), rest, value, whole)}


def _keys(dotted: str) -> Path_:
    return tuple(int(key) if key.isdigit() else key for key in dotted.split("."))


@dataclass(frozen=True)
class _Places:
    """Where a field was given: on a line of the file, or by ``--set``."""

    file: str
    lines: Mapping[Path_, int]
    overridden: Sequence[Path_]

    def of(self, path: Path_) -> str:
        dotted = ".".join(str(part) for part in path)
        if any(
            path[: len(one)] == one or (path == one[: len(path)] and path not in self.lines) for one in self.overridden
        ):
            return f"--set {dotted}"
        line = next((self.lines[path[:cut]] for cut in range(len(path), -1, -1) if path[:cut] in self.lines), None)
        where = f"{self.file}:{line}" if line else self.file
        return f"{where}  {dotted}" if dotted else where


def _follows(error: dict[str, Any], others: Sequence[dict[str, Any]]) -> bool:
    """Whether a list is found too short for no other reason than that some of its items are wrong."""
    at = tuple(error["loc"])
    return error["type"] == "too_short" and any(len(o["loc"]) > len(at) and o["loc"][: len(at)] == at for o in others)


def _problem(error: dict[str, Any], places: _Places, kind: type[Recipe]) -> Problem:
    path = _without_union_tags(tuple(error["loc"]))
    fault, message, given = error["type"], error["msg"].removeprefix("Value error, "), error["input"]
    if fault.startswith("union_tag_"):  # the fault is in the key that tells the kinds apart
        path = (*path, error["ctx"]["discriminator"].strip("'"))
    dotted, where = ".".join(str(part) for part in path), places.of(path)
    if fault == "extra_forbidden":
        siblings = _siblings(path, kind)
        near = difflib.get_close_matches(str(path[-1]), siblings, n=1, cutoff=0.5)
        fix = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(siblings)}"
        return Problem(f"unknown key `{dotted}`", where, fix)
    if fault in ("missing", "union_tag_not_found"):
        return Problem(f"`{dotted}` is missing", where, f"add `{path[-1]}`")
    if fault == "union_tag_invalid":
        kinds = error["ctx"]["expected_tags"].replace("'", "")
        return Problem(f"there is no {path[-1]} {error['ctx']['tag']!r} here", where, f"use one of {kinds}")
    if fault == "tuple_type":
        return Problem(f"`{dotted}` is a list (given: {given!r:.80})", where, "put it in brackets, with commas: [a, b]")
    if fault == "string_type" and isinstance(given, bool | int | float):
        asked = "yes, no, on and off are truth values to YAML" if isinstance(given, bool) else "it is a number to YAML"
        return Problem(f"`{dotted}` is a text (given: {given!r})", where, f"put it in quotation marks: {asked}")
    if fault == "string_pattern_mismatch" and path[-1] == "key":  # it may be the key itself, which is told to nobody
        fix = "put the key into an environment variable and give that one's name; a key has no place in a recipe"
        return Problem(f"`{dotted}` is no name of an environment variable", where, fix)
    shown = f" (given: {given!r:.80})" if not isinstance(given, dict) else ""
    return Problem(f"{message}{shown}", where, f"change `{dotted}`" if dotted else "change the recipe")


def _without_union_tags(location: Path_) -> Path_:
    """Pydantic puts the chosen kind of a union into the path; the user's file has no such key."""
    tags = {"keep-layers", "from-config", "given", "ask", "local", "api", "here", "ray", "int", "constrained-int"}
    tags |= {"none", "hard", "given", "quantile", "risk", "mixture", "pilot", "mask"}
    return tuple(part for part in location if not (isinstance(part, str) and (part in tags or "[" in part)))


def _siblings(path: Path_, kind: type[Recipe]) -> list[str]:
    models: list[type[BaseModel]] = [kind]
    for part in path[:-1]:
        if isinstance(part, int):
            continue
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in models_in(model.model_fields[part].annotation)
        ]
    return sorted({name for model in models for name in model.model_fields})
