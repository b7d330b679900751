"""What is fed to whom where a student learns to write: the teacher's prompt, and the tokens that the student learns.

for row in preview_chat(recipe, base=Path("recipes"), rows=3): print(row.teacher_text, row.student_text)
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillhouse.addresses import resolve
from stillhouse.distill.beginning import base_folder
from stillhouse.plan import make_plan
from stillhouse.raw.stage import sample_rows
from stillhouse.recipe.generation import Ask, Generation
from stillhouse.recipe.teachers import ApiTeacher
from stillhouse.stock import quiet
from stillhouse.teachers.local import load_tokenizer
from stillhouse.teachers.sequences import asked, conversation, plain, shortened
from stillhouse.teachers.templates import ChatTemplate, RowError, text_ids

Ids = tuple[int, ...]


@dataclass(frozen=True)
class PreviewedRow:
    """One row as both models see it. Ids are what is computed on, special tokens included.

    teacher_text: up to where the answer begins. teacher_answers: what may follow, with the ids that are scored; empty
    for a classifier, which reads the text alone, and behind an endpoint, whose tokens are not known.
    student_text: what is left of the document after the student's cut at ``max_length``, decoded from its ids; of a
    conversation only what is learned, each answer on a line of its own.
    """

    origin: str
    teacher_text: str
    teacher_ids: Ids
    teacher_answers: dict[str, Ids]
    student_text: str
    student_ids: Ids
    student_cut_off: bool


def preview_chat(recipe: Generation, *, base: Path, rows: int = 3) -> list[PreviewedRow]:
    """Render ``rows`` rows of the sources; loads both tokenizers and no weights. Raises what ``check`` would raise."""
    make_plan(recipe, base=base).raise_problems()
    cache = Path(recipe.paths.cache)
    teacher, student = _teacher_tokenizer(recipe, cache, base), _tokenizer(base_folder(recipe, cache=cache, base=base))
    sample, _ = sample_rows(recipe, cache=cache, base=base, count=rows)
    found = []
    for row in sample:
        document = {"messages": row.messages, "text": row.text}
        shown = _shown(recipe, teacher, document)
        text, ids, cut_off = _learned(recipe, student, document)
        seen = () if teacher is None else text_ids(teacher, shown)
        found.append(PreviewedRow(row.origin, shown, seen, {}, text, ids, cut_off))
    return found


def _shown(recipe: Generation, tokenizer: Any, document: dict[str, Any]) -> str:
    """What the teacher reads: its prompt where it is asked, else all that it looks at."""
    answers = recipe.ferment.answers
    messages = asked(document, answers.system) if isinstance(answers, Ask) else document["messages"]
    if not messages:
        return str(document["text"])
    if tokenizer is None:
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)
    template = ChatTemplate(tokenizer)
    return (
        template.text(messages) if isinstance(answers, Ask) else template.text(messages[:-1]) + messages[-1]["content"]
    )


def _learned(recipe: Generation, tokenizer: Any, document: dict[str, Any]) -> tuple[str, Ids, bool]:
    """The text and ids that the student learns, and whether the end of them is cut off."""
    if isinstance(recipe.ferment.answers, Ask):
        return "(what the teacher writes after its prompt, and the end of the turn)", (), False
    try:
        if document["messages"]:
            turns = recipe.distill.choose.turns
            whole = conversation(ChatTemplate(tokenizer), document["messages"], turns=turns)
        else:
            whole = plain(tokenizer, document["text"])
        short = shortened(whole, recipe.distill.train.max_length)
    except RowError as error:
        return f"(nothing: {error})", (), False
    parts = [short.ids[start:end] for start, end in short.spans]
    text = "\n".join(tokenizer.decode(list(part)) for part in parts)
    return text, tuple(one for part in parts for one in part), short.learned < whole.learned


def _teacher_tokenizer(recipe: Generation, cache: Path, base: Path) -> Any:
    section = recipe.ferment.teacher
    if isinstance(section, ApiTeacher):
        return None  # the tokens are the endpoint's own affair
    return load_tokenizer(resolve(section.model, cache=cache, base=base), cache=cache)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    with quiet():
        return AutoTokenizer.from_pretrained(folder)
