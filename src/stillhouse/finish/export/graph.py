"""Rewrites of a freshly exported graph that make it smaller and faster and change none of its answers; its files.

One call applies them all, in place, and one writes what is left::

    tidy(program.model)
    save(program.model, Path("model.onnx"))
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx_ir

_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch notes the modules that a node lies in, outermost first
_POINTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Sqrt", "Erf", "Gelu", "Relu", "Tanh"})


ONE_FILE = 2_000_000_000  # protobuf stops at 2 GiB; larger weights go into `<output>_data` beside the file


def save(model: onnx_ir.Model, output: Path) -> None:
    """Write a graph, without weights that nothing uses. Weights too large for one file lie in ``<output>_data`` beside
    it: the name that transformers.js looks for."""
    import onnx_ir

    kept = model.graph.initializers
    for name, value in list(kept.items()):
        if not value.uses() and not value.is_graph_output():
            del kept[name]
    weights = sum(value.const_value.nbytes for value in kept.values() if value.const_value is not None)
    onnx_ir.save(model, output, external_data=f"{output.name}_data" if weights > ONE_FILE else None)


def files_of(graph: Path) -> tuple[Path, ...]:
    """A graph's file, and the one of its weights where they lie beside it."""
    data = graph.with_name(f"{graph.name}_data")
    return (graph, data) if data.exists() else (graph,)


