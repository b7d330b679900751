"""How likely a model finds continuations of prompts, in nats, and whether it would have written just that.

    scores = score(student, [Continuation(ids, start=12)])
    scores[0].nats, scores[0].greedy

Continuations that are told apart by their last token alone, as letters of options are, are read in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.causal import chunked_logits
from stillhouse.finish.generation.likelihood import batches_of_like_length, demand_numbers
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.stock import quiet
from stillhouse.workplace import Progress, silent

_CHUNK = 2**24  # logits of 64 MiB


@dataclass(frozen=True)
class Continuation:
    """ids: all that is read. start: where the continuation begins in them; at least 1, and below their number."""

    ids: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Score:
    """nats: log-likelihood of the continuation, at most 0. greedy: whether it is the likeliest token at every step."""

    nats: float
    greedy: bool


def score(
    speaker: Speaker, pairs: Sequence[Continuation], *, batch_tokens: int = 2048, progress: Progress = silent
) -> list[Score]:
    """A score for each of ``pairs``; raises :class:`StillhouseError` where logits are not numbers."""
    import torch

    if not pairs:
        return []
    by_read: dict[tuple[int, ...], list[int]] = {}
    for place, one in enumerate(pairs):
        by_read.setdefault(one.ids[:-1], []).append(place)
    reads = list(by_read)
    run, _ = chunked_logits(speaker.model)
    chunk = max(1, _CHUNK // speaker.words)
    nats, greedy = np.zeros(len(pairs)), np.ones(len(pairs), dtype=bool)
    done = 0
    with torch.inference_mode(), quiet():
        for batch in batches_of_like_length([len(ids) for ids in reads], batch_tokens):
            width = max(len(reads[one]) for one in batch)
            logits = run([list(reads[one]) for one in batch])
            asked = [
                (row * width + at - 1, pairs[place].ids[at], place)
                for row, one in enumerate(batch)
                for place in by_read[reads[one]]
                for at in range(pairs[place].start, len(pairs[place].ids))
            ]
            for first in range(0, len(asked), chunk):
                places, gold, owners = map(list, zip(*asked[first : first + chunk], strict=True))
                found = logits(places)[:, : speaker.words].log_softmax(-1)
                ids = torch.tensor(gold, device=found.device)
                np.add.at(nats, owners, found.gather(1, ids[:, None])[:, 0].double().cpu().numpy())
                np.logical_and.at(greedy, owners, (found.argmax(-1) == ids).cpu().numpy())
            done += len(batch)
            progress(f"{speaker.name} reads", done, len(reads))
    demand_numbers(nats, speaker.name)
    return [Score(float(one), bool(like)) for one, like in zip(nats, greedy, strict=True)]
