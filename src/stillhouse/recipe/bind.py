"""From recipe sections to the objects below: the one place where a section becomes plain arguments for several rooms.

teacher = load_teacher(recipe.ferment.teacher, cache=cache, base=base)
prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.errors import StillhouseError
from stillhouse.prompts import Prompt
from stillhouse.recipe.classification import PromptSection
from stillhouse.recipe.judge import ApiJudge, LocalJudge
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.teachers import ApiLabeler, ApiTeacher, LocalTeacher
from stillhouse.teachers import ClassifierTeacher, Teacher, is_classifier
from stillhouse.teachers import LocalTeacher as CausalTeacher
from stillhouse.teachers.api import ApiClient, Budget, Call, Checks, Endpoint, Key, Limits, Prices, known_prices


def prompt_of(section: PromptSection, labels: tuple[str, ...]) -> Prompt:
    """The prompt that the recipe's section describes."""
    return Prompt(
        question=section.question,
        answer=section.answer,
        words=section.words or {label: label for label in labels},
        examples=tuple((example.text, example.label) for example in section.examples),
        separator=section.separator,
        instruction=section.instruction,
        chat=section.chat,
    )


def load_teacher(section: LocalTeacher | LocalJudge, *, cache: Path, base: Path) -> Teacher:
    """A teacher that runs here, fetched if need be, and loaded."""
    files = resolve(section.model, cache=cache, base=base)
    placement = place(section.device, section.precision)
    config = next((path for path in files.files if path.name == "config.json"), None)
    if config is not None and is_classifier(config.parent):
        return ClassifierTeacher.load(files, placement)
    return CausalTeacher.load(files, placement, cache=cache)


def teacher_bytes(recipe: Recipe, *, cache: Path, base: Path) -> int | None:
    """The size of all teachers' files; that of a model behind an endpoint is not known."""
    total = 0
    for section in recipe.ferment.teachers:
        if isinstance(section, ApiTeacher):
            return None
        files = resolve(section.model, cache=cache, base=base)
        total += sum(path.stat().st_size for path in files.files)
    return total


def endpoint_of(section: ApiTeacher | ApiJudge) -> Endpoint:
    """The section's endpoint; raises :class:`StillhouseError` for an address that is none or holds a secret."""
    return Endpoint(section.endpoint, section.model)


def key_of(section: ApiTeacher | ApiJudge) -> Key | None:
    """The key, from the environment variable that the recipe names; raises when that is not set."""
    if section.key is None:
        return None
    value = os.environ.get(section.key)  # noqa: TID251 - the recipe names the variable; a key has no place in a file
    if not value:
        raise StillhouseError(
            f"the environment variable {section.key} is not set",
            where="finish.evaluate.judge.key" if isinstance(section, ApiJudge) else "ferment.teacher.key",
            fix=f"export {section.key}=… with the endpoint's key",
        )
    return Key(value)


def new_client(section: ApiTeacher | ApiJudge, checks: Checks) -> ApiClient:
    """A client with the section's pace, prices and whole budget."""
    pace, spending = section.pace, section.spending
    limits = Limits(
        concurrency=pace.concurrency,
        requests_per_minute=pace.requests_per_minute,
        tokens_per_minute=pace.tokens_per_minute,
        attempts=pace.attempts,
        timeout=pace.timeout,
    )
    budget = Budget(spending.tokens, spending.money)
    endpoint, key = endpoint_of(section), key_of(section)
    return ApiClient(endpoint, key=key, limits=limits, budget=budget, prices=prices_of(section), checks=checks)


def prices_of(section: ApiTeacher | ApiJudge) -> Prices | None:
    """The recipe's prices; else those that the package genai-prices knows, where it is installed."""
    spending = section.spending
    if spending.price_prompt is not None and spending.price_answer is not None:
        return Prices(spending.price_prompt, spending.price_answer)
    return known_prices(section.model, section.provider)


def calls_of(section: ApiLabeler, prompt: Prompt, labels: Sequence[str], text: str) -> list[Call]:
    """What is asked about one text: one call for each sample."""
    words = tuple(prompt.words[label] for label in labels)
    first_token = section.answer == "first-token"
    ask: dict[str, Any] = {"messages": tuple(prompt.messages(text))}
    if section.protocol == "completions":
        ask = {"prompt": prompt.render(text)}
    return [
        Call(
            **ask,
            max_tokens=1 if first_token else section.max_tokens,
            temperature=section.temperature,
            top=20 if first_token else None,
            labels=words if section.structured and not first_token else (),
            sample=sample,
        )
        for sample in range(section.samples)
    ]


def question_of(section: ApiTeacher, prompt: Prompt, text: str) -> str:
    """What goes out about one text, for people to read."""
    if section.protocol == "completions":
        return prompt.render(text)
    return json.dumps(prompt.messages(text), ensure_ascii=False, indent=2)
