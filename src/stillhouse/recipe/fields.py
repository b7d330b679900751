"""Field classes: which recipe fields change a result, and in which stage.

Every leaf of the recipe is declared with :func:`result`, :func:`execution` or :func:`presentation`. Only ``result``
fields enter fingerprints; a field enters the stage of its section unless it names another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

FieldClass = Literal["result", "execution", "presentation"]
Step = Literal["raw", "ferment", "scores", "cuts", "distill", "controls", "judge", "finish"]
STEPS: tuple[Step, ...] = get_args(Step)


class Section(BaseModel):
    """A part of the recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def result(description: str, *, enters: Step | None = None, address: bool = False, **limits: Any) -> Any:
    """A field that changes what comes out. ``enters`` names the stage when it is not the section's own.

    address: it leads to files, which are fetched, and enter a fingerprint by their content.
    """
    extra: dict[str, Any] = {"class": "result", "enters": enters}
    return Field(description=description, json_schema_extra=extra | ({"address": True} if address else {}), **limits)


def execution(description: str, **limits: Any) -> Any:
    """A field that changes how the work is done, not what comes out: it reruns nothing."""
    return Field(description=description, json_schema_extra={"class": "execution"}, **limits)


def presentation(description: str, **limits: Any) -> Any:
    """A field that is only shown: it reruns nothing."""
    return Field(description=description, json_schema_extra={"class": "presentation"}, **limits)


@dataclass(frozen=True)
class Leaf:
    """One recipe field. ``path`` uses ``*`` for list positions, for example ``raw.sources.*.license``."""

    path: str
    kind: FieldClass
    enters: Step
    description: str
    default: object
    address: bool = False


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The recipe sections that an annotation can hold, through unions, lists and ``Annotated``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Literal:
        return []
    return [model for part in get_args(annotation) for model in models_in(part)]


def leaves(model: type[BaseModel], path: str = "", section: Step | None = None) -> list[Leaf]:
    """All fields of the recipe, in order; raises :class:`TypeError` when one has no class."""
    found: dict[str, Leaf] = {}
    for name, info in model.model_fields.items():
        here = f"{path}.{name}" if path else name
        step: Step | None = section or next((step for step in STEPS if step == name), None)
        inner = models_in(info.annotation)
        if inner:
            star = ".*" if get_origin(info.annotation) in (list, tuple) else ""
            for part in inner:
                found |= {leaf.path: leaf for leaf in leaves(part, here + star, step)}
        else:
            found[here] = _leaf(here, info, step)
    return list(found.values())


def _leaf(path: str, info: FieldInfo, section: Step | None) -> Leaf:
    extra = info.json_schema_extra
    if not isinstance(extra, dict) or extra.get("class") not in get_args(FieldClass) or not info.description:
        raise TypeError(f"recipe field {path} has no class or no description")
    enters = extra.get("enters") or section or "raw"
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    return Leaf(path, extra["class"], enters, info.description, default, bool(extra.get("address")))  # type: ignore[arg-type]


def values(section: BaseModel, path: str = "", step: Step | None = None) -> Iterator[tuple[str, Leaf, Any]]:
    """Every leaf of a filled recipe as (path with positions, leaf, JSON value)."""
    for name, info in type(section).model_fields.items():
        here = f"{path}.{name}" if path else name
        value = getattr(section, name)
        inside: Step | None = step or next((known for known in STEPS if known == name), None)
        if isinstance(value, BaseModel):
            yield from values(value, here, inside)
        elif isinstance(value, tuple) and any(isinstance(item, BaseModel) for item in value):
            for index, item in enumerate(value):
                yield from values(item, f"{here}.{index}", inside)
        elif models_in(info.annotation):
            # an optional section that is absent, or an empty list of sections
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            enters: Any = extra.get("enters") or inside or "raw"
            leaf = Leaf(here, "result", enters, info.description or "", None)
            yield here, leaf, [] if value == () else value
        else:
            yield here, _leaf(here, info, inside), section.model_dump(mode="json", include={name})[name]
