"""The terms table: what documents say about making a student, and which models, services and data come under them.

`terms.toml` holds one entry per document (a license, a model's community license, an API's terms) and one per family
of models or services. A file of your own, in the same form, adds entries; it cannot change those that are there.

    table = Table.load(Path("our-terms.toml"))
    table.by_id("apache-2.0"), table.by_name("meta-llama/Llama-3.1-8B"), table.by_text(license_text)
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from stillhouse.errors import Problem, StillhouseError
from stillhouse.rights.texts import Recognised, recognise
from stillhouse.store import digest_of

Touch = Literal["data", "init", "logits", "outputs"]
StudentKind = Literal["classifier", "embedder", "extractor", "generative"]
Release = Literal["internal", "served", "distributed"]
Trust = Literal["primary", "secondary", "memory"]
DutyKind = Literal[
    "name-prefix",
    "badge",
    "notice",
    "license-copy",
    "keep-notices",
    "use-policy",
    "attribution",
    "non-commercial",
    "condition",
]
EVERY_TOUCH: tuple[Touch, ...] = ("data", "init", "logits", "outputs")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Condition(_Entry):
    """When a rule applies; what is left out applies always."""

    touches: tuple[Touch, ...] = EVERY_TOUCH
    student: tuple[StudentKind, ...] = ("classifier", "embedder", "extractor", "generative")
    release: tuple[Release, ...] = ("internal", "served", "distributed")
    commercial: bool | None = None
    region: Annotated[tuple[str, ...], Field(description="a run that states no region counts as being there")] = ()
    same_base: Annotated[bool | None, Field(description="whether every base comes under these very terms")] = None


class Rule(_Entry):
    """A verdict; of a document's rules, the first whose condition holds decides."""

    verdict: Literal["allow", "needs-permission", "unknown", "forbid"]
    clause: str
    because: str = ""
    when: Condition = Condition()

    @property
    def always(self) -> bool:
        """Whether it applies to every use."""
        return self.when == Condition()


class Duty(_Entry):
    """Something owed. text: the prefix, badge, notice, policy or condition itself. due: at which releases.

    commercial: owed only by runs that are so; ``None`` by all.
    """

    kind: DutyKind
    clause: str
    text: str = ""
    due: tuple[Release, ...] = ("distributed",)
    touches: tuple[Touch, ...] = EVERY_TOUCH
    commercial: bool | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if not self.text and self.kind in ("name-prefix", "badge", "notice", "use-policy", "condition"):
            raise ValueError(f"a {self.kind} duty needs `text`")
        return self


