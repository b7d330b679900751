"""The recipe's section ``finish.evaluate.judge``: a model that compares answers, here or behind an endpoint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from stillhouse.recipe.fields import Section, execution, result
from stillhouse.recipe.licensed import Share
from stillhouse.recipe.teachers import EnvironmentVariable, Pace, Spending


class PairJudge(Section):
    """What every judge of pairs has. It teaches nothing: its verdicts are reported, and decide no gate."""

    prompts: Annotated[
        PositiveInt, result("Test prompts whose answers it compares, the first of `evaluate.prompts`", enters="judge")
    ] = 100
    criteria: Annotated[
        str,
        result("What makes an answer the better one, in words for the judge", enters="judge", min_length=10),
    ] = "Better is what is right, does what was asked, and is clear to whoever asked."
    max_tokens: Annotated[
        PositiveInt, result("Longest answer of the judge, where it writes one, reasoning included", enters="judge")
    ] = 256
    missing: Annotated[
        Share,
        result("Share of questions that may stay unanswered for want of budget, time or connection", enters="judge"),
    ] = 0.01


class LocalJudge(PairJudge):
    """A causal language model that runs here."""

    kind: Annotated[Literal["local"], result("Where the judge runs", enters="judge")]
    model: Annotated[
        str,
        result("Address of the model: a transformers folder or a GGUF file", enters="judge", address=True),
    ]
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        result("auto: bfloat16 where the hardware multiplies it natively, else float32", enters="judge"),
    ] = "auto"
    by: Annotated[
        Literal["auto", "likelihood", "text"],
        result("likelihood of A, B, tie; text: what it writes; auto: likelihood, but for reasoners", enters="judge"),
    ] = "auto"
    device: Annotated[Literal["auto", "cpu", "cuda", "mps"], execution("Where it runs")] = "auto"
    batch_tokens: Annotated[PositiveInt, execution("Tokens per batch")] = 1024
    threads: Annotated[PositiveInt | None, execution("CPU threads; empty: as torch chooses")] = None


class ApiJudge(PairJudge):
    """A model behind an endpoint that speaks the OpenAI protocol."""

    kind: Annotated[Literal["api"], result("Where the judge runs", enters="judge")]
    endpoint: Annotated[str, result("Base URL, as https://api.example.org/v1; no key in it", enters="judge")]
    model: Annotated[str, result("The model's name, as the endpoint knows it", enters="judge")]
    structured: Annotated[
        bool, result("Ask for JSON with the choice, where the server can constrain it", enters="judge")
    ] = True
    key: Annotated[
        EnvironmentVariable | None, execution("Environment variable that holds the key; empty: none is sent")
    ] = None
    provider: Annotated[
        str | None, execution("Whose list prices hold, where genai-prices is installed; empty: by the model's name")
    ] = None
    batches: Annotated[bool, execution("Ask through batch files, cheaper and within a day, where it has them")] = False
    pace: Annotated[Pace, Field(default_factory=Pace, description="Speed and patience")]
    spending: Annotated[Spending, Field(default_factory=Spending, description="Budget and prices")]
