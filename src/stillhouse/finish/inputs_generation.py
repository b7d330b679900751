"""What the judgement of a model that writes is made from: the models, the held-out answers and the test prompts.

Read from sealed folders as the recipe says; used by all that :mod:`stillhouse.finish.judge_generation` asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stillhouse.addresses import resolve
from stillhouse.device import place
from stillhouse.errors import StillhouseError
from stillhouse.finish.evaluate import TEACHER
from stillhouse.finish.generation.contrast import STUDENT
from stillhouse.finish.generation.other_text import read_texts
from stillhouse.finish.generation.passages import Document, Passage, Prompt, answered, choose_prompts, given
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.summary import ANSWERS, GIVEN, OTHER
from stillhouse.recipe.bind import load_teacher
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.recipe.teachers import LocalTeacher
from stillhouse.signals.text import Text, TextAnswer
from stillhouse.workplace import Places


def asked_of(recipe: Generation) -> Ask | None:
    """How the teacher was asked, where it was."""
    return recipe.ferment.answers if isinstance(recipe.ferment.answers, Ask) else None


def system_of(recipe: Generation) -> str:
    answers = asked_of(recipe)
    return answers.system if answers else ""


def speakers_of(recipe: Generation, places: Places, artifacts: Path) -> dict[str, Speaker]:
    """The teacher, where it runs here; the student as it ships; the controls, rounded as it was."""
    speakers = {}
    section, device = recipe.ferment.teacher, place(recipe.distill.train.device, "float32").device
    if isinstance(section, LocalTeacher):
        teacher: Any = load_teacher(section, cache=places.cache, base=places.base)
        teacher.model.to(device)
        speakers[TEACHER] = Speaker.of(TEACHER, teacher.model, teacher.tokenizer, asked_by_template=True)
    load = partial(Speaker.load, precision=recipe.finish.precision, device=device)
    speakers[STUDENT] = load(STUDENT, artifacts)
    return speakers | {name: load(name, places.sealed("controls") / name) for name in recipe.controls}


def stored_answers(recipe: Generation, places: Places) -> dict[str, TextAnswer]:
    """The first answer that the teacher gave about each document in stage 2, if it was asked."""
    if not isinstance(recipe.ferment.answers, Ask):
        return {}
    found: dict[str, TextAnswer] = {}
    for one in Text.read(places.sealed("ferment")).answers:
        if one.id not in found or one.sample < found[one.id].sample:
            found[one.id] = one
    return found


def held_passages(
    recipe: Generation,
    places: Places,
    speakers: Mapping[str, Speaker],
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
) -> dict[str, list[Passage]]:
    """By slice: what the teacher answered, what the data hold themselves, and other text; empty ones left out."""
    template = next(iter(speakers.values())).template
    opened = bool(template and template.opens_reasoning)
    found = {
        ANSWERS: answered(rows_in, stored, system=system_of(recipe), opened=opened),
        GIVEN: given(rows_in, turns=recipe.distill.choose.turns),
    }
    other = recipe.finish.evaluate.other_text
    if other is not None:
        files = resolve(other.data, cache=places.cache, base=places.base)
        found[OTHER] = read_texts(files, column=other.text, most=other.most)
    found = {name: passages for name, passages in found.items() if passages}
    if ANSWERS not in found and GIVEN not in found:
        raise StillhouseError(
            "there is no held-out answer: neither did the teacher answer a test document, nor does one hold an answer",
            where="2-ferment/failures.parquet",
            fix="see the reasons there",
        )
    return found


def test_prompts(
    recipe: Generation,
    speakers: Mapping[str, Speaker],
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
) -> list[Prompt]:
    """Of a teacher that does not run here, only what it answered in stage 2 can be compared."""
    absent = TEACHER not in speakers and bool(stored)
    rows = [row for row in rows_in if not absent or row["id"] in stored]
    return choose_prompts(rows, most=recipe.finish.evaluate.prompts, system=system_of(recipe))
