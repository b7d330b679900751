"""How a model answers, whatever it says: does it repeat itself, end by itself, refuse, or say nothing?

habits = Habits.of(written, prompts)
habits.repetition.mean(), habits.stopped.mean()

Repetition is 1 - unique / all 4-grams of words within an answer (seq-rep-4 of Welleck et al. 2020, arXiv 1908.04319;
an answer of fewer than four words repeats nothing). Distinct-2 is unique / all pairs of words over all answers of a
model (Li et al. 2016, arXiv 1510.03055); it falls as answers grow longer, so it is read beside their length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.finish.evaluate import Row
from stillhouse.finish.generation.answers import Written
from stillhouse.finish.generation.passages import Prompt
from stillhouse.refusals import find
from stillhouse.statistics import Flags, Floats, bootstrap, mean_of, proportion

# scripts without spaces are read a character at a time
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W\d_]+|\d+|[^\w\s]")


@dataclass(frozen=True)
class Habits:
    """Of N answers: repetition (N,), distinct_2, stopped (N,), tokens (N,), refused (N,), empty (N,)."""

    repetition: Floats
    distinct_2: float | None
    stopped: Flags
    tokens: Floats
    refused: Flags
    empty: Flags

    @classmethod
    def of(cls, written: Sequence[Written], prompts: Sequence[Prompt]) -> Habits:
        """From what one model wrote to ``prompts``, in their order."""
        refused = [
            any(finding.kind == "refusal" for finding in find(one.answer, prompt.words))
            for one, prompt in zip(written, prompts, strict=True)
        ]
        return cls(
            repetition=np.array([repetition(one.text) for one in written]),
            distinct_2=distinct([one.text for one in written]),
            stopped=np.array([one.stopped for one in written]),
            tokens=np.array([one.tokens for one in written], dtype=np.float64),
            refused=np.array(refused),
            empty=np.array([not one.answer.strip() for one in written]),
        )

    def rows(self, name: str, *, resamples: int, seed: int, most: int = 0) -> list[Row]:
        """Rows of one model: shares with Wilson's interval, means with a bootstrap's. most: tokens of an answer."""
        rows = []
        for metric, shares in (("stopped", self.stopped), ("refusals", self.refused), ("empty_answers", self.empty)):
            one = proportion(shares)
            rows.append(Row(name, metric, "prompts", one.value, one.lower, one.upper, one.n))
        longest = max(float(most), float(self.tokens.max(initial=0.0)))
        for metric, values, top in (("repetition", self.repetition, 1.0), ("answer_tokens", self.tokens, longest)):
            one = bootstrap(mean_of(values), len(values), seed=seed, resamples=resamples, span=(0.0, top))
            rows.append(Row(name, metric, "prompts", one.value, one.lower, one.upper, one.n))
        rows.append(Row(name, "distinct_2", "prompts", self.distinct_2, None, None, len(self.tokens)))
        return rows


def repetition(text: str, n: int = 4) -> float:
    """The share of an answer's ``n``-grams of words that were there before."""
    grams = _grams(text, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def distinct(texts: Sequence[str], n: int = 2) -> float | None:
    """Unique / all ``n``-grams over all ``texts``, ``None`` where there is none."""
    grams = [gram for text in texts for gram in _grams(text, n)]
    return len(set(grams)) / len(grams) if grams else None


def _grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return [tuple(words[place : place + n]) for place in range(len(words) - n + 1)]
