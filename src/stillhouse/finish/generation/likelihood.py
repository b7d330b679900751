"""How likely each model finds the tokens of held-out text, and how far its distributions are from the teacher's.

All models read a batch, then their heads run over the same few positions at a time: the logits of a whole batch never
exist, and the teacher reads everything once, however many models it is compared with.

    totals = compare(teacher, {"student": (student, alignment)}, sequences, of=numbers, documents=D)
    totals["student"].kl / totals["student"].tokens      # (D,), nats a token
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.causal import chunked_logits
from stillhouse.errors import StillhouseError
from stillhouse.finish.generation.speaker import Speaker
from stillhouse.finish.generation.vocabulary import Alignment
from stillhouse.statistics import Floats
from stillhouse.teachers.sequences import TokenSequence

_CHUNK = 2**24  # logits of 64 MiB for each model
_NAMES = ("nll", "entropy", "kl", "agree", "outside")


@dataclass(frozen=True)
class Totals:
    """Sums over the tokens of each of D documents, in nats, float64 (D,).

    nll: negative log-likelihood of the tokens. entropy: of the model's own distributions. kl: KL(reference || model),
    over the tokens that both have. agree: tokens at which both find the same one likeliest. outside: the reference's
    probability of tokens that the model does not have. The last three are zero, one and zero a token of the reference.
    """

    tokens: Floats
    nll: Floats
    entropy: Floats
    kl: Floats
    agree: Floats
    outside: Floats


def compare(
    reference: Speaker,
    others: Mapping[str, tuple[Speaker, Alignment]],
    sequences: Sequence[TokenSequence],
    *,
    of: Sequence[int],
    documents: int,
    batch_tokens: int = 2048,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Totals]:
    """Read ``sequences``, in the reference's ids, with all models; totals of each by name, the reference's too.

    of: the number of each sequence's document, below ``documents``. Every model must have every token of them. chunk:
    positions whose logits exist at the same time. Raises :class:`StillhouseError` where logits are not numbers.
    """
    readers = {reference.name: _Reader(reference, None)}
    readers |= {name: _Reader(speaker, alignment) for name, (speaker, alignment) in others.items()}
    sums = {name: {key: np.zeros(documents) for key in ("tokens", *_NAMES)} for name in readers}
    chunk = chunk or max(1, _CHUNK // reference.words)
    done = 0
    for batch in batches_of_like_length([len(one.ids) for one in sequences], batch_tokens):
        rows = [sequences[place] for place in batch]
        for reader in readers.values():
            reader.read([one.ids for one in rows])
        owner = np.array([of[place] for place, one in zip(batch, rows, strict=True) for _ in range(one.learned)])
        for part, terms in _terms(readers, reference.name, rows, chunk):
            for name, values in terms.items():
                _add(sums[name], owner[part], values, name)
        done += len(batch)
        if progress:
            progress(done, len(sequences))
    return {name: Totals(**found) for name, found in sums.items()}


def _add(sums: dict[str, Floats], owner: Any, values: dict[str, Any], name: str) -> None:
    np.add.at(sums["tokens"], owner, 1.0)
    for key, value in values.items():
        numbers = value.double().cpu().numpy()
        demand_numbers(numbers, name, on=" on held-out text")
        np.add.at(sums[key], owner, numbers)


def demand_numbers(values: Floats, name: str, *, on: str = "") -> None:
    """Raise :class:`StillhouseError` where what the model ``name`` gave is NaN or infinite. on: which text."""
    if not np.isfinite(values).all():
        raise StillhouseError(
            f"the logits of `{name}` are not numbers (NaN or infinite){on}",
            where=f"the model `{name}`",
            fix="look at its training.jsonl; a lower learning rate, or `precision: float32`, may mend it",
        )


def batches_of_like_length(lengths: Sequence[int], batch_tokens: int, *, padded: bool = True) -> list[list[int]]:
    """Places of sequences of like length, at most ``batch_tokens`` tokens with the padding.

    padded: whether shorter ones may be filled up; without it, only equal lengths share a batch.
    """
    batches: list[list[int]] = []
    longest = 0
    for place, length in sorted(enumerate(lengths), key=lambda one: (-one[1], one[0])):
        fits = bool(batches) and (len(batches[-1]) + 1) * longest <= batch_tokens
        if fits and (padded or length == longest):
            batches[-1].append(place)
        else:
            batches.append([place])
            longest = length
    return batches


def _terms(
    readers: Mapping[str, _Reader], reference: str, rows: Sequence[TokenSequence], chunk: int
) -> Iterator[tuple[slice, dict[str, dict[str, Any]]]]:
    """For each chunk of positions, each model's terms (n,) about the learned tokens of ``rows``."""
    import torch

    width = max(1, *(len(one.ids) - 1 for one in rows))
    learned = [(row, place) for row, one in enumerate(rows) for span in one.spans for place in range(*span)]
    places = np.array([row * width + place - 1 for row, place in learned])
    gold = [rows[row].ids[place] for row, place in learned]
    for start in range(0, len(places), chunk):
        part = slice(start, start + chunk)
        with torch.inference_mode():
            truth = readers[reference].log_probs(places[part])
            found = {}
            for name, reader in readers.items():
                same = name == reference
                found[name] = reader.terms(truth if same else reader.log_probs(places[part]), gold[part], truth)
        yield part, found


