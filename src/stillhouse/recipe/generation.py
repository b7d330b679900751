"""The recipe's sections for ``text-generation``, in the order of the stages."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.recipe.cuts_generation import OF_TEACHER, WritingCuts
from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.finish_generation import Finish
from stillhouse.recipe.licensed import Seed, Share
from stillhouse.recipe.model import Distilling, Fermenting, Recipe, Student
from stillhouse.recipe.raw import Clean, Raw

LossName = Literal[
    "forward-kl",
    "reverse-kl",
    "jsd",
    "skew-forward-kl",
    "skew-reverse-kl",
    "alpha-beta",
    "cross-entropy",
]


class GenerationClean(Clean):
    """Cleaning of conversations and texts to be written: line breaks carry meaning and stay."""

    whitespace: Annotated[
        Literal["fold", "keep"], result("fold: runs of white space become one space, ends are trimmed")
    ] = "keep"
    profile: Annotated[
        Literal["short", "chat", "web", "none"],
        result("Rules on length, repetition and form; those for web pages would throw away chats and short texts"),
    ] = "chat"


class GenerationRaw(Raw):
    """Stage 1: what goes in."""

    clean: Annotated[GenerationClean, Field(default_factory=GenerationClean, description="Cleaning")]


class Ask(Section):
    """The teacher writes the answers."""

    kind: Annotated[Literal["ask"], result("Where answers come from")] = "ask"
    system: Annotated[str, result("System message put before each conversation that has none")] = ""
    max_tokens: Annotated[PositiveInt, result("Longest answer, reasoning included")] = 256
    temperature: Annotated[float, result("Sampling temperature; 0: always the most likely token", ge=0, le=2)] = 0.7
    top_p: Annotated[float, result("Draws come from the likeliest tokens of this share", gt=0, le=1)] = 1.0
    samples: Annotated[PositiveInt, result("Answers to each prompt")] = 1
    stop: Annotated[tuple[str, ...], result("Strings that end an answer and are not part of it")] = ()
    seed: Annotated[Seed, result("Seeds the draws of a local teacher")] = 0
    verify: Annotated[
        Literal["exact", "mentions", "label", "numeric", "regex", "callable"] | None,
        result("How an answer is checked against the gold label; empty: not at all"),
    ] = None
    verify_with: Annotated[
        dict[str, str | float | bool | tuple[str, ...]],
        result("Options of the verifier: `pattern` for regex, `path` for callable, …", default_factory=dict),
    ]

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples need a `temperature` above 0, or they are all the same")
        return self


class Given(Section):
    """The answers, or the plain texts, in the data are learned from."""

    kind: Annotated[Literal["given"], result("Where answers come from")]


class Distributions(Section):
    """What is kept of the teacher's next-token distributions along the answers."""

    form: Annotated[
        Literal["sparse", "top-k", "dense", "none"],
        result("sparse: unbiased draws; top-k with the mass of the rest; dense: all; none: answers only"),
    ] = "sparse"
    k: Annotated[
        int | None, result("Most likely tokens stored exactly at each place; empty: 1 in `sparse`, 32 in `top-k`", ge=0)
    ] = None
    m: Annotated[PositiveInt, result("Draws for a rest of mass one, in `sparse`")] = 30

    @property
    def exact(self) -> int:
        """``k`` with its default filled in."""
        return self.k if self.k is not None else 32 if self.form == "top-k" else 1


class Ferment(Fermenting):
    """Stage 2: what the teacher writes and how sure it is of each token."""

    answers: Annotated[Ask | Given, Field(default_factory=Ask, discriminator="kind", description="The answers")]
    distributions: Annotated[
        Distributions, Field(default_factory=Distributions, description="Next-token distributions")
    ]


class Lora(Section):
    """Only low-rank updates are trained (``peft``); they are merged before the student is saved."""

    rank: Annotated[PositiveInt, result("Rank of the updates")] = 16
    alpha: Annotated[float, result("Their scale, divided by the rank", gt=0)] = 32.0
    targets: Annotated[
        tuple[str, ...], result("Names of the layers that get them; empty: every linear layer but the head")
    ] = ()


class LanguageStudent(Student):
    """A student language model."""

    vocabulary: Annotated[
        Literal["all", "used"], result("used: tokens that the training answers do not need are taken out")
    ] = "all"
    lora: Annotated[Lora | None, Field(description="Train low-rank updates only; empty: all weights")] = None


