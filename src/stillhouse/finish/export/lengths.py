"""Whether a file answers at every length as its reference does: 8 tokens, 64, and the longest; padded and not.

found = compare_at_lengths(candidate, reference, ["an ordinary text"], max_length=512)
problems_of(found)          # in words; [] where it holds

Half precision is known to overflow on long inputs alone, and 8 bits to fail on inputs that calibration never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.finish.export.onnx import OnnxClassifier, softmax

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Logits = Callable[[Ints, Ints], Floats]  # (B, S) ids and mask -> (B, K)

LENGTHS = (8, 64)
CLEAR = 0.2  # between the two best probabilities of the reference: another label is an error then, and no tie
_WRITINGS = (
    "a plain sentence of ordinary words, with a comma",
    "Größe, naïveté, señor, œuvre, Łódź, ångström, çà et là",
    "🙂 👩‍👩‍👧 🏳️‍🌈 5️⃣ ❤️ 🇫🇷",
    "漢字 कखग עברית العربية \u200b \ufeff",
)
_OWN = 4  # of the given texts, that join the ones above


@dataclass(frozen=True)
class AtLength:
    """At one length in tokens, over n inputs: distances are of probabilities.

    finite: no NaN and no infinity. max_abs: the largest distance from the reference. other_labels: inputs with another
    label than the reference's although that is clear. padded: the largest distance of an input of 8 tokens or fewer,
    padded to this length, from the same one alone.
    """

    length: int
    n: int
    finite: bool
    max_abs: float
    other_labels: int
    padded: float


def compare_at_lengths(
    candidate: OnnxClassifier, reference: Logits, texts: Sequence[str], *, max_length: int
) -> tuple[AtLength, ...]:
    """Compare at each length that the model takes, the longest among them; ``texts`` are a few ordinary ones."""
    lengths = sorted({*(one for one in LENGTHS if one < max_length), max_length})
    writings = [*_WRITINGS, *(text for text in texts[:_OWN] if text.strip())]
    short = [*candidate.encode(writings, max_length=min(LENGTHS[0], max_length)), *candidate.encode([""])]
    alone = _probabilities([candidate.logits(*candidate.pad([ids])) for ids in short])
    found = []
    for length in lengths:
        long = candidate.encode([" ".join([text] * length) for text in writings], max_length=length)
        ids, mask = candidate.pad([*long, *short])
        answered, expected = candidate.logits(ids, mask), reference(ids, mask)
        said, right = _probabilities([answered]), _probabilities([expected])
        best = np.sort(right, axis=1)
        clear = best[:, -1] - best[:, -2] > CLEAR
        found.append(
            AtLength(
                length,
                len(ids),
                bool(np.isfinite(answered).all()),
                float(np.abs(said - right).max()),
                int((clear & (said.argmax(axis=1) != right.argmax(axis=1))).sum()),
                float(np.abs(said[len(long) :] - alone).max()),
            )
        )
    return tuple(found)


def problems_of(found: Sequence[AtLength], *, tolerance: float | None = None) -> list[str]:
    """What is wrong, in words. tolerance: of a probability, against the reference and against the input alone."""
    problems = []
    for one in found:
        if not one.finite:
            problems.append(f"NaN or infinity at {one.length} tokens")
        elif one.other_labels:
            problems.append(f"{one.other_labels} of {one.n} clear labels change at {one.length} tokens")
        elif tolerance is not None and not max(one.max_abs, one.padded) <= tolerance:
            problems.append(f"probabilities move by {max(one.max_abs, one.padded):.1e} at {one.length} tokens")
    return problems


def refuse(found: Sequence[AtLength], *, tolerance: float | None, where: str) -> None:
    """Raise :class:`StillhouseError` with everything that is wrong."""
    problems = problems_of(found, tolerance=tolerance)
    if problems:
        raise StillhouseError(
            f"the exported model does not answer at every length as the student does: {'; '.join(problems)}",
            where=where,
            fix="choose a student of another architecture, or a smaller `distill.train.max_length`",
        )


def _probabilities(logits: Sequence[Floats]) -> Floats:
    with np.errstate(invalid="ignore"):
        return softmax(np.concatenate(logits))
