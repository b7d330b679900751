"""What is fed to whom: for a few rows, the exact text and token ids of the teacher, and those of the student.

for row in preview(recipe, base=Path("recipes"), rows=3): print(row.teacher_text, row.teacher_ids)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stillhouse.addresses import resolve
from stillhouse.distill.stage_classification import base_folder
from stillhouse.plan import make_plan
from stillhouse.preview_chat import Ids, PreviewedRow, preview_chat
from stillhouse.raw.stage import sample_rows
from stillhouse.recipe.bind import prompt_of, question_of
from stillhouse.recipe.classification import Classification, as_classification
from stillhouse.recipe.generation import Generation
from stillhouse.recipe.model import Recipe
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.stock import quiet
from stillhouse.teachers import is_classifier
from stillhouse.teachers.local import Renderer, encode_answers, load_tokenizer, model_folder
from stillhouse.teachers.templates import text_ids


def preview(recipe: Recipe, *, base: Path, rows: int = 3) -> list[PreviewedRow]:
    """Render ``rows`` rows of the sources; loads both tokenizers and no weights. Raises what ``check`` would raise."""
    if isinstance(recipe, Generation):
        return preview_chat(recipe, base=base, rows=rows)
    recipe = as_classification(recipe, "a preview")
    make_plan(recipe, base=base).raise_problems()
    cache = Path(recipe.paths.cache)
    see = _teacher_view(recipe, cache, base)
    student = _student_tokenizer(base_folder(recipe, cache=cache, base=base))
    longest = recipe.distill.train.max_length
    found = []
    sample, _ = sample_rows(recipe, cache=cache, base=base, count=rows)
    for row in sample:
        whole: Sequence[int] = student(row.text)["input_ids"]
        kept: Sequence[int] = student(row.text, truncation=True, max_length=longest)["input_ids"]
        found.append(
            PreviewedRow(
                row.origin,
                *see(row.text),
                student.decode(kept, skip_special_tokens=True),
                tuple(kept),
                len(whole) > len(kept),
            )
        )
    return found


def _teacher_view(recipe: Classification, cache: Path, base: Path) -> Callable[[str], tuple[str, Ids, dict[str, Ids]]]:
    """How the teacher sees a text: what it is asked, the ids of that, and the ids of each answer."""
    section, prompt = recipe.ferment.teacher, prompt_of(recipe.ferment.prompt, recipe.labels)
    if isinstance(section, ApiTeacher):
        # the tokens are the endpoint's own affair
        return lambda text: (question_of(section, prompt, text), (), {})
    files = resolve(section.model, cache=cache, base=base)
    tokenizer = load_tokenizer(files, cache=cache)
    if is_classifier(model_folder(files, cache)):
        return lambda text: (text, tuple(tokenizer(text)["input_ids"]), {})
    renderer = Renderer(tokenizer)
    words = [prompt.answer_for(label) for label in recipe.labels]

    def see(text: str) -> tuple[str, Ids, dict[str, Ids]]:
        asked = renderer.render(prompt, text)
        answers = encode_answers(tokenizer, asked, words)
        return asked, text_ids(tokenizer, asked), dict(zip(recipe.labels, answers, strict=True))

    return see


def _student_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder)
