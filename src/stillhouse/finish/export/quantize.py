"""8-bit versions of an exported classifier: all layers, or all but the sensitive ones, which stay in float.

quantize(Path("model.onnx"), Path("model_int8.onnx"))
quantize(Path("model.onnx"), Path("model_mixed.onnx"), in_float={"bert.pooler.dense"})
layers_of(Path("model.onnx"))          # the names that may be left in float

A layer is a product with a constant matrix, or a table of embeddings. Matrices are stored with one scale for each
output channel, tables with one for each row. What is multiplied is quantized as it comes, with **a scale for each
token**: so a text's answer does not depend on its batch-mates or on padding, and one loud token does not drown the
others. With one scale for the whole batch, as ``onnxruntime.quantization.quantize_dynamic`` writes it, the same text
alone and in a batch can get different labels. The file holds standard operators alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stillhouse.errors import StillhouseError
from stillhouse.finish.export.graph import save

if TYPE_CHECKING:
    import onnx_ir

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.int8]

# Weights take 7 of their 8 bits: without VNNI instructions a processor adds two products in 16 bits, which hold
# 2 × 255 × 64 and not 2 × 255 × 127, and the artifact would answer differently there.
WEIGHT_STEPS = 64
ROW_STEPS = 127  # of activations, either side of zero, and of embeddings, which are never multiplied in 8 bits
ZERO = 128  # the unsigned byte that stands for zero
_TINY = 1e-12  # a row of zeros is divided by this, and stays one of zeros


@dataclass(frozen=True)
class Layer:
    """A node that can be quantized. weight: (K, N) of a product, (rows, width) of a table."""

    node: onnx_ir.Node
    weight: onnx_ir.Value
    is_table: bool

    @property
    def name(self) -> str:
        """The module of torch that it comes from."""
        return str(self.node.name)

    @property
    def turned(self) -> onnx_ir.Node | None:
        """The node that turns a matrix which is stored as (N, K), as a head is that shares the table of embeddings."""
        matrix = None if self.is_table else self.node.inputs[1]
        maker = matrix.producer() if matrix is not None else None
        return maker if maker is not None and maker.op_type == "Transpose" else None

    @property
    def by_rows(self) -> bool:
        """Whether a product's matrix is stored as (N, K)."""
        flag = self.node.op_type == "Gemm" and self.node.attributes.get_int("transB", 0) == 1
        return not self.is_table and flag != (self.turned is not None)

    @property
    def read(self) -> onnx_ir.Value | None:
        """What a product multiplies, (…, K); ``None`` of a table."""
        return None if self.is_table else self.node.inputs[0]

    def matrix(self) -> Floats:
        """The weight as (K, N) or (rows, width), float32."""
        assert self.weight.const_value is not None  # noqa: S101 - `layers` takes constants only
        stored: Floats = np.asarray(self.weight.const_value.numpy(), dtype=np.float32)
        return stored.T if self.by_rows else stored


def layers(graph: onnx_ir.Graph) -> list[Layer]:
    """What can be quantized in a graph, in its order."""
    found = []
    for node in graph:
        is_table = node.op_type == "Gather" and node.attributes.get_int("axis", 0) == 0
        is_product = node.op_type in ("MatMul", "Gemm") and not _is_scaled(node)
        weight = node.inputs[0 if is_table else 1] if is_table or is_product else None
        if is_product and weight is not None:
            weight = _stored_of(weight)
        if weight is not None and _is_matrix(weight):
            found.append(Layer(node, weight, is_table))
    return found


def layers_of(file: Path) -> list[str]:
    """The names of the layers of a float32 file."""
    import onnx_ir

    return [layer.name for layer in layers(onnx_ir.load(file).graph)]


def quantize(fp32: Path, output: Path, *, in_float: Collection[str] = ()) -> None:
    """Write a version of ``fp32`` with 8-bit layers, but for those named in ``in_float``.

    Equal inputs give equal bytes. Raises :class:`StillhouseError` for a name that no layer has.
    """
    import onnx_ir

    model = onnx_ir.load(fp32)
    found = layers(model.graph)
    unknown = sorted(set(in_float) - {layer.name for layer in found})
    if unknown:
        raise StillhouseError(
            f"there is no layer named {', '.join(unknown)}",
            where=str(fp32),
            fix="take names that `layers_of` gives",
        )
    writer = _Writer(model.graph)
    for layer in found:
        if layer.name not in in_float:
            writer.replace(layer)
    save(model, output)


def quantize_weight(matrix: Floats) -> tuple[Bytes, Floats]:
    """Bytes (K, N) and the scale (N,) of each output channel: ``bytes * scale`` is what is left of the matrix."""
    scale = np.maximum(np.abs(matrix).max(axis=0), np.float32(_TINY)) / np.float32(WEIGHT_STEPS)
    return np.rint(matrix / scale).astype(np.int8), scale.astype(np.float32)


def quantize_rows(values: Floats) -> tuple[Bytes, Floats]:
    """Bytes (N, K) and the scale (N, 1) of each row: ``bytes * scale`` is what is left of the values."""
    scale = np.maximum(np.abs(values).max(axis=-1, keepdims=True), np.float32(_TINY)) / np.float32(ROW_STEPS)
    return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)