class _Reader:
    """One model, reading batch after batch. alignment: ``None`` for the reference itself."""

    def __init__(self, speaker: Speaker, alignment: Alignment | None) -> None:
        import torch

        self._words = speaker.words
        self._run, _ = chunked_logits(speaker.model)
        self._alignment = None if alignment is None or alignment.same else alignment
        self._logits: Callable[[Any], Any] | None = None
        if self._alignment is not None:
            device = speaker.model.device
            self._reference = torch.from_numpy(self._alignment.reference).to(device)
            self._other = torch.from_numpy(self._alignment.other).to(device)
            self._back = torch.full((self._words,), -1, device=device)
            self._back[self._other] = self._reference

    def own(self, ids: Sequence[int]) -> list[int]:
        found = list(ids) if self._alignment is None else self._alignment.own(ids)
        if found is None:
            raise ValueError("a sequence has a token that a model lacks")
        return found

    def read(self, rows: Sequence[Sequence[int]]) -> None:
        """Run the layers over a batch in the reference's ids; the last token of each row foretells nothing."""
        self._logits = self._run([self.own(ids)[:-1] for ids in rows])

    def log_probs(self, places: Any) -> Any:
        """(n, W), float32 or wider, over the tokens that mean something."""
        assert self._logits is not None  # noqa: S101 - `read` comes first
        return self._logits(places)[:, : self._words].log_softmax(-1)

    def terms(self, own: Any, gold: Sequence[int], truth: Any) -> dict[str, Any]:
        """own, truth: log-probabilities (n, W) of this model and of the reference. gold: ids in the reference."""
        import torch

        ids = torch.tensor(self.own(gold), device=own.device).unsqueeze(1)
        likeliest, outside = own.argmax(-1), torch.zeros(len(own), device=own.device)
        ours, theirs = own, truth
        if self._alignment is not None:
            likeliest = self._back[likeliest]
            inside = truth[:, self._reference].logsumexp(-1)
            outside = -torch.expm1(inside.clamp(max=0))
            ours = own[:, self._other].log_softmax(-1)
            theirs = truth[:, self._reference] - inside.unsqueeze(1)
        return {
            "nll": -own.gather(1, ids).squeeze(1),
            "entropy": -_weighted(own, own),
            "kl": torch.zeros(len(own), device=own.device) if own is truth else _weighted(theirs, theirs - ours),
            "agree": likeliest == truth.argmax(-1),
            "outside": outside,
        }


def _weighted(log_probs: Any, values: Any) -> Any:
    """The mean (n,) of ``values`` (n, W); what has no probability does not count, be it infinite."""
    return (log_probs.exp() * values).masked_fill(log_probs == -float("inf"), 0.0).sum(-1)
