"""The recipe's sections for ``text-classification``, in the order of the stages."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.errors import StillhouseError
from stillhouse.recipe.cuts import Cuts
from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.finish_classification import Finish
from stillhouse.recipe.licensed import Seed, Share
from stillhouse.recipe.model import Distilling, Fermenting, Recipe, Student
from stillhouse.recipe.teachers import ApiLabeler, LocalTeacher


class Example(Section):
    """One example in the prompt."""

    text: Annotated[str, result("The example's text", min_length=1)]
    label: Annotated[str, result("Its label")]


class PromptSection(Section):
    """How the teacher is asked."""

    instruction: Annotated[str, result("Text before the examples, or the system message of a chat")] = ""
    question: Annotated[str, result("The question; {text} stands for the document")] = "Text: {text}\nLabel:"
    answer: Annotated[str, result("What the teacher would say next; {label} stands for the label's word")] = " {label}"
    separator: Annotated[str, result("Between the turns of a plain prompt")] = "\n\n"
    words: Annotated[
        dict[str, str],
        result("Label to the teacher's word or class for it; empty: the label", default_factory=dict),
    ]
    examples: Annotated[tuple[Example, ...], Field(default=(), description="Examples in the prompt")]
    chat: Annotated[bool, result("Render the turns with the model's own chat template")] = False

    @model_validator(mode="after")
    def _placeholders(self) -> Self:
        if "{text}" not in self.question:
            raise ValueError("`question` must contain {text}")
        if "{label}" not in self.answer:
            raise ValueError("`answer` must contain {label}")
        return self


class Calibration(Section):
    """Corrects the teacher's preference for some label words, without any gold label."""

    kind: Annotated[
        Literal["none", "uniform", "batch", "matched"],
        result("uniform: content-free inputs count as undecided; batch: divide by the mean; matched: fit the prior"),
    ] = "matched"
    prior: Annotated[
        dict[str, float] | None, result("Share of each label that `matched` fits; empty: equal shares")
    ] = None


class Ferment(Fermenting):
    """Stage 2: what the teacher knows."""

    teacher: Annotated[LocalTeacher | ApiLabeler, Field(discriminator="kind", description="The teacher")]
    others: Annotated[
        tuple[Annotated[LocalTeacher | ApiLabeler, Field(discriminator="kind")], ...],
        Field(default=(), description="Further teachers, asked the same; calibrated probabilities are averaged"),
    ] = ()
    prompt: Annotated[PromptSection, Field(default_factory=PromptSection, description="The question")]
    calibration: Annotated[Calibration, Field(default_factory=Calibration, description="Label-free calibration")]

    @property
    def teachers(self) -> tuple[LocalTeacher | ApiLabeler, ...]:
        """All teachers, the first one first."""
        return (self.teacher, *self.others)

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) != len(names):
            raise ValueError("several teachers need a `name` each, and no two the same")
        return self


class KeepLayers(Student):
    """A student made of some layers of a given encoder."""

    kind: Annotated[Literal["keep-layers"], result("How the student is made")]
    base: Annotated[str, result("Address of an encoder: a transformers folder", address=True)]
    keep: Annotated[
        PositiveInt | tuple[Annotated[int, Field(ge=0)], ...],
        result("How many layers to keep, or which ones, counted from 0"),
    ] = 3


class FromConfig(Student):
    """A student with random weights and the tokenizer of a given model."""

    kind: Annotated[Literal["from-config"], result("How the student is made")]
    base: Annotated[str, result("Address of the model that lends its tokenizer", address=True)]
    layers: Annotated[PositiveInt, result("Transformer layers")] = 2
    hidden_size: Annotated[PositiveInt, result("Width of the hidden states")] = 128
    heads: Annotated[PositiveInt, result("Attention heads; must divide the width")] = 2
    intermediate_size: Annotated[PositiveInt, result("Width of the feed-forward layers")] = 512

    @property
    def takes_weights(self) -> bool:
        """It takes none."""
        return False

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError("`heads` must divide `hidden_size`")
        return self


class SoftLabelLoss(Section):
    """KL divergence to the teacher's probabilities, with an optional share of plain cross-entropy."""

    kind: Annotated[Literal["soft-label-kl"], result("Which loss")] = "soft-label-kl"
    temperature: Annotated[float, result("Softens both sides; the loss is scaled by its square", gt=0, le=20)] = 1.0
    hard_weight: Annotated[Share, result("Share of cross-entropy on the teacher's most probable label")] = 0.0


