"""A cheap student for the benches of cuts: trained token vectors, their mean, and a linear head.

student = Static.fit(vectors, ids, taught, seed=0)     # vectors (V, H) to start from, ids: N lists, taught (N, K)
student(ids)                                           # (N, K)

It trains in seconds and, having a weight for each number of each token, learns wrong labels by heart like a large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stillhouse.distill.scores import Floats

EPOCHS, BATCH = 3, 32
RATE, HEAD_RATE = 1e-3, 1e-2
LONGEST = 64
_UNKNOWN = 0

Ids = Sequence[Sequence[int]]


class Words:
    """The tokenizer and the token vectors of an encoder's folder."""

    def __init__(self, base: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self.tokenizer: Any = AutoTokenizer.from_pretrained(base, local_files_only=True)
        self.vectors = AutoModel.from_pretrained(base, local_files_only=True).get_input_embeddings().weight.detach()

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids without what stands at both ends."""
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [one[:LONGEST] or [self.tokenizer.unk_token_id] for one in found]


class Static:
    """Made by :meth:`fit`."""

    def __init__(self, bag: Any, head: Any, place: dict[int, int]) -> None:
        self._bag, self._head, self._place = bag, head, place

    @classmethod
    def fit(cls, vectors: torch.Tensor, ids: Ids, taught: Floats, *, seed: int) -> Static:
        """KL to the taught probabilities; the seed orders the rows. Tokens that do not occur share one vector."""
        used = sorted({token for one in ids for token in one})
        place = {token: number for number, token in enumerate(used, start=1)}
        start = torch.cat([vectors.mean(0, keepdim=True), vectors[used]])
        random = torch.Generator().manual_seed(seed)
        bag = torch.nn.EmbeddingBag.from_pretrained(start.clone(), freeze=False, mode="mean", sparse=True)
        head = torch.nn.Linear(vectors.shape[1], taught.shape[1])
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        student = cls(bag, head, place)
        optimizers = [
            torch.optim.SparseAdam(list(bag.parameters()), lr=RATE),
            torch.optim.Adam(head.parameters(), lr=HEAD_RATE),
        ]
        targets = torch.tensor(taught, dtype=torch.float32)
        batches = [part for _ in range(EPOCHS) for part in torch.randperm(len(ids), generator=random).split(BATCH)]
        for step, rows in enumerate(batches):
            for optimizer, rate in zip(optimizers, (RATE, HEAD_RATE), strict=True):
                optimizer.param_groups[0]["lr"] = rate * (1 - step / len(batches))
                optimizer.zero_grad()
            said = student._logits([ids[row] for row in rows.tolist()]).log_softmax(1)
            torch.nn.functional.kl_div(said, targets[rows], reduction="batchmean").backward()
            for optimizer in optimizers:
                optimizer.step()
        return student

    def _logits(self, ids: Ids) -> torch.Tensor:
        flat = torch.tensor([self._place.get(token, _UNKNOWN) for one in ids for token in one])
        starts = torch.tensor(np.cumsum([0, *(len(one) for one in ids[:-1])]))
        found: torch.Tensor = self._head(self._bag(flat, starts))
        return found

    def __call__(self, ids: Ids) -> Floats:
        """Probabilities (N, K)."""
        with torch.inference_mode():
            return np.asarray(self._logits(ids).softmax(1).numpy(), dtype=np.float64)
