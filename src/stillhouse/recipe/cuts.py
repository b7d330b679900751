"""The recipe's cuts of a classifier: which scores are looked at, and what chooses the point from which rows leave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.recipe.fields import Section, result
from stillhouse.recipe.licensed import Name, Seed

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


def cutting(description: str, **limits: Any) -> Any:
    """A field that decides what is cut, and of no score."""
    return result(description, enters="cuts", **limits)


class Nothing(Section):
    """The score is computed and shown, and nothing leaves."""

    kind: Annotated[Literal["none"], cutting("What chooses the point")]


class Hard(Section):
    """Every row that the rule applies to leaves."""

    kind: Annotated[Literal["hard"], cutting("What chooses the point")]


class Given(Section):
    """Rows with a higher score leave."""

    kind: Annotated[Literal["given"], cutting("What chooses the point")]
    at: Annotated[float, cutting("Rows with a score above it leave")]


class Quantile(Section):
    """A given share of the rows leaves, those with the highest scores."""

    kind: Annotated[Literal["quantile"], cutting("What chooses the point")]
    share: Annotated[Fraction, cutting("Share of the rows that leaves")]


class Risk(Section):
    """A promise, kept for rows like the calibration rows; without such rows nothing leaves."""

    kind: Annotated[Literal["risk"], cutting("What chooses the point")] = "risk"
    of: Annotated[
        Literal["kept", "lost"],
        cutting("kept: so few of the rows that stay are harmful; lost: so few of the sound rows leave"),
    ] = "kept"
    epsilon: Annotated[Fraction, cutting("How many at most, as a share")] = 0.05
    confidence: Annotated[float, cutting("With what confidence over draws of calibration rows", ge=0.5, lt=1)] = 0.95
    unmet: Annotated[
        Literal["keep", "stop"],
        cutting(
            "Where no threshold can promise it, or where one could and the cut does not pay: keep all rows and say so,"
            " or stop the run"
        ),
    ] = "keep"


class Mixture(Section):
    """The border between two kinds of scores; where they are not of two kinds, nothing leaves."""

    kind: Annotated[Literal["mixture"], cutting("What chooses the point")]


class Pilot(Section):
    """Proxy students are taught smaller and smaller shares; the smallest that is shown to be as good is taken."""

    kind: Annotated[Literal["pilot"], cutting("What chooses the point")] = "pilot"
    shares: Annotated[tuple[Fraction, ...], cutting("Shares of the rows that may be kept", min_length=1)] = (
        0.8,
        0.6,
        0.4,
        0.2,
    )


class Harm(Section):
    """What is harmful among the calibration rows: a group column of theirs that was labelled by hand."""

    group: Annotated[Name, cutting("Group column, mapped in `raw.sources.*.columns.groups`")]
    value: Annotated[str, cutting("Its value in harmful rows")]


class AnyHead(Section):
    """What heads of all tasks have."""

    score: Annotated[str, result("What is looked at", enters="scores")]
    name: Annotated[Name | None, result("Its name in reports; empty: the score's", enters="scores")] = None
    model: Annotated[
        str | None, result("Of `classifier`: address of a text classifier", enters="scores", address=True)
    ] = None
    label: Annotated[
        str | None, result("Of `classifier`: the label whose probability is the score", enters="scores")
    ] = None
    harm: Annotated[
        Harm | None,
        Field(
            description="Which calibration rows are harmful; a wrong label is so by itself",
            json_schema_extra={"enters": "cuts"},
        ),
    ] = None

    @property
    def title(self) -> str:
        """Its name in every report."""
        return self.name or self.score


class Head(AnyHead):
    """One score of what would harm, and its point."""

    score: Annotated[
        Literal["refusal", "injection", "label-doubt", "teacher-noise", "classifier"],
        result("What is looked at", enters="scores"),
    ]
    point: Annotated[
        Nothing | Hard | Given | Quantile | Risk | Mixture, Field(discriminator="kind", description="Where it is cut")
    ]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.title in ("ease", "stable-ease", "label-doubt", "teacher-noise") and self.title != self.score:
            raise ValueError(f"{self.title} is the name of another score")
        if (self.score == "classifier") != (self.model is not None and self.label is not None):
            raise ValueError("`model` and `label` go with the score `classifier`, which needs both")
        if isinstance(self.point, Hard) and self.score not in ("refusal", "injection"):
            raise ValueError(f"{self.score} is no rule, so nothing about it is hard: give a threshold or a risk")
        if isinstance(self.point, Risk) and self.harm is None and self.score not in ("label-doubt", "teacher-noise"):
            raise ValueError(f"a risk point of {self.score} needs `harm`, which says what is harmful")
        return self


class Tail(Section):
    """The score of what costs without teaching, and its point."""

    score: Annotated[Literal["ease", "stable-ease", "teacher-noise"], cutting("What is looked at")] = "ease"
    point: Annotated[Nothing | Quantile | Pilot, Field(discriminator="kind", description="Where it is cut")] = Pilot()


def _heads() -> tuple[Head, ...]:
    return (
        Head(score="refusal", point=Hard(kind="hard")),
        Head(score="label-doubt", point=Risk(of="lost")),
    )


class Cuts(Section):
    """Which training documents the student is not taught, after the teacher has spoken."""

    calibration: Annotated[
        Literal["none", "validation"],
        cutting("Whether gold labels of validation documents may be looked at to choose points"),
    ] = "none"
    heads: Annotated[tuple[Head, ...], Field(default_factory=_heads, description="What would harm")]
    tail: Annotated[Tail, Field(default_factory=Tail, description="What costs without teaching")]
    quotas: Annotated[
        bool, cutting("Shares of the tail are cut within label, source and group, so that no group pays for the others")
    ] = True
    margin: Annotated[Fraction, cutting("A cut may cost the proxy so much accuracy: 0.002 is a fifth of a point")] = (
        0.002
    )
    group_margin: Annotated[Fraction, cutting("And the worst-served group so much")] = 0.02
    folds: Annotated[PositiveInt, result("Parts of the cross-fitting", enters="scores", ge=2, le=20)] = 5
    seed: Annotated[Seed, result("Decides which row is in which part", enters="scores")] = 0

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_names(self.heads)
        return self


def check_names(heads: Sequence[AnyHead]) -> None:
    """Raise ``ValueError`` for heads that reports could not tell apart."""
    names = [head.title for head in heads]
    if len(set(names)) != len(names) or "tail" in names:
        raise ValueError("heads need names that differ from each other, and none is called `tail`")
