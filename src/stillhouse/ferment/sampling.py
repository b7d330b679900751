"""Which logits of a teacher are stored: the likely ones exactly, and unbiased draws from the rest.

With m draws for a whole unit of mass, every probability of 1/m or more is exact and every draw stands for about 1/m,
at every position alike. For draws of equal cost this spends them where they lower the error of a gradient most.

    numbers = uniforms(seed=0, draw=0, document=identifier, length=len(tokens), layout=layout)
    rows = sparse_rows(logits, tokens, numbers, layout)     # any chunk of positions (n, V), torch or numpy
    blob = encode(rows, layout)
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.signals.rows import SHARES, Layout, SparseRows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BLOCK = 256  # probabilities that are summed together, so that a draw looks into one block and not at all of them
_HOT = 2**18  # logits that stay in a processor's cache while they are worked on


def uniforms(*, seed: int, draw: int, document: str, length: int, layout: Layout) -> Floats:
    """Random numbers (length, 1 + F + E) in [0, 1): one for the draws of each position, the others for rounding.

    They depend on the document and the position alone, so that no batch, order or chunk changes what is drawn.
    """
    key = hashlib.blake2b(f"{seed}\n{draw}\n{document}".encode(), digest_size=16).digest()
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
    return generator.random((length, 1 + layout.forced + layout.most_exact))


def sparse_rows(
    logits: Any,
    gold: npt.ArrayLike,
    numbers: Floats,
    layout: Layout,
    *,
    temperature: float = 1.0,
    overwrite: bool = False,
) -> SparseRows:
    """Rows for a chunk of positions.

    logits: (n, V), torch (any device) or numpy; with ``overwrite`` a float32 chunk is worked on in place. gold: (n,)
    the token that follows each position. numbers: (n, 1 + F + E) from :func:`uniforms`. With ``layout.m`` 0 nothing
    is drawn: the plain top-k.

    A stored row sums to one, and its expectation over the numbers is the teacher's row. A tail of mass M gets
    max(1, round(m M)) draws by systematic sampling in the order of ids: one random offset, then equal steps along the
    cumulated mass (Madow and Madow 1944). Raises :class:`StillhouseError` where a logit is not a number.
    """
    import torch

    with torch.inference_mode():
        masses, highest, sums = _masses(torch.as_tensor(logits), temperature, overwrite)
        return _rows(masses, highest, sums, np.asarray(gold, dtype=np.int64), numbers, layout)


def _rows(masses: Any, highest: Any, sums: Any, gold: Ints, numbers: Floats, layout: Layout) -> SparseRows:
    import torch

    flat = masses.flatten(1)
    total = sums.double().sum(-1, keepdim=True)
    if not bool(torch.isfinite(total).all()):
        raise StillhouseError(
            "the teacher's logits are not numbers (NaN or infinite)",
            where=f"row {int((~torch.isfinite(total)).nonzero()[0, 0])} of the chunk",
            fix="load the teacher in float32 or bfloat16",
        )
    following = torch.as_tensor(gold, device=flat.device).reshape(-1, 1)
    always = torch.tensor(layout.always, dtype=torch.int64, device=flat.device).expand(len(flat), -1)
    forced = torch.cat([following, always], dim=1)
    forced_mass = flat.gather(1, forced)
    forced_mass[:, 1:][always == following] = 0  # counted once, as the token that follows
    top, ids = _likely(masses, highest, total, layout)
    top[(ids.unsqueeze(-1) == forced.unsqueeze(1)).any(-1)] = 0

    exact = torch.cat([forced, torch.where(top > 0, ids, following)], dim=1)
    flat.scatter_(1, exact, 0.0)
    sums.scatter_(1, exact // _BLOCK, _at(masses, exact // _BLOCK).sum(-1))
    sums = sums.double()
    tail = sums.sum(-1, keepdim=True) / total
    draws = torch.where(tail > 0, (layout.m * tail).round().clamp(min(1, layout.m), layout.m), 0.0)
    draw_ids = _systematic(masses, sums, draws, torch.as_tensor(numbers[:, :1], device=flat.device))

    exact_entries = [value.cpu().numpy() for value in (forced_mass / total, top / total, ids, tail)]
    codes, number, exact_ids = _exact_entries(*exact_entries, numbers=numbers[:, 1:])
    return SparseRows(
        _wide(codes, layout.forced + layout.most_exact),
        number,
        _wide(exact_ids, layout.most_exact),
        draws[:, 0].long().cpu().numpy(),
        _wide(draw_ids.cpu().numpy(), layout.m),
    )


def top_k_rows(
    ids: Ints,  # (n, k)
    log_probs: Floats,  # (n, k)
    gold: npt.ArrayLike,  # (n,)
    gold_log_probs: npt.ArrayLike,  # (n,)
    numbers: Floats,
    layout: Layout,
) -> SparseRows:
    """Rows from the log-probabilities that an API lists, for the ``top-k`` form: k of them and the token that follows.

    Missing entries have log-probability -inf. The tail's mass is what is missing to one.
    """
    if layout.m or layout.always or ids.shape[1] != layout.k:
        raise ValueError("rows of listed entries have k of them, no draws, and no entries that are always exact")
    following = np.asarray(gold, dtype=np.int64).reshape(-1, 1)
    forced = np.exp(np.asarray(gold_log_probs, dtype=np.float64)).reshape(-1, 1)
    probs = np.where(ids == following, 0.0, np.exp(log_probs))
    tail = np.maximum(0.0, 1 - forced - probs.sum(axis=1, keepdims=True))
    codes, number, exact_ids = _exact_entries(forced, probs, ids, tail, numbers=numbers[:, 1:])
    nothing = np.zeros(len(ids), dtype=np.int64)
    return SparseRows(codes, number, exact_ids, nothing, np.zeros((len(ids), 0), dtype=np.int64))


def _masses(logits: Any, temperature: float, overwrite: bool) -> tuple[Any, Any, Any]:
    """Probabilities up to a factor per row, (n, blocks, _BLOCK) in float32; the highest and the sum of each block."""
    import torch

    masses = logits.float()
    if missing := -masses.shape[1] % _BLOCK:
        masses = torch.nn.functional.pad(masses, (0, missing), value=-torch.inf)
    elif masses is logits and not overwrite:
        masses = masses.clone()
    masses = masses.unflatten(1, (masses.shape[1] // _BLOCK, _BLOCK))
    highest, sums = (masses.new_empty(masses.shape[:2]) for _ in range(2))
    size = max(1, _HOT // masses[0].numel()) if len(masses) and masses.device.type == "cpu" else max(1, len(masses))
    for part, top, total in zip(masses.split(size), highest.split(size), sums.split(size), strict=True):
        part.sub_(part.amax((1, 2), keepdim=True))
        if temperature != 1:
            part.div_(temperature)
        torch.amax(part.exp_(), -1, out=top)
        torch.sum(part, -1, out=total)
    return masses, highest, sums


def _likely(masses: Any, highest: Any, total: Any, layout: Layout) -> tuple[Any, Any]:
    """Masses and ids (n, E) of the k likeliest entries and of all with a probability of 1/m; 0 for the others."""
    import torch

    threshold = total / layout.m if layout.m else torch.full_like(total, torch.inf)

    def most(found: Any, limit: int) -> int:
        largest = int((found >= threshold).sum(-1).max()) if len(found) else 0
        return min(max(layout.k, largest), limit)

    blocks = highest.topk(most(highest, highest.shape[1])).indices
    candidates = _at(masses, blocks).flatten(1)
    top, place = candidates.topk(most(candidates, layout.most_exact))
    top[(torch.arange(top.shape[1], device=top.device) >= layout.k) & (top < threshold)] = 0
    return top, blocks.gather(1, place // _BLOCK) * _BLOCK + place % _BLOCK


def _at(masses: Any, blocks: Any) -> Any:
    """Whole blocks (n, B, _BLOCK) at the numbers (n, B), copied as stretches of memory and not entry by entry."""
    import torch

    n, count, _ = masses.shape
    place = blocks + count * torch.arange(n, device=blocks.device).unsqueeze(1)
    return masses.view(-1, _BLOCK).index_select(0, place.reshape(-1)).view(*place.shape, _BLOCK)


def _systematic(masses: Any, sums: Any, draws: Any, offset: Any) -> Any:
    """Ids (n, J), rising, of ``draws`` (n, 1) equal steps through the masses, whose block sums are given."""
    import torch

    steps = torch.arange(int(draws.max()) if len(draws) else 0, device=sums.device)
    cumulated = sums.cumsum(-1)
    block, rest = _locate(cumulated, (offset + steps) * (cumulated[:, -1:] / draws.clamp_min(1)))
    row, column = (steps < draws).nonzero(as_tuple=True)
    hit, share = block[row, column], (rest / sums.gather(1, block))[row, column]
    inside = masses[row, hit].cumsum(-1)
    # a share, since the sum of a block is not quite the last of its cumulated sums
    place, _ = _locate(inside, share.unsqueeze(1).float() * inside[:, -1:])
    ids = torch.zeros_like(block)
    ids[row, column] = hit * _BLOCK + place.squeeze(1)
    return ids


def _locate(cumulated: Any, points: Any) -> tuple[Any, Any]:
    """The first entry (n, P) whose cumulated mass lies above each point, which then has mass; the point within it."""
    import torch

    last = cumulated[:, -1:]
    points = torch.minimum(points, torch.nextafter(last, torch.zeros_like(last)))
    entry = torch.searchsorted(cumulated, points, right=True).clamp_max(cumulated.shape[1] - 1)
    before = torch.where(entry > 0, cumulated.gather(1, (entry - 1).clamp_min(0)), 0.0)
    return entry, points - before


def _exact_entries(
    forced: npt.NDArray[np.floating[Any]],  # (n, F)
    top: npt.NDArray[np.floating[Any]],  # (n, E), 0 for entries that are not exact
    ids: Ints,  # (n, E)
    tail: npt.NDArray[np.floating[Any]],  # (n, 1)
    *,
    numbers: Floats,  # (n, F + E) or wider
) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """Codes (n, F + E), counts (n,) and ids (n, E) of the exact entries, those with mass first, in id order.

    Each entry is coded as its share of the mass that the entries before it leave, rounded up or down at random so that
    the share is right on average. As the roundings are independent, so are the products right on average; and whatever
    is rounded, the entries and the tail sum to one.
    """
    order = np.argsort(np.where(top > 0, ids, np.iinfo(np.int64).max), axis=1)
    probs = np.concatenate([forced, np.take_along_axis(top, order, axis=1)], axis=1).astype(np.float64)
    left = tail + np.cumsum(probs[:, ::-1], axis=1)[:, ::-1]
    shares = np.divide(probs, left, out=np.zeros_like(probs), where=left > 0)
    above = np.searchsorted(SHARES, shares, side="right").clip(1, len(SHARES) - 1)
    low, high = SHARES[above - 1], SHARES[above]
    codes = above - 1 + (numbers[:, : shares.shape[1]] < (shares - low) / (high - low))
    return codes.astype(np.uint8), (top > 0).sum(axis=1), np.take_along_axis(ids, order, axis=1)


def _wide(values: npt.NDArray[Any], width: int) -> npt.NDArray[Any]:
    """Columns of zeros behind the values, so that chunks of any content can be joined."""
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))
