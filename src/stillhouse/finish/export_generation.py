"""Files for llama.cpp beside a model that writes, bound to the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stillhouse.addresses import peek
from stillhouse.errors import Problem
from stillhouse.finish.export.gguf.bottled import Bottled, bottle_gguf, problems_before
from stillhouse.finish.generation.passages import Document, choose_prompts
from stillhouse.finish.inputs_generation import system_of
from stillhouse.recipe.generation import FromLanguageConfig, Generation
from stillhouse.recipe.rights import student_name
from stillhouse.signals.text import TextAnswer
from stillhouse.workplace import Progress


def gguf_of(
    recipe: Generation,
    artifacts: Path,
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
    progress: Progress,
) -> Bottled | None:
    """The files that the recipe asks for, beside the student; compared on test prompts and held-out answers."""
    settings = recipe.finish.gguf
    if not settings.kinds:
        return None
    asked_for = choose_prompts(rows_in, most=settings.prompts, system=system_of(recipe))
    texts = [one.answer for one in stored.values() if one.answer] or [row["text"] for row in rows_in]
    return bottle_gguf(
        artifacts,
        settings.kinds,
        prompts=[one.messages or ({"role": "user", "content": one.text},) for one in asked_for],
        texts=texts,
        answers=settings.prompts,
        positions=settings.positions,
        name=student_name(recipe),
        threads=recipe.finish.speed.threads,
        progress=progress,
    )


def gguf_problems(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Of a base that is here and in transformers' form; one that has still to be converted is looked at when it is."""
    kinds, student = recipe.finish.gguf.kinds, recipe.distill.student
    files = peek(student.base, cache=cache, base=base) if kinds else None
    config = next((path for path in files.files if path.name == "config.json"), None) if files else None
    if config is None:
        return []
    sizes = {}
    if isinstance(student, FromLanguageConfig):
        sizes = {
            "num_hidden_layers": student.layers,
            "hidden_size": student.hidden_size,
            "num_attention_heads": student.heads,
            "num_key_value_heads": student.kv_heads or student.heads,
            "intermediate_size": student.intermediate_size,
            "head_dim": student.hidden_size // student.heads,
        }
    return problems_before(config.parent, kinds, sizes)
