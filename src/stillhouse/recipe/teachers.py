"""The teachers of a recipe: a model that runs here, or one behind an endpoint."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.licensed import Licensed, Name

EnvironmentVariable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class NamedTeacher(Licensed):
    """What every teacher has."""

    name: Annotated[Name, result("Its name in reports, and in each row of the signals")] = "teacher"


class LocalTeacher(NamedTeacher):
    """A causal language model or a sequence classifier that runs here."""

    kind: Annotated[Literal["local"], result("Where the teacher runs")] = "local"
    model: Annotated[
        str, result("Address of the model: a transformers folder (causal or classifier) or a GGUF file", address=True)
    ]
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        result("auto: bfloat16 where the hardware multiplies it natively, else float32"),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], execution("Where it runs")] = "auto"
    batch_tokens: Annotated[PositiveInt, execution("Tokens per batch")] = 1024
    threads: Annotated[PositiveInt | None, execution("CPU threads; empty: as torch chooses")] = None


class Spending(Section):
    """What may be spent on the answers of an endpoint. What is reached stops the asking; what was answered is kept."""

    tokens: Annotated[PositiveInt | None, execution("At most so many tokens, prompts and answers together")] = None
    money: Annotated[float | None, execution("At most so much, in the currency of the prices", gt=0)] = None
    price_prompt: Annotated[float | None, execution("Price of a million tokens of prompts", ge=0)] = None
    price_answer: Annotated[float | None, execution("Price of a million tokens of answers", ge=0)] = None


class Pace(Section):
    """How fast an endpoint is asked, and how patiently."""

    concurrency: Annotated[PositiveInt, execution("Calls on their way at a time")] = 16
    requests_per_minute: Annotated[PositiveInt | None, execution("At most so many; empty: as the server says")] = None
    tokens_per_minute: Annotated[PositiveInt | None, execution("At most so many; empty: as the server says")] = None
    attempts: Annotated[PositiveInt, execution("Attempts of a call that fails")] = 6
    timeout: Annotated[float, execution("Seconds that one attempt may take", gt=0)] = 120.0
    poll: Annotated[float, execution("Seconds between looks at a batch", gt=0)] = 60.0


class ApiTeacher(NamedTeacher):
    """A model behind an endpoint that speaks the OpenAI protocol."""

    kind: Annotated[Literal["api"], result("Where the teacher runs")]
    endpoint: Annotated[str, result("Base URL, as https://api.example.org/v1; no key in it")]
    model: Annotated[str, result("The model's name, as the endpoint knows it")]
    provider: Annotated[
        str | None,
        result("Whose terms rule: openai, deepseek, …, `self` for a server of yours; empty: the host", enters="finish"),
    ] = None
    key: Annotated[
        EnvironmentVariable | None, execution("Environment variable that holds the key; empty: none is sent")
    ] = None
    protocol: Annotated[Literal["chat", "completions"], result("Which of the two calls is used")] = "chat"
    batches: Annotated[bool, execution("Ask through batch files, cheaper and within a day, where it has them")] = False
    pace: Annotated[Pace, Field(default_factory=Pace, description="Speed and patience")]
    spending: Annotated[Spending, Field(default_factory=Spending, description="Budget and prices")]


class ApiLabeler(ApiTeacher):
    """The same, asked for labels."""

    answer: Annotated[
        Literal["label", "first-token"],
        result("label: the text names one; first-token: the log-probabilities of the answer's first token"),
    ] = "label"
    samples: Annotated[PositiveInt, result("Answers to each question; shares of them are the probabilities")] = 1
    temperature: Annotated[float, result("Sampling temperature", ge=0, le=2)] = 0.0
    max_tokens: Annotated[PositiveInt, result("Longest answer, reasoning included")] = 64
    structured: Annotated[bool, result("Ask for JSON with the label, where the server can constrain it")] = True

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("several samples need a `temperature` above 0, or they are all the same")
        if self.answer == "first-token" and self.samples > 1:
            raise ValueError("`first-token` reads probabilities from one answer; `samples` must be 1")
        return self
