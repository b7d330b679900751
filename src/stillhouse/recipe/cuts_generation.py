"""The recipe's cuts of a model that writes: scores of answers, what chooses their points, and what is masked."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.recipe.cuts import (
    AnyHead,
    Given,
    Hard,
    Mixture,
    Nothing,
    Pilot,
    Quantile,
    Risk,
    check_names,
    cutting,
)
from stillhouse.recipe.fields import Section, result

# scores with a place in the answer, whose tokens can be left out of what is learned
PLACED = ("refusal", "injection", "redacted", "divergence")
RULES = ("refusal", "injection", "redacted", "wrong")
# what would make the student worse, so that an answer found wrong says that the score was right
ABOUT_ANSWERS = ("surprise", "teacher-noise", "disagreement")
# what needs the teacher's stored distributions, and what needs a model that reads the answers
OF_TEACHER = ("surprise", "teacher-noise", "difference", "divergence")
OF_READER = ("memorized", "no-prompt", "ease", "difference")


class Mask(Section):
    """The rows stay, and the tokens that the score points at are read and not learned."""

    kind: Annotated[Literal["mask"], cutting("What chooses the point")]


class WritingHead(AnyHead):
    """One score of what would harm in an answer, and its point."""

    score: Annotated[
        Literal[
            "refusal",
            "injection",
            "redacted",
            "wrong",
            "classifier",
            "memorized",
            "surprise",
            "teacher-noise",
            "disagreement",
            "divergence",
        ],
        result("What is looked at", enters="scores"),
    ]
    model: Annotated[
        str | None,
        result(
            "Address of a text classifier, of `classifier`; of another teacher, of `divergence`",
            enters="scores",
            address=True,
        ),
    ] = None
    point: Annotated[
        Nothing | Hard | Mask | Given | Quantile | Risk | Mixture,
        Field(discriminator="kind", description="Where it is cut"),
    ]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.title in (*OF_READER, *OF_TEACHER, "disagreement") and self.title != self.score:
            raise ValueError(f"{self.title} is the name of another score")
        if (self.score in ("classifier", "divergence")) != (self.model is not None):
            raise ValueError("`model` goes with the scores `classifier` and `divergence`, which need one")
        if (self.score == "classifier") != (self.label is not None):
            raise ValueError("`label` goes with the score `classifier`, which needs one")
        if isinstance(self.point, Hard) and self.score not in RULES:
            raise ValueError(f"{self.score} is no rule, so nothing about it is hard: give a threshold or a risk")
        if isinstance(self.point, Mask) and self.score not in PLACED:
            raise ValueError(f"{self.score} is about whole answers; {', '.join(PLACED)} have places to mask")
        if isinstance(self.point, Risk) and self.harm is None and self.score not in ABOUT_ANSWERS:
            raise ValueError(f"a risk point of {self.score} needs `harm`, which says what is harmful")
        return self


class WritingTail(Section):
    """The score of what costs without teaching, and its point."""

    score: Annotated[
        Literal["no-prompt", "ease", "difference", "teacher-noise", "disagreement"],
        result("What is looked at", enters="scores"),
    ]
    point: Annotated[
        Nothing | Given | Quantile | Pilot,
        Field(discriminator="kind", description="Where it is cut; none: it is only shown"),
    ]


class Proxy(Section):
    """Students like the one that is made, each taught a sample of the answers: what a cut costs and buys."""

    budget: Annotated[
        float,
        cutting("What all proxies together may take, as a share of the student's own training", gt=0, le=100),
    ] = 0.5
    seeds: Annotated[
        PositiveInt,
        cutting("Samples of the answers, each in an order of its own, of every choice of cuts", ge=3, le=20),
    ] = 3


def _heads() -> tuple[WritingHead, ...]:
    return (WritingHead(score="injection", point=Hard(kind="hard")),)


class WritingCuts(Section):
    """Which of the chosen answers, and which of their tokens, the student is not taught."""

    calibration: Annotated[
        Literal["none", "validation"],
        cutting("Whether gold labels of validation documents may be looked at to choose points"),
    ] = "none"
    heads: Annotated[tuple[WritingHead, ...], Field(default_factory=_heads, description="What would harm")]
    tail: Annotated[
        WritingTail | None,
        Field(description="What costs without teaching; empty: nothing", json_schema_extra={"enters": "scores"}),
    ] = None
    reader: Annotated[
        str | None,
        result(
            "Address of a small language model that reads answers where a score needs it; empty: the student's base",
            enters="scores",
            address=True,
        ),
    ] = None
    quotas: Annotated[bool, cutting("Shares are cut within source and group, so that no group pays for the others")] = (
        True
    )
    proxy: Annotated[
        Proxy | None,
        Field(description="Price the cuts by proxies; empty: they have no price", json_schema_extra={"enters": "cuts"}),
    ] = None
    margin: Annotated[
        float, cutting("With proxies, a cut may bring them so many nats a token further from the teacher", gt=0)
    ] = 0.02
    group_margin: Annotated[float, cutting("And in the worst-served group so many", gt=0)] = 0.05

    @property
    def choices(self) -> int:
        """How many choices of cuts proxies may be taught: those of the price list, of cuts on trial, and of a pilot."""
        points = [*(head.point for head in self.heads), *((self.tail.point,) if self.tail else ())]
        cuts = sum(not isinstance(point, Nothing) for point in points)
        listed = 1 + (cuts > 0) + (cuts if cuts > 1 else 0)
        tried = sum(head.score in ABOUT_ANSWERS and isinstance(head.point, Risk | Mixture) for head in self.heads)
        shares = sum(len(point.shares) for point in points if isinstance(point, Pilot))
        # both start from what stays before them
        return listed + (tried + 1 if tried else 0) + (shares + 1 if shares else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """The scores that are asked for."""
        return (*(head.score for head in self.heads), *((self.tail.score,) if self.tail else ()))

    @property
    def needs_reader(self) -> bool:
        """Whether a model has to read the answers."""
        return any(name in OF_READER for name in self.names)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        check_names(self.heads)
        return self

    @model_validator(mode="after")
    def _a_pilot_has_proxies(self) -> Self:
        if self.proxy is None and self.tail is not None and isinstance(self.tail.point, Pilot):
            raise ValueError(
                "a pilot trains several small students on every share, which of a model that writes may cost more than"
                " its cut can save: say how much they may take (`distill.cuts.proxy: {budget: 0.5}`), or give the tail"
                " a share (`quantile`), a threshold (`given`) or `none`"
            )
        return self
