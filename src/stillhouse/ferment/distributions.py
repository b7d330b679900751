"""Next-token distributions of a local model over given token ids, stored a chunk of positions at a time.

The layers run on batches of similar length; the vocabulary's matrix then runs on chunks of positions, so that no
logits of a whole batch ever exist. Documents that are stored already are not asked about again.

    with TokenDistWriter(folder, header) as writer:
        captured = capture_distributions(teacher.model, [(identifier, ids), ...], writer=writer)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stillhouse.causal import chunked_logits
from stillhouse.errors import StillhouseError
from stillhouse.ferment.sampling import sparse_rows, uniforms
from stillhouse.signals.rows import SparseRows, encode
from stillhouse.signals.token_dist import TokenDistWriter, encode_dense
from stillhouse.stock import context_of

_CHUNK = 2**26  # logits of 256 MiB: fewer would make the vocabulary's matrix be prepared more often than it is used


@dataclass(frozen=True)
class CapturedDistributions:
    """What one call added: documents, tokens that rows are about, and (id, reason) of each document that failed."""

    documents: int
    tokens: int
    failures: tuple[tuple[str, str], ...]


def capture_distributions(
    model: Any,
    documents: Sequence[tuple[str, Sequence[int]]],
    *,
    writer: TokenDistWriter,
    start: int | Mapping[str, int] = 1,
    batch_tokens: int = 2048,
    chunk: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CapturedDistributions:
    """Store the model's distribution about each of ``ids[start:]``, given all ids before it.

    documents: (id, ids) pairs; ``start`` is at least 1, since nothing is known of a first token, and one for all or one
    for each id. chunk: positions whose logits exist at the same time, as many as take 256 MiB if not given. Raises
    :class:`StillhouseError` when the header is not about this model.
    """
    header = writer.header
    logits_of, vocabulary = chunked_logits(model)
    if vocabulary != header.vocabulary:
        raise StillhouseError(
            f"the model's head has {vocabulary} outputs, the header says {header.vocabulary}",
            where="the header of signals/token_dist",
            fix="take the vocabulary from the model's head: it is often larger than the tokenizer",
        )
    starts = start if isinstance(start, Mapping) else {identifier: start for identifier, _ in documents}
    if any(starts[identifier] < 1 for identifier, _ in documents):
        raise ValueError("nothing is known of a first token: start is at least 1")
    longest = context_of(model)
    unknown = [(identifier, list(ids)) for identifier, ids in documents if identifier not in writer]
    failures = [
        (name, f"the document has {len(ids)} tokens, the teacher takes {longest}")
        for name, ids in unknown
        if len(ids) > longest
    ]
    batches = _batches([document for document in unknown if len(document[1]) <= longest], batch_tokens)
    chunk = chunk or max(1, _CHUNK // vocabulary)
    done = tokens = 0
    for batch in batches:
        first = [starts[name] for name, _ in batch]
        blobs = _blobs(batch, logits_of([ids[:-1] for _, ids in batch]), writer, first, chunk)
        for (name, ids), blob in zip(batch, blobs, strict=True):
            if blob is None:
                failures.append((name, "the teacher's logits are not numbers (NaN or infinite)"))
                continue
            writer.add(name, ids, starts[name], blob)
            done, tokens = done + 1, tokens + max(0, len(ids) - starts[name])
        if progress:
            progress(done + len(failures), len(unknown))
    return CapturedDistributions(done, tokens, tuple(failures))


def _batches(documents: list[tuple[str, list[int]]], batch_tokens: int) -> list[list[tuple[str, list[int]]]]:
    """Documents of similar length together, at most ``batch_tokens`` tokens with the padding."""
    batches: list[list[tuple[str, list[int]]]] = []
    for document in sorted(documents, key=lambda document: (-len(document[1]), document[0])):
        if batches and (len(batches[-1]) + 1) * (len(batches[-1][0][1]) - 1) <= batch_tokens:
            batches[-1].append(document)
        else:
            batches.append([document])
    return batches


def _blobs(
    batch: list[tuple[str, list[int]]],
    logits: Callable[[Any], Any],
    writer: TokenDistWriter,
    starts: Sequence[int],
    chunk: int,
) -> list[bytes | None]:
    """A blob for each document, ``None`` where a logit is not a number. logits: at places of the padded batch."""
    header, layout, width = writer.header, writer.header.layout, max(1, *(len(ids) - 1 for _, ids in batch))
    about = [np.array(ids[start:], dtype=np.int64) for (_, ids), start in zip(batch, starts, strict=True)]
    gold = np.concatenate(about)
    owner = np.repeat(np.arange(len(batch)), [len(tokens) for tokens in about])
    ends = np.cumsum([len(tokens) for tokens in about]).tolist()
    firsts = [row * width + start - 1 for row, start in enumerate(starts)]
    places = np.concatenate([first + np.arange(len(tokens)) for first, tokens in zip(firsts, about, strict=True)])
    numbers = np.concatenate(
        [
            uniforms(seed=header.seed, draw=header.draw, document=name, length=len(tokens), layout=layout)
            for (name, _), tokens in zip(batch, about, strict=True)
        ]
    )
    broken: set[int] = set()

    def kept(values: Any, part: slice) -> SparseRows:
        return sparse_rows(values, gold[part], numbers[part], layout, temperature=header.temperature, overwrite=True)

    def rows_at(part: slice) -> SparseRows:
        try:
            return kept(logits(places[part]), part)
        except StillhouseError:
            values = logits(places[part])
            bad = ~values.logsumexp(-1).isfinite()
            broken.update(owner[part][bad.cpu().numpy()].tolist())
            return kept(values.masked_fill(bad.unsqueeze(1), 0.0), part)

    parts = [slice(at, at + chunk) for at in range(0, len(gold), chunk)]
    spans = [slice(end - len(tokens), end) for end, tokens in zip(ends, about, strict=True)]
    if header.form == "dense":
        probs = [np.zeros((0, header.vocabulary), dtype=np.float32)]
        probs += [(logits(places[part]) / header.temperature).softmax(-1).cpu().numpy() for part in parts]
        whole = np.concatenate(probs)
        return [encode_dense(whole[span]) if np.isfinite(whole[span]).all() else None for span in spans]
    if not parts:
        return [b"" for _ in batch]
    rows = SparseRows.joined([rows_at(part) for part in parts])
    return [None if row in broken else encode(rows[span], layout) for row, span in enumerate(spans)]
