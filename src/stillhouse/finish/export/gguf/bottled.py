"""The GGUF files of a bottle: written, reloaded in llama.cpp, compared; what does not agree is left out.

made = bottle_gguf(Path("artifacts"), ("f16", "q8_0"), prompts=chats, texts=texts, answers=16, positions=100)
made.told, made.rows
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from stillhouse.finish.export.agreement import Comparison
from stillhouse.finish.export.bottled import Bottled, bottle
from stillhouse.finish.export.gguf.compare import FLOORS, compare_gguf
from stillhouse.finish.export.gguf.plan import Kind
from stillhouse.finish.export.gguf.write import export_gguf
from stillhouse.teachers.templates import Message
from stillhouse.workplace import Progress, silent

FOLDER = "gguf"


def bottle_gguf(
    student: Path,
    kinds: Sequence[Kind],
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    answers: int,
    positions: int,
    name: str = "",
    threads: int | None = None,
    progress: Progress = silent,
) -> Bottled:
    """Write ``student/gguf/model-KIND.gguf`` for each kind, and compare each with the student.

    prompts: conversations that end with a question, of which ``answers`` are asked. texts: what is read token by token,
    at ``positions`` places. Raises :class:`StillhouseError` where the student cannot be written at all.
    """
    progress("writing GGUF files", 0, 1)
    files = export_gguf(student, student / FOLDER, kinds, name=name)
    beside = partial(
        compare_gguf, student, prompts=prompts[:answers], texts=texts, positions=positions, threads=threads
    )

    def compared(kind: Kind, file: Path) -> Comparison:
        return beside(file, floors=FLOORS[kind])

    return bottle("gguf", files, compared, runtime="llama.cpp", progress=progress)