def tidy(model: onnx_ir.Model, *, one_token: bool = True) -> None:
    """Apply all rewrites in place, and drop notes on where the graph came from.

    one_token: whether what the graph answers is told from one token of a text, as a classifier's label may be.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    name_after_modules(model.graph)
    if one_token:
        take_first_token_early(model.graph)
    share_equal_weights(model.graph)
    # The exporter notes for each node the source line it came from, with the paths of this machine.
    ClearMetadataAndDocStringPass()(model)


def name_after_modules(graph: onnx_ir.Graph) -> None:
    """Name each node that uses a weight matrix after the module of torch that it comes from.

    ``bert.pooler.dense`` says what stays in float where a mixed file is made; a module that is used again is ``…#2``.
    """
    seen: dict[str, int] = {}
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
        if node.op_type in ("MatMul", "Gemm", "Gather") and len(scopes) > 1:
            module = str(scopes[-2]).removeprefix("model.")  # the last scope is the call itself, the first our wrapper
            seen[module] = seen.get(module, 0) + 1
            node.name = module if seen[module] == 1 else f"{module}#{seen[module]}"


def share_equal_weights(graph: onnx_ir.Graph) -> None:
    """Store equal weights once.

    The exporter transposes a matrix wherever it is used, so layers that share one end up with copies of it.
    """
    from onnx_ir.convenience import replace_all_uses_with

    kept: dict[tuple[str, tuple[int, ...], str], onnx_ir.Value] = {}
    for name, value in list(graph.initializers.items()):
        if value.const_value is None:
            continue
        data = np.ascontiguousarray(value.const_value.numpy())
        # 0-d arrays become 1-d above, so the shape is that of the tensor
        key = (
            str(value.const_value.dtype),
            tuple(value.const_value.shape.numpy()),
            hashlib.sha256(data.data).hexdigest(),
        )
        first = kept.setdefault(key, value)
        if first is not value:
            replace_all_uses_with(value, first)
            del graph.initializers[name]


def share_transposed_tables(graph: onnx_ir.Graph) -> None:
    """Store a head that is the table of embeddings, turned, once: turned as the file is opened."""
    import onnx_ir

    for gather in [node for node in graph if node.op_type == "Gather" and node.attributes.get_int("axis", 0) == 0]:
        table = gather.inputs[0]
        rows = table.const_value if table is not None and table.is_initializer() else None
        if rows is None or rows.shape.rank() != 2:
            continue
        turned = tuple(reversed(rows.shape.numpy()))
        for name, value in list(graph.initializers.items()):
            other = value.const_value
            if value is table or other is None or tuple(other.shape.numpy()) != turned or other.dtype != rows.dtype:
                continue
            if np.array_equal(other.numpy().T, rows.numpy()):
                node = onnx_ir.node("Transpose", [table], attributes={"perm": (1, 0)})
                node.name, node.outputs[0].name = f"{name}/turned", f"{name}_turned"
                node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
                graph.insert_before(next(iter(graph)), node)
                onnx_ir.convenience.replace_all_uses_with(value, node.outputs[0])
                del graph.initializers[name]


def take_first_token_early(graph: onnx_ir.Graph) -> None:
    """Take the first token out before the last feed-forward block instead of after it.

    Heads in the manner of BERT read one token, and whatever follows the last attention works token by token: without
    the others it gives the same logits. For 3 layers that spares a quarter of all multiplications. Graphs in which
    exactly one token is not picked once are left as they are.
    """
    import onnx_ir

    picks = [(node, tokens) for node in graph if (tokens := _picked_from(node)) is not None]
    if len(picks) != 1:
        return
    pick, tokens = picks[0]
    moved: set[onnx_ir.Node] = set()
    for node in reversed(list(graph)):  # those that use a value come before the one that makes it
        users = [use.node for out in node.outputs for use in out.uses()]
        if users and all(user is pick or user in moved for user in users) and _is_tokenwise(node, tokens):
            moved.add(node)
    picked: dict[onnx_ir.Value, onnx_ir.Value] = {}
    for node in [node for node in graph if node in moved]:
        for place, value in enumerate(node.inputs):
            if value is None or value.const_value is not None or value.producer() in moved:
                continue
            if value not in picked:
                early = onnx_ir.node("Gather", [value, pick.inputs[1]], attributes={"axis": 1})
                early.outputs[0].name, early.outputs[0].type = f"{value.name}_first", value.type
                early.outputs[0].shape = _without_tokens(value)
                graph.insert_before(node, early)
                picked[value] = early.outputs[0]
            node.replace_input_with(place, picked[value])
        node.outputs[0].shape = _without_tokens(node.outputs[0])
    if moved:
        onnx_ir.convenience.replace_all_uses_with(pick.outputs[0], tokens)
        graph.remove(pick, safe=True)


def _picked_from(node: onnx_ir.Node) -> onnx_ir.Value | None:
    """The (batch, sequence, hidden) of which the node is ``[:, i]``, if it is that."""
    if node.op_type != "Gather" or node.attributes.get_int("axis", 0) != 1:
        return None
    tokens, index = node.inputs
    one = index is not None and index.const_value is not None and index.const_value.shape.rank() == 0
    return tokens if one and tokens is not None and tokens.shape is not None and len(tokens.shape) == 3 else None


def _is_tokenwise(node: onnx_ir.Node, tokens: onnx_ir.Value) -> bool:
    """Whether each token's output needs that token's input alone, and would do so without the axis of tokens."""

    def whole(value: onnx_ir.Value | None) -> bool:  # (batch, sequence, anything)
        shape = value.shape if value is not None and value.const_value is None else None
        return shape is not None and tokens.shape is not None and len(shape) == 3 and shape[1] == tokens.shape[1]

    def constant(value: onnx_ir.Value | None, ranks: tuple[int, ...]) -> bool:
        tensor = value.const_value if value is not None else None
        return tensor is not None and tensor.shape.rank() in ranks

    first = node.inputs[0] if node.inputs else None
    if node.op_type in _POINTWISE:
        return all(whole(value) or constant(value, (0, 1)) for value in node.inputs)
    if node.op_type == "LayerNormalization":
        return whole(first) and node.attributes.get_int("axis", -1) == -1 and len(node.outputs) == 1
    return node.op_type == "MatMul" and whole(first) and constant(node.inputs[1], (2,))


def _without_tokens(value: onnx_ir.Value) -> onnx_ir.Shape | None:
    import onnx_ir

    return None if value.shape is None else onnx_ir.Shape([value.shape[0], value.shape[2]])
