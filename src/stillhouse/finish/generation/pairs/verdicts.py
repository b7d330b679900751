"""Pairs of answers and their verdicts: each is asked about twice, with the answers in either place.

judged = judge_pairs(pairs, judge, store=store)
judged.pairs[0].verdict        # "win", "loss", "tie", "split", "same", "unparsed" or "failed", of ``one`` over ``two``

| verdict | the two readings |
|---|---|
| win, loss | both name the same answer |
| tie | both say tie |
| split | the judge changes its mind with the places, a tie included |
| same | both answers are the same words: not asked |
| unparsed | one of them is no choice |
| failed | one of them was not answered |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from stillhouse.answers import AnswerStore
from stillhouse.finish.generation.answers import Written
from stillhouse.finish.generation.pairs.reading import Choice, Judge, Reading, Tick
from stillhouse.finish.generation.passages import Prompt

Verdict = Literal["win", "loss", "tie", "split", "same", "unparsed", "failed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

_TURNED: dict[Choice, Choice] = {"A": "B", "B": "A", "tie": "tie"}


@dataclass(frozen=True)
class Pair:
    """Two answers to one prompt, without their reasoning. right: what a verifier found of each; ``None``: nothing."""

    prompt: Prompt
    one: str
    two: str
    answers: tuple[str, str]
    right: tuple[bool | None, bool | None] = (None, None)

    def turned(self) -> Pair:
        """The same pair seen from the other side."""
        return Pair(self.prompt, self.two, self.one, self.answers[::-1], self.right[::-1])


@dataclass(frozen=True)
class JudgedPair:
    """readings: of ``one`` shown first, and of ``two`` shown first; none where both answers are the same."""

    pair: Pair
    readings: tuple[Reading, Reading] | None

    @property
    def verdict(self) -> Verdict:
        """What both readings come to, of ``one`` over ``two``."""
        if self.readings is None:
            return "same"
        if not all(reading.answered for reading in self.readings):
            return "failed"
        choices = self.choices
        if choices is None:
            return "unparsed"
        if choices[0] != _TURNED[choices[1]]:
            return "split"
        return {"A": "win", "B": "loss", "tie": "tie"}[choices[0]]  # type: ignore[return-value]

    @property
    def choices(self) -> tuple[Choice, Choice] | None:
        """Both choices, ``None`` unless there are two."""
        found = tuple(reading.choice for reading in self.readings or () if reading.choice is not None)
        return (found[0], found[1]) if len(found) == 2 else None

    @property
    def first_place(self) -> float | None:
        """How far the judge went by the place: 1 where it named what came first, 0 where what came last; a half where
        it named the same answer in both. ``None`` where it named none."""
        choices = self.choices
        named = [choice == "A" for choice in choices or () if choice != "tie"]
        return sum(named) / len(named) if named else None

    def as_row(self) -> dict[str, Any]:
        """The pair as a JSON value, every text as it was written and as it was sent."""
        pair = self.pair
        return {
            "id": pair.prompt.document,
            "one": pair.one,
            "two": pair.two,
            "messages": None if pair.prompt.messages is None else [dict(turn) for turn in pair.prompt.messages],
            "text": pair.prompt.text,
            "answers": {pair.one: pair.answers[0], pair.two: pair.answers[1]},
            "right": {pair.one: pair.right[0], pair.two: pair.right[1]},
            "verdict": self.verdict,
            "readings": [
                {"first": name, **_reading_row(reading)}
                for name, reading in zip((pair.one, pair.two), self.readings or (), strict=False)
            ],
        }


@dataclass(frozen=True)
class JudgedPairs:
    """by: how the judge's choices were read. facts: what happened this time, for the ledger."""

    pairs: Sequence[JudgedPair]
    by: str
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def readings(self) -> list[Reading]:
        """Every reading, two for each pair that was asked about."""
        return [reading for one in self.pairs for reading in one.readings or ()]


def pairs_of(
    prompts: Sequence[Prompt],
    said: Mapping[str, Sequence[Written]],
    right: Mapping[str, Sequence[bool | None]],
    *,
    one: str,
    most: int,
) -> list[Pair]:
    """``one`` beside every other model on the first ``most`` prompts, which were drawn without a look at the answers.

    said, right: by model, in the order of ``prompts``; ``right`` may lack any of them.
    """
    nothing: Sequence[bool | None] = [None] * len(prompts)
    return [
        Pair(
            prompt,
            one,
            two,
            (said[one][place].answer, said[two][place].answer),
            (right.get(one, nothing)[place], right.get(two, nothing)[place]),
        )
        for two in said
        if two != one
        for place, prompt in enumerate(prompts[:most])
    ]


def judge_pairs(
    pairs: Sequence[Pair], judge: Judge, *, store: AnswerStore, progress: Tick | None = None
) -> JudgedPairs:
    """Ask the judge about every pair in both orders; one question that several pairs share is asked once."""
    frame = judge.frame
    orders = [
        None
        if pair.answers[0] == pair.answers[1]
        else tuple(frame.question(pair.prompt, *answers) for answers in (pair.answers, pair.answers[::-1]))
        for pair in pairs
    ]
    questions = list(dict.fromkeys(question for order in orders for question in order or ()))
    read = judge.read(questions, store=store, progress=progress)
    by_question = dict(zip(questions, read.readings, strict=True))
    found = [
        JudgedPair(pair, None if order is None else (by_question[order[0]], by_question[order[1]]))
        for pair, order in zip(pairs, orders, strict=True)
    ]
    return JudgedPairs(found, judge.by, {"questions": len(questions), **read.facts})


def _reading_row(reading: Reading) -> dict[str, Any]:
    return {
        "choice": reading.choice,
        "said": reading.raw,
        "reason": reading.reason,
        "answered": reading.answered,
        "shares": list(reading.shares) if reading.shares else None,
        "asked": reading.key,
        "sent": reading.sent,
    }
