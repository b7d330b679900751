"""The recipe as a stranger may read it: the settings that change a result, and none of the texts.

    public = PublicParameters.of(recipe)
    public.values["distill.train.epochs"], public.withheld

Kept are numbers, switches, and words that the recipe's schema itself offers as choices. Every other text stays where it
is, whatever it says: prompts and examples may quote people, expressions name columns, an endpoint is a host, and a
mistake may have put a key anywhere. Such fields are named as withheld; the digest of the whole recipe stands for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Plain = bool | int | float | str | None


@dataclass(frozen=True)
class PublicParameters:
    """values: by field, in the recipe's order. withheld: fields that are set and not shown."""

    values: dict[str, Plain | list[Plain]]
    withheld: list[str]

    @classmethod
    def of(cls, recipe: BaseModel) -> PublicParameters:
        """Of a recipe, or of any part of it; what it addresses is left out, since its digest is a material."""
        shown: dict[str, Plain | list[Plain]] = {}
        withheld = []
        for path, info, value in _leaves(recipe, ""):
            extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
            if extra.get("class") != "result" or extra.get("address"):
                continue
            choices = _choices(info.annotation)
            values = list(value) if isinstance(value, tuple | list) else [value]
            if all(_tells_nothing(one, choices) for one in values):
                shown[path] = values if isinstance(value, tuple | list) else value
            elif value not in ("", {}, ()):
                withheld.append(path)
        return cls(shown, withheld)


def _leaves(section: BaseModel, path: str) -> Iterator[tuple[str, FieldInfo, Any]]:
    for name, info in type(section).model_fields.items():
        here, value = f"{path}.{name}" if path else name, getattr(section, name)
        inside = value if isinstance(value, tuple) else (value,)
        if any(isinstance(one, BaseModel) for one in inside):
            for place, one in enumerate(inside):
                yield from _leaves(one, here if one is value else f"{here}.{place}")
        else:
            yield here, info, value


def _choices(annotation: object) -> frozenset[str]:
    if get_origin(annotation) is Literal:
        return frozenset(one for one in get_args(annotation) if isinstance(one, str))
    return frozenset[str]().union(*(_choices(part) for part in get_args(annotation)))


def _tells_nothing(value: object, choices: frozenset[str]) -> bool:
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and value in choices)
