"""A GGUF file held against the student it was made of, in llama.cpp.

    compared = compare_gguf(Path("student"), files["q8_0"], prompts=chats, texts=texts, floors=FLOORS["q8_0"])

What is measured, and how, is said in :mod:`stillhouse.finish.export.agreement`. Beside it the way of clients is tried:
the chat template inside the file, and where an answer ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from stillhouse.finish.export.agreement import Ask, Comparison, Floors, Written, compare
from stillhouse.finish.export.gguf.plan import Kind
from stillhouse.finish.export.gguf.runtime import Runtime
from stillhouse.finish.export.probes import SHAPES
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.teachers.templates import Message, merge_system

TOP = 2048  # of 49,152 these hold 0.97 of a small model's mass; the bench has what the rest as one hides
_CHATS = 4  # conversations by the way that clients take

# set before the first file was looked at: f16 rounds, 8 bits are to be as good as none lost, 4 bits cost
FLOORS: Mapping[Kind, Floors] = {
    "f16": Floors(agreeing=0.95, kl=0.002),
    "q8_0": Floors(kl=0.02),
    "q4_0": Floors(kl=0.2, stops=0.8),
}


def compare_gguf(
    student: Path,
    file: Path,
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    floors: Floors,
    most: int = 50,
    positions: int = 200,
    top: int = TOP,
    threads: int | None = None,
    exact: bool = False,
    shapes: Sequence[tuple[str, str]] = SHAPES,
) -> Comparison:
    """Compare ``file`` with the folder ``student``.

    prompts, texts, most, positions, top: see :func:`compare`. exact: see :meth:`Runtime.open`. Raises
    :class:`StillhouseError` where the runtime is missing, cannot load the file, or dies.
    """
    speaker = Speaker.load("student", student)
    return compare(
        speaker,
        lambda context: Runtime.open(file, context=context, threads=threads, exact=exact),
        prompts=prompts,
        texts=texts,
        floors=floors,
        where=str(file),
        most=most,
        positions=positions,
        top=top,
        shapes=shapes,
        also=partial(_by_chat, speaker, most),
    )


def _by_chat(
    speaker: Speaker, most: int, runtime: Runtime, asks: Sequence[Ask], written: Sequence[Written]
) -> list[str]:
    """What is wrong on the way that clients take: the template inside the file, and where an answer ends."""
    if speaker.template is None:
        return []
    found = []
    begin = speaker.tokenizer.bos_token or ""
    for (_, messages, ids), one in list(zip(asks, written, strict=True))[:_CHATS]:
        assert messages is not None  # noqa: S101 - there is a template
        told = messages if speaker.template.system == "own" else merge_system(messages)
        wanted, rendered = speaker.template.text(messages), runtime.template(told)
        # a beginning that the tokenizer adds is taken off again by the server
        if rendered != wanted and (not begin or begin + rendered != wanted):
            found.append(f"the chat template says {rendered[:80]!r} and not {wanted[:80]!r}")
            break
        if runtime.tokens(rendered) != list(ids):
            found.append(f"a conversation has other ids: {rendered[:80]!r}")
            break
        text, reason = runtime.chat(told, most)
        if (reason == "stop") != (one.end is not None):
            found.append(f"by the way of clients an answer ends by {reason!r}: {text[:80]!r}")
            break
    return found
