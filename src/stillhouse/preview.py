"""What is fed to whom: for a few rows, the exact text and token ids of the teacher, and those of the student.

for row in preview(recipe, base=Path("recipes"), rows=3): print(row.teacher_text, row.teacher_ids)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.addresses import resolve
from stillhouse.distill.stage import base_folder
from stillhouse.plan import make_plan
from stillhouse.raw.stage import sample_rows
from stillhouse.recipe.bind import prompt_of
from stillhouse.recipe.model import Recipe
from stillhouse.student import quiet
from stillhouse.teachers import is_classifier
from stillhouse.teachers.local import encode, encode_answers, load_tokenizer, model_folder


@dataclass(frozen=True)
class PreviewedRow:
    """One row as both models see it. Ids are what is computed on, special tokens included.

    teacher_text: up to where the answer begins. teacher_answers: what may follow, with the ids that are scored; empty
    for a classifier, which reads the text alone.
    student_text: what is left of the document after the student's cut at ``max_length``, decoded from its ids.
    """

    origin: str
    teacher_text: str
    teacher_ids: tuple[int, ...]
    teacher_answers: dict[str, tuple[int, ...]]
    student_text: str
    student_ids: tuple[int, ...]
    student_cut_off: bool


def preview(recipe: Recipe, *, base: Path, rows: int = 3) -> list[PreviewedRow]:
    """Render ``rows`` rows of the sources; loads both tokenizers and no weights. Raises what ``check`` would raise."""
    make_plan(recipe, base=base).raise_problems()
    cache = Path(recipe.paths.cache)
    files = resolve(recipe.ferment.teacher.model, cache=cache, base=base)
    teacher, prompted = load_tokenizer(files, cache=cache), not is_classifier(model_folder(files, cache))
    student = _student_tokenizer(base_folder(recipe, cache=cache, base=base))
    prompt = prompt_of(recipe.ferment.prompt, recipe.labels)
    words = [prompt.answer_for(label) for label in recipe.labels]
    longest = recipe.distill.train.max_length
    found = []
    for row in sample_rows(recipe, cache=cache, base=base, count=rows):
        text = prompt.render(row.text, teacher) if prompted else row.text
        whole: Sequence[int] = student(row.text)["input_ids"]
        kept: Sequence[int] = student(row.text, truncation=True, max_length=longest)["input_ids"]
        found.append(
            PreviewedRow(
                row.origin,
                text,
                tuple(encode(teacher, [text])[0]),
                dict(zip(recipe.labels, encode_answers(teacher, text, words), strict=True)) if prompted else {},
                student.decode(kept, skip_special_tokens=True),
                tuple(kept),
                len(whole) > len(kept),
            )
        )
    return found


def _student_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder)
