"""What a model thinks of tokens that stand there already: log-probabilities of what is learned, read once.

    heard = read_tokens(model, sequences)               # one Heard for each, whatever it is batched with
    heard[0].logs, heard[0].likeliest                   # (L,) nats and ids, of its learned tokens in order
    said = stored_tokens(token_dist, sequences)         # the same of the teacher, from what stage 2 stored

A causal model's answer about a token depends on what stands before it alone, so that one pass reads all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.causal import chunked_logits
from stillhouse.distill.targets import Target
from stillhouse.distill.token_losses import entropy
from stillhouse.signals import TokenDist
from stillhouse.teachers.sequences import TokenSequence

BATCH_TOKENS = 4096  # of a batch with its padding
_POSITIONS = 256  # whose logits are in memory at a time
_LEAST = 1e-7  # the smallest share that the store tells from none

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Heard:
    """Of the L learned tokens of a sequence: their log-probabilities in nats, the ids that were likeliest in their
    places, and, of stored distributions, the entropies there in nats."""

    logs: Floats
    likeliest: Ints
    entropies: Floats


def read_tokens(
    model: Any, sequences: Sequence[TokenSequence], *, progress: Callable[[int, int], None] | None = None
) -> list[Heard]:
    """What ``model`` thinks of the learned tokens of each sequence. Cost: one forward pass.

    Sequences are batched by length and filled up on the right, where a causal model does not look.
    """
    import torch

    logits_of, _ = chunked_logits(model.eval())
    order = sorted(range(len(sequences)), key=lambda row: (len(sequences[row].ids), row))
    found: list[Heard] = [Heard(np.zeros(0), np.zeros(0, np.int64), np.zeros(0))] * len(sequences)
    done = 0
    for rows in _batches([len(sequences[row].ids) for row in order]):
        batch = [sequences[order[place]] for place in rows]
        width = max(len(one.ids) for one in batch)
        at = logits_of([list(one.ids) for one in batch])
        places = [line * width + place - 1 for line, one in enumerate(batch) for place in _learned(one)]
        gold = torch.tensor([one.ids[place] for one in batch for place in _learned(one)])
        logs, best = [], []
        for start in range(0, len(places), _POSITIONS):
            logits = at(places[start : start + _POSITIONS])
            chosen = gold[start : start + _POSITIONS].to(logits.device)
            logs.append((logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)).double().cpu().numpy())
            best.append(logits.argmax(1).cpu().numpy())
        borders = np.cumsum([one.learned for one in batch])[:-1]
        parts = zip(np.split(np.concatenate(logs), borders), np.split(np.concatenate(best), borders), strict=True)
        for place, (mine, likeliest) in zip(rows, parts, strict=True):
            found[order[place]] = Heard(mine, likeliest, np.zeros(0))
        done += len(rows)
        if progress:
            progress(done, len(sequences))
    return found


def stored_tokens(stored: TokenDist, sequences: Mapping[str, TokenSequence]) -> dict[str, Heard]:
    """The same of the teacher, by key, from its stored distributions, in which the token that stands there is exact.

    sequences: as the teacher read them. Entropies are exact where all is stored, else bounds from below.
    """
    found = {}
    for key, one in sequences.items():
        start = one.start
        whole = stored.read(key, one.ids, start)
        learned = np.array(_learned(one), dtype=np.int64)
        rows = learned - start
        ids, probs = whole.ids[rows], whole.probs[rows].astype(np.float64)
        exact = np.where(np.arange(ids.shape[1]) < whole.exact[rows, None], probs, 0.0)
        gold = np.array([one.ids[place] for place in learned])
        mine = np.where(ids == gold[:, None], exact, 0.0).max(1)
        target = Target.of_distributions([whole], form=stored.header.form, vocabulary=stored.header.vocabulary)
        found[key] = Heard(
            np.log(np.clip(mine, _LEAST, 1.0)),
            ids[np.arange(len(rows)), exact.argmax(1)].astype(np.int64),
            entropy(target).double().numpy()[rows],
        )
    return found


def _learned(one: TokenSequence) -> list[int]:
    return [place for start, end in one.spans for place in range(start, end)]


def _batches(lengths: Sequence[int]) -> list[range]:
    """Runs of sequences, sorted by length, that fill a batch; one that is longer than a batch stands alone."""
    found: list[range] = []
    start = 0
    for place, length in enumerate(lengths):
        if place > start and (place - start + 1) * length > BATCH_TOKENS:
            found.append(range(start, place))
            start = place
    return [*found, range(start, len(lengths))] if lengths else []
