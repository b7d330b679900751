"""What the models answer to held-out prompts, greedily, each asked through its own chat template.

prompts, said = ask_all(speakers, prompts, max_tokens=128)
said["student"][0].answer, said["student"][0].finish_reason
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from stillhouse.errors import StillhouseError
from stillhouse.finish.generation.passages import Prompt
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.signals.text import TextAnswer
from stillhouse.teachers.drawing import Sampling
from stillhouse.teachers.reasoning import Trace
from stillhouse.teachers.templates import Message, RowError

_DEFAULT_TOKENS = 256


@dataclass(frozen=True)
class Written:
    """One answer. text: all that was written. answer: without the reasoning. tokens: how many, the end included."""

    text: str
    answer: str
    finish_reason: str
    tokens: int

    @property
    def stopped(self) -> bool:
        """Whether it ended by itself."""
        return self.finish_reason == "stop"

    @classmethod
    def of(cls, stored: TextAnswer) -> Written:
        """What a teacher behind an endpoint wrote in stage 2."""
        text = f"{stored.reasoning}\n\n{stored.answer}" if stored.reasoning else stored.answer
        return cls(text, stored.answer, stored.finish_reason, stored.answer_tokens)


def ask_all(
    speakers: Mapping[str, Speaker],
    prompts: Sequence[Prompt],
    *,
    max_tokens: int,
    stop: Sequence[str] = (),
    batch_tokens: int = 4096,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[list[Prompt], dict[str, list[Written]]]:
    """The prompts that every model takes, in their order, and each model's answers to them.

    Raises :class:`StillhouseError` where there is none.
    """
    sampling = Sampling(max_new_tokens=max_tokens, stop=tuple(stop))
    asked = {name: [_ids(speaker, prompt) for prompt in prompts] for name, speaker in speakers.items()}
    fits = [
        all(0 < len(asked[name][place]) <= speaker.context - max_tokens for name, speaker in speakers.items())
        for place in range(len(prompts))
    ]
    kept = [place for place, good in enumerate(fits) if good]
    if not kept:
        raise StillhouseError(
            f"none of {len(prompts)} test prompts can be asked of every model with room for {max_tokens} tokens",
            where="finish.evaluate.max_tokens",
            fix="lower it, or give prompts that fit the shortest context",
        )
    said = {}
    for name, speaker in speakers.items():
        report = partial(progress, f"{name} answers") if progress else None
        said[name] = _answers(
            speaker,
            [prompts[place] for place in kept],
            [asked[name][place] for place in kept],
            sampling,
            batch_tokens,
            report,
        )
    return [prompts[place] for place in kept], said


def answer_each(
    speaker: Speaker, prompts: Sequence[str | Sequence[Message]], *, max_tokens: int | None = None, batch_size: int = 8
) -> list[Written]:
    """Answers of one model to conversations, or to plain texts that it goes on from.

    max_tokens: ``None`` for 256, or half of what the model takes where that is less. Raises :class:`StillhouseError`
    for the first prompt that it cannot take.
    """
    asked = [
        Prompt(str(place), None, one, None) if isinstance(one, str) else Prompt(str(place), tuple(one), "", None)
        for place, one in enumerate(prompts)
    ]
    most = max_tokens or min(_DEFAULT_TOKENS, speaker.context // 2)
    ids = []
    for prompt in asked:
        try:
            found = speaker.prompt(prompt.messages, prompt.text)
        except RowError as error:
            raise _refused(prompt, str(error)) from error
        if not 0 < len(found) <= speaker.context - most:
            reason = f"it has {len(found)} tokens; the model takes {speaker.context}, {most} of them for the answer"
            raise _refused(prompt, reason)
        ids.append(found)
    longest = max(map(len, ids), default=0) + most
    return _answers(speaker, asked, ids, Sampling(max_new_tokens=most), batch_size * longest, None)


def _refused(prompt: Prompt, reason: str) -> StillhouseError:
    return StillhouseError(
        f"this cannot be asked: {reason}",
        where=f"the prompt {prompt.words[:60]!r}",
        fix="shorten it, or lower `max_tokens`",
    )


def _ids(speaker: Speaker, prompt: Prompt) -> tuple[int, ...]:
    """Empty where the model cannot be asked."""
    try:
        return speaker.prompt(prompt.messages, prompt.text)
    except RowError:
        return ()


def _answers(
    speaker: Speaker,
    prompts: Sequence[Prompt],
    ids: Sequence[tuple[int, ...]],
    sampling: Sampling,
    batch_tokens: int,
    progress: Callable[[int, int], None] | None,
) -> list[Written]:
    generator = speaker.generator
    asks = sampling.asks([prompt.document for prompt in prompts], ids)
    found: dict[int, Written] = {}
    for batch in generator.batches(asks, sampling, batch_tokens):
        for place, one in zip(batch, generator.answer([asks[place] for place in batch], sampling), strict=True):
            trace = speaker.trace(one.text, chat=prompts[place].messages is not None)
            found[place] = Written(one.text, _answer(trace), one.finish_reason, one.answer_tokens)
        if progress:
            progress(len(found), len(asks))
    return [found[place] for place in range(len(asks))]


def _answer(trace: Trace) -> str:
    return trace.answer if trace.closed else ""
