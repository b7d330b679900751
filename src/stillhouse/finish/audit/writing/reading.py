"""What one model makes of given tokens: how likely each was to it, and whether it would have written it itself.

    for sequence, read in zip(sequences, read_tokens(student, sequences)):
        read.nll[place], read.own[place]       # place counts the learned tokens of the sequence

A greedy writer that was given the tokens before a place writes the token there exactly where it is the likeliest; so
whether it continues a text word for word is seen in one reading, and nothing has to be written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stillhouse.causal import chunked_logits
from stillhouse.finish.generation.likelihood import batches_of_like_length, demand_numbers
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.statistics import Flags, Floats
from stillhouse.teachers.sequences import TokenSequence

_CHUNK = 2**24  # logits of 64 MiB


@dataclass(frozen=True)
class ReadTokens:
    """Of L learned tokens: nll (L,) in nats, and own (L,), whether the token was the likeliest."""

    nll: Floats
    own: Flags


def read_tokens(
    speaker: Speaker,
    sequences: Sequence[TokenSequence],
    *,
    batch_tokens: int = 2048,
    progress: Callable[[int, int], None] | None = None,
) -> list[ReadTokens]:
    """One for each of ``sequences``, which are in the speaker's own ids.

    Raises :class:`StillhouseError` where logits are not numbers.
    """
    import torch

    run, _ = chunked_logits(speaker.model)
    chunk = max(1, _CHUNK // speaker.words)
    found: dict[int, ReadTokens] = {}
    for batch in batches_of_like_length([len(one.ids) for one in sequences], batch_tokens):
        rows = [sequences[place] for place in batch]
        width = max(1, *(len(one.ids) - 1 for one in rows))
        learned = [(row, place) for row, one in enumerate(rows) for span in one.spans for place in range(*span)]
        places = np.array([row * width + place - 1 for row, place in learned])
        gold = torch.tensor([rows[row].ids[place] for row, place in learned], device=speaker.model.device)
        logits = run([list(one.ids[:-1]) for one in rows])
        nll, own = np.empty(len(learned)), np.empty(len(learned), dtype=bool)
        for start in range(0, len(learned), chunk):
            part = slice(start, start + chunk)
            with torch.inference_mode():
                scores = logits(places[part])[:, : speaker.words]
                nll[part] = (scores.logsumexp(-1) - scores.gather(1, gold[part, None])[:, 0]).double().cpu().numpy()
                own[part] = (scores.argmax(-1) == gold[part]).cpu().numpy()
        demand_numbers(nll, speaker.name)
        ends = np.cumsum([one.learned for one in rows])[:-1]
        for place, losses, hits in zip(batch, np.split(nll, ends), np.split(own, ends), strict=True):
            found[place] = ReadTokens(losses, hits)
        if progress:
            progress(len(found), len(sequences))
    return [found[place] for place in range(len(sequences))]
