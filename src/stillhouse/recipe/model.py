"""What every recipe has, whatever its task: names, rights, paths, and one section for each of the four stages.

Each class is one section of the YAML file; each field says what it does and whether it changes the result. Where a
section comes in several kinds, ``kind`` chooses. The tasks' own sections are in modules of their names.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from stillhouse.recipe.fields import Section, execution, presentation, result
from stillhouse.recipe.licensed import Licensed, Name, Share
from stillhouse.recipe.raw import Raw
from stillhouse.recipe.teachers import ApiTeacher, LocalTeacher


class Statement(Section):
    """Who takes responsibility for what the terms table cannot decide. It is printed on the label."""

    who: Annotated[str, result("Person or body that answers for this statement", enters="finish", min_length=1)]
    when: Annotated[date, result("Day of the statement, YYYY-MM-DD", enters="finish")]
    why: Annotated[str, result("On what grounds the use is held to be right", enters="finish", min_length=10)]
    covers: Annotated[
        tuple[str, ...],
        result(
            "Names of sources or teachers, or the roles `teacher`, `base`, `data`, that it speaks for",
            enters="finish",
            min_length=1,
        ),
    ]
    reference: Annotated[str | None, result("Contract, ticket or page that backs it", enters="finish")] = None


class Rights(Section):
    """What the student is for; the verdict depends on it."""

    use: Annotated[
        Literal["internal", "served", "distributed"],
        result("Who will get to use the student", enters="finish"),
    ] = "internal"
    commercial: Annotated[bool, result("Whether the use is commercial", enters="finish")] = True
    regions: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z]{2,3}$")], ...],
        result("Where it is made and used: EU, or country codes as KR, US; empty: anywhere", enters="finish"),
    ] = ()
    terms: Annotated[
        str | None,
        result("A terms file of your own (TOML), added to the built-in table", enters="finish", address=True),
    ] = None
    statement: Annotated[Statement | None, Field(description="Lifts an unknown verdict, visibly")] = None


class Paths(Section):
    """Where work is kept; relative paths start at the working directory."""

    runs: Annotated[str, execution("Folder of the runs")] = "runs"
    answers: Annotated[str, execution("The answer store, a SQLite file that outlives runs")] = "answers/answers.sqlite"
    cache: Annotated[str, execution("Downloaded and converted models and data")] = "cache"


class Fermenting(Section):
    """Stage 2, as far as it is the same for every task."""

    teacher: Annotated[LocalTeacher | ApiTeacher, Field(discriminator="kind", description="The teacher")]
    missing: Annotated[
        Share,
        result("Share of documents that may stay without an answer for want of budget, time or connection"),
    ] = 0.01

    @property
    def teachers(self) -> tuple[LocalTeacher | ApiTeacher, ...]:
        """All teachers, the first one first."""
        return (self.teacher,)


class Student(Licensed):
    """A student, and the model that it is made from."""

    base: Annotated[str, result("Address of the model that it starts from: a transformers folder", address=True)]

    @property
    def takes_weights(self) -> bool:
        """Whether it starts from weights of its base, whose terms then rule it too."""
        return True


class Distilling(Section):
    """Stage 3, as far as it is the same for every task."""

    student: Annotated[Student, Field(description="The student")]


GateName = Literal[
    "retention", "worst-group", "amplification", "flips", "parity", "distillation", "identity", "behavior"
]


class Gates(Section):
    """What must hold before the student is bottled."""

    required: Annotated[tuple[GateName, ...], result("Gates that stop the bottling where they fail")] = get_args(
        GateName
    )
    strict: Annotated[bool, result("Whether `not certified`, too, stops it: the test is too small to tell")] = False


class Despite(Section):
    """A gate that fails, and who ships all the same says why. It is printed on the label."""

    gate: Annotated[GateName, result("Which gate")]
    because: Annotated[str, result("Why it is right to ship", min_length=10)]


class Finishing(Section):
    """Stage 4, as far as it is the same for every task."""

    name: Annotated[
        Name | None, result("Name of the student, on its label; empty: the recipe's. Some licenses ask for a prefix")
    ] = None
    gates: Annotated[Gates, Field(default_factory=Gates, description="What must hold before it ships")]
    despite: Annotated[tuple[Despite, ...], Field(description="Gates that may fail, each with the reason")] = ()

    gates_of_task: ClassVar[tuple[GateName, ...]] = ()

    @model_validator(mode="after")
    def _despite_names_gates_of_the_task(self) -> Self:
        named = [one.gate for one in self.despite]
        strange = [gate for gate in named if gate not in self.gates_of_task]
        if strange:
            known = ", ".join(self.gates_of_task)
            raise ValueError(f"finish.despite names the gate {strange[0]!r}; this task has {known}")
        if len(set(named)) < len(named):
            raise ValueError("finish.despite names a gate twice; give one reason for each")
        return self


class Recipe(Section):
    """The whole recipe; each task has a class of its own below this one."""

    name: Annotated[Name, execution("Name of the run folder")]
    title: Annotated[str | None, presentation("Shown by the command line instead of the name")] = None
    task: Annotated[str, result("What the student does")]
    rights: Annotated[Rights, Field(default_factory=Rights, description="What the student is for")]
    paths: Annotated[Paths, Field(default_factory=Paths, description="Where work is kept")]
    raw: Annotated[Raw, Field(description="Stage 1: raw material")]
    ferment: Annotated[Fermenting, Field(description="Stage 2: the teacher")]
    distill: Annotated[Distilling, Field(description="Stage 3: the student")]
    finish: Annotated[Finishing, Field(default_factory=Finishing, description="Stage 4: the bottle")]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The labels among which the student chooses; ``None`` where a gold label is any text."""
        return None

    @property
    def compares(self) -> bool:
        """Whether models are trained for comparison, too."""
        return False

    @property
    def scores(self) -> bool:
        """Whether documents are scored and cut in steps of their own."""
        return False

    @model_validator(mode="after")
    def _covers_something(self) -> Self:
        statement = self.rights.statement
        known = {"teacher", "base", "data", *(one.name for one in (*self.raw.sources, *self.ferment.teachers))}
        strangers = sorted(set(statement.covers) - known) if statement else []
        if strangers:
            raise ValueError(
                f"rights.statement.covers names {', '.join(strangers)}; there is {', '.join(sorted(known))}"
            )
        return self
