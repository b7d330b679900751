"""Questions of our own, put to teacher and student alike: the same words, each through its own chat template.

    said = ask({"teacher": teacher, "student": student}, ["Who made you?"], system="", max_tokens=32)
    said.answers["student"][0].answer, said.prompts[0]

Where one of them has no chat template, all are asked as plain text, so that none is asked in a way of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stillhouse.finish.generation.answers import Written, ask_all
from stillhouse.finish.generation.passages import Prompt
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.teachers.templates import Message
from stillhouse.workplace import Progress, silent

_PLAIN_END = "\n\n"  # where a text that goes on would begin its next question


@dataclass(frozen=True)
class Said:
    """places: which of the questions every model could be asked. prompts: what each was told, for finding quotations.
    answers: by model, one for each of them."""

    places: tuple[int, ...]
    prompts: tuple[str, ...]
    answers: Mapping[str, tuple[Written, ...]]


def ask(
    speakers: Mapping[str, Speaker],
    questions: Sequence[str],
    *,
    system: str,
    max_tokens: int,
    what: str,
    batch_tokens: int = 4096,
    progress: Progress = silent,
) -> Said:
    """Greedy answers to ``questions``. system: put before each, where there is one. what: for people who wait.

    Raises :class:`StillhouseError` where no question fits every model.
    """
    chat = all(speaker.template is not None for speaker in speakers.values())
    prompts = [
        Prompt(str(place), conversation(question, system), "", None)
        if chat
        else Prompt(str(place), None, plain(question, system), None)
        for place, question in enumerate(questions)
    ]
    asked, said = ask_all(
        speakers,
        prompts,
        max_tokens=max_tokens,
        stop=() if chat else (_PLAIN_END,),
        batch_tokens=batch_tokens,
        progress=lambda name, done, total: progress(f"audit: {what}: {name}", done, total),
    )
    return Said(
        tuple(int(prompt.document) for prompt in asked),
        tuple(prompt.words for prompt in asked),
        {name: tuple(written) for name, written in said.items()},
    )


def conversation(question: str, system: str) -> tuple[Message, ...]:
    """The messages with which a question is asked."""
    turn: Message = {"role": "user", "content": question}
    return ({"role": "system", "content": system}, turn) if system else (turn,)


def plain(question: str, system: str) -> str:
    """The same as a text to be continued."""
    return f"{system}\n\n{question}\n".lstrip()