class _Writer:
    """Puts integer arithmetic in the place of layers; what several layers read is quantized once."""

    def __init__(self, graph: onnx_ir.Graph) -> None:
        self.graph = graph
        self._rows: dict[onnx_ir.Value, tuple[onnx_ir.Value, onnx_ir.Value]] = {}
        self._weights: dict[tuple[onnx_ir.Value, bool, bool], tuple[onnx_ir.Value, onnx_ir.Value]] = {}
        self._constants: dict[str, onnx_ir.Value] = {}

    def replace(self, layer: Layer) -> None:
        import onnx_ir

        node, turn = layer.node, layer.turned
        out = self._table(layer) if layer.is_table else self._product(layer)
        old = node.outputs[0]
        out.type, out.shape, out.name, old.name = old.type, old.shape, old.name, f"{old.name}_in_float"
        onnx_ir.convenience.replace_all_uses_with(old, out, replace_graph_outputs=True)
        self.graph.remove(node, safe=True)
        if turn is not None and not turn.outputs[0].uses():
            self.graph.remove(turn, safe=True)

    def _table(self, layer: Layer) -> onnx_ir.Value:
        values, scales = self._stored(layer)
        rows = layer.node.inputs[1]
        picked = self._op(layer.node, "Gather", [values, rows], "picked", axis=0)
        floats = self._op(layer.node, "Cast", [picked], "floats", to=1)
        scale = self._op(layer.node, "Gather", [scales, rows], "scale", axis=0)
        return self._op(layer.node, "Mul", [floats, scale], "out")

    def _product(self, layer: Layer) -> onnx_ir.Value:
        node = layer.node
        assert node.inputs[0] is not None  # noqa: S101 - a product has two inputs
        values, scales = self._stored(layer)
        rows, loudest = self._quantized(node, node.inputs[0])
        zero = self._constant("zero", np.array(ZERO, dtype=np.uint8))
        sums = self._op(node, "MatMulInteger", [rows, values, zero], "sums")
        floats = self._op(node, "Cast", [sums], "floats", to=1)
        out = self._op(node, "Mul", [self._op(node, "Mul", [floats, scales], "scaled"), loudest], "out")
        if len(node.inputs) > 2 and node.inputs[2] is not None:  # the bias of a Gemm
            return self._op(node, "Add", [out, node.inputs[2]], "biased")
        return out

    def _quantized(self, node: onnx_ir.Node, value: onnx_ir.Value) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        """Unsigned bytes of a value (…, K), and the largest size in each row (…, 1)."""
        if value not in self._rows:
            size = self._op(node, "Abs", [value], "size")
            last = self._constant("last_axis", np.array([-1], dtype=np.int64))
            largest = self._op(node, "ReduceMax", [size, last], "largest", keepdims=1)
            loudest = self._op(node, "Max", [largest, self._constant("tiny", _f32(_TINY))], "loudest")
            inverse = self._op(node, "Div", [self._constant("steps", _f32(ROW_STEPS)), loudest], "inverse")
            scaled = self._op(node, "Mul", [value, inverse], "rows")
            one, zero = self._constant("one", _f32(1)), self._constant("zero", np.array(ZERO, dtype=np.uint8))
            # the scale is 1: what is left of this operator is to round, to add the zero, and to saturate
            self._rows[value] = self._op(node, "QuantizeLinear", [scaled, one, zero], "bytes"), loudest
        return self._rows[value]

    def _stored(self, layer: Layer) -> tuple[onnx_ir.Value, onnx_ir.Value]:
        """The weight's bytes and scales; those of a product also hold the steps of what it is multiplied with."""
        key = (layer.weight, layer.is_table, layer.by_rows)
        if key not in self._weights:
            values, scales = quantize_rows(layer.matrix()) if layer.is_table else quantize_weight(layer.matrix())
            if not layer.is_table:
                scales = scales / np.float32(ROW_STEPS)
            name = layer.weight.name
            self._weights[key] = (
                self._constant(f"{name}_bytes", np.ascontiguousarray(values)),
                self._constant(f"{name}_scale", scales),
            )
        return self._weights[key]

    def _constant(self, name: str, array: npt.NDArray[np.generic]) -> onnx_ir.Value:
        import onnx_ir

        if name not in self._constants:
            value = onnx_ir.Value(name=f"int8.{name}", const_value=onnx_ir.tensor(array, name=f"int8.{name}"))
            assert value.const_value is not None  # noqa: S101 - just given
            value.type, value.shape = onnx_ir.TensorType(value.const_value.dtype), onnx_ir.Shape(array.shape)
            self.graph.register_initializer(value)
            self._constants[name] = value
        return self._constants[name]

    def _op(
        self, before: onnx_ir.Node, kind: str, inputs: list[onnx_ir.Value | None], name: str, **attributes: int
    ) -> onnx_ir.Value:
        import onnx_ir

        node = onnx_ir.node(kind, inputs, attributes=attributes)
        node.name = f"{before.name}/{name}"
        node.outputs[0].name = f"{before.outputs[0].name}_{name}"
        self.graph.insert_before(before, node)
        return node.outputs[0]


def _stored_of(value: onnx_ir.Value) -> onnx_ir.Value:
    """The weight itself, where it is turned on the way."""
    maker = value.producer()
    turns = maker is not None and maker.op_type == "Transpose" and list(maker.attributes.get_ints("perm", ())) == [1, 0]
    stored = maker.inputs[0] if maker is not None and turns else None
    return value if stored is None else stored


def _is_matrix(value: onnx_ir.Value) -> bool:
    """Whether it is a constant float32 matrix."""
    tensor = value.const_value if value.is_initializer() else None
    return tensor is not None and tensor.shape.rank() == 2 and tensor.dtype.name == "FLOAT"


def _is_scaled(node: onnx_ir.Node) -> bool:
    """Whether it is a Gemm that is more than a product and a bias."""
    read = node.attributes
    return node.op_type == "Gemm" and (
        read.get_float("alpha", 1.0) != 1 or read.get_float("beta", 1.0) != 1 or read.get_int("transA", 0) != 0
    )


def _f32(value: float) -> npt.NDArray[np.float32]:
    return np.array(value, dtype=np.float32)