class KeepLanguageLayers(LanguageStudent):
    """A student made of some layers of a given language model."""

    kind: Annotated[Literal["keep-layers"], result("How the student is made")]
    keep: Annotated[
        PositiveInt | tuple[Annotated[int, Field(ge=0)], ...],
        result("How many layers to keep, or which ones, counted from 0"),
    ]
    by: Annotated[
        Literal["kl", "even", "influence"],
        result("kl: those whose removal alone changes the answers most; influence: drop the idlest run of layers"),
    ] = "kl"
    calibration: Annotated[PositiveInt, result("Tokens on which the layers are compared")] = 4096


class FromLanguageConfig(LanguageStudent):
    """A student with random weights, the architecture and the tokenizer of a given language model."""

    kind: Annotated[Literal["from-config"], result("How the student is made")]
    layers: Annotated[PositiveInt, result("Transformer layers")]
    hidden_size: Annotated[PositiveInt, result("Width of the hidden states")]
    heads: Annotated[PositiveInt, result("Attention heads; must divide the width")]
    kv_heads: Annotated[PositiveInt | None, result("Heads of keys and values; empty: as many as heads")] = None
    intermediate_size: Annotated[PositiveInt, result("Width of the feed-forward layers")]

    @property
    def takes_weights(self) -> bool:
        """It takes none."""
        return False

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.hidden_size % self.heads or self.heads % (self.kv_heads or self.heads):
            raise ValueError("`heads` must divide `hidden_size`, and `kv_heads` must divide `heads`")
        return self


class GivenStudent(LanguageStudent):
    """A given language model, as it is."""

    kind: Annotated[Literal["given"], result("How the student is made")]


class Choose(Section):
    """Which of the teacher's answers are learned from; the others are listed in the cuts."""

    answers: Annotated[
        Literal["all", "right", "best"],
        result("all: every answer; right: those found right (rejection sampling); best: one for each prompt"),
    ] = "all"
    most: Annotated[PositiveInt, result("With `right`: at most so many for each prompt")] = 1
    prefer: Annotated[
        Literal["first", "shortest", "majority"], result("With `best`: which of the right, else unchecked, answers")
    ] = "first"
    cut_off: Annotated[
        Literal["learn", "cut"], result("Answers that reached `max_tokens`: learned without an end, or cut")
    ] = "cut"
    spoken_as_machine: Annotated[
        Literal["learn", "cut"],
        result("Answers in which the teacher refuses, calls itself a machine, or names itself or its maker"),
    ] = "cut"
    turns: Annotated[
        Literal["all", "last"], result("With given conversations: which turns of the assistant are learned")
    ] = "all"


class LossSection(Section):
    """What is made small at each token, see `docs/losses.md`."""

    name: Annotated[LossName, result("Which loss")] = "forward-kl"
    temperature: Annotated[float, result("Softens both sides; the loss is scaled by its square", gt=0, le=20)] = 1.0
    alpha: Annotated[float | None, result("First number of the loss, where it has one; empty: its default")] = None
    beta: Annotated[float | None, result("Second number of the loss, where it has one; empty: its default")] = None
    hard_weight: Annotated[Share, result("Share of cross-entropy on the tokens of the answer")] = 0.0
    entropy_gate: Annotated[
        float | None, result("Nats of the teacher's entropy that decide where the mix applies; empty: everywhere", gt=0)
    ] = None
    positions: Annotated[float, result("Share of the tokens learned: where the student is least sure", gt=0, le=1)] = (
        1.0
    )


class OnPolicyLoss(LossSection):
    """The loss on the student's own answers."""

    name: Annotated[LossName, result("Which loss")] = "skew-reverse-kl"
    entropy_gate: Annotated[
        float | None, result("Nats of the teacher's entropy above which forward KL is added; empty: nowhere", gt=0)
    ] = 0.8


class OnPolicy(Section):
    """A last stretch in which the student answers and the teacher, which must run here, judges each token."""

    steps: Annotated[PositiveInt, result("Steps of this stretch, after `train.epochs`")]
    share: Annotated[float, result("Share of its steps that learn from the student's own answers", gt=0, le=1)] = 0.5
    prompts: Annotated[PositiveInt, result("Prompts answered at a time")] = 16
    refresh: Annotated[PositiveInt, result("Steps that are made from one set of answers")] = 4
    max_tokens: Annotated[PositiveInt, result("Longest answer of the student")] = 96
    temperature: Annotated[float, result("Sampling temperature of the student", gt=0, le=2)] = 1.0
    loss: Annotated[OnPolicyLoss, Field(default_factory=OnPolicyLoss, description="Loss on the student's answers")]


