"""How answers are drawn: the settings, one random stream for each answer, and one token from its probabilities.

sampling = Sampling(max_new_tokens=64, temperature=0.7, top_p=0.9, samples=4)
asks = sampling.asks(keys, prompts)                       # every sample of every row
noise = stream_of(asks[0], sampling.seed).standard_exponential(vocabulary, dtype="float32")
token = choose(logits, torch.from_numpy(noise), sampling)
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.errors import Problem, StillhouseError
from stillhouse.store import canonical

_HEAD = 1000  # tokens that mostly hold the nucleus; to rank a whole vocabulary takes several times as long


@dataclass(frozen=True)
class Ask:
    """One answer to be written: the prompt's token ids, the row's key, and the number of the sample from 0."""

    key: str
    prompt: tuple[int, ...]
    sample: int


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    temperature: 0 takes the most likely token at each step. top_p: draws come from the smallest set of tokens that
    holds this share of the probability. stop: strings that end an answer and are not part of it.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    samples: int = 1
    seed: int = 0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rules = [
            (self.max_new_tokens >= 1, "max_new_tokens", "at least 1"),
            (0 <= self.temperature < math.inf, "temperature", "0 or more"),
            (0 < self.top_p <= 1, "top_p", "above 0 and at most 1"),
            (self.samples >= 1, "samples", "at least 1"),
            (
                self.samples == 1 or self.temperature > 0,
                "samples",
                "1 at temperature 0, where all samples are the same",
            ),
            (all(self.stop), "stop", "a list of strings that are not empty"),
        ]
        wrong = [
            Problem(f"{name} is {getattr(self, name)!r}", f"sampling.{name}", f"give {need}")
            for holds, name, need in rules
            if not holds
        ]
        if wrong:
            raise StillhouseError.several(wrong)

    def identity(self) -> dict[str, Any]:
        """All that changes an answer, as a JSON value for hashing; how many samples there are does not change one."""
        drawn = {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed} if self.temperature else {}
        return {"max_new_tokens": self.max_new_tokens, "stop": sorted(self.stop), **drawn}

    def asks(self, keys: Sequence[str], prompts: Sequence[Sequence[int]]) -> list[Ask]:
        """Every sample of N prompts (token ids) with their N keys, row by row."""
        rows = zip(keys, map(tuple, prompts), strict=True)
        return [Ask(key, prompt, sample) for key, prompt in rows for sample in range(self.samples)]


def stream_of(ask: Ask, seed: int) -> np.random.Generator:
    """The random numbers of one answer: a function of the seed, the row's key and the sample's number alone."""
    name = hashlib.sha256(canonical([seed, ask.key, ask.sample]).encode("utf-8")).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(name[:16], "little")))


def choose(logits: Any, noise: Any, sampling: Sampling) -> Any:
    """One token (B,) for each row of logits (B, V): the largest at temperature 0, else a draw made with ``noise``.

    noise: (B, V), independent and exponential with mean 1. With e_i such, argmax p_i / e_i is a draw from p, since the
    first of competing exponential clocks with rates p_i is i with probability p_i. Unlike a search in cumulative sums,
    rounding can only change it where two candidates are equal to rounding.
    """
    import torch

    if not sampling.temperature:
        return logits.argmax(-1)
    probs = nucleus((logits / sampling.temperature).softmax(-1), sampling.top_p)
    return (probs / noise.clamp_min(torch.finfo(noise.dtype).tiny)).argmax(-1)


def nucleus(probs: Any, top_p: float) -> Any:
    """Set to zero all of ``probs`` (B, V) but the smallest set of the largest whose sum reaches ``top_p``.

    Tokens as likely as the last one of the set stay too, so that the order of ids plays no part. The rest is not
    scaled up. Source: Holtzman et al. 2020, arXiv 1904.09751.
    """
    if top_p >= 1:
        return probs
    ranked = probs.topk(min(_HEAD, probs.shape[-1])).values
    if bool((ranked.sum(-1) < top_p).any()):
        ranked = probs.sort(descending=True).values
    before = ranked.cumsum(-1) - ranked
    border = ranked.masked_fill(before >= top_p, math.inf).amin(-1, keepdim=True)
    return probs.masked_fill(probs < border, 0.0)
