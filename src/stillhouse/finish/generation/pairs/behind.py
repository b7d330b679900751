"""A judge behind an endpoint: asked as a teacher there is, with the same store, budget, pace and batch files.

judge = EndpointJudge(endpoint, new_client, "Better is what is right.", max_tokens=256)
judge.read(questions, store=store).facts["bill"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stillhouse.answers import AnswerStore
from stillhouse.finish.generation.pairs.frame import CHOICES, Frame, without_marks
from stillhouse.finish.generation.pairs.reading import Reading, Readings, Tick, read_text
from stillhouse.teachers.api import (
    LOSSES,
    Answer,
    ApiClient,
    Call,
    Checks,
    Endpoint,
    Failure,
    ask,
    ask_in_batches,
)

# whatever comes is read, and what cannot be read is told apart here; an empty answer may be an accident of the server
_CHECKS = Checks(rules={"cut off": "keep", "refusal": "keep"})


@dataclass(frozen=True)
class EndpointJudge:
    """new_client: a client with the budget of one judgement. criteria: what makes an answer the better one. max_tokens:
    of what it writes, reasoning included. structured: that is constrained to JSON with one of the choices. batches:
    where batch files are kept, if they are used."""

    endpoint: Endpoint
    new_client: Callable[[Checks], ApiClient]
    criteria: str
    max_tokens: int
    structured: bool = True
    batches: Path | None = None
    poll_seconds: float = 60.0

    @property
    def frame(self) -> Frame:
        """What it is shown."""
        return Frame(without_marks, self.criteria)

    @property
    def by(self) -> str:
        """How its choices are read."""
        return f"text: {'constrained to JSON, where the server can' if self.structured else 'one word'}"

    def call(self, question: str) -> Call:
        """What goes out."""
        return Call.chat(question, max_tokens=self.max_tokens, labels=CHOICES if self.structured else ())

    def read(self, questions: Sequence[str], *, store: AnswerStore, progress: Tick | None = None) -> Readings:
        """See :class:`stillhouse.finish.generation.pairs.reading.Judge`; raises where the user has to mend
        something first."""
        client = self.new_client(_CHECKS)

        def tick(done: int, _: int | None) -> None:
            if progress:
                progress(done, len(questions))

        calls = [self.call(question) for question in questions]
        if self.batches is None:
            asked = ask(calls, client, store=store, progress=tick)
        else:
            asked = ask_in_batches(
                calls, client, store=store, folder=self.batches, poll_seconds=self.poll_seconds, progress=tick
            )
        lost = {failure.key: failure for failure in asked.failures}
        readings = []
        for question, call in zip(questions, calls, strict=True):
            key = call.key(self.endpoint)
            answer = asked.answers.get(key)
            readings.append(_failed(question, lost[key]) if answer is None else self._read(key, question, answer))
        facts = {
            "bill": asdict(asked.spent),
            "new_answers": asked.spent.answers,
            "failed_calls": dict(Counter(failure.reason for failure in asked.failures)),
        }
        return Readings(readings, facts)

    def _read(self, key: str, question: str, answer: Answer) -> Reading:
        trouble = ""
        if answer.refusal or answer.finish == "filter":
            trouble = f"it refused: {answer.refusal or 'stopped by the filter of the server'}"
        elif answer.finish == "length":
            trouble = f"cut off at {answer.usage.answer or self.max_tokens} tokens"
        return read_text(key, answer.text, sent=question, raw=answer.raw, trouble=trouble)


def _failed(question: str, failure: Failure) -> Reading:
    reason = f"{failure.reason}: {failure.detail}" if failure.detail else failure.reason
    if failure.reason in LOSSES:
        return Reading.failed(failure.key, question, reason, lost=True)
    return Reading(failure.key, question, None, failure.raw, reason)