class Train(Section):
    """How the student is trained."""

    epochs: Annotated[float, result("Passes over the answers", gt=0, le=1000)] = 1.0
    batch_tokens: Annotated[PositiveInt, result("Tokens of one step, prompts included")] = 4096
    row_tokens: Annotated[PositiveInt, result("Length of a row into which short answers are packed")] = 512
    max_length: Annotated[PositiveInt, result("Longer conversations are cut off at so many tokens")] = 1024
    learning_rate: Annotated[float, result("Peak learning rate of AdamW", gt=0, lt=1)] = 1e-4
    warmup_share: Annotated[Share, result("Share of the steps in which the learning rate rises")] = 0.1
    weight_decay: Annotated[float, result("AdamW weight decay", ge=0, lt=1)] = 0.01
    evaluations: Annotated[PositiveInt, result("How often the student is compared on the validation answers")] = 4
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        result("Of the products; weights stay float32. auto: bfloat16 where the hardware multiplies it natively"),
    ] = "auto"
    seed: Annotated[Seed, result("Seeds new weights, the order of answers and dropout")] = 0
    checkpointing: Annotated[bool, execution("Compute activations again in the backward pass, to save memory")] = False
    device: Annotated[Literal["auto", "cpu", "cuda"], execution("Where it is trained")] = "auto"
    processes: Annotated[PositiveInt, execution("Processes that train together, each on a device of its own")] = 1
    threads: Annotated[PositiveInt | None, execution("CPU threads; empty: as torch chooses")] = None
    report_to: Annotated[tuple[str, ...], execution("Trackers that transformers knows, such as tensorboard")] = ()


class Distill(Distilling):
    """Stage 3: the student."""

    student: Annotated[
        KeepLanguageLayers | FromLanguageConfig | GivenStudent,
        Field(discriminator="kind", description="The student"),
    ]
    choose: Annotated[Choose, Field(default_factory=Choose, description="Which answers are learned from")]
    cuts: Annotated[
        WritingCuts | None,
        Field(
            default_factory=WritingCuts,
            description="Which of the chosen answers are not taught; null: all are",
            json_schema_extra={"enters": "cuts"},
        ),
    ]
    loss: Annotated[LossSection, Field(default_factory=LossSection, description="The loss")]
    train: Annotated[Train, Field(default_factory=Train, description="Training")]
    on_policy: Annotated[OnPolicy | None, Field(description="A last stretch on the student's own answers")] = None


class Generation(Recipe):
    """A recipe for ``text-generation``."""

    task: Annotated[Literal["text-generation"], result("What the student does")]
    raw: Annotated[GenerationRaw, Field(description="Stage 1: raw material")]
    ferment: Annotated[Ferment, Field(description="Stage 2: the teacher")]
    distill: Annotated[Distill, Field(description="Stage 3: the student")]
    controls: Annotated[
        tuple[Literal["ce", "untrained"], ...],
        result("ce: the same student, tokens and order with plain cross-entropy; untrained: as it was made"),
    ] = ("ce", "untrained")
    finish: Annotated[Finish, Field(default_factory=Finish, description="Stage 4: the bottle")]

    @property
    def compares(self) -> bool:
        """Unless the list of controls is empty."""
        return bool(self.controls)

    @property
    def scores(self) -> bool:
        """Where it has cuts."""
        return self.distill.cuts is not None

    @model_validator(mode="after")
    def _scores_have_their_signals(self) -> Self:
        wanted = self.distill.cuts.names if self.distill.cuts else ()
        dark = [name for name in wanted if name in OF_TEACHER]
        if self.ferment.distributions.form == "none" and dark:
            raise ValueError(
                f"distill.cuts: {dark[0]} is read from the teacher's distributions, which"
                " `ferment.distributions.form: none` does not store"
            )
        answers = self.ferment.answers
        if "disagreement" in wanted and (not isinstance(answers, Ask) or answers.samples == 1):
            raise ValueError(
                "distill.cuts: disagreement compares samples, so `ferment.answers.samples` has to be 2 or more"
            )
        if "wrong" in wanted and (not isinstance(answers, Ask) or answers.verify is None):
            raise ValueError(
                "distill.cuts: wrong is what a verifier found, so `ferment.answers.verify` has to name one"
            )
        return self

    @model_validator(mode="after")
    def _the_loss_has_its_signal(self) -> Self:
        if self.ferment.distributions.form == "none" and self.distill.loss.name != "cross-entropy":
            raise ValueError(
                f"distill.loss.name is {self.distill.loss.name!r}, which needs the teacher's distributions; with"
                " `ferment.distributions.form: none` only `cross-entropy` can be learned"
            )
        return self
