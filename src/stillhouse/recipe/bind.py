"""From recipe sections to the objects below: the one place where a section becomes plain arguments for several rooms.

teacher = load_teacher(recipe, cache=cache, base=base)
prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
"""

from __future__ import annotations

from pathlib import Path

from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.prompts import Prompt
from stillhouse.recipe.model import PromptSection, Recipe
from stillhouse.teachers import ClassifierTeacher, LocalTeacher, Teacher, is_classifier


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


def load_teacher(recipe: Recipe, *, cache: Path, base: Path) -> Teacher:
    """The recipe's teacher, fetched if need be, and loaded."""
    section = recipe.ferment.teacher
    files = resolve(section.model, cache=cache, base=base)
    placement = place(section.device, section.precision)
    config = next((path for path in files.files if path.name == "config.json"), None)
    if config is not None and is_classifier(config.parent):
        return ClassifierTeacher.load(files, placement)
    return LocalTeacher.load(files, placement, cache=cache)
