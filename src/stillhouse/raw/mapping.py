"""A source's rows as texts with their label, groups and license: the expressions of a recipe, compiled.

mapping = Mapping(SourcePlan(name="movie", text="body", label="stars"), labels=("bad", "good"))
mapping.check_columns(row)                          # refuses a column that the file does not have
mapping(row)                                        # Mapped("A fine film.", "good", …) or Refused("head", …)
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from collections.abc import Sequence
from dataclasses import dataclass, field

from stillhouse.cuts import CutKind
from stillhouse.errors import StillhouseError
from stillhouse.raw.expressions import Expression, ExpressionFailed
from stillhouse.raw.layouts import Layout, NotThisLayout, Part, joined, layout_of, turns_of
from stillhouse.raw.lines import Row


@dataclass(frozen=True)
class SourcePlan:
    """What is known of a source before its first row: expressions by what they give, and how its files are read.

    text: ``None`` takes the layout that the columns tell. key: the recipe key under which the expressions stand.
    earlier: its texts are compared with, and become no documents.
    """

    name: str
    key: str
    text: str | None = None
    label: str | None = None
    license: str | None = None
    where: str | None = None
    groups: AnyMapping[str, str] = field(default_factory=dict)
    html: bool = False
    format: str = "auto"
    fields: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    quoting: bool = True
    earlier: bool = False


@dataclass(frozen=True)
class Mapped:
    """One row's text in its parts, its label, its groups in the order asked for, and the license it states."""

    parts: tuple[Part, ...]
    label: str | None
    groups: tuple[str | None, ...]
    license: str | None

    @property
    def text(self) -> str:
        """All parts as one text."""
        return self.parts[0].text if len(self.parts) == 1 else joined(self.parts)

    @property
    def words(self) -> str:
        """The same without the roles: what is said, for judging it."""
        return "\n".join(part.text for part in self.parts if part.text)


@dataclass(frozen=True)
class Refused:
    """A row that becomes no document: into which cut, and why."""

    cut: CutKind
    reason: str
    detail: str = ""


class Mapping:
    """The expressions of one source, ready for its rows.

    Raises :class:`StillhouseError`, naming the recipe key, for an expression that does not parse.
    """

    def __init__(self, source: SourcePlan, *, groups: Sequence[str] = ()) -> None:
        self.source = source
        self._expressions: dict[str, Expression] = {}
        self._layout: Layout | None = None
        keys = {"text": source.text, "label": source.label, "license": source.license, "where": source.where}
        for name, written in (keys | {f"groups.{group}": written for group, written in source.groups.items()}).items():
            if written is not None:
                self._expressions[name] = Expression(written, where=self._key(name))
        stated = self._expressions.get("license")
        if stated is not None and not stated.names:
            raise StillhouseError(
                "this names no column, so it says the same of every row",
                where=self._key("license"),
                fix="name the column that holds the row's license; for one license of all rows use `license`",
            )
        self._groups = [self._expressions.get(f"groups.{group}") for group in groups]

    def _key(self, name: str) -> str:
        return (
            f"{self.source.key}.{name}"
            if name == "where" or self.source.earlier
            else f"{self.source.key}.columns.{name}"
        )

    def check_columns(self, row: Row) -> None:
        """Refuse a mapping that names columns which the file does not have."""
        for name, expression in self._expressions.items():
            missing = sorted(expression.names - set(row.values))
            if missing:
                raise StillhouseError(
                    f"there is no column {', '.join(map(repr, missing))}; the file has {', '.join(row.values)}",
                    where=f"{self._key(name)}, {row.origin}",
                    fix="name one of the columns that are there",
                )
        if "text" not in self._expressions:
            self._layout_for(row)

    def stated_license(self, row: Row) -> str | None:
        """The license that the row states; ``None`` where it states none, or cannot be computed."""
        expression = self._expressions.get("license")
        if expression is None:
            return None
        try:
            return _stripped(expression(row.values))
        except ExpressionFailed:
            return None

    def __call__(self, row: Row) -> Mapped | Refused:
        """The row's text, label, groups and license, or why it becomes no document."""
        read, values = self._expressions, row.values
        try:
            if "where" in read and not read["where"](values):
                return Refused("tail", "left out by `where`")
            parts = self._parts(row)
            label = read["label"](values) if "label" in read else None
            groups = tuple(None if group is None else _as_text(group(values)) for group in self._groups)
            stated = _stripped(read["license"](values)) if "license" in read else None
        except ExpressionFailed as error:
            return Refused("head", "expression failed", str(error))
        except NotThisLayout as error:
            return Refused("head", "not of the source's layout", str(error))
        if not any(part.text.strip() for part in parts):
            return Refused("head", "no text")
        return Mapped(parts, _as_text(label), groups, stated)

    def _parts(self, row: Row) -> tuple[Part, ...]:
        if "text" in self._expressions:
            value = self._expressions["text"](row.values)
            if isinstance(value, list):
                return turns_of(value, self._key("text"))
            return (Part("text", _as_text(value) or ""),)
        if self._layout is None:
            self._layout_for(row)
        assert self._layout is not None  # noqa: S101 - set, or raised
        return self._layout.parts(row.values)

    def _layout_for(self, row: Row) -> None:
        try:
            self._layout = layout_of(row.values)
        except StillhouseError as error:
            problem = error.problems[0]
            raise StillhouseError(problem.what, where=f"{self._key('text')}, {row.origin}", fix=problem.fix) from None


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _stripped(value: object) -> str | None:
    return None if value is None else str(value).strip() or None
