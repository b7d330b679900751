"""A teacher behind an endpoint, asked for labels: its words, or the log-probabilities of its answer's first token.

asker = ApiAsker(endpoint, new_client, calls=calls_of_text, answer="label")
captured = asker.ask(prompt, labels, texts, store=store, progress=tick)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from stillhouse.answers import AnswerStore
from stillhouse.ferment.asking import Tick
from stillhouse.ferment.capture import Captured, Failure
from stillhouse.prompts import Prompt
from stillhouse.store import digest_of
from stillhouse.teachers.api import (
    LOSSES,
    Answer,
    ApiClient,
    Call,
    Checks,
    Endpoint,
    ask,
    ask_in_batches,
    label_probs,
    read_label,
)

# one token is all that is asked for, so it is cut off, and need not be a whole label
_FIRST_TOKEN = Checks(rules={"cut off": "keep", "empty": "keep"})
# what each label gets beside its votes, so that one answer is strong evidence and not certainty
_PRIOR_VOTES = 0.1


@dataclass(frozen=True)
class ApiAsker:
    """new_client: a client with the budget of one asking. calls: what is asked about a text, one for
    each sample. batches: where batch files are kept, if they are what it is asked with."""

    endpoint: Endpoint
    new_client: Callable[[Checks], ApiClient]
    calls: Callable[[Prompt, Sequence[str], str], list[Call]]
    answer: Literal["label", "first-token"]
    batches: Path | None = None
    poll_seconds: float = 60.0

    @property
    def precision(self) -> str:
        """Not known here."""
        return "the endpoint's"

    @property
    def reason(self) -> str:
        """Which host is asked."""
        return f"{self.endpoint.model} at {urlsplit(self.endpoint.url).hostname}"

    def identity(self) -> dict[str, Any]:
        """Endpoint and model; what is asked is in each answer's key."""
        return self.endpoint.identity()

    def ask(
        self, prompt: Prompt, labels: Sequence[str], texts: Sequence[str], *, store: AnswerStore, progress: Tick
    ) -> Captured:
        """See :class:`stillhouse.ferment.asking.Asker`. A text without a usable answer is a failure with its reason."""
        words = [prompt.words[label] for label in labels]
        client = self.new_client(Checks(labels=tuple(words)) if self.answer == "label" else _FIRST_TOKEN)
        keys = [[call.key(self.endpoint) for call in self.calls(prompt, labels, text)] for text in texts]

        def every() -> Iterator[Call]:
            for text in texts:
                yield from self.calls(prompt, labels, text)

        total = sum(map(len, keys))

        def tick(done: int, _: int | None) -> None:
            progress(done, total)

        if self.batches is None:
            asked = ask(every(), client, store=store, progress=tick)
        else:
            asked = ask_in_batches(
                list(every()), client, store=store, folder=self.batches, poll_seconds=self.poll_seconds, progress=tick
            )
        lost = {failure.key: failure for failure in asked.failures}
        log_probs = np.full((len(texts), len(labels)), np.nan)
        failures = []
        for row, row_keys in enumerate(keys):
            found = [asked.answers[key] for key in row_keys if key in asked.answers]
            if found:
                log_probs[row] = self._read(found, words)
            else:
                first = lost[row_keys[0]]
                reason = f"{first.reason}: {first.detail}" if first.detail else first.reason
                failures.append(Failure(row, reason, first.raw, lost=first.reason in LOSSES))
        return Captured(
            log_probs,
            tuple(one[0] if len(one) == 1 else digest_of(one) for one in keys),
            tuple(failures),
            new_answers=asked.spent.answers,
            new_tokens=asked.spent.prompt_tokens + asked.spent.answer_tokens,
            prefix_tokens=0,
            facts={
                "bill": asdict(asked.spent),
                "calls": total,
                "faults": dict(asked.faults),
                "failed_calls": dict(Counter(failure.reason for failure in asked.failures)),
            },
        )

    def _read(self, answers: list[Answer], words: list[str]) -> npt.NDArray[np.float64]:
        """Log-probabilities (K,) from the usable answers to one question."""
        if self.answer == "first-token":
            (position, *_) = answers[0].top or ()
            assert position  # noqa: S101 - an answer without log-probabilities is a failure
            return np.array(label_probs(position, words).log_probs, dtype=np.float64)
        votes = Counter(read_label(answer.text, words).label for answer in answers)
        counts = np.array([votes[word] for word in words]) + _PRIOR_VOTES
        return np.asarray(np.log(counts / counts.sum()), dtype=np.float64)
