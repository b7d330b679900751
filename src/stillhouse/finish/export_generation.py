"""Files for llama.cpp and onnxruntime beside a model that writes, bound to the recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillhouse.addresses import peek
from stillhouse.configurations import resized, shortened
from stillhouse.errors import Problem
from stillhouse.finish.export import onnx_causal
from stillhouse.finish.export.bottled import Bottled
from stillhouse.finish.export.gguf import Kind, check_gguf
from stillhouse.finish.export.gguf.bottled import bottle_gguf
from stillhouse.finish.generation.passages import Document, choose_prompts
from stillhouse.finish.inputs_generation import system_of
from stillhouse.recipe.finish_generation import Gguf, Onnx
from stillhouse.recipe.generation import FromLanguageConfig, Generation, KeepLanguageLayers
from stillhouse.recipe.rights import student_name
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.templates import Message
from stillhouse.workplace import Progress


def exports_of(
    recipe: Generation,
    artifacts: Path,
    rows_in: Sequence[Document],
    stored: Mapping[str, TextAnswer],
    progress: Progress,
) -> list[Bottled]:
    """The files that the recipe asks for, beside the student; compared on test prompts and held-out answers."""
    answers = [stored[row["id"]].answer for row in rows_in if row["id"] in stored]
    texts = [answer for answer in answers if answer] or [row["text"] for row in rows_in]
    threads, found = recipe.finish.speed.threads, []

    def prompts(settings: Gguf | Onnx) -> list[Sequence[Message]]:
        chosen = choose_prompts(rows_in, most=settings.prompts, system=system_of(recipe))
        return [one.messages or ({"role": "user", "content": one.text},) for one in chosen]

    gguf, onnx = recipe.finish.gguf, recipe.finish.onnx
    if gguf.kinds:
        found.append(
            bottle_gguf(
                artifacts,
                gguf.kinds,
                prompts=prompts(gguf),
                texts=texts,
                answers=gguf.prompts,
                positions=gguf.positions,
                name=student_name(recipe),
                threads=threads,
                progress=progress,
            )
        )
    if onnx.kinds:
        found.append(
            onnx_causal.bottle_onnx(
                artifacts,
                onnx.kinds,
                prompts=prompts(onnx),
                texts=texts,
                answers=onnx.prompts,
                positions=onnx.positions,
                threads=threads,
                progress=progress,
            )
        )
    return found


def export_problems(recipe: Generation, cache: Path, base: Path) -> list[Problem]:
    """Of a base that is here and in transformers' form; one that has still to be converted is looked at when it is."""
    finish, student = recipe.finish, recipe.distill.student
    files = peek(student.base, cache=cache, base=base) if finish.gguf.kinds or finish.onnx.kinds else None
    config = next((path for path in files.files if path.name == "config.json"), None) if files else None
    if config is None:
        return []
    from transformers import AutoConfig

    made = AutoConfig.from_pretrained(config.parent, local_files_only=True, trust_remote_code=False)
    if isinstance(student, FromLanguageConfig):
        made = resized(
            made,
            layers=student.layers,
            hidden_size=student.hidden_size,
            heads=student.heads,
            kv_heads=student.kv_heads,
            intermediate_size=student.intermediate_size,
        )
    elif isinstance(student, KeepLanguageLayers) and not isinstance(student.keep, int):
        made = shortened(made, student.keep)  # a number alone leaves open which layers they are
    problems = list(_gguf_problems(config.parent, made, finish.gguf.kinds)) if finish.gguf.kinds else []
    return [*problems, *(onnx_causal.check_onnx(made) if finish.onnx.kinds else ())]


def _gguf_problems(folder: Path, config: Any, kinds: Sequence[Kind]) -> Sequence[Problem]:
    """Of a student with this configuration, and with the tokenizer and the ends of the base in ``folder``."""
    from transformers import GenerationConfig

    ends: Any = getattr(config, "eos_token_id", None)
    if (folder / "generation_config.json").exists():
        ends = GenerationConfig.from_pretrained(folder, local_files_only=True).eos_token_id
    ids = [int(one) for one in (ends if isinstance(ends, list) else [] if ends is None else [ends])]
    return check_gguf(config, folder, kinds, ends=ids).problems