class Text(_Entry):
    """A document's text: its first words, and the hash of all its words (see ``texts.py``)."""

    start: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Terms(_Entry):
    """What one document says. ids: SPDX ids or LicenseRef-…; several where the same holds for all of them.

    aliases: other spellings, each of one of the ids.
    """

    ids: Annotated[tuple[str, ...], Field(min_length=1)]
    title: str = ""
    aliases: dict[str, str] = Field(default_factory=dict)
    dated: date | None = None
    read: date
    trust: Trust
    says: str
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]
    duties: tuple[Duty, ...] = ()
    texts: dict[str, tuple[Text, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _total(self) -> Self:
        if not self.rules[-1].always or any(rule.always for rule in self.rules[:-1]):
            raise ValueError("the last rule, and no other, must apply to every use")
        strangers = (set(self.texts) | set(self.aliases.values())) - set(self.ids)
        if strangers:
            raise ValueError(f"texts or aliases of {sorted(strangers)}, which are not in `ids`")
        return self


class Family(_Entry):
    """Models or services that come under some terms, by name.

    patterns: shell patterns, case-insensitive. ``provider:model`` matches services and nothing else. ``org/model``
    matches that organization's models, and a folder here that is called like one of them; ``model`` those of anybody.
    also_model: the model behind a host has terms of its own.
    """

    patterns: Annotated[tuple[str, ...], Field(min_length=1)]
    terms: Annotated[tuple[str, ...], Field(description="ids of terms; all of them apply")]
    trust: Trust
    read: date
    excluding: tuple[str, ...] = ()
    also_model: bool = False
    note: str = ""

    def matches(self, name: str) -> bool:
        """Whether ``name`` is of this family."""
        return any(_matches(name, one) for one in self.patterns) and not any(
            _matches(name, one) for one in self.excluding
        )


class _File(_Entry):
    terms: tuple[Terms, ...] = ()
    family: tuple[Family, ...] = ()


class Table:
    """The built-in entries and those of a file of one's own. own: ids of the latter."""

    def __init__(self, terms: Iterable[Terms], families: Iterable[Family]) -> None:
        self.terms = tuple(terms)
        self.families = tuple(families)
        self._by_id: dict[str, tuple[str, Terms]] = {}
        for entry in self.terms:
            for name, identifier in ({one: one for one in entry.ids} | entry.aliases).items():
                self._by_id.setdefault(name.casefold(), (identifier, entry))
        self.own: frozenset[str] = frozenset()
        self.digest = digest_of([entry.model_dump(mode="json") for entry in (*self.terms, *self.families)])

    @classmethod
    def load(cls, own: Path | None = None) -> Table:
        """The built-in table, with the entries of ``own`` added; raises :class:`StillhouseError` where they clash."""
        table = _built_in()
        return table if own is None else table._with(_parse(own.read_bytes(), str(own)), str(own))

    def _with(self, more: _File, where: str) -> Table:
        known = [name for entry in more.terms for name in (*entry.ids, *entry.aliases) if self.by_id(name)]
        if known:
            raise StillhouseError(
                f"the terms table knows {', '.join(known)} already; a file of your own adds entries and changes none",
                where=where,
                fix="give your document an id of its own, such as LicenseRef-ourhouse-contract-7",
            )
        table = Table((*self.terms, *more.terms), (*self.families, *more.family))
        table.own = frozenset(name for entry in more.terms for name in entry.ids) if self.terms else frozenset()
        lost = sorted({name for family in more.family for name in family.terms if table.by_id(name) is None})
        if lost:
            raise StillhouseError(
                f"a family names terms that are nowhere: {', '.join(lost)}", where=where, fix="add a [[terms]] entry"
            )
        return table

    def by_id(self, name: str) -> tuple[str, Terms] | None:
        """The canonical id and the terms of an SPDX id, LicenseRef or alias, whatever its case."""
        return self._by_id.get(name.strip().casefold())

    def by_name(self, name: str) -> list[Family]:
        """Every family that a model's or service's name belongs to; all of them apply."""
        return [family for family in self.families if family.matches(name)]

    def by_text(self, text: str) -> Recognised:
        """What a license text is, by its words."""
        known = [(name, one) for entry in self.terms for name, texts in entry.texts.items() for one in texts]
        return recognise(text, known)


@cache
def _built_in() -> Table:
    data = files("stillhouse.rights").joinpath("terms.toml").read_bytes()
    parsed = _parse(data, "stillhouse/rights/terms.toml")
    return Table((), ())._with(parsed, "stillhouse/rights/terms.toml")


def _parse(data: bytes, where: str) -> _File:
    try:
        return _File.model_validate(tomllib.loads(data.decode("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StillhouseError(f"not a TOML file: {error}", where=where, fix="mend its syntax") from None
    except ValidationError as error:
        raise StillhouseError.several(
            [
                Problem(one["msg"], f"{where}: {'.'.join(map(str, one['loc']))}", "see docs/rights.md for the form")
                for one in error.errors()
            ]
        ) from None


def _matches(name: str, pattern: str) -> bool:
    whole, wanted = name.casefold(), pattern.casefold()
    if ":" in whole or ":" in wanted:
        return ":" in whole and ":" in wanted and fnmatchcase(whole, wanted)
    if "/" in wanted and "/" in whole:
        return fnmatchcase(whole, wanted)
    part = wanted.rpartition("/")[2]
    return part != "*" and fnmatchcase(whole.rpartition("/")[2], part)
