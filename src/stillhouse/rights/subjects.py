"""What is judged and for what: a teacher, a base or a data source with all that is known of its terms, and a use.

claim = Claim("Apache-2.0", evidence="LICENSE")
subject = Subject("teacher", "large", "hf:org/model@rev", touches=("outputs",), claims=(claim,))
use = Use(student="classifier", release="internal", regions=("FR",))
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from stillhouse.rights.terms import Release, StudentKind, Touch, Trust

Role = Literal["data", "teacher", "base"]
_EUROPEAN_UNION = frozenset(
    {"AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV"}
    | {"MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK", "EEA"}
)


@dataclass(frozen=True)
class Use:
    """What the student is, and who will get it. regions: where, as country codes or EU; none counts as everywhere."""

    student: StudentKind = "classifier"
    release: Release = "internal"
    commercial: bool = True
    regions: tuple[str, ...] = ()

    @property
    def places(self) -> frozenset[str]:
        """The regions in one spelling, with the European Union where one of its members is named."""
        given = frozenset(region.upper() for region in self.regions)
        union = frozenset({"EU"}) if given & _EUROPEAN_UNION else frozenset()
        return given | union | (frozenset({"UK"}) if "GB" in given else frozenset())

    @property
    def words(self) -> str:
        """The use in plain words."""
        where = f", in {', '.join(self.regions)}" if self.regions else ""
        return f"{self.release} {'' if self.commercial else 'non-'}commercial {self.student}{where}"


@dataclass(frozen=True)
class Claim:
    """One thing that is known of a subject's terms.

    terms: a license expression, or ``None`` for something that nobody knows, with ``note`` saying what. kind: owned,
    where the recipe says whose it is; by row, where stage 1 judges each row by the license it states.
    assured: false where the evidence does not speak for the content itself, as a package's metadata does not for
    third-party texts inside it. declared: said by the recipe, found nowhere. trust, read: of the claim itself.
    touches: where it is not the subject's own.
    """

    terms: str | None
    evidence: str
    assured: bool = True
    note: str = ""
    kind: Literal["license", "owned", "by row"] = "license"
    declared: bool = False
    trust: Trust = "primary"
    read: date | None = None
    touches: tuple[Touch, ...] = ()


@dataclass(frozen=True)
class Subject:
    """What is judged: a teacher, a base or a data source, and all that is known of its terms.

    touches: what the student takes from it. here: false while it, or what speaks for it, has still to be fetched.
    identity: its revision or version, as far as it is known.
    attribution: whom to name, as the recipe says.
    """

    role: Role
    name: str
    address: str
    touches: tuple[Touch, ...]
    claims: tuple[Claim, ...]
    here: bool = True
    identity: str | None = None
    attribution: str | None = None
