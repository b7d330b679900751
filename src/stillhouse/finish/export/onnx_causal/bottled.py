"""The ONNX files of a bottle that writes: exported, reloaded in onnxruntime, compared; what does not agree is left out.

made = bottle_onnx(Path("artifacts"), ("fp32", "int8"), prompts=chats, texts=texts, answers=16, positions=100)
made.told, made.rows
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stillhouse.finish.artifacts import tell_tokenizer
from stillhouse.finish.export.agreement import Comparison, Floors, compare
from stillhouse.finish.export.bottled import Bottled, bottle
from stillhouse.finish.export.onnx_causal.plan import Kind
from stillhouse.finish.export.onnx_causal.runtime import OnnxWriter
from stillhouse.finish.export.onnx_causal.write import export_onnx
from stillhouse.finish.export.probes import SHAPES
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.teachers.templates import Message
from stillhouse.workplace import Progress, silent

FOLDER = "onnx"

# float32 is torch's own arithmetic in another order; 8 bits are to be as good as llama.cpp's q8_0
FLOORS: Mapping[Kind, Floors] = {
    "fp32": Floors(agreeing=0.98, kl=1e-4),
    "int8": Floors(kl=0.02),
}


def compare_onnx(
    student: Path,
    file: Path,
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    floors: Floors,
    most: int = 50,
    positions: int = 200,
    threads: int | None = None,
    shapes: Sequence[tuple[str, str]] = SHAPES,
) -> Comparison:
    """Compare ``file`` with the folder ``student``: prompts are answered in batches that are padded on the left, texts
    are read piece by piece with the cache, and all tokens of a distribution are told apart.

    prompts, texts, most, positions: see :func:`compare`.
    """
    speaker = Speaker.load("student", student)

    @contextmanager
    def opened(context: int) -> Iterator[OnnxWriter]:
        yield OnnxWriter(file, student, threads=threads, ends=sorted(speaker.ends))

    return compare(
        speaker,
        opened,
        prompts=prompts,
        texts=texts,
        floors=floors,
        where=str(file),
        most=most,
        positions=positions,
        shapes=shapes,
    )


def bottle_onnx(
    student: Path,
    kinds: Sequence[Kind],
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    answers: int,
    positions: int,
    threads: int | None = None,
    progress: Progress = silent,
) -> Bottled:
    """Write the files into ``student/onnx``, and compare each with the student.

    prompts: conversations that end with a question, of which ``answers`` are asked. texts: what is read token by token,
    at ``positions`` places. Raises :class:`StillhouseError` where the student cannot be exported at all.
    """
    progress("exporting to ONNX", 0, 1)
    files = export_onnx(student, student / FOLDER, kinds)
    template = student / "chat_template.jinja"
    if template.is_file():  # transformers.js does not read it
        tell_tokenizer(student, chat_template=template.read_text("utf-8"))
    beside = partial(
        compare_onnx, student, prompts=prompts[:answers], texts=texts, positions=positions, threads=threads
    )

    def compared(kind: Kind, file: Path) -> Comparison:
        return beside(file, floors=FLOORS[kind])

    return bottle("onnx", files, compared, runtime="onnxruntime", progress=progress)
