"""The recipe's section ``finish`` for ``text-classification``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.licensed import Seed, Share
from stillhouse.recipe.model import Finishing, GateName


class Evaluate(Section):
    """What is claimed, and with what certainty."""

    margin: Annotated[
        float,
        result("Student may be so much worse than the teacher: 0.05 is five points", enters="judge", gt=0, lt=1),
    ] = 0.06
    clusters: Annotated[
        str | None,
        result(
            "A group column, or `source`, whose documents are not independent and are drawn together; empty: none",
            enters="judge",
        ),
    ] = None
    resamples: Annotated[PositiveInt, result("Bootstrap resamples for the intervals", enters="judge", ge=200)] = 2000
    seed: Annotated[Seed, result("Seeds the bootstrap", enters="judge")] = 0


class Int8(Section):
    """The 8-bit artifact and its gate."""

    enabled: Annotated[bool, result("Make an int8 artifact", enters="judge")] = True
    max_disagreement: Annotated[
        Share,
        result(
            "8 bits are refused where labels differ from fp32's more often: then some layers stay in float, or all",
            enters="judge",
        ),
    ] = 0.02


class Audit(Section):
    """Whom the student may not treat worse than its teacher does."""

    gap_limit: Annotated[
        Share, result("How much further apart than the teacher it may hold two groups, in rates", enters="judge")
    ] = 0.02
    worst_margin: Annotated[
        Share, result("How far its worst group may lie below the teacher's accuracy there", enters="judge")
    ] = 0.03
    smallest: Annotated[PositiveInt, result("Documents of a group that is judged", enters="judge")] = 30
    pairs: Annotated[
        NonNegativeInt,
        result("Pairs of texts in which identity words are swapped, for each attribute; 0: none", enters="judge"),
    ] = 300
    own_documents: Annotated[
        NonNegativeInt, result("Test documents in which identity words are swapped, where that is safe", enters="judge")
    ] = 30
    flip_limit: Annotated[
        Share, result("How much more often than the teacher's its label may turn in a pair", enters="judge")
    ] = 0.01
    harmless_words: Annotated[
        bool,
        result("Swap harmless words, too: they tell whether identity or unsteadiness turns the label", enters="judge"),
    ] = True
    language: Annotated[
        Literal["en", "de", "fr", "es"] | None, result("Of the pairs; empty: that of the documents", enters="judge")
    ] = None


class Abstain(Section):
    """A threshold of confidence below which the student does not answer, and passes on to the teacher."""

    most: Annotated[
        float, result("Promised: at most this share of what it answers is not right", enters="judge", gt=0, lt=1)
    ] = 0.05
    confidence: Annotated[float, result("How surely that is promised", enters="judge", gt=0.5, lt=1)] = 0.95
    against: Annotated[
        Literal["teacher", "gold"],
        result("What is right: the teacher's label, or the gold label of validation documents", enters="judge"),
    ] = "teacher"


class Speed(Section):
    """How many texts the speed is measured on."""

    batch_texts: Annotated[PositiveInt, execution("Texts for the batch figure")] = 512
    single_texts: Annotated[PositiveInt, execution("Texts for the one-at-a-time figure")] = 50
    teacher_texts: Annotated[PositiveInt, execution("Texts that the teacher is timed on")] = 512
    threads: Annotated[PositiveInt | None, execution("Threads of the exported artifact; empty: all cores")] = None


class Finish(Finishing):
    """Stage 4: the bottle."""

    gates_of_task: ClassVar[tuple[GateName, ...]] = (
        "retention",
        "worst-group",
        "amplification",
        "flips",
        "parity",
    )

    evaluate: Annotated[Evaluate, Field(default_factory=Evaluate, description="Evaluation")]
    audit: Annotated[Audit, Field(default_factory=Audit, description="Audit")]
    abstain: Annotated[Abstain | None, Field(description="When it passes on to the teacher; empty: never")] = None
    int8: Annotated[Int8, Field(default_factory=Int8, description="8-bit export")]
    speed: Annotated[Speed, Field(default_factory=Speed, description="Speed measurement")]
