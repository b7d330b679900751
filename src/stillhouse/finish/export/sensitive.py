"""Which layers suffer most in 8 bits, and how few of them must stay in float for the answers to hold.

chosen = choose_in_float(Path("model.onnx"), make, texts, max_disagreement=0.02)
chosen.in_float, chosen.why

The ranking costs one pass over a few texts, the choice at most one trial file for each power of two of layers. The
texts that are given here choose; whether the file that comes out is good enough has to be told by others.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stillhouse.finish.export.onnx import OnnxClassifier, parity
from stillhouse.finish.export.quantize import Floats, layers, quantize, quantize_rows, quantize_weight

RANKING_TEXTS = 16  # every layer's input about them is in memory at once
RANKING_TOKENS = 32
_SAFETY = 0.5  # of the disagreement that is allowed: what chose the layers flatters them


@dataclass(frozen=True)
class Choice:
    """in_float: the layers to leave in float; empty where no choice held. trials: how many files were tried."""

    in_float: tuple[str, ...]
    trials: int
    why: str


def choose_in_float(
    fp32: Path, opened: Callable[[Path], OnnxClassifier], texts: Sequence[str], *, max_disagreement: float
) -> Choice:
    """The 1, 2, 4, … layers that suffer most, until half the disagreement that is allowed is kept on ``texts``.

    opened: opens a file of this classifier. Where more than half of the layers would have to stay in float, none is
    chosen: such a file is hardly smaller or faster than float32.
    """
    reference = opened(fp32)
    ranked = [name for name, _ in errors_in_8_bits(fp32, reference, texts)]
    expected, trials, count = reference.predict_proba(texts), 0, 1
    with tempfile.TemporaryDirectory() as folder:
        while count <= len(ranked) // 2:
            trial, trials = Path(folder) / f"{count}.onnx", trials + 1
            quantize(fp32, trial, in_float=ranked[:count])
            found = parity(expected, opened(trial).predict_proba(texts))
            if 1 - found.agreement <= _SAFETY * max_disagreement:
                why = f"{count} of {len(ranked)} layers in float: {', '.join(ranked[:count])}"
                return Choice(tuple(ranked[:count]), trials, why)
            count *= 2
    return Choice((), trials, f"no choice of at most {len(ranked) // 2} layers in float held on {len(texts)} texts")


def errors_in_8_bits(fp32: Path, opened: OnnxClassifier, texts: Sequence[str]) -> list[tuple[str, float]]:
    """Each layer with what 8 bits do to its output, the worst first: power of the error over that of the output.

    Measured on :data:`RANKING_TEXTS` of the texts, for one layer at a time, with exact arithmetic around it. An outlier
    channel shows here although a later layer undoes it: its neighbors' products drown.
    """
    inputs = _inputs_of_layers(fp32, opened, texts[:RANKING_TEXTS])
    found = [(name, _relative_error(matrix, rows)) for name, matrix, rows in inputs]
    return sorted(found, key=lambda one: (-one[1], one[0]))


def _relative_error(matrix: Floats, rows: Floats | None) -> float:
    """rows (T, K): what the matrix (K, N) is multiplied with; ``None`` of a table."""
    if rows is None:
        stored, scale = quantize_rows(matrix)
        return _ratio(stored * scale - matrix, matrix)
    (small, row_scale), (bytes_, scale) = quantize_rows(rows), quantize_weight(matrix)
    exact = rows @ matrix
    return _ratio((small * row_scale) @ (bytes_ * scale) - exact, exact)


def _ratio(error: npt.NDArray[np.floating], of: npt.NDArray[np.floating]) -> float:
    power = float(np.square(of, dtype=np.float64).sum())
    return float(np.square(error, dtype=np.float64).sum()) / power if power else 0.0


def _inputs_of_layers(
    fp32: Path, opened: OnnxClassifier, texts: Sequence[str]
) -> list[tuple[str, Floats, Floats | None]]:
    """Name, matrix and inputs (T, K) of each layer, in the graph's order."""
    import onnx_ir

    model = onnx_ir.load(fp32)
    found = layers(model.graph)
    watched = {str(value.name): value for layer in found if (value := layer.read) is not None}
    model.graph.outputs.extend(watched.values())
    ids, mask = opened.pad([one[:RANKING_TOKENS] for one in opened.encode(texts)])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "watched.onnx"
        onnx_ir.save(model, file, external_data="watched.onnx_data")
        names = [str(value.name) for value in model.graph.outputs]
        values = opened.reopen(file).session.run(names, {"input_ids": ids, "attention_mask": mask})
    seen = dict(zip(names, values, strict=True))
    return [
        (layer.name, layer.matrix(), None if layer.read is None else _of_tokens(seen[str(layer.read.name)], mask))
        for layer in found
    ]


def _of_tokens(values: Floats, mask: npt.NDArray[np.int64]) -> Floats:
    """(T, K) of a value (B, S, K) without padding, or of one that has no axis of tokens."""
    rows: Floats = values[mask.astype(bool)] if values.shape[:-1] == mask.shape else values
    return rows.reshape(-1, values.shape[-1])
