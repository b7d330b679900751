"""A file held against the student that it was made of, in the runtime that its users have, whatever its format.

    compared = compare(speaker, opened, prompts=chats, texts=texts, floors=Floors(kl=0.02))
    compared.passed, compared.reasons
    compared.agreeing, compared.kl, compared.divergences[0].margin

Greedy answers of the runtime are read by torch in float32: up to the first token that torch would not have written,
both have read the same, so that this is where their answers part, without torch writing one. The margin there says by
how much torch preferred its own token: thousandths of a nat are a tie that rounding decides.

The divergence of two distributions is taken over the runtime's ``top`` likeliest tokens and the rest as one, which is
never more than that over all tokens, and equal to it where ``top`` is the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from stillhouse.causal import chunked_logits
from stillhouse.errors import StillhouseError
from stillhouse.finish.export.probes import SHAPES, TEXTS
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.statistics import Floats
from stillhouse.teachers.templates import Message, RowError

_BATCH = 8
_PLACES = 8  # of a text, at least
_TIMED = 16  # tokens from which on a speed means something
_TINY = 1e-12


@dataclass(frozen=True)
class Written:
    """ids: greedy tokens, without the end. end: the token that ended the answer, ``None`` where it was cut off.
    per_second: tokens; ``None`` where it was not measured."""

    ids: tuple[int, ...]
    end: int | None
    per_second: float | None


class Runtime(Protocol):
    """An opened file."""

    def tokens(self, text: str) -> list[int]:
        """Ids of a text, as the runtime's users split it."""

    def answers(self, prompts: Sequence[Sequence[int]], most: int) -> list[Written]:
        """Greedy answers to prompts of ids, ``most`` tokens at most, by the way that is taken for many."""

    def next_log_probs(self, ids: Sequence[int], *, top: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The ``top`` likeliest next tokens and their log-probabilities; all of them where it is enough."""


R = TypeVar("R", bound=Runtime)
Ask = tuple[str, Sequence[Message] | None, tuple[int, ...]]  # shape, conversation, ids


@dataclass(frozen=True)
class Floors:
    """What a file must reach; ``None`` asks for nothing.

    agreeing: the mean share of an answer before it parts from the student's. kl: nats a token, at most. stops: of the
    answers' ends, the share that is one for both.
    """

    agreeing: float | None = None
    kl: float | None = None
    stops: float | None = 0.95


@dataclass(frozen=True)
class Divergence:
    """Where an answer parted: the prompt's place, tokens written before it, and by how many nats torch preferred its
    own token."""

    prompt: int
    after: int
    margin: float


@dataclass(frozen=True)
class Comparison:
    """What was measured on N prompts and P positions of text, and what it means.

    agreeing: the mean share of an answer's tokens before the first divergence, its end being one of them; by_shape: the
    same of short, long, accented, … prompts. ended: the share of answers that ended by themselves; stops: of all ends,
    the share that is one for both: the student, having read the same, ends there too, and the file goes on after none;
    ``None`` where there is no end. kl: mean nats over ``positions``; outside: the student's mean mass outside the
    tokens that were told apart. wrong_ids: texts that are split in another way, of ``texts``. left_out: prompts that
    the model cannot be asked, most for their length. per_second: tokens of one answer, the median.
    """

    prompts: int
    most: int
    agreeing: float
    by_shape: Mapping[str, float]
    divergences: tuple[Divergence, ...]
    ended: float
    stops: float | None
    kl: float
    positions: int
    top: int
    outside: float
    texts: int
    wrong_ids: tuple[str, ...]
    left_out: int
    per_second: float | None
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against the file."""
        return not self.reasons


def compare(
    speaker: Speaker,
    opened: Callable[[int], AbstractContextManager[R]],
    *,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    floors: Floors,
    where: str,
    most: int = 50,
    positions: int = 200,
    top: int | None = None,
    shapes: Sequence[tuple[str, str]] = SHAPES,
    also: Callable[[R, Sequence[Ask], Sequence[Written]], list[str]] | None = None,
) -> Comparison:
    """Compare what ``opened`` gives for a context of so many tokens with the student in ``speaker``.

    prompts: conversations that end with a question; prompts of every shape are added. texts: what is read token by
    token, at ``positions`` places in all. most: tokens of an answer. top: tokens that are told apart in a distribution;
    ``None`` for all. where: the file, for errors. also: what else is wrong with it, in words. Raises
    :class:`StillhouseError` where no prompt or no text fits the model.
    """
    logits_of, vocabulary = chunked_logits(speaker.model)
    top = min(top or vocabulary, vocabulary)
    asks, left_out = _asks(speaker, prompts, shapes, most)
    read = _read(speaker, texts, positions)
    if not asks or not read:
        raise StillhouseError(
            "there is nothing to compare: no prompt, or no text of two tokens, fits the model's context",
            where=where,
            fix="give shorter prompts and texts, or ask for fewer tokens",
        )
    longest = max(max(len(ids) for _, _, ids in asks) + most, max(len(ids) for ids, _ in read)) + 1
    with opened(min(longest + 8, speaker.context)) as runtime:
        wrong = tuple(text for text in TEXTS if runtime.tokens(text) != list(speaker.tokenizer(text)["input_ids"]))
        reasons = (
            [f"{len(wrong)} of {len(TEXTS)} texts are split in another way, such as {wrong[0]!r}"] if wrong else []
        )
        written = runtime.answers([ids for _, _, ids in asks], most)
        reasons += also(runtime, asks, written) if also else []
        kl, outside, count = _divergence(runtime, logits_of, read, top)
    shares, divergences, confirmed = _agreement(logits_of, asks, written, speaker.ends)
    by_shape: dict[str, list[float]] = {}
    for (shape, _, _), share in zip(asks, shares, strict=True):
        by_shape.setdefault(shape, []).append(share)
    agreeing, stops = float(np.mean(shares)), float(np.mean(confirmed)) if confirmed else None
    reasons += _missed(floors, agreeing, kl, stops)
    speeds = [one.per_second for one in written if one.per_second is not None and len(one.ids) >= _TIMED]
    return Comparison(
        prompts=len(asks),
        most=most,
        agreeing=agreeing,
        by_shape={shape: float(np.mean(values)) for shape, values in by_shape.items()},
        divergences=divergences,
        ended=float(np.mean([one.end is not None for one in written])),
        stops=stops,
        kl=kl,
        positions=count,
        top=top,
        outside=outside,
        texts=len(TEXTS),
        wrong_ids=wrong,
        left_out=left_out,
        per_second=median(speeds) if speeds else None,
        reasons=tuple(reasons),
    )


def _missed(floors: Floors, agreeing: float, kl: float, stops: float | None) -> list[str]:
    found = []
    if floors.agreeing is not None and not agreeing >= floors.agreeing:
        found.append(f"answers agree on {agreeing:.3f} of their tokens, asked for: {floors.agreeing:g}")
    if floors.kl is not None and not kl <= floors.kl:
        found.append(f"distributions lie {kl:.4f} nats apart, allowed: {floors.kl:g}")
    if floors.stops is not None and stops is not None and not stops >= floors.stops:
        found.append(f"{stops:.3f} of the ends are ends for both, asked for: {floors.stops:g}")
    return found


def _asks(
    speaker: Speaker, prompts: Sequence[Sequence[Message]], shapes: Sequence[tuple[str, str]], most: int
) -> tuple[list[Ask], int]:
    """(shape, messages, ids) of what is asked, and how many prompts have no room. Without a template: plain text."""
    chats = [("given", list(prompt)) for prompt in prompts]
    chats += [(shape, [{"role": "user", "content": text}]) for shape, text in shapes]
    found: list[Ask] = []
    for shape, messages in chats:
        told = messages if speaker.template else None
        try:
            ids = speaker.prompt(told, str(messages[-1]["content"]))
        except RowError:
            continue  # the template refuses it here as there
        if ids and len(ids) + most < speaker.context:
            found.append((shape, told, ids))
    return found, len(chats) - len(found)


def _read(speaker: Speaker, texts: Sequence[str], positions: int) -> list[tuple[list[int], list[int]]]:
    """Ids of each text, and after how many of them the next token is looked at: evenly spread, and at a few places of
    every text, since after its first token alone neither positions nor a cache would be compared. Texts are taken until
    there are enough places."""
    found, left = [], positions
    each = max(-(-positions // max(1, len(texts))), _PLACES)
    for text in texts:
        if left < 1:
            break
        ids = list(speaker.tokenizer(text)["input_ids"])[: speaker.context - 2]
        if len(ids) > 1:
            # from the end where it is one place: what is read before it counts
            places = np.unique(np.linspace(len(ids), 1, min(each, len(ids), left)).round().astype(int))
            found.append((ids, [int(one) for one in places]))
            left -= len(places)
    return found


def _agreement(
    logits_of: Any, asks: Sequence[Ask], written: Sequence[Written], ends: frozenset[int]
) -> tuple[list[float], tuple[Divergence, ...], list[bool]]:
    """Each answer's share before the first divergence, the divergences, and whether each end is one for both."""
    shares = [1.0] * len(asks)
    divergences, confirmed = [], []
    order = sorted(range(len(asks)), key=lambda row: len(asks[row][2]) + len(written[row].ids))
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        sequences = [[*asks[row][2], *written[row].ids] for row in rows]
        width = max(map(len, sequences))
        at = logits_of(sequences)  # unequal lengths, padded
        for place, row in enumerate(rows):
            first, answer = len(asks[row][2]) - 1, written[row]
            told = [*answer.ids, *([] if answer.end is None else [answer.end])]
            logits = at([place * width + first + step for step in range(len(told))]).numpy()
            chosen = [int(one) for one in logits.argmax(-1)]
            same = [one == other for one, other in zip(chosen, told, strict=True)]
            if answer.end is not None:
                same[-1] = chosen[-1] in ends and answer.end in ends  # any end is an end
                confirmed.append(same[-1])
            missed = next((step for step, one in enumerate(answer.ids) if one in ends), None)
            if missed is not None:  # it wrote an end, and went on
                same[missed] = False
                confirmed.append(False)
            if not all(same):
                after = same.index(False)
                margin = float(logits[after].max() - logits[after][told[after]])
                divergences.append(Divergence(row, after, margin))
                shares[row] = after / len(same)
    return shares, tuple(sorted(divergences, key=lambda one: one.prompt)), confirmed


def _divergence(
    runtime: Runtime, logits_of: Callable[..., Any], read: Sequence[tuple[list[int], list[int]]], top: int
) -> tuple[float, float, int]:
    """Mean divergence of the file from the student, the student's mean mass outside the top, and over how many."""
    values, outside = [], []
    for ids, places in read:
        logits = logits_of([ids])([place - 1 for place in places]).double()
        student: Floats = logits.log_softmax(-1).numpy()
        for log_p, place in zip(student, places, strict=True):
            tokens, log_q = runtime.next_log_probs(ids[:place], top=top)
            one, rest = partial_divergence(log_p, tokens, log_q)
            values.append(one)
            outside.append(rest)
    return float(np.mean(values)), float(np.mean(outside)), len(values)


def partial_divergence(log_p: Floats, tokens: Any, log_q: Floats) -> tuple[float, float]:
    """KL(p || q) in nats, with the tokens that ``tokens`` does not name taken as one, and p's mass on these.

    log_p: (V,). tokens, log_q: (k,), what is known of q. Where that is all of it, it is made to sum to one: the runtime
    sums in float32, and over 49,152 tokens its probabilities come to 1.0002.
    """
    named = log_p[tokens]
    p, q = np.exp(named), np.exp(log_q)
    if len(tokens) == len(log_p):
        return float((p * (named - log_q)).sum() + np.log(q.sum())), 0.0
    rest_p, rest_q = max(0.0, 1 - float(p.sum())), max(0.0, 1 - float(q.sum()))
    found = float((p * (named - log_q)).sum())
    return found + rest_p * float(np.log(max(rest_p, _TINY)) - np.log(max(rest_q, _TINY))), rest_p