class Train(Section):
    """How the student is trained."""

    epochs: Annotated[float, result("Passes over the training documents", gt=0, le=1000)] = 1.0
    batch_size: Annotated[PositiveInt, result("Documents per step")] = 32
    learning_rate: Annotated[float, result("Peak learning rate of AdamW", gt=0, lt=1)] = 1e-4
    warmup_share: Annotated[Share, result("Share of the steps in which the learning rate rises")] = 0.1
    weight_decay: Annotated[float, result("AdamW weight decay", ge=0, lt=1)] = 0.01
    max_length: Annotated[PositiveInt, result("Longer texts are cut off at so many tokens, in the student only")] = 128
    evaluations: Annotated[PositiveInt, result("How often the validation agreement is measured")] = 4
    seed: Annotated[Seed, result("Seeds the head, the order of documents and dropout")] = 0
    device: Annotated[Literal["auto", "cpu", "cuda"], execution("Where it is trained")] = "auto"
    threads: Annotated[PositiveInt | None, execution("CPU threads; empty: as torch chooses")] = None


class Distill(Distilling):
    """Stage 3: the student."""

    student: Annotated[KeepLayers | FromConfig, Field(discriminator="kind", description="The student")]
    cuts: Annotated[
        Cuts | None, Field(default_factory=Cuts, description="Which documents are not taught; null: all are")
    ]
    loss: Annotated[SoftLabelLoss, Field(default_factory=SoftLabelLoss, description="The loss")]
    train: Annotated[Train, Field(default_factory=Train, description="Training")]


class Controls(Section):
    """Models trained on gold labels, to see what the teacher's labels are worth. Never shipped."""

    kinds: Annotated[
        tuple[Literal["tfidf-gold", "student-gold", "gold-curve"], ...],
        result("Which controls to train", min_length=1),
    ] = ("tfidf-gold", "student-gold", "gold-curve")
    gold_curve: Annotated[
        tuple[PositiveInt, ...],
        result("Numbers of gold labels at which the same student is trained", min_length=1),
    ] = (100, 300, 1000, 3000)


def as_classification(recipe: Recipe, what: str) -> Classification:
    """The recipe, if it is one for ``text-classification``; raises :class:`StillhouseError` for another task.

    what: that needs it, for the message.
    """
    if not isinstance(recipe, Classification):
        raise StillhouseError(
            f"{what} is for `text-classification`, and this recipe is for `{recipe.task}`",
            where="task",
            fix="look at what the run itself shows: `stillhouse show`",
        )
    return recipe


class Classification(Recipe):
    """A recipe for ``text-classification``."""

    task: Annotated[Literal["text-classification"], result("What the student does")] = "text-classification"
    labels: Annotated[tuple[str, ...], result("The labels, in the order of the student's outputs", min_length=2)]
    ferment: Annotated[Ferment, Field(description="Stage 2: the teacher")]
    distill: Annotated[Distill, Field(description="Stage 3: the student")]
    controls: Annotated[Controls | None, Field(description="Models for comparison; empty: none")] = None
    finish: Annotated[Finish, Field(default_factory=Finish, description="Stage 4: the bottle")]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels."""
        return self.labels

    @property
    def compares(self) -> bool:
        """Where the recipe has controls."""
        return self.controls is not None

    @property
    def scores(self) -> bool:
        """Where it has cuts."""
        return self.distill.cuts is not None

    @model_validator(mode="after")
    def _labels_agree(self) -> Self:
        known = set(self.labels)
        if len(known) != len(self.labels):
            raise ValueError("`labels` must differ from each other")
        for index, example in enumerate(self.ferment.prompt.examples):
            if example.label not in known:
                raise ValueError(
                    f"ferment.prompt.examples.{index}.label is {example.label!r}, which is not in `labels`"
                )
        for path, mapping in (
            ("ferment.prompt.words", self.ferment.prompt.words),
            ("ferment.calibration.prior", self.ferment.calibration.prior),
        ):
            if mapping and set(mapping) != known:
                raise ValueError(f"{path} must name each of `labels` exactly once, it has {sorted(mapping)}")
        prior = self.ferment.calibration.prior
        if prior and (min(prior.values()) <= 0 or abs(sum(prior.values()) - 1) > 1e-6):
            raise ValueError("ferment.calibration.prior must be positive shares that sum to 1")
        return self
